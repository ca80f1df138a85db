"""Compiled loops of the search. Numba compiles them at their first call."""

from typing import no_type_check

import numpy as np

from corrcore.compiled import kernel
from corrcore.engines.knn.keys import GROUP


# sums here are exact, so they may be taken in any order
@kernel(fastmath={"reassoc", "nsz", "contract"})
@no_type_check
def score_pairs(halves, queries, rows, pairs, out):
    """Similarities of the pairs of a query and ``rows[pair]``. Halves are bits, made single precision by hand."""
    keep = len(rows) // len(queries)
    for pair in pairs:
        row, query = halves[rows[pair]], queries[pair // keep]
        total = 0.0
        for channel in range(len(row)):
            bits = np.int32(row[channel])
            single = np.int32(((bits & 0x8000) << 16) | ((bits & 0x7FFF) << 13))
            total += query[channel] * np.float64(single.view(np.float32))
        out[pair] = total * 2.0**112  # the two formats' exponents count from 15 and 127


@kernel()
@no_type_check
def select(keys, nth):
    """Brings the `nth` smallest of different keys to its place, smaller ones before it, and returns it.

    Quickselect whose inner loop has no branch for the processor to mistake (Lomuto's partition).
    """
    low, high = 0, len(keys) - 1
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < keys[low]:
            keys[middle], keys[low] = keys[low], keys[middle]
        if keys[high] < keys[low]:
            keys[high], keys[low] = keys[low], keys[high]
        if keys[middle] < keys[high]:
            keys[middle], keys[high] = keys[high], keys[middle]
        pivot, border = keys[high], low
        for place in range(low, high):
            key = keys[place]
            keys[place], keys[border] = keys[border], key
            border += np.int64(key < pivot)
        keys[high], keys[border] = keys[border], pivot
        if nth == border:
            break
        if nth < border:
            high = border - 1
        else:
            low = border + 1
    return keys[nth]


@kernel()
@no_type_check
def shortlist(products, weights, scales, margin, first, keep, keys, counts, floors, common):
    """Adds to each query's keys those rows of a block whose bound reaches the floor, and raises the floor with them.

    Whole groups are compared at once, which compilers turn into a few vector instructions; few groups have a hit.
    """
    for query in range(products.shape[0]):
        scale, count, floor = scales[query], counts[query], max(floors[query], common[query])
        for group in range(products.shape[1]):
            hit = False
            for lane in range(GROUP):
                product = np.float32(products[query, group, lane])
                hit |= weights[group, lane] * (scale * product + margin) >= floor
            if not hit:
                continue
            for lane in range(GROUP):
                bound = weights[group, lane] * (scale * np.float32(products[query, group, lane]) + margin)
                if bound >= floor:
                    bits = np.int64(np.float32(bound + np.float32(0)).view(np.int32))  # as keys.pack
                    row = first + group * GROUP + lane
                    keys[query, count] = (~(bits ^ ((bits >> 31) & 0x7FFFFFFF)) << 32) | row
                    count += 1
            if count + GROUP > keys.shape[1]:
                bits = ~(select(keys[query, :count], keep - 1) >> 32)
                floor = np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
                count = keep
        counts[query], floors[query], common[query] = count, floor, max(floor, common[query])
