"""Points of one photo found in another, by the descriptors there: the task of SPair-71k (Min et al. 2019).

Nearest neighbours look at every point for itself: the cell of the target whose descriptor is most like the point's.
Alignment (`corrcore.tasks.alignment`) moves all cells of the source together, and the points with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float32
from torch.nn import functional as F

from corrcore import extractors, images
from corrcore.crops import BoxXYXY, CropTransform
from corrcore.features import Extractor, Feature, FeatureGrid, Image
from corrcore.store import Cache
from corrcore.tasks import alignment, nearest, positional_subspace
from corrcore.tasks.alignment import CROP_SPEC, Alignment, CropSpec

VERSION = 2  # of what this module computes: results kept by another are not used

Method = Literal["nn", "mrf"]
Extent = Literal["photo", "box"]

LONGER_SIDE_PX = 448
MOST_LONGER_SIDE_PX = 4096
NEIGHBOURHOOD = 0.1  # of the target's longer side: nearer to a match there is no other place
_AT_ONCE = 1 << 24  # cosines that are in memory, 64 MB
_MOST_COSTS = 1 << 26  # source cells times target cells of one alignment: 256 MB


@dataclass(frozen=True)
class MatchOptions:
    """How points are matched.

    `method` "nn" takes the best cell for every point, "mrf" aligns all cells together. `extent` is what is described of
    both photos: the whole "photo", or the object's "box" widened by a tenth. `longer_side` is its size in px; None is
    448 for nn, and for mrf what makes 18 cells, as for keypoint transfer. With `refine` nn places points between cells:
    cosines around the best cell are taken for a parabola in x and one in y. `smoothness`, `position` and `iterations`
    are those of `alignment.align`. `without_position` is how many directions that tell of the place alone are taken out
    of descriptors, the first principal ones of images without content (`positional_subspace`).
    """

    method: Method = "nn"
    extent: Extent = "photo"
    longer_side: int | None = None
    refine: bool = False
    smoothness: float = 0.03
    position: float = 0.003
    iterations: int = 10
    without_position: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("method", self.method, Method), ("extent", self.extent, Extent)):
            if value not in get_args(known):
                msg = f"{name} must be one of {', '.join(get_args(known))}; got {value!r}."
                raise ValueError(msg)
        if self.longer_side is not None and not 1 <= self.longer_side <= MOST_LONGER_SIDE_PX:
            msg = (
                f"longer_side must be 1 to {MOST_LONGER_SIDE_PX} px, or None for the usual one; got {self.longer_side}."
            )
            raise ValueError(msg)
        if self.refine and self.method != "nn":
            msg = "refine is for method nn; an alignment places points between cells anyway, so leave refine out."
            raise ValueError(msg)
        if not 0 <= self.without_position <= positional_subspace.MOST_COMPONENTS:
            msg = (
                f"without_position must be 0 to {positional_subspace.MOST_COMPONENTS} directions to take out; got "
                f"{self.without_position}."
            )
            raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class DescribedExtent:
    """What of a photo is matched: where it lies in the photo, and its descriptors, of unit length.

    `photo_size` is the photo's ``(width, height)``. What is described may reach beyond it, as a box with its margin
    does, and what is as wide as whole cells.
    """

    transform: CropTransform
    grid: FeatureGrid
    photo_size: tuple[int, int]

    @property
    def longer_side(self) -> float:
        """Of what is described, in pixels of the photo."""
        left, top, right, bottom = self.transform.edges
        return max(right - left, bottom - top)

    def to_photo(self, points: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, "points 2"]:
        """Points (x, y) of what is described in pixels of the photo; those beyond the photo at its edge."""
        return self.transform.to_image(points).clip(-0.5, np.array(self.photo_size) - 0.5)


@dataclass(frozen=True, eq=False)
class PointMatches:
    """Where points of one photo lie in another by a feature, and what speaks for it.

    `points` and `returned` are (x, y) in pixels of the source's photo, `places` and `runners_up` in the target's, none
    of them beyond the photo. `similarities` are cosines to the points' descriptors: for nn of the most similar cell,
    for an alignment of the descriptor at the place. `runners_up` are the most similar cells outside the `NEIGHBOURHOOD`
    of a place, NaN where there is none outside. `returned` is where the place is found in the source in turn; `mutual`
    says whether the point's own cell and the one at the place are each the most similar to the other.
    `min_marginal_margins` are of an alignment: how much more energy it takes at least to move the point's cell out of
    the place's neighbourhood than to the place (`mrf.min_marginals`); below 0 where the solver has settled on a place
    that is not the best. NaN for nn, and where nothing lies outside. `confidences` are the probabilities that places
    are right, NaN until `corrcore.tasks.confidence.judged` knows them.
    """

    points: Float[np.ndarray, "points 2"]
    places: Float[np.ndarray, "points 2"]
    similarities: Float[np.ndarray, " points"]
    runners_up: Float[np.ndarray, "points 2"]
    runner_up_similarities: Float[np.ndarray, " points"]
    returned: Float[np.ndarray, "points 2"]
    mutual: Bool[np.ndarray, " points"]
    min_marginal_margins: Float[np.ndarray, " points"]
    confidences: Float[np.ndarray, " points"]

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
    results: Cache | None = None,
) -> dict[Feature, DescribedExtent]:
    """What is matched of a photo, by feature; `box` is the object's, which extent "box" takes.

    Whoever matches a photo with several others describes it once. What `without_position` takes out is kept in
    `results`, where that is given. Raises ValueError where extent "box" is given none, and as extractors and
    `alignment.describe` do.
    """
    found = _described(photo, features, network, options, box)
    if not options.without_position:
        return found
    return {feature: _without_position(each, feature, network, options, results) for feature, each in found.items()}


def _without_position(
    described: DescribedExtent, feature: Feature, network: Extractor, options: MatchOptions, results: Cache | None
) -> DescribedExtent:
    """Less the positional subspace of square images as large as what was described."""
    side = max(described.grid.image_size)
    extractor = extractors.extractor_of(feature, network)
    subspace = positional_subspace.positional_subspace(extractor, feature.layer, (side, side), results=results)
    return replace(described, grid=subspace.without(described.grid, options.without_position))


def _described(
    photo: Image, features: Sequence[Feature], network: Extractor, options: MatchOptions, box: BoxXYXY | None
) -> dict[Feature, DescribedExtent]:
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
        found[feature] = DescribedExtent(described.transform, described.grids[feature], (width, height))
    return found


def _resized(
    photo: Image, whole: BoxXYXY, features: Sequence[Feature], network: Extractor, longer_side: int
) -> dict[Feature, DescribedExtent]:
    resized = images.resize(photo, longer_side=longer_side)
    transform = CropTransform(whole, (resized.shape[1], resized.shape[0]))
    grids = extractors.extract(resized, features, network=network)
    return {
        feature: DescribedExtent(
            transform, replace(grid, descriptors=F.normalize(grid.descriptors.float(), dim=-1)), photo.shape[1::-1]
        )
        for feature, grid in grids.items()
    }


def _crop_spec(feature: Feature, network: Extractor, options: MatchOptions) -> CropSpec:
    margin = CROP_SPEC.margin if options.extent == "box" else 0.0
    longer = options.longer_side or (LONGER_SIDE_PX if options.method == "nn" else None)
    if longer is None:
        return CropSpec(margin=margin, square=False)
    stride = stride_px(feature, network=network, options=options)
    return CropSpec(n_cells=max(round(longer / stride), 2), margin=margin, square=False)


def stride_px(feature: Feature, *, network: Extractor, options: MatchOptions = MatchOptions()) -> int:
    """How far apart the cells lie that are matched, in pixels of what is described.

    What can be described anywhere is so at the cells of the network's layer for transfer, but for nn of whole photos.
    """
    anywhere = extractors.extractor_of(feature, network).anywhere
    own = not anywhere or (options.method == "nn" and options.extent == "photo")
    cells = feature if own else Feature(network.name, network.roles.transfer)
    return extractors.receptive_field(cells, network=network).stride


def match(
    source: DescribedExtent,
    target: DescribedExtent,
    points: Float[np.ndarray, "points 2"],
    *,
    options: MatchOptions = MatchOptions(),
) -> Float[np.ndarray, "points 2"]:
    """Where points (x, y) of the source's photo lie in the target's, in its own pixels and never beyond it.

    Both are described alike, with the same `options`. Raises ValueError for points that are not finite, and for an
    alignment of too many cells.
    """
    return _placed(source, target, points, options)[0]


def _placed(
    source: DescribedExtent,
    target: DescribedExtent,
    points: Float[np.ndarray, "points 2"],
    options: MatchOptions,
    *,
    min_marginals: bool = False,
) -> tuple[Float[np.ndarray, "points 2"], Alignment | None]:
    """The places, and the alignment that they are by. Raises as `match` does."""
    if not np.isfinite(points).all():
        msg = "points must be finite; got some that are NaN or infinite. Leave hidden keypoints out."
        raise ValueError(msg)
    inside = source.transform.to_crop(points)
    if options.method == "nn":
        places = nearest.most_similar(source.grid, target.grid, inside, refine=options.refine)
        return target.to_photo(places), None
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
        min_marginals=min_marginals,
    )
    return target.to_photo(aligned.to_target(inside)), aligned


def match_points(
    source: DescribedExtent,
    target: DescribedExtent,
    points: Float[np.ndarray, "points 2"],
    *,
    options: MatchOptions = MatchOptions(),
) -> PointMatches:
    """The places that `match` finds, with what speaks for them. Raises as that does."""
    places, aligned = _placed(source, target, points, options, min_marginals=True)
    marginals = None if aligned is None else aligned.min_marginals
    at_once = max(_AT_ONCE // max(len(source.grid.cells), len(target.grid.cells)), 1)
    parts = [
        _evidence(source, target, points[first : first + at_once], places[first : first + at_once], options, marginals)
        for first in range(0, max(len(points), 1), at_once)
    ]
    names = [field.name for field in fields(PointMatches)]
    return PointMatches(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _evidence(
    source: DescribedExtent,
    target: DescribedExtent,
    points: Float[np.ndarray, "points 2"],
    places: Float[np.ndarray, "points 2"],
    options: MatchOptions,
    marginals: Float32[np.ndarray, "rows columns target_rows target_columns"] | None,
) -> PointMatches:
    own, there = source.transform.to_crop(points), target.transform.to_crop(places)
    cosines = nearest.cosines(source.grid, target.grid, own).reshape(len(points), -1)
    if options.method == "nn":
        similarities = cosines.max(axis=1)
    else:
        of_points, of_places = nearest.descriptors_at(source.grid, own), nearest.descriptors_at(target.grid, there)
        similarities = (of_points * of_places).sum(dim=1).cpu().numpy()
    centres = target.grid.cells.centres().reshape(-1, 2)
    reach = NEIGHBOURHOOD * max(target.grid.image_size)
    near = np.hypot(*(centres.T[:, None] - there.T[..., None])) <= reach
    others = np.where(near, -np.inf, cosines)
    second, alone = others.argmax(axis=1), near.all(axis=1)
    back = nearest.most_similar(target.grid, source.grid, there, refine=options.refine)
    own_cells, cells = (nearest.cells_at(grid, at) for grid, at in ((source.grid, own), (target.grid, there)))
    chosen = [
        (one.flat()[at] @ other.flat().T).argmax(dim=1).cpu().numpy()
        for one, other, at in ((source.grid, target.grid, own_cells), (target.grid, source.grid, cells))
    ]
    marginal_margins = np.full(len(points), np.nan)
    if marginals is not None:
        of_cells = marginals.reshape(len(source.grid.cells), -1)[own_cells]
        elsewhere = np.where(near, np.inf, of_cells).min(axis=1)
        marginal_margins = np.where(alone, np.nan, elsewhere - of_cells[np.arange(len(points)), cells])
    return PointMatches(
        points,
        places,
        similarities,
        np.where(alone[:, None], np.nan, target.to_photo(centres[second])),
        np.where(alone, np.nan, others[np.arange(len(points)), second]),
        source.to_photo(back),
        (chosen[0] == cells) & (chosen[1] == own_cells),
        marginal_margins,
        np.full(len(points), np.nan),
    )


def similarity_map(
    source: DescribedExtent, target: DescribedExtent, point: Float[np.ndarray, "2"]
) -> Float32[np.ndarray, "rows columns"]:
    """The cosine of every cell of the target to a point (x, y) of the source's photo."""
    return nearest.cosines(source.grid, target.grid, source.transform.to_crop(point[None]))[0]
