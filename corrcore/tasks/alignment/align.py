"""Two objects of one kind brought into alignment by their features, and keypoints that travel with them.

Long, Zhang and Darrell (2014), Section 4: descriptors of a source and a target on grids of cells, a displacement of every
source cell of least energy (`corrcore.mrf`), interpolated by a bivariate spline to every pixel.

    E(w) = sum over p of ||f_s(p) - f_t(p + w(p))||²  +  smoothness * sum over neighbours p, q of ||w(p) - w(q)||²

with descriptors of unit length and w in cells. A displacement leads *from the source to the target*: the point x of the
source is found at x + w(x) of the target, which is how keypoints travel. To draw the source as the target would show it,
`Alignment.to_source` is asked where every target pixel comes from.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal, get_args, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch.nn import functional as F

from corrcore import extractors, images
from corrcore.compiled import kernel
from corrcore.crops import CropTransform
from corrcore.datasets.records import Instance
from corrcore.descriptors import sift
from corrcore.engines import mrf
from corrcore.engines.mrf import Method, Solution
from corrcore.features import FeatureGrid
from corrcore.geometry import CellGrid, ReceptiveField
from corrcore.networks import Backbone, Image

VERSION = 1  # of what this module computes: results kept by another are not used
SUMMARY_CELLS = 6  # a side: as many as AlexNet's first fully connected layer takes
NOTHING = 128  # the grey of a warped picture where its source has nothing to show

BoxXYXY = tuple[float, float, float, float]
Order = Literal["deformation", "likeness"]


@dataclass(frozen=True, eq=False)
class DescribedCrop:
    """An object cut out of its photo, and described.

    `image` is the cut-out, `grids` its descriptors by the feature's name, at the same points and of unit length (zero
    where SIFT finds no contrast). `summary` is what its neighbours are found by, of unit length.
    """

    image: Image
    placement: CropTransform
    grids: Mapping[str, FeatureGrid]
    summary: Float[np.ndarray, " channels"]

    def halved(self) -> "DescribedCrop":
        """The same with descriptors in half precision, to keep many in memory."""
        grids = {name: replace(grid, descriptors=grid.descriptors.half()) for name, grid in self.grids.items()}
        return replace(self, grids=grids)


def describe(
    photo: Image,
    box: BoxXYXY,
    features: Sequence[str],
    *,
    backbone: Backbone,
    n_cells: int = 18,
    margin: float = 0.1,
    square: bool = True,
    context_px: int = 0,
) -> DescribedCrop:
    """Cuts the object in `box` (edges, see `geometry.CropTransform`) out of a photo and describes it by `features`.

    A feature is a layer of the network or "sift" with a radius in pixels of the cut-out, such as "conv4" or "sift20". All
    are taken at the same points, the receptive-field centres of the layers asked for, else of the last usual one. The box is
    widened by `margin` of its sides on every side. The longer side has `n_cells` cells; the other one as many if
    `square`, which squeezes the object, else as many as keep its proportions. Cells see at least `context_px` of the photo
    around the cut-out, and a network's padding only beyond.

    The summary, for finding neighbours, is fc7's of the cut-out where the network has weights for it. Else it is the last
    layer's greatest values in 6 x 6 parts of the cut-out, about what a fully connected layer is given: means over the
    whole object forget its pose, and find neighbours whose keypoints are half as often in place.

    Raises ValueError for a box without area or outside the photo, an unknown feature, and layers whose cells differ.
    """
    _check_box(photo, box)
    radii = {name: radius for name in features if (radius := extractors.sift_radius(name)) is not None}
    layers = [name for name in features if name not in radii]
    last = backbone.architecture.default_layers[-1]
    fields = {name: backbone.receptive_field(name) for name in layers or backbone.architecture.default_layers[-1:]}
    field = next(iter(fields.values()))
    if any(
        (other.stride, other.offset % other.stride) != (field.stride, field.offset % field.stride)
        for other in fields.values()
    ):
        msg = f"layers to compare must have one stride, and centres at the same pixels; got {', '.join(layers)}."
        raise ValueError(msg)
    placement = _place(box, n_cells, margin, square, field.stride)
    columns, rows = placement.size[0] // field.stride, placement.size[1] // field.stride
    surroundings, first = _with_surroundings(photo, placement, field, context_px)
    here = slice(first, first + rows), slice(first, first + columns)
    vector = _vector_layer(backbone)
    found = backbone.extract(surroundings, [*layers, *([] if vector or last in layers else [last])])
    described = {name: found[name].descriptors[here] for name in layers}
    if radii:
        start = field.offset + first * field.stride
        size = (surroundings.shape[1], surroundings.shape[0])
        cells = CellGrid(ReceptiveField(field.size, field.stride, start), rows, columns, size)
        for name, radius in radii.items():
            described[name] = sift.extract_on(surroundings, cells, radius_px=radius, device=backbone.device).descriptors
    middle = (field.stride - 1) / 2
    grids = {
        name: FeatureGrid(
            F.normalize(described[name].float(), dim=-1),
            ReceptiveField(fields[name].size if name in fields else round(2 * radii[name]), field.stride, middle),
            placement.size,
            name,
        )
        for name in features
    }
    image = images.crop_resized(photo, placement.edges, width=placement.size[0], height=placement.size[1])
    if vector:
        whole = backbone.vector(image, vector)
    else:
        inner = _within(
            found[last], surroundings.shape[1] - placement.size[0], surroundings.shape[0] - placement.size[1]
        )
        whole = F.adaptive_max_pool2d(inner.permute(2, 0, 1), SUMMARY_CELLS).flatten()
    return DescribedCrop(image, placement, grids, F.normalize(whole.float(), dim=0).cpu().numpy())


def _vector_layer(backbone: Backbone) -> str | None:
    """The last fully connected layer there are weights for."""
    return next(iter(reversed(backbone.vectors)), None)


def summary_source(backbone: Backbone) -> str:
    """What `DescribedCrop.summary` is of, in words."""
    return (
        _vector_layer(backbone)
        or f"{backbone.architecture.default_layers[-1]}, pooled to 6 x 6 (no weights for fully connected layers here)"
    )


def _check_box(photo: Image, box: BoxXYXY) -> None:
    left, top, right, bottom = box
    height, width = photo.shape[:2]
    seen = min(right, width - 0.5) - max(left, -0.5), min(bottom, height - 0.5) - max(top, -0.5)
    if not min(seen) > 1 - 1e-6:
        msg = (
            f"box must cover at least a pixel of the photo of {width} x {height} px; got {[round(e, 1) for e in box]}."
        )
        raise ValueError(msg)


def _place(box: BoxXYXY, n_cells: int, margin: float, square: bool, stride: int) -> CropTransform:
    """The widened box; not square, it is widened a little further to whole cells of its own proportions."""
    if n_cells < 2:
        msg = f"n_cells must be at least 2; got {n_cells}."
        raise ValueError(msg)
    left, top, right, bottom = box
    middle = np.array([left + right, top + bottom]) / 2
    sides = np.array([right - left, bottom - top]) * (1 + 2 * margin)
    cells = np.array([n_cells, n_cells])
    if not square:
        cells = np.maximum(np.ceil(n_cells * sides / sides.max() - 1e-9), 2)
        sides = cells * (sides / cells).max()
    start, stop = middle - sides / 2, middle + sides / 2
    columns, rows = cells.astype(int)
    return CropTransform((*start.tolist(), *stop.tolist()), (int(columns) * stride, int(rows) * stride))


def _with_surroundings(
    photo: Image, placement: CropTransform, field: ReceptiveField, context_px: int
) -> tuple[Image, int]:
    """The cut-out with its surroundings at the same scale, and the number of cells before its first.

    As wide as it takes for that cell's centre to be in the middle of the first stride of the cut-out.
    """
    first = math.ceil((context_px - field.offset + (field.stride - 1) / 2) / field.stride)
    before = field.offset + first * field.stride - (field.stride - 1) / 2
    margins = [before / scale for scale in placement.scale]
    left, top, right, bottom = placement.edges
    edges = (left - margins[0], top - margins[1], right + margins[0], bottom + margins[1])
    width, height = (round(side + 2 * before) for side in placement.size)
    return images.crop_resized(photo, edges, width=width, height=height), first


def _within(grid: FeatureGrid, margin_x: int, margin_y: int) -> Float[torch.Tensor, "rows columns channels"]:
    """The descriptors whose centres lie inside margins, given in pixels for both sides together."""
    width, height = grid.image_size
    inside = (
        np.abs(grid.cells.centres() - (np.array([width, height]) - 1) / 2)
        < np.array([width - margin_x, height - margin_y]) / 2
    )
    rows, columns = inside[:, 0, 1], inside[0, :, 0]
    return grid.descriptors[torch.from_numpy(rows)][:, torch.from_numpy(columns)]


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where every cell of the source lies in the target. Points are pixels of the two cut-outs.

    `displacement` is in cells, (dx, dy), and finer than whole cells where `align` refined it.
    """

    source: CellGrid
    target: CellGrid
    solution: Solution
    displacement: Float[np.ndarray, "rows columns 2"]

    @property
    def deformation(self) -> float:
        """How uneven the displacement is: the mean of ||w(p) - w(q)||² over neighbouring cells."""
        rows, columns = self.displacement.shape[:2]
        n_edges = rows * (columns - 1) + (rows - 1) * columns
        return mrf.roughness(self.displacement) / max(n_edges, 1)

    def to_target(self, points: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
        """Where points of the source lie in the target. Beyond the outermost cells these are followed."""
        return points + np.stack([spline.ev(points[..., 1], points[..., 0]) for spline in self._splines], axis=-1)

    def to_source(self, points: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
        """Which points of the source come to lie at points of the target; NaN where none does.

        The source is covered with triangles of a quarter of a cell, moved to the target; within a triangle the way back
        is linear. Where several parts of a folded source lie, one that is not turned over is taken if there is one.
        """
        width, height = self.source.image_size
        x, y = (
            np.linspace(-0.5, side - 0.5, 4 * n + 1)
            for side, n in ((width, self.source.columns), (height, self.source.rows))
        )
        moved = self.to_target(np.stack(np.meshgrid(x, y), axis=-1))
        flat = points.reshape(-1, 2).astype(float)
        order = np.argsort(flat[:, 1])
        found = np.full(flat.shape, np.nan)
        _fill_sources(moved, x, y, flat[order], found)
        result = np.empty_like(found)
        result[order] = found
        return result.reshape(points.shape)

    @cached_property
    def _splines(self) -> tuple[Any, Any]:
        """Of dx and dy in pixels: bicubic where there are four rows and columns."""
        from scipy.interpolate import RectBivariateSpline

        centres = self.source.centres()
        own = self.source.receptive_field
        moved = self.target.receptive_field.offset + self.target.receptive_field.stride * (
            self.displacement
            + np.stack(np.meshgrid(np.arange(self.source.columns), np.arange(self.source.rows)), axis=-1)
        )
        shift = moved - centres
        degrees = {"kx": min(3, self.source.rows - 1), "ky": min(3, self.source.columns - 1)}
        y, x = (own.offset + own.stride * np.arange(n) for n in (self.source.rows, self.source.columns))
        return RectBivariateSpline(y, x, shift[..., 0], **degrees), RectBivariateSpline(y, x, shift[..., 1], **degrees)


@kernel()
@no_type_check
def _fill_sources(moved, x, y, points, found):
    """Fills in where points in the order of their y come from, by the triangles between corners of a lattice at `x`, `y`.

    A lattice square is cut along the diagonal from its top right corner; `moved` has the places of all corners.
    """
    heights = np.ascontiguousarray(points[:, 1])
    for turned in (False, True):
        for row in range(len(y) - 1):
            for column in range(len(x) - 1):
                for side in (0, 1):  # the right angle is at the top left, or at the bottom right
                    step = 1 - 2 * side
                    r, c = row + side, column + side
                    x0, y0 = moved[r, c]
                    x1, y1 = moved[r, c + step, 0] - x0, moved[r, c + step, 1] - y0
                    x2, y2 = moved[r + step, c, 0] - x0, moved[r + step, c, 1] - y0
                    area = x1 * y2 - y1 * x2
                    if area == 0 or (area < 0) != turned:
                        continue
                    left, right = x0 + min(x1, x2, 0.0), x0 + max(x1, x2, 0.0)
                    bottom = y0 + max(y1, y2, 0.0)
                    for n in range(np.searchsorted(heights, y0 + min(y1, y2, 0.0)), len(heights)):
                        if heights[n] > bottom:
                            break
                        if not left <= points[n, 0] <= right or not np.isnan(found[n, 0]):
                            continue
                        dx, dy = points[n, 0] - x0, heights[n] - y0
                        first, second = (dx * y2 - dy * x2) / area, (x1 * dy - y1 * dx) / area
                        if first >= -1e-9 and second >= -1e-9 and first + second <= 1 + 1e-9:
                            found[n, 0] = x[c] + first * (x[c + step] - x[c])
                            found[n, 1] = y[r] + second * (y[r + step] - y[r])


def align(
    source: FeatureGrid,
    target: FeatureGrid,
    *,
    smoothness: float = 0.1,
    position: float = 0.0,
    method: Method = "trw-s",
    iterations: int = 20,
    gap: float = 1e-4,
    refine: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Alignment:
    """The displacement of every cell of the source of least energy; any cell of the target may be its place.

    `refine` then moves cells by fractions: the data term around every label is taken for a parabola in x and one in y,
    and the sum of these and the smoothness term, a quadratic function, is minimised. `position` is that of
    `data_term`, other options are those of `mrf.minimise`. Raises ValueError where the descriptors have different lengths.
    """
    unary = data_term(source, target, position=position)
    solution = mrf.minimise(
        unary, smoothness=smoothness, method=method, iterations=iterations, gap=gap, progress=progress
    )
    displacement = _refined(unary, solution, smoothness) if refine else solution.displacement
    return Alignment(source.cells, target.cells, solution, displacement)


def data_term(
    source: FeatureGrid, target: FeatureGrid, *, position: float = 0.0
) -> Float[np.ndarray, "rows columns target_rows target_columns"]:
    """||f_s(p) - f_t(t)||² for every cell p of the source and t of the target.

    `position` adds so much times the squared distance, in cells of the target, from where p lies when the two grids are
    laid on one another. Long, Zhang and Darrell (2014) have no such term, SIFT flow (Liu, Yuen and Torralba, 2011) has:
    without it a shift of the whole costs nothing, and descriptors that differ little from place to place follow chance.
    """
    if source.descriptors.shape[-1] != target.descriptors.shape[-1]:
        msg = (
            f"source and target must be described alike; got {source.layer} of {source.descriptors.shape[-1]} numbers "
            f"and {target.layer} of {target.descriptors.shape[-1]}."
        )
        raise ValueError(msg)
    first, second = source.flat().float(), target.flat().float()
    squares = first.square().sum(1)[:, None] + second.square().sum(1) - 2 * first @ second.T
    shape = (*source.descriptors.shape[:2], *target.descriptors.shape[:2])
    unary = squares.clamp_(min=0).reshape(shape).cpu().numpy()
    if position:
        down, across = (_distances(shape[axis], shape[2 + axis]) ** 2 for axis in (0, 1))
        unary += np.float32(position) * (down[:, None, :, None] + across[None, :, None, :])
    return unary


def _distances(n: int, n_target: int) -> Float32[np.ndarray, "n n_target"]:
    """Of each of `n` places along a line from each of the target's, in steps of the target's."""
    laid = (np.arange(n) + 0.5) * n_target / n - 0.5
    return (np.arange(n_target) - laid[:, None]).astype(np.float32)


def _refined(unary: np.ndarray, solution: Solution, smoothness: float) -> Float[np.ndarray, "rows columns 2"]:
    """Displacements between cells, at most half a cell from the label.

    Along an axis, costs c₋, c, c₊ of the label and its two neighbours make the parabola of curvature c₋ - 2c + c₊ whose
    lowest point is (c₋ - c₊) / 2 / curvature away. Labels at the target's border, or where the costs bend downwards,
    have none, and follow their neighbours.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu  # banded solvers of LAPACK spend their time waiting for threads

    rows, columns = solution.labels.shape[:2]
    own = np.indices((rows, columns))
    displacement = np.empty((rows, columns, 2))
    pull = _pull(rows, columns)
    for axis in (0, 1):
        label = solution.labels[..., axis]
        last = unary.shape[2 + axis] - 1

        def cost(step: int, axis: int = axis, label: np.ndarray = label, last: int = last) -> np.ndarray:
            moved = solution.labels.copy()
            moved[..., axis] = np.clip(label + step, 0, last)
            return unary[own[0], own[1], moved[..., 0], moved[..., 1]].astype(float)

        before, here, after = (cost(step) for step in (-1, 0, 1))
        curvature = before - 2 * here + after
        usable = (label > 0) & (label < last) & (curvature > 1e-6) & np.isfinite(curvature)
        weight = np.where(usable, curvature, 1e-6)
        offset = np.where(usable, (before - after) / (2 * weight), 0).clip(-0.5, 0.5)
        whole = (label - own[axis]).astype(float)
        # where the gradient of  weight / 2 * (w - whole - offset)²  +  smoothness * sum of squared differences  is zero
        matrix = (2 * smoothness * pull + diags_array(weight.reshape(-1))).tocsc()
        found = splu(matrix).solve((weight * (whole + offset)).reshape(-1)).reshape(rows, columns)
        displacement[..., 1 - axis] = whole + (found - whole).clip(-0.5, 0.5)
    return displacement


@cache
def _pull(rows: int, columns: int) -> Any:
    """Half the second derivative of the sum of squared differences of neighbours, a sparse matrix."""
    from scipy.sparse import eye_array, kron, vstack

    across, down = (eye_array(n - 1, n, k=1) - eye_array(n - 1, n) for n in (columns, rows))
    differences = vstack([kron(eye_array(rows), across), kron(down, eye_array(columns))])
    return (differences.T @ differences).tocsc()


def warp(
    source: DescribedCrop, target: DescribedCrop, alignment: Alignment
) -> tuple[Image, Bool[np.ndarray, "height width"]]:
    """The source as the target would show it, and where it shows anything; elsewhere it is grey."""
    from scipy.ndimage import map_coordinates

    height, width = target.image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    places = alignment.to_source(np.stack([x, y], axis=-1))
    shown = np.asarray(np.isfinite(places).all(axis=-1))
    at = [np.where(shown, places[..., axis], 0) for axis in (1, 0)]
    channels = [map_coordinates(source.image[..., c].astype(float), at, order=1, mode="nearest") for c in range(3)]
    picture = np.where(shown[..., None], np.stack(channels, axis=-1), NOTHING)
    return np.rint(picture).astype(np.uint8), shown


@dataclass(frozen=True)
class CropSpec:
    """How objects are cut out to be aligned: see `describe`."""

    n_cells: int = 18
    margin: float = 0.1
    square: bool = True
    context_px: int = 0


CROP_SPEC = CropSpec()


def subject(
    instance: Instance, features: Sequence[str], *, backbone: Backbone, crop: CropSpec = CROP_SPEC
) -> DescribedCrop:
    """`describe` for an object of a data set. Raises what loading its photo does."""
    return describe(instance.photo.load(), instance.box, features, backbone=backbone, **asdict(crop))


def nearest(
    target: Float[np.ndarray, " channels"], others: Float[np.ndarray, "others channels"], n: int
) -> Int[np.ndarray, " n"]:
    """The `n` subjects whose summaries are most like the target's, most alike first."""
    return np.argsort(-(others @ target), kind="stable")[:n]


def vote(
    candidates: Float[np.ndarray, "neighbours keypoints 2"],
    order: Int[np.ndarray, " neighbours"],
    *,
    top: int = 5,
) -> Float[np.ndarray, "keypoints 2"]:
    """Every keypoint's median, by coordinate, over the first `top` neighbours in `order` that show it; else NaN."""
    ordered = candidates[order]
    shown = ~np.isnan(ordered).any(axis=-1)
    used = shown & (np.cumsum(shown, axis=0) <= top)
    found = np.full(candidates.shape[1:], np.nan)
    some = used.any(axis=0)
    found[some] = np.nanmedian(np.where(used[..., None], ordered, np.nan)[:, some], axis=0)
    return found


@dataclass(frozen=True, eq=False)
class Neighbour:
    """An object aligned to another, and its keypoints, (x, y) in the other's photo."""

    instance: Instance
    subject: DescribedCrop
    alignment: Alignment
    keypoints: Float[np.ndarray, "keypoints 2"]


@dataclass(frozen=True, eq=False)
class Transfer:
    """Neighbours aligned to a target, in the order in which they vote, and the keypoints voted for, in its photo."""

    feature: str
    smoothness: float
    neighbours: tuple[Neighbour, ...]
    keypoints: Float[np.ndarray, "keypoints 2"]


def transfer(
    target: DescribedCrop,
    neighbours: Sequence[tuple[Instance, DescribedCrop]],
    feature: str,
    *,
    smoothness: float = 0.1,
    position: float = 0.0,
    order: Order = "deformation",
    method: Method = "trw-s",
    iterations: int = 10,
    gap: float = 1e-3,
    top: int = 5,
    progress: Callable[[float, str], None] | None = None,
) -> Transfer:
    """Keypoints of the neighbours carried to the target by aligning them; the least deformed ones vote.

    Long, Zhang and Darrell (2014), Section 4: ordering by deformation does better than by the data term. The `top` least
    deformed neighbours that show a keypoint vote on it by the median of their coordinates. With `order` "likeness" it is
    the first ones of `neighbours`, which come as `nearest` found them. `position` is that of `data_term`.
    """
    if order not in get_args(Order):
        msg = f"order must be one of {', '.join(get_args(Order))}; got {order!r}."
        raise ValueError(msg)
    if not neighbours:
        msg = "a transfer needs at least one neighbour; got none."
        raise ValueError(msg)

    def report(share: float) -> None:
        if progress is not None:
            progress(share, f"{feature}: aligning {round(share * len(neighbours))} of {len(neighbours)}")

    grid = target.grids[feature]
    unaries = [data_term(source.grids[feature], grid, position=position) for _, source in neighbours]
    options = {"smoothness": smoothness, "method": method, "iterations": iterations, "gap": gap}
    solutions = mrf.minimise_batch(unaries, **options, progress=report, device=grid.descriptors.device)
    found: list[Neighbour] = []
    for (instance, source), unary, solution in zip(neighbours, unaries, solutions, strict=True):
        aligned = Alignment(source.grids[feature].cells, grid.cells, solution, _refined(unary, solution, smoothness))
        points = aligned.to_target(source.placement.to_crop(instance.keypoints))
        found.append(Neighbour(instance, source, aligned, target.placement.to_image(points)))
    if order == "deformation":
        found.sort(key=lambda neighbour: neighbour.alignment.deformation)
    points = np.stack([neighbour.keypoints for neighbour in found])
    return Transfer(feature, smoothness, tuple(found), vote(points, np.arange(len(found)), top=top))
