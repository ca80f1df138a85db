"""A descriptor for every pixel of any network, by shifting the image: Long, Zhang and Darrell (2014), Section 5.

A network describes the pixels that its cells are centred on. Of an image whose first columns and rows are cut away it
describes others, in between. All shifts smaller than the stride together describe every pixel; where that is too much
work, shifts of `step` pixels do, and the pixels between have the nearest one's descriptor.

What a network computes in one pass over all shifts (`every_pixel`), where it is a chain of windows, is the same. A
vision transformer can cut overlapping patches in one pass instead (`overlapping`): that takes more work the more pixels
there are, and gives other values than those that a classifier has learnt from, so maps are made by shifts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from corrcore.features import FeatureGrid, Image
from corrcore.geometry import PixelBox

MOST_SHIFTS = 64  # passes over an image that one map takes at most

Describe = Callable[[Image], FeatureGrid]


def step_px(stride: int, region: PixelBox) -> int:
    """How far apart the described pixels are: the least divisor of the stride that keeps to `MOST_SHIFTS` passes."""
    divisors = [step for step in range(1, stride + 1) if stride % step == 0]
    return next(step for step in divisors if len(_shifts(stride, step, region)) <= MOST_SHIFTS or step == stride)


def _shifts(stride: int, step: int, region: PixelBox) -> list[tuple[int, int]]:
    """The shifts (x, y) that describe a region's pixels; small regions do not need all."""
    sides = (region.left, region.right), (region.top, region.bottom)
    across, down = (sorted({pixel % stride // step for pixel in range(start, stop)}) for start, stop in sides)
    return [(x * step, y * step) for y in down for x in across]


@dataclass(frozen=True)
class Shifting:
    """How a layer is asked at any pixel: `describe` gives its grid, whose first cell is centred on pixel `first`."""

    describe: Describe
    first: int
    stride: int

    def at(self, image: Image, x: int, y: int) -> Float[torch.Tensor, "rows columns channels"]:
        """The grid of the image without its first columns and rows."""
        return self.describe(np.ascontiguousarray(image[y:, x:])).descriptors

    def sample_at(
        self, image: Image, points: Float[np.ndarray, "points 2"], valid: PixelBox
    ) -> Float[torch.Tensor, "points channels"]:
        """The descriptors of the pixels that hold points; of those that have none, of the nearest that has."""
        pixels = np.floor((points if len(points) else np.zeros((1, 2))) + 0.5).astype(int)
        pixels = np.clip(pixels, [valid.left, valid.top], [valid.right - 1, valid.bottom - 1]) - self.first
        found: dict[int, torch.Tensor] = {}
        shifts = pixels % self.stride
        for x, y in np.unique(shifts, axis=0).tolist():
            grid = self.at(image, x, y)
            for number in np.flatnonzero((shifts == (x, y)).all(axis=1)).tolist():
                column, row = (pixels[number] // self.stride).tolist()
                found[number] = grid[row, column]
        return torch.stack([found[number] for number in range(len(pixels))])[: len(points)]

    def iter_tiles(
        self,
        image: Image,
        region: PixelBox,
        *,
        step: int,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
        """Every pixel's descriptor, a stride of rows at a time; all shifts' grids are in memory meanwhile."""
        moved = PixelBox(*(edge - self.first for edge in region))
        shifts = _shifts(self.stride, step, moved)
        grids: dict[tuple[int, int], torch.Tensor] = {}
        for done, (x, y) in enumerate(shifts):
            if progress is not None:
                progress(done / len(shifts))
            grids[x, y] = self.at(image, x, y)
        for top in range(moved.top, moved.bottom, self.stride):
            rows = np.arange(top, min(top + self.stride, moved.bottom))
            columns = np.arange(moved.left, moved.right)
            yield (
                PixelBox(region.left, int(rows[0]) + self.first, region.right, int(rows[-1]) + 1 + self.first),
                self._gathered(grids, rows, columns, step),
            )
        if progress is not None:
            progress(1.0)

    def _gathered(
        self, grids: dict[tuple[int, int], torch.Tensor], rows: np.ndarray, columns: np.ndarray, step: int
    ) -> torch.Tensor:
        """The descriptors of pixels, each from the shift that has it."""
        some = next(iter(grids.values()))
        found = some.new_empty(len(rows), len(columns), some.shape[-1])
        down, across = (each % self.stride // step * step for each in (rows, columns))
        for (x, y), grid in grids.items():
            here, there = np.flatnonzero(down == y), np.flatnonzero(across == x)
            if len(here) and len(there):
                cells = grid[torch.from_numpy(rows[here] // self.stride)][
                    :, torch.from_numpy(columns[there] // self.stride)
                ]
                found[torch.from_numpy(here)[:, None], torch.from_numpy(there)] = cells
        return found
