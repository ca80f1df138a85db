"""The displacement of least energy between two grids of descriptors, and what follows of it.

Long, Zhang and Darrell (2014), Section 4: descriptors of a source and a target on grids of cells, a displacement of
every source cell of least energy (`corrcore.engines.mrf`), interpolated by a bivariate spline to every pixel.

    E(w) = sum over p of ||f_s(p) - f_t(p + w(p))||²  +  smoothness * sum over neighbours p, q of ||w(p) - w(q)||²

with descriptors of unit length and w in cells. A displacement leads *from the source to the target*: the point x of the
source is found at x + w(x) of the target, which is how keypoints travel. To draw the source as the target would show
it, `Alignment.to_source` is asked where every target pixel comes from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from corrcore.engines import mrf
from corrcore.engines.mrf import Method, Solution
from corrcore.features import FeatureGrid
from corrcore.geometry import CellGrid
from corrcore.tasks.alignment._lattice import fill_sources

VERSION = 1  # of what this package computes: results kept by another are not used


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where every cell of the source lies in the target. Points are pixels of the two crops.

    `displacement` is in cells, (dx, dy), and finer than whole cells where `align` refined it. `min_marginals`, where
    `align` was asked for them, say how much more energy it takes to have a cell of the source at each of the target
    than at its best one, all others following: `mrf.min_marginals` (Kolmogorov 2006). Where a second place far from the
    first is nearly as low, the alignment is nearly as good with the cell there.
    """

    source: CellGrid
    target: CellGrid
    solution: Solution
    displacement: Float[np.ndarray, "rows columns 2"]
    min_marginals: Float32[np.ndarray, "rows columns target_rows target_columns"] | None = None

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
        fill_sources(moved, x, y, flat[order], found)
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
    min_marginals: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Alignment:
    """The displacement of every cell of the source of least energy; any cell of the target may be its place.

    `refine` then moves cells by fractions: the data term around every label is taken for a parabola in x and one in y,
    and the sum of these and the smoothness term, a quadratic function, is minimised. With `min_marginals` the result
    has these, which takes `iterations` more sweeps. `position` is that of `data_term`, other options are those of
    `mrf.minimise`. Raises ValueError where the descriptors have different lengths.
    """
    unary = data_term(source, target, position=position)
    solution = mrf.minimise(
        unary, smoothness=smoothness, method=method, iterations=iterations, gap=gap, progress=progress
    )
    displacement = refined_displacement(unary, solution, smoothness) if refine else solution.displacement
    marginals = None
    if min_marginals:
        marginals = mrf.min_marginals(unary, smoothness=smoothness, method=method, iterations=iterations)
    return Alignment(source.cells, target.cells, solution, displacement, marginals)


def data_term(
    source: FeatureGrid, target: FeatureGrid, *, position: float = 0.0
) -> Float[np.ndarray, "rows columns target_rows target_columns"]:
    """||f_s(p) - f_t(t)||² for every cell p of the source and t of the target.

    `position` adds so much times the squared distance, in cells of the target, from where p lies when the two grids are
    laid on one another. Long, Zhang and Darrell (2014) have no such term, SIFT flow (Liu, Yuen and Torralba, 2011) has:
    without it a shift of the whole costs nothing, and descriptors that differ little from place to place follow chance.

    Raises ValueError for grids that are not described alike, and a `position` below 0.
    """
    if not position >= 0:
        msg = f"position must be a number from 0; got {position}."
        raise ValueError(msg)
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


def refined_displacement(
    unary: np.ndarray, solution: Solution, smoothness: float
) -> Float[np.ndarray, "rows columns 2"]:
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
