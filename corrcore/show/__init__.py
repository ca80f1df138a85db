"""Results as they show themselves in a notebook, by the call alone.

>>> from corrcore import show
>>> from corrcore.datasets import drawn
>>> first, second = (drawn.unseen()[name].load() for name in ("toy-cow-val-015", "toy-cat-val-008"))
>>> view = show.matches(first, second, {"nose": (120, 80)}, features="sift20")
>>> view.matches[view.features[0]].places.shape
(1, 2)
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corrcore import extractors, networks
from corrcore.datasets.folder import printable_name
from corrcore.datasets.points import NamedPoints, open_points
from corrcore.decoding import decode
from corrcore.features import Extractor, Feature, Image
from corrcore.images import ImageLike, as_image
from corrcore.show.match_picture import MatchView, point_colour
from corrcore.tasks import confidence, matching
from corrcore.tasks.matching import MatchOptions, Method
from corrcore.tasks.points_transfer import usual_features

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["MatchView", "match", "matches", "point_colour"]

PhotoLike = str | os.PathLike | ImageLike
"""A photo by its path, as a PIL image, or as an array of uint8."""

PointsLike = Mapping[str, Sequence[float]] | Sequence[Sequence[float]] | NamedPoints | str | os.PathLike
"""Points (x, y) in pixels by name, or without names, or a file of them as `open_points` reads it."""


def match(
    first_photo: PhotoLike,
    second_photo: PhotoLike,
    *,
    point: Sequence[float] | None = None,
    features: str | Sequence[str | Feature] | None = None,
    network: str | Extractor = networks.DEFAULT,
    method: Method = "nn",
    **options: Any,
) -> "go.Figure | go.FigureWidget":
    """Where a point (x, y) of one photo lies in another: a map of similarities and the place found, by each feature.

    A click on the first photo moves the point where widgets work (`pip install 'corrcore[notebook]'`: the figure is
    plotly's FigureWidget then). Without a `point` it is the middle. `features` are such as "conv4,sift20" (the
    network's layer for transfer and SIFT), `options` those of `MatchOptions`: longer_side, refine, smoothness, ...
    Similarities are cosines from 0 to 1, of cells, at their places in the second photo's pixels. A map's title says
    what speaks for its place, and how probably it is right, where that is known.

    Raises ValueError for a point outside the first photo, and as `decode`, `as_image` and `matching.describe` do.
    """
    from corrcore.show.figure import MatchedPhotos, match_figure  # with plotly, which takes a while

    how = MatchOptions(method, **options)
    (first, title), (second, other) = _opened(first_photo, "first_photo"), _opened(second_photo, "second_photo")
    if point is None:
        point = ((first.shape[1] - 1) / 2, (first.shape[0] - 1) / 2)
    at = _named([point])
    at.check_inside((first.shape[1], first.shape[0]), title)
    opened = networks.open(network) if isinstance(network, str) else network
    described = _described((first, second), features, opened, how)
    return match_figure(MatchedPhotos((first, second), (title, other), described, opened, how), at.places[0])


def matches(
    first_photo: PhotoLike,
    second_photo: PhotoLike,
    points: PointsLike,
    *,
    features: str | Sequence[str | Feature] | None = None,
    network: str | Extractor = networks.DEFAULT,
    method: Method = "nn",
    **options: Any,
) -> MatchView:
    """Where several points of one photo lie in another, as a picture with lines; all else as for `match`.

    What is found is in the view's `matches`, by feature.
    """
    how = MatchOptions(method, **options)
    (first, title), (second, other) = _opened(first_photo, "first_photo"), _opened(second_photo, "second_photo")
    named = open_points(points)(title) if isinstance(points, str | os.PathLike) else _named(points)
    named.check_inside((first.shape[1], first.shape[0]), title)
    opened = networks.open(network) if isinstance(network, str) else network
    source, target = _described((first, second), features, opened, how)
    found = confidence.judged_matches(source, target, named.places, network=opened, options=how)
    return MatchView((first, second), (title, other), named.names, found)


def _opened(photo: PhotoLike, name: str) -> tuple[Image, str]:
    """Pixels, and what the photo is called."""
    if isinstance(photo, str | os.PathLike):
        return decode(Path(photo).expanduser()), printable_name(Path(photo).name)
    return as_image(photo, name=name), name.replace("_", " ")


def _named(points: Mapping[str, Sequence[float]] | Sequence[Sequence[float]] | NamedPoints) -> NamedPoints:
    if isinstance(points, NamedPoints):
        return points
    if not isinstance(points, Mapping):
        points = {str(number): place for number, place in enumerate(points, start=1)}
    try:
        places = np.array(list(points.values()), float).reshape(len(points), 2)
    except (TypeError, ValueError):
        msg = (
            f"points must be (x, y) in pixels of the first photo, each two numbers; got {list(points.values())!r:.80}."
        )
        raise ValueError(msg) from None
    return NamedPoints(tuple(points), places)


def _described(
    photos: tuple[Image, Image],
    features: str | Sequence[str | Feature] | None,
    network: Extractor,
    options: MatchOptions,
) -> tuple[Mapping[Feature, matching.DescribedExtent], Mapping[Feature, matching.DescribedExtent]]:
    asked = [word.strip() for word in features.split(",")] if isinstance(features, str) else features
    parsed = extractors.parse(usual_features(network) if asked is None else asked, network)
    described = [matching.describe(photo, parsed, network=network, options=options) for photo in photos]
    first, second = ({feature: each[feature] for feature in parsed} for each in described)
    return first, second
