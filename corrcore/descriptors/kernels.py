"""SIFT's loops, compiled by Numba at their first call."""

from typing import no_type_check

import numpy as np

from corrcore.compiled import kernel


@kernel(fastmath={"nsz", "contract"})
@no_type_check
def fill_votes(grey, votes):
    """What each pixel votes for each direction: its gradient's magnitude, between the two nearest ones.

    One of these is along an axis, the other diagonal, and the angle between the gradient and the axis is the arctangent
    of its shorter part over its longer: no more of a circle is needed. The border's gradient is that to its neighbour.
    """
    height, width = grey.shape
    straight, diagonal = np.empty(width, np.float32), np.empty(width, np.float32)
    at_straight, at_diagonal = np.empty(width, np.int32), np.empty(width, np.int32)
    across = np.zeros(width, np.float32)
    half = np.float32(0.5)
    for y in range(height):
        row, above, below = grey[y], grey[max(y - 1, 0)], grey[min(y + 1, height - 1)]
        down = half if 0 < y < height - 1 else np.float32(1)
        if width > 1:
            across[0], across[width - 1] = row[1] - row[0], row[width - 1] - row[width - 2]
        for x in range(1, width - 1):
            across[x] = half * (row[x + 1] - row[x - 1])
        for x in range(width):
            dx, dy = across[x], down * (below[x] - above[x])
            wide, high = abs(dx), abs(dy)
            tangent = min(wide, high) / max(max(wide, high), np.float32(1e-30))
            # 4 / pi times the arctangent, from 0 to 1, within 4e-7
            square = tangent * tangent
            share = np.float32(0.00867277939)
            share = share * square + np.float32(-0.0427853772)
            share = share * square + np.float32(0.101378975)
            share = share * square + np.float32(-0.16849154)
            share = share * square + np.float32(0.25220077)
            share = share * square + np.float32(-0.424209885)
            share = share * square + np.float32(1.27323459)
            share = min(share * tangent, np.float32(1))
            magnitude = np.sqrt(dx * dx + dy * dy)
            straight[x], diagonal[x] = magnitude * (np.float32(1) - share), magnitude * share
            along_x, along_y = (0 if dx > 0 else 4), (2 if dy > 0 else 6)
            at_straight[x] = along_x if wide >= high else along_y
            right, left = (1 if dy > 0 else 7), (3 if dy > 0 else 5)
            at_diagonal[x] = right if dx > 0 else left
        votes[y] = 0
        for x in range(width):
            votes[y, x, at_straight[x]] = straight[x]
            votes[y, x, at_diagonal[x]] = diagonal[x]


@kernel(fastmath={"nsz", "contract"})
@no_type_check
def fill_descriptors(
    votes, row_first, row_weights, row_of, column_first, column_weights, column_of, begins, least, places, descriptors
):
    """Sums votes over rows once for a run of points, then over columns for each, and normalises.

    Four rows or columns at a time, for sums are then read and written a quarter as often.
    """
    width, n_row_taps, n_column_taps = votes.shape[1], row_weights.shape[2], column_weights.shape[2]
    across = votes.reshape(votes.shape[0], -1)
    one_bin = np.empty(8 * width, np.float32)
    by_column = np.empty((width, 32), np.float32)
    sums = np.empty(32, np.float32)
    histogram = np.empty((4, 4, 8), np.float32)
    flat = histogram.reshape(-1)
    for run in range(len(begins) - 1):
        begin, end = begins[run], begins[run + 1]
        left = column_first[column_of[begin], 0]
        right = column_first[column_of[end - 1], 3] + n_column_taps
        row = row_of[begin]
        for row_bin in range(4):
            total, weights, first = one_bin[8 * left : 8 * right], row_weights[row, row_bin], row_first[row, row_bin]
            total[:] = 0
            for tap in range(0, n_row_taps - 3, 4):
                w0, w1, w2, w3 = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
                v0 = across[first + tap, 8 * left : 8 * right]
                v1 = across[first + tap + 1, 8 * left : 8 * right]
                v2 = across[first + tap + 2, 8 * left : 8 * right]
                v3 = across[first + tap + 3, 8 * left : 8 * right]
                for i in range(len(total)):
                    total[i] += w0 * v0[i] + w1 * v1[i] + w2 * v2[i] + w3 * v3[i]
            for tap in range(n_row_taps - n_row_taps % 4, n_row_taps):
                w0, v0 = weights[tap], across[first + tap, 8 * left : 8 * right]
                for i in range(len(total)):
                    total[i] += w0 * v0[i]
            for x in range(left, right):
                for direction in range(8):
                    by_column[x, 8 * row_bin + direction] = one_bin[8 * x + direction]

        for point in range(begin, end):
            column = column_of[point]
            for column_bin in range(4):
                weights, first = column_weights[column, column_bin], column_first[column, column_bin]
                sums[:] = 0
                for tap in range(0, n_column_taps - 3, 4):
                    w0, w1, w2, w3 = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
                    v0, v1 = by_column[first + tap], by_column[first + tap + 1]
                    v2, v3 = by_column[first + tap + 2], by_column[first + tap + 3]
                    for i in range(32):
                        sums[i] += w0 * v0[i] + w1 * v1[i] + w2 * v2[i] + w3 * v3[i]
                for tap in range(n_column_taps - n_column_taps % 4, n_column_taps):
                    w0, v0 = weights[tap], by_column[first + tap]
                    for i in range(32):
                        sums[i] += w0 * v0[i]
                for row_bin in range(4):
                    for direction in range(8):
                        histogram[row_bin, column_bin, direction] = sums[8 * row_bin + direction]

            mass = squares = clipped_squares = np.float32(0)
            for i in range(128):
                mass += flat[i]
                squares += flat[i] * flat[i]
            found = descriptors[places[point]]
            if not mass > least:
                found[:] = 0
                continue
            scale = np.float32(1) / np.sqrt(squares)
            for i in range(128):
                found[i] = min(flat[i] * scale, np.float32(0.2))
                clipped_squares += found[i] * found[i]
            scale = np.float32(1) / np.sqrt(clipped_squares)
            for i in range(128):
                found[i] *= scale
