"""Which labels of a cell are still possible, compiled by Numba.

The arrays are those of `on_cpu.Arrays`. A cell's labels are on a grid until few enough can be the optimum's; from then
on they are listed, and what is known of them lies at the beginning of where the grid's numbers were.
"""

from typing import no_type_check

import numpy as np

from corrcore.compiled import LANES, add, fill, load, store, where_less
from corrcore.engines.mrf.messages import inlined
from corrcore.engines.mrf.problem import FAR


@inlined
@no_type_check
def _n_within(sums, n, limit):
    """Lanes whose sum is how many of the first `n` numbers are at most `limit`."""
    zero, one, most = fill(np.float32(0)), fill(np.float32(1)), fill(limit)
    count = zero
    for k in range(0, n, LANES):
        count = add(count, where_less(most, load(sums, k), zero, one))
    return count


@inlined
@no_type_check
def prune(arrays, cell, size, around, limit, lists):
    """Drops the labels of a cell whose `sums` exceed `limit`, if `lists` and few are left; returns whether few are.

    `around` are the cell's four messages and where they begin.
    """
    sums, outcome, most = arrays.sums, arrays.outcome, arrays.most
    n, first = arrays.counts[cell], cell * arrays.most
    store(outcome, 0, _n_within(sums, n if n else size, limit))
    n_kept = 0
    for lane in range(LANES):
        n_kept += int(outcome[lane])
    if n_kept > most or n_kept == n or not lists:
        return n_kept <= most
    right, at_right, down, at_down, left, at_left, up, at_up = around
    places, ys, xs, few = arrays.places, arrays.ys, arrays.xs, arrays.few
    own, kept = cell * size, 0
    for k in range(n if n else size):
        if sums[k] > limit:
            continue
        to = first + kept
        if n:
            places[to], ys[to], xs[to], few[to] = places[first + k], ys[first + k], xs[first + k], few[first + k]
        else:
            places[to], few[to] = k, arrays.costs[own + k]
            ys[to], xs[to] = arrays.grid_ys[k], arrays.grid_xs[k]
        sums[kept] = sums[k]
        right[at_right + kept], down[at_down + kept] = right[at_right + k], down[at_down + k]
        left[at_left + kept], up[at_up + kept] = left[at_left + k], up[at_up + k]
        kept += 1
    for i in range(kept, kept + -kept % LANES):
        ys[first + i], xs[first + i], few[first + i], sums[i] = 0, 0, FAR, FAR
        right[at_right + i], down[at_down + i], left[at_left + i], up[at_up + i] = 0, 0, 0, 0
    arrays.counts[cell] = kept
    return True
