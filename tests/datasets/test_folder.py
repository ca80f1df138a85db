import hashlib
import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from corrcore.datasets import folder
from corrcore.datasets.folder import FolderPhoto, printable_name
from corrcore.datasets.records import DatasetNotFoundError
from corrcore.decoding import ImageError


@pytest.fixture(scope="module")
def listeners():
    """Where opened paths are told to; a hook cannot be taken away again."""
    found = []

    def hook(event, args):
        if event == "open" and found and isinstance(args[0], str | bytes):
            found[-1].append(os.fsdecode(args[0]))

    sys.addaudithook(hook)
    return found


@pytest.fixture
def opened(listeners):
    """The paths that this process opens."""
    listeners.append([])
    yield listeners[-1]
    listeners.clear()


def save(path, colour=(10, 200, 30), size=(12, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, format="PNG")


def names(listing):
    return [photo.name for photo in listing.photos]


def test_photos_are_found_at_any_depth_by_name(tmp_path):
    save(tmp_path / "b.png")
    save(tmp_path / "deep" / "er" / "a.JPG")
    (tmp_path / "notes.txt").write_text("no photo")
    found = folder.photos(tmp_path)
    assert names(found) == ["b.png", "deep/er/a.JPG"]
    assert len(found) == 2
    assert (found.left_out, found.summary()) == ({}, "")
    np.testing.assert_array_equal(found.photos[0].load(), np.full((9, 12, 3), (10, 200, 30)))


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPEG", ".pbm", ".pnm", ".apng", ".tif"])
def test_a_photo_is_told_by_any_usual_suffix(tmp_path, suffix):
    save(tmp_path / f"a{suffix}")
    assert names(folder.photos(tmp_path)) == [f"a{suffix}"]


def test_of_a_voc_folder_only_its_photos_are_taken(tmp_path):
    save(tmp_path / "VOC2011" / "JPEGImages" / "1.jpg")
    save(tmp_path / "VOC2011" / "SegmentationClass" / "1.png")
    assert names(folder.photos(tmp_path / "VOC2011")) == ["1.jpg"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", "thumbnail of a file manager or a NAS box"),
        ("holiday/.thumbnails/a.png", "thumbnail of a file manager or a NAS box"),
        (".@__thumb/a.jpg", "thumbnail of a file manager or a NAS box"),
        ("#recycle/a.jpg", "in a recycle bin"),
        ("$RECYCLE.BIN/S-1-5/a.jpg", "in a recycle bin"),
        (".Trash-1000/files/a.jpg", "in a recycle bin"),
        ("__MACOSX/a.jpg", "companion file of a Mac"),
        ("holiday/._a.jpg", "companion file of a Mac"),
        (".hidden/a.jpg", "hidden"),
        ("a.HEIC", "in a format that is not read here (.heic)"),
    ],
)
def test_what_is_no_photo_of_its_owner_is_left_out_with_the_reason(tmp_path, path, reason):
    save(tmp_path / path)
    save(tmp_path / "ok.png")
    found = folder.photos(tmp_path)
    assert names(found) == ["ok.png"]
    assert found.left_out == {path: reason}


@pytest.mark.parametrize("name", ["Thumbs.db", ".DS_Store", "ehthumbs.db", "desktop.ini"])
def test_files_that_are_no_pictures_are_not_worth_a_word(tmp_path, name):
    save(tmp_path / "ok.png")
    (tmp_path / name).write_bytes(b"x")
    assert folder.photos(tmp_path).left_out == {}


def test_links_are_followed_inside_the_folder_only(tmp_path):
    save(tmp_path / "secret" / "x.png")
    photos = tmp_path / "photos"
    save(photos / "ok.png")
    for name, target in {
        "link.png": tmp_path / "secret" / "x.png",
        "gone.png": photos / "nothing.png",
        "loop.png": photos / "loop.png",
        "inner.png": photos / "ok.png",
        "album": tmp_path / "secret",
    }.items():
        (photos / name).symlink_to(target)
    found = folder.photos(photos)
    assert names(found) == ["inner.png", "ok.png"]
    assert found.left_out == {
        "album": "link to a folder, which is not followed",
        "gone.png": "link to nothing",
        "link.png": "link that leads out of the folder",
        "loop.png": "link to nothing",
    }


def test_a_pipe_is_no_photo_and_nobody_waits_for_it(tmp_path):
    save(tmp_path / "ok.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert folder.photos(tmp_path).left_out == {"pipe.png": "no regular file"}
    pipe = FolderPhoto("pipe.png", tmp_path / "pipe.png")
    assert pipe.stamp
    with pytest.raises(ImageError, match="is not a regular file"):
        pipe.read()


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    save(tmp_path / "ok.png")
    for name in ("a.heic", "@eaDir/1.jpg", "@eaDir/2.jpg"):
        save(tmp_path / name)
    found = folder.photos(tmp_path)
    assert found.counts == {
        "thumbnail of a file manager or a NAS box": 2,
        "in a format that is not read here (.heic)": 1,
    }
    assert found.summary() == (
        "3 left out: thumbnail of a file manager or a NAS box (2); in a format that is not read here (.heic) (1)"
    )


def test_names_that_are_not_utf_8_make_no_folder_unusable(tmp_path):
    save(tmp_path / "ok.png")
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    save(tmp_path / os.fsdecode(b"caf\xe9.png"), colour=(1, 2, 3))
    assert os.path.exists(raw)
    found = folder.photos(tmp_path)
    assert names(found) == ["caf\\xe9.png", "ok.png"]
    assert found.photos[0].load()[0, 0].tolist() == [1, 2, 3]
    stamp, _ = found.photos[0].read()
    assert stamp == found.photos[0].stamp
    rest, out = folder.hold_out(found.photos, 1)
    assert len(rest) == len(out) == 1


def test_names_that_look_alike_stay_apart(tmp_path):
    save(tmp_path / "caf\\xe9.png")
    save(tmp_path / os.fsdecode(b"caf\xe9.png"))
    found = names(folder.photos(tmp_path))
    assert len(set(found)) == 2
    assert all(name.startswith("caf\\xe9.png") for name in found)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Grüße 1.jpg", "Grüße 1.jpg"),
        ("9.41\u202fAM.png", "9.41\u202fAM.png"),  # as macOS names screenshots
        ("👩\u200d🌾.png", "👩\u200d🌾.png"),
        ("two\nlines.png", "two\\nlines.png"),
        ("\x1b[31mred.png", "\\x1b[31mred.png"),
        ("gpj\u202e.png", "gpj\\u202e.png"),  # turns the direction of writing
        (os.fsdecode(b"\xff\xfe.png"), "\\xff\\xfe.png"),
    ],
)
def test_a_printable_name_shows_what_cannot_be_shown_as_its_code(name, shown):
    assert printable_name(name) == shown
    assert printable_name(name).encode()


def test_a_missing_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=rf"{tmp_path}/nowhere is no folder; give one that .*\.jpg"):
        folder.photos("nowhere")


def test_a_folder_without_photos_says_what_is_there_instead(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"there is no photo in .*\.webp\.$"):
        folder.photos(tmp_path)
    save(tmp_path / "a.heic")
    with pytest.raises(DatasetNotFoundError, match=r"1 left out: in a format that is not read here \(\.heic\)"):
        folder.photos(tmp_path)


def test_paths_are_absolute_at_once(tmp_path, monkeypatch):
    save(tmp_path / "photos" / "a.png")
    monkeypatch.chdir(tmp_path)
    (photo,) = folder.photos("photos").photos
    monkeypatch.chdir("/")
    assert photo.load().shape == (9, 12, 3)


def test_held_out_photos_are_the_same_each_time(tmp_path):
    for number in range(20):
        save(tmp_path / f"{number}.png")
    photos = folder.photos(tmp_path).photos
    rest, out = folder.hold_out(photos, 5)
    assert len(out) == 5
    assert sorted([*rest, *out], key=lambda photo: photo.name) == list(photos)
    assert folder.hold_out(photos, 5) == (rest, out)


def test_holding_out_all_photos_is_refused(tmp_path):
    save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="photos to hold out must be between 0 and 0"):
        folder.hold_out(folder.photos(tmp_path).photos, 1)


def test_a_photo_is_known_by_its_content(tmp_path):
    for name, colour in (("a", 10), ("b", 10), ("c", 11)):
        Image.new("RGB", (4, 3), (colour, 0, 0)).save(tmp_path / f"{name}.bmp")
    first, second, other = folder.photos(tmp_path).photos
    before = first.stamp
    assert second.stamp == before  # written at another time
    assert other.stamp != before  # of the same size
    first.path.write_bytes(other.path.read_bytes())
    os.utime(first.path, ns=(1, 1))
    assert first.stamp == other.stamp


def test_stamp_and_picture_come_of_one_reading(tmp_path, opened):
    save(tmp_path / "a.png")
    (photo,) = folder.photos(tmp_path).photos
    opened.clear()
    stamp, pixels = photo.read()
    assert opened == [str(photo.path)]
    assert stamp == hashlib.sha256(photo.path.read_bytes()).hexdigest()[:32] == photo.stamp
    np.testing.assert_array_equal(pixels, photo.load())


def test_a_missing_photo_is_named(tmp_path):
    photo = FolderPhoto("gone.png", tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"'gone\.png' cannot be read \(No such file or directory\)"):
        photo.read()
    with pytest.raises(FileNotFoundError):
        _ = photo.stamp


def test_listing_opens_no_file(tmp_path, opened):
    save(tmp_path / "a.png")
    opened.clear()
    folder.photos(tmp_path)
    assert opened == []


def test_a_file_far_over_the_limit_is_not_read_through(tmp_path):
    with (tmp_path / "scan.tif").open("wb") as file:
        file.write(b"II*\0")
        file.truncate(2**42)  # 4 TB of nothing: hashing it would take an hour
    (photo,) = folder.photos(tmp_path).photos
    assert photo.stamp
    with pytest.raises(ImageError, match=r"'scan\.tif' is larger than the 20\.0 MiB accepted"):
        photo.read()


def test_limits_are_for_strangers(tmp_path):
    save(tmp_path / "wide.png", size=(5200, 5000))
    with pytest.raises(ImageError, match="more than the 25.0 megapixels accepted"):
        folder.photos(tmp_path).photos[0].read()
    (own,) = folder.photos(tmp_path, max_pixels=30_000_000).photos
    assert own.read()[1].shape == (5000, 5200, 3)
    (any_size,) = folder.photos(tmp_path, max_pixels=None, max_bytes=None).photos
    assert any_size.read()[1].shape == (5000, 5200, 3)
    assert any_size.stamp == own.stamp
    (small,) = folder.photos(tmp_path, max_bytes=100).photos
    with pytest.raises(ImageError, match="is larger than the 0.0 MiB accepted"):
        small.load()


def test_a_listing_can_be_sent_to_another_process(tmp_path):
    save(tmp_path / "a.png")
    save(tmp_path / "b.heic")
    listing = folder.photos(tmp_path)
    assert pickle.loads(pickle.dumps(listing)) == listing
