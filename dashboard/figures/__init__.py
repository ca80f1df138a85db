"""Results drawn: arrays in, pictures and charts out. Knows no streamlit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw, ImageFont

from corrcore.engines.mrf import Solution
from corrcore.geometry import CellGrid, PixelBox
from corrcore.tasks.alignment import Alignment
from corrcore.tasks.averaging import Agreement, Averages, expand_contrast
from corrcore.tasks.reconstruction import Localisation

YELLOW = "#ffd500"
BLACK = "#000000"
# Okabe and Ito's palette, told apart by colour-blind eyes; one colour a layer, the same on every page.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#f0e442")
GREY = "#8a8a8a"
# Of keypoints: Okabe and Ito's again, then Tol's muted ones; numbers tell apart what eyes cannot.
KEYPOINT_COLOURS = (
    *("#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#f0e442", "#009e73", "#cc79a7", "#ffffff"),
    *("#332288", "#88ccee", "#882255", "#ddcc77", "#999933", "#44aa99", "#aa4499", "#000000"),
)
TRANSPARENT = "rgba(0,0,0,0)"


def colour_of(layer: str, layers: Sequence[str]) -> str:
    return PALETTE[list(layers).index(layer) % len(PALETTE)]


def crop(image: np.ndarray, box: PixelBox) -> np.ndarray:
    return np.ascontiguousarray(image[box.top : box.bottom, box.left : box.right])


def draw_boxes(image: np.ndarray, boxes: Sequence[tuple[PixelBox, str]]) -> np.ndarray:
    """A copy with boxes drawn on it, each over a thin halo so that it stands out on any photo."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for box, colour in boxes:
        inner = (box.left, box.top, box.right - 1, box.bottom - 1)
        halo = (inner[0] - 1, inner[1] - 1, inner[2] + 1, inner[3] + 1)
        draw.rectangle(halo, outline="white" if colour == BLACK else "black")
        draw.rectangle(inner, outline=colour, width=2)
    return np.asarray(picture)


def neighbour_view(picture: np.ndarray, field: PixelBox, patch: PixelBox, *, margin: int = 24) -> np.ndarray:
    """A patch (yellow) inside its receptive field (black) inside a square part of its source picture.

    The patch is in the middle, and what lies beyond the picture is grey: all views of one layer can be compared at a
    glance.
    """
    side = field.width + 2 * margin
    part = PixelBox(field.left - margin, field.top - margin, field.left - margin + side, field.top - margin + side)
    view = np.full((side, side, 3), 128, np.uint8)
    inside = part.clip((picture.shape[1], picture.shape[0]))
    view[inside.top - part.top : inside.bottom - part.top, inside.left - part.left : inside.right - part.left] = crop(
        picture, inside
    )
    moved = [
        PixelBox(box.left - part.left, box.top - part.top, box.right - part.left, box.bottom - part.top)
        for box in (field, patch)
    ]
    return draw_boxes(view, [(moved[0], BLACK), (moved[1], YELLOW)])


@dataclass(frozen=True)
class Column:
    """One column of Figure 1: a title and a picture a row, from the top."""

    title: str
    pictures: Sequence[np.ndarray]


def image_grid(columns: Sequence[Column], row_titles: Sequence[str], *, gap: int = 8) -> np.ndarray:
    """Pictures in rows and columns with titles, on white: the figure to download. Cells fit the largest picture."""
    font = ImageFont.load_default(size=15)
    pictures = [picture for column in columns for picture in column.pictures]
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    left = max((int(measure.textlength(title, font)) for title in row_titles), default=0) + 2 * gap
    top = 24 + gap
    size = (left + len(columns) * (width + gap), top + len(row_titles) * (height + gap))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for row, title in enumerate(row_titles):
        draw.text((gap, top + row * (height + gap) + height // 2), title, "black", font, anchor="lm")
    for number, column in enumerate(columns):
        x = left + number * (width + gap)
        draw.text((x + width // 2, top - gap // 2), column.title, "black", font, anchor="ms")
        for row, picture in enumerate(column.pictures):
            at = (x + (width - picture.shape[1]) // 2, top + row * (height + gap) + (height - picture.shape[0]) // 2)
            canvas.paste(Image.fromarray(picture), at)
    return np.asarray(canvas)


def averages_sheet(averages: Sequence[Averages]) -> np.ndarray:
    """Figure 2: a column a layer, a row a k, contrast expanded, at true relative sizes."""
    columns = [
        Column(result.layer, [expand_contrast(each.mean, each.count) for each in result.averages])
        for result in averages
    ]
    return image_grid(columns, [f"k = {each.k}" for each in averages[0].averages])


def _styled(figure: go.Figure, *, height: int) -> go.Figure:
    """No decoration, room for labels, colours of the page's theme."""
    return figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        paper_bgcolor=TRANSPARENT,
        plot_bgcolor=TRANSPARENT,
        showlegend=False,
        hoverlabel={"namelength": -1},
    )


def match_distances(results: Sequence[Localisation], layers: Sequence[str], *, height: int = 320) -> go.Figure:
    """The share of best matches within a distance of their place, a layer a line; dotted: of all places."""
    figure = go.Figure()
    for result in results:
        colour = colour_of(result.layer, layers)
        distances = list(range(0, result.highest + 1, 2))
        shares = 100 * np.array([result.share_within(distance) for distance in distances])
        for name, values, dash in (
            (result.layer, shares[:, 0], "solid"),
            (f"{result.layer}, chance", shares[:, 1], "dot"),
        ):
            figure.add_scatter(
                x=distances,
                y=values,
                name=name,
                mode="lines",
                line={"color": colour, "dash": dash, "width": 2.5 if dash == "solid" else 1.5},
                hovertemplate="%{y:.0f} % within %{x} px",
            )
        figure.add_annotation(
            x=distances[-1], y=shares[-1, 0], text=result.layer, font={"color": colour}, showarrow=False, yshift=12
        )
    figure.update_xaxes(title="distance from the right place (px)", rangemode="tozero")
    figure.update_yaxes(title="share of matches", ticksuffix=" %", rangemode="tozero")
    return _styled(figure, height=height)


def offset_map(result: Localisation, *, highest_share: float, height: int = 240) -> go.Figure:
    """Where matches lie around their place: the share a square of 8 px, one colour range for all maps."""
    counts, centres = _offset_counts(result)
    figure = go.Figure(
        go.Heatmap(
            x=centres,
            y=centres,
            z=100 * counts / max(counts.sum(), 1),
            zmin=0,
            zmax=100 * highest_share,
            colorscale="Viridis",
            showscale=False,
            hovertemplate="%{z:.1f} % of matches<br>%{x:+.0f} px right, %{y:+.0f} px down<extra></extra>",
        )
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x")
    title = {"text": result.layer, "font": {"size": 14}, "x": 0.5}
    return _styled(figure, height=height).update_layout(title=title)


def highest_share(results: Sequence[Localisation]) -> float:
    """The fullest 8 px square of any result: the shared end of the maps' colour range."""
    return max(float(counts.max() / max(counts.sum(), 1)) for counts, _ in map(_offset_counts, results))


def _offset_counts(result: Localisation) -> tuple[np.ndarray, np.ndarray]:
    """Matches in squares of 8 px, one centred on the right place."""
    first = (result.lowest + 4) // 8 * 8 - 4
    edges = np.arange(first, result.highest + 9, 8)
    counts, _, _ = np.histogram2d(result.offsets[:, 1], result.offsets[:, 0], bins=(edges, edges))
    return counts, (edges[:-1] + edges[1:]) / 2


def agreement_profile(profiles: Mapping[str, Agreement], layers: Sequence[str], *, height: int = 340) -> go.Figure:
    """Agreement of aligned receptive fields against distance from the centre; dots mark effective radii."""
    figure = go.Figure()
    for layer, profile in profiles.items():
        colour = colour_of(layer, layers)
        figure.add_scatter(
            x=profile.radii_px,
            y=profile.agreement,
            name=layer,
            mode="lines",
            line={"color": colour, "width": 2.5},
            hovertemplate="%{y:.2f} at %{x:.0f} px",
        )
        figure.add_annotation(
            x=profile.radii_px[-1],
            y=profile.agreement[-1],
            text=layer,
            font={"color": colour},
            showarrow=False,
            xshift=24,
        )
        radius = profile.agreement_radius_px
        if np.isfinite(radius):
            figure.add_scatter(
                x=[radius],
                y=[profile.half],
                name=f"{layer}: effective radius",
                mode="markers",
                marker={"color": colour, "size": 11, "line": {"color": "white", "width": 1.5}},
                hovertemplate="effective radius %{x:.0f} px",
            )
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="distance from the receptive-field centre (px)", rangemode="tozero")
    lowest = min((float(profile.agreement.min()) for profile in profiles.values()), default=0)
    figure.update_yaxes(title="agreement", range=[min(-0.05, lowest - 0.05), 1.05])
    return _styled(figure, height=height)


def keypoint_colour(number: int) -> str:
    return KEYPOINT_COLOURS[number % len(KEYPOINT_COLOURS)]


def draw_keypoints(
    image: np.ndarray,
    points: np.ndarray,
    *,
    truth: np.ndarray | None = None,
    radii_px: tuple[float, float] = (0.0, 0.0),
    scale: int = 2,
) -> np.ndarray:
    """The picture, enlarged by `scale`, with its keypoints: a dot each, in the keypoint's colour.

    With `truth`, points outside the ellipse of radii `radii_px` (along x and y) around it are rings with a line to it, and
    thin ellipses show what counts as right. NaN is not drawn.
    """
    enlarged = Image.fromarray(image).resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(enlarged)

    radii = np.array(radii_px) * scale

    def circle(at: np.ndarray, radius: float | np.ndarray, **how: Any) -> None:
        draw.ellipse((*(at - radius), *(at + radius)), **how)

    for number, point in enumerate(points):
        colour = keypoint_colour(number)
        edge = "black" if _light(colour) else "white"
        at = (point + 0.5) * scale - 0.5
        right = (truth[number] + 0.5) * scale - 0.5 if truth is not None else at
        if truth is not None and not np.isnan(right).any():
            circle(right, radii, outline=colour, width=scale)
        if np.isnan(at).any() or (truth is not None and np.isnan(right).any()):
            continue
        if truth is not None and np.linalg.norm((at - right) / np.maximum(radii, 1e-9)) > 1:
            draw.line((*at, *right), fill=edge, width=3)
            draw.line((*at, *right), fill=colour, width=1)
            circle(at, 4.5 * scale, outline=edge, width=5)
            circle(at, 4.5 * scale - 1, outline=colour, width=3)
        else:
            circle(at, 4 * scale + 1, fill=edge)
            circle(at, 4 * scale, fill=colour)
    return np.asarray(enlarged)


def _light(colour: str) -> bool:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return 0.3 * red + 0.6 * green + 0.1 * blue > 128


def draw_frame(image: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The picture with a light rectangle, in a dark one, between two corners (x, y)."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    (left, top), (right, bottom) = np.rint(corners).astype(int).tolist()
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(90, 90, 90))
    draw.rectangle((left, top, right, bottom), outline=(235, 235, 235))
    return np.asarray(picture)


def draw_crosses(
    image: np.ndarray,
    points: Sequence[tuple[tuple[float, float], str]],
    *,
    rings: Sequence[tuple[tuple[float, float], str]] = (),
    scale: int = 2,
) -> np.ndarray:
    """The picture, enlarged, with a cross at each point, in its colour, and rings around others."""
    picture = Image.fromarray(image).resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for point, colour in points:
        x, y = ((each + 0.5) * scale - 0.5 for each in point)
        for width, drawn in ((7, "black" if _light(colour) else "white"), (3, colour)):
            draw.line((x - 6 * scale, y, x + 6 * scale, y), fill=drawn, width=width)
            draw.line((x, y - 6 * scale, x, y + 6 * scale), fill=drawn, width=width)
    for point, colour in rings:
        x, y = ((each + 0.5) * scale - 0.5 for each in point)
        for radius, width, drawn in ((11, 7, "black" if _light(colour) else "white"), (9, 3, colour)):
            reach = radius * scale
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=drawn, width=width)
    return np.asarray(picture)


def displacement_colours(displacement: np.ndarray, *, longest: float) -> np.ndarray:
    """Displacements (dx, dy) as colours: the direction is the hue, `longest` and more the full colour, none white."""
    turn = np.arctan2(displacement[..., 1], displacement[..., 0]) / (2 * np.pi) % 1
    length = np.minimum(np.linalg.norm(displacement, axis=-1) / max(longest, 1e-9), 1)
    hue = np.stack([turn, turn - 1 / 3, turn - 2 / 3], axis=-1)
    full = np.clip(0.5 + np.cos(2 * np.pi * hue) / 1.5, 0, 1)
    return np.rint(255 * (1 - length[..., None] * (1 - full))).astype(np.uint8)


def colour_wheel(side: int = 96) -> np.ndarray:
    """The key to `displacement_colours`, to be shown round: pointing right is on the right."""
    axis = np.linspace(-1, 1, side)
    x, y = np.meshgrid(axis, axis)
    return displacement_colours(np.stack([x, y], axis=-1), longest=1)


def displacement_picture(alignment: Alignment, *, longest: float, side: int = 304) -> np.ndarray:
    """The field over the source, a square a cell."""
    colours = displacement_colours(alignment.displacement, longest=longest)
    rows, columns = colours.shape[:2]
    scale = max(side // max(rows, columns), 1)
    return np.repeat(np.repeat(colours, scale, axis=0), scale, axis=1)


def displacement_arrows(image: np.ndarray, alignment: Alignment, *, scale: int = 2) -> np.ndarray:
    """Arrows on the source, from the centres of cells by their displacements."""
    picture = Image.fromarray(image).convert("L").convert("RGB")
    picture = picture.resize((image.shape[1] * scale, image.shape[0] * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    starts = alignment.source.centres()
    ends = starts + alignment.displacement * alignment.source.receptive_field.stride
    for start, end in zip(starts.reshape(-1, 2), ends.reshape(-1, 2), strict=True):
        a, b = (start + 0.5) * scale - 0.5, (end + 0.5) * scale - 0.5
        draw.line((*a, *b), fill=YELLOW, width=2)
        along = b - a
        length = np.hypot(*along)
        if length > 4:
            along, across = 7 * along / length, 4 * np.array([-along[1], along[0]]) / length
            draw.polygon([tuple(b), tuple(b - along + across), tuple(b - along - across)], fill=YELLOW)
        else:
            draw.ellipse((*(a - 2), *(a + 2)), fill=YELLOW)
    return np.asarray(picture)


def similarity_overlay(
    image: np.ndarray, similarity: np.ndarray, *, opacity: float = 0.75, scale: int = 2
) -> np.ndarray:
    """A similarity from 0 to 1 a cell over the picture: cells are the squares around their centres; Viridis."""
    colours = np.rint(_coloured(np.clip(similarity, 0, 1), _VIRIDIS))
    size = (image.shape[1] * scale, image.shape[0] * scale)
    over = Image.fromarray(colours.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    under = Image.fromarray(image).convert("L").convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return np.asarray(Image.blend(under, over, opacity))


def viridis_colours() -> list[str]:
    """The colours of `similarity_overlay`, from 0 to 1, and of `maxima_counts`, from none to most."""
    return _names_of(_VIRIDIS)


def _coloured(levels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Red, green and blue, to 255, of levels by a table of levels and channels."""
    return 255 * np.stack([np.interp(levels, table[0], channel) for channel in table[1:]], axis=-1)


def _names_of(table: np.ndarray) -> list[str]:
    return [f"#{''.join(f'{round(255 * value):02x}' for value in colour)}" for colour in table[1:].T]


_VIRIDIS = np.array(
    [
        [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1],
        [0.267, 0.283, 0.231, 0.173, 0.128, 0.152, 0.369, 0.678, 0.993],
        [0.005, 0.141, 0.322, 0.449, 0.567, 0.681, 0.789, 0.864, 0.906],
        [0.329, 0.458, 0.545, 0.558, 0.551, 0.500, 0.383, 0.190, 0.144],
    ]
)  # a level, then red, green and blue there


def score_overlay(image: np.ndarray, scores: np.ndarray, *, limit: float, opacity: float = 0.6) -> np.ndarray:
    """A score a pixel, NaN for none, over the grey picture: blue below zero, red above, full colour at `limit`."""
    return _overlay(image, scores / max(limit, 1e-9), _DIVERGING, opacity)


def level_overlay(image: np.ndarray, levels: np.ndarray, *, opacity: float = 0.6) -> np.ndarray:
    """A number from 0 to 1 a pixel, NaN for none, over the grey picture: Viridis."""
    return _overlay(image, levels, _VIRIDIS, opacity)


def _overlay(image: np.ndarray, levels: np.ndarray, table: np.ndarray, opacity: float) -> np.ndarray:
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB")).astype(float)
    there = ~np.isnan(levels)
    colours = _coloured(np.clip(levels[there], table[0, 0], table[0, -1]), table)
    grey[there] = (1 - opacity) * grey[there] + opacity * colours
    return np.rint(grey).astype(np.uint8)


def of_cells(values: np.ndarray, cells: CellGrid, size: tuple[int, int]) -> np.ndarray:
    """A value a pixel of a picture of ``(width, height)`` that shows what the cells were taken of, at any proportions.

    That of the cell whose centre is nearest; NaN beyond the outermost cells' patches.
    """
    numbers = []
    for length, shown, n in zip(cells.image_size, size, (cells.columns, cells.rows), strict=True):
        pixels = (np.arange(shown) + 0.5) * length / shown - 0.5
        nearest = np.floor((pixels - cells.receptive_field.offset) / cells.receptive_field.stride + 0.5).astype(int)
        numbers.append(np.where((nearest >= 0) & (nearest < n), nearest, -1))
    x, y = numbers
    found = values[np.maximum(y, 0)[:, None], np.maximum(x, 0)[None, :]].astype(float)
    found[(y < 0)[:, None] | (x < 0)[None, :]] = np.nan
    return found


def score_colours() -> list[str]:
    """The colours of `score_overlay`, from -limit to limit."""
    return _names_of(_DIVERGING)


# ColorBrewer's RdBu: a level, then red, green and blue there
_DIVERGING = np.array(
    [
        [-1, -0.8, -0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8, 1],
        [0.020, 0.129, 0.263, 0.573, 0.820, 0.969, 0.992, 0.957, 0.839, 0.698, 0.404],
        [0.188, 0.400, 0.576, 0.773, 0.898, 0.969, 0.859, 0.647, 0.376, 0.094, 0.0],
        [0.380, 0.675, 0.765, 0.871, 0.941, 0.969, 0.780, 0.510, 0.302, 0.169, 0.122],
    ]
)


def scores_of_all(scores: Mapping[str, np.ndarray], names: Sequence[str], own: str, *, height: int = 360) -> go.Figure:
    """What every keypoint's classifier says of one pixel, by feature; the chosen keypoint's name is bold."""
    figure = go.Figure()
    labels = [f"<b>{name}</b>" if name == own else name for name in names]
    for feature, values in scores.items():
        figure.add_bar(
            x=values,
            y=labels,
            name=feature,
            orientation="h",
            marker={"color": colour_of(feature, list(scores))},
            hovertemplate="%{y}: %{x:.3f}",
        )
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="score")
    return _styled(figure, height=max(height, 16 * len(names) * len(scores))).update_layout(
        showlegend=len(scores) > 1, legend={"orientation": "h", "y": 1.08}
    )


def score_profile(profiles: Mapping[str, tuple[np.ndarray, np.ndarray]], at: int) -> go.Figure:
    """Scores along the row of pixels through one: (x, score) by feature."""
    figure = _score_lines(profiles, axes=("x (px)", "score"), hover="%{y:.3f} at x = %{x}")
    figure.add_hline(y=0, line={"color": GREY, "dash": "dot", "width": 1})
    figure.add_vline(x=at, line={"color": GREY, "width": 1})
    return figure


def score_by_distance(profiles: Mapping[str, np.ndarray]) -> go.Figure:
    """Mean scores at 0, 1, ... pixels from a keypoint, by feature."""
    lines = {feature: (np.arange(len(values)), values) for feature, values in profiles.items()}
    return _score_lines(lines, axes=("distance (px)", "mean score"), hover="%{y:.3f} at %{x} px")


def _score_lines(lines: Mapping[str, tuple[np.ndarray, np.ndarray]], *, axes: tuple[str, str], hover: str) -> go.Figure:
    figure = go.Figure()
    for feature, (x, values) in lines.items():
        figure.add_scatter(
            x=x,
            y=values,
            name=feature,
            mode="lines",
            line={"color": colour_of(feature, list(lines)), "width": 2},
            hovertemplate=hover,
        )
    figure.update_xaxes(title=axes[0])
    figure.update_yaxes(title=axes[1])
    return _styled(figure, height=300).update_layout(showlegend=len(lines) > 1, legend={"orientation": "h", "y": 1.15})


def accuracy_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    chosen: Mapping[str, float],
    *,
    highest: float,
    height: int = 340,
) -> go.Figure:
    """Figure 4: accuracy in cross validation against the cost, a line a feature; the chosen cost is marked.

    The axis ends at `highest`, a share of 1, so that several such figures compare.
    """
    figure = go.Figure()
    for feature, (costs, accuracies) in curves.items():
        colour = colour_of(feature, list(curves))
        percent = 100 * np.array(accuracies)
        sizes = [11 if cost == chosen[feature] else 5 for cost in costs]
        figure.add_scatter(
            x=list(costs),
            y=percent,
            name=feature,
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            marker={"size": sizes},
            hovertemplate="%{y:.1f} % at cost %{x}",
        )
    figure.update_xaxes(title="cost of misclassification C", type="log", exponentformat="power", dtick=1)
    figure.update_yaxes(title="accuracy", ticksuffix=" %", range=[0, 105 * highest])
    return _styled(figure, height=height).update_layout(showlegend=True, legend={"orientation": "h", "y": 1.2})


def confusion(counts: np.ndarray, names: Sequence[str], *, height: int = 520) -> go.Figure:
    """Which keypoints (rows) are called what (columns), as a share of each row."""
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = go.Figure(
        go.Heatmap(
            x=list(names),
            y=list(names),
            z=shares,
            zmin=0,
            zmax=100,
            colorscale="Viridis",
            customdata=counts,
            colorbar={"title": "% of row", "thickness": 12},
            hovertemplate="%{y} called %{x}: %{z:.0f} % (%{customdata})<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", title="keypoint")
    figure.update_xaxes(title="called", tickangle=-60)
    return _styled(figure, height=height)


def maxima_counts(counts: np.ndarray, *, highest: int, height: int = 330) -> go.Figure:
    """How many maxima fall on each pixel around the keypoint, in the middle; one colour range for all."""
    half = len(counts) // 2
    offsets = np.arange(-half, half + 1)
    middle = {"color": "white", "width": 1}
    figure = go.Figure(
        go.Heatmap(
            x=offsets,
            y=offsets,
            z=counts,
            zmin=0,
            zmax=highest,
            colorscale="Viridis",
            showscale=False,
            hovertemplate="%{z} at %{x:+d} px right, %{y:+d} px down<extra></extra>",
        )
    )
    edge = half - 0.5
    figure.add_shape(
        type="rect", x0=-edge, y0=-edge, x1=edge, y1=edge, line={"color": "white", "width": 1, "dash": "dot"}
    )
    for x, y in ((half / 10, 0), (0, half / 10)):
        figure.add_shape(type="line", x0=-x, x1=x, y0=-y, y1=y, line=middle)
    ticks = [-half, 0, half]
    figure.update_xaxes(
        tickvals=ticks, ticktext=[f"{ticks[0]} px", "0", f"{half} px"], showgrid=False, constrain="domain"
    )
    figure.update_yaxes(tickvals=ticks, autorange="reversed", scaleanchor="x", showgrid=False)
    return _styled(figure, height=height)


Ends = tuple[float, float, float]  # a number, and the lower and upper end of its interval


@dataclass(frozen=True)
class RowStyle:
    """How a row of a table is drawn: in its feature's colour, the line and the bars' pattern telling which prior it has."""

    colour: str
    dash: str = "solid"
    pattern: str = ""


# One colour a feature in all tables, of three times the contrast to white and to the dark theme's background.
FEATURE_COLOURS = {
    "conv1": "#a97900",
    "conv2": "#c2579a",
    "conv3": "#0a946a",
    "conv4": "#1f7fc4",
    "conv5": "#d55e00",
    "pool5": "#6d8b1c",
    "sift10": "#12878f",
    "sift16": "#9a5cc6",
    "sift20": "#7a6ad8",
    "sift40": "#a0694b",
    "sift80": "#5f7fa8",
    "sift160": "#7d8a3a",
}
_ADDED = {"": ("solid", ""), "prior": ("dot", "."), "5 priors": ("dash", "/")}
_ALONE = ("NN", "prior", "5 priors")  # rows of no feature


def row_style(row: str) -> RowStyle:
    """That of a row such as conv4, sift20, conv5+prior or NN, the same wherever it is."""
    feature, _, added = ("", "", row) if row in _ALONE else row.partition("+")
    dash, pattern = _ADDED.get(added, ("solid", "") if row == "NN" else ("dashdot", "x"))
    if not feature:
        return RowStyle("#808080", dash, pattern)
    others = list(FEATURE_COLOURS.values())
    return RowStyle(FEATURE_COLOURS.get(feature, others[sum(feature.encode()) % len(others)]), dash, pattern)


def _legend_above(figure: go.Figure, rows: Sequence[str], *, height: int) -> go.Figure:
    """A legend over the plot, with room of its own for the rows' names, two beside each other on a phone."""
    names = {row: row.replace(" + ", "<br>+ ") if len(row) > 18 else row for row in rows}
    figure.for_each_trace(lambda trace: trace.update(name=names.get(trace.name, trace.name)))
    room = -(-len(rows) // 2) * (38 if any("<br>" in name for name in names.values()) else 22)
    _styled(figure, height=height + room)
    return figure.update_layout(
        showlegend=True,
        margin={"l": 8, "r": 8, "t": 12 + room, "b": 8},
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.03,
            "yanchor": "bottom",
            "entrywidth": 0.48,
            "entrywidthmode": "fraction",
        },
    )


def category_bars(
    rows: Mapping[str, Sequence[Ends]],
    published: Mapping[str, Sequence[float | None]],
    categories: Sequence[str],
    *,
    styles: Mapping[str, RowStyle],
    height: int = 400,
) -> go.Figure:
    """A group of bars a category, one a row, with whiskers for intervals; hollow markers are the published numbers."""
    figure = go.Figure()
    width = 0.84 / max(len(rows), 1)
    for number, (row, ends) in enumerate(rows.items()):
        x = np.arange(len(categories)) + width * (number - (len(rows) - 1) / 2)
        values, low, high = np.array(ends, dtype=float).T
        figure.add_bar(
            x=x,
            y=values,
            width=0.92 * width,
            name=row,
            marker={
                "color": styles[row].colour,
                "pattern": {
                    "shape": styles[row].pattern,
                    "bgcolor": styles[row].colour,
                    "fgcolor": "white",
                    "solidity": 0.25,
                    "size": 6,
                },
            },
            error_y={"array": high - values, "arrayminus": values - low, "color": GREY, "thickness": 1.5, "width": 2},
            customdata=np.stack([low, high], axis=-1),
            text=list(categories),
            textposition="none",
            hovertemplate="%{text}: %{y:.1f} % [%{customdata[0]:.1f}, %{customdata[1]:.1f}]",
        )
        known = [(at, number) for at, number in zip(x, published.get(row, ()), strict=False) if number is not None]
        if known:
            figure.add_scatter(
                x=[at for at, _ in known],
                y=[number for _, number in known],
                name=f"{row}, published",
                mode="markers",
                marker={"symbol": "diamond", "size": 10, "color": "white", "line": {"width": 2, "color": "#202020"}},
                showlegend=False,
                hovertemplate="%{y:.1f} %",
            )
    figure.update_xaxes(tickvals=list(range(len(categories))), ticktext=list(categories), showgrid=False)
    figure.update_yaxes(ticksuffix=" %", rangemode="tozero")
    return _legend_above(figure, list(rows), height=height)


def pck_curves(
    curves: Mapping[str, Sequence[Ends]],
    alphas: Sequence[float],
    *,
    at: float,
    styles: Mapping[str, RowStyle],
    height: int = 420,
) -> go.Figure:
    """PCK against alpha, a line a row with its interval as a band; a thin line marks the alpha of the table."""
    figure = go.Figure()
    for row, ends in curves.items():
        values, low, high = np.array(ends, dtype=float).T
        figure.add_scatter(
            x=[*alphas, *reversed(alphas)],
            y=[*high, *reversed(low)],
            fill="toself",
            fillcolor=styles[row].colour,
            opacity=0.15,
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
        )
    lowest = -np.inf
    for row in sorted(curves, key=lambda row: curves[row][-1][0]):
        values = [value for value, _, _ in curves[row]]
        figure.add_scatter(
            x=list(alphas),
            y=values,
            name=row,
            mode="lines",
            line={"color": styles[row].colour, "width": 2.5, "dash": styles[row].dash},
            hovertemplate="%{y:.1f} % at %{x:.2f}",
        )
        lowest = max(values[-1], lowest + 4)  # labels one above the other
        figure.add_annotation(
            x=alphas[-1],
            y=lowest,
            text=row,
            font={"color": styles[row].colour},
            showarrow=False,
            xanchor="left",
            xshift=6,
        )
    figure.add_vline(x=at, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(title="α, as a part of the box's side", range=[0, alphas[-1]])
    figure.update_yaxes(title="PCK", ticksuffix=" %", rangemode="tozero")
    longest = max(map(len, curves), default=0)
    return _styled(figure, height=height).update_layout(margin={"l": 8, "r": 8 + round(6.5 * longest), "t": 36, "b": 8})


def by_difficulty(
    rows: Mapping[str, Sequence[Ends]],
    groups: Sequence[str],
    *,
    title: str,
    highest: float,
    styles: Mapping[str, RowStyle],
    height: int = 380,
) -> go.Figure:
    """How good each row is on groups of objects, from one kind to another; whiskers are intervals."""
    figure = go.Figure()
    for number, (row, ends) in enumerate(rows.items()):
        values, low, high = np.array(ends, dtype=float).T
        figure.add_scatter(
            x=np.arange(len(groups)) + 0.03 * (number - (len(rows) - 1) / 2),
            y=values,
            name=row,
            mode="lines+markers",
            line={"color": styles[row].colour, "width": 2.5, "dash": styles[row].dash},
            marker={"size": 8},
            error_y={"array": high - values, "arrayminus": values - low, "thickness": 1.5, "width": 3},
            customdata=np.stack([low, high], axis=-1),
            hovertemplate="%{y:.1f} % [%{customdata[0]:.1f}, %{customdata[1]:.1f}]",
        )
    figure.update_xaxes(title=title, tickvals=list(range(len(groups))), ticktext=list(groups), showgrid=False)
    figure.update_yaxes(ticksuffix=" %", range=[0, highest])
    return _legend_above(figure, list(rows), height=height)


TEAL, BLUE, ORANGE = (15, 107, 125), (33, 102, 172), (200, 100, 0)


def heat(share: float, colour: tuple[int, int, int] = TEAL) -> tuple[str, bool]:
    """A cell's colour as CSS, from nothing at 0 to the whole colour at 1, and whether only white ink can be read on it."""
    share = min(max(share, 0.0), 1.0)
    return f"rgba({', '.join(map(str, colour))}, {share:.2f})", share > 0.78


def table_picture(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], shares: Sequence[Sequence[float | None]]
) -> np.ndarray:
    """A table drawn on white: titles of rows first, cells in the colours of `heat` at `shares`, None for no colour."""
    font, small, scale = ImageFont.load_default(size=26), ImageFont.load_default(size=22), 14
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    widths = [
        int(max(measure.textlength(text, font) for text in column)) + 2 * scale
        for column in zip(headings, *rows, strict=True)
    ]
    height, top = 48, 64
    least = int(measure.textlength(title, small)) + 2 * scale
    canvas = Image.new("RGB", (max(sum(widths), least) + 1, top + height * (len(rows) + 1) + 1), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((scale, top // 2), title, "black", small, anchor="lm")
    for number, (cells, levels) in enumerate(zip((headings, *rows), ((), *shares), strict=True)):
        left, y = 0, top + number * height
        for column, (text, width) in enumerate(zip(cells, widths, strict=True)):
            share = levels[column] if column < len(levels) else None
            ink = "black"
            if share is not None:
                share = min(max(share, 0.0), 1.0)
                mixed = np.rint(255 + share * (np.array(TEAL) - 255)).astype(int)
                draw.rectangle((left, y, left + width - 1, y + height - 1), fill=tuple(mixed.tolist()))
                ink = "white" if heat(share)[1] else "black"
            at, anchor = (left + scale, "lm") if column == 0 else (left + width - scale, "rm")
            draw.text((at, y + height // 2), text, ink, font, anchor=anchor)
            left += width
        draw.line((0, y + height, left, y + height), fill=GREY if number == 0 else "#dddddd")
    return np.asarray(canvas)


def energy_history(solution: Solution, *, height: int = 280) -> go.Figure:
    """Energy and, where there is one, lower bound after every iteration."""
    figure = go.Figure()
    iterations = np.arange(1, len(solution.history) + 1)
    lines = [("energy", np.minimum.accumulate(solution.history[:, 0]), PALETTE[0])]
    if np.isfinite(solution.history[:, 1]).any():
        lines.append(("lower bound", solution.history[:, 1], PALETTE[1]))
    for name, values, colour in lines:
        figure.add_scatter(
            x=iterations,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2.5},
            hovertemplate="%{y:.2f} after %{x}",
        )
        figure.add_annotation(
            x=iterations[-1],
            y=values[-1],
            text=name,
            font={"color": colour},
            showarrow=False,
            yshift=12 if name == "energy" else -14,
            xanchor="right",
        )
    figure.update_xaxes(title="iterations", dtick=1 if len(iterations) < 12 else None)
    figure.update_yaxes(title="energy")
    return _styled(figure, height=height)
