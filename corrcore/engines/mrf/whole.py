"""Sweeps over all labels in whole numbers of sixteen bits: in less than half the time of those in single precision."""

import math
from copy import copy
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from corrcore.compiled import LANES, SHORT_LANES
from corrcore.engines.mrf import shorts as compiled
from corrcore.engines.mrf.coarse import coarsen, refine
from corrcore.engines.mrf.on_cpu import LISTED, Arrays, Costs, Room, State, aligned
from corrcore.engines.mrf.problem import FAR, FORBIDDEN
from corrcore.engines.mrf.sweeps import SAMPLED

_SMALLEST = 8  # cells and labels an axis for which a coarser grid pays
_FINEST = 1000  # units that the range of costs has at least
_CAP, _LEAST_CAP = 1.0, 80  # of messages: in ranges of costs, but at least so many times the smoothness
_COARSE_ITERATIONS, _ENOUGH = 20, 3e-4  # at most, and until the coarse bound rises by no more than such a share of it
_SHARE = 0.45  # of a coarse message, for each of the two it stands for
_KEPT, _MOVED = 2, 4  # sweeps after which messages are kept, and moved on from those kept


class Shorts(NamedTuple):
    """Costs, messages and room to work in, in units: as in `on_cpu.Arrays`, where not said otherwise.

    Costs are those above the least of each cell. They and messages begin `stride` apart.
    """

    costs: np.ndarray
    right: np.ndarray
    down: np.ndarray
    right_before: np.ndarray  # as they came when they were moved on last
    down_before: np.ndarray
    none: np.ndarray
    squares: np.ndarray
    steps: np.ndarray
    pads: np.ndarray
    sums: np.ndarray
    upright: np.ndarray
    turned: np.ndarray
    outcome: np.ndarray
    by_row: np.ndarray
    by_column: np.ndarray
    forth: np.ndarray  # in energy
    back: np.ndarray
    least: np.ndarray  # cost of each cell
    counts: np.ndarray  # the lists of `Arrays`
    places: np.ndarray
    most: int
    grid_pitch: int  # of theirs
    middle: int
    height: int
    pitch: int
    tall: int  # the height in whole lanes
    size: int
    stride: int
    cap: np.uint16  # of messages
    unit: float


class Whole:
    """The messages between all neighbours of one problem, for the first sweeps, after which few labels are left.

    They begin as those of a coarser grid. `few_left` says whether the last sweep found few labels left to cells.
    """

    def __init__(
        self, costs: Costs, smoothness: float, lists: Arrays | None = None, *, messages: int | None = 0
    ) -> None:
        """All `messages` have that value, or any."""
        self.shape = rows, columns, height, width = costs.shape
        self.few_left, self._n_swept, self._labels = False, 0, np.zeros((rows, columns, 2), np.int64)
        self._costs, self._smoothness = costs, smoothness
        per_step, unit = _units(costs, smoothness)
        dearest = math.ceil(costs.span / unit)
        cap = (compiled.MOST - dearest) // 4  # so that four messages and a cost fit
        pitch, tall, n_cells = width + -width % SHORT_LANES, height + -height % SHORT_LANES, rows * columns
        stride, n_across, n_down = tall * pitch, rows * max(columns - 1, 1), max(rows - 1, 1) * columns
        room = Room((n_cells + 2 * n_across + 2 * n_down) * stride, np.uint16)
        grids = aligned((tall + 2) * pitch + (pitch + 2) * tall, cap, np.uint16)  # side by side, for the cache
        pads = aligned(pitch, kind=np.uint16)
        pads[width:] = compiled.MOST
        reach = np.arange(max(rows, columns) + tall + pitch + 2, dtype=float)
        squares = np.minimum(per_step * np.concatenate([reach[:0:-1], reach]) ** 2, compiled.MOST // 4)
        self.shorts = Shorts(
            costs=room.take(n_cells * stride),
            right=room.take(n_across * stride, messages),
            down=room.take(n_down * stride, messages),
            right_before=room.take(n_across * stride),
            down_before=room.take(n_down * stride),
            none=aligned(stride, kind=np.uint16),
            squares=squares.astype(np.uint16),
            steps=np.minimum(per_step * (2 * reach + 1), cap).astype(np.uint16),
            pads=pads,
            sums=aligned(stride, kind=np.uint16),
            upright=grids[: (tall + 2) * pitch],
            turned=grids[(tall + 2) * pitch :],
            outcome=aligned(2 * SHORT_LANES, kind=np.uint16),
            by_row=aligned(tall, kind=np.uint16),
            by_column=aligned(pitch, kind=np.uint16),
            forth=np.zeros(3 * n_cells),
            back=np.zeros(3 * n_cells),
            least=costs.least,
            counts=np.zeros(n_cells, np.int64) if lists is None else lists.counts,
            places=np.empty(0, np.int32) if lists is None else lists.places,
            most=0 if lists is None else lists.most,
            grid_pitch=costs.pitch,
            middle=len(reach) - 1,
            height=height,
            pitch=pitch,
            tall=tall,
            size=height * pitch,
            stride=stride,
            cap=np.uint16(cap),
            unit=unit,
        )
        compiled.scale(costs.flat, costs.pitch, costs.least, unit, dearest, self.shorts.costs, pitch, stride)

    @classmethod
    def begin(cls, state: State, smoothness: float) -> "Whole | None":
        """Begins a state's problem, if it is large enough, and sixteen bits tell its costs and distances apart."""
        per_step, unit = _units(state.costs, smoothness)
        if min(state.shape) < _SMALLEST or per_step < 1 or state.costs.span < _FINEST * unit:
            return None
        begun = cls(state.costs, smoothness, state.arrays, messages=None)
        begun._refine()
        return begun

    def _refine(self) -> None:
        """Makes messages those of a coarser grid."""
        shape = rows, columns, height, width = tuple((n + 1) // 2 for n in self.shape)
        padded = np.zeros((rows, columns, height, width + -width % LANES), np.float32)
        coarse = padded[..., :width]
        coarsen(self._costs.flat, self.shape, self._costs.pitch, coarse)
        least, most = coarse.min(axis=(2, 3)), np.where(coarse < FORBIDDEN, coarse, -FORBIDDEN).max(axis=(2, 3))
        costs = Costs(shape, padded.ravel(), padded.shape[3], least.ravel(), most.ravel())
        other = Whole(costs, 8 * self._smoothness)  # two edges, of twice the distance
        bound = -math.inf
        for _ in range(_COARSE_ITERATIONS):
            before = bound
            other.sweep(forth=True)
            _, bound = other.sweep(forth=False)
            if bound - before < _ENOUGH * abs(bound):
                break
        given, own = other.shorts, self.shorts
        share = np.float32(_SHARE * given.unit / own.unit)
        room = np.zeros(own.height * (own.pitch + SHORT_LANES) + SHORT_LANES, np.uint16)
        for across, down, sent, kept in ((1, 0, given.right, own.right), (0, 1, given.down, own.down)):
            theirs, ours = (
                (each.shape[0] - down, each.shape[1] - across, *each.shape[2:], each.shorts.pitch, each.shorts.stride)
                for each in (other, self)
            )
            refine(sent, theirs, kept, ours, share, own.cap, room)
            messages = kept.reshape(*ours[:2], own.stride)
            messages[2 * theirs[0] :] = messages[:, 2 * theirs[1] :] = 0  # at the last of an even number of cells

    @property
    def precision(self) -> float:
        """By about so much is a bound lower than it could be, at most."""
        return self.shorts.unit * self.shape[0] * self.shape[1]

    def afresh(self) -> "Whole":
        """The same problem with messages of zero."""
        other = copy(self)
        names = ("right", "down", "right_before", "down_before", "forth", "back")
        other.shorts = self.shorts._replace(**{name: np.zeros_like(getattr(self.shorts, name)) for name in names})
        other._n_swept = 0
        return other

    def sweep(
        self, *, forth: bool, threshold: float = math.inf, lists: bool = False
    ) -> tuple[Int[np.ndarray, "rows columns 2"], float]:
        """As `State.sweep`. If `lists`, labels left are listed where they are few, and `hand_over` has to follow."""
        keep, move = (forth and not lists and self._n_swept >= n for n in (_KEPT, _MOVED))
        limit = min(threshold, float(FAR)) if lists or not forth else float(FAR)
        bound, n_short = compiled.sweep(self.shorts, self.shape, self._labels, forth, keep, move, limit, lists)
        self.few_left = n_short > LISTED * len(self.shorts.least) / SAMPLED
        self._n_swept += 1
        return self._labels.copy(), float(bound)

    def hand_over(self, state: State, *, forth: bool) -> None:
        """Gives the state the messages of the last sweep, at the labels listed, or at all where there is no list."""
        state.make_room()
        compiled.hand_over(self.shorts, state.arrays, self.shape, forth)


def _units(costs: Costs, smoothness: float) -> tuple[int, float]:
    """How many units the smoothness is, and what a unit is, such that no sum of a cost and messages exceeds the most.

    Distances are whole numbers of units.
    """
    smallest = (costs.span + 4 * max(_CAP * costs.span, _LEAST_CAP * smoothness)) / (compiled.MOST - 4)
    per_step = math.floor(smoothness / smallest) if smallest else 0
    return per_step, smoothness / max(per_step, 1)
