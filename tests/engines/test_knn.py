import dataclasses
import mmap
import os
import pickle
import platform
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numba.core.caching
import numpy as np
import pytest
import torch

from corrcore import compiled
from corrcore.engines.knn import DescriptorTable, Neighbours, Scan, codes, host, kernels, keys, lanes, quantise

SCANS = ["dot", "pairs", "float"]
WAYS = [*SCANS, "resident"]


def table_of(descriptors: np.ndarray, *, scan: Scan | None = None) -> DescriptorTable:
    halves = np.ascontiguousarray(descriptors, dtype=np.float16)
    return DescriptorTable(halves, *quantise(torch.from_numpy(halves)), scan=scan)


def table_by(way: Scan | Literal["resident"], descriptors: np.ndarray) -> DescriptorTable:
    """To be searched in one of all ways, whatever this processor would choose; "resident" is a GPU's."""
    if way == "resident":
        return table_of(descriptors).to("cpu", resident=True)
    return table_of(descriptors, scan=way)


def unit_rows(n: int, channels: int, seed: int, *, kind: str = "dense") -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, channels))
    if kind == "sparse":  # as after a ReLU, with the odd row of zeros
        rows = np.maximum(rows + rng.standard_normal((n, 1)) - 1, 0)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def similarities_by_brute_force(table: DescriptorTable, queries: np.ndarray) -> np.ndarray:
    """In double precision, from the rows as they are stored."""
    queries = queries.astype(np.float64)
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    return queries / np.where(lengths > 0, lengths, 1) @ np.asarray(table.descriptors, dtype=np.float64).T


def assert_nearest(found: Neighbours, truth: np.ndarray, k: int) -> None:
    """The right similarities in order, each that of its row, and no row twice."""
    best = -np.sort(-truth, axis=1)[:, :k]
    np.testing.assert_allclose(found.similarities, best, rtol=0, atol=2e-7)
    np.testing.assert_allclose(np.take_along_axis(truth, found.ids, axis=1), found.similarities, rtol=0, atol=2e-7)
    assert all(len(set(ids)) == k for ids in found.ids.tolist())
    ties = np.diff(found.similarities) == 0
    assert (np.diff(found.similarities) <= 0).all()
    assert (np.diff(found.ids)[ties] > 0).all()


def assert_same(found: Neighbours, expected: Neighbours) -> None:
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.similarities, expected.similarities)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize(
    ("n", "channels", "k"),
    [(1, 3, 1), (63, 5, 63), (64, 16, 1), (65, 7, 64), (1000, 256, 50), (5000, 384, 500), (3001, 512, 7), (2500, 3, 9)],
)
def test_search_equals_brute_force(way, kind, n, channels, k):
    table = table_by(way, unit_rows(n, channels, seed=n, kind=kind))
    queries = unit_rows(33, channels, seed=n + 1, kind=kind) * np.linspace(0.01, 100, 33)[:, None]
    truth = similarities_by_brute_force(table, queries.astype(np.float32))
    for n_queries in (1, 3, 33):
        found = table.search(torch.from_numpy(queries[:n_queries]).float(), k)
        assert found.ids.shape == found.similarities.shape == (n_queries, k)
        assert_nearest(found, truth[:n_queries], k)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("n_queries", [2, 40])
def test_search_over_many_blocks_equals_brute_force_and_needs_one_pass(scan, n_queries):
    table = table_of(unit_rows(70_001, 48, seed=5), scan=scan)
    queries = unit_rows(n_queries, 48, seed=6).astype(np.float32)
    found = table.search(torch.from_numpy(queries), 30)
    assert_nearest(found, similarities_by_brute_force(table, queries), 30)
    assert found.passes == (("shortlist", n_queries),)


@pytest.mark.parametrize("scan", ["dot", "pairs"])
@pytest.mark.parametrize("near", ["everywhere", "in the sample", "outside it", "for some"])
def test_many_queries_find_the_same_whatever_a_sample_of_the_rows_says(scan, near):
    """Where all that is near lies in the sample, a floor by it leaves too few, and they are searched without."""
    n, n_queries, k = 40_000, 80, 50
    rows, queries = unit_rows(n, 32, seed=40), unit_rows(n_queries, 32, seed=41)
    group = np.arange(n) // keys.GROUP % keys.SAMPLED
    places = np.flatnonzero({"everywhere": group >= 0, "outside it": group > 0}.get(near, group == 0))
    placed = np.random.default_rng(42).choice(places, (n_queries if near != "for some" else 9, 25), replace=False)
    rows[placed] = queries[: len(placed), None] + 0.3 * unit_rows(placed.size, 32, seed=43).reshape(*placed.shape, 32)
    table, asked = table_of(rows / np.linalg.norm(rows, axis=1, keepdims=True), scan=scan), queries.astype(np.float32)
    told = []
    found = table.search(torch.from_numpy(asked), k, progress=told.append)
    assert_nearest(found, similarities_by_brute_force(table, asked), k)
    assert_same(found, table_of(table.descriptors, scan="float").search(torch.from_numpy(asked), k))
    assert found.passes == (("shortlist", n_queries),)
    assert max(told) == 1


def test_search_agrees_with_faiss():
    faiss = pytest.importorskip("faiss")
    table = table_of(unit_rows(20_000, 256, seed=7))
    queries = unit_rows(50, 256, seed=8).astype(np.float32)
    flat = faiss.IndexFlatIP(256)
    flat.add(table.descriptors.astype(np.float32))
    similarities, ids = flat.search(queries, 20)
    found = table.search(torch.from_numpy(queries), 20)
    np.testing.assert_allclose(found.similarities, similarities, atol=1e-6)
    assert np.mean(found.ids == ids) > 0.999


@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_results_do_not_depend_on_how_rows_are_scanned(kind):
    rows = unit_rows(4000, 96, seed=9, kind=kind)
    rows = np.concatenate([rows, rows[::-2], np.zeros((3, 96))])  # many exact ties
    queries = torch.from_numpy(unit_rows(20, 96, seed=10, kind=kind)).float()
    expected = table_of(rows).search(queries, 40)
    for way in WAYS:
        table = table_by(way, rows)
        for part in (slice(0, 1), slice(1, 4), slice(20)):
            found = table.search(queries[part], 40)
            assert_same(found, Neighbours(expected.ids[part], expected.similarities[part]))


LANES = [lanes.Dot(), lanes.Pairs(), lanes.PositivePairs()]


@pytest.mark.parametrize("way", LANES, ids=["dot", "pairs", "positive pairs"])
def test_products_of_extreme_codes_are_exact(way):
    """Sums of 16 bits would overflow, were codes one more together, and single precision beyond 1040 channels."""
    rng = np.random.default_rng(3)
    largest = np.full(1088, 127)
    if way.most:
        largest[:] = each = way.most // (way.summed // 2)
        largest.reshape(-1, way.summed)[:, [0, 2]] += way.most - way.summed // 2 * each  # the two that are summed apart
    rows = rng.choice([-127, 126, 127], (keys.GROUP, 1088)).astype(np.int8)
    signs = rng.choice([-1, 1], (keys.TILE, 1088))
    rows[:3], signs[:2] = [[127], [127], [-127]], [[1], [-1]]
    rows[1, 0] = 126
    queries = (largest * (np.abs(signs) if isinstance(way, lanes.PositivePairs) else signs)).astype(np.int8)
    order, products = np.empty(rows.size, np.int8), np.empty(keys.TILE * keys.GROUP, np.int32)
    kernels.arrange(way, rows, 0, 1088, order)
    kernels.multiply_tile(way, order, queries.reshape(-1), 0, 1088, products)
    expected = queries.astype(np.int64) @ (rows.T.astype(np.int64) + way.offset)
    np.testing.assert_array_equal(products.reshape(expected.shape), expected)


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("channels", [31, 256, 1100])
def test_rows_of_extreme_codes_are_told_apart(scan, channels):
    signs = np.sign(np.random.default_rng(4).standard_normal((3000, channels)))
    signs[1::7] = 1
    table, queries = table_of(signs / channels**0.5, scan=scan), signs[:9].astype(np.float32)
    assert set(np.unique(table.codes)) == {-127, 127}
    found = table.search(torch.from_numpy(queries), 600)  # of which 429 are equal
    assert_nearest(found, similarities_by_brute_force(table, queries), 600)


@pytest.mark.parametrize("way", LANES, ids=["dot", "pairs", "positive pairs"])
def test_coarse_codes_bound_what_whole_ones_give_and_hardly_more(way):
    """Also for the rows that lie along what coarse codes leave out: there the bound is reached."""
    queries = torch.from_numpy(unit_rows(20, 200, seed=5))
    coded = codes.CodedQueries.of(queries, offset=way.offset, most=way.most, summed=way.summed)
    left_out = coded.codes - (coded.coarse_scales / coded.scales)[:, None] * coded.coarse[:20, :200]
    rows = np.concatenate([127 * left_out / max(abs(left_out).max(), 1), 127 * unit_rows(100, 200, seed=6)])
    rows = np.rint(rows)
    exact = coded.scales[:, None] * (coded.codes @ rows.T).astype(np.float32)
    bound = coded.coarse_scales[:, None] * (coded.coarse[:20, :200] @ rows.T).astype(np.float32)
    bound += coded.slopes[:, None] * np.linalg.norm(rows, axis=1).astype(np.float32)
    assert (bound >= exact).all()
    along = np.diag(bound[:, :20] - exact[:, :20]) / np.linalg.norm(rows[:20], axis=1).clip(1)
    assert (along <= 0.01 * coded.slopes + 1e-6).all()
    positive = np.concatenate([rows.clip(min=0), abs(rows)])
    exact = coded.scales[:, None] * (coded.codes @ positive.T).astype(np.float32)
    bound = coded.coarse_scales[:, None] * (coded.coarse[:20, :200] @ positive.T).astype(np.float32)
    bound += coded.rises[:, None] * np.linalg.norm(positive, axis=1).astype(np.float32)
    assert (bound >= exact).all()
    along = np.diag(bound[:, :20] - exact[:, :20]) / np.linalg.norm(positive[:20], axis=1).clip(1)
    assert (along <= 0.02 * coded.rises + 1e-6).all()
    np.testing.assert_array_equal(coded.offsets, way.offset * coded.coarse.sum(axis=1, dtype=int)[:20])


def test_coarse_codes_are_as_fine_as_their_sums_may_be():
    queries = torch.from_numpy(unit_rows(20, 200, seed=5)) * 10.0 ** torch.arange(-3, 2).repeat(4)[:, None]
    queries[0] = 0
    queries[1, 1:] = 0
    coarse = codes.CodedQueries.of(queries, offset=0, most=100, summed=16).coarse[:20]
    sums = np.abs(coarse.astype(int)).reshape(20, -1, 4, 2, 2).sum(axis=(2, 4)).max(axis=(1, 2))
    assert sums[:2].tolist() == [0, 96]
    assert (sums[2:] <= 100).all()
    assert (sums[2:] >= 92).all()


def test_another_processor_finds_the_same():
    """One without any of the instructions that the ways are for: code is made for it, and runs here as well."""
    code = """
import numpy, torch
from corrcore.engines.knn import DescriptorTable, lanes, quantise
rows = torch.from_numpy(numpy.random.default_rng(38).standard_normal((700, 40))).half()
found = DescriptorTable(rows.numpy(), *quantise(rows)).search(rows[:9].float(), 20)
print(found.ids.tolist(), found.similarities.tolist())
print(type(lanes.fast_way(positive=False)).__name__)
"""
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    rows = torch.from_numpy(np.random.default_rng(38).standard_normal((700, 40))).half()
    found = table_of(rows.numpy()).search(rows[:9].float(), 20)
    expected = f"{found.ids.tolist()} {found.similarities.tolist()}"
    chosen = "Dot" if platform.machine().lower() in ("arm64", "aarch64") else "Pairs"
    assert run.stdout.splitlines() == [expected, chosen], run.stderr


@pytest.mark.gpu
def test_a_cuda_device_finds_the_same(cuda):
    table = table_of(unit_rows(30_000, 256, seed=11, kind="sparse"))
    queries = torch.from_numpy(unit_rows(100, 256, seed=12, kind="sparse")).float()
    assert_same(table.to(cuda).search(queries, 50), table.search(queries, 50))
    assert_same(
        table.to(cuda).search(queries.to(cuda), 50, exclude=[(0, 999)]), table.search(queries, 50, exclude=[(0, 999)])
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n_queries", [1, 12])
def test_near_duplicates_within_quantisation_error_are_told_apart(way, n_queries):
    rng = np.random.default_rng(13)
    centre = unit_rows(1, 64, seed=14)
    rows = centre + 3e-4 * rng.standard_normal((20_000, 64))
    table = table_by(way, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    queries = (centre + 3e-2 * rng.standard_normal((n_queries, 64))).astype(np.float32)
    found = table.search(torch.from_numpy(queries), 10)
    assert_nearest(found, similarities_by_brute_force(table, queries), 10)
    shortlists, all_rows = ("shortlist", n_queries), ("all", n_queries)
    assert found.passes == ((shortlists,) if way == "float" else (shortlists, shortlists, all_rows))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n_queries", [1, 12])
def test_equal_rows_come_by_ascending_id(way, n_queries):
    table = table_by(way, np.repeat(unit_rows(1, 32, seed=15), 40_000, axis=0))
    queries = torch.from_numpy(unit_rows(n_queries, 32, seed=16)).float()
    found = table.search(queries, 5, exclude=[(0, 2), (3, 4)])
    np.testing.assert_array_equal(found.ids, np.tile([2, 4, 5, 6, 7], (n_queries, 1)))
    assert (found.similarities == found.similarities[:, :1]).all()


def test_ties_come_by_ascending_id_where_similarities_are_exact():
    """Components are multiples of 1/4 and 16 of a query's are ±1/4: every similarity is a multiple of 1/16."""
    rng = np.random.default_rng(17)
    rows = rng.integers(-1, 2, (9000, 24)) / 4
    queries = np.zeros((30, 24), np.float32)
    for query in queries:
        query[rng.choice(24, 16, replace=False)] = rng.choice([-0.25, 0.25], 16)
    truth = queries.astype(np.float64) @ rows.T
    expected = np.argsort(-truth, axis=1, kind="stable")[:, :200]
    found = table_of(rows).search(torch.from_numpy(queries), 200)
    np.testing.assert_array_equal(found.ids, expected)
    np.testing.assert_array_equal(found.similarities, np.take_along_axis(truth, expected, axis=1))


@pytest.mark.parametrize("scan", ["dot", "pairs"])
@pytest.mark.parametrize("n_queries", [1, 5])
def test_rounding_errors_that_all_point_one_way_are_noticed(scan, n_queries):
    """Against the model, all values of a row are a like part of a step above their codes; the best rows' the most."""
    rng = np.random.default_rng(18)

    def rows_of(n, similarity, part_of_a_step):
        rows = np.full((n, 513), (17 + part_of_a_step) / 127)
        rows[:, 0] = 1
        off = np.sqrt(1 / similarity**2 - 1) * np.linalg.norm(rows[:, :512], axis=1)
        rows[:, 512] = off  # where the query has nothing
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    good, best = rows_of(3000, rng.uniform(0.981, 0.986, 3000), 0.3), rows_of(20, np.full(20, 0.99), 0.48)
    table = table_of(np.concatenate([good, best, unit_rows(5000, 513, seed=19)]), scan=scan)
    queries = np.full((n_queries, 513), 18 / 127, np.float32)
    queries[:, [0, 512]] = 1, 0
    found = table.search(torch.from_numpy(queries), 5)
    assert_nearest(found, similarities_by_brute_force(table, queries), 5)
    assert found.passes == (("shortlist", n_queries),) * 2  # the second holds all rows


@pytest.mark.parametrize("way", WAYS)
def test_zero_query_is_equally_similar_to_all(way):
    table = table_by(way, unit_rows(3000, 8, seed=19))
    queries = torch.zeros(2, 8)
    queries[1, 3] = 5
    found = table.search(queries, 4)
    np.testing.assert_array_equal(found.ids[0], [0, 1, 2, 3])
    np.testing.assert_array_equal(found.similarities[0], 0)
    assert found.similarities[1, 0] > 0.8


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "exclude", [[(0, 500)], [(100, 101), (90, 300), (777, 777)], np.array([[64, 128], [900, 1000]])]
)
def test_excluded_rows_are_not_found(way, exclude):
    table = table_by(way, unit_rows(1000, 16, seed=20))
    queries = np.asarray(table.descriptors[::50], dtype=np.float32)
    truth = similarities_by_brute_force(table, queries)
    allowed = np.ones(1000, bool)
    for start, stop in exclude:
        allowed[start:stop] = False
    for k in (1, 60, int(allowed.sum())):
        found = table.search(torch.from_numpy(queries), k, exclude=exclude)
        assert allowed[found.ids].all()
        assert_nearest(found, np.where(allowed, truth, -2), k)


def test_no_queries_give_no_neighbours():
    found = table_of(unit_rows(10, 4, seed=21)).search(torch.empty(0, 4), 3)
    assert found.ids.shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(1, 4), 0), "k must be between 1 and 10 (admissible descriptors); got 0."),
        ((torch.ones(1, 4), 11), "k must be between 1 and 10 (admissible descriptors); got 11."),
        ((torch.ones(1, 5), 1), "queries must have shape (queries, 4) as the table's rows; got (1, 5)."),
        ((torch.full((1, 4), torch.nan), 1), "queries must be finite; got NaN or infinity."),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        table_of(unit_rows(10, 4, seed=22)).search(*arguments)


def test_bad_ranges_are_named():
    table = table_of(unit_rows(10, 4, seed=23))
    with pytest.raises(ValueError, match=re.escape("ranges of rows between 0 and 10; got (5, 11).")):
        table.search(torch.ones(1, 4), 1, exclude=[(0, 1), (5, 11)])
    with pytest.raises(ValueError, match=re.escape("k must be between 1 and 2 (admissible descriptors); got 3.")):
        table.search(torch.ones(1, 4), 3, exclude=[(1, 9)])


def test_arrays_that_do_not_fit_one_another_are_named():
    rows, codes, scales = np.zeros((3, 4), np.float16), np.zeros((3, 4), np.int8), np.zeros(3, np.float32)
    for arrays, message in [
        ((rows.astype(np.float32), codes, scales), "descriptors must be a contiguous float16 array of shape (3, 4)"),
        ((rows[0], codes, scales), "got float16 (4,)."),
        ((rows, codes[:2], scales), "codes must be a contiguous int8 array of shape (3, 4); got int8 (2, 4)."),
        ((rows, codes, scales[:, None]), "scales must be a contiguous float32 array of shape (3,)"),
        ((rows[:, ::2], codes[:, ::2], scales), "got float16 (3, 2), not contiguous."),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            DescriptorTable(*arrays)


def test_a_device_without_double_precision_is_refused():
    with pytest.raises(ValueError, match="device must be cpu or a CUDA device; got mps."):
        table_of(unit_rows(10, 4, seed=24)).to("mps")


@pytest.mark.parametrize("source", [np.float16, np.float32, torch.float16, torch.float32], ids=str)
def test_codes_are_within_half_a_step(source):
    rows = unit_rows(700, 384, seed=25, kind="sparse")
    rows[3] = 0
    rows = torch.from_numpy(rows).to(source) if isinstance(source, torch.dtype) else rows.astype(source)
    codes, scales = quantise(rows)
    assert (codes.dtype, scales.dtype, codes.shape, scales.shape) == (np.int8, np.float32, (700, 384), (700,))
    error = np.abs(codes * scales[:, None].astype(np.float64) - np.asarray(rows, dtype=np.float64))
    assert (error <= scales[:, None] * (0.5 + 1e-5)).all()
    assert scales[3] == 0
    np.testing.assert_array_equal(np.abs(codes).max(axis=1), np.where(scales > 0, 127, 0))


def test_quantising_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="descriptors must be finite"):
        quantise(torch.tensor([[1.0, torch.inf]]))


def test_progress_rises_to_one_in_the_calling_thread():
    table = table_of(unit_rows(50_000, 8, seed=26))
    shares = []

    def progress(share: float) -> None:
        assert threading.current_thread() is threading.main_thread()
        shares.append(share)

    queries = torch.from_numpy(unit_rows(20, 8, seed=27)).float()
    found = table.search(queries, 3, progress=progress, shortlist_bytes=1 << 13)
    assert len(found.passes) > 1
    assert_same(found, table.search(queries, 3))
    assert len(shares) > 10
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == 1


class Stop(Exception):
    pass


def counting(table: DescriptorTable, queries: np.ndarray, log: list, report=lambda _: None) -> None:
    """Scans a table once, and logs the thread of each block, and in how many threads torch computes there."""
    searcher = host.Host(table.descriptors, table.codes, table.scales, scan="float", report=report)
    estimate = searcher.from_rows(torch.from_numpy(queries).float())

    def visit(*block: Any) -> None:
        log.append((threading.get_ident(), torch.get_num_threads()))
        estimate.visit(*block)

    searcher.scan(dataclasses.replace(estimate, visit=visit), 3)


def test_an_exception_in_progress_ends_the_search_at_once():
    table = table_of(unit_rows(100_000, 8, seed=28))
    queries = unit_rows(2000, 8, seed=29)
    few = torch.from_numpy(queries[:7]).float()
    expected = table.search(few, 3)
    n_threads, calls, blocks = threading.active_count(), [], []

    def stop(share: float) -> None:
        calls.append(share)
        raise Stop

    with pytest.raises(Stop):
        counting(table, queries, blocks, stop)
    with pytest.raises(Stop):
        table.search(few, 3, progress=stop)
    assert len(calls) == 2
    assert len(blocks) < 50  # of 98
    assert threading.active_count() == n_threads
    assert_same(table.search(few, 3), expected)


def test_torch_thread_counts_are_respected_and_left_alone():
    table = table_of(unit_rows(140_000, 16, seed=30))
    queries = unit_rows(9, 16, seed=31)
    before, results = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3):
            torch.set_num_threads(n_threads)
            used = []
            counting(table, queries, used)
            results.append(table.search(torch.from_numpy(queries).float(), 5))
            assert len({thread for thread, _ in used}) <= n_threads
            assert {count for _, count in used} == {1}
            assert torch.get_num_threads() == n_threads
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(torch.get_num_threads).result() == n_threads
    finally:
        torch.set_num_threads(before)
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


def test_a_row_as_good_as_another_threads_floor_is_kept():
    """The other thread's rows may have higher ids, and then this one is to win the tie."""
    ones, one, none = np.ones((1, 64), np.float32), np.ones(1, np.float32), np.zeros(1, np.float32)

    def lists() -> host.Lists:
        return host.Lists(
            np.full((1, 66), keys.ABSENT), np.zeros(1, np.int64), none.copy(), one * np.float32(0.5), none[None], 0,
            keys.ALL,
        )  # fmt: skip

    products = np.zeros((1, 1, 64), np.float32)
    products[0, 0, 7] = 0.5
    by_products = lists()
    kernels.shortlist(products, ones, one, np.float32(0), 128, by_products)
    by_codes, rows = lists(), np.zeros((64, 2), np.int8)
    rows[7] = 127
    coded = codes.CodedQueries.of(torch.tensor([[1.0, 1.0]]), offset=lanes.Dot().offset, most=0, summed=0)
    bound = (coded.scales * np.float32(2 * 127**2) + codes.MARGIN) * np.float32(1e-3)
    by_codes.common[:] = bound
    kernels.shortlist_codes(lanes.Dot(), rows, ones * np.float32(1e-3), coded, 128, by_codes)
    for found, expected in ((by_products, [0.5]), (by_codes, bound)):
        row, its_bound = keys.unpack(found.keys[:, : found.counts[0]])
        assert (row.tolist(), its_bound.tolist()) == ([[135]], [list(expected)])


@pytest.mark.parametrize(("share_of_the_other", "floor"), [(0.95, 112), (0.8, 102.4), (0.1, 96)])
def test_two_threads_that_have_half_of_what_is_kept_each_share_a_floor(share_of_the_other, floor):
    """Of 128 rows that are 1 / 128 apart 32 are kept, from 96 on, and half of these are from 112 on."""
    similarities = np.random.default_rng(39).permutation(128).astype(np.float32).reshape(1, 2, 64) / 128
    ones, low = np.ones((2, 64), np.float32), np.full(1, -np.inf, np.float32)
    shares = np.array([[-np.inf], [share_of_the_other]], np.float32)
    lists = host.Lists(
        np.full((1, 128), keys.ABSENT), np.zeros(1, np.int64), low.copy(), low.copy(), shares, 0, keys.ALL
    )
    kernels.shortlist(similarities, ones, ones[0, :1], np.float32(0), 0, lists)
    assert lists.counts[0] == 32
    np.testing.assert_allclose([lists.floors[0], lists.common[0]], floor / 128, rtol=1e-6)
    np.testing.assert_array_equal(np.sort(keys.unpack(lists.keys[0, :32])[1]) * 128, np.arange(96, 128))


def test_searches_may_run_side_by_side():
    table = table_of(unit_rows(40_000, 16, seed=32))
    queries = [torch.from_numpy(unit_rows(n, 16, seed=n)).float() for n in (1, 6, 30, 2)]
    expected = [table.search(some, 8) for some in queries]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(lambda some: table.search(some, 8), queries * 3), expected * 3, strict=True):
            assert_same(found, right)


def resident_kilobytes(path: Path) -> int:
    """How much of a file is mapped into this process's memory."""
    of_file, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            of_file = line.endswith(str(path))
        elif of_file and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells which pages are in memory")
@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system keeps pages as it likes")
def test_mapped_files_give_the_same_and_their_pages_are_let_go(tmp_path):
    in_memory = table_of(unit_rows(100_000, 64, seed=33))
    paths = [tmp_path / name for name in ("rows", "codes", "scales")]
    arrays = []
    for path, array in zip(paths, (in_memory.descriptors, in_memory.codes, in_memory.scales), strict=True):
        array.tofile(path)
        arrays.append(np.memmap(path, array.dtype, "r", shape=array.shape))
    table = DescriptorTable(*arrays, scan="pairs")
    queries = torch.from_numpy(unit_rows(50, 64, seed=34)).float()
    expected = in_memory.search(queries, 100)
    assert_same(table.search(queries, 100), expected)
    assert resident_kilobytes(paths[0]) < 200  # of 12.8 MB, all of which was looked at
    assert resident_kilobytes(paths[1]) > 6000
    table.release()
    assert resident_kilobytes(paths[1]) < 200
    assert_same(table.search(queries, 100), expected)


def test_memory_that_may_be_written_to_is_not_dropped(tmp_path):
    """Pages of a private copy of a file would come back as they are in the file."""
    np.zeros((4, 2), np.float16).tofile(tmp_path / "rows")
    rows = np.memmap(tmp_path / "rows", np.float16, "c", shape=(4, 2))
    rows[:] = np.eye(4, 2)
    table = DescriptorTable(rows, *quantise(torch.from_numpy(rows)))
    table.release()
    np.testing.assert_array_equal(table.search(torch.tensor([[0, 1.0]]), 1).ids, [[1]])


def test_kernels_compile_where_no_folder_may_be_written_to(monkeypatch):
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    select = compiled.kernel()(kernels.select.py_func)
    assert select(np.array([5, 3, 4, 1]), 1) == 3


# --- Travelling -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_pickled_table_finds_the_same(way):
    table = table_by(way, unit_rows(300, 16, seed=35))
    queries = torch.from_numpy(unit_rows(4, 16, seed=36)).float()
    found = table.search(queries, 5)
    for again in (pickle.loads(pickle.dumps(table)).search(queries, 5), pickle.loads(pickle.dumps(found))):
        assert_same(again, found)
        assert again.passes == found.passes


def test_mapped_arrays_are_pickled_by_their_path_and_place(tmp_path):
    rows = unit_rows(9000, 64, seed=37).astype(np.float16)
    table = table_of(rows)
    with (tmp_path / "all").open("wb") as file:
        for array in (table.scales, table.descriptors, table.codes):
            file.write(b"odd")
            file.write(array.tobytes())
    at_rows = 6 + table.scales.nbytes
    whole = np.memmap(tmp_path / "all", np.float16, "r", at_rows, rows.shape)
    codes = np.memmap(tmp_path / "all", np.int8, "r", at_rows + 3 + rows.nbytes, rows.shape)
    part = slice(5000, 8001)
    mapped = DescriptorTable(whole[part], codes[part], table.scales[part])
    pickled = pickle.dumps(mapped)
    assert len(pickled) < 20_000  # the scales, and three paths
    again = pickle.loads(pickled)
    assert isinstance(again.descriptors, np.memmap)
    np.testing.assert_array_equal(again.descriptors, rows[part])
    np.testing.assert_array_equal(again.codes, table.codes[part])
    np.testing.assert_array_equal(again.scales, table.scales[part])


def test_what_was_written_to_a_private_copy_of_a_file_is_pickled(tmp_path):
    np.zeros((4, 2), np.float16).tofile(tmp_path / "rows")
    rows = np.memmap(tmp_path / "rows", np.float16, "c", shape=(4, 2))
    rows[:] = np.eye(4, 2)
    table = pickle.loads(pickle.dumps(DescriptorTable(rows, *quantise(torch.from_numpy(rows)))))
    np.testing.assert_array_equal(table.descriptors, np.eye(4, 2))
