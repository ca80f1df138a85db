"""One field by one thread: its costs and messages, laid out for the processor's vector registers."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from corrcore.compiled import LANES
from corrcore.engines.mrf import kernels
from corrcore.engines.mrf.problem import FAR, FORBIDDEN, Settings


class Arrays(NamedTuple):
    """The costs of labels, the messages, and room to work in: all flat, rows of labels padded to whole lanes.

    There is one message an edge: the one sent last, forth or back. Whoever sends one needs the opposite one alone, and
    that for the last time.
    """

    costs: np.ndarray
    right: np.ndarray  # between a cell and the one to its right
    down: np.ndarray
    none: np.ndarray  # what comes from beyond the border: zeros
    squares: np.ndarray  # smoothness * d²
    steps: np.ndarray  # of the passes: smoothness * (1, 3, 5, ...)
    pads: np.ndarray  # far where a row is padding, else least
    sums: np.ndarray
    upright: np.ndarray  # a row before, the labels' rows, a row after
    turned: np.ndarray  # the same with rows and columns exchanged
    outcome: np.ndarray
    by_row: np.ndarray
    by_column: np.ndarray


class State:
    """The messages between all neighbours of one problem, after any number of iterations."""

    def __init__(self, unary: Float[np.ndarray, "rows columns height width"], settings: Settings) -> None:
        self.shape = rows, columns, height, width = unary.shape
        self._reweighted, smoothness = settings.reweighted, settings.smoothness
        self._labels = np.zeros((rows, columns, 2), np.int64)
        pitch, tall = width + -width % LANES, height + -height % LANES
        size = height * pitch
        costs = _aligned(rows * columns * size, FORBIDDEN)
        costs.reshape(rows, columns, height, pitch)[..., :width] = np.where(np.isinf(unary), FORBIDDEN, unary)
        pads = _aligned(pitch, -FAR)
        pads[width:] = FAR
        reach = np.arange(max(rows, columns) + height + pitch + 2, dtype=np.float32)
        self.arrays = Arrays(
            costs=costs,
            right=_aligned(rows * max(columns - 1, 1) * size),
            down=_aligned(max(rows - 1, 1) * columns * size),
            none=_aligned(size),
            squares=np.float32(smoothness) * reach**2,
            steps=np.float32(smoothness) * (2 * reach + 1),
            pads=pads,
            sums=_aligned(size),
            upright=_aligned((tall + 2) * pitch, FAR),
            turned=_aligned((pitch + 2) * tall, FAR),
            outcome=_aligned(tall * pitch),
            by_row=_aligned(height),
            by_column=_aligned(pitch),
        )

    def sweep(self, *, forth: bool) -> float:
        """Sends all messages one way; returns the bound, which only the way back gives."""
        return kernels.sweep(self.arrays, self.shape, self._labels, self._reweighted, forth)

    def iterate(self) -> tuple[Int[np.ndarray, "rows columns 2"], float]:
        """Labels chosen on the way forth, and the bound of the way back."""
        self.sweep(forth=True)
        labels = self._labels.copy()
        bound = self.sweep(forth=False)
        return labels, float(bound) if self._reweighted else -math.inf

    def improve(self, labels: Int[np.ndarray, "rows columns 2"]) -> Int[np.ndarray, "rows columns 2"]:
        """Gives one cell after the other the best label given its neighbours', until none changes."""
        labels = labels.copy()
        while kernels.improve(self.arrays, self.shape, labels):
            pass
        return labels


def _aligned(size: int, value: float | np.floating = 0) -> Float32[np.ndarray, " size"]:
    """Numbers that begin where a line of the processor's cache does, 64 bytes."""
    whole = np.full(size + LANES, value, np.float32)
    first = -(whole.ctypes.data // 4) % LANES
    return whole[first : first + size]
