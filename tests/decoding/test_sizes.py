import io
import os
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, features

from corrcore import decoding
from corrcore.decoding import ImageError, decode, read_size
from corrcore.decoding.pixels import OpenedImage
from tests.decoding.files import (
    EDGES,
    HEIGHT,
    PICTURE,
    RGB,
    WIDTH,
    chunk,
    exif,
    filtered,
    png,
    save,
    stored_as,
    tiff_of,
)
from tests.decoding.test_damaged import FUZZ_SEEDS
from tests.decoding.test_refused import huge_png


def turned(kind: str, orientation: int) -> bytes:
    """The picture as a camera stores it that was held so."""
    stored = np.ascontiguousarray(stored_as(PICTURE, orientation))
    if kind == "TIFF":
        return tiff_of(stored, t274=(3, [orientation]))
    return save(Image.fromarray(stored), kind, exif=b"Exif\0\0" + exif(orientation))


@pytest.mark.parametrize("orientation", EDGES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_read_size_is_that_of_the_upright_picture(kind, orientation, tmp_path):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow lacks AVIF")
    data = turned(kind, orientation)
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    for source in (data, path, io.BytesIO(data)):
        assert read_size(source) == (WIDTH, HEIGHT) == decode(source).shape[1::-1]
        stored = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
        assert read_size(source, upright=False) == stored


@pytest.mark.parametrize("seed", FUZZ_SEEDS.values(), ids=FUZZ_SEEDS)
def test_read_size_is_that_of_decode_for_every_format(seed):
    assert read_size(seed) == decode(seed).shape[1::-1]


def test_read_size_finds_orientation_behind_the_pixels_of_png(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    data = png(300, 200, filtered(noise))
    path = tmp_path / "a.png"
    path.write_bytes(data[:-12] + chunk(b"eXIf", exif(6)) + data[-12:])
    assert read_size(path) == (200, 300) == decode(path).shape[1::-1]


def long_jpeg(orientation: int, *, behind_scan: bool = False) -> bytes:
    """With 200 kB of other segments before EXIF, which comes before or behind the scan."""
    data = save(Image.fromarray(np.ascontiguousarray(stored_as(PICTURE, orientation))), "JPEG")
    block = b"Exif\0\0" + exif(orientation)
    block = b"\xff\xe1" + struct.pack(">H", 2 + len(block)) + block
    others = (b"\xff\xe2" + struct.pack(">H", 50_002) + bytes(50_000)) * 4
    return data[:2] + others + data[2:-2] + block + data[-2:] if behind_scan else data[:2] + others + block + data[2:]


@pytest.mark.parametrize("behind_scan", [False, True])
def test_read_size_finds_orientation_far_into_a_jpeg(behind_scan, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(long_jpeg(6, behind_scan=behind_scan))
    assert read_size(path) == decode(path).shape[1::-1] == ((HEIGHT, WIDTH) if behind_scan else (WIDTH, HEIGHT))


def test_read_size_reads_the_beginning_of_a_jpeg_only(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(save(RGB, "JPEG"))
    os.truncate(path, 64 * 2**20)  # a hole: takes no room on disk
    tracemalloc.start()
    try:
        assert read_size(path, max_bytes=None) == (WIDTH, HEIGHT)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM"])
def test_read_size_needs_no_pixels(kind):
    data = save(RGB, kind)[: -WIDTH * 3]
    with pytest.raises(ImageError):
        decode(data)
    assert read_size(data) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("data", [b"", b"hello", save(RGB, "PNG")[:20], huge_png(0, 4), huge_png(9000, 9000)])
def test_read_size_refuses_what_decode_refuses_by_its_header(data, tmp_path):
    path = tmp_path / "holiday.png"
    path.write_bytes(data)
    texts = []
    for reader in (read_size, decode):
        with pytest.raises(ImageError, match=r"^'holiday\.png' ") as caught:
            reader(path)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_header_that_contradicts_the_picture_is_refused():
    with pytest.raises(ValueError, match="its header says 5 x 4 pixels, and its picture has another size"):
        OpenedImage(5, 4, pixels=lambda: np.zeros((5, 4, 3), np.uint8)).decode()


# --- Limits ----------------------------------------------------------------------------------------------------------


class Unreadable(io.BytesIO):
    """A file of a size, no byte of which may be read."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.size if whence == os.SEEK_END else offset

    def read(self, size: int | None = -1) -> bytes:
        msg = "was read"
        raise AssertionError(msg)


@pytest.mark.parametrize("reader", [decode, read_size])
def test_a_file_too_large_is_refused_by_its_size_unread(reader, tmp_path):
    path = tmp_path / "scan.tif"
    path.touch()
    os.truncate(path, 6 * 10**9)
    for source in (path, Unreadable(6 * 10**9)):
        with pytest.raises(ImageError, match=r"is larger than the 20\.0 MiB accepted; choose or save a smaller file"):
            reader(source, name="scan.tif")


def test_limit_of_bytes_is_lifted_for_oneself(tmp_path):
    path = tmp_path / "a.ppm"
    path.write_bytes(save(RGB, "PPM") + bytes(decoding.MAX_BYTES))
    for source in (path, io.BytesIO(path.read_bytes()), path.read_bytes()):
        with pytest.raises(ImageError, match="is larger than"):
            decode(source)
        assert decode(source, max_bytes=None).shape == PICTURE.shape
        assert decode(source, max_bytes=2 * decoding.MAX_BYTES).shape == PICTURE.shape


def test_limit_of_pixels_is_lifted_for_oneself():
    data = save(Image.new("1", (6000, 5000), 1), "PNG")
    with pytest.raises(ImageError, match=r"\(30\.0 megapixels\), more than the 25\.0"):
        decode(data)
    assert decode(data, max_pixels=30_000_000).shape == (5000, 6000, 3)
    assert decode(data, max_pixels=None)[-1, -1].tolist() == [255, 255, 255]
    assert read_size(huge_png(30_000, 20_000), max_pixels=None) == (30_000, 20_000)
    with pytest.raises(ImageError, match="a side longer than the 65,535 accepted"):
        read_size(huge_png(70_000, 20), max_pixels=None)


def test_suffixes_are_those_of_the_formats_read():
    Image.init()
    kinds = {"JPEG", "MPO", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM"}
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in kinds}
    assert known - decoding.SUFFIXES == {".pfm"}  # floats, which are not read
    assert decoding.SUFFIXES - known <= {".avif", ".avifs"}
