import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from corrcore import decoding, images
from corrcore.patch_index import IndexDamagedError, IndexNotFoundError, PatchIndex
from corrcore.patch_index import index as indexes
from tests.conftest import ArrayPhoto, smooth_noise

LAYERS = ("conv3", "conv5")


def pictures_of(photo, scales, mirror):
    """Every picture of a photo in the order of the index, made without it."""
    height, width = photo.pixels.shape[:2]
    for scale in scales:
        picture = images.resize_to(photo.pixels, height=round(height * scale), width=round(width * scale))
        if min(picture.shape[:2]) >= 31:
            yield picture
            if mirror:
                yield picture[:, ::-1]


@pytest.fixture(scope="module")
def expected_pictures(small_photos):
    return [
        (number, picture)
        for number, photo in enumerate(small_photos)
        for picture in pictures_of(photo, (1.0, 0.6), mirror=True)
    ]


@pytest.mark.parametrize("layer", LAYERS)
def test_rows_are_the_unit_descriptors_of_every_picture(small_index, expected_pictures, alexnet, layer):
    grids = [alexnet.extract(np.ascontiguousarray(picture), (layer,))[layer] for _, picture in expected_pictures]
    expected = F.normalize(torch.cat([grid.flat() for grid in grids]), dim=1)
    assert small_index.n_patches(layer) == len(expected)
    got = small_index.descriptors(layer, np.arange(len(expected)))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_pictures_are_the_photos_rescaled_and_mirrored(small_index, expected_pictures):
    assert len(small_index.photo_of) == len(expected_pictures)
    for number, (photo, picture) in enumerate(expected_pictures):
        assert small_index.photo_of[number] == photo
        np.testing.assert_array_equal(small_index.picture(number), picture)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", ["patch", "field"])
def test_crops_are_cut_from_the_pictures_at_the_cells_boxes(small_index, expected_pictures, layer, kind):
    ids = np.random.default_rng(0).permutation(small_index.n_patches(layer))
    cells = small_index.locate(layer, ids)
    if kind == "patch":
        crops, box_of = small_index.cut_patches(layer, ids), small_index.field(layer).patch_box
        valid = None
    else:
        (crops, valid), box_of = (
            small_index.cut_receptive_fields(layer, ids),
            small_index.field(layer).receptive_field_box,
        )
    for number in range(len(ids)):
        picture = expected_pictures[cells.pictures[number]][1]
        box = box_of(int(cells.rows[number]), int(cells.columns[number]))
        inside = box.clip((picture.shape[1], picture.shape[0]))
        expected = np.zeros((box.height, box.width, 3), np.uint8)
        rows = slice(inside.top - box.top, inside.bottom - box.top)
        columns = slice(inside.left - box.left, inside.right - box.left)
        expected[rows, columns] = picture[inside.top : inside.bottom, inside.left : inside.right]
        np.testing.assert_array_equal(crops[number], expected)
        if valid is not None:
            assert valid[number].sum() == valid[number][rows, columns].sum() == inside.width * inside.height


def test_locate_counts_cells_row_by_row(small_index, expected_pictures, alexnet):
    cells = small_index.locate("conv3", np.arange(small_index.n_patches("conv3")))
    expected = [
        (number, row, column)
        for number, (_, picture) in enumerate(expected_pictures)
        for row, column in np.ndindex(
            *alexnet.extract(np.ascontiguousarray(picture), ("conv3",))["conv3"].descriptors.shape[:2]
        )
    ]
    np.testing.assert_array_equal(np.stack([cells.pictures, cells.rows, cells.columns], axis=1), expected)
    np.testing.assert_array_equal(small_index.ids("conv3", cells), np.arange(small_index.n_patches("conv3")))
    assert sum(len(small_index.grid("conv3", n)) for n in range(len(expected_pictures))) == len(expected)


@pytest.mark.parametrize("exclude", [(), (0,), (2, 5)], ids=str)
def test_search_equals_brute_force_without_the_excluded_photos(small_index, exclude):
    layer, k = "conv3", 20
    everything = small_index.descriptors(layer, np.arange(small_index.n_patches(layer))).double()
    queries = everything[::37]
    similarity = F.normalize(queries, dim=1) @ everything.T
    photo_of_patch = small_index.photo_of[small_index.locate(layer, np.arange(len(everything))).pictures]
    similarity[:, np.isin(photo_of_patch, exclude)] = -2
    found = small_index.search(layer, queries.float(), k, exclude=exclude)
    np.testing.assert_allclose(found.similarities, similarity.topk(k).values, atol=1e-5)
    assert not np.isin(photo_of_patch[np.asarray(found.ids)], exclude).any()


def test_photos_like_finds_exactly_the_same_pixels(small_index, small_photos):
    assert small_index.photos_like(small_photos[3].pixels) == [3]
    changed = small_photos[3].pixels.copy()
    changed[0, 0, 0] ^= 1
    assert small_index.photos_like(changed) == []


def test_opening_again_gives_the_same_index(small_index):
    again = PatchIndex(small_index.folder)
    assert again.digest == small_index.digest
    assert again.photos == tuple(f"photo{n}.png" for n in range(6))
    again.verify()


class Stop(Exception):
    pass


def files_of(index):
    return {
        file.name: file.read_bytes() for file in index.folder.iterdir() if file.name not in ("lock", "manifest.json")
    }


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_cancelled_build_goes_on_and_ends_the_same(small_index, small_photos, alexnet, tmp_path, stop_after):
    arguments = {"backbone": alexnet, "layers": LAYERS, "scales": (1.0, 0.6), "mirror": True}
    seen = []

    def stop(done, text):
        seen.append(done)
        if len(seen) == stop_after:
            raise Stop

    with pytest.raises(Stop):
        indexes.build(small_photos, tmp_path / "it", progress=stop, **arguments)
    with pytest.raises(IndexNotFoundError, match="corrcore index build PHOTOS --name it"):
        PatchIndex(tmp_path / "it")
    loaded = []

    class Watched(ArrayPhoto):
        def load(self):
            loaded.append(self.name)
            return super().load()

    watched = [Watched(photo.name, photo.pixels) for photo in small_photos]
    index = indexes.build(watched, tmp_path / "it", **arguments)
    assert sorted(loaded) == [photo.name for photo in small_photos[stop_after:]]
    assert index.digest == small_index.digest
    assert files_of(index) == files_of(small_index)


def test_a_journal_torn_in_a_line_loses_only_that_photo(small_index, small_photos, alexnet, tmp_path):
    arguments = {"backbone": alexnet, "layers": LAYERS, "scales": (1.0, 0.6), "mirror": True}

    def stop(done, text):
        if done > 0.6:
            raise Stop

    with pytest.raises(Stop):
        indexes.build(small_photos, tmp_path / "it", progress=stop, **arguments)
    journal = tmp_path / "it.partial" / "photos.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    with (tmp_path / "it.partial" / "conv3.i8").open("ab") as file:
        file.write(b"left by a writer that was killed")
    index = indexes.build(small_photos, tmp_path / "it", **arguments)
    assert files_of(index) == files_of(small_index)


def test_other_settings_do_not_go_on_from_an_old_build(small_photos, alexnet, tmp_path):
    def stop(done, text):
        raise Stop

    with pytest.raises(Stop):
        indexes.build(small_photos, tmp_path / "it", backbone=alexnet, layers=("conv3",), progress=stop)
    index = indexes.build(small_photos[1:], tmp_path / "it", backbone=alexnet, layers=("conv3",))
    assert index.photos == tuple(photo.name for photo in small_photos[1:])
    index.verify()


BUILDER = """
import sys
from corrcore import networks
from corrcore.patch_index import index as patch_index
from tests.conftest import ArrayPhoto, smooth_noise
patch_index.CHECKPOINT_EVERY = 2
photos = [ArrayPhoto(f"{n}", smooth_noise(160, 120, seed=n)) for n in range(40)]
def report(done, text):
    print(text, flush=True)
print("loading", flush=True)
patch_index.build(photos, sys.argv[1], backbone=networks.load("alexnet", device="cpu"), layers=("conv3",), progress=report)
"""


def test_a_build_killed_at_any_moment_is_never_half_an_index_and_goes_on(alexnet, tmp_path):
    folder = tmp_path / "it"
    rng = np.random.default_rng(0)
    kills = 0
    while not folder.exists():
        builder = subprocess.Popen([sys.executable, "-c", BUILDER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert builder.stdout is not None
        for _ in range(2 + int(rng.integers(1, 14))):
            if not builder.stdout.readline():
                break
        time.sleep(rng.uniform(0, 0.02))
        if builder.poll() is None and kills < 4:
            os.kill(builder.pid, signal.SIGKILL)
            kills += 1
        builder.stdout.read()
        builder.stdout.close()
        builder.wait(timeout=60)
        if not folder.exists():
            with pytest.raises(IndexNotFoundError):
                PatchIndex(folder)
    assert kills >= 2
    photos = [ArrayPhoto(f"{n}", smooth_noise(160, 120, seed=n)) for n in range(40)]
    index = PatchIndex(folder)
    index.verify()
    assert index.digest == indexes.build(photos, tmp_path / "other", backbone=alexnet, layers=("conv3",)).digest


def test_a_build_does_not_go_on_with_other_photos_of_the_same_names(small_photos, alexnet, tmp_path):
    @dataclass(frozen=True)
    class Stamped(ArrayPhoto):
        stamp: int = 0

    def stop(done, text):
        if done > 0.5:
            raise Stop

    first = [Stamped(photo.name, photo.pixels, 1) for photo in small_photos]
    second = [Stamped(photo.name, photo.pixels[:, ::-1].copy(), 2) for photo in small_photos]
    with pytest.raises(Stop):
        indexes.build(first, tmp_path / "it", backbone=alexnet, layers=("conv3",), progress=stop)
    index = indexes.build(second, tmp_path / "it", backbone=alexnet, layers=("conv3",))
    for number, photo in enumerate(second):
        np.testing.assert_array_equal(index.picture(number), photo.pixels)


def test_a_builder_that_comes_late_leaves_the_finished_index_alone(small_photos, alexnet, tmp_path, monkeypatch):
    """The second looks before the first has finished, and gets the lock after."""
    finished = []

    def slow_lock(*arguments):
        monkeypatch.undo()
        finished.append(indexes.build(small_photos[:2], tmp_path / "it", backbone=alexnet, layers=("conv3",)))
        return locked(*arguments)

    locked = indexes._locked
    monkeypatch.setattr(indexes, "_locked", slow_lock)
    with pytest.raises(FileExistsError, match="was built by another process"):
        indexes.build(small_photos[2:], tmp_path / "it", backbone=alexnet, layers=("conv3",))
    PatchIndex(tmp_path / "it").verify()
    assert PatchIndex(tmp_path / "it").digest == finished[0].digest


def test_large_photos_are_shrunk_to_the_longer_side(alexnet, tmp_path):
    photo = ArrayPhoto("large.png", smooth_noise(800, 400, 0))
    index = indexes.build([photo], tmp_path / "it", backbone=alexnet, layers=("conv3",), longer_side=200)
    assert (index.widths[0], index.heights[0]) == (200, 100)
    np.testing.assert_array_equal(index.photo(0), images.resize(photo.pixels, longer_side=200))
    assert index.photos_like(photo.pixels) == [0]


def test_deleting_takes_finished_and_unfinished_alike(small_photos, alexnet, tmp_path):
    def stop(done, text):
        raise Stop

    with pytest.raises(Stop):
        indexes.build(small_photos, tmp_path / "it", backbone=alexnet, layers=("conv3",), progress=stop)
    assert indexes.list_unfinished(tmp_path) == ["it"]
    indexes.delete(tmp_path / "it")
    indexes.build(small_photos[:1], tmp_path / "it", backbone=alexnet, layers=("conv3",))
    indexes.delete(tmp_path / "it")
    assert not list(tmp_path.iterdir())
    with pytest.raises(IndexNotFoundError, match="finished or begun"):
        indexes.delete(tmp_path / "it")


def test_two_builders_of_one_name_do_not_meet(small_photos, alexnet, tmp_path):
    def build_again(done, text):
        indexes.build(small_photos, tmp_path / "it", backbone=alexnet, layers=("conv3",))

    with pytest.raises(FileExistsError, match=r"another process is building .*it now; wait for it"):
        indexes.build(small_photos, tmp_path / "it", backbone=alexnet, layers=("conv3",), progress=build_again)


def test_photos_that_cannot_be_used_are_left_out_and_named(small_photos, alexnet, tmp_path):
    class Broken(ArrayPhoto):
        def load(self):
            msg = "'broken.png' is cut off."
            raise decoding.ImageError(msg)

    photos = [
        Broken("broken.png", np.zeros((1, 1, 3), np.uint8)),
        small_photos[0],
        ArrayPhoto("tiny.png", smooth_noise(20, 300, 0)),
    ]
    index = indexes.build(photos, tmp_path / "it", backbone=alexnet, layers=("conv3",))
    assert index.photos == ("photo0.png",)
    assert index.skipped == {
        "broken.png": "'broken.png' is cut off.",
        "tiny.png": "tiny.png is smaller than 31 x 31 px at every scale.",
    }


def test_an_index_of_nothing_is_refused_and_leaves_nothing(alexnet, tmp_path):
    with pytest.raises(
        ValueError, match=r"none of 1 photos could be used; the first: dot.png is smaller than 31 x 31 px"
    ):
        indexes.build([ArrayPhoto("dot.png", np.zeros((1, 1, 3), np.uint8))], tmp_path / "it", backbone=alexnet)
    assert not list(tmp_path.iterdir())


def test_an_existing_index_is_never_overwritten(small_index, small_photos, alexnet):
    with pytest.raises(FileExistsError, match="small already exists; choose another name or delete it first"):
        indexes.build(small_photos, small_index.folder, backbone=alexnet)


def test_names_must_be_unique(small_photos, alexnet, tmp_path):
    with pytest.raises(ValueError, match="'photo0.png' stands twice"):
        indexes.build([small_photos[0], small_photos[1], small_photos[0]], tmp_path / "it", backbone=alexnet)


def test_an_unknown_layer_is_named_with_the_known_ones(small_index):
    with pytest.raises(ValueError, match="layer of index small must be one of conv3, conv5; got 'conv4'"):
        small_index.n_patches("conv4")


@pytest.mark.parametrize("damage", ["flip", "lose a photo", "append", "truncate", "delete"])
def test_damaged_files_are_found(small_photos, alexnet, tmp_path, damage):
    index = indexes.build(small_photos[:2], tmp_path / "it", backbone=alexnet, layers=("conv3",))
    path = tmp_path / "it" / "conv3.f16"
    if damage == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
        with pytest.raises(IndexDamagedError, match="is damaged at photo 'photo[01].png'"):
            index.verify()
        return
    if damage in ("lose a photo", "append"):
        if damage == "append":
            with path.open("ab") as file:
                file.write(b"x")
        else:
            journal = tmp_path / "it" / "photos.jsonl"
            journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
        with pytest.raises(IndexDamagedError, match="does not hold what its manifest says"):
            PatchIndex(tmp_path / "it").verify()
        return
    if damage == "truncate":
        os.truncate(path, 100)
    else:
        path.unlink()
    with pytest.raises(IndexDamagedError, match=r"conv3.f16 must have \d+ bytes; it has (100|0)"):
        PatchIndex(tmp_path / "it").search("conv3", torch.ones(1, 384), 1)


def test_another_format_is_refused(small_photos, alexnet, tmp_path):
    index = indexes.build(small_photos[:1], tmp_path / "it", backbone=alexnet, layers=("conv3",))
    path = tmp_path / "it" / "manifest.json"
    path.write_text(json.dumps(index.manifest | {"format": 99}))
    with pytest.raises(IndexDamagedError, match="has format 99, this version reads"):
        PatchIndex(tmp_path / "it")


def test_names_that_are_no_folder_names_are_refused():
    for name in ("", "../x", "a/b", ".hidden", "x" * 65, "a b", "x.partial"):
        with pytest.raises(ValueError, match="an index's name must be 1 to 64 letters"):
            indexes.checked_name(name)
    assert indexes.checked_name("voc-2011_b") == "voc-2011_b"


def test_listing_shows_finished_indexes_only(small_index):
    (small_index.folder.parent / "half.partial").mkdir(exist_ok=True)
    assert indexes.list_indexes(small_index.folder.parent) == ["small"]


def test_samples_make_an_index_without_a_download(alexnet, tmp_path):
    index = indexes.samples(alexnet, root=tmp_path)
    assert len(index.photos) >= 5
    assert min(index.n_patches(layer) for layer in ("conv3", "conv4", "conv5")) > 5000
    assert indexes.samples(alexnet, root=tmp_path).digest == index.digest


def test_an_index_is_not_deleted_while_it_is_built(small_photos, alexnet, tmp_path):
    def delete(share: float, text: str) -> None:
        indexes.delete(tmp_path / "it")

    with pytest.raises(FileExistsError, match="is being built now; cancel the build first"):
        indexes.build(small_photos[:2], tmp_path / "it", backbone=alexnet, layers=("conv3",), progress=delete)
    indexes.delete(tmp_path / "it")
    assert not list(tmp_path.iterdir())
