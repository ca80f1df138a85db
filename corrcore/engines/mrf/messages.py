"""Messages between two cells, compiled by Numba: over whole grids of labels, and over those still possible.

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
)
from corrcore.engines.mrf.problem import FAR

# Nothing that lets a processor round otherwise than another: neither reordered sums nor fused products.
_ASSUMED = {"nnan", "ninf", "nsz"}
QUICKER = 40  # a message over grids takes as long as so many pairs per label
fast = kernel(fastmath=_ASSUMED)
inlined = kernel(fastmath=_ASSUMED, forceinline=True)


@inlined
@no_type_check
def spread(costs, at, rows, pitch, steps, limit, far, lanes):
    """Along the rows of `costs`, every number becomes the least of all in its column + smoothness * distance².

    Two passes at a time, so many `lanes` of columns to themselves; `limit` is the greatest distance, and nothing
    exceeds `far`.
    """
    far = fill(far)
    for column in range(at, at + pitch, lanes):
        done = 0
        while done < limit:
            step, next_step = fill(steps[done]), fill(steps[done + 1])
            marks = subtract(far, far)
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


@inlined
@no_type_check
def _lay_out(arrays, n, cell, opposite, at, share, rows_apart, height):
    """What the labels of a cell cost, less the opposite message, on a grid that is `rows_apart` moved; the least cost.

    The cell has a grid of labels in `sums`, or `n` listed ones.
    """
    pads, sums, upright = arrays.pads, arrays.sums, arrays.upright
    pitch = arrays.pitch
    far, part, least = fill(FAR), fill(share), fill(FAR)
    to = (1 + rows_apart) * pitch
    if n:
        for k in range(0, height * pitch, LANES):
            store(upright, to + k, far)
        lowest_cost, first = FAR, cell * arrays.most
        for i in range(n):
            cost = min(max(share * sums[i] - opposite[at + i], -FAR), FAR)
            lowest_cost = min(lowest_cost, cost)
            upright[to + arrays.places[first + i]] = cost
        least = fill(lowest_cost)
    else:
        for place in range(0, height * pitch, pitch):
            for column in range(0, pitch, LANES):
                cost = subtract(multiply(part, load(sums, place + column)), load(opposite, at + place + column))
                cost = minimum(maximum(cost, load(pads, column)), far)
                least = minimum(least, cost)
                store(upright, to + place + column, cost)
    if rows_apart:
        beyond = pitch if rows_apart > 0 else height * pitch
        for column in range(0, pitch, LANES):
            store(upright, beyond + column, far)
    return lowest(least)


@inlined
@no_type_check
def _send_over_grids(arrays, n, cell, messages, at, n_there, there, share, rows_apart, columns_apart, height, width):
    """`send` by passes over a grid of labels, from and to grids or lists.

    A label's displacement is to be kept, so labels are moved by as much as the cells are apart, on the grid and one row
    or column beyond.
    """
    upright, turned, outcome, steps = arrays.upright, arrays.turned, arrays.outcome, arrays.steps
    pitch, tall = arrays.pitch, height + -height % LANES
    lessened = _lay_out(arrays, n, cell, messages, at, share, rows_apart, height)
    at_first = 0 if rows_apart < 0 else pitch
    spread(upright, at_first, height + (rows_apart != 0), pitch, steps, height, FAR, LANES)
    for row in range(0, tall, LANES):
        for column in range(0, pitch, LANES):
            transpose(
                upright, (1 + row) * pitch + column, pitch, turned, (1 + columns_apart + column) * tall + row, tall
            )
    if columns_apart:
        far, beyond = fill(FAR), tall if columns_apart > 0 else width * tall
        for row in range(0, tall, LANES):
            store(turned, beyond + row, far)
    at_first = 0 if columns_apart < 0 else tall
    spread(turned, at_first, width + (columns_apart != 0), tall, steps, width, FAR, LANES)
    for row in range(0, tall, LANES):
        for column in range(0, pitch, LANES):
            transpose(turned, (1 + column) * tall + row, tall, outcome, row * pitch + column, pitch)
    if n_there:
        first = there * arrays.most
        for i in range(n_there):
            messages[at + i] = outcome[arrays.places[first + i]] - lessened
    else:
        by = fill(lessened)
        for place in range(0, height * pitch, LANES):
            store(messages, at + place, subtract(load(outcome, place), by))
    return lessened


@inlined
@no_type_check
def _coordinates(arrays, cell):
    """Rows and columns of a cell's labels, and where they begin; of a whole grid if it has no list."""
    if arrays.counts[cell]:
        return arrays.ys, arrays.xs, cell * arrays.most
    return arrays.grid_ys, arrays.grid_xs, 0


@inlined
@no_type_check
def _send_pair_by_pair(arrays, n, cell, messages, at, n_there, there, share, rows_apart, columns_apart):
    """`send` from each of `n` labels to each of the other cell's."""
    sums, outcome = arrays.sums, arrays.outcome
    ys, xs, first = _coordinates(arrays, cell)
    their_ys, their_xs, their_first = _coordinates(arrays, there)
    down, across = np.float32(rows_apart) * arrays.unit, np.float32(columns_apart) * arrays.unit
    part, least = fill(share), fill(FAR)
    for i in range(0, n, LANES):
        cost = subtract(multiply(part, load(sums, i)), load(messages, at + i))
        least = minimum(least, cost)
        y, x = load(ys, first + i), load(xs, first + i)
        store(outcome, i, add(cost, add(multiply(y, y), multiply(x, x))))
    lessened = lowest(least)
    by, twice = fill(lessened), fill(np.float32(-2))
    for j in range(0, n_there, LANES):
        y = subtract(load(their_ys, their_first + j), fill(down))
        x = subtract(load(their_xs, their_first + j), fill(across))
        minus_y, minus_x, best = multiply(twice, y), multiply(twice, x), fill(FAR)
        for i in range(n):  # the squares of differences, but for y * y + x * x
            products = add(multiply(minus_y, fill(ys[first + i])), multiply(minus_x, fill(xs[first + i])))
            best = minimum(best, add(products, fill(outcome[i])))
        store(messages, at + j, subtract(add(best, add(multiply(y, y), multiply(x, x))), by))
    return lessened


@inlined
@no_type_check
def send(arrays, cell, messages, at, there, share, rows_apart, columns_apart, height, width):
    """Replaces the message at `at` by the one to the cell `there`, so far apart; returns what it was lessened by."""
    n, n_there, size = arrays.counts[cell], arrays.counts[there], arrays.size
    n_all = n if n else size
    n_all_there = n_there if n_there else size
    if n + n_there > 0 and n_all * n_all_there <= QUICKER * size:  # else passes round by less
        return _send_pair_by_pair(
            arrays, n_all, cell, messages, at, n_all_there, there, share, rows_apart, columns_apart
        )
    return _send_over_grids(
        arrays, n, cell, messages, at, n_there, there, share, rows_apart, columns_apart, height, width
    )
