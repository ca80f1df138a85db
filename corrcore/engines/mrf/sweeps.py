"""Sweeps over all cells of one field, and labels, compiled by Numba.

The arrays are those of `on_cpu.Arrays`.
"""

from typing import no_type_check

import numpy as np

from corrcore.compiled import LANES, add, fill, load, lowest, maximum, minimum, pointers, store, subtract, where_less
from corrcore.engines.mrf.lists import prune
from corrcore.engines.mrf.messages import fast, inlined, send
from corrcore.engines.mrf.problem import FAR, FORBIDDEN

SAMPLED = 5  # before there are lists, one cell of so many tells whether few labels would be left


@fast
@no_type_check
def lay_out(unary, costs, pads, least, most):
    """Makes rows of `costs` those of `unary`, padded, and tells the least and the most of each cell that is allowed."""
    (n_cells, height, width), pitch = unary.shape, len(pads)
    flat, rest = unary.ravel(), fill(FORBIDDEN)
    beyond, zero = fill(FORBIDDEN / 2), fill(np.float32(0))
    last = np.full(pitch, FORBIDDEN)
    for cell in range(n_cells):
        lower, upper = fill(FAR), fill(FAR)
        for row in range(cell * height, (cell + 1) * height):
            given, at = flat, row * width
            if at + pitch > len(flat):  # beyond the end there is nothing to load
                given, at = last, 0
                last[:width] = flat[row * width : (row + 1) * width]
            for x in range(0, pitch, LANES):
                cost = minimum(maximum(load(given, at + x), load(pads, x)), rest)
                store(costs, row * pitch + x, cost)
                lower = minimum(lower, cost)
                upper = minimum(upper, where_less(cost, beyond, subtract(zero, cost), rest))
        least[cell], most[cell] = lowest(lower), -lowest(upper)


@inlined
@no_type_check
def _choose(arrays, costs, at, height, labels, row, column):
    """Makes the label of a cell the one of least cost, `costs` from `at` on plus those by row and by column."""
    outcome, by_row, by_column = arrays.outcome, arrays.by_row, arrays.by_column
    pitch = arrays.pitch
    best = FAR
    for x in range(0, pitch, LANES):
        least, its_row = fill(FAR), fill(np.float32(0))
        for y in range(height):
            cost = add(load(costs, at + y * pitch + x), fill(by_row[y]))
            its_row = where_less(cost, least, fill(np.float32(y)), its_row)
            least = minimum(cost, least)
        least = add(least, load(by_column, x))
        if lowest(least) < best:
            best, lane = lowest(least), 0
            store(outcome, 0, least)
            store(outcome, LANES, its_row)
            while outcome[lane] > best:
                lane += 1
            labels[row, column, 0], labels[row, column, 1] = int(outcome[LANES + lane]), x + lane


@inlined
@no_type_check
def add_distances(squares, middle, same, by, n, lanes):
    """Adds what `n` labels along an axis cost beside the one that is displaced as a neighbour is."""
    for k in range(0, n, lanes):
        store(by, k, add(load(by, k), load(squares, middle - same + k)))


@inlined
@no_type_check
def compare(arrays, labels, row, column, rows, columns, with_later, zero, lanes):
    """Sets, by row and by column, what labels of a cell cost beside its neighbours before it, or beside all four."""
    by_row, by_column, pitch, height = arrays.by_row, arrays.by_column, arrays.pitch, arrays.height
    for y in range(0, height, lanes):
        store(by_row, y, fill(zero))
    for x in range(0, pitch, lanes):
        store(by_column, x, fill(zero))
    for rows_apart, columns_apart in ((0, -1), (-1, 0), (0, 1), (1, 0)):
        there_row, there_column = row + rows_apart, column + columns_apart
        later = rows_apart + columns_apart > 0
        if (with_later or not later) and 0 <= there_row < rows and 0 <= there_column < columns:
            y, x = labels[there_row, there_column, 0] - rows_apart, labels[there_row, there_column, 1] - columns_apart
            add_distances(arrays.squares, arrays.middle, y, by_row, height, lanes)
            add_distances(arrays.squares, arrays.middle, x, by_column, pitch, lanes)


@inlined
@no_type_check
def _apart(squares, middle, y, x, labels, row, column, rows_apart, columns_apart):
    """What a label costs for not being displaced as the neighbour so many cells apart is."""
    other_y = labels[row + rows_apart, column + columns_apart, 0] - rows_apart
    other_x = labels[row + rows_apart, column + columns_apart, 1] - columns_apart
    return squares[middle + y - other_y] + squares[middle + x - other_x]


@inlined
@no_type_check
def _beside(squares, middle, y, x, labels, row, column, rows, columns, with_later):
    """What a label of a cell costs beside the labels of its neighbours before it, or of all four."""
    cost = np.float32(0)
    if column > 0:
        cost += _apart(squares, middle, y, x, labels, row, column, 0, -1)
    if row > 0:
        cost += _apart(squares, middle, y, x, labels, row, column, -1, 0)
    if with_later and column + 1 < columns:
        cost += _apart(squares, middle, y, x, labels, row, column, 0, 1)
    if with_later and row + 1 < rows:
        cost += _apart(squares, middle, y, x, labels, row, column, 1, 0)
    return cost


@inlined
@no_type_check
def _choose_listed(arrays, costs, first, around, labels, row, column, rows, columns, with_later):
    """Makes the label of a cell the listed one of least cost beside its neighbours'.

    `costs` begin at `first`; on the way forth, messages from later cells in `around` come on top.
    """
    cell = row * columns + column
    places, pitch, begin, best = arrays.places, arrays.pitch, cell * arrays.most, FAR
    right, at_right, down, at_down = around[:4]
    for i in range(arrays.counts[cell]):
        y, x = places[begin + i] // pitch, places[begin + i] % pitch
        cost = costs[first + i] + _beside(
            arrays.squares, arrays.middle, y, x, labels, row, column, rows, columns, with_later
        )
        if not with_later:
            cost += right[at_right + i] + down[at_down + i]
        if cost < best:
            best = cost
            labels[row, column, 0], labels[row, column, 1] = y, x


@inlined
@no_type_check
def _add_up(arrays, cell, size, around, labels, row, column, shape, forth):
    """Makes `sums` what a cell's labels cost with all four messages; on the way forth its label is chosen, too.

    Returns the least, which `sums` are lessened by on the way back.
    """
    rows, columns, height, _ = shape
    right, at_right, down, at_down, left, at_left, up, at_up = around
    n, sums = arrays.counts[cell], arrays.sums
    costs, own = arrays.costs, cell * size
    if n:
        costs, own, size = arrays.few, cell * arrays.most, n
    if forth:
        if n:
            _choose_listed(arrays, costs, own, around, labels, row, column, rows, columns, False)
        else:
            compare(arrays, labels, row, column, rows, columns, False, np.float32(0), LANES)
            for k in range(0, size, LANES):
                store(sums, k, add(load(costs, own + k), add(load(right, at_right + k), load(down, at_down + k))))
            _choose(arrays, sums, 0, height, labels, row, column)
    least = fill(FAR)
    for k in range(0, size, LANES):
        after = add(load(costs, own + k), add(load(right, at_right + k), load(down, at_down + k)))
        both = add(after, add(load(left, at_left + k), load(up, at_up + k)))
        least = minimum(least, both)
        store(sums, k, both)
    lowest_sum = lowest(least)
    if not forth:  # by which sums, and bounds, are more precise
        by = fill(lowest_sum)
        for k in range(0, size, LANES):
            store(sums, k, subtract(load(sums, k), by))
    return lowest_sum


@inlined
@no_type_check
def _around(arrays, place, columns, row, column, rows):
    """A cell's four messages and where they begin: from right, below, left and above."""
    right, down, left, up = arrays.right, arrays.down, arrays.right, arrays.down
    at_right, at_down, at_left, at_up = 0, 0, 0, 0
    edge = row * (columns - 1) + column
    if column + 1 == columns:
        right = arrays.none
    else:
        at_right = arrays.right_at[edge]
    if column == 0:
        left = arrays.none
    else:
        at_left = arrays.right_at[edge - 1]
    if row + 1 == rows:
        down = arrays.none
    else:
        at_down = arrays.down_at[place]
    if row == 0:
        up = arrays.none
    else:
        at_up = arrays.down_at[place - columns]
    return right, at_right, down, at_down, left, at_left, up, at_up


@fast
@no_type_check
def sweep(arrays, shape, labels, reweighted, forth, threshold, lists):
    """Sends all messages one way, in reading order or back; returns the bound that this gives.

    And of how many cells looked at few labels are left, see `prune`.

    Kolmogorov (2006), Figure 2, where a cell's tree weight is the same for all its edges. On the way forth a cell's
    label is chosen given its neighbours' before it and the messages from those after it (Section 3.3). With weights of
    one, the messages are those of belief propagation.

    No labelling costs less than all by which cells and messages were lessened, this way for the cells behind and the
    other way for those ahead, plus the least sum of the cell between; nor one with a certain label there less than with
    that label's sum. For each message takes over a share of its cell's sum, shares add up to one at most, and what is
    left of a sum above its least is not negative. Labels for which that exceeds `threshold` are dropped.
    """
    rows, columns, height, width = shape
    arrays = pointers(arrays)
    size, n_cells = arrays.size, rows * columns
    ahead, behind = (arrays.back, arrays.forth) if forth else (arrays.forth, arrays.back)
    left_over, done, bound, n_short = 0.0, 0.0, 0.0, 0
    for k in range(3 * n_cells):
        left_over += ahead[k]
    for step in range(n_cells):
        place = step if forth else n_cells - 1 - step
        row, column = place // columns, place % columns
        around = _around(arrays, place, columns, row, column, rows)
        right, at_right, down, at_down, left, at_left, up, at_up = around
        least = _add_up(arrays, place, size, around, labels, row, column, shape, forth)
        in_sums = least if forth else np.float32(0)
        left_over -= ahead[3 * place] + ahead[3 * place + 1] + ahead[3 * place + 2]
        if step >= columns:  # only now does the message from above or below end at a cell that is not ahead
            done += behind[3 * (place - columns if forth else place + columns) + 2]
        if threshold < FAR and (lists or place % SAMPLED == 0):
            limit = in_sums + max(threshold - (left_over + done + least), 0)
            n_short += prune(arrays, place, size, around, np.float32(limit), lists)
        n_after = (column + 1 < columns) + (row + 1 < rows)
        n_before = (column > 0) + (row > 0)
        share = np.float32(1) / np.float32(max(n_after, n_before, 1)) if reweighted else np.float32(1)
        sign = 1 if forth else -1
        for axis in range(2):  # aside, then down or up
            apart = sign * (columns if axis else 1)
            if axis:
                messages, at = (down, at_down) if forth else (up, at_up)
                within = 0 <= row + sign < rows
            else:
                messages, at = (right, at_right) if forth else (left, at_left)
                within = 0 <= column + sign < columns
            behind[3 * place + 1 + axis] = 0
            if within:
                lessened = send(
                    arrays, place, messages, at, place + apart, share, sign * axis, sign - sign * axis, height, width
                )
                behind[3 * place + 1 + axis] = lessened - share * in_sums
        behind[3 * place] = least
        done += least + behind[3 * place + 1]
    for k in range(3 * n_cells):
        bound += behind[k]
    return bound, n_short


@fast
@no_type_check
def work(arrays, shape):
    """What a sweep costs now, as a share of one over grids."""
    rows, columns, _, _ = shape
    total, whole = 0.0, np.float64(10 * arrays.size)
    counts = arrays.counts
    for place in range(rows * columns):
        for apart in (1, columns):
            if (apart == 1 and place % columns + 1 == columns) or place + apart >= rows * columns:
                continue
            n, m = counts[place], counts[place + apart]
            total += min(1.0, n * m / whole) if n * m else 1.0
    return total / max(rows * (columns - 1) + (rows - 1) * columns, 1)


@fast
@no_type_check
def energy(costs, squares, middle, shape, labels):
    """What labels cost together, data and smoothness."""
    rows, columns, height, _ = shape
    size = len(costs) // (rows * columns)
    pitch = size // height
    total = 0.0
    for row in range(rows):
        for column in range(columns):
            y, x = labels[row, column]
            total += costs[(row * columns + column) * size + y * pitch + x]
            if column + 1 < columns:
                total += squares[middle + labels[row, column + 1, 0] - y]
                total += squares[middle + labels[row, column + 1, 1] - 1 - x]
            if row + 1 < rows:
                total += squares[middle + labels[row + 1, column, 0] - 1 - y]
                total += squares[middle + labels[row + 1, column, 1] - x]
    return total


@fast
@no_type_check
def improve(arrays, shape, labels, stale, listed):
    """Gives cells the best label given their neighbours', until none changes.

    They are chosen from all labels, or, where there is a list and if `listed`, from those on it. Only cells marked
    `stale` are looked at; none is in the end.
    """
    rows, columns, height, _ = shape
    arrays = pointers(arrays)
    size, pitch, squares, middle, changes = arrays.size, arrays.pitch, arrays.squares, arrays.middle, 1
    while changes:
        changes = 0
        for row in range(rows):
            for column in range(columns):
                if not stale[row, column]:
                    continue
                stale[row, column] = False
                y, x = labels[row, column]
                cell = row * columns + column
                at, around = cell * size, _around(arrays, cell, columns, row, column, rows)
                if listed and arrays.counts[cell]:
                    first = cell * arrays.most
                    _choose_listed(arrays, arrays.few, first, around, labels, row, column, rows, columns, True)
                else:
                    compare(arrays, labels, row, column, rows, columns, True, np.float32(0), LANES)
                    _choose(arrays, arrays.costs, at, height, labels, row, column)
                best_y, best_x = labels[row, column]
                now = arrays.costs[at + y * pitch + x]
                now += _beside(squares, middle, y, x, labels, row, column, rows, columns, True)
                then = arrays.costs[at + best_y * pitch + best_x]
                then += _beside(squares, middle, best_y, best_x, labels, row, column, rows, columns, True)
                if then < now:
                    changes += 1
                    stale[max(row - 1, 0), column] = stale[min(row + 1, rows - 1), column] = True
                    stale[row, max(column - 1, 0)] = stale[row, min(column + 1, columns - 1)] = True
                else:
                    labels[row, column, 0], labels[row, column, 1] = y, x
