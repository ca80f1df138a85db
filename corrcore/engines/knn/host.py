"""Searches rows in memory or in a mapped file, by all threads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Float64, Int8, Int64

from corrcore import concurrency
from corrcore.engines.knn.codes import MARGIN, has_fast_int8, multiply, quantise
from corrcore.engines.knn.keys import ABSENT, GROUP, pack, unpack
from corrcore.engines.knn.memory import as_tensor, drop_pages
from corrcore.engines.knn.rescoring import BUCKET, rescore

BLOCK_SCORES = 1 << 21  # a thread's scores, 8 MB: they are read again while in cache
KEPT_BYTES = 1 << 28  # codes of up to this size stay in memory from one search of few queries to the next,
MANY_QUERIES = 64  # for these would wait for pages to be mapped; more queries have so much to compute that none waits


@dataclass(frozen=True)
class Estimate:
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


class Host:
    """Searches rows in memory or a mapped file. Each thread makes shortlists of its own; they are merged at the end."""

    def __init__(
        self,
        descriptors: Float16[np.ndarray, "rows channels"],
        codes: Int8[np.ndarray, "rows channels"],
        scales: Float32[np.ndarray, " rows"],
        *,
        by_codes: bool,
        excluded: Sequence[tuple[int, int]] = (),
        report: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._descriptors, self._codes, self._scales = descriptors, codes, scales
        self._by_codes, self._excluded, self._report = by_codes, excluded, report
        self._rows, self._code_rows = as_tensor(descriptors), as_tensor(codes)
        self._n_threads = torch.get_num_threads()

    def queries_at_once(self, keep: int, shortlist_bytes: int) -> int:
        """Of how many queries shortlists of `keep` rows fit."""
        return max(1, min(2048, shortlist_bytes // (8 * self._n_threads * (2 * keep + GROUP))))

    def search_shortlist(
        self, unit: Float64[np.ndarray, "queries channels"], k: int, keep: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids and similarities of the best `k` of `keep` likely rows, and for which queries these are certain."""
        queries = torch.from_numpy(unit).float()
        estimate = self.from_codes(queries) if self._by_codes else self.from_rows(queries)
        keys, floors = self.scan(estimate, keep)
        rows, bounds = unpack(keys)
        similarities = rescore(self._descriptors, unit, rows, report=self._report)
        allowance = estimate.margin * estimate.weights.reshape(-1)[rows]
        errors = np.abs(similarities - (bounds - allowance))
        as_modelled = (errors <= (allowance + estimate.slack[:, None]) * 2 / 3).all(axis=1)
        ids, similarities = unpack(np.sort(np.partition(pack(similarities, rows), k - 1)[:, :k]))
        certain = as_modelled & (similarities[:, -1] > floors + estimate.slack)
        return ids, similarities, certain | np.isneginf(floors)

    def search_all(self, unit: Float64[np.ndarray, "queries channels"], k: int) -> tuple[np.ndarray, np.ndarray]:
        """The same from exact similarities to all rows."""
        keys, _ = self.scan(self.from_rows(torch.from_numpy(unit)), k)
        return unpack(np.sort(keys))

    def from_codes(self, queries: Float32[torch.Tensor, "queries channels"]) -> Estimate:
        """Bounds from products of 8-bit codes."""
        (codes, scales), fast = quantise(queries), has_fast_int8()

        def fill(first: int, stop: int, out: torch.Tensor) -> None:
            multiply(torch.from_numpy(codes), self._code_rows[first:stop], out, fast=fast)
            if len(codes) >= MANY_QUERIES or self._codes.nbytes > KEPT_BYTES:
                drop_pages(self._codes, slice(first, stop))

        slack = MARGIN * scales + np.float32(1e-6)  # what single precision rounds is less
        return Estimate(fill, torch.int32, 2 * BUCKET, self._weights(self._scales), scales, MARGIN, slack)

    def from_rows(self, queries: Float[torch.Tensor, "queries channels"]) -> Estimate:
        """Similarities from the rows themselves.

        Exact in double precision, see `asked.unit_vectors`; else `slack` is twice what rounding can do to unit vectors.
        """

        def fill(first: int, stop: int, out: torch.Tensor) -> None:
            out[:, : stop - first] = queries @ self._rows[first:stop].to(queries.dtype).T
            drop_pages(self._descriptors, slice(first, stop))

        ones = np.ones(len(queries), np.float32)
        slack = ones * np.float32((queries.shape[1] + 8) * torch.finfo(queries.dtype).eps)
        return Estimate(fill, torch.float32, BUCKET // 8, self._weights(1), ones, np.float32(0), slack)

    def _weights(self, scales: np.ndarray | int) -> Float32[np.ndarray, "groups lanes"]:
        """Excluded rows, and what fills up the last group, weigh NaN, which is above no floor."""
        n = len(self._rows)
        weights = np.empty(n + -n % GROUP, np.float32)
        weights[:n] = scales
        for start, stop in [*self._excluded, (n, len(weights))]:
            weights[start:stop] = np.nan
        return weights.reshape(-1, GROUP)

    def scan(
        self, estimate: Estimate, keep: int
    ) -> tuple[Int64[np.ndarray, "queries keep"], Float32[np.ndarray, " queries"]]:
        """Keys of the `keep` rows with the highest bounds, and the bound of all others: -inf if there are none."""
        from corrcore.engines.knn.kernels import shortlist

        n, n_queries = len(self._rows), len(estimate.scales)
        block = min(max(BLOCK_SCORES // n_queries // GROUP * GROUP, 1024), estimate.most_rows, estimate.weights.size)
        starts = range(0, n, block)
        n_threads = min(self._n_threads, len(starts))
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
                shortlist(groups, weights, estimate.scales, estimate.margin, first, keep, *state)
            finally:
                idle.put(own)

        done = count(1)
        concurrency.map_in_order(scan, starts, lambda _: self._report(next(done) / len(starts)), n_threads=n_threads)
        keys.partition(keep - 1, axis=2)  # those beyond a count were cut off before, or are `ABSENT`
        merged = np.concatenate(list(keys[:, :, :keep]), axis=1)
        merged.partition(keep - 1, axis=1)
        best = merged[:, :keep].copy()
        floor = np.where(counts.sum(axis=0) > keep, unpack(best[:, -1])[1], -np.inf)
        return best, np.maximum(floor, floors.max(axis=0))
