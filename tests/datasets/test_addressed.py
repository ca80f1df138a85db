"""Photos at addresses: the same ones as in a folder, with the same reasons and limits."""

import io
import pickle
import socket
import zipfile

import fsspec
import numpy as np
import pytest
from PIL import Image

from corrcore.datasets import addressed, folder
from corrcore.datasets.records import DatasetNotFoundError
from corrcore.decoding import ImageError

FILES = ["a.png", "deep/er/b.JPG", "deep/c.png", "@eaDir/a.png", "deep/.hidden/a.png", "d.heic", "notes.txt"]


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (12, 9), (10, 200, number)).save(buffer, format="PNG")
    return buffer.getvalue()


CONTENT = {name: png(number) for number, name in enumerate(FILES)}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The same files in a folder, and at addresses."""
    root = tmp_path_factory.mktemp("photos")
    memory = fsspec.filesystem("memory")
    for name, data in CONTENT.items():
        path = root / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        memory.pipe(f"/bucket/photos/{name}", data)
    with zipfile.ZipFile(root / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    memory.pipe("/bucket/photos.zip", (root / "photos.zip").read_bytes())
    yield root
    memory.rm("/bucket", recursive=True)


def address(text, places):
    return text.format(root=places)


@pytest.mark.parametrize(
    "text",
    [
        "memory://bucket/photos",
        "memory://bucket/photos/",
        "zip://{root}/photos.zip",
        "zip://::{root}/photos.zip",
        "zip://::memory://bucket/photos.zip",
        "file://{root}/folder",
        "local://{root}/folder",
    ],
)
def test_an_address_holds_what_a_folder_does(places, text):
    expected = folder.photos(places / "folder")
    found = addressed.photos_in(addressed.prepared_source(address(text, places)))
    assert [photo.name for photo in found.photos] == [photo.name for photo in expected.photos]
    assert found.left_out == expected.left_out
    assert len({photo.stamp for photo in found.photos}) == 3
    for photo, own in zip(found.photos, expected.photos, strict=True):
        again = pickle.loads(pickle.dumps(photo))  # as a worker gets it
        assert (again, again.stamp) == (photo, photo.stamp)
        np.testing.assert_array_equal(again.load(), own.load())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("zip://*.png::{root}/photos.zip", ["a.png"]),
        ("zip://deep/*.png::memory://bucket/photos.zip", ["c.png"]),
        ("zip://deep::{root}/photos.zip", ["c.png", "er/b.JPG"]),
        ("memory://bucket/photos/**/*.JPG", ["deep/er/b.JPG"]),
        ("memory://bucket/photos/deep/c.png", ["c.png"]),
    ],
)
def test_a_pattern_or_a_part_is_taken(places, text, names):
    assert [photo.name for photo in addressed.photos(address(text, places)).photos] == names


def test_of_a_data_set_in_vocs_layout_only_its_photos_are_taken():
    memory = fsspec.filesystem("memory")
    for name in ("JPEGImages/1.jpg", "SegmentationClass/1.png"):
        memory.pipe(f"/voc/{name}", CONTENT["a.png"])
    assert [photo.name for photo in addressed.photos("memory://voc").photos] == ["1.jpg"]
    memory.rm("/voc", recursive=True)


def test_a_stamp_changes_with_the_content(tmp_path):
    stamps = []
    for data in (b"1234", b"1234", b"1235"):
        with zipfile.ZipFile(tmp_path / f"{len(stamps)}.zip", "w") as archive:
            archive.writestr("a.png", data)
        stamps.append(addressed.photos(f"zip://{tmp_path}/{len(stamps)}.zip").photos[0].stamp)
    assert stamps[0] == stamps[1] != stamps[2]


def test_limits_hold_before_and_while_a_file_is_read(tmp_path):
    """A bomb says its size, or lies."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(10**6))
    found = addressed.photos(f"zip://{tmp_path}/bomb.zip", max_bytes=10**5).photos[0]
    with pytest.raises(ImageError, match=r"'bomb.png' is larger than the 0.1 MiB accepted"):
        found.load()
    read = []

    class Lying(fsspec.AbstractFileSystem):
        def cat_file(self, path, start=None, end=None):
            read.append(end)
            return bytes(end)

    large = addressed.AddressedPhoto("bomb.png", Lying(), "bomb.png", "", size=10**6, max_bytes=10**5)
    with pytest.raises(ImageError, match="is larger than"):
        large.load()
    assert read == []
    lying = addressed.AddressedPhoto("bomb.png", Lying(), "bomb.png", "", size=4, max_bytes=10**5)
    with pytest.raises(ImageError, match="is larger than"):
        lying.load()
    assert read == [10**5 + 1]
    large = addressed.AddressedPhoto("a.png", fsspec.filesystem("memory"), "/a.png", "", max_pixels=100)
    large.filesystem.pipe("/a.png", CONTENT["a.png"])
    with pytest.raises(ImageError, match="more than the 0.0 megapixels accepted"):
        large.load()
    large.filesystem.rm("/a.png")
    with pytest.raises(ImageError, match=r"'a.png' cannot be read \(.*\); check that it is there and try again"):
        large.load()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nope://bucket/photos", "^photos are not read from nope://; give a folder, or an address such as s3://bucket"),
        ("zip://{root}/gone.zip", r"there is nothing at zip://.*gone.zip; check the address"),
        ("zip://{root}/folder/a.png", r"cannot be listed \(File is not a zip file\); check the address"),
        ("memory://bucket/gone", "there is nothing at memory://bucket/gone"),
        ("memory://bucket/photos/*.gif", "there is no photo in memory://bucket/photos/"),
    ],
)
def test_an_address_that_cannot_be_listed_is_a_sentence(places, text, sentence):
    with pytest.raises(DatasetNotFoundError, match=sentence) as told:
        addressed.photos(address(text, places))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "protocol"),
    [
        ("ftp://127.0.0.1:{port}/photos", "ftp"),
        ("zip://*.png::ftp://127.0.0.1:{port}/photos.zip", "ftp"),
        ("zip::http://127.0.0.1:{port}/photos.zip", "http"),
        ("simplecache::ftp://127.0.0.1:{port}/photos", "simplecache"),
        ("zip://::FTP://127.0.0.1:{port}/photos.zip", "FTP"),
        ("zip://::github", "github"),
        ("zip://::data:application/zip,abc", "data"),
    ],
)
def test_an_address_reaches_nothing_but_buckets_archives_and_files(text, protocol):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        with pytest.raises(DatasetNotFoundError, match=f"^photos are not read from {protocol}://; give a folder, or"):
            addressed.photos(text.format(port=server.getsockname()[1]))
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "text", ["s3://me:pass/w@bucket/x", "zip://*.png::gs://:pass/w@bucket/x.zip", "ftp://a:pass@b"]
)
def test_an_address_with_a_password_is_refused_without_repeating_it(text):
    with pytest.raises(DatasetNotFoundError, match="^an address must hold no password or key") as told:
        addressed.photos(text)
    assert "pass/" not in str(told.value)


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, scheme, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(DatasetNotFoundError, match=rf"{package}.*; .* `pip install 'corrcore\[{scheme}\]'`"):
        addressed.photos(f"{scheme}://bucket/photos")
