"""All points of two photos at once: the pairs of cells that choose each other, and components as colours."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

from corrcore.tasks.matching import DescribedExtent

_AT_ONCE = 1 << 24  # cosines that are in memory, 64 MB
_MOST_PAIRS = 1 << 30  # cells times cells that are compared, which take some seconds
_MOST_NUMBERS = 1 << 25  # of descriptors that have components
_LEAST_CELLS = 4  # of which there are components


@dataclass(frozen=True, eq=False)
class MutualMatches:
    """Cells of two photos that choose each other, most similar first: their centres (x, y) in the photos' pixels, and
    their cosines.
    """

    points: Float[np.ndarray, "matches 2"]
    places: Float[np.ndarray, "matches 2"]
    similarities: Float[np.ndarray, " matches"]


def mutual_matches(source: DescribedExtent, target: DescribedExtent) -> MutualMatches:
    """All pairs of a cell of the source and one of the target each of which is the other's most similar.

    Raises ValueError for more pairs of cells than can be compared in seconds.
    """
    first, second = source.grid.flat(), target.grid.flat()
    if len(first) * len(second) > _MOST_PAIRS:
        msg = (
            f"all points at once take {_MOST_PAIRS:,} pairs of cells at most; {source.grid.layer} has "
            f"{len(first) * len(second):,} here, so choose a layer of larger stride, or smaller photos."
        )
        raise ValueError(msg)
    there, highest = np.empty(len(first), np.int64), np.empty(len(first), np.float32)
    best, back = np.full(len(second), -np.inf, np.float32), np.zeros(len(second), np.int64)
    for begin in range(0, len(first), step := max(_AT_ONCE // len(second), 1)):
        cosines = (first[begin : begin + step] @ second.T).cpu().numpy()
        there[begin : begin + step], highest[begin : begin + step] = cosines.argmax(axis=1), cosines.max(axis=1)
        rows, values = cosines.argmax(axis=0), cosines.max(axis=0)
        better = values > best
        best[better], back[better] = values[better], begin + rows[better]
    own = np.flatnonzero(back[there] == np.arange(len(first)))
    own = own[np.argsort(-highest[own], kind="stable")]
    points, places = (each.grid.cells.centres().reshape(-1, 2) for each in (source, target))
    return MutualMatches(source.to_photo(points[own]), target.to_photo(places[there[own]]), highest[own])


def principal_colours(
    source: DescribedExtent, target: DescribedExtent, *, foreground: bool = False
) -> tuple[Float[np.ndarray, "_ _ 3"], Float[np.ndarray, "_ _ 3"]]:
    """The first three principal components of both photos' descriptors together, from 0 to 1 between their first and
    last hundredths: colours in which what is alike in the two is alike.

    With `foreground` only cells on one side of Otsu's threshold along the first component have colours, by components
    of their own: the side of which less lies along the photos' borders. Others are NaN. Oquab et al. (2023), DINOv2,
    threshold the first component, too; by how much, and which side, is ours.

    Raises ValueError for descriptors of more numbers than components are computed of.
    """
    if (n := sum(each.grid.descriptors.numel() for each in (source, target))) > _MOST_NUMBERS:
        msg = (
            f"components are computed of {_MOST_NUMBERS:,} numbers at most; {source.grid.layer} has {n:,} here, so "
            "choose a layer of larger stride, or smaller photos."
        )
        raise ValueError(msg)
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
    last = centred.shape[1] - 1
    _, axes = scipy.linalg.eigh(centred.T @ centred, subset_by_index=(max(last - n + 1, 0), last))
    axes = axes[:, ::-1]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return centred @ (axes * signs)
