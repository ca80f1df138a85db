"""Messages to begin with, from a grid of half as many rows and columns, compiled by Numba.

A coarse cell stands for two by two cells that are displaced alike, by an even number of cells.
"""

from typing import no_type_check

import numpy as np

from corrcore.engines.mrf.messages import fast
from corrcore.engines.mrf.problem import FORBIDDEN


@fast
@no_type_check
def coarsen(costs, coarse):
    """Makes each cost of `coarse` the sum of its cells'; labels beyond the border cost what those at it do."""
    rows, columns, height, width = costs.shape
    coarse[:] = 0
    for row in range(rows):
        for column in range(columns):
            own = coarse[row // 2, column // 2]
            for y in range(own.shape[0]):
                label = min(2 * y + row % 2, height - 1)
                for x in range(own.shape[1]):
                    cost = costs[row, column, label, min(2 * x + column % 2, width - 1)]
                    own[y, x] = min(own[y, x] + cost, FORBIDDEN)


@fast
@no_type_check
def _interpolate(message, share, fine):
    """Makes `fine` a share of a coarse message, for labels half as far apart: means of neighbours lie between."""
    height, width = fine.shape
    last_row, last_column, half = (height - 1) // 2, (width - 1) // 2, np.float32(0.5)
    for y in range(height):
        above, below, line = message[y // 2], message[min((y + 1) // 2, last_row)], fine[y]
        for x in range(last_column + 1):
            line[2 * x] = half * share * (above[x] + below[x])
        for x in range(1, width, 2):
            after = half * share * (above[last_column] + below[last_column]) if x + 1 == width else line[x + 1]
            line[x] = half * (line[x - 1] + after)


@fast
@no_type_check
def refine(coarse, messages, share, fine):
    """Makes messages a share of those that the cells' coarse cells got, where they got one.

    A label stands for the same displacement at all of a coarse cell's cells. `fine` is room for one message.
    """
    rows, columns = messages.shape[:2]
    height, width = fine.shape
    for row in range(rows):
        for column in range(columns):
            if row // 2 >= coarse.shape[0] or column // 2 >= coarse.shape[1] or row % 2 or column % 2:
                continue
            _interpolate(coarse[row // 2, column // 2], share, fine)
            for down in range(min(2, rows - row)):
                for across in range(min(2, columns - column)):
                    own = messages[row + down, column + across]
                    for y in range(height):
                        line, to = fine[max(y - down, 0)], own[y]
                        to[0] = line[0]
                        for x in range(across, width):
                            to[x] = line[x - across]
