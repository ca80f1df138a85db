import errno
import io
import os
import pickle
import sys
from pathlib import Path

import pytest

from corrcore.decoding import ImageError, ImageNotReadError, decode, display_name
from tests.decoding.files import PICTURE, RGB, assert_pixels, save


class Dribble(io.BufferedIOBase):
    """A stream that gives a few bytes at a time, cannot be rewound, and never ends."""

    def __init__(self, data: bytes) -> None:
        self.data, self.n_read = data, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "asked for all of an endless stream"
        part = self.data[self.n_read : self.n_read + min(size, 1000)]
        part = part or b"\0" * min(size, 1000)
        self.n_read += len(part)
        return part


def test_decode_reads_bytes_paths_and_open_files(tmp_path):
    data = save(RGB, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (data, path, str(path), io.BytesIO(data)):
        assert_pixels(decode(source), PICTURE)
    with path.open("rb") as file:
        assert_pixels(decode(file), PICTURE)


def test_decode_reads_an_open_file_from_its_start():
    file = io.BytesIO(save(RGB, "PNG"))
    file.read()
    assert_pixels(decode(file), PICTURE)
    assert_pixels(decode(file), PICTURE)


@pytest.mark.parametrize("kind", ["bytes", "path", "stream"])
def test_decode_refuses_more_bytes_than_allowed(kind, tmp_path):
    data = save(RGB, "PPM")
    path = tmp_path / "a.ppm"
    path.write_bytes(data)
    source = {"bytes": data, "path": path, "stream": io.BytesIO(data)}[kind]
    assert_pixels(decode(source, max_bytes=len(data)), PICTURE)
    with pytest.raises(ImageError, match=r"is larger than the 0\.0 MiB accepted"):
        decode(source, max_bytes=len(data) - 1)


def test_decode_reads_no_more_of_a_stream_than_allowed():
    stream = Dribble(save(RGB, "PPM"))
    with pytest.raises(ImageError, match=r"'image' is larger than the 1\.0 MiB accepted"):
        decode(stream, max_bytes=2**20)
    assert stream.n_read == 2**20 + 1


def test_decode_says_when_there_is_no_such_file(tmp_path):
    with pytest.raises(ImageError, match=r"'gone\.png' cannot be read \(No such file or directory\)"):
        decode(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("code", "passing"), [(errno.EIO, True), (errno.EMFILE, True), (errno.ENOENT, False), (errno.EACCES, False)]
)
def test_decode_tells_what_may_pass_from_what_is_not_there(code, passing):
    class Refusing(io.BytesIO):
        name = "there.png"

        def seek(self, *_):
            raise OSError(code, os.strerror(code))

    with pytest.raises(ImageError, match=r"'there\.png' cannot be read") as caught:
        decode(Refusing(save(RGB, "PNG")))
    assert isinstance(caught.value, OSError) == isinstance(caught.value, ImageNotReadError) == passing


def test_decode_says_when_a_path_is_no_file(tmp_path):
    with pytest.raises(ImageError, match="is not a regular file"):
        decode(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_decode_does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match=r"'pipe\.png' is not a regular file"):
        decode(tmp_path / "pipe.png")


def test_decode_refuses_nul_in_a_path():
    with pytest.raises(ImageError, match=r"'a b\.png' cannot be read \(NUL in its path\)"):
        decode("a\0b.png")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/tmp/x/", "x"),
        ("größe 猫.jpeg", "größe 猫.jpeg"),
        ("a\0b\nc\x1b[31m.png", "a b c [31m.png"),
        ("gnp.\u202eevil", "gnp. evil"),
        ("\ud800.png", ".png"),
        ("\udce9t\udce9.jpg", "\ufffdt\ufffd.jpg"),  # Latin-1 on disk
        ("", "unnamed file"),
        ("\0/", "unnamed file"),
        ("x" * 500 + ".jpeg", "x" * 42 + "…" + "x" * 12 + ".jpeg"),
    ],
)
def test_display_name_keeps_only_what_can_be_shown(name, shown):
    assert display_name(name) == shown


def test_decode_names_an_upload_by_its_own_name():
    upload = io.BytesIO(b"")
    upload.name = "../../x\0.png"
    with pytest.raises(ImageError, match=r"^'x \.png' is empty"):
        decode(upload)
    with pytest.raises(ImageError, match=r"^'other' is empty"):
        decode(upload, name="other")


def test_display_name_keeps_folders_if_asked():
    assert display_name("2008/caf\udce9/x.jpg", folders=True) == "2008/caf\ufffd/x.jpg"
    assert display_name(Path("2008/x.jpg")) == "x.jpg"


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems want UTF-8")
def test_messages_about_names_that_are_not_utf8_can_be_written(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    path.write_bytes(b"nothing")
    with pytest.raises(ImageError, match="'caf\ufffd.jpg' is in none of the formats") as caught:
        decode(path)
    assert str(caught.value).encode()
    path.write_bytes(save(RGB, "PNG"))
    assert_pixels(decode(path), PICTURE)


def test_errors_pickle():
    error = pickle.loads(pickle.dumps(ImageError("'a' is empty.")))
    assert (type(error), str(error)) == (ImageError, "'a' is empty.")
