"""Compressed descriptors beside an index, and searches by them."""

import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch

from corrcore.cli import main
from corrcore.experiments import AgreementRadius, Context, run
from corrcore.features import FeatureGrid
from corrcore.geometry import ReceptiveField
from corrcore.patch_index import Compression, IndexDamagedError, IndexNotFoundError, PatchIndex, Probing, build, path_of
from tests.patch_index.exact import Means, Stop, noise_photos

LAYER, QUERIES, EXCLUDED = "l1", 40, (0, 7)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with an index that is compressed."""
    root = tmp_path_factory.mktemp("indexes")
    index = build(noise_photos(34), root / "it", extractor=Means(), layers=(LAYER,), mirror=True)
    index.compress()
    return root


@pytest.fixture
def copied(root, tmp_path):
    return shutil.copytree(root / "it", tmp_path / "it")


@pytest.fixture(scope="module")
def queries():
    return 100 * torch.randn(QUERIES, 3, generator=torch.Generator().manual_seed(0))


def test_an_index_is_searched_approximately_only_when_asked(root, queries):
    exact, approximate = PatchIndex(root / "it"), PatchIndex(root / "it", probing=Probing(n_lists=24))
    expected = exact.search(LAYER, queries, 10, exclude=EXCLUDED)
    found = approximate.search(LAYER, queries, 10, exclude=EXCLUDED)
    assert (exact.exact, expected.exact, approximate.exact, found.exact) == (True, True, False, False)
    assert exact.search_text == "exact search"
    assert "approximate search, which may miss neighbours (500 candidates of 24 lists" in approximate.search_text
    assert not np.isin(approximate.locate(LAYER, found.ids).photos, EXCLUDED).any()
    same = [np.isin(*pair) for pair in zip(found.ids, expected.ids, strict=True)]
    assert np.mean(same) > 0.9
    assert (found.similarities <= expected.similarities).all()  # each is a patch's own, and the exact ones are largest
    assert exact.digest != approximate.digest != PatchIndex(root / "it", probing=Probing()).digest
    again = pickle.loads(pickle.dumps(approximate))
    assert (again.probing, again.digest) == (approximate.probing, approximate.digest)


def test_it_is_compressed_once_unless_asked_for_otherwise(copied):
    index, told = PatchIndex(copied), []
    file = copied / f"{LAYER}.ivfpq"
    before = file.stat().st_mtime_ns
    index.compress(progress=lambda done, text: told.append((done, text)))
    assert (file.stat().st_mtime_ns, told) == (before, [])
    index.compress(Compression(seed=1), progress=lambda done, text: told.append((done, text)))
    assert file.stat().st_mtime_ns > before
    assert told[0] == (0, f"compressing {LAYER}")
    assert index.compressed()[LAYER].compression == Compression(n_lists=128, bytes_per_row=1, seed=1)
    index.verify()


def test_another_indexs_descriptors_are_not_used(root, copied, tmp_path):
    other = build(noise_photos(3), tmp_path / "other", extractor=Means(), layers=(LAYER,))
    with pytest.raises(IndexNotFoundError, match=r"no compressed descriptors of l1; `corrcore .*index compress other`"):
        PatchIndex(other.folder, probing=Probing())
    for name in (f"{LAYER}.ivfpq", f"{LAYER}.ivfpq.json"):
        shutil.copy(copied / name, other.folder)
    again = PatchIndex(other.folder)
    assert again.search(LAYER, torch.ones(1, 3), 3).exact
    for use in (lambda: PatchIndex(other.folder, probing=Probing()), again.verify):
        with pytest.raises(IndexDamagedError, match="was made of another index .*; `corrcore .*compress other` makes"):
            use()


def test_descriptors_that_are_not_whole_are_not_used(copied):
    file, header = copied / f"{LAYER}.ivfpq", copied / f"{LAYER}.ivfpq.json"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    with pytest.raises(IndexDamagedError, match=r"l1.ivfpq is damaged; `corrcore .*compress it` makes it anew"):
        PatchIndex(copied).verify()
    os.truncate(file, 100)
    with pytest.raises(IndexDamagedError, match=r"l1.ivfpq must have \d+ bytes; it has 100"):
        PatchIndex(copied, probing=Probing())
    header.write_text("{}")
    with pytest.raises(IndexDamagedError, match=r"l1.ivfpq.json is of another version or damaged"):
        PatchIndex(copied, probing=Probing())
    PatchIndex(copied).compress()
    PatchIndex(copied, probing=Probing()).verify()


class Coarse(Means):
    """`l2` has a quarter of the cells."""

    def receptive_field(self, layer):
        return ReceptiveField(8, 16, 3.5) if layer == "l2" else super().receptive_field(layer)

    def _grid(self, image, layer):
        grid = super()._grid(image, layer)
        if layer != "l2":
            return grid
        return FeatureGrid(grid.descriptors[::2, ::2].clone(), self.receptive_field(layer), grid.image_size, layer)


def test_nothing_is_written_where_a_layer_is_too_small(tmp_path, capsys):
    index = build(noise_photos(34), tmp_path / "it", extractor=Coarse(), layers=("l1", "l2"), mirror=True)
    before = sorted(path.name for path in index.folder.iterdir())
    assert main(["--root", str(tmp_path), "index", "compress", "it"]) == 2
    assert "l2 cannot be compressed: only tables of 10,000 rows or more" in capsys.readouterr().err
    assert sorted(path.name for path in index.folder.iterdir()) == before
    index.verify()


def test_an_index_that_is_compressed_in_part_is_whole_and_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    index = build(noise_photos(34), path_of("it"), extractor=Means(), layers=("l1", "l2"), mirror=True)

    def stop(done, text):
        if text == "compressing l2":
            raise Stop

    with pytest.raises(Stop):
        index.compress(progress=stop)
    assert (list(index.compressed()), index.uncompressed, index.is_compressed) == (["l1"], ("l2",), False)
    for command, said in (("verify", "it is whole."), ("show", "l1 compressed: ")):
        assert main(["index", command, "it"]) == 0
        told = capsys.readouterr().out
        assert said in told
        assert "l2: not compressed yet" in told
    with pytest.raises(IndexNotFoundError, match="no compressed descriptors of l2; `corrcore .*index compress it`"):
        PatchIndex(index.folder, probing=Probing())
    index.compress()
    assert index.is_compressed


def test_without_faiss_an_index_says_so_when_it_is_opened(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"need the package faiss; install it with `pip install 'corrcore\[pq\]'`"):
        PatchIndex(root / "it", probing=Probing())


def test_commands_compress_an_index_and_say_what_is_approximate(root, copied, tmp_path, capsys):
    words = ["--root", str(copied.parent), "index"]
    assert main([*words, "compress", "it", "--lists", "64", "--seed", "3"]) == 0
    assert main([*words, "show", "it"]) == 0
    told = capsys.readouterr().out.splitlines()
    said = [line for line in told if line.startswith("  l1 compressed: ")]
    assert len(said) == 2  # by either command
    assert "in 64 lists, 9 bytes per patch; searched approximately where --approximate" in said[0]
    build(noise_photos(3), copied.parent / "small", extractor=Means(), layers=(LAYER,))
    assert main([*words, "compress", "small"]) == 2
    assert "only tables of 10,000 rows or more are compressed; got 495" in capsys.readouterr().err


def test_results_say_that_neighbours_were_approximate(root):
    for approximate in (False, True):
        experiment = AgreementRadius("it", limit=1, k=20, approximate=approximate)
        context = Context(indexes=root)
        result = run(experiment, context=context)
        rows = result.experiment.summary_rows(result.summary)
        assert [row.get("search") for row in rows] == [("approximate" if approximate else None)] * len(rows)
        assert result.provenance["index_digest"] == context.index("it", approximate=approximate).digest
