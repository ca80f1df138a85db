"""Compiled loops of the search. Numba compiles them at their first call."""

from typing import no_type_check

import numpy as np

from corrcore.compiled import kernel, pointers
from corrcore.engines.knn.codes import MARGIN
from corrcore.engines.knn.keys import ALL, GROUP, SAMPLE, SAMPLED, TILE
from corrcore.engines.knn.lanes import add_products, exchange, fetch, lowest_bit, nothing, reaching, sum_up, summed

_AHEAD, _LINE = 4, 32  # pairs after the one that is scored whose rows are fetched; halves in a line of the cache


# sums here are exact, so they may be taken in any order
@kernel(fastmath={"reassoc", "nsz", "contract"})
@no_type_check
def score_pairs(halves, queries, rows, pairs, out):
    """Similarities of the pairs of a query and ``rows[pair]``. Halves are bits, made single precision by hand."""
    keep, channels, all_halves = len(rows) // len(queries), halves.shape[1], halves.reshape(-1)
    for place, pair in enumerate(pairs):
        if place + _AHEAD < len(pairs):
            begin = rows[pairs[place + _AHEAD]] * channels
            for channel in range(0, channels, _LINE):
                fetch(all_halves, begin + channel)
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


@kernel(inline="always")
@no_type_check
def pack_one(bound, row):
    """As `keys.pack`."""
    bits = np.int64(np.float32(bound + np.float32(0)).view(np.int32))
    return (~(bits ^ ((bits >> 31) & 0x7FFFFFFF)) << 32) | row


@kernel()
@no_type_check
def bound_of(key):
    """As `keys.unpack`."""
    bits = ~(key >> 32)
    return np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)


@kernel(inline="always")
@no_type_check
def cut_off(lists, query, count, floor):
    """Leaves as many of a query's keys as are kept where the next group might not fit; the worst is the floor then.

    So is what each of the threads has its share of rows above: together they have as many as are kept.
    """
    if count + GROUP > lists.keys.shape[1]:
        least = np.float32(np.inf)
        keep = (lists.keys.shape[1] - GROUP) // 2
        floor = max(floor, bound_of(select(lists.keys[query, :count], keep - 1)))
        share = -(-keep // len(lists.shares))
        lists.shares[lists.thread, query] = bound_of(select(lists.keys[query, :keep], share - 1))
        for thread_share in lists.shares[:, query]:
            least = thread_share if thread_share < least else least
        floor, count = max(floor, least), keep
    return count, floor


@kernel(inline="always")
@no_type_check
def update(lists, query, count, floor):
    """Notes how long a query's list is. Threads share memory that each of them leaves alone as long as it can."""
    lists.counts[query], lists.floors[query] = count, floor
    if floor > lists.common[query]:
        lists.common[query] = floor


@kernel()
@no_type_check
def arrange(way, codes, at, padded, order):
    """Brings a group of rows, `padded` codes each, into the order of registers."""
    for row in range(0, GROUP, 8):
        to = row // way.rows * way.rows * padded + row % way.rows * 4
        for channel in range(0, padded, 32):
            exchange(way, codes, at + row * padded + channel, padded, order, to + channel * way.rows)


@kernel()
@no_type_check
def multiply_tile(way, rows, queries, at, padded, products):
    """Products of a group of rows with `TILE` queries."""
    if way.summed:
        products[:] = 0
    for row in range(0, GROUP, 2 * way.rows):
        this, place = row * padded, at
        other = this + way.rows * padded
        for _ in range(0, padded, summed(way, padded)):
            a0, a1, a2, a3 = nothing(way), nothing(way), nothing(way), nothing(way)
            b0, b1, b2, b3 = nothing(way), nothing(way), nothing(way), nothing(way)
            for _ in range(0, summed(way, padded), 8):
                a0 = add_products(way, a0, rows, this, queries, place)
                b0 = add_products(way, b0, rows, other, queries, place)
                a1 = add_products(way, a1, rows, this, queries, place + padded)
                b1 = add_products(way, b1, rows, other, queries, place + padded)
                a2 = add_products(way, a2, rows, this, queries, place + 2 * padded)
                b2 = add_products(way, b2, rows, other, queries, place + 2 * padded)
                a3 = add_products(way, a3, rows, this, queries, place + 3 * padded)
                b3 = add_products(way, b3, rows, other, queries, place + 3 * padded)
                this, other, place = this + 8 * way.rows, other + 8 * way.rows, place + 8
            sum_up(products, row, a0)
            sum_up(products, row + way.rows, b0)
            sum_up(products, GROUP + row, a1)
            sum_up(products, GROUP + row + way.rows, b1)
            sum_up(products, 2 * GROUP + row, a2)
            sum_up(products, 2 * GROUP + row + way.rows, b2)
            sum_up(products, 3 * GROUP + row, a3)
            sum_up(products, 3 * GROUP + row + way.rows, b3)


@kernel(inline="always")
@no_type_check
def multiply_one(codes, at, others, other_at, channels):
    """The product of two rows of codes, of flat arrays or addresses."""
    total = np.int32(0)
    for channel in range(channels):
        total = np.int32(total + np.int32(codes[at + channel]) * np.int32(others[other_at + channel]))
    return total


@kernel()
@no_type_check
def multiply(codes, queries, products):
    """Products of the codes of all rows with those of few queries, into the first columns of `products`."""
    channels, flat, flat_queries = codes.shape[1], codes.reshape(-1), queries.reshape(-1)
    for row in range(len(codes)):
        for query in range(len(queries)):
            products[query, row] = multiply_one(flat, row * channels, flat_queries, query * channels, channels)


@kernel()
@no_type_check
def shortlist(products, weights, scales, margin, first, lists):
    """Adds to each query's keys those rows of a block whose bound reaches the floor, and raises the floor with them.

    Whole groups are compared at once, which compilers turn into a few vector instructions; few groups have a hit.
    """
    for query in range(products.shape[0]):
        scale, count = scales[query], lists.counts[query]
        floor = max(lists.floors[query], lists.common[query])
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
                    lists.keys[query, count] = pack_one(bound, first + group * GROUP + lane)
                    count += 1
            count, floor = cut_off(lists, query, count, floor)
        update(lists, query, count, floor)


@kernel(inline="always")
@no_type_check
def shortlist_rows(codes, channels, start, weights, products, at, reached, queries, query, keys, count, floor, first):
    """The same for a query and those rows of the group at `start` whose coarse bounds reach the floor, a bit each.

    Keys are written from `keys[count]` on; returns where they end.
    """
    scale, is_coarse = queries.scales[query], queries.slopes[query] > 0
    while reached:
        lane = lowest_bit(reached)
        reached &= reached - 1
        if is_coarse:
            product = multiply_one(codes, (start + lane) * channels, queries.codes, query * channels, channels)
        else:
            product = np.int32(products[at + lane] - queries.offsets[query])
        bound = weights[start + lane] * (scale * np.float32(product) + MARGIN)
        if bound >= floor:
            keys[count] = pack_one(bound, first + start + lane)
            count += 1
    return count


@kernel()
@no_type_check
def shortlist_codes(way, codes, weights, queries, first, lists):
    """The same from codes of rows, a group and a tile of queries at a time, with a coarse bound first.

    See `codes.CodedQueries`. Where the coarse bound reaches the floor, codes are multiplied as they are. Groups that
    are not of the lists' part are left out.
    """
    (n_queries, channels), padded, width = queries.codes.shape, queries.coarse.shape[1], lists.keys.shape[1]
    order, spare = np.empty(GROUP * padded, np.int8), np.zeros(GROUP * padded, np.int8)
    products, lengths = np.empty(TILE * GROUP, np.int32), np.zeros(GROUP, np.float32)
    all_codes, coarse, all_weights = codes.reshape(-1), queries.coarse.reshape(-1), weights.reshape(-1)
    asked, own = pointers(queries), pointers(lists)
    for group in range(len(weights)):
        is_sample = (first // GROUP + group) % SAMPLED == 0
        if lists.part != ALL and is_sample != (lists.part == SAMPLE):
            continue
        start = group * GROUP
        n_rows = min(GROUP, len(codes) - start)
        if n_rows == GROUP and channels == padded:
            arrange(way, codes, start * channels, padded, order)
        else:
            for row in range(n_rows):
                for channel in range(channels):
                    spare[row * padded + channel] = codes[start + row, channel]
            arrange(way, spare, 0, padded, order)
        lowest = np.int8(0)
        if way.most:
            for place in range(start * channels, (start + n_rows) * channels):
                lowest = min(lowest, all_codes[place])
            for row in range(n_rows):
                at = (start + row) * channels
                lengths[row] = np.sqrt(np.float32(multiply_one(all_codes, at, all_codes, at, channels)))
        own_weights = all_weights[start : start + GROUP]
        for tile in range(0, n_queries, TILE):
            multiply_tile(way, order, coarse, tile * padded, padded, products)
            for query in range(tile, min(tile + TILE, n_queries)):
                floor, at = max(own.floors[query], own.common[query]), (query - tile) * GROUP
                slope = asked.slopes[query] if lowest < 0 else asked.rises[query]
                offset, scale = asked.offsets[query], asked.coarse_scales[query]
                reached = reaching(products, at, own_weights, lengths, offset, scale, slope, floor)
                if reached:
                    begin = query * width
                    end = shortlist_rows(
                        all_codes, channels, start, all_weights, products, at, reached, asked, query, own.keys,
                        begin + own.counts[query], floor, first,
                    )  # fmt: skip
                    count = end - begin
                    if count + GROUP > width:
                        count, floor = cut_off(lists, query, count, floor)
                    update(own, query, count, floor)
