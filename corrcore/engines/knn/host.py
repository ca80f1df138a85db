"""Searches rows in memory or in a mapped file, by all threads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from queue import SimpleQueue
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Float64, Int8, Int64

from corrcore import concurrency
from corrcore.engines.knn.codes import MARGIN, CodedQueries
from corrcore.engines.knn.keys import ABSENT, ALL, GROUP, REST, SAMPLE, SAMPLED, TILE, pack, unpack
from corrcore.engines.knn.memory import as_tensor, drop_pages
from corrcore.engines.knn.rescoring import BUCKET, rescore

Scan = Literal["dot", "pairs", "float"]

MERGED = 128  # queries whose lists are merged at a time
BLOCK_SCORES = 1 << 21  # a thread's scores, 8 MB: they are read again while in cache
KEPT_BYTES = 1 << 28  # codes of up to this size stay in memory from one search of few queries to the next,
MANY_QUERIES = 64  # for these would wait for pages to be mapped; more queries have so much to compute that none waits


class Lists(NamedTuple):
    """A thread's shortlists, one per query: the first `counts` of its keys, and a floor that no other row exceeds."""

    keys: Int64[np.ndarray, "queries twice_keep_and_a_group"]  # cut off to those kept when the next group may not fit
    counts: Int64[np.ndarray, " queries"]
    floors: Float32[np.ndarray, " queries"]
    common: Float32[np.ndarray, " queries"]  # the highest floor of any thread, which holds for all
    shares: Float32[np.ndarray, "threads queries"]  # what each thread has as many rows above as make up its share
    thread: int
    part: int  # of the groups of rows that is looked at: `ALL`, `SAMPLE` or `REST`


class Shortlists:
    """The lists of all threads, which together keep `keep` rows of each query above `floors`, by default of any."""

    def __init__(
        self, n_threads: int, n_queries: int, keep: int, floors: Float32[np.ndarray, " queries"] | None = None
    ) -> None:
        self._keep = keep
        self._keys = np.full((n_threads, n_queries, 2 * keep + GROUP), ABSENT)
        self._counts = np.zeros((n_threads, n_queries), np.int64)
        self._shares = np.full((n_threads, n_queries), -np.inf, np.float32)
        self._floors = self._shares.copy() if floors is None else np.tile(floors, (n_threads, 1))
        self._common = self._floors[0].copy()

    def of(self, thread: int, part: int) -> Lists:
        """Those of one thread."""
        own = self._keys[thread], self._counts[thread], self._floors[thread]
        return Lists(*own, self._common, self._shares, thread, part)

    def add(self, keys: Int64[np.ndarray, "queries at_most_keep"]) -> None:
        """Begins with keys."""
        self._keys[0, :, : keys.shape[1]] = np.sort(keys)  # `ABSENT` ones last
        self._counts[0] = (keys != ABSENT).sum(axis=1)

    def merged(self) -> tuple[Int64[np.ndarray, "queries keep"], Float32[np.ndarray, " queries"]]:
        """Keys of the rows with the highest bounds, the lowest last, and the bound of all others: -inf if there are
        none.
        """
        keep, (n_threads, n_queries) = self._keep, self._counts.shape
        best = np.empty((n_queries, keep), np.int64)

        def merge(first: int) -> None:
            part = slice(first, first + MERGED)
            keys = self._keys[:, part]
            keys.partition(keep - 1, axis=2)  # those beyond a count were cut off before, or are `ABSENT`
            own = np.concatenate(list(keys[:, :, :keep]), axis=1)
            own.partition(keep - 1, axis=1)
            best[part] = own[:, :keep]

        concurrency.map_in_order(merge, range(0, n_queries, MERGED), lambda _: None, n_threads=n_threads)
        floor = np.where(self._counts.sum(axis=0) > keep, unpack(best[:, -1])[1], -np.inf)
        return best, np.maximum(floor, self._floors.max(axis=0))


Fill = Callable[[int, int, torch.Tensor], None]  # writes products with a block of rows into the first columns
Visit = Callable[[int, int, torch.Tensor, Lists], None]  # adds a block of rows to shortlists


@dataclass(frozen=True)
class Estimate:
    """Similarities of some queries to blocks of rows: at most ``weights * (scales * product + margin) + slack``.

    ``visit(first, stop, scores, lists)`` adds a block's rows to shortlists by that bound without the slack;
    `scores` is a thread's memory for a product of each query and row, of `dtype`.
    """

    visit: Visit
    dtype: torch.dtype
    most_rows: int
    weights: Float32[np.ndarray, "groups lanes"]
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
        scan: Scan | None = None,
        excluded: Sequence[tuple[int, int]] = (),
        report: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._descriptors, self._codes, self._scales = descriptors, codes, scales
        self._scan, self._excluded, self._report = scan, excluded, report
        self._rows, self._code_rows = as_tensor(descriptors), as_tensor(codes).numpy()
        self._n_threads = torch.get_num_threads()

    def queries_at_once(self, keep: int, shortlist_bytes: int) -> int:
        """Of how many queries shortlists of `keep` rows fit."""
        return max(1, min(2048, shortlist_bytes // (8 * self._n_threads * (2 * keep + GROUP))))

    def search_shortlist(
        self, unit: Float64[np.ndarray, "queries channels"], k: int, keep: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids and similarities of the best `k` of `keep` likely rows, and for which queries these are certain."""
        queries = torch.from_numpy(unit).float()
        estimate_of = self.from_rows if self._scan == "float" else self.from_codes
        estimate = estimate_of(queries)
        keys, floors = self.scan(estimate, keep, by_sample=self._scan != "float" and len(unit) >= MANY_QUERIES)
        if (short := np.flatnonzero(keys[:, -1] == ABSENT)).size:
            keys[short], floors[short] = self.scan(estimate_of(queries[short]), keep)
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
        from corrcore.engines.knn import kernels, lanes

        positive = bool((queries >= 0).all())
        ways = {None: lanes.fast_way(positive=positive), "dot": lanes.Dot(), "pairs": lanes.pairs(positive=positive)}
        way = ways[self._scan]
        coded = CodedQueries.of(queries, offset=way.offset, most=way.most, summed=way.summed)
        weights = self._weights(self._scales)

        def fill(first: int, stop: int, out: torch.Tensor) -> None:
            kernels.multiply(self._code_rows[first:stop], coded.codes, out.numpy())

        def visit_by_tiles(first: int, stop: int, _: torch.Tensor, lists: Lists) -> None:
            its_weights = weights[first // GROUP : -(-stop // GROUP)]
            kernels.shortlist_codes(way, self._code_rows[first:stop], its_weights, coded, first, lists)

        add = visit_by_tiles if len(queries) >= TILE else _by_products(fill, weights, coded.scales, MARGIN)

        def visit(first: int, stop: int, scores: torch.Tensor, lists: Lists) -> None:
            add(first, stop, scores, lists)
            if len(queries) >= MANY_QUERIES or self._codes.nbytes > KEPT_BYTES:
                drop_pages(self._codes, slice(first, stop))

        slack = MARGIN * coded.scales + np.float32(1e-6)  # what single precision rounds is less
        return Estimate(visit, torch.int32, 2 * BUCKET, weights, MARGIN, slack)

    def from_rows(self, queries: Float[torch.Tensor, "queries channels"]) -> Estimate:
        """Similarities from the rows themselves.

        Exact in double precision, see `asked.unit_vectors`; else `slack` is twice what rounding can do to unit vectors.
        """

        def fill(first: int, stop: int, out: torch.Tensor) -> None:
            out[:, : stop - first] = queries @ self._rows[first:stop].to(queries.dtype).T
            drop_pages(self._descriptors, slice(first, stop))

        ones, none = np.ones(len(queries), np.float32), np.float32(0)
        weights = self._weights(1)
        slack = ones * np.float32((queries.shape[1] + 8) * torch.finfo(queries.dtype).eps)
        visit = _by_products(fill, weights, ones, none)
        return Estimate(visit, torch.float32, BUCKET // 8, weights, none, slack)

    def _weights(self, scales: np.ndarray | int) -> Float32[np.ndarray, "groups lanes"]:
        """Excluded rows, and what fills up the last group, weigh NaN, which is above no floor."""
        n = len(self._rows)
        weights = np.empty(n + -n % GROUP, np.float32)
        weights[:n] = scales
        for start, stop in [*self._excluded, (n, len(weights))]:
            weights[start:stop] = np.nan
        return weights.reshape(-1, GROUP)

    def scan(
        self, estimate: Estimate, keep: int, *, by_sample: bool = False
    ) -> tuple[Int64[np.ndarray, "queries keep"], Float32[np.ndarray, " queries"]]:
        """Keys of the `keep` rows with the highest bounds, the lowest last, and the bound of all others: -inf if there
        are none.

        `by_sample` looks at a sample of the rows first, and then only for rows above a floor that so many of the sample
        exceed that hardly fewer than `keep` of all will. Where fewer do, the last key is `ABSENT`.
        """
        n, n_queries = len(self._rows), len(estimate.slack)
        share = -(-n // (8 * self._n_threads * GROUP)) * GROUP  # so that no thread waits long for another's last block
        block = min(max(BLOCK_SCORES // n_queries // GROUP * GROUP, 1024), estimate.most_rows, max(share, 1024))
        n_threads = min(self._n_threads, -(-n // block))
        buffers = torch.empty(n_threads, n_queries * block, dtype=estimate.dtype)
        idle: SimpleQueue[int] = SimpleQueue()
        for thread in range(n_threads):
            idle.put(thread)

        def visit(lists: Shortlists, part: int, begin: float) -> Shortlists:
            starts, done = range(0, n, block), count(1)

            def scan(first: int) -> None:
                own = idle.get()
                try:
                    estimate.visit(first, min(first + block, n), buffers[own], lists.of(own, part))
                finally:
                    idle.put(own)

            def tell(_: None) -> None:
                self._report(begin + (1 - begin) * next(done) / len(starts))

            concurrency.map_in_order(scan, starts, tell, n_threads=n_threads)
            return lists

        likely = keep / SAMPLED  # of the sample
        enough = int(1.25 * likely + 4 * likely**0.5) + 4
        if not by_sample or n < 4 * SAMPLED * enough:
            return visit(Shortlists(n_threads, n_queries, keep), ALL, 0).merged()
        keys, floors = visit(Shortlists(n_threads, n_queries, enough), SAMPLE, 0).merged()
        lists = Shortlists(n_threads, n_queries, keep, floors)
        lists.add(keys)
        return visit(lists, REST, 1 / SAMPLED).merged()


def _by_products(
    fill: Fill,
    weights: Float32[np.ndarray, "groups lanes"],
    scales: Float32[np.ndarray, " queries"],
    margin: np.float32,
) -> Visit:
    """Takes a block's products with all queries first."""
    from corrcore.engines.knn.kernels import shortlist

    def visit(first: int, stop: int, scores: torch.Tensor, lists: Lists) -> None:
        its_weights = weights[first // GROUP : -(-stop // GROUP)]
        products = scores[: len(scales) * its_weights.size].view(len(scales), its_weights.size)
        fill(first, stop, products)
        groups = products.numpy().reshape(len(scales), -1, GROUP)
        shortlist(groups, its_weights, scales, margin, first, lists)

    return visit
