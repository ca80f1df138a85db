"""Messages to begin with, from a grid of half as many rows and columns, compiled by Numba.

A coarse cell stands for two by two cells that are displaced alike, by an even number of cells.
"""

from typing import no_type_check

import numpy as np

from corrcore.compiled import LANES, SHORT_LANES, add, fill, load, load_whole, minimum, multiply, store, store_in_turn
from corrcore.engines.mrf.messages import fast, inlined
from corrcore.engines.mrf.problem import FORBIDDEN


@fast
@no_type_check
def coarsen(costs, shape, pitch, coarse):
    """Makes each cost of `coarse` the sum of its cells'; labels beyond the border cost what those at it do."""
    rows, columns, height, width = shape
    coarse[:] = 0
    for row in range(rows):
        for column in range(columns):
            own = coarse[row // 2, column // 2]
            for y in range(own.shape[0]):
                line = ((row * columns + column) * height + min(2 * y + row % 2, height - 1)) * pitch
                for x in range(own.shape[1]):
                    own[y, x] = min(own[y, x] + costs[line + min(2 * x + column % 2, width - 1)], FORBIDDEN)


@inlined
@no_type_check
def _interpolate(coarse, at, pitch, height, width, share, cap, sums, fine, fine_height, fine_pitch):
    """Makes `fine` a share of a coarse message, for labels half as far apart: means of neighbours lie between.

    Each row begins with its first number twice.
    """
    quarter, half, most = fill(np.float32(0.25) * share), fill(np.float32(0.5) * share), fill(np.float32(cap))
    for y in range(fine_height):
        above, below, to = at + y // 2 * pitch, at + min((y + 1) // 2, height - 1) * pitch, y * fine_pitch + 1
        for x in range(0, width, LANES):
            store(sums, x, add(load_whole(coarse, above + x), load_whole(coarse, below + x)))
        sums[width] = sums[width - 1]
        for x in range(0, width, LANES):
            here = load(sums, x)
            between = multiply(quarter, add(here, load(sums, x + 1)))
            store_in_turn(fine, to + 2 * x, minimum(multiply(half, here), most), minimum(between, most))
        fine[to - 1] = fine[to]


@fast
@no_type_check
def refine(coarse, coarse_shape, messages, shape, share, cap, fine):
    """Makes messages a share of those that the cells' coarse cells got, where they got one.

    `coarse_shape` and `shape` are rows and columns of edges, rows and columns of labels, and a row's and a message's
    length. A label stands for the same displacement at all of a coarse cell's cells. `fine` is room for one message.
    """
    coarse_rows, coarse_columns, coarse_height, coarse_width, coarse_pitch, coarse_size = coarse_shape
    rows, columns, height, _, pitch, size = shape
    fine_pitch, sums = pitch + SHORT_LANES, np.zeros(coarse_pitch + LANES, np.float32)
    for edge in range(coarse_rows * coarse_columns):
        row, column = 2 * (edge // coarse_columns), 2 * (edge % coarse_columns)
        _interpolate(
            coarse, edge * coarse_size, coarse_pitch, coarse_height, coarse_width, share, cap, sums, fine, height,
            fine_pitch,
        )  # fmt: skip
        for down in range(min(2, rows - row)):
            for across in range(min(2, columns - column)):
                to = ((row + down) * columns + column + across) * size
                for y in range(height):
                    line = max(y - down, 0) * fine_pitch + 1 - across
                    for x in range(0, pitch, SHORT_LANES):
                        store(messages, to + y * pitch + x, load(fine, line + x))
