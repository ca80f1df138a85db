"""Descriptors between a grid's cells, and the cells that are most like them."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch.nn import functional as F

from corrcore.features import FeatureGrid


def cells_at(grid: FeatureGrid, points: Float[np.ndarray, "points 2"]) -> Int[np.ndarray, " points"]:
    """The numbers, row by row, of the cells nearest to points."""
    rows, columns = grid.cells.nearest_cells(points)
    return rows * grid.cells.columns + columns


def cosines(
    source: FeatureGrid, target: FeatureGrid, points: Float[np.ndarray, "points 2"]
) -> Float32[np.ndarray, "points rows columns"]:
    """Of every cell of the target to points of the source."""
    rows, columns, _ = target.descriptors.shape
    return (descriptors_at(source, points) @ target.flat().T).reshape(len(points), rows, columns).cpu().numpy()


def descriptors_at(grid: FeatureGrid, points: Float[np.ndarray, "points 2"]) -> Float[torch.Tensor, "points channels"]:
    """Those at points, of unit length, between cells."""
    return F.normalize(_bilinear(grid, points), dim=-1)


def most_similar(
    source: FeatureGrid, target: FeatureGrid, points: Float[np.ndarray, "points 2"], *, refine: bool
) -> Float[np.ndarray, "points 2"]:
    """The centres of the target's cells of highest cosine similarity to points of the source; the first of several."""
    alike = cosines(source, target, points)
    row, column = np.divmod(alike.reshape(len(points), -1).argmax(axis=1), alike.shape[2])
    cells = np.stack([column, row], axis=-1).astype(float)
    if refine:
        each = np.arange(len(points))
        cells[:, 0] += _lowest_offsets(-alike[each, row], column)
        cells[:, 1] += _lowest_offsets(-alike[each, :, column], row)
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
