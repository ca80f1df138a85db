"""One field by one thread: its costs and messages, laid out for the processor's vector registers."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from corrcore.compiled import LANES
from corrcore.engines.mrf import sweeps
from corrcore.engines.mrf.problem import FAR, Settings

MOST_LISTED = 112  # labels of a cell: messages between more are quicker over grids
LISTED = 0.4  # so many cells could have a list before any gets one: messages between grids and lists take longest
_CHANGING = ("right", "down", "forth", "back", "counts", "places", "ys", "xs", "few")  # arrays that a search changes
LINE, _PAGE = 64, 1 << 21  # bytes of the processor's cache, and of what the system gives as one


class Arrays(NamedTuple):
    """The costs of labels, the messages, and room to work in: all flat, rows of labels padded to whole lanes.

    There is one message an edge: the one sent last, forth or back. Whoever sends one needs the opposite one alone, and
    that for the last time. A message has a number per label of the cell it was sent to, on a grid or listed.
    """

    costs: np.ndarray
    right: np.ndarray  # between a cell and the one to its right
    down: np.ndarray
    right_at: np.ndarray  # where each of these messages begins
    down_at: np.ndarray
    none: np.ndarray  # what comes from beyond the border: zeros
    squares: np.ndarray  # smoothness * d², of d from -middle on
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
    middle: int
    most: int
    height: int
    pitch: int  # of the grid's rows
    size: int  # of a grid
    unit: np.float32  # the square root of the smoothness


class Costs(NamedTuple):
    """Costs of labels, rows padded to a length of `pitch`; the least and the most of each cell's that are allowed."""

    shape: tuple[int, ...]
    flat: np.ndarray
    pitch: int
    least: np.ndarray
    most: np.ndarray

    @property
    def span(self) -> float:
        """Of the cell whose costs differ most."""
        return float((self.most - self.least).max())


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
        self._improved: np.ndarray | None = None  # labels of which no listed one is better
        self.lists = self.few_left = False
        pitch, tall = width + -width % LANES, height + -height % LANES
        size, n_cells = height * pitch, rows * columns
        room = Room(n_cells * size + 3 * n_cells * MOST_LISTED)  # one piece, for which the system has larger pages
        costs = room.take(n_cells * size)
        least, most = np.empty((2, n_cells), np.float32)
        given = np.require(unary, np.float32, ["C", "W"]).reshape(n_cells, height, width)  # the one type compiled for
        pads = aligned(pitch, -FAR)
        pads[width:] = FAR
        sweeps.lay_out(given, costs, pads, least, most)
        self.costs = Costs(self.shape, costs, pitch, least, most)
        reach = np.arange(max(rows, columns) + height + pitch + 2, dtype=np.float32)
        unit, middle = np.float32(math.sqrt(smoothness)), height // 2  # small numbers round by less
        grid_ys, grid_xs = unit * (np.indices((height, pitch), np.float32).reshape(2, -1) - np.float32(middle))
        self.arrays = Arrays(
            costs=costs,
            right=np.empty(0, np.float32),  # until the first sweep: those in sixteen bits come before it
            down=np.empty(0, np.float32),
            right_at=size * np.arange(rows * max(columns - 1, 1)),
            down_at=size * np.arange(max(rows - 1, 1) * columns),
            none=aligned(size),
            squares=np.float32(smoothness) * np.concatenate([reach[:0:-1], reach]) ** 2,
            steps=np.float32(smoothness) * (2 * reach + 1),
            pads=pads,
            sums=aligned(size),
            upright=aligned((tall + 2) * pitch, FAR),
            turned=aligned((pitch + 2) * tall, FAR),
            outcome=aligned(max(tall * pitch, MOST_LISTED)),
            by_row=aligned(tall),
            by_column=aligned(pitch),
            forth=np.zeros(3 * n_cells),
            back=np.zeros(3 * n_cells),
            counts=np.zeros(n_cells, np.int64),
            places=np.empty(n_cells * MOST_LISTED, np.int32),
            ys=room.take(n_cells * MOST_LISTED),
            xs=room.take(n_cells * MOST_LISTED),
            few=room.take(n_cells * MOST_LISTED),
            grid_ys=grid_ys,
            grid_xs=grid_xs,
            middle=len(reach) - 1,
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
        if not self.arrays.right.size:
            self._begin()
        limit = min(threshold, float(FAR))  # compiled code knows no infinity
        bound, n_short = sweeps.sweep(self.arrays, self.shape, self._labels, self._reweighted, forth, limit, self.lists)
        self.few_left = n_short > LISTED * len(self.arrays.counts) / sweeps.SAMPLED
        return self._labels.copy(), float(bound)

    def _begin(self) -> None:
        """Makes all messages zero."""
        n_right, n_down = (self.arrays.size * len(each) for each in (self.arrays.right_at, self.arrays.down_at))
        room = Room(n_right + n_down)
        self.arrays = self.arrays._replace(right=room.take(n_right, 0), down=room.take(n_down, 0))

    def make_room(self) -> None:
        """Gives messages no more room than lists need: to have it from the system takes as long as sweeps over them."""
        counts, size = self.arrays.counts.reshape(self.shape[:2]), self.arrays.size
        counts = np.where(counts, counts + -counts % LANES, size)
        lengths = (np.maximum(counts[:, :-1], counts[:, 1:]), np.maximum(counts[:-1], counts[1:]))
        ends = np.cumsum(np.concatenate([each.ravel() for each in lengths]))
        begins, n_across = np.append(0, ends), lengths[0].size
        messages = Room(int(begins[-1])).take(int(begins[-1]))
        self.arrays = self.arrays._replace(
            right=messages, down=messages, right_at=begins[:n_across], down_at=begins[n_across:]
        )

    def remember(self) -> None:
        """Keeps messages and lists, to go back to."""
        self._kept = {name: getattr(self.arrays, name).copy() for name in _CHANGING}

    def go_back(self) -> None:
        """Makes messages and lists what they were when they were kept last."""
        for name, kept in self._kept.items():
            getattr(self.arrays, name)[:] = kept
        self.forget_lists()

    def forget_lists(self) -> None:
        """From now on no list is made, and labels that were dropped may improve others."""
        self.lists, self._improved = False, None

    def energy(self, labels: Int[np.ndarray, "rows columns 2"]) -> float:
        """What labels cost, but for rounding."""
        return sweeps.energy(self.arrays.costs, self.arrays.squares, self.arrays.middle, self.shape, labels)

    def work(self) -> float:
        """What a sweep costs now, as a share of one with all labels."""
        return sweeps.work(self.arrays, self.shape)

    def improve(
        self, labels: Int[np.ndarray, "rows columns 2"], *, listed: bool = False
    ) -> Int[np.ndarray, "rows columns 2"]:
        """Gives one cell after the other the best label given its neighbours', until none changes.

        Only labels not yet dropped are tried, if `listed`; cells are left out that have the label and neighbours which
        they had when that was done last.
        """
        stale = np.ones(labels.shape[:2], bool)
        if listed and self._improved is not None:
            changed = (labels != self._improved).any(axis=2)
            stale = changed.copy()
            stale[1:] |= changed[:-1]
            stale[:-1] |= changed[1:]
            stale[:, 1:] |= changed[:, :-1]
            stale[:, :-1] |= changed[:, 1:]
        labels = labels.copy()
        sweeps.improve(self.arrays, self.shape, labels, stale, listed)
        self._improved = labels.copy() if listed else self._improved
        return labels


class Room:
    """Memory to be taken piece by piece, each beginning where a line of the processor's cache does.

    They fill large pages of the system from beginning to end: it takes as long to give small ones as sweeps take.
    """

    def __init__(self, size: int, kind: type[np.generic] = np.float32) -> None:
        page = _PAGE // np.dtype(kind).itemsize
        size += 16 * LINE  # for what is left over between pieces
        self._left = aligned(size + -size % page, None, kind, to=_PAGE)

    def take(self, size: int, value: float | None = None) -> np.ndarray:
        """The next so many numbers: all `value`, or any if it is None."""
        line = LINE // self._left.itemsize
        taken, self._left = self._left[:size], self._left[size + -size % line :]
        if value is not None:
            taken[:] = value
        return taken


def aligned(
    size: int, value: float | np.floating | None = 0, kind: type[np.generic] = np.float32, to: int = LINE
) -> np.ndarray:
    """Numbers that begin at a multiple of so many bytes: all `value`, or any if it is None."""
    extra = to // np.dtype(kind).itemsize
    whole = np.empty(size + extra, kind)
    first = -(whole.ctypes.data // whole.itemsize) % extra
    found = whole[first : first + size]
    if value is not None:
        found[:] = value
    return found
