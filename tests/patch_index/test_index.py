"""An opened index against what is computed without it."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from corrcore import images, networks
from corrcore.geometry import PixelBox
from corrcore.patch_index import IndexDamagedError, IndexNotFoundError, PatchIndex, build
from tests.conftest import ArrayPhoto, smooth_noise
from tests.patch_index.exact import Means, noise_photos

LAYERS = ("conv3", "conv5")
FORMAT_2 = Path(__file__).with_name("format_2.zip")  # built by the first edition, of photos drawn by `pattern`


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


@pytest.fixture
def index(tmp_path):
    return build(noise_photos(3), tmp_path / "it", extractor=Means(), mirror=True)


@pytest.mark.parametrize("layer", LAYERS)
def test_rows_are_the_unit_descriptors_of_every_picture(small_index, expected_pictures, alexnet, layer):
    grids = [alexnet.extract(np.ascontiguousarray(picture), (layer,))[layer] for _, picture in expected_pictures]
    expected = F.normalize(torch.cat([grid.flat() for grid in grids]), dim=1)
    assert small_index.n_patches(layer) == len(expected)
    got = small_index.descriptors(layer, np.arange(len(expected)))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_pictures_are_the_photos_rescaled_and_mirrored(small_index, expected_pictures):
    assert small_index.n_pictures == len(expected_pictures)
    for number, (photo, picture) in enumerate(expected_pictures):
        assert small_index.photo_of[number] == photo
        np.testing.assert_array_equal(small_index.picture(number), picture)
    assert [small_index.picture_title(number) for number in (0, 1)] == ["photo0.png", "photo0.png, mirrored"]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", ["patch", "field"])
def test_crops_are_cut_from_the_pictures_at_the_cells_boxes(small_index, expected_pictures, layer, kind):
    ids = np.random.default_rng(0).permutation(small_index.n_patches(layer))
    cells, field = small_index.locate(layer, ids), small_index.receptive_field(layer)
    if kind == "patch":
        crops, box_of, valid = small_index.cut_patches(layer, ids), field.patch_box, None
    else:
        (crops, valid), box_of = small_index.cut_receptive_fields(layer, ids), field.receptive_field_box
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
        (number, photo, row, column)
        for number, (photo, picture) in enumerate(expected_pictures)
        for row, column in np.ndindex(
            *alexnet.extract(np.ascontiguousarray(picture), ("conv3",))["conv3"].descriptors.shape[:2]
        )
    ]
    got = np.stack([cells.pictures, cells.photos, cells.rows, cells.columns], axis=1)
    np.testing.assert_array_equal(got, expected)
    assert [small_index.id_at("conv3", *cell[[0, 2, 3]].tolist()) for cell in got] == list(range(len(got)))
    assert sum(len(small_index.grid("conv3", n)) for n in range(len(expected_pictures))) == len(expected)


def test_locate_keeps_the_shape_of_the_ids_and_tells_scale_and_mirror(small_index):
    ids = np.arange(small_index.n_patches("conv3"))[:60].reshape(12, 5)
    cells = small_index.locate("conv3", ids)
    for name, table in (("photos", "photo_of"), ("scales", "scales"), ("mirrored", "mirrored")):
        assert getattr(cells, name).shape == (12, 5)
        np.testing.assert_array_equal(getattr(cells, name), getattr(small_index, table)[cells.pictures])


def test_centres_are_in_the_photos_own_pixels_however_they_were_described(small_index, small_photos):
    """A patch cut at scale 1, mirrored or not, is what the photo shows around its centre."""
    ids = np.arange(small_index.n_patches("conv3"))[::7]
    cells, centres = small_index.locate("conv3", ids), small_index.centres("conv3", ids)
    patches, side, compared = small_index.cut_patches("conv3", ids), 16, {False: 0, True: 0}
    for number, (x, y) in enumerate(centres):
        pixels, mirrored = small_photos[cells.photos[number]].pixels, bool(cells.mirrored[number])
        assert -0.5 <= x <= pixels.shape[1]
        assert -0.5 <= y <= pixels.shape[0]
        left, top = (
            int(x) - side // 2 + mirrored,
            int(y) - side // 2,
        )  # an even side reaches further left in the picture
        patch = pixels[top : top + side, left : left + side]
        if cells.scales[number] == 1 and min(left, top) >= 0 and patch.shape[:2] == (side, side):
            np.testing.assert_array_equal(patches[number], patch[:, ::-1] if mirrored else patch)
            compared[mirrored] += 1
    assert min(compared.values()) > 10


@pytest.mark.parametrize("exclude", [(), (0,), (2, 5)], ids=str)
def test_search_equals_brute_force_without_the_excluded_photos(small_index, exclude):
    layer, k = "conv3", 20
    everything = small_index.descriptors(layer, np.arange(small_index.n_patches(layer))).double()
    queries = everything[::37]
    similarity = F.normalize(queries, dim=1) @ everything.T
    photo_of_patch = small_index.locate(layer, np.arange(len(everything))).photos
    similarity[:, np.isin(photo_of_patch, exclude)] = -2
    found = small_index.search(layer, queries.float(), k, exclude=exclude)
    np.testing.assert_allclose(found.similarities, similarity.topk(k).values, atol=1e-5)
    assert not np.isin(photo_of_patch[np.asarray(found.ids)], exclude).any()


def test_an_unknown_layer_is_named_with_the_known_ones(small_index):
    for ask in (small_index.n_patches, small_index.receptive_field, lambda layer: small_index.grid(layer, 0)):
        with pytest.raises(ValueError, match="layer of index small must be one of conv3, conv5; got 'conv4'"):
            ask("conv4")


# --- Where it lies ---------------------------------------------------------------------------------------------------


def pattern(seed, width, height):
    y, x = np.mgrid[:height, :width]
    channels = [(x * (seed + 2) + y) % 256, (y * (3 * seed + 1)) % 256, (x * y // (seed + 1)) % 256]
    return np.stack(channels, axis=-1).astype(np.uint8)


def test_an_index_of_the_first_edition_opens_and_is_searched_as_it_was(tmp_path):
    """Expected are the first edition's own answers."""
    with zipfile.ZipFile(FORMAT_2) as archive:
        archive.extractall(tmp_path / "old")
    index = PatchIndex(tmp_path / "old", device="cpu")
    index.verify()
    assert index.digest == "318defbc0971201dde22ab2064c3357f"
    assert (index.extractor, index.layers, index.photos) == ("means", ("l1",), ("a.png", "b.png"))
    assert index.skipped == {"dot.png": "dot.png is smaller than 8 x 8 px at every scale."}
    assert index.held_out == ("c.png",)
    found = index.search("l1", torch.tensor([[1.0, 2.0, 3.0], [-5.0, 4.0, 1.0]]), 3)
    np.testing.assert_array_equal(found.ids, [[24, 5, 9], [19, 24, 25]])
    expected = [[-0.1218205, -0.1376108, -0.1376108], [0.4535110, 0.4335638, 0.3232233]]
    np.testing.assert_allclose(found.similarities, expected, atol=1e-6)
    np.testing.assert_array_equal(index.photo(1), pattern(1, 17, 24))
    enlarged = images.resize_to(index.photo(0), height=64, width=96)
    assert index.photos_like(enlarged) == [0]  # by a fingerprint that is not in its journal


def test_the_same_photos_make_the_same_index_as_in_the_first_edition(tmp_path):
    from tests.conftest import ArrayPhoto

    with zipfile.ZipFile(FORMAT_2) as archive:
        archive.extractall(tmp_path / "old")
    old = PatchIndex(tmp_path / "old")
    sizes = {"a.png": (0, 24, 16), "b.png": (1, 17, 24), "dot.png": (0, 5, 5)}
    photos = [ArrayPhoto(name, pattern(*size)) for name, size in sizes.items()]
    index = build(photos, tmp_path / "it", extractor=Means(), layers=("l1",), scales=(1.0, 0.5), mirror=True)
    assert index.digest == old.digest
    for name in ("pixels.u8", "l1.f16", "l1.i8", "l1.f32"):
        assert (index.folder / name).read_bytes() == (old.folder / name).read_bytes()


def test_an_index_opened_by_a_relative_path_is_found_from_elsewhere(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = PatchIndex("it")
    monkeypatch.chdir("/")
    relative.search("l1", torch.ones(1, 3), 1)
    assert relative.photo(0).shape == (90, 120, 3)
    relative.verify()


def test_the_home_folder_may_be_written_short(index, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert PatchIndex("~/it").folder == index.folder


def test_an_index_travels_to_another_process_by_its_path(index):
    index.search("l1", torch.ones(1, 3), 1)  # which opens files and takes locks
    copy = pickle.loads(pickle.dumps(index))
    assert (copy.folder, copy.digest, copy.device) == (index.folder, index.digest, index.device)
    np.testing.assert_array_equal(
        copy.search("l1", torch.ones(1, 3), 5).ids, index.search("l1", torch.ones(1, 3), 5).ids
    )


def test_nothing_is_written_or_locked_by_opening_and_searching(index, tmp_path):
    shutil.rmtree(tmp_path / "it" / "lock", ignore_errors=True)
    before = {path.name: path.stat().st_mtime_ns for path in index.folder.iterdir()}
    again = PatchIndex(index.folder)
    again.search("l1", torch.ones(1, 3), 1)
    again.photos_like(index.photo(0))
    again.verify()
    assert {path.name: path.stat().st_mtime_ns for path in index.folder.iterdir()} == before


# --- What is wrong with it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["l1.f16", "pixels.u8", "photos.jsonl", "manifest.json"])
def test_a_file_that_is_away_is_called_missing_and_nobody_is_told_to_delete(index, file):
    def use():
        again = PatchIndex(index.folder)
        again.search("l1", torch.ones(1, 3), 1)
        again.photo(0)

    (index.folder / file).unlink()
    with pytest.raises(IndexNotFoundError, match=rf"{file} is not there; is its drive connected\?") as caught:
        use()
    assert "delete" not in str(caught.value)


def test_verifying_an_index_with_a_missing_file_says_so(index):
    (index.folder / "l1.i8").unlink()
    with pytest.raises(IndexNotFoundError, match=r"l1.i8 is not there"):
        index.verify()


def test_an_index_on_a_drive_that_is_away_is_called_missing(index, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "drive" / "it")
    for path in (tmp_path / "link", tmp_path / "drive" / "it"):
        with pytest.raises(IndexNotFoundError, match=r"is not there; is its drive connected\?"):
            PatchIndex(path)


def test_a_folder_without_an_index_is_not_called_damaged(tmp_path):
    with pytest.raises(
        IndexNotFoundError,
        match=r"there is no patch index in .*; build one with `corrcore --root .* index build PHOTOS --name it`",
    ):
        PatchIndex(tmp_path / "it")
    with pytest.raises(IndexNotFoundError, match=r"there is no patch index in .*: it has no manifest.json"):
        PatchIndex(tmp_path)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def lose_a_photo(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def append(path):
    with path.open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        ("l1.f16", flip, r"is damaged at photo 'photo\d.png'"),
        ("pixels.u8", flip, r"is damaged at photo 'photo\d.png'"),
        ("photos.jsonl", lose_a_photo, "does not hold what its manifest says"),
        ("l1.f16", append, "does not hold what its manifest says"),
    ],
)
def test_damage_is_found_by_reading_everything(index, file, damage, sentence):
    damage(index.folder / file)
    with pytest.raises(IndexDamagedError, match=rf"{sentence}.* index delete it` and build it again"):
        PatchIndex(index.folder).verify()


def test_a_file_of_another_size_is_called_damaged(index):
    os.truncate(index.folder / "l1.f16", 100)
    with pytest.raises(IndexDamagedError, match=r"l1.f16 must have \d+ bytes; it has 100. It is damaged"):
        PatchIndex(index.folder).search("l1", torch.ones(1, 3), 1)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b"null", b'{"format": 2}', b"\xff\xfe", b"[" * 100_000], ids=range(8)
)
def test_a_manifest_that_is_none_is_named_with_its_path(index, text):
    path = index.folder / "manifest.json"
    path.write_bytes(text)
    with pytest.raises(IndexDamagedError, match=rf"{path} is damaged: "):
        PatchIndex(index.folder)


@pytest.mark.parametrize("line", ["{", '{"photo": "x"}', "[]", '{"photo": 1, "copies": 2}', "OTHER LAYER"])
def test_a_line_of_the_journal_that_is_none_is_named(index, line):
    path = index.folder / "photos.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace('"l1"', '"l9"') if line == "OTHER LAYER" else line
    path.write_text("\n".join(lines))
    with pytest.raises(IndexDamagedError, match=r"photos.jsonl is damaged in line 3"):
        PatchIndex(index.folder)


def test_another_format_is_refused(index):
    path = index.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(IndexDamagedError, match="has format 99, this version reads 2"):
        PatchIndex(index.folder)


def test_patches_see_no_border_where_window_and_square_lie_inside(tmp_path):
    """Of a network whose windows lie 7.5 px left of where its cells stand."""
    torch.manual_seed(0)
    halved = [nn.Conv2d(3 if n == 0 else 2, 2, 3, stride=2, padding=1) for n in range(4)]
    network = networks.from_module(nn.Sequential(*halved, nn.Conv2d(2, 2, 9, padding=4)), layers=["4"], device="cpu")
    index = build([ArrayPhoto("noise", smooth_noise(240, 224, 0))], tmp_path / "askew", extractor=network)
    field, grid = index.receptive_field("4"), index.grid("4", 0)
    assert (field.askew, field.size) == (-7.5, 159)
    seen = index.see_no_border("4", np.arange(len(grid)))
    for number, found in enumerate(seen):
        row, column = divmod(number, grid.columns)
        left, top = grid.corners(159)[number].tolist()
        square = PixelBox(left, top, left + 159, top + 159)
        assert found == (
            field.receptive_field_box(row, column).inside(grid.image_size) and square.inside(grid.image_size)
        )
    np.testing.assert_array_equal(np.flatnonzero(seen), grid.inner())
    assert 0 < seen.sum() < len(grid)


@pytest.fixture(scope="module")
def unbounded_index(tmp_path_factory):
    """Of a network with two layers, of which the second sees the whole image."""
    torch.manual_seed(0)
    local, mixed = nn.Conv2d(3, 2, 3, stride=8, padding=1), nn.Sequential(nn.Conv2d(2, 2, 1), nn.GroupNorm(1, 2))
    network = networks.from_module(nn.Sequential(local, mixed), layers=["0", "1"], device="cpu")
    photos = [ArrayPhoto(f"noise {n}", smooth_noise(120, 140, n)) for n in range(2)]
    return build(photos, tmp_path_factory.mktemp("unbounded") / "it", extractor=network)


def test_another_square_stands_for_fields_without_a_size(unbounded_index):
    other = unbounded_index.with_window(7)
    assert [unbounded_index.receptive_field(layer).window_px for layer in "01"] == [3, 88]
    assert [other.receptive_field(layer).window_px for layer in "01"] == [3, 56]
    assert other.cut_receptive_fields("1", np.array([0]))[0].shape == (1, 56, 56, 3)
    assert other.grid("1", 0).inner().size > unbounded_index.grid("1", 0).inner().size
    assert other.digest == unbounded_index.digest  # what is in it is the same
    assert other._tables is unbounded_index._tables  # and is opened once
    assert unbounded_index.with_window(7) is other.with_window(7) is other
    assert other.with_window(11) is unbounded_index
    assert pickle.loads(pickle.dumps(other)).receptive_field("1").window_px == 56
    other.verify()


def test_fields_with_a_size_keep_it_and_windows_are_checked_all_the_same(small_index, unbounded_index):
    assert small_index.with_window(7) is small_index
    for index in (small_index, unbounded_index):
        with pytest.raises(ValueError, match="a window must be at least 6 strides wide; got 5"):
            index.with_window(5)
