"""Sweeps over all labels in whole numbers of sixteen bits, compiled by Numba: see `whole.Whole`."""

from typing import no_type_check

import numpy as np

from corrcore.compiled import (
    LANES,
    SHORT_LANES,
    add,
    add_capped,
    any_marked,
    fill,
    halve,
    load,
    lowest,
    maximum,
    minimum,
    multiply,
    pointers,
    store,
    store_whole,
    subtract,
    transpose,
    where_less,
)
from corrcore.engines.mrf.messages import fast, inlined, spread
from corrcore.engines.mrf.problem import FAR
from corrcore.engines.mrf.sweeps import SAMPLED, compare

MOST = 65535  # that fits


@fast
@no_type_check
def scale(costs, grid_pitch, least, unit, most, shorts, pitch, stride):
    """Makes `shorts` what costs are above the cell's least, in units, rounded down; `most` where they are beyond."""
    per_unit, most, height = fill(np.float32(1 / unit)), fill(np.float32(most)), len(costs) // len(least) // grid_pitch
    for cell in range(len(least)):
        lowest_cost = fill(least[cell])
        for y in range(height):
            begin, to = (cell * height + y) * grid_pitch, cell * stride + y * pitch
            for x in range(0, grid_pitch, LANES):
                cost = multiply(subtract(load(costs, begin + x), lowest_cost), per_unit)
                store_whole(shorts, to + x, minimum(cost, most))


@inlined
@no_type_check
def _choose(shorts, labels, row, column):
    """As `sweeps._choose`, by costs in `sums`."""
    sums, by_row, by_column, outcome = shorts.sums, shorts.by_row, shorts.by_column, shorts.outcome
    pitch, best = shorts.pitch, np.uint16(MOST)
    for x in range(0, pitch, SHORT_LANES):
        least, its_row = fill(np.uint16(MOST)), fill(np.uint16(0))
        for y in range(shorts.height):
            cost = add_capped(load(sums, y * pitch + x), fill(by_row[y]))
            its_row = where_less(cost, least, fill(np.uint16(y)), its_row)
            least = minimum(cost, least)
        least = add_capped(add_capped(least, load(by_column, x)), load(shorts.pads, x))
        if lowest(least) < best:
            best, lane = lowest(least), 0
            store(outcome, 0, least)
            store(outcome, SHORT_LANES, its_row)
            while outcome[lane] > best:
                lane += 1
            labels[row, column, 0], labels[row, column, 1] = outcome[SHORT_LANES + lane], x + lane


@inlined
@no_type_check
def _add_up(shorts, cell, around, labels, row, column, shape, forth):
    """Makes `sums` what a cell's labels cost with all four messages above the least of it, which is returned.

    On the way forth its label is chosen, too.
    """
    rows, columns, _, _ = shape
    right, at_right, down, at_down, left, at_left, up, at_up = around
    costs, sums, pads, size, pitch = shorts.costs, shorts.sums, shorts.pads, shorts.size, shorts.pitch
    own = cell * shorts.stride
    if forth:
        for k in range(0, size, SHORT_LANES):
            store(sums, k, add(load(costs, own + k), add(load(right, at_right + k), load(down, at_down + k))))
        compare(shorts, labels, row, column, rows, columns, False, np.uint16(0), SHORT_LANES)
        _choose(shorts, labels, row, column)
    least = fill(np.uint16(MOST))
    for x in range(0, pitch, SHORT_LANES):
        pad = load(pads, x)
        for k in range(x, size, pitch):
            after = add(load(costs, own + k), add(load(right, at_right + k), load(down, at_down + k)))
            both = maximum(add(after, add(load(left, at_left + k), load(up, at_up + k))), pad)
            least = minimum(least, both)
            store(sums, k, both)
    lowest_sum = lowest(least)
    by = fill(lowest_sum)
    for x in range(0, pitch, SHORT_LANES):
        pad = load(pads, x)
        for k in range(x, size, pitch):
            store(sums, k, maximum(subtract(load(sums, k), by), pad))
    return lowest_sum


@inlined
@no_type_check
def _move(messages, at, before, size, cap, move):
    """Moves a message on, if `move`, by half of what it has changed since it was kept last; it is kept as it was."""
    most = fill(cap)
    half = halve(most)
    for k in range(at, at + size, SHORT_LANES):
        message, last = load(messages, k), load(before, k)
        store(before, k, message)
        if move:
            moved = add(message, halve(add(message, subtract(most, last))))  # half of the cap above it
            store(messages, k, minimum(subtract(maximum(moved, half), half), most))


@inlined
@no_type_check
def _send(shorts, messages, at, rows_apart, columns_apart, height, width):
    """Replaces the message at `at`, from the one that came to the one that goes; returns what it was lessened by.

    As `messages._send_over_grids` does, from half of `sums`.
    """
    upright, turned, sums, steps = shorts.upright, shorts.turned, shorts.sums, shorts.steps
    pitch, tall, size, cap = shorts.pitch, shorts.tall, shorts.size, shorts.cap
    most, least, to = fill(cap), fill(np.uint16(MOST)), (1 + rows_apart) * pitch
    for k in range(0, size, SHORT_LANES):  # above -cap
        cost = add(halve(load(sums, k)), subtract(most, load(messages, at + k)))
        least = minimum(least, cost)
        store(upright, to + k, cost)
    lowest_cost = lowest(least)
    by = fill(lowest_cost)
    for k in range(to, to + size, SHORT_LANES):
        store(upright, k, minimum(subtract(load(upright, k), by), most))
    if rows_apart:
        beyond = pitch if rows_apart > 0 else size
        for k in range(beyond, beyond + pitch, SHORT_LANES):
            store(upright, k, most)
    first = 0 if rows_apart < 0 else pitch
    spread(upright, first, height + (rows_apart != 0), pitch, steps, height, cap, SHORT_LANES)
    for row in range(0, tall, SHORT_LANES):
        for column in range(0, pitch, SHORT_LANES):
            transpose(
                upright, (1 + row) * pitch + column, pitch, turned, (1 + columns_apart + column) * tall + row, tall
            )
    if columns_apart:
        beyond = tall if columns_apart > 0 else width * tall
        for k in range(beyond, beyond + tall, SHORT_LANES):
            store(turned, k, most)
    first = 0 if columns_apart < 0 else tall
    spread(turned, first, width + (columns_apart != 0), tall, steps, width, cap, SHORT_LANES)
    for row in range(0, tall, SHORT_LANES):
        for column in range(0, pitch, SHORT_LANES):
            transpose(turned, (1 + column) * tall + row, tall, messages, at + row * pitch + column, pitch)
    return np.int64(lowest_cost) - np.int64(cap)


@inlined
@no_type_check
def _list(shorts, cell, limit, lists):
    """Lists a cell's labels whose `sums` are at most `limit`, if `lists` and they are few; returns whether they are."""
    sums, outcome, pitch, most = shorts.sums, shorts.outcome, shorts.pitch, shorts.most
    zero, one, limits = fill(np.uint16(0)), fill(np.uint16(1)), fill(limit)
    count = zero
    for k in range(0, shorts.size, SHORT_LANES):
        count = add(count, where_less(limits, load(sums, k), zero, one))
    store(outcome, 0, count)
    n = 0
    for lane in range(SHORT_LANES):
        n += outcome[lane]
    if n > most or not lists:
        return n <= most
    places, to = shorts.places, cell * most
    for y in range(shorts.height):
        for column in range(0, pitch, SHORT_LANES):
            if any_marked(where_less(limits, load(sums, y * pitch + column), zero, one)):
                for x in range(column, column + SHORT_LANES):
                    if sums[y * pitch + x] <= limit:
                        places[to] = y * shorts.grid_pitch + x
                        to += 1
    shorts.counts[cell] = n
    return True


@inlined
@no_type_check
def _around(shorts, place, row, column, rows, columns):
    """A cell's four messages and where they begin: from right, below, left and above."""
    size = shorts.stride
    right, at_right = shorts.right, (row * (columns - 1) + column) * size
    left, at_left = shorts.right, at_right - size
    down, at_down = shorts.down, place * size
    up, at_up = shorts.down, at_down - columns * size
    if column + 1 == columns:
        right, at_right = shorts.none, 0
    if column == 0:
        left, at_left = shorts.none, 0
    if row + 1 == rows:
        down, at_down = shorts.none, 0
    if row == 0:
        up, at_up = shorts.none, 0
    return right, at_right, down, at_down, left, at_left, up, at_up


@fast
@no_type_check
def sweep(shorts, shape, labels, forth, keep, move, threshold, lists):
    """`sweeps.sweep` of *trw-s* in whole numbers; returns the bound that this gives.

    And of how many cells looked at few labels stand in labellings that cost no more than `threshold`.

    What is rounded, or capped, is so downwards: costs; half a sum, of which the cell then keeps the more; sums, and
    messages. So what cells, and messages sent, were lessened by adds up to no more than what any labelling costs.

    That is so whatever messages a sweep begins with: what a sum contains of one, the edge it came along is relieved of.
    So on the way forth messages from later cells may first be moved on in the direction in which they change, to be
    sooner where they go. Yet labels must not be told apart by sums that contain them: what was lessened on the way back
    goes with messages as they were sent.
    """
    rows, columns, height, width = shape
    shorts = pointers(shorts)
    unit, n_cells = shorts.unit, rows * columns
    ahead, behind = (shorts.back, shorts.forth) if forth else (shorts.forth, shorts.back)
    left_over, done, bound, n_short = 0.0, 0.0, 0.0, 0
    for k in range(3 * n_cells):
        left_over += ahead[k]
    sign = 1 if forth else -1
    for step in range(n_cells):
        place = step if forth else n_cells - 1 - step
        row, column = place // columns, place % columns
        around = _around(shorts, place, row, column, rows, columns)
        right, at_right, down, at_down, left, at_left, up, at_up = around
        if keep and column + 1 < columns:
            _move(right, at_right, shorts.right_before, shorts.size, shorts.cap, move)
        if keep and row + 1 < rows:
            _move(down, at_down, shorts.down_before, shorts.size, shorts.cap, move)
        least = shorts.least[place] + unit * _add_up(shorts, place, around, labels, row, column, shape, forth)
        left_over -= ahead[3 * place] + ahead[3 * place + 1] + ahead[3 * place + 2]
        if step >= columns:  # only now does the message from below end at a cell that is not ahead
            done += behind[3 * (place - columns if forth else place + columns) + 2]
        if threshold < FAR and (lists or place % SAMPLED == 0):
            limit = min(max((threshold - (left_over + done + least)) / unit, 0.0), MOST - 1.0)
            n_short += _list(shorts, place, np.uint16(limit), lists)
        behind[3 * place] = least
        behind[3 * place + 1] = behind[3 * place + 2] = 0
        if 0 <= column + sign < columns:
            messages, at = (right, at_right) if forth else (left, at_left)
            behind[3 * place + 1] = unit * _send(shorts, messages, at, 0, sign, height, width)
        if 0 <= row + sign < rows:
            messages, at = (down, at_down) if forth else (up, at_up)
            behind[3 * place + 2] = unit * _send(shorts, messages, at, sign, 0, height, width)
        done += least + behind[3 * place + 1]
    for k in range(3 * n_cells):
        bound += behind[k]
    return bound, n_short


@inlined
@no_type_check
def _take(shorts, given, at, there, arrays, taken, to):
    """Makes a message of `arrays` that of `shorts` to the cell `there`, at its listed labels, or all."""
    unit, n = np.float32(shorts.unit), arrays.counts[there]
    if n:
        first = there * arrays.most
        for i in range(n):
            k = arrays.places[first + i]
            if arrays.pitch != shorts.pitch:
                k = k // arrays.pitch * shorts.pitch + k % arrays.pitch
            taken[to + i] = unit * np.float32(given[at + k])
        for i in range(n, n + -n % LANES):
            taken[to + i] = 0
    else:
        for y in range(arrays.height):
            for x in range(arrays.pitch):
                taken[to + y * arrays.pitch + x] = unit * np.float32(given[at + y * shorts.pitch + x])


@fast
@no_type_check
def hand_over(shorts, arrays, shape, forth):
    """Gives `arrays` the messages that a sweep has sent, at the labels listed, and what they were lessened by."""
    rows, columns, _, _ = shape
    shorts, arrays = pointers(shorts), pointers(arrays)
    size, stride = arrays.size, shorts.stride
    for cell in range(rows * columns):
        row, column, first, n = cell // columns, cell % columns, cell * arrays.most, arrays.counts[cell]
        for i in range(first, first + n):
            k = arrays.places[i]
            arrays.ys[i], arrays.xs[i] = arrays.grid_ys[k], arrays.grid_xs[k]
            arrays.few[i] = arrays.costs[cell * size + k]
        for i in range(first + n, first + n + -n % LANES):
            arrays.ys[i], arrays.xs[i], arrays.few[i] = 0, 0, FAR
        if column + 1 < columns:
            edge = row * (columns - 1) + column
            there = cell + 1 if forth else cell
            _take(shorts, shorts.right, edge * stride, there, arrays, arrays.right, arrays.right_at[edge])
        if row + 1 < rows:
            there = cell + columns if forth else cell
            _take(shorts, shorts.down, cell * stride, there, arrays, arrays.down, arrays.down_at[cell])
    for k in range(3 * rows * columns):
        arrays.forth[k], arrays.back[k] = shorts.forth[k], shorts.back[k]
