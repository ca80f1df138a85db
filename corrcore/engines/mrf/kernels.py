"""Messages, labels and improvements of one field, compiled by Numba at their first call.

The arrays are those of `on_cpu.Arrays`.
"""

from typing import no_type_check

import numpy as np

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
from corrcore.engines.mrf.problem import FAR

# Nothing that lets a processor round otherwise than another: neither reordered sums nor fused products.
_fast = kernel(fastmath={"nnan", "ninf", "nsz"})


@_fast
@no_type_check
def _spread(costs, at, rows, pitch, steps, limit):
    """Along the rows of `costs`, every number becomes the least of all in its column + smoothness * distance².

    Two passes at a time, each sixteen columns to themselves; `limit` is the greatest distance.
    """
    far = fill(FAR)
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
    far, part, least = fill(FAR), fill(share), fill(FAR)
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
    best = FAR
    for x in range(0, pitch, LANES):
        least, its_row = fill(FAR), fill(np.float32(0))
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
def sweep(arrays, shape, labels, reweighted, forth):
    """Sends all messages one way, in reading order or back; returns the bound, which only the way back gives.

    Kolmogorov (2006), Figure 2, where a cell's tree weight is the same for all its edges. On the way forth a cell's
    label is chosen given its neighbours' before it and the messages from those after it (Section 3.3). With weights of
    one, the messages are those of belief propagation.
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
        least = fill(FAR)
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
def improve(arrays, shape, labels):
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
