import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from corrcore.decoding import decode
from tests.decoding.files import (
    ALPHA,
    GREY,
    PICTURE,
    RGB,
    assert_pixels,
    gif,
    gif_frame,
    grey3,
    over_white,
    save,
    tiff_of,
)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("PPM", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "packbits"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 12),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 20),
        ("JPEG", {"quality": 95, "subsampling": 0}, 6),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 6),
        pytest.param(
            "AVIF",
            {"quality": 95},
            20,
            marks=pytest.mark.skipif(not features.check("avif"), reason="Pillow lacks AVIF"),
        ),
    ],
)
def test_decode_gives_the_saved_pixels(kind, options, tolerance):
    assert_pixels(decode(save(RGB, kind, **options)), PICTURE, tolerance=tolerance)


def test_decode_returns_own_contiguous_writable_memory():
    data = save(RGB, "PPM")
    image = decode(data)
    assert image.flags.c_contiguous
    assert image.flags.writeable
    assert image.flags.owndata
    image[:] = 0
    assert_pixels(decode(data), PICTURE)


def test_decode_goes_by_content_not_by_extension(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(save(RGB, "BMP"))
    assert_pixels(decode(path), PICTURE)


def test_decode_takes_colours_from_a_palette():
    indexed = RGB.quantize(32)
    palette = np.array(indexed.getpalette()).reshape(-1, 3)
    expected = palette[np.asarray(indexed)]
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        assert_pixels(decode(save(indexed, kind)), expected)


def test_decode_composites_a_palette_with_alpha_over_white():
    indexed = RGB.quantize(32)
    colours = np.array(indexed.getpalette()).reshape(-1, 3)[np.asarray(indexed)]
    alphas = np.arange(0, 256, 8, dtype=np.uint8)
    image = decode(save(indexed, "PNG", transparency=alphas.tobytes()))
    assert_pixels(image, over_white(colours, alphas[np.asarray(indexed)]), tolerance=0.51)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_decode_shows_a_transparent_palette_entry_as_white(kind):
    indexed = RGB.quantize(32)
    expected = np.array(indexed.getpalette()).reshape(-1, 3)[np.asarray(indexed)]
    expected[np.asarray(indexed) == 5] = 255
    assert_pixels(decode(save(indexed, kind, transparency=5)), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_decode_composites_rgba_over_white(kind):
    image = Image.fromarray(np.dstack([PICTURE, ALPHA]))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert_pixels(decode(save(image, kind, **options)), over_white(PICTURE, ALPHA), tolerance=0.51)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_decode_composites_grey_with_alpha_over_white(kind):
    image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])
    assert_pixels(decode(save(image, kind)), over_white(grey3(GREY), ALPHA), tolerance=0.51)


def test_decode_composites_premultiplied_grey_over_white():
    premultiplied = (GREY.astype(float) * ALPHA / 255).round().astype(np.uint8)
    data = tiff_of(np.dstack([premultiplied, ALPHA]), t338=(3, [1]))
    solid = ALPHA > 60  # below, 8 bits of premultiplied grey say little
    expected = over_white(grey3(GREY), ALPHA)
    assert_pixels(decode(data)[solid], expected[solid], tolerance=3)


def test_decode_shows_a_transparent_key_colour_as_white():
    picture = PICTURE.copy()
    picture[4:9, 5:20] = (1, 2, 3)
    expected = picture.copy()
    expected[4:9, 5:20] = 255
    assert_pixels(decode(save(Image.fromarray(picture), "PNG", transparency=(1, 2, 3))), expected)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("PPM", {}), ("BMP", {}), ("TIFF", {"compression": "group4"})]
)
def test_decode_reads_one_bit_pictures(kind, options):
    bits = GREY > 100
    assert_pixels(decode(save(Image.fromarray(bits), kind, **options)), grey3(255 * bits.astype(np.uint8)))


# Inks: cyan, magenta, yellow, black, 255 = full.
INKS = np.array([[200, 30, 90, 0], [0, 255, 255, 0], [10, 20, 30, 200], [0, 0, 0, 0], [120, 40, 200, 60]], np.uint8)
INKED = 255 * (1 - INKS[:, :3] / 255.0) * (1 - INKS[:, 3:] / 255.0)


def in_blocks(colours: np.ndarray) -> np.ndarray:
    """Squares of 16 px, which JPEG keeps nearly exactly."""
    return colours[None].repeat(16, 0).repeat(16, 1)


def cmyk_jpeg(stored: np.ndarray) -> bytes:
    """A CMYK JPEG holding these bytes; Pillow would turn them round and marks the file as Adobe's."""
    return save(
        Image.frombytes("CMYK", stored.shape[1::-1], (255 - stored).tobytes()), "JPEG", quality=100, subsampling=0
    )


def test_decode_reads_cmyk_jpeg_inverted_as_adobe_stores_it():
    data = cmyk_jpeg(255 - in_blocks(INKS))
    assert b"Adobe" in data
    assert_pixels(decode(data), in_blocks(INKED), tolerance=3)


def test_decode_reads_cmyk_jpeg_without_adobe_marker_inverted_too():
    data = cmyk_jpeg(255 - in_blocks(INKS))
    at = data.index(b"\xff\xee")
    data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :]
    assert b"Adobe" not in data
    assert_pixels(decode(data), in_blocks(INKED), tolerance=3)


def test_decode_reads_ycck_jpeg():
    # YCCK is YCbCr of the inks cyan, magenta, yellow as if red, green, blue (ITU-T T.871), black stored inverted.
    c, m, y = INKS[:, :3].T.astype(float)
    ycc = [
        0.299 * c + 0.587 * m + 0.114 * y,
        128 - 0.168736 * c - 0.331264 * m + 0.5 * y,
        128 + 0.5 * c - 0.418688 * m - 0.081312 * y,
    ]
    stored = np.stack([*ycc, 255.0 - INKS[:, 3]], -1).round().clip(0, 255).astype(np.uint8)
    data = cmyk_jpeg(in_blocks(stored))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data = data[:transform] + b"\2" + data[transform + 1 :]
    assert_pixels(decode(data), in_blocks(INKED), tolerance=4)


def test_decode_reads_cmyk_tiff_with_zero_for_no_ink():
    assert_pixels(decode(tiff_of(in_blocks(INKS))), in_blocks(INKED), tolerance=1)


def test_decode_takes_the_first_page_of_a_tiff():
    data = save(RGB, "TIFF", save_all=True, append_images=[RGB.rotate(180), RGB.resize((7, 9))])
    assert_pixels(decode(data), PICTURE)


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("WEBP", {"lossless": True}, 0),
        ("PNG", {}, 0),
        ("PNG", {"default_image": True}, 0),
        ("AVIF", {"quality": 95}, 20),
    ],
    ids=["webp", "apng", "apng-default-image", "avif"],
)
def test_decode_takes_the_first_frame_of_an_animation(kind, options, tolerance):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow lacks AVIF")
    data = save(RGB, kind, save_all=True, append_images=[RGB.rotate(180), RGB.rotate(180)], **options)
    assert_pixels(decode(data), PICTURE, tolerance=tolerance)


@pytest.mark.parametrize("n_frames", [1, 2, 10_000])
def test_decode_takes_the_first_frame_of_a_gif(n_frames):
    assert decode(gif(*[gif_frame()] * n_frames)).tolist() == [[[0, 0, 0], [255, 0, 0]]]


def test_decode_widens_the_canvas_of_a_gif_to_its_frame():
    assert decode(gif(gif_frame(left=3))).shape == (1, 5, 3)


def test_decode_passes_over_the_extensions_of_a_gif():
    comment = b"!\xfe\x05, not\x03!\xf9\x04\x00"
    shown = b"!\xf9\x04\x01\0\0\1\0"  # palette entry 1 is transparent
    assert decode(gif(comment, shown, gif_frame())).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_decode_takes_an_extension_of_a_gif_as_ended_by_an_empty_block():
    # Pillow alone would take the frame for more blocks of the extension, and look for one further on.
    assert decode(gif(b"!\xf9\0", gif_frame())).tolist() == [[[0, 0, 0], [255, 0, 0]]]


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (5, 7)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM"])
def test_decode_reads_tiny_and_thin_pictures(size, kind):
    colour = (200, 100, 50)
    image = decode(save(Image.new("RGB", size, colour), kind))
    assert_pixels(image, np.full((size[1], size[0], 3), colour), tolerance=3 if kind == "JPEG" else 0)


def test_decode_reads_a_constant_picture():
    assert_pixels(decode(save(Image.new("L", (50, 60), 77), "PNG")), np.full((60, 50, 3), 77))


def test_decode_of_photographs_equals_pillow():
    root = os.environ.get("CORRCORE_DATA")
    if root is None:
        pytest.skip("CORRCORE_DATA names no folder with photographs")
    paths = sorted(Path(root).rglob("*.jpg"))[::60]
    assert paths
    for path in paths:
        with Image.open(path) as image:
            assert_pixels(decode(path), np.asarray(image.convert("RGB")))
