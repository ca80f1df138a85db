"""Indexes by name: what is listed however it was made, and what is deleted."""

import os
import shutil

import numpy as np
import pytest

from corrcore import patch_index
from corrcore.cluster import Cluster
from corrcore.datasets import drawn
from corrcore.datasets.drawn.draw import instance_of
from corrcore.engines.knn import SearchCluster
from corrcore.patch_index import IndexNotFoundError, State, build, open_index
from tests.patch_index.exact import Means, Stop, noise_photos, stop_after

PHOTOS = noise_photos(3)


@pytest.fixture
def root(tmp_path):
    """A folder of indexes, and what becomes of them in practice."""
    root = tmp_path / "indexes"
    whole = build(PHOTOS, root / "good", extractor=Means()).folder
    for name in ("plain copy", "samples-copy", "v1.2", "zz"):
        shutil.copytree(whole, root / name)
    for name, text in (("empty", ""), ("old", '{"format": 1}'), ("text", "no manifest")):
        shutil.copytree(whole, root / name)
        (root / name / "manifest.json").write_text(text)
    shutil.copytree(whole, root / "headless")
    (root / "headless" / "manifest.json").unlink()
    (root / "away").symlink_to(tmp_path / "drive" / "index")
    shutil.copytree(whole, root / "gone.0123.deleting")
    with pytest.raises(Stop):
        build(PHOTOS, root / "half", extractor=Means(), progress=stop_after(2))
    (root / "no index").mkdir()
    (root / "notes.txt").write_text("mine")
    return root


STATES = {
    "away": State.UNREADABLE,
    "empty": State.UNREADABLE,
    "gone": State.HALF_DELETED,
    "good": State.FINISHED,
    "half": State.UNFINISHED,
    "headless": State.UNREADABLE,
    "old": State.UNREADABLE,
    "plain copy": State.FINISHED,
    "samples-copy": State.FINISHED,
    "text": State.UNREADABLE,
    "v1.2": State.FINISHED,
    "zz": State.FINISHED,
}


def test_all_are_listed_however_they_are(root):
    listings = patch_index.survey(root)
    assert {listing.name: listing.state for listing in listings} == STATES
    assert [listing.name for listing in listings] == sorted(STATES)
    for listing in listings:
        assert (listing.index is not None) == (listing.state is State.FINISHED)
        if listing.index is None:
            assert str(root / listing.name) in listing.note
            assert "\n" not in listing.note
    notes = {listing.name: listing.note for listing in listings}
    assert "is its drive connected?" in notes["away"]
    assert "is its drive connected?" in notes["headless"]
    assert "2 of 3 photos are done" in notes["half"]
    assert "has format 1" in notes["old"]


def test_lists_by_state_open_nothing(root):
    assert patch_index.list_unfinished(root) == ["half"]
    assert patch_index.list_indexes(root) == sorted(set(STATES) - {"half", "gone"})


def test_listing_writes_nothing(root):
    def everything():
        return {path: path.lstat().st_mtime_ns for path in root.rglob("*")}

    before = everything()
    patch_index.survey(root)
    assert everything() == before


@pytest.mark.parametrize("name", sorted(STATES))
def test_what_is_listed_can_be_looked_up_and_deleted(root, name):
    assert patch_index.look_up(name, root).state is STATES[name]
    patch_index.delete(patch_index.path_of(name, root))
    assert name not in {listing.name for listing in patch_index.survey(root)}
    with pytest.raises(IndexNotFoundError):
        patch_index.look_up(name, root)


def test_of_a_link_only_the_link_is_deleted(root, tmp_path):
    (root / "link").symlink_to(root / "good")
    patch_index.delete(root / "link")
    patch_index.PatchIndex(root / "good").verify()
    assert not os.path.lexists(root / "link")


@pytest.mark.parametrize("name", ["no index", "notes.txt", "nothing"])
def test_what_is_no_index_is_not_deleted(root, name):
    with pytest.raises(
        IndexNotFoundError, match=r"no patch index in .*, finished or begun; `corrcore .*index list` shows"
    ):
        patch_index.delete(root / name)
    assert os.path.lexists(root / name) == (name != "nothing")


@pytest.mark.parametrize("name", ["", ".", "..", "../good", "a/b", "/etc", "x\0y"])
def test_no_name_leaves_the_folder_of_indexes(root, name):
    with pytest.raises(ValueError, match="an index's name must be the name of a folder in the folder of indexes"):
        patch_index.path_of(name, root)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a b", "x.partial", "samples", "samples-1"])
def test_new_names_are_plain(name):
    with pytest.raises(ValueError, match="an index's name must"):
        patch_index.checked_name(name)
    assert patch_index.checked_name("voc-2011_b") == "voc-2011_b"


def test_a_root_that_is_not_there_is_empty_and_one_that_is_a_file_is_not(tmp_path):
    assert patch_index.survey(tmp_path / "nowhere") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file cannot be read \(Not a directory\); give a folder of indexes"):
        patch_index.survey(tmp_path / "file")


def test_the_default_root_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CORRCORE_CACHE", "~/kept")
    assert patch_index.path_of("voc") == tmp_path / "kept" / "indexes" / "voc"


def test_deleting_leaves_nothing(tmp_path):
    build(PHOTOS, tmp_path / "it", extractor=Means())
    patch_index.delete(tmp_path / "it")
    assert not list(tmp_path.iterdir())


def test_an_index_is_not_deleted_while_it_is_built(tmp_path):
    def delete(share, text):
        patch_index.delete(tmp_path / "it")

    with pytest.raises(FileExistsError, match="is being built now; cancel the build first"):
        build(PHOTOS, tmp_path / "it", extractor=Means(), progress=delete)
    patch_index.delete(tmp_path / "it")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def samples(alexnet, tmp_path_factory):
    return patch_index.samples(alexnet, root=tmp_path_factory.mktemp("samples"))


def test_samples_make_an_index_without_a_download(alexnet, samples):
    assert set(samples.photos) == set(drawn.to_search())
    assert min(samples.n_patches(layer) for layer in ("conv3", "conv4", "conv5")) > 20_000
    assert samples.folder == patch_index.samples_path(alexnet, root=samples.folder.parent)
    assert patch_index.samples(alexnet, root=samples.folder.parent).digest == samples.digest


def test_no_animal_to_look_at_is_taken_for_a_copy_of_an_indexed_one(samples):
    assert not any(samples.photos_like(animal.load()) for animal in drawn.unseen().values())


@pytest.mark.slow
def test_eyes_are_found_among_eyes(alexnet, samples):
    """The nearest patches to the first animal's eye lie on heads: within half a head of an annotated eye."""
    animal = next(iter(drawn.unseen().values()))
    near = []
    for layer, grid in alexnet.extract(animal.load(), samples.layers).items():
        seed = grid.descriptors[grid.cells.nearest(*animal.eye)]
        ids = np.asarray(samples.search(layer, seed[None], 5).ids)[0]
        for photo, centre in zip(samples.locate(layer, ids).photos, samples.centres(layer, ids), strict=True):
            eyes = instance_of(samples.photos[photo]).keypoints[:2]
            near.append(np.nanmin(np.linalg.norm(eyes - centre, axis=1)))
    assert np.median(near) < 16
    assert np.mean(np.array(near) < 32) > 0.8


def test_samples_are_indexed_without_a_disk_to_keep_them_on(tmp_path):
    (tmp_path / "file").write_text("where no folder can be made")
    with pytest.warns(RuntimeWarning, match="cannot be written .* indexed for this process alone"):
        index = patch_index.samples(Means(), root=tmp_path / "file")
    assert len(index.photos) == len(drawn.to_search())


def test_an_index_is_searched_on_the_cluster_that_the_environment_names(tmp_path, monkeypatch):
    build(noise_photos(1), tmp_path / "it", extractor=Means())
    assert open_index("it", tmp_path).search_on is None
    for name, value in {"INDEXES": "other, it", "ADDRESS": "head:6379", "WORKERS": "4", "REPLICAS": "2"}.items():
        monkeypatch.setenv(f"CORRCORE_RAY_{name}", value)
    assert open_index("it", tmp_path).search_on == SearchCluster(Cluster("head:6379", 4), replicas=2)
