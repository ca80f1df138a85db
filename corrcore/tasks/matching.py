"""Points of one photo found in another, by the descriptors there: the task of SPair-71k (Min et al. 2019).

Nearest neighbours look at every point for itself: the cell of the target whose descriptor is most like the point's.
Alignment (`corrcore.tasks.alignment`) moves all cells of the source together, and the points with them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch.nn import functional as F

from corrcore import extractors, images
from corrcore.crops import BoxXYXY, CropTransform
from corrcore.features import Extractor, Feature, FeatureGrid, Image
from corrcore.tasks import alignment
from corrcore.tasks.alignment import CROP_SPEC, CropSpec

VERSION = 1  # of what this module computes: results kept by another are not used

Method = Literal["nn", "mrf"]
Extent = Literal["photo", "box"]

LONGER_SIDE_PX = 448
NEIGHBOURHOOD = 0.1  # of the target's longer side: nearer to a match there is no other place
_LEAST_CELLS = 4  # of which there are components
_MOST_COSTS = 1 << 26  # source cells times target cells of one alignment: 256 MB


@dataclass(frozen=True)
class MatchOptions:
    """How points are matched.

    `method` "nn" takes the best cell for every point, "mrf" aligns all cells together. `extent` is what is described of
    both photos: the whole "photo", or the object's "box" widened by a tenth. `longer_side` is its size in px; None is
    448 for nn, and for mrf what makes 18 cells, as for keypoint transfer. With `refine` nn places points between cells:
    cosines around the best cell are taken for a parabola in x and one in y. `smoothness`, `position` and `iterations`
    are those of `alignment.align`.
    """

    method: Method = "nn"
    extent: Extent = "photo"
    longer_side: int | None = None
    refine: bool = False
    smoothness: float = 0.03
    position: float = 0.003
    iterations: int = 10

    def __post_init__(self) -> None:
        for name, value, known in (("method", self.method, Method), ("extent", self.extent, Extent)):
            if value not in get_args(known):
                msg = f"{name} must be one of {', '.join(get_args(known))}; got {value!r}."
                raise ValueError(msg)
        if self.longer_side is not None and self.longer_side < 1:
            msg = f"longer_side must be at least 1 px, or None for the usual one; got {self.longer_side}."
            raise ValueError(msg)
        if self.refine and self.method != "nn":
            msg = "refine is for method nn; an alignment places points between cells anyway, so leave refine out."
            raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class DescribedExtent:
    """What of a photo is matched: where it lies in the photo, and its descriptors, of unit length."""

    transform: CropTransform
    grid: FeatureGrid


@dataclass(frozen=True, eq=False)
class PointMatches:
    """Where points of one photo lie in another by a feature, and what speaks for it.

    `points` and `returned` are (x, y) in pixels of the source's photo, `places` and `runners_up` in the target's.
    `similarities` are the cosines of the points' descriptors to those at their places. `runners_up` are the most
    similar cells outside the `NEIGHBOURHOOD` of a place, NaN where there is none outside. `returned` is where the place
    is found in the source in turn; `mutual` says whether the cell at the place is most similar to the point's own cell.
    """

    points: Float[np.ndarray, "points 2"]
    places: Float[np.ndarray, "points 2"]
    similarities: Float[np.ndarray, " points"]
    runners_up: Float[np.ndarray, "points 2"]
    runner_up_similarities: Float[np.ndarray, " points"]
    returned: Float[np.ndarray, "points 2"]
    mutual: Bool[np.ndarray, " points"]

    @property
    def margins(self) -> Float[np.ndarray, " points"]:
        """By how much places are more similar than their runners-up."""
        return self.similarities - self.runner_up_similarities

    @property
    def cycle_errors(self) -> Float[np.ndarray, " points"]:
        """How far from the points their places lead back, in pixels of the source."""
        return np.linalg.norm(self.points - self.returned, axis=1)


def match_photos(
    source: Image,
    target: Image,
    points: Float[np.ndarray, "points 2"],
    feature: Feature,
    *,
    network: Extractor,
    options: MatchOptions = MatchOptions(),
    boxes: tuple[BoxXYXY, BoxXYXY] | None = None,
) -> Float[np.ndarray, "points 2"]:
    """Where points (x, y) of one photo lie in another, in its own pixels, by a feature.

    `boxes` are the source's and the target's object, for extent "box". Raises what `describe` and `match` do.
    """
    first, second = (
        describe(photo, [feature], network=network, options=options, box=None if boxes is None else boxes[number])
        for number, photo in enumerate((source, target))
    )
    return match(first[feature], second[feature], points, options=options)


def describe(
    photo: Image,
    features: Sequence[Feature],
    *,
    network: Extractor,
    options: MatchOptions = MatchOptions(),
    box: BoxXYXY | None = None,
) -> dict[Feature, DescribedExtent]:
    """What is matched of a photo, by feature; `box` is the object's, which extent "box" takes.

    Whoever matches a photo with several others describes it once. Raises ValueError where extent "box" is given none,
    and as extractors and `alignment.describe` do.
    """
    height, width = photo.shape[:2]
    whole = (-0.5, -0.5, width - 0.5, height - 0.5)
    if options.extent == "photo":
        if options.method == "nn":
            return _resized(photo, whole, features, network, options.longer_side or LONGER_SIDE_PX)
        box = whole
    if box is None:
        msg = "extent box needs the objects' boxes; give both, or match whole photos."
        raise ValueError(msg)
    found = {}
    for feature in features:  # each for itself, as strides may differ
        crop = _crop_spec(feature, network, options)
        described = alignment.describe(photo, box, [feature], network=network, crop=crop)
        found[feature] = DescribedExtent(described.transform, described.grids[feature])
    return found


def _resized(
    photo: Image, whole: BoxXYXY, features: Sequence[Feature], network: Extractor, longer_side: int
) -> dict[Feature, DescribedExtent]:
    resized = images.resize(photo, longer_side=longer_side)
    transform = CropTransform(whole, (resized.shape[1], resized.shape[0]))
    grids = extractors.extract(resized, features, network=network)
    return {
        feature: DescribedExtent(transform, replace(grid, descriptors=F.normalize(grid.descriptors.float(), dim=-1)))
        for feature, grid in grids.items()
    }


def _crop_spec(feature: Feature, network: Extractor, options: MatchOptions) -> CropSpec:
    margin = CROP_SPEC.margin if options.extent == "box" else 0.0
    longer = options.longer_side or (LONGER_SIDE_PX if options.method == "nn" else None)
    if longer is None:
        return CropSpec(margin=margin, square=False)
    anywhere = extractors.extractor_of(feature, network).anywhere  # described at the cells of the layer for transfer
    cells = Feature(network.name, network.roles.transfer) if anywhere else feature
    stride = extractors.receptive_field(cells, network=network).stride
    return CropSpec(n_cells=max(round(longer / stride), 2), margin=margin, square=False)


def match(
    source: DescribedExtent,
    target: DescribedExtent,
    points: Float[np.ndarray, "points 2"],
    *,
    options: MatchOptions = MatchOptions(),
) -> Float[np.ndarray, "points 2"]:
    """Where points (x, y) of the source's photo lie in the target's, in its own pixels.

    Both are described alike, with the same `options`. Raises ValueError for points that are not finite, and for an
    alignment of too many cells.
    """
    if not np.isfinite(points).all():
        msg = "points must be finite; got some that are NaN or infinite. Leave hidden keypoints out."
        raise ValueError(msg)
    inside = source.transform.to_crop(points)
    if options.method == "nn":
        return target.transform.to_image(_most_similar(source.grid, target.grid, inside, refine=options.refine))
    n_costs = len(source.grid.cells) * len(target.grid.cells)
    if n_costs > _MOST_COSTS:
        msg = (
            f"an alignment takes {_MOST_COSTS:,} costs at most (source cells times target cells); {source.grid.layer} "
            f"has {n_costs:,} here, so choose a smaller longer_side or a layer of larger stride."
        )
        raise ValueError(msg)
    aligned = alignment.align(
        source.grid,
        target.grid,
        smoothness=options.smoothness,
        position=options.position,
        iterations=options.iterations,
        gap=1e-3,
    )
    return target.transform.to_image(aligned.to_target(inside))


def match_points(
    source: DescribedExtent,
    target: DescribedExtent,
    points: Float[np.ndarray, "points 2"],
    *,
    options: MatchOptions = MatchOptions(),
) -> PointMatches:
    """The places that `match` finds, with what speaks for them. Raises as that does."""
    places = match(source, target, points, options=options)
    own, there = source.transform.to_crop(points), target.transform.to_crop(places)
    cosines = _cosines(source.grid, target.grid, own)
    similarities = (_descriptors(source.grid, own) * _descriptors(target.grid, there)).sum(dim=1).cpu().numpy()
    centres = target.grid.cells.centres().reshape(-1, 2)
    reach = NEIGHBOURHOOD * max(target.grid.image_size)
    near = np.linalg.norm(centres - there[:, None], axis=-1) <= reach
    others = np.where(near, -np.inf, cosines.reshape(len(points), -1))
    second, alone = others.argmax(axis=1), near.all(axis=1)
    runners_up = np.where(alone[:, None], np.nan, target.transform.to_image(centres[second]))
    back = _most_similar(target.grid, source.grid, there, refine=options.refine)
    at_cells = target.grid.cells.centres()[target.grid.cells.nearest_cells(there)]
    home = _cosines(target.grid, source.grid, at_cells).reshape(len(points), -1).argmax(axis=1)
    rows, columns = source.grid.cells.nearest_cells(own)
    return PointMatches(
        points,
        places,
        similarities,
        runners_up,
        np.where(alone, np.nan, others[np.arange(len(points)), second]),
        source.transform.to_image(back),
        home == rows * source.grid.cells.columns + columns,
    )


@dataclass(frozen=True, eq=False)
class MutualMatches:
    """Cells of two photos that choose each other, most similar first: their centres (x, y) in the photos' pixels, and
    their cosines.
    """

    points: Float[np.ndarray, "matches 2"]
    places: Float[np.ndarray, "matches 2"]
    similarities: Float[np.ndarray, " matches"]


def mutual_matches(source: DescribedExtent, target: DescribedExtent) -> MutualMatches:
    """All pairs of a cell of the source and one of the target of which either is the other's most similar."""
    cosines = (source.grid.flat() @ target.grid.flat().T).cpu().numpy()
    there = cosines.argmax(axis=1)
    own = np.flatnonzero(cosines.argmax(axis=0)[there] == np.arange(len(there)))
    own = own[np.argsort(-cosines[own, there[own]], kind="stable")]
    points, places = (each.grid.cells.centres().reshape(-1, 2) for each in (source, target))
    return MutualMatches(
        source.transform.to_image(points[own]), target.transform.to_image(places[there[own]]), cosines[own, there[own]]
    )


def principal_colours(
    source: DescribedExtent, target: DescribedExtent, *, foreground: bool = False
) -> tuple[Float[np.ndarray, "_ _ 3"], Float[np.ndarray, "_ _ 3"]]:
    """The first three principal components of both photos' descriptors together, from 0 to 1 between their first and
    last hundredths: colours in which what is alike in the two is alike.

    With `foreground` only cells on one side of Otsu's threshold along the first component have colours, by components
    of their own: the side of which less lies along the photos' borders. Others are NaN. As DINOv2's authors do.
    """
    grids = [each.grid.flat().double().cpu().numpy() for each in (source, target)]
    values, kept = np.concatenate(grids), np.ones(sum(map(len, grids)), bool)
    if foreground:
        border = np.concatenate(
            [_at_border(each.grid.cells.rows, each.grid.cells.columns) for each in (source, target)]
        )
        from skimage.filters import threshold_otsu  # not at the top: it takes a while, and few ask for it

        first = _components(values, 1)[:, 0]
        above = first > threshold_otsu(first)
        kept = min(above, ~above, key=lambda side: border[side].mean() if side.any() else math.inf)
    colours = np.full((len(values), 3), np.nan)
    if kept.sum() >= _LEAST_CELLS:
        found = _components(values[kept], 3)
        low, high = np.percentile(found, [1, 99], axis=0)
        colours[kept] = ((found - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
    first, second = np.split(colours, [len(grids[0])])
    shapes = [each.grid.descriptors.shape[:2] for each in (source, target)]
    return first.reshape(*shapes[0], 3), second.reshape(*shapes[1], 3)


def _at_border(rows: int, columns: int) -> Bool[np.ndarray, " cells"]:
    border = np.ones((rows, columns), bool)
    border[1:-1, 1:-1] = False
    return border.ravel()


def _components(values: Float[np.ndarray, "cells channels"], n: int) -> Float[np.ndarray, "cells n"]:
    """Along the first principal axes, each with the sign by which its largest loading is positive."""
    centred = values - values.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :n]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return centred @ (axes * signs)


def similarity_map(
    source: DescribedExtent, target: DescribedExtent, point: Float[np.ndarray, "2"]
) -> Float32[np.ndarray, "rows columns"]:
    """The cosine of every cell of the target to a point (x, y) of the source's photo."""
    return _cosines(source.grid, target.grid, source.transform.to_crop(point[None]))[0]


def _cosines(
    source: FeatureGrid, target: FeatureGrid, points: Float[np.ndarray, "points 2"]
) -> Float32[np.ndarray, "points rows columns"]:
    rows, columns, _ = target.descriptors.shape
    return (_descriptors(source, points) @ target.flat().T).reshape(len(points), rows, columns).cpu().numpy()


def _descriptors(grid: FeatureGrid, points: Float[np.ndarray, "points 2"]) -> Float[torch.Tensor, "points channels"]:
    """Of unit length, between cells."""
    return F.normalize(_bilinear(grid, points), dim=-1)


def _most_similar(
    source: FeatureGrid, target: FeatureGrid, points: Float[np.ndarray, "points 2"], *, refine: bool
) -> Float[np.ndarray, "points 2"]:
    """The centres of the target's cells of highest cosine similarity to points of the source; the first of several."""
    cosines = _cosines(source, target, points)
    row, column = np.divmod(cosines.reshape(len(points), -1).argmax(axis=1), cosines.shape[2])
    cells = np.stack([column, row], axis=-1).astype(float)
    if refine:
        each = np.arange(len(points))
        cells[:, 0] += _lowest_offsets(-cosines[each, row], column)
        cells[:, 1] += _lowest_offsets(-cosines[each, :, column], row)
    return target.receptive_field.offset + target.receptive_field.stride * cells


def _bilinear(grid: FeatureGrid, points: Float[np.ndarray, "points 2"]) -> Float[torch.Tensor, "points channels"]:
    """Descriptors between cells; beyond the outermost cells those of these."""
    rows, columns, _ = grid.descriptors.shape
    last = np.array([columns, rows]) - 1
    cells = ((points - grid.receptive_field.offset) / grid.receptive_field.stride).clip(0, last)
    before = np.floor(cells).astype(int)
    after = np.minimum(before + 1, last)
    share = torch.from_numpy(cells - before).to(grid.descriptors)
    (x, y), (right, down) = (torch.from_numpy(corner.T).to(grid.descriptors.device) for corner in (before, after))
    across, along = share[:, :1], share[:, 1:]
    above = grid.descriptors[y, x] * (1 - across) + grid.descriptors[y, right] * across
    below = grid.descriptors[down, x] * (1 - across) + grid.descriptors[down, right] * across
    return above * (1 - along) + below * along


def _lowest_offsets(costs: Float[np.ndarray, "points n"], at: np.ndarray) -> Float[np.ndarray, " points"]:
    """How far from the lowest cost of each line, which is `at`, the parabola through it and its neighbours is lowest.

    At most half a cell; 0 at a line's ends, which have one neighbour.
    """
    each, last = np.arange(len(costs)), costs.shape[1] - 1
    before, here, after = (costs[each, (at + step).clip(0, last)].astype(float) for step in (-1, 0, 1))
    curvature = before - 2 * here + after
    usable = (at > 0) & (at < last) & (curvature > 1e-6)
    return np.where(usable, (before - after) / 2 / np.where(usable, curvature, 1), 0).clip(-0.5, 0.5)
