import io
import re
import struct

import numpy as np
import pytest
from PIL import Image, features

from corrcore.decoding import ImageError, decode
from tests.decoding.files import (
    BAD_EXIF,
    EDGES,
    HEIGHT,
    PICTURE,
    RGB,
    WIDTH,
    assert_pixels,
    bomb,
    chunk,
    exif,
    filtered,
    png,
    save,
    stored_as,
    tiff_of,
)


@pytest.mark.parametrize("orientation", EDGES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_decode_turns_every_exif_orientation_upright(kind, orientation):
    stored = stored_as(PICTURE, orientation)
    if kind == "TIFF":
        data = tiff_of(stored, t274=(3, [orientation]))
    elif kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow lacks AVIF")
    else:
        options = {"lossless": True} if kind == "WEBP" else {"quality": 95}
        data = save(
            Image.fromarray(np.ascontiguousarray(stored)), kind, exif=b"Exif\0\0" + exif(orientation), **options
        )
    assert_pixels(decode(data), PICTURE, tolerance={"JPEG": 20, "AVIF": 25}.get(kind, 0))


def test_decode_reads_big_endian_exif():
    data = save(Image.fromarray(np.ascontiguousarray(stored_as(PICTURE, 6))), "PNG", exif=exif(6, ">"))
    assert_pixels(decode(data), PICTURE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", BAD_EXIF.values(), ids=BAD_EXIF)
def test_decode_ignores_corrupt_exif(kind, block):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    image = decode(save(RGB, kind, exif=b"Exif\0\0" + block, **options))
    assert_pixels(image, PICTURE, tolerance=6 if kind == "JPEG" else 0)


def test_decode_takes_the_first_of_several_exif_blocks():
    data = save(
        Image.fromarray(np.ascontiguousarray(stored_as(PICTURE, 6))), "JPEG", quality=95, exif=b"Exif\0\0" + exif(6)
    )
    second = b"Exif\0\0" + BAD_EXIF["tag-outside"]
    at = data.index(b"\xff\xdb")
    data = data[:at] + b"\xff\xe1" + struct.pack(">H", 2 + len(second)) + second + data[at:]
    assert_pixels(decode(data), PICTURE, tolerance=20)


@pytest.mark.parametrize("code", [0xC8, 0xF0, 0xFC, 0xFD])
def test_decode_looks_for_no_exif_in_what_extensions_hold(code):
    """Where Pillow does, and warns."""
    data, block = save(RGB, "JPEG", quality=95), b"Exif\0\0" + BAD_EXIF["tag-outside"]
    inner = b"\xff\xe1" + (len(block) + 2).to_bytes(2) + block
    extension = bytes([0xFF, code]) + (len(inner) + 2).to_bytes(2) + inner
    np.testing.assert_array_equal(decode(data[:2] + extension + data[2:]), decode(data))


@pytest.mark.parametrize("length", [0, 1])
def test_decode_refuses_a_segment_that_is_shorter_than_its_length(length):
    data = save(RGB, "JPEG")
    with pytest.raises(ImageError, match="cannot be decoded as JPEG"):
        decode(data[:2] + b"\xff\xed" + length.to_bytes(2) + data[2:])


@pytest.mark.skipif(not features.check("avif"), reason="Pillow lacks AVIF")
def test_decode_ignores_corrupt_exif_in_avif():
    good = Image.Exif()
    good[271] = "maker" * 20
    data = save(RGB, "AVIF", quality=95, exif=good.tobytes())
    # How many letters its maker's name has: far more than are there.
    at = re.compile(rb"II\*\0|MM\0\*").search(data, data.index(b"mdat")).start() + 14
    data = data[:at] + b"\0\xff\xff\0" + data[at + 4 :]
    with pytest.warns(UserWarning, match="Tag data larger than file"), Image.open(io.BytesIO(data)):
        # The block is indeed one that Pillow warns of.
        pass
    assert_pixels(decode(data), PICTURE, tolerance=20)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_decode_ignores_bad_colour_profiles(kind):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    image = decode(save(RGB, kind, icc_profile=b"no profile" * 50, **options))
    assert_pixels(image, PICTURE, tolerance=6 if kind == "JPEG" else 0)


def test_decode_leaves_compressed_metadata_of_png_packed():
    swollen = bomb(200 << 20)
    chunks = [chunk(b"iCCP", b"profile\0\0" + swollen), *[chunk(b"zTXt", b"Comment\0\0" + swollen)] * 5]
    assert_pixels(decode(png(WIDTH, HEIGHT, filtered(PICTURE), *chunks)), PICTURE)


def test_decode_does_not_warn_of_a_broken_animation():
    # Frame control without frames: Pillow warns of an invalid APNG.
    data = png(WIDTH, HEIGHT, filtered(PICTURE), chunk(b"acTL", bytes(8)))
    assert_pixels(decode(data), PICTURE)


def test_decode_does_not_warn_of_broken_tags_in_a_tiff():
    data = tiff_of(
        PICTURE, t271=(3, list(range(99))), t282=(4, [10**9, 0, 3]), t296=(3, [1, 2, 3]), t34665=(4, [10**9])
    )
    assert_pixels(decode(data), PICTURE)
