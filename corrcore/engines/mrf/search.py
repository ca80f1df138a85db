"""The search for one field's labels of least energy: which labels can still be the optimum's, and when it is found."""

import math

import numpy as np
from jaxtyping import Float, Int

from corrcore.engines.mrf.on_cpu import MOST_LISTED, State
from corrcore.engines.mrf.problem import Settings, Solution, energy
from corrcore.engines.mrf.whole import Whole

_ROUNDING = 1e-5  # of the energy: more than a bound loses by single precision
# A hope is so many times above the bound as it last rose, or as the share of what lies between it and the best energy.
_RISES, _SHARE_OF_GAP = 3, 0.4
_FURTHER = 0.4  # the next hope lies beyond one that failed by this share of what that lay above the bound
_MANY = 0.3  # of the work of a sweep over grids: with less, nothing is won by hoping
_COMPARED, _FAR = 2, 0.02  # iterations after which a coarse beginning is compared with none, if the gap is that large
_BETTER = 0.005  # by such a share has the energy to be lower for messages that bound less
_SETTLED = 1e-7  # a bound that rises by less within an iteration ends it
_STALLED = 0.1  # of a bound's precision in sixteen bits: an iteration that raises it by less ends them
_FINISHING = 20  # iterations at most over the few labels left, by a hope that failed or in the end
_FEW = 0.03  # of the work of a sweep over grids: what they may take each


class Search:
    """One field's messages, the best labels so far, and the bound.

    With more labels than a list holds, *trw-s* starts from a coarser grid, and drops labels that stand only in
    labellings of more energy than a threshold: the best energy known, or one that one hopes not to be below the
    optimum. Either way, the lesser of the threshold and the bound on what is left bounds all labellings. If the latter
    passes the former while better labels may be among the dropped ones, the hope has failed: the few labels left are
    searched to the end, since their best is close to the optimum, and the dropped ones are taken back.
    """

    def __init__(self, unary: Float[np.ndarray, "rows columns height width"], settings: Settings) -> None:
        self._unary, self._settings = unary, settings
        self._narrows = settings.reweighted and math.prod(unary.shape[2:]) > MOST_LISTED
        self._history: list[tuple[np.ndarray, float]] = []  # labels, of which energies are told in the end, and bounds
        self._best, self._lowest, self._labels = math.inf, math.inf, np.empty(0)
        self._bound, self._reached = -math.inf, -math.inf  # on all labellings, and on those of labels left
        self._threshold, self._least_hope, self._hoped_at = math.inf, -math.inf, math.inf
        self._state, self._n_swept = State(unary, settings), 0
        self._whole = Whole.begin(self._state, settings.smoothness) if self._narrows else None
        self._left, self._first_bound = self._whole, -math.inf  # whole sweeps to go back to; bound of the first

    @property
    def is_over(self) -> bool:
        """Whether energy and bound are as close as asked for."""
        return math.isfinite(self._bound) and self._best - self._bound <= self._settings.gap * abs(self._best)

    def iterate(self) -> None:
        """A sweep forth and one back, or as many as take no longer once few labels are left."""
        work, least, chosen = 0.0, math.inf, self._labels
        while True:
            reached = self._reached
            labels, found = self._sweep_forth()
            if found < least:
                least, chosen = found, labels
            self._sweep_back()
            share = self._state.work() if self._narrows else 1.0
            work += share
            if work + share > 1 or self.is_over or 0 <= self._reached - reached <= _SETTLED * abs(reached):
                break
        self._history.append((chosen, self._bound))

    def solution(self) -> Solution:
        """The best labels, improved cell by cell until no single cell can be."""
        if self._narrows and self._state.work() < _FEW:
            self._finish(listed=True)
        labels = self._state.improve(self._labels)
        history = np.array([(sum(self._energy(chosen)), bound) for chosen, bound in self._history])
        return Solution(labels, *self._energy(labels), self._bound, history)

    def _energy(self, labels: Int[np.ndarray, "rows columns 2"]) -> tuple[float, float]:
        return energy(self._unary, labels, smoothness=self._settings.smoothness)

    def _sweep(self, *, forth: bool) -> tuple[Int[np.ndarray, "rows columns 2"], float]:
        """In sixteen bits until few labels are left, and listed on the way forth."""
        if self._whole is None:
            return self._state.sweep(forth=forth, threshold=self._threshold)
        found = self._whole.sweep(forth=forth, threshold=self._threshold, lists=self._state.lists)
        if self._state.lists:
            self._whole.hand_over(self._state, forth=forth)
            self._whole = None
        return found

    def _sweep_forth(self) -> tuple[Int[np.ndarray, "rows columns 2"], float]:
        """Returns labels chosen on the way, and their energy; better ones are kept."""
        labels, bound = self._sweep(forth=True)
        found = self._state.energy(labels)
        self._keep(labels, found)
        if self._n_swept == 0:
            self._first_bound = bound
        if self._whole is None and self._threshold >= self._best:
            self._state.lists |= self._state.few_left
        if self._narrows and found < self._lowest:
            self._lowest = found
            self._keep_improved(labels, listed=True)
        return labels, found

    def _sweep_back(self) -> None:
        """Raises the bound."""
        _, bound = self._sweep(forth=False)
        if not self._settings.reweighted:
            return
        self._n_swept += 1
        if self._whole is not None and self._n_swept == _COMPARED and self._best - bound > _FAR * abs(self._best):
            bound = self._compare_with_none(self._whole, bound)
        rise, self._reached = bound - self._reached, max(self._reached, bound)
        self._bound = max(self._bound, min(bound, self._threshold))
        if not self._narrows or self.is_over:
            return
        if self._threshold < min(self._best, bound):
            self._give_up_hope()
        elif math.isfinite(rise) and self._state.work() > _MANY:
            self._hope_for(bound + max(_RISES * rise, _SHARE_OF_GAP * (self._best - bound)))
        self._state.lists |= (self._whole or self._state).few_left
        if self._threshold < self._best and self._state.lists and self._hoped_at > bound:
            self._hoped_at, self._left = bound, self._whole
            if self._whole is None:
                self._state.remember()
        if self._whole is not None and not self._state.lists and rise < _STALLED * self._whole.precision:
            self._whole.hand_over(self._state, forth=False)
            self._whole = None

    def _finish(self, *, listed: bool) -> None:
        """Keeps the best labels that sweeps over those left find."""
        for _ in range(_FINISHING):
            labels, _ = self._state.sweep(forth=True)
            if not listed or self._state.energy(labels) < self._best:
                self._keep_improved(labels, listed=listed)
            _, bound = self._state.sweep(forth=False)
            if self._best - bound < _ROUNDING * abs(self._best):
                break

    def _keep(self, labels: Int[np.ndarray, "rows columns 2"], found: float) -> None:
        if found < self._best:
            self._best, self._labels = found, labels
            if self._narrows:
                self._lower_threshold(found)

    def _keep_improved(self, labels: Int[np.ndarray, "rows columns 2"], *, listed: bool) -> None:
        better = self._state.improve(labels, listed=listed)
        self._keep(better, self._state.energy(better))

    def _hope_for(self, optimum: float) -> None:
        self._lower_threshold(max(optimum, self._least_hope))

    def _lower_threshold(self, to: float) -> None:
        self._threshold = min(self._threshold, to + _ROUNDING * abs(to))

    def _compare_with_none(self, whole: Whole, bound: float) -> float:
        """Goes on with messages that began as zero, if those bound better, or find much better labels.

        Where nothing is smooth, sweeps from coarse messages may settle where others do not. Returns the bound of the
        messages it goes on with.
        """
        other = whole.afresh()
        labels, found = other.sweep(forth=True)
        if found < self._first_bound:
            return bound
        _, found = other.sweep(forth=False)
        for _ in range(_COMPARED - 1):
            labels, _ = other.sweep(forth=True)
            _, found = other.sweep(forth=False)
        better, before = self._state.improve(labels), self._best
        self._keep(better, self._state.energy(better))
        if found < bound and before - self._best <= _BETTER * abs(before):
            return bound
        self._whole = other
        return found

    def _give_up_hope(self) -> None:
        failed, self._threshold = self._threshold, math.inf
        if math.isfinite(self._hoped_at):  # else no label was dropped for it
            self._finish(listed=False)
            self._go_back()
            self._least_hope = failed + _FURTHER * (failed - self._hoped_at)
            self._reached, self._hoped_at = self._hoped_at, math.inf
        self._lower_threshold(self._best)

    def _go_back(self) -> None:
        self._whole = self._left
        if self._whole is None:
            self._state.go_back()
        else:
            self._state.arrays.counts[:] = 0
            self._state.forget_lists()
            self._whole.sweep(forth=False)  # labels were dropped on the way forth
