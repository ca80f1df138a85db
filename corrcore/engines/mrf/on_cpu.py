"""One field by one thread: its costs and messages, laid out for the processor's vector registers."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from corrcore.compiled import LANES
from corrcore.engines.mrf import coarse as refinement
from corrcore.engines.mrf import sweeps
from corrcore.engines.mrf.problem import FAR, FORBIDDEN, Settings

MOST_LISTED = 112  # labels of a cell: messages between more are quicker over grids
_LISTED = 0.4  # so many cells could have a list before any gets one: messages between grids and lists take longest
_SMALLEST = 8  # cells and labels an axis for which a coarser grid pays
_COARSE_ITERATIONS, _ENOUGH = 20, 3e-4  # at most, and until the coarse bound rises by no more than such a share of it
_SHARE = np.float32(0.45)  # of a coarse message, for each of the two it stands for
_CHANGING = ("right", "down", "forth", "back", "counts", "places", "ys", "xs", "few")  # arrays that a search changes


class Arrays(NamedTuple):
    """The costs of labels, the messages, and room to work in: all flat, rows of labels padded to whole lanes.

    There is one message an edge: the one sent last, forth or back. Whoever sends one needs the opposite one alone, and
    that for the last time. A message has a number per label of the cell it was sent to, on a grid or listed.
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
    forth: np.ndarray  # by how much each cell, its message aside and that up or down were lessened, per direction
    back: np.ndarray
    counts: np.ndarray  # of a cell's listed labels, `most` at most; 0: all, on a grid
    places: np.ndarray  # on the grid, of listed labels
    ys: np.ndarray  # their rows and columns, in `unit`s
    xs: np.ndarray
    few: np.ndarray  # their costs
    grid_ys: np.ndarray  # rows and columns of all labels
    grid_xs: np.ndarray
    most: int
    height: int
    pitch: int  # of the grid's rows
    size: int  # of a grid
    unit: np.float32  # the square root of the smoothness


class State:
    """The messages between all neighbours of one problem, after any number of sweeps.

    `lists` says whether cells are to be given lists of the labels left to them, where these are few; `few_left` whether
    the last sweep found that to pay.
    """

    def __init__(self, unary: Float[np.ndarray, "rows columns height width"], settings: Settings) -> None:
        self.shape = rows, columns, height, width = unary.shape
        self._reweighted, smoothness = settings.reweighted, settings.smoothness
        self._labels = np.zeros((rows, columns, 2), np.int64)
        self._kept: dict[str, np.ndarray] = {}
        self.lists = self.few_left = False
        pitch, tall = width + -width % LANES, height + -height % LANES
        size, n_cells = height * pitch, rows * columns
        room = _Room(3 * n_cells * size + 3 * n_cells * MOST_LISTED)  # one piece, for which the system has larger pages
        costs = room.take(n_cells * size)
        grids = costs.reshape(rows, columns, height, pitch)
        np.minimum(unary, FORBIDDEN, out=grids[..., :width], casting="same_kind")
        grids[..., width:] = FORBIDDEN
        pads = _aligned(pitch, -FAR)
        pads[width:] = FAR
        reach = np.arange(max(rows, columns) + height + pitch + 2, dtype=np.float32)
        unit, middle = np.float32(math.sqrt(smoothness)), height // 2  # small numbers round by less
        grid_ys, grid_xs = unit * (np.indices((height, pitch), np.float32).reshape(2, -1) - np.float32(middle))
        self.arrays = Arrays(
            costs=costs,
            right=room.take(rows * max(columns - 1, 1) * size),
            down=room.take(max(rows - 1, 1) * columns * size),
            none=_aligned(size),
            squares=np.float32(smoothness) * reach**2,
            steps=np.float32(smoothness) * (2 * reach + 1),
            pads=pads,
            sums=_aligned(size),
            upright=_aligned((tall + 2) * pitch, FAR),
            turned=_aligned((pitch + 2) * tall, FAR),
            outcome=_aligned(max(tall * pitch, MOST_LISTED)),
            by_row=_aligned(height),
            by_column=_aligned(pitch),
            forth=np.zeros(3 * n_cells),
            back=np.zeros(3 * n_cells),
            counts=np.zeros(n_cells, np.int64),
            places=np.empty(n_cells * MOST_LISTED, np.int32),
            ys=room.take(n_cells * MOST_LISTED),
            xs=room.take(n_cells * MOST_LISTED),
            few=room.take(n_cells * MOST_LISTED),
            grid_ys=grid_ys,
            grid_xs=grid_xs,
            most=MOST_LISTED,
            height=height,
            pitch=pitch,
            size=size,
            unit=unit,
        )

    def sweep(self, *, forth: bool, threshold: float = math.inf) -> tuple[Int[np.ndarray, "rows columns 2"], float]:
        """Sends all messages one way; returns the labels chosen last on the way forth, and the bound that this gives.

        Labels of which every labelling costs more than `threshold` may be dropped: a bound beyond it is none of the
        others.
        """
        limit = min(threshold, float(FAR))  # compiled code knows no infinity
        bound, n_short = sweeps.sweep(self.arrays, self.shape, self._labels, self._reweighted, forth, limit, self.lists)
        self.few_left = n_short > _LISTED * len(self.arrays.counts) / sweeps.SAMPLED
        return self._labels.copy(), float(bound)

    def begin(self, settings: Settings) -> None:
        """Makes messages those of a coarser grid, where there is one."""
        if min(self.shape) < _SMALLEST:
            return
        coarse = np.empty([(n + 1) // 2 for n in self.shape], np.float32)
        grids = self._grids(self.arrays.costs, self.shape[0], self.shape[1])
        refinement.coarsen(grids[..., : self.shape[3]], coarse)
        state = State(coarse, settings._replace(smoothness=8 * settings.smoothness))  # two edges, of twice the distance
        bound = -math.inf
        for _ in range(_COARSE_ITERATIONS):
            before = bound
            state.sweep(forth=True)
            _, bound = state.sweep(forth=False)
            if bound - before < _ENOUGH * abs(bound):
                break
        fine = np.empty(self.shape[2:], np.float32)
        for sent, kept in zip(state.messages(), self.messages(), strict=True):
            refinement.refine(sent, kept, _SHARE, fine)

    def messages(self) -> tuple[Float32[np.ndarray, "_ _ _ _"], Float32[np.ndarray, "_ _ _ _"]]:
        """Those between cells and the ones to their right, and below, as grids: a view."""
        rows, columns, _, _ = self.shape
        return self._grids(self.arrays.right, rows, columns - 1), self._grids(self.arrays.down, rows - 1, columns)

    def _grids(self, flat: Float32[np.ndarray, " n"], rows: int, columns: int) -> Float32[np.ndarray, "_ _ _ _"]:
        size = len(self.arrays.sums)
        return flat[: rows * columns * size].reshape(rows, columns, self.shape[2], -1)

    def remember(self) -> None:
        """Keeps messages and lists, to go back to."""
        self._kept = {name: getattr(self.arrays, name).copy() for name in _CHANGING}

    def go_back(self) -> None:
        """Makes messages and lists what they were when they were kept last."""
        for name, kept in self._kept.items():
            getattr(self.arrays, name)[:] = kept
        self.lists = False

    def energy(self, labels: Int[np.ndarray, "rows columns 2"]) -> float:
        """What labels cost, but for rounding."""
        return sweeps.energy(self.arrays.costs, self.arrays.squares, self.shape, labels)

    def work(self) -> float:
        """What a sweep costs now, as a share of one with all labels."""
        return sweeps.work(self.arrays, self.shape)

    def improve(
        self, labels: Int[np.ndarray, "rows columns 2"], *, listed: bool = False
    ) -> Int[np.ndarray, "rows columns 2"]:
        """Gives one cell after the other the best label given its neighbours', until none changes.

        Only labels not yet dropped are tried, if `listed`.
        """
        labels = labels.copy()
        sweeps.improve(self.arrays, self.shape, labels, np.ones(labels.shape[:2], bool), listed)
        return labels


class _Room:
    """Zeros to be taken piece by piece, each beginning where a line of the processor's cache does."""

    def __init__(self, size: int) -> None:
        self._left = _aligned(size)

    def take(self, size: int) -> Float32[np.ndarray, " size"]:
        """The next zeros."""
        taken, self._left = self._left[:size], self._left[size + -size % LANES :]
        return taken


def _aligned(size: int, value: float | np.floating = 0) -> Float32[np.ndarray, " size"]:
    """Numbers that begin where a line of the processor's cache does, 64 bytes."""
    whole = np.full(size + LANES, value, np.float32) if value else np.zeros(size + LANES, np.float32)
    first = -(whole.ctypes.data // 4) % LANES
    return whole[first : first + size]
