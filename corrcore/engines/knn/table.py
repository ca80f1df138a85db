"""Exact nearest neighbours by cosine among a million descriptors that stay in memory-mapped files.

A table holds unit descriptors twice: in half precision, and as 8-bit codes with one scale a row (`quantise`). A search

1. scans the codes, which are half the bytes and a quarter of single precision's arithmetic, and keeps as a shortlist
   the rows for which an upper bound of the similarity is largest;
2. scores the shortlist from the half-precision rows, with no rounding before the last (`_unit`): equal rows get equal
   similarities in whatever order and on whatever device they are summed, and ties go to the lower id;
3. accepts a query's result if its k-th similarity exceeds the bound of every row left out. If it does not, as where
   thousands of rows are almost equal, the shortlist is made longer, and at last every row is scored as in 2.

The bound: a code's rounding error is uniform within ±scale / 2, so its variance is scale² / 12. Between a unit query
and a unit row these errors add up to a standard deviation of sqrt((s_row² + s_query²) / 12), which is less than
(s_row + s_query) / sqrt(12), to which it rises where row and query are alike. The bound allows for six times that. The
result is thus exact but for one event: that the errors of a row left out exceed the allowance, while none on the
shortlist exceeds two thirds of it (if one does, the result is not accepted). Were errors normal, this would befall one
row in 10⁹. Where the scan uses floating point, on a GPU or a processor without fast 8-bit products, its bound holds
for every rounding, and the result is exact.
"""

import mmap
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Float64, Int, Int8, Int64

from corrcore import concurrency
from corrcore.compiled import kernel

MARGIN = np.float32(6 / 12**0.5)  # what rounding may add to a similarity, in units of the two scales
GROUP = 64  # scores that are compared with a threshold at once
BLOCK_SCORES = 1 << 21  # a thread's scores, 8 MB: they are read again while in cache
BUCKET = 1 << 15  # rows of which pages are in memory at a time while shortlists are scored
LONGER = 1 << 14  # rows by which a shortlist that was too short is extended
KEPT_BYTES = 1 << 28  # codes of up to this size stay in memory from one search of few queries to the next,
MANY_QUERIES = 64  # for these would wait for pages to be mapped; more queries have so much to compute that none waits
SHORTLIST_BYTES = 1 << 26  # more queries than fit are searched one part after another
ABSENT = np.iinfo(np.int64).max  # key of no row

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Neighbours:
    """The nearest descriptors of each query, best first; equally similar ones by ascending id."""

    ids: Int64[np.ndarray, "queries k"]
    similarities: Float32[np.ndarray, "queries k"]


def quantise(
    descriptors: Float[torch.Tensor, "rows channels"] | Float[np.ndarray, "rows channels"],
) -> tuple[Int8[np.ndarray, "rows channels"], Float32[np.ndarray, " rows"]]:
    """8-bit codes and a scale for every row: ``descriptors ≈ codes * scales[:, None]``.

    A row's largest magnitude becomes ±127; a row of zeros has scale 0. Raises ValueError for values that are not finite.
    """
    values = torch.as_tensor(descriptors).detach().float()
    scales = values.abs().amax(dim=1) / 127
    if not torch.isfinite(scales).all():
        msg = "descriptors must be finite; got NaN or infinity."
        raise ValueError(msg)
    codes = (values / torch.where(scales > 0, scales, 1)[:, None]).round_().clamp_(-127, 127).to(torch.int8)
    return codes.cpu().numpy(), scales.cpu().numpy()


class DescriptorTable:
    """Unit descriptors to be searched: float16 rows, and the codes and scales that `quantise` made of them.

    The arrays are used where they are, memory-mapped or not. Raises ValueError where they do not fit one another.
    """

    def __init__(self, descriptors: np.ndarray, codes: np.ndarray, scales: np.ndarray) -> None:
        rows_channels = descriptors.shape if descriptors.ndim == 2 else ("rows", "channels")
        expected = {
            "descriptors": (descriptors, np.float16, rows_channels),
            "codes": (codes, np.int8, rows_channels),
            "scales": (scales, np.float32, rows_channels[:1]),
        }
        for name, (array, dtype, shape) in expected.items():
            if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
                msg = (
                    f"{name} must be a contiguous {np.dtype(dtype)} array of shape {shape}; "
                    f"got {array.dtype} {array.shape}{'' if array.flags.c_contiguous else ', not contiguous'}."
                )
                raise ValueError(msg)
        if len(descriptors) >= 1 << 31:
            msg = f"descriptors must have less than 2**31 rows; got {len(descriptors)}."
            raise ValueError(msg)
        self.descriptors, self.codes, self.scales = descriptors, codes, scales
        self._resident: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.descriptors)

    def to(self, device: torch.device | str) -> "DescriptorTable":
        """The same table, searched by a CUDA device that holds a copy of the half-precision rows."""
        device = torch.device(device)
        if device.type not in ("cpu", "cuda"):
            msg = f"device must be cpu or a CUDA device; got {device}."
            raise ValueError(msg)
        return self if device.type == "cpu" else self._resident_on(device)

    def _resident_on(self, device: torch.device) -> "DescriptorTable":
        n, channels = self.descriptors.shape
        rows, table = _tensor(self.descriptors), copy(self)
        table._resident = torch.zeros(n + -n % GROUP, channels, dtype=torch.float16, device=device)
        for first in range(0, n, BUCKET):
            table._resident[first : min(first + BUCKET, n)] = rows[first : first + BUCKET].to(device)
            _drop_pages(self.descriptors)
        return table

    def release(self) -> None:
        """Lets go of the memory in which pages of the files are; a later search reads them again."""
        for array in (self.descriptors, self.codes, self.scales):
            _drop_pages(array)

    def search(
        self,
        queries: Float[torch.Tensor, "queries channels"],
        k: int,
        *,
        exclude: Iterable[Sequence[int]] | Int[np.ndarray, "ranges 2"] = (),
        progress: Progress | None = None,
    ) -> Neighbours:
        """The `k` rows of largest cosine similarity to each query. Queries need not have unit length.

        Rows within the half-open ranges (start, stop) of `exclude` are left out. A query of zeros has similarity 0 to
        every row. As many threads work as torch is set to use. `progress` is called often, in the calling thread, with
        the share that is done; an exception that it raises ends the search and leaves it.

        Raises ValueError for queries that are not finite or do not fit the table, for ranges outside the table, and
        where `k` is more than the rows that are not excluded.
        """
        n, channels = self.descriptors.shape
        if queries.shape[1:] != (channels,):
            msg = f"queries must have shape (queries, {channels}) as the table's rows; got {tuple(queries.shape)}."
            raise ValueError(msg)
        excluded, reached = [], 0
        for start, stop in sorted((int(start), int(stop)) for start, stop in exclude):
            if not 0 <= start <= stop <= n:
                msg = f"exclude must hold ranges of rows between 0 and {n}; got ({start}, {stop})."
                raise ValueError(msg)
            if reached < stop:
                excluded.append((max(start, reached), stop))
                reached = stop
        n_admissible = n - sum(stop - start for start, stop in excluded)
        if not 1 <= k <= n_admissible:
            msg = f"k must be between 1 and {n_admissible} (admissible descriptors); got {k}."
            raise ValueError(msg)
        unit = _unit(queries)
        ids = np.empty((len(unit), k), np.int64)
        similarities = np.empty((len(unit), k), np.float32)
        certain = np.zeros(len(unit), bool)
        done = 0

        def report(share: float) -> None:
            if progress is not None:
                progress(min(1.0, (done + share * len(part)) / len(unit)))

        if self._resident is None:
            searcher = _Host(self, excluded, report)
        else:
            searcher = _Device(self._resident, [*excluded, (n, len(self._resident))], report)
        for wanted in (k + k // 2 + GROUP, k + LONGER):
            keep = min(wanted, n_admissible)
            for part in _parts(np.flatnonzero(~certain), searcher.queries_at_once(keep)):
                ids[part], similarities[part], certain[part] = searcher.search_shortlist(unit[part], k, keep)
                done += len(part)
        for part in _parts(np.flatnonzero(~certain), searcher.queries_at_once(k)):
            ids[part], similarities[part] = searcher.search_all(unit[part], k)
        return Neighbours(ids, similarities)


@dataclass(frozen=True)
class _Estimate:
    """Similarities of some queries to blocks of rows: at most ``weights * (scales * product + margin) + slack``.

    ``fill(first, stop, out)`` writes the products with a block of rows into the first columns of `out`.
    """

    fill: Callable[[int, int, torch.Tensor], None]
    dtype: torch.dtype
    most_rows: int
    weights: Float32[np.ndarray, "groups lanes"]
    scales: Float32[np.ndarray, " queries"]
    margin: np.float32
    slack: Float32[np.ndarray, " queries"]


class _Host:
    """Searches rows in memory or a mapped file. Each thread makes shortlists of its own; they are merged at the end."""

    def __init__(self, table: DescriptorTable, excluded: list[tuple[int, int]], report: Progress) -> None:
        self.table, self.excluded, self.report = table, excluded, report
        self.rows, self.codes = _tensor(table.descriptors), _tensor(table.codes)
        self.n_threads = torch.get_num_threads()

    def queries_at_once(self, keep: int) -> int:
        return max(1, min(2048, SHORTLIST_BYTES // (8 * self.n_threads * (2 * keep + GROUP))))

    def search_shortlist(
        self, unit: Float64[np.ndarray, "queries channels"], k: int, keep: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids and similarities of the best `k` of `keep` likely rows, and for which queries these are certain."""
        queries = torch.from_numpy(unit).float()
        estimate = self._from_codes(queries) if _has_fast_int8() else self._from_rows(queries)
        keys, floors = self._scan(estimate, keep)
        rows, bounds = _unpack(keys)
        similarities = self._similarities(unit, rows)
        allowance = estimate.margin * estimate.weights.reshape(-1)[rows]
        errors = np.abs(similarities - (bounds - allowance))
        as_modelled = (errors <= (allowance + estimate.slack[:, None]) * 2 / 3).all(axis=1)
        ids, similarities = _unpack(np.sort(np.partition(_pack(similarities, rows), k - 1)[:, :k]))
        certain = as_modelled & (similarities[:, -1] > floors + estimate.slack)
        return ids, similarities, certain | np.isneginf(floors)

    def search_all(self, unit: Float64[np.ndarray, "queries channels"], k: int) -> tuple[np.ndarray, np.ndarray]:
        """The same from exact similarities to all rows."""
        keys, _ = self._scan(self._from_rows(torch.from_numpy(unit)), k)
        return _unpack(np.sort(keys))

    def _from_codes(self, queries: torch.Tensor) -> _Estimate:
        codes, scales = quantise(queries)

        def fill(first: int, stop: int, out: torch.Tensor) -> None:
            product, rows = torch.ops.aten._int_mm, self.codes[first:stop]
            if len(rows) == out.shape[1]:
                product.out(torch.from_numpy(codes), rows.T, out=out)
            else:  # which takes only a whole block
                out[:, : len(rows)] = product(torch.from_numpy(codes), rows.T)
            if len(codes) >= MANY_QUERIES or self.codes.nbytes > KEPT_BYTES:
                _drop_pages(self.table.codes, slice(first, stop))

        slack = MARGIN * scales + np.float32(1e-6)  # what single precision rounds is less
        return _Estimate(fill, torch.int32, 2 * BUCKET, self._weights(self.table.scales), scales, MARGIN, slack)

    def _from_rows(self, queries: torch.Tensor) -> _Estimate:
        """Exact in double precision, see `_unit`; else `slack` is twice what rounding can do to unit vectors."""

        def fill(first: int, stop: int, out: torch.Tensor) -> None:
            out[:, : stop - first] = queries @ self.rows[first:stop].to(queries.dtype).T
            _drop_pages(self.table.descriptors, slice(first, stop))

        ones = np.ones(len(queries), np.float32)
        slack = ones * np.float32((queries.shape[1] + 8) * torch.finfo(queries.dtype).eps)
        return _Estimate(fill, torch.float32, BUCKET // 8, self._weights(1), ones, np.float32(0), slack)

    def _weights(self, scales: np.ndarray | int) -> Float32[np.ndarray, "groups lanes"]:
        """Excluded rows, and what fills up the last group, weigh NaN, which is above no floor."""
        n = len(self.rows)
        weights = np.empty(n + -n % GROUP, np.float32)
        weights[:n] = scales
        for start, stop in [*self.excluded, (n, len(weights))]:
            weights[start:stop] = np.nan
        return weights.reshape(-1, GROUP)

    def _scan(
        self, estimate: _Estimate, keep: int
    ) -> tuple[Int64[np.ndarray, "queries keep"], Float32[np.ndarray, " queries"]]:
        """Keys of the `keep` rows with the highest bounds, and the bound of all others: -inf if there are none."""
        n, n_queries = len(self.rows), len(estimate.scales)
        block = min(max(BLOCK_SCORES // n_queries // GROUP * GROUP, 1024), estimate.most_rows, estimate.weights.size)
        starts = range(0, n, block)
        n_threads = min(self.n_threads, len(starts))
        keys = np.full((n_threads, n_queries, 2 * keep + GROUP), ABSENT)
        counts = np.zeros((n_threads, n_queries), np.int64)
        floors = np.full((n_threads, n_queries), -np.inf, np.float32)
        common = floors[0].copy()  # a floor that one thread has found holds for all
        buffers = torch.empty(n_threads, n_queries * block, dtype=estimate.dtype)
        idle: SimpleQueue[int] = SimpleQueue()
        for thread in range(n_threads):
            idle.put(thread)

        def scan(first: int) -> None:
            stop = min(first + block, n)
            weights = estimate.weights[first // GROUP : -(-stop // GROUP)]
            own = idle.get()
            try:
                products = buffers[own, : n_queries * weights.size].view(n_queries, weights.size)
                estimate.fill(first, stop, products)
                groups = products.numpy().reshape(n_queries, -1, GROUP)
                state = keys[own], counts[own], floors[own], common
                _shortlist(groups, weights, estimate.scales, estimate.margin, first, keep, *state)
            finally:
                idle.put(own)

        done = count(1)
        concurrency.map_in_order(scan, starts, lambda _: self.report(next(done) / len(starts)), n_threads=n_threads)
        keys.partition(keep - 1, axis=2)  # those beyond a count were cut off before, or are `ABSENT`
        merged = np.concatenate(list(keys[:, :, :keep]), axis=1)
        merged.partition(keep - 1, axis=1)
        best = merged[:, :keep].copy()
        floor = np.where(counts.sum(axis=0) > keep, _unpack(best[:, -1])[1], -np.inf)
        return best, np.maximum(floor, floors.max(axis=0))

    def _similarities(
        self, unit: Float64[np.ndarray, "queries channels"], rows: Int64[np.ndarray, "queries keep"]
    ) -> Float32[np.ndarray, "queries keep"]:
        """Exact similarities. The file is gone through from front to back: few of its pages are needed at a time."""
        similarities = np.empty(rows.shape, np.float32)
        bucket = (rows.reshape(-1) // BUCKET).astype(np.uint16)
        pairs = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket))
        halves = self.rows.view(torch.uint16).numpy()

        def score(bucket: int) -> None:
            its_pairs = pairs[ends[bucket - 1] if bucket else 0 : ends[bucket]]
            _score_pairs(halves, unit, rows.reshape(-1), its_pairs, similarities.reshape(-1))
            _drop_pages(self.table.descriptors, slice(BUCKET * bucket, BUCKET * (bucket + 1)))

        n_threads = self.n_threads if len(pairs) > 1000 else 1  # to start threads takes longer than that
        concurrency.map_in_order(score, range(len(ends)), lambda _: self.report(1.0), n_threads=n_threads)
        return similarities


class _Device:
    """Searches rows that a GPU holds: half-precision products, whose maxima by groups tell where to look closer."""

    def __init__(
        self, rows: Float16[torch.Tensor, "padded channels"], excluded: list[tuple[int, int]], report: Progress
    ) -> None:
        self.rows, self.excluded, self.report = rows, excluded, report

    def queries_at_once(self, keep: int) -> int:
        """Scores of half precision take 2 GB at most, as do the shortlists' rows in double precision."""
        return max(1, (1 << 30) // max(len(self.rows), 4 * keep * self.rows.shape[1]))

    def search_shortlist(
        self, unit: Float64[np.ndarray, "queries channels"], k: int, keep: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids and similarities of the best `k` of `keep` likely rows, and for which queries these are certain.

        The best rows of all lie in the groups of the best maxima.
        """
        n_admissible = len(self.rows) - sum(stop - start for start, stop in self.excluded)
        queries = torch.from_numpy(unit).to(self.rows.device)
        halves = queries.half()
        groups = self._without_excluded(halves @ self.rows.T).unflatten(1, (-1, GROUP))
        best = groups.amax(dim=2).topk(min(keep, groups.shape[1]), sorted=False).indices
        likely = groups.gather(1, best[:, :, None].expand(-1, -1, GROUP)).flatten(1)
        values, places = likely.topk(keep, sorted=False)
        ids = (best.gather(1, places // GROUP) * GROUP + places % GROUP).sort(dim=1).values
        ids, similarities = _best(ids, (self.rows[ids].double() @ queries[:, :, None])[:, :, 0].float(), k)
        # rounding of the query, and of products and sums of magnitude 1 to half precision seven times
        slack = 1.001 * (queries - halves.double()).norm(dim=1) + 2.0**-8
        certain = (similarities[:, -1] > values.amin(dim=1) + slack).cpu().numpy()
        self.report(1.0)
        return ids.cpu().numpy(), similarities.cpu().numpy(), certain | (keep == n_admissible)

    def search_all(self, unit: Float64[np.ndarray, "queries channels"], k: int) -> tuple[np.ndarray, np.ndarray]:
        """The same from exact similarities to all rows."""
        found = []
        for queries in torch.from_numpy(unit).to(self.rows.device).split(16):
            blocks = [(queries @ rows.double().T).float() for rows in self.rows.split(BUCKET)]
            scores = self._without_excluded(torch.cat(blocks, dim=1))
            level = scores.topk(k).values[:, -1:]
            above, ties = scores > level, scores == level
            chosen = above | (ties & (ties.cumsum(dim=1) <= k - above.sum(dim=1, keepdim=True)))
            ids = chosen.nonzero()[:, 1].view(len(queries), k)
            found.append(_best(ids, scores.gather(1, ids), k))
            self.report(1.0)
        ids, similarities = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
        return ids, similarities

    def _without_excluded(self, scores: torch.Tensor) -> torch.Tensor:
        for start, stop in self.excluded:
            scores[:, start:stop] = -torch.inf
        return scores


def _best(
    ids: Int64[torch.Tensor, "queries some"], similarities: Float32[torch.Tensor, "queries some"], k: int
) -> tuple[Int64[torch.Tensor, "queries k"], Float32[torch.Tensor, "queries k"]]:
    """The `k` largest similarities in order. Ids ascend, and so do those of ties in what comes back."""
    similarities, order = similarities.sort(dim=1, descending=True, stable=True)
    return ids.gather(1, order[:, :k]), similarities[:, :k]


def _unit(queries: Float[torch.Tensor, "queries channels"]) -> Float64[np.ndarray, "queries channels"]:
    """Queries of unit length, or zero, whose components are multiples of 2⁻²⁸.

    Half-precision numbers are multiples of 2⁻²⁴. All products are then multiples of 2⁻⁵², and sums of them below 2 are
    exact in double precision: the order of summation is of no consequence.
    """
    values = queries.detach().to("cpu", torch.float64).contiguous()
    lengths = values.norm(dim=1, keepdim=True)
    if not torch.isfinite(lengths).all():
        msg = "queries must be finite; got NaN or infinity."
        raise ValueError(msg)
    return ((values / torch.where(lengths > 0, lengths, 1) * 2.0**28).round_() / 2.0**28).numpy()


def _pack(bounds: Float32[np.ndarray, "*shape"], rows: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
    """Keys whose ascending order is that of descending bounds, and of ascending rows where bounds are equal."""
    bits = (bounds + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 makes zero of -0
    return (~(bits ^ ((bits >> 31) & 0x7FFFFFFF)) << 32) | rows


def _unpack(keys: Int64[np.ndarray, "*shape"]) -> tuple[Int64[np.ndarray, "*shape"], Float32[np.ndarray, "*shape"]]:
    """Rows and bounds; of `ABSENT`, a row beyond all and NaN."""
    bits = ~(keys >> 32)
    return keys & 0xFFFFFFFF, (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int32).view(np.float32)


def _parts(pending: Int64[np.ndarray, " queries"], at_once: int) -> list[Int64[np.ndarray, " part"]]:
    return np.array_split(pending, -(-len(pending) // at_once)) if len(pending) else []


def _tensor(array: np.ndarray) -> torch.Tensor:
    """The array's memory as a tensor. Torch warns of memory that may not be written to, which nothing here does."""
    interface = array.__array_interface__ | {"data": (array.ctypes.data, False)}
    return torch.from_numpy(np.asarray(SimpleNamespace(__array_interface__=interface, owner=array)))


def _drop_pages(array: np.ndarray, rows: slice = slice(None)) -> None:
    """Takes pages of a mapped file out of this process's memory; the system may still have them in its cache."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and not array.flags.writeable and hasattr(mmap, "MADV_DONTNEED"):
        start = array[rows].ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
        base.madvise(mmap.MADV_DONTNEED, start - start % mmap.PAGESIZE, array[rows].nbytes + start % mmap.PAGESIZE)


def _has_fast_int8() -> bool:
    """Whether 8-bit products are fast, and exact: without these instructions oneDNN's intermediate sums saturate."""
    return torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()


# sums here are exact, so they may be taken in any order
@kernel(fastmath={"reassoc", "nsz", "contract"})
@no_type_check
def _score_pairs(halves, queries, rows, pairs, out):
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
def _select(keys, nth):
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
def _shortlist(products, weights, scales, margin, first, keep, keys, counts, floors, common):
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
                    bits = np.int64(np.float32(bound + np.float32(0)).view(np.int32))  # as _pack
                    row = first + group * GROUP + lane
                    keys[query, count] = (~(bits ^ ((bits >> 31) & 0x7FFFFFFF)) << 32) | row
                    count += 1
            if count + GROUP > keys.shape[1]:
                bits = ~(_select(keys[query, :count], keep - 1) >> 32)
                floor = np.int32(bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
                count = keep
        counts[query], floors[query], common[query] = count, floor, max(floor, common[query])
