"""Displacement fields of least energy on a grid: a Markov random field with squared-distance smoothness.

Every cell p of a rectangular source grid takes a cell t(p) of a rectangular target grid as its label; its displacement is
w(p) = t(p) - p, in cells. The energy (Long, Zhang and Darrell 2014, Section 4)

    E(w) = sum over p of unary[p, t(p)]  +  smoothness * sum over neighbours p, q of ||w(p) - w(q)||²

is minimised by passing messages between the four neighbours of every cell. A message is a minimum over all labels,

    m(t') = min over t of h(t) + smoothness * ||t' - t - (q - p)||².

Its distances are separable in x and y, and along an axis d² = 1 + 3 + 5 + ... + (2d - 1). So the minimum is found in
passes: in pass j = 1, 2, ... every label becomes the least of itself and its two neighbours + (2j - 1) * smoothness.
When a pass changes nothing no later one will, since its steps cost more; most messages need few of the passes.

`minimise` sweeps over all cells, in reading order and back, in one of two ways. *trw-s*, sequential tree-reweighted
message passing (Kolmogorov 2006), has a lower bound on the optimum that never sinks, so a result tells how far from the
optimum it may be. *bp*, min-sum loopy belief propagation, is the paper's. Both are exact on a single row or column,
from their second iteration on.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Num

from corrcore import concurrency
from corrcore.compiled import (
    LANES,
    add,
    any_marked,
    fill,
    kernel,
    load,
    lowest,
    mark_changes,
    maximum,
    minimum,
    multiply,
    store,
    subtract,
    transpose,
    where_less,
)

Method = Literal["trw-s", "bp"]
Progress = Callable[[float], None]

VERSION = 1  # of what this module computes: results kept by another are not used
LARGEST = 1e5  # of a cost that single precision tells from its neighbours to a hundredth
BATCH_BYTES = 1 << 30  # of a device's memory, for the pairs it works on at once
_FORBIDDEN = np.float32(2.5e8)
_FAR = np.float32(1e9)  # of what lies outside the grid


@dataclass(frozen=True)
class Solution:
    """A displacement field, its energy, and what is known of the optimum.

    `labels` are (row, column) of the target cell of each source cell. No labelling has less energy than `lower_bound`,
    but for rounding in single precision; it is -inf after belief propagation. `history` has a row an iteration: the
    energy of its labels, and its bound.
    """

    labels: Int[np.ndarray, "rows columns 2"]
    data: float
    smoothness: float
    lower_bound: float
    history: Float[np.ndarray, "iterations 2"]

    @property
    def energy(self) -> float:
        return self.data + self.smoothness

    @property
    def gap(self) -> float:
        """The most by which the energy may exceed the optimum's."""
        return self.energy - self.lower_bound

    @property
    def displacement(self) -> Float[np.ndarray, "rows columns 2"]:
        """(dx, dy) of every source cell, in cells."""
        rows, columns = self.labels.shape[:2]
        own = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
        return (self.labels - own)[..., ::-1].astype(float)


def energy(
    unary: Float[np.ndarray, "rows columns target_rows target_columns"],
    labels: Int[np.ndarray, "rows columns 2"],
    *,
    smoothness: float,
) -> tuple[float, float]:
    """The data term and the smoothness term of a labelling, (row, column) of a target cell for every source cell."""
    rows, columns = np.indices(unary.shape[:2])
    data = unary[rows, columns, labels[..., 0], labels[..., 1]].sum(dtype=np.float64)
    displacement = labels - np.stack([rows, columns], axis=-1)
    return float(data), float(smoothness * roughness(displacement))


def roughness(displacement: Num[np.ndarray, "rows columns 2"]) -> float:
    """The sum of ||w(p) - w(q)||² over neighbouring cells."""
    return float(sum((np.diff(displacement, axis=axis) ** 2).sum() for axis in (0, 1)))


def minimise(
    unary: Float[np.ndarray, "rows columns target_rows target_columns"],
    *,
    smoothness: float,
    method: Method = "trw-s",
    iterations: int = 20,
    gap: float = 1e-4,
    progress: Progress | None = None,
) -> Solution:
    """Labels of low energy: the best of all iterations, improved cell by cell until no single cell can be.

    `unary` has the cost of every label at every source cell; infinity forbids a label. An iteration is a sweep forth
    and one back. *trw-s* ends before `iterations` once energy and bound are within ``gap * |energy|``. `progress` is
    told the share done after every iteration; what it raises ends the work.

    Raises ValueError for NaN, costs beyond ±1e5, a cell without an allowed label, and options out of range.

    >>> import numpy as np
    >>> from corrcore.engines import mrf
    >>> unary = np.ones((1, 3, 1, 3))  # three cells, three labels: which cost nothing where it matches
    >>> unary[0, [0, 1, 2], 0, [0, 2, 2]] = 0
    >>> mrf.minimise(unary, smoothness=2.0).labels[0, :, 1]  # the middle one stays in line
    array([0, 1, 2])
    """
    _check(unary, smoothness, method, iterations)
    state = _State(unary, smoothness, method)
    best, labels, bound, history = math.inf, np.empty(0), -math.inf, []
    for iteration in range(iterations):
        chosen, found = state.iterate()
        total = sum(energy(unary, chosen, smoothness=smoothness))
        bound = max(bound, found)
        history.append((total, bound))
        if total < best:
            best, labels = total, chosen
        if progress is not None:
            progress((iteration + 1) / iterations)
        if best - bound <= gap * abs(best):
            break
    labels = state.improve(labels)
    return Solution(labels, *energy(unary, labels, smoothness=smoothness), bound, np.array(history))


def minimise_batch(
    unaries: Sequence[Float[np.ndarray, "_rows _columns _target_rows _target_columns"]],
    *,
    smoothness: float,
    method: Method = "trw-s",
    iterations: int = 20,
    gap: float = 1e-4,
    progress: Progress | None = None,
    device: torch.device | str | None = None,
) -> list[Solution]:
    """`minimise` for many pairs side by side: one a thread, or, on a CUDA device, all at once. Grids may differ in size.

    `device` is CUDA where there is one, by default. What it finds may differ by rounding from what threads find.
    """
    device = torch.device(device) if device is not None else concurrency.default_device()
    if device.type not in ("cpu", "cuda"):
        msg = f"device must be cpu or a CUDA device; got {device}."
        raise ValueError(msg)
    options = {"smoothness": smoothness, "method": method, "iterations": iterations, "gap": gap}
    if device.type == "cuda":
        return _minimise_together(unaries, **options, progress=progress, device=device)
    solutions: list[Solution] = []

    def keep(solution: Solution) -> None:
        solutions.append(solution)
        if progress is not None:
            progress(len(solutions) / len(unaries))

    concurrency.map_in_order(lambda unary: minimise(unary, **options), unaries, keep)
    return solutions


def _minimise_together(
    unaries: Sequence[Float[np.ndarray, "_rows _columns _target_rows _target_columns"]],
    *,
    smoothness: float,
    method: Method,
    iterations: int,
    gap: float,
    progress: Progress | None,
    device: torch.device,
) -> list[Solution]:
    """Pairs of one size at once, as many as BATCH_BYTES hold. One that ends before others stays as it is then."""
    from corrcore.engines.mrf import (
        on_torch,  # which takes time to see whether there is Triton, and is needed here alone
    )

    places: dict[tuple[int, ...], list[int]] = {}
    for place, unary in enumerate(unaries):
        _check(unary, smoothness, method, iterations)
        places.setdefault(unary.shape, []).append(place)
    batches = []
    for shape, alike in places.items():
        size = max(1, BATCH_BYTES // (4 * 5 * math.prod(shape)))  # of costs, and of four messages a cell
        batches += [alike[first : first + size] for first in range(0, len(alike), size)]
    solutions: dict[int, Solution] = {}
    for batch in batches:
        some = [unaries[place] for place in batch]
        state = on_torch.Batch(
            some, smoothness=smoothness, reweighted=method == "trw-s", forbidden=float(_FORBIDDEN), device=device
        )
        running, best, bounds = np.ones(len(some), bool), np.full(len(some), math.inf), np.full(len(some), -math.inf)
        histories: list[list[tuple[float, float]]] = [[] for _ in some]
        labels = torch.zeros((len(some), *some[0].shape[:2], 2), dtype=torch.int64, device=device)
        for iteration in range(iterations):
            chosen, found = state.iterate()
            totals, found = torch.stack([state.energies(chosen), found]).cpu().numpy()
            bounds[running] = np.maximum(bounds, found)[running]
            better = running & (totals < best)
            best[better] = totals[better]
            where = torch.from_numpy(better).to(device)[:, None, None, None]
            labels = torch.where(where, chosen, labels)
            for pair in np.flatnonzero(running):
                histories[pair].append((float(totals[pair]), float(bounds[pair])))
            running &= best - bounds > gap * np.abs(best)
            if progress is not None:
                share = (iteration + 1) / iterations if running.any() else 1.0
                progress((len(solutions) + share * len(some)) / len(unaries))
            if not running.any():
                break
        improved = state.improve(labels).cpu().numpy()
        for place, unary, own, bound, history in zip(batch, some, improved, bounds, histories, strict=True):
            terms = energy(unary, own, smoothness=smoothness)
            solutions[place] = Solution(own, *terms, float(bound), np.array(history))
    return [solutions[place] for place in range(len(unaries))]


def _check(unary: np.ndarray, smoothness: float, method: Method, iterations: int) -> None:
    if method not in get_args(Method):
        msg = f"method must be one of {', '.join(get_args(Method))}; got {method!r}."
        raise ValueError(msg)
    if not 0 <= smoothness <= LARGEST:
        msg = f"smoothness must be between 0 and {LARGEST:g}; got {smoothness}."
        raise ValueError(msg)
    if iterations < 1:
        msg = f"iterations must be at least 1; got {iterations}."
        raise ValueError(msg)
    rows, columns, height, width = unary.shape
    if 0 in unary.shape:
        msg = f"source and target must have at least one cell; got {columns} x {rows} and {width} x {height} cells."
        raise ValueError(msg)
    if not ((np.abs(unary) <= LARGEST) | (unary == np.inf)).all():
        msg = f"unary costs must be between -{LARGEST:g} and {LARGEST:g}, or infinite where a label is forbidden."
        raise ValueError(msg)
    if not (unary < np.inf).any(axis=(2, 3)).all():
        msg = "every source cell must have a target cell that is allowed; for some, all costs are infinite."
        raise ValueError(msg)
    worst = smoothness * (height**2 + width**2)  # an edge's cost of keeping to what is allowed
    if worst > _FORBIDDEN / 100 and np.isinf(unary).any():
        most = _FORBIDDEN / 100 / (height**2 + width**2)
        msg = f"smoothness must be at most {most:g} where labels are forbidden on such a grid; got {smoothness}."
        raise ValueError(msg)


class _Arrays(NamedTuple):
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


class _State:
    """The messages between all neighbours of one problem, after any number of iterations."""

    def __init__(self, unary: np.ndarray, smoothness: float, method: Method) -> None:
        self._shape = rows, columns, height, width = unary.shape
        self._reweighted = method == "trw-s"
        self._labels = np.zeros((rows, columns, 2), np.int64)
        pitch, tall = width + -width % LANES, height + -height % LANES
        size = height * pitch
        costs = _aligned(rows * columns * size, _FORBIDDEN)
        costs.reshape(rows, columns, height, pitch)[..., :width] = np.where(np.isinf(unary), _FORBIDDEN, unary)
        pads = _aligned(pitch, -_FAR)
        pads[width:] = _FAR
        reach = np.arange(max(rows, columns) + height + pitch + 2, dtype=np.float32)
        self._arrays = _Arrays(
            costs=costs,
            right=_aligned(rows * max(columns - 1, 1) * size),
            down=_aligned(max(rows - 1, 1) * columns * size),
            none=_aligned(size),
            squares=np.float32(smoothness) * reach**2,
            steps=np.float32(smoothness) * (2 * reach + 1),
            pads=pads,
            sums=_aligned(size),
            upright=_aligned((tall + 2) * pitch, _FAR),
            turned=_aligned((pitch + 2) * tall, _FAR),
            outcome=_aligned(tall * pitch),
            by_row=_aligned(height),
            by_column=_aligned(pitch),
        )

    def iterate(self) -> tuple[Int[np.ndarray, "rows columns 2"], float]:
        """Labels chosen on the way forth, and the bound of the way back."""
        _sweep(self._arrays, self._shape, self._labels, self._reweighted, True)
        labels = self._labels.copy()
        bound = _sweep(self._arrays, self._shape, self._labels, self._reweighted, False)
        return labels, float(bound) if self._reweighted else -math.inf

    def improve(self, labels: Int[np.ndarray, "rows columns 2"]) -> Int[np.ndarray, "rows columns 2"]:
        """Gives one cell after the other the best label given its neighbours', until none changes."""
        labels = labels.copy()
        while _improve(self._arrays, self._shape, labels):
            pass
        return labels


def _aligned(size: int, value: float | np.floating = 0) -> Float32[np.ndarray, " size"]:
    """Numbers that begin where a line of the processor's cache does, 64 bytes."""
    whole = np.full(size + LANES, value, np.float32)
    first = -(whole.ctypes.data // 4) % LANES
    return whole[first : first + size]


_fast = kernel(fastmath={"nnan", "ninf", "nsz", "arcp", "contract"})


@_fast
@no_type_check
def _spread(costs, at, rows, pitch, steps, limit):
    """Along the rows of `costs`, every number becomes the least of all in its column + smoothness * distance².

    Two passes at a time, each sixteen columns to themselves; `limit` is the greatest distance.
    """
    far = fill(_FAR)
    for column in range(at, at + pitch, LANES):
        done = 0
        while done < limit:
            step, next_step = fill(steps[done]), fill(steps[done + 1])
            marks = fill(np.float32(0))
            # rows before, here and after as they were; `once` what one pass makes of them
            before, here, once_before = far, load(costs, column), far
            after = load(costs, column + pitch) if rows > 1 else far
            once = minimum(here, add(after, step))
            place = column
            for _ in range(rows - 2):
                before, here, after = here, after, load(costs, place + 2 * pitch)
                once_after = minimum(here, add(minimum(before, after), step))
                twice = minimum(once, add(minimum(once_before, once_after), next_step))
                marks = mark_changes(marks, twice, once)
                store(costs, place, twice)
                once_before, once = once, once_after
                place += pitch
            if rows > 1:
                once_after = minimum(after, add(here, step))
                twice = minimum(once, add(minimum(once_before, once_after), next_step))
                marks = mark_changes(marks, twice, once)
                store(costs, place, twice)
                once_before, once = once, once_after
                place += pitch
            twice = minimum(once, add(once_before, next_step))
            marks = mark_changes(marks, twice, once)
            store(costs, place, twice)
            done += 2
            if not any_marked(marks):
                break


@_fast
@no_type_check
def _send(arrays, messages, at, share, rows_apart, columns_apart, height, width):
    """Replaces the message at `at` by the one to the neighbour so many cells apart; returns what it was lessened by.

    A label's displacement is to be kept, so labels are moved by as much as the cells are apart, on the grid and one row
    or column beyond.
    """
    pads, sums, upright, turned, outcome, steps = (
        *(arrays.pads, arrays.sums, arrays.upright),
        *(arrays.turned, arrays.outcome, arrays.steps),
    )
    pitch, tall = len(pads), height + -height % LANES
    far, part, least = fill(_FAR), fill(share), fill(_FAR)
    for row in range(height):
        place, to = row * pitch, (1 + rows_apart + row) * pitch
        for column in range(0, pitch, LANES):
            cost = subtract(multiply(part, load(sums, place + column)), load(messages, at + place + column))
            cost = minimum(maximum(cost, load(pads, column)), far)
            least = minimum(least, cost)
            store(upright, to + column, cost)
    if rows_apart:
        beyond = pitch if rows_apart > 0 else height * pitch
        for column in range(0, pitch, LANES):
            store(upright, beyond + column, far)
    _spread(upright, 0 if rows_apart < 0 else pitch, height + (rows_apart != 0), pitch, steps, height)
    for row in range(0, tall, LANES):
        for column in range(0, pitch, LANES):
            transpose(
                upright, (1 + row) * pitch + column, pitch, turned, (1 + columns_apart + column) * tall + row, tall
            )
    if columns_apart:
        beyond = tall if columns_apart > 0 else width * tall
        for row in range(0, tall, LANES):
            store(turned, beyond + row, far)
    _spread(turned, 0 if columns_apart < 0 else tall, width + (columns_apart != 0), tall, steps, width)
    for row in range(0, tall, LANES):
        for column in range(0, pitch, LANES):
            transpose(turned, (1 + column) * tall + row, tall, outcome, row * pitch + column, pitch)
    lessened = lowest(least)
    by = fill(lessened)
    for place in range(0, height * pitch, LANES):
        store(messages, at + place, subtract(load(outcome, place), by))
    return lessened


@_fast
@no_type_check
def _choose(arrays, costs, at, height, width, labels, row, column):
    """Makes the label of a cell the one of least cost, `costs` from `at` on plus those by row and by column."""
    outcome, by_row, by_column = arrays.outcome, arrays.by_row, arrays.by_column
    pitch = len(by_column)
    best = _FAR
    for x in range(0, pitch, LANES):
        least, its_row = fill(_FAR), fill(np.float32(0))
        for y in range(height):
            cost = add(load(costs, at + y * pitch + x), fill(by_row[y]))
            its_row = where_less(cost, least, fill(np.float32(y)), its_row)
            least = minimum(cost, least)
        store(outcome, 0, add(least, load(by_column, x)))
        store(outcome, LANES, its_row)
        for lane in range(min(LANES, width - x)):
            if outcome[lane] < best:
                best = outcome[lane]
                labels[row, column, 0] = int(outcome[LANES + lane])
                labels[row, column, 1] = x + lane


@_fast
@no_type_check
def _add_distances(arrays, labels, row, column, rows_apart, columns_apart):
    """Adds, by row and by column, what labels cost for not being displaced as the neighbour so many cells apart is."""
    by_row, by_column, squares = arrays.by_row, arrays.by_column, arrays.squares
    same_row = labels[row + rows_apart, column + columns_apart, 0] - rows_apart
    same_column = labels[row + rows_apart, column + columns_apart, 1] - columns_apart
    for y in range(len(by_row)):
        by_row[y] += squares[abs(y - same_row)]
    for x in range(len(by_column)):
        by_column[x] += squares[abs(x - same_column)]


@_fast
@no_type_check
def _compare(arrays, labels, row, column, rows, columns, with_later):
    """Sets, by row and by column, what labels of a cell cost beside its neighbours before it, or beside all four."""
    arrays.by_row[:] = 0
    arrays.by_column[:] = 0
    if column > 0:
        _add_distances(arrays, labels, row, column, 0, -1)
    if row > 0:
        _add_distances(arrays, labels, row, column, -1, 0)
    if with_later and column + 1 < columns:
        _add_distances(arrays, labels, row, column, 0, 1)
    if with_later and row + 1 < rows:
        _add_distances(arrays, labels, row, column, 1, 0)


@_fast
@no_type_check
def _sweep(arrays, shape, labels, reweighted, forth):
    """Sends all messages one way, in reading order or back; returns the bound, which only the way back gives.

    Kolmogorov (2006), Figure 2, where a cell's tree weight is the same for all its edges. On the way forth a cell's label
    is chosen given its neighbours' before it and the messages from those after it (Section 3.3). With weights of one,
    the messages are those of belief propagation.
    """
    rows, columns, height, width = shape
    costs, none, sums = arrays.costs, arrays.none, arrays.sums
    size = len(sums)
    bound = 0.0
    for step in range(rows * columns):
        place = step if forth else rows * columns - 1 - step
        row, column = place // columns, place % columns
        right, at_right = arrays.right, (row * (columns - 1) + column) * size
        left, at_left = arrays.right, at_right - size
        down, at_down = arrays.down, place * size
        up, at_up = arrays.down, at_down - columns * size
        if column + 1 == columns:
            right, at_right = none, 0
        if column == 0:
            left, at_left = none, 0
        if row + 1 == rows:
            down, at_down = none, 0
        if row == 0:
            up, at_up = none, 0
        n_after = (column + 1 < columns) + (row + 1 < rows)
        n_before = (column > 0) + (row > 0)
        share = np.float32(1) / np.float32(max(n_after, n_before, 1)) if reweighted else np.float32(1)
        own = place * size
        if forth:
            for k in range(0, size, LANES):
                store(sums, k, add(load(costs, own + k), add(load(right, at_right + k), load(down, at_down + k))))
            _compare(arrays, labels, row, column, rows, columns, False)
            _choose(arrays, sums, 0, height, width, labels, row, column)
            for k in range(0, size, LANES):
                store(sums, k, add(load(sums, k), add(load(left, at_left + k), load(up, at_up + k))))
            if column + 1 < columns:
                _send(arrays, right, at_right, share, 0, 1, height, width)
            if row + 1 < rows:
                _send(arrays, down, at_down, share, 1, 0, height, width)
            continue
        least = fill(_FAR)
        for k in range(0, size, LANES):
            after = add(load(costs, own + k), add(load(right, at_right + k), load(down, at_down + k)))
            both = add(after, add(load(left, at_left + k), load(up, at_up + k)))
            least = minimum(least, both)
            store(sums, k, both)
        lessened = lowest(least)
        by = fill(lessened)
        for k in range(0, size, LANES):
            store(sums, k, subtract(load(sums, k), by))
        bound += lessened
        if column > 0:
            bound += _send(arrays, left, at_left, share, 0, -1, height, width)
        if row > 0:
            bound += _send(arrays, up, at_up, share, -1, 0, height, width)
    return bound


@_fast
@no_type_check
def _improve(arrays, shape, labels):
    """One pass of best labels given the neighbours'; returns how many changed."""
    rows, columns, height, width = shape
    size = len(arrays.sums)
    changed = 0
    for row in range(rows):
        for column in range(columns):
            y, x = labels[row, column]
            _compare(arrays, labels, row, column, rows, columns, True)
            at, pitch = (row * columns + column) * size, len(arrays.pads)
            now = (arrays.costs[at + y * pitch + x] + arrays.by_row[y]) + arrays.by_column[x]
            _choose(arrays, arrays.costs, at, height, width, labels, row, column)
            other_y, other_x = labels[row, column]
            then = (arrays.costs[at + other_y * pitch + other_x] + arrays.by_row[other_y]) + arrays.by_column[other_x]
            if then < now:
                changed += 1
            else:
                labels[row, column, 0], labels[row, column, 1] = y, x
    return changed
