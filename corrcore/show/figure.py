"""A point of one photo and where it lies in another, as a figure that can be pointed at and, in a notebook, clicked."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.callbacks import Points
from plotly.subplots import make_subplots

from corrcore import images
from corrcore.features import Extractor, Feature, Image
from corrcore.tasks import confidence, matching
from corrcore.tasks.matching import DescribedExtent, MatchOptions, PointMatches

_COLUMNS = 3  # of pictures
_SHOWN_PX, _ROW_PX = 640, 340  # a photo's longer side at most; a row's height
_MARK = {"size": 13, "symbol": "circle", "color": "#ff00ff", "line": {"width": 2, "color": "white"}}
_AT = "(%{x:.0f}, %{y:.0f})"  # what is pointed at, in plotly's words

AnyFigure = go.Figure | go.FigureWidget


@dataclass(frozen=True, eq=False)
class MatchedPhotos:
    """Two photos that are described, and how points of the first are looked for in the second."""

    photos: tuple[Image, Image]
    titles: tuple[str, str]
    described: tuple[Mapping[Feature, DescribedExtent], Mapping[Feature, DescribedExtent]]
    network: Extractor
    options: MatchOptions

    @property
    def features(self) -> tuple[Feature, ...]:
        """What they are matched by."""
        return tuple(self.described[0])


def match_figure(pair: MatchedPhotos, point: Float[np.ndarray, "2"]) -> AnyFigure:
    """The first photo with a point (x, y), and beside it, by each feature, how similar the second one's cells are.

    Its traces have names: "photo" and "point", and by feature such as "sift20 similarities" and "sift20 place". A click
    on the first photo moves the point where there are widgets.
    """
    figure = _empty_figure(pair)
    _show_point(figure, pair, point)
    try:
        widget = go.FigureWidget(figure)
    except ImportError:  # without anywidget, which draws widgets
        return figure

    def move(photo: go.Image, clicked: Points, state: object) -> None:
        del photo, state
        if clicked.xs:  # there are none where another picture was clicked
            _show_point(widget, pair, np.array([clicked.xs[0], clicked.ys[0]], float))

    widget.for_each_trace(lambda photo: photo.on_click(move), selector={"name": "photo"})
    return widget


def _empty_figure(pair: MatchedPhotos) -> go.Figure:
    """Photos and axes, with places for what belongs to a point."""
    grey = images.as_image(np.rint(images.grey(pair.photos[1])).astype(np.uint8))
    pictures = [
        (pair.photos[0], [_photo(pair.photos[0], name="photo", hovertemplate=f"{_AT}<extra></extra>")], "point")
    ]
    for feature in pair.features:
        maps = [_photo(grey, hoverinfo="skip"), _similarities(feature, pair.described[1][feature])]
        pictures.append((grey, maps, f"{feature} place"))
    columns = min(len(pictures), _COLUMNS)
    rows = math.ceil(len(pictures) / columns)
    titles = [pair.titles[0], *map(str, pair.features)]
    figure = make_subplots(rows, columns, subplot_titles=titles, vertical_spacing=0.16 / rows, horizontal_spacing=0.03)
    for number, (photo, traces, mark) in enumerate(pictures):
        row, column = number // columns + 1, number % columns + 1
        marked = go.Scatter(name=mark, mode="markers", marker=_MARK, hoverinfo="skip", showlegend=False)
        for trace in (*traces, marked):
            figure.add_trace(trace, row=row, col=column)
        height, width = photo.shape[:2]
        axis = {"constrain": "domain", "visible": False}
        figure.update_xaxes(axis, range=[-0.5, width - 0.5], row=row, col=column)
        across = f"x{number + 1}" if number else "x"
        down = {"range": [height - 0.5, -0.5], "scaleanchor": across, "constraintoward": "top"}
        figure.update_yaxes(axis | down, row=row, col=column)
    figure.update_layout(
        height=rows * _ROW_PX + 40,
        margin={"l": 10, "r": 10, "t": 70, "b": 10},
        hovermode="closest",
        hoverlabel={"bgcolor": "white"},
        coloraxis={"colorscale": "Viridis", "cmin": 0, "cmax": 1, "colorbar": {"title": "cosine"}},
    )
    return figure


def _photo(photo: Image, **options: str) -> go.Image:
    """A photo at its own pixels, of which no more are sent than are seen."""
    height, width = photo.shape[:2]
    shown = images.resize(photo, longer_side=_SHOWN_PX) if max(height, width) > _SHOWN_PX else photo
    dx, dy = width / shown.shape[1], height / shown.shape[0]
    source = f"data:image/jpeg;base64,{base64.b64encode(images.encode(shown, format='JPEG')).decode()}"
    return go.Image(source=source, x0=(dx - 1) / 2, dx=dx, y0=(dy - 1) / 2, dy=dy, **options)


def _similarities(feature: Feature, extent: DescribedExtent) -> go.Heatmap:
    """A map to come, cells at their places in the photo."""
    field = extent.grid.receptive_field
    first, second = extent.transform.to_image(np.array([[field.offset] * 2, [field.offset + field.stride] * 2]))
    (x0, y0), (dx, dy) = first, second - first
    return go.Heatmap(
        name=f"{feature} similarities",
        x0=x0,
        dx=dx,
        y0=y0,
        dy=dy,
        opacity=0.6,
        coloraxis="coloraxis",
        hovertemplate=f"{_AT}<br>%{{z:.3f}}<extra></extra>",
    )


def _show_point(figure: AnyFigure, pair: MatchedPhotos, point: Float[np.ndarray, "2"]) -> None:
    """Puts the point, and what is found of it, into the figure."""
    source, target = pair.described
    judged = confidence.judged_matches(source, target, point[None], network=pair.network, options=pair.options)
    with figure.batch_update():
        figure.update_traces(x=[point[0]], y=[point[1]], selector={"name": "point"})
        for number, (feature, found) in enumerate(judged.items(), start=1):
            similarities = matching.similarity_map(source[feature], target[feature], point)
            figure.update_traces(z=similarities, selector={"name": f"{feature} similarities"})
            figure.update_traces(x=found.places[:, 0], y=found.places[:, 1], selector={"name": f"{feature} place"})
            figure.update_annotations(text=_title(feature, found), selector=number)


def _title(feature: Feature, found: PointMatches) -> str:
    """A feature, with what speaks for its place."""
    margin = "" if math.isnan(found.margins[0]) else f", margin {found.margins[0]:.3f}"
    mutual = "mutual" if found.mutual[0] else "not mutual"
    error = f"cycle error {found.cycle_errors[0]:.1f} px"
    probability = found.confidences[0]
    sure = "" if math.isnan(probability) else f", confidence {probability:.0%}"
    return f"{feature}<br><sup>similarity {found.similarities[0]:.3f}{margin}<br>{error}, {mutual}{sure}</sup>"
