"""The approximate search against the exact one, on clustered rows."""

import pickle
import sys

import numpy as np
import pytest
import torch

from corrcore.engines.knn import DescriptorTable, quantise
from corrcore.engines.knn.compressed import CompressedTable, Compression, Probing, compress

ROWS, CHANNELS = 12_000, 32


@pytest.fixture(scope="module")
def rows():
    """Unit rows in 150 clusters of a low dimension; the last hundred are copies of the first."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((150, 8))[rng.integers(0, 150, ROWS)] + 0.4 * rng.standard_normal((ROWS, 8))
    values = np.maximum(latent @ rng.standard_normal((8, CHANNELS)) + 0.2 * rng.standard_normal((ROWS, CHANNELS)), 0)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    values[-100:] = values[:100]
    return values.astype(np.float16)


@pytest.fixture(scope="module")
def queries(rows):
    rng = np.random.default_rng(1)
    near = rows[rng.integers(0, ROWS, 150)].astype(np.float32)
    return torch.from_numpy(np.maximum(near + 0.03 * rng.standard_normal(near.shape).astype(np.float32), 0))


@pytest.fixture(scope="module")
def path(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("compressed") / "rows.ivfpq"
    assert compress(rows, path, Compression()) == Compression(n_lists=128, bytes_per_row=4, seed=0)
    return path


@pytest.fixture(scope="module")
def exact(rows):
    return DescriptorTable(rows, *quantise(torch.from_numpy(rows)))


def recall(found, expected):
    return np.mean([len(np.intersect1d(*pair)) / len(pair[0]) for pair in zip(found, expected, strict=True)])


@pytest.mark.parametrize(("k", "least"), [(1, 0.97), (5, 0.97), (50, 0.95)])
def test_most_of_the_nearest_are_found_and_nothing_certifies_it(rows, queries, path, exact, k, least):
    found = CompressedTable(rows, path, probing=Probing(n_lists=16)).search(queries, k)
    expected = exact.search(queries, k)
    assert recall(found.ids, expected.ids) >= least
    assert (found.exact, expected.exact) == (False, True)


def test_similarities_are_those_of_the_exact_search_bit_for_bit(rows, queries, path, exact):
    found = CompressedTable(rows, path, probing=Probing(n_lists=4, n_candidates=100)).search(queries, 20)
    everything = exact.search(queries, ROWS)
    ranked = np.argsort(everything.ids, axis=1)
    similarities = np.take_along_axis(everything.similarities, ranked, axis=1)
    np.testing.assert_array_equal(np.take_along_axis(similarities, found.ids, axis=1), found.similarities)
    assert (np.diff(found.similarities) <= 0).all()


def test_looking_at_all_rows_gives_what_the_exact_search_gives(rows, queries, path, exact):
    """Copies among them included, which come by ascending id."""
    own = torch.from_numpy(rows[:60].astype(np.float32))
    table = CompressedTable(rows, path, probing=Probing(n_lists=10**6, n_candidates=ROWS))
    for asked, k in ((queries, 30), (own, 2)):
        found, expected = table.search(asked, k), exact.search(asked, k)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.similarities, expected.similarities)
    np.testing.assert_array_equal(found.ids, np.stack([np.arange(60), ROWS - 100 + np.arange(60)], axis=1))


def test_excluded_rows_are_not_found_and_others_take_their_place(rows, queries, path, exact):
    table, ranges = CompressedTable(rows, path, probing=Probing(n_lists=16)), [(0, 5000), (7000, 9000)]
    found, expected = table.search(queries, 10, exclude=ranges), exact.search(queries, 10, exclude=ranges)
    assert not any(((found.ids >= start) & (found.ids < stop)).any() for start, stop in ranges)
    assert recall(found.ids, expected.ids) >= 0.95
    few = table.search(queries, 7, exclude=[(0, 6000), (6007, ROWS)])  # which lie in other lists than those probed
    np.testing.assert_array_equal(np.sort(few.ids, axis=1), np.tile(np.arange(6000, 6007), (len(queries), 1)))
    with pytest.raises(ValueError, match="k must be between 1 and 7"):
        table.search(queries, 8, exclude=[(0, 6000), (6007, ROWS)])


def test_the_same_rows_and_seed_make_the_same_file(rows, path, tmp_path):
    told = []
    for seed in (0, 1):
        compress(rows, tmp_path / str(seed), Compression(seed=seed), progress=told.append)
    assert (tmp_path / "0").read_bytes() == path.read_bytes() != (tmp_path / "1").read_bytes()
    assert told == [0, 0.5] * 2
    assert path.stat().st_size < ROWS * 12 + 100_000  # 4 bytes of code and 8 of its number, and the centres


def test_a_table_travels_by_the_path_of_its_file(rows, queries, path):
    table = CompressedTable(rows, path, probing=Probing(n_lists=3))
    again = pickle.loads(pickle.dumps(table))
    assert again.probing == table.probing
    np.testing.assert_array_equal(again.search(queries, 5).ids, table.search(queries, 5).ids)


def test_searches_tell_how_far_they_are_and_stop_when_told(rows, queries, path):
    table, told = CompressedTable(rows, path), []
    table.search(queries, 5, progress=told.append)
    assert told == [0, 1 / 3, 2 / 3, 1]
    assert table.search(queries[:0], 5).ids.shape == (0, 5)

    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.search(queries, 5, progress=stop)


def test_what_does_not_fit_is_refused_in_a_sentence(rows, path, tmp_path):
    for compression, given, sentence in (
        (Compression(), rows[:9999], "only tables of 10,000 rows or more are compressed; got 9,999"),
        (Compression(n_lists=308), rows, "lists must be between 1 and 307 for 12,000 rows; got 308"),
        (Compression(bytes_per_row=5), rows, "bytes per row must divide the 32 channels; got 5"),
    ):
        with pytest.raises(ValueError, match=sentence):
            compress(given, tmp_path / "it", compression)
    with pytest.raises(ValueError, match="lists and candidates must be at least 1; got 0 and 500"):
        Probing(n_lists=0)
    with pytest.raises(OSError, match="is not of these descriptors; compress them again"):
        CompressedTable(rows[:-1], path)
    (tmp_path / "torn").write_bytes(path.read_bytes()[:1000])
    for file in ("torn", "away"):
        with pytest.raises(OSError, match=f"{file} cannot be read: it is away, or no compressed table"):
            CompressedTable(rows, tmp_path / file)


def test_without_faiss_one_sentence_says_what_to_install(rows, path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    for use in (lambda: CompressedTable(rows, path), lambda: compress(rows, tmp_path / "it", Compression())):
        with pytest.raises(ValueError, match=r"need the package faiss; install it with `pip install 'corrcore\[pq\]'`"):
            use()
