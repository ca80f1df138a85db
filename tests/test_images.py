import hashlib
import inspect
import io
import os
import re
import struct
import subprocess
import sys
import textwrap
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from corrcore import decoding, images
from corrcore.decoding import ImageError, decode

HEIGHT, WIDTH = 33, 40


def smooth_picture() -> np.ndarray:
    """Smooth, so that lossy formats keep it, and unlike itself under any turn or mirroring."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    channels = (255 * x / (WIDTH - 1), 255 * y / (HEIGHT - 1), 128 + 100 * np.sin(x / 7 + y / 11))
    return np.stack(channels, -1).round().astype(np.uint8)


PICTURE = smooth_picture()
RGB = Image.fromarray(PICTURE)
GREY = PICTURE[:, :, 0]
ALPHA = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
DEEP = np.linspace(0, 65_535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)


def save(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG from its unfiltered rows (without filter bytes where there are none)."""
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + pixels + chunk(b"IEND", b"")


def filtered(rows: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in rows)


def tiff(tags: dict[int, tuple[int, list[int]]], pixels: bytes, *, order: str = "<") -> bytes:
    """A TIFF of one page whose pixels lie from byte 8; `tags` are {tag: (3 for SHORT or 4 for LONG, values)}."""
    data = pixels + b"\0" * (len(pixels) % 2)
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{'HL'[kind - 3]}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}L", 8 + len(data))
            data += packed + b"\0" * (len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHL", tag, kind, len(values)) + place
    directory = struct.pack(f"{order}H", len(tags)) + entries + b"\0" * 4
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8 + len(data))
    return start + data + directory


def tiff_of(array: np.ndarray, *, order: str = "<", sample_format: int = 1, bits: int | None = None, **tags) -> bytes:
    """An uncompressed TIFF of an array [row, column] or [row, column, channel]."""
    height, width = array.shape[:2]
    n_channels = array.shape[2] if array.ndim == 3 else 1
    pixels = array.astype(array.dtype.newbyteorder(order)).tobytes()
    base = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits or 8 * array.itemsize] * n_channels),
        259: (3, [1]),
        262: (3, [{1: 1, 2: 1, 3: 2, 4: 5}[n_channels]]),
        273: (4, [8]),
        277: (3, [n_channels]),
        278: (4, [height]),
        279: (4, [len(pixels)]),
        339: (3, [sample_format] * n_channels),
    }
    return tiff(base | {int(tag[1:]): value for tag, value in tags.items()}, pixels, order=order)


def exif(orientation: int, order: str = "<") -> bytes:
    return tiff({274: (3, [orientation])}, b"", order=order)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


def grey3(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[:, :, None], 3, axis=2)


def assert_pixels(image: np.ndarray, expected: np.ndarray, *, tolerance: float = 0.0) -> None:
    assert image.shape == expected.shape
    assert image.dtype == np.uint8
    assert np.abs(image - expected.astype(float)).max() <= tolerance


# --- Formats and modes -----------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    "data",
    [
        save(Image.fromarray(DEEP), "PNG"),
        save(Image.fromarray(DEEP), "TIFF"),
        save(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
        tiff_of(DEEP, order=">"),
        tiff_of(65_535 - DEEP, t262=(3, [0])),  # white is zero
    ],
    ids=["png", "tiff", "lzw", "big-endian", "white-is-zero"],
)
def test_decode_keeps_the_high_byte_of_16_bit_grey(data):
    assert_pixels(decode(data), grey3(DEEP >> 8))


@pytest.mark.parametrize("order", ["<", ">"])
def test_decode_keeps_the_high_byte_of_16_bit_colour(order):
    deep = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], -1)
    assert_pixels(decode(tiff_of(deep, order=order)), deep >> 8)
    assert_pixels(decode(png(WIDTH, HEIGHT, filtered(deep.astype(">u2")), depth=16)), deep >> 8)


def test_decode_ignores_the_key_colour_of_16_bit_png():
    # Almost black is not the key black, though its high bytes are.
    deep = np.full((2, 3, 3), 5, ">u2")
    assert_pixels(decode(png(3, 2, filtered(deep), chunk(b"tRNS", bytes(6)), depth=16)), np.zeros((2, 3, 3)))


def test_decode_keeps_the_upper_eight_of_twelve_bits():
    values = (DEEP >> 4)[:, : WIDTH // 2 * 2]
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8)
    data = tiff_of(values, bits=12)
    data = data[:8] + packed.tobytes().ljust(2 * values.size, b"\0") + data[8 + 2 * values.size :]
    assert_pixels(decode(data), grey3(values >> 4))


@pytest.mark.parametrize(("white", "sample"), [(1, "u1"), (100, "u1"), (255, "u1"), (1023, ">u2"), (65_535, ">u2")])
def test_decode_scales_pgm_and_ppm_by_their_maximum(white, sample):
    levels = np.linspace(0, white, 24).round()
    expected = np.floor(levels * 255 / white + 0.5).reshape(4, 6, 1)
    body = levels.astype(sample).tobytes()
    assert_pixels(decode(b"P5\n# a comment\n6 4\n%d\n" % white + body), expected.repeat(3, 2))
    assert_pixels(decode(b"P6 2 4 %d\n" % white + body), expected.reshape(4, 2, 3))


def test_decode_takes_float_tiff_from_zero_to_one_and_nan_as_black():
    values = np.array([[0.0, 0.2, 1.0], [np.nan, np.inf, -np.inf]], np.float32)
    image = decode(tiff_of(values, sample_format=3))
    assert image[:, :, 0].tolist() == [[0, 51, 255], [0, 255, 0]]


@pytest.mark.parametrize(
    ("values", "sample_format", "levels"),
    [
        (np.array([[0, 100, 400]], np.float32), 3, [0, 64, 255]),
        (np.array([[-1, 0, 1]], np.float32), 3, [0, 128, 255]),
        (np.array([[np.nan, np.nan]], np.float32), 3, [0, 0]),
        (np.array([[-3e38, 0, 3e38]], np.float32), 3, [0, 128, 255]),
        (np.array([[0, 1, 2]], np.int32), 2, [0, 128, 255]),
        (np.array([[-1000, 1000]], np.int16), 2, [0, 255]),
        (np.array([[0, 2**31, 2**32 - 1]], np.uint32), 1, [0, 128, 255]),
    ],
    ids=["above-one", "negative", "all-nan", "huge", "int32", "int16", "uint32"],
)
def test_decode_scales_numbers_without_a_fixed_white(values, sample_format, levels):
    assert_pixels(decode(tiff_of(values, sample_format=sample_format)), np.array(levels)[None, :, None].repeat(3, 2))


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


def gif(*frames: bytes, width: int = 2, height: int = 1) -> bytes:
    black_red = b"\0\0\0\xff\0\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + black_red + b"".join(frames) + b";"


def gif_frame(left: int = 0, top: int = 0, width: int = 2, height: int = 1) -> bytes:
    # Codes of 3 bits: clear, 0, 1, end.
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\2\2\x44\x0a\0"


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


# --- EXIF and other metadata -----------------------------------------------------------------------------------------

# What the stored row 0 and column 0 are in the upright picture (EXIF 2.3, tag 274).
EDGES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    row_0, column_0 = EDGES[orientation]
    backwards = {"bottom", "right"}
    rows, columns = (-1 if row_0 in backwards else 1), (-1 if column_0 in backwards else 1)
    turned = upright if row_0 in {"top", "bottom"} else upright.transpose(1, 0, 2)
    return turned[::rows, ::columns]


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


BAD_EXIF = {
    "empty": b"",
    "no-tiff": b"nothing of the kind",
    "cut": exif(6)[:12],
    "directory-outside": b"II*\0" + struct.pack("<L", 2**31),
    "a-million-entries": b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 30,
    "orientation-9": exif(9),
    "orientation-twice": tiff({274: (3, [6, 6])}, b""),
    "orientation-long": tiff({274: (4, [6])}, b""),
    # Tags whose data lie outside: Pillow would warn.
    "tag-outside": b"II*\0\x08\0\0\0\2\0" + struct.pack("<HHLLHHLL", 271, 2, 10**6, 99, 282, 5, 1, 10**9) + b"\0" * 4,
}


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


def bomb(n_bytes: int) -> bytes:
    """So many zeros, deflated."""
    deflate = zlib.compressobj(9)
    return b"".join(deflate.compress(bytes(2**20)) for _ in range(n_bytes >> 20)) + deflate.flush()


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


# --- Sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 20_000), (20_000, 1), (5, 7)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM"])
def test_decode_reads_tiny_and_thin_pictures(size, kind):
    colour = (200, 100, 50)
    image = decode(save(Image.new("RGB", size, colour), kind))
    assert_pixels(image, np.full((size[1], size[0], 3), colour), tolerance=3 if kind == "JPEG" else 0)


def test_decode_reads_a_constant_picture():
    assert_pixels(decode(save(Image.new("L", (50, 60), 77), "PNG")), np.full((60, 50, 3), 77))


def test_decode_takes_exactly_the_pixels_allowed():
    data = save(RGB, "PNG")
    assert decode(data, max_pixels=HEIGHT * WIDTH).shape == PICTURE.shape
    with pytest.raises(ImageError, match=r"40 x 33 pixels \(0\.0 megapixels\), more than"):
        decode(data, max_pixels=HEIGHT * WIDTH - 1)


@pytest.mark.parametrize("max_pixels", [0, 89_478_486])
def test_decode_refuses_a_limit_it_could_not_keep(max_pixels):
    with pytest.raises(ValueError, match="max_pixels must be between 1 and 89,478,485; got") as caught:
        decode(save(RGB, "PNG"), max_pixels=max_pixels)
    assert not isinstance(caught.value, ImageError)


# --- What is refused -------------------------------------------------------------------------------------------------


def corrupt(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def progressive_of_many_scans() -> bytes:
    data = save(RGB, "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * 60 + data[-2:]


def jpeg_declaring(width: int, height: int) -> bytes:
    data = save(RGB, "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def run_length_bmp() -> bytes:
    body = b"\1\1\0\0" * 300
    header = struct.pack("<IiiHHIIiiII", 40, 60_000, 300, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 1024) + header + bytes(1024) + body


def huge_png(width: int, height: int) -> bytes:
    return png(width, height, b"")


# Fifty thousand strips in turn at the upper and lower half: each is decoded, the whole 25,000 times over.
REPEATED_STRIPS = tiff_of(PICTURE[:32], t273=(4, [8] * 50_000), t278=(4, [16]), t279=(4, [16 * 3 * WIDTH] * 50_000))
BIG_TILES = tiff(
    {
        256: (4, [60]),
        257: (4, [60]),
        258: (3, [8]),
        259: (3, [8]),
        262: (3, [1]),
        277: (3, [1]),
        322: (4, [40_000]),
        323: (4, [40_000]),
        324: (4, [8]),
        325: (4, [8]),
    },
    b"whatever",
)

FORMATS = r"is in none of the formats read here \(JPEG, PNG, WebP, GIF, BMP, TIFF, PBM/PGM/PPM(, AVIF)?\); save it as"
REFUSED = {
    "empty": (b"", r"is empty \(0 bytes\); choose"),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", FORMATS),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>', FORMATS),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", FORMATS),
    "psd": (b"8BPS\0\1" + bytes(40), FORMATS),
    "fits": (b"SIMPLE  =                    T".ljust(2880), FORMATS),
    "pdf": (b"%PDF-1.7\n", FORMATS),
    "icon": (save(RGB, "ICO"), FORMATS),
    "plain-ppm": (b"P3 1 1 255 9 9 9\n", FORMATS),
    "truncated-png": (save(RGB, "PNG")[:300], "cannot be decoded as PNG"),
    "truncated-jpeg": (save(RGB, "JPEG")[:-300], "cannot be decoded as JPEG"),
    "truncated-gif": (save(RGB, "GIF")[:200], r"cannot be decoded as GIF \(it ends too early\)"),
    "truncated-ppm": (save(RGB, "PPM")[:-1], "cannot be decoded as PBM/PGM/PPM"),
    "truncated-tiff": (tiff_of(PICTURE)[:-30], r"cannot be decoded as TIFF \(it ends too early\)"),
    "only-a-signature": (b"\xff\xd8\xff", "cannot be decoded as JPEG"),
    "bad-header-crc": (corrupt(save(RGB, "PNG"), 30), "cannot be decoded as PNG"),
    "0x0": (huge_png(0, 0), "cannot be decoded as PNG|holds no picture"),
    "0x0-ppm": (b"P6 0 0 255\n", "is 0 x 0 pixels, so it holds no picture"),
    "2^31-wide": (huge_png(2**31, 1), r"is 2,147,483,648 x 1 pixels \(2,147\.5 megapixels\), more than the 25\.0"),
    "50000^2": (huge_png(50_000, 50_000), r"50,000 x 50,000 pixels \(2,500\.0 megapixels\), more than the 25\.0 megap"),
    "100-Mpx": (huge_png(10_000, 10_000), r"is 10,000 x 10,000 pixels \(100\.0 megapixels\), more than the 25\.0"),
    "100-Mpx-jpeg": (jpeg_declaring(10_000, 10_000), "is 10,000 x 10,000 pixels"),
    "169-Mpx-one-bit": (save(Image.new("1", (13_000, 13_000)), "PNG"), r"13,000 x 13,000 pixels \(169\.0 megapixels\)"),
    "100-Mpx-gif": (gif(gif_frame(), width=10_000, height=10_000), "is 10,000 x 10,000 pixels"),
    "gif-of-a-far-frame": (gif(gif_frame(left=9_999, top=9_999)), "is 10,001 x 10,000 pixels"),
    "gif-of-a-farther-frame": (gif(gif_frame(left=65_000, top=65_000)), "is 65,002 x 65,001 pixels"),
    "100-Mpx-tiff": (tiff_of(GREY, t256=(4, [10_000]), t257=(4, [10_000])), "is 10,000 x 10,000 pixels"),
    "100-Mpx-ppm": (b"P6 10000 10000 255\n", "is 10,000 x 10,000 pixels"),
    "huge-webp": (
        b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff",
        "holds more than the 25.0 megapixels accepted; save it smaller",
    ),
    "long-side": (huge_png(65_536, 2), "is 65,536 x 2 pixels, with a side longer than the 65,535 accepted"),
    "ppm-of-a-giant-header": (b"P6\n#" + b"x" * 10_000_000 + b"\n1 1 255\n\0\0\0", r"\(its header makes no sense\)"),
    "ppm-of-giant-numbers": (b"P6 " + b"9" * 5_000_000 + b" 1 255\n", r"\(its header makes no sense\)"),
    "ppm-without-white": (b"P5 1 1 0\n\0", r"\(maximum 0 is not between 1 and 65535\)"),
    "jpeg-of-many-scans": (progressive_of_many_scans(), r"\(more than 50 scans\)"),
    "jpeg-of-many-segments": (b"\xff\xd8" + b"\xff\xe1\0\2" * 200_000, r"\(more than 131,072 segments\)"),
    "jpeg-of-junk": (b"\xff\xd8\xff" + b"\xff\0" * 3_000_000, "cannot be decoded as JPEG"),
    "png-of-many-chunks": (b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"") * 200_000, r"\(more than 131,072 chunks\)"),
    "gif-of-many-blocks": (gif(b"!\xfe" + b"\1x" * 200_000), r"\(more than 131,072 blocks\)"),
    "gif-of-nothing": (gif(), r"\(no picture in it\)"),
    "run-length-bmp": (run_length_bmp(), r"\(run-length coded BMP is not read\)"),
    "tiff-of-repeated-strips": (REPEATED_STRIPS, r"\(its strips overlap\)"),
    "tiff-of-big-tiles": (BIG_TILES, r"\(tiles of 40000 x 40000 pixels\)"),
    "tiff-of-many-values": (tiff_of(GREY, t273=(4, [8] * 200_000)), r"\(tag 273 holds 200000 values\)"),
    "tiff-of-two-widths": (tiff_of(GREY, t256=(4, [40, 40])), r"\(tag 256 holds 2 values\)"),
    "tiff-of-no-size": (tiff({258: (3, [8])}, b""), "is 0 x 0 pixels, so it holds no picture"),
    "tiff-lzma": (tiff_of(GREY, t259=(3, [34925])), r"\(compression 34925 is not read\)"),
    "float-rgb-tiff": (tiff_of(PICTURE.astype(np.float32), sample_format=3), "cannot be decoded as TIFF"),
}
if features.check("avif"):
    REFUSED["avif-of-many-boxes"] = (
        b"\0\0\0\x10ftypavif\0\0\0\0" + b"\0\0\0\x08free" * 200_000,
        r"\(more than 131,072 boxes\)",
    )
    REFUSED["truncated-avif"] = (save(RGB, "AVIF")[:400], "cannot be decoded as AVIF")


@pytest.mark.parametrize(("data", "pattern"), REFUSED.values(), ids=REFUSED)
def test_decode_refuses_with_one_sentence(data, pattern):
    with pytest.raises(ImageError, match=pattern) as caught:
        decode(data, name="holiday.png")
    message = str(caught.value)
    assert message.startswith("'holiday.png' ")
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 300


def test_decode_gives_a_picture_or_a_sentence_for_a_bad_pixel_crc():
    data = save(RGB, "PNG")
    data = corrupt(data, data.index(b"IDAT") + 4 + int.from_bytes(data[data.index(b"IDAT") - 4 :][:4]))
    try:
        assert_pixels(decode(data), PICTURE)
    except ImageError as error:
        assert "cannot be decoded as PNG" in str(error)  # noqa: PT017


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_decode_needs_little_memory_to_refuse(tmp_path):
    """Metadata bombs and giant headers, in a process that may grow by 64 MiB only."""
    bombs = {name: data for name, (data, _) in REFUSED.items() if name != "huge-webp"}
    swollen = bomb(200 << 20)
    bombs["text"] = png(WIDTH, HEIGHT, filtered(PICTURE), *[chunk(b"zTXt", b"Comment\0\0" + swollen)] * 5)
    bombs["profile"] = png(WIDTH, HEIGHT, filtered(PICTURE), chunk(b"iCCP", b"profile\0\0" + swollen))
    for name, data in bombs.items():
        (tmp_path / name.replace("^", "")).write_bytes(data)
    code = """
        import pathlib, resource, sys
        from corrcore.decoding import ImageError, decode
        size = int(next(s for s in open("/proc/self/status") if s.startswith("VmSize")).split()[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20),) * 2)
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            try:
                print(path.name, decode(path).shape)
            except ImageError as error:
                cause = error.__cause__
                while cause is not None:
                    assert not isinstance(cause, MemoryError), path.name
                    cause = cause.__cause__
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["profile (33, 40, 3)", "text (33, 40, 3)"]


# --- Where pictures come from ----------------------------------------------------------------------------------------


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
        ("", "unnamed file"),
        ("\0/", "unnamed file"),
        ("x" * 500 + ".jpeg", "x" * 42 + "…" + "x" * 12 + ".jpeg"),
    ],
)
def test_display_name_keeps_only_what_can_be_shown(name, shown):
    assert decoding.display_name(name) == shown


def test_decode_names_an_upload_by_its_own_name():
    upload = io.BytesIO(b"")
    upload.name = "../../x\0.png"
    with pytest.raises(ImageError, match=r"^'x \.png' is empty"):
        decode(upload)
    with pytest.raises(ImageError, match=r"^'other' is empty"):
        decode(upload, name="other")


# --- Robustness ------------------------------------------------------------------------------------------------------


def fuzz_seeds() -> dict[str, bytes]:
    indexed = RGB.quantize(32)
    block = Image.Exif()
    block[271], block[274] = "maker" * 9, 6
    turned = {"exif": block.tobytes()}
    animated = {"save_all": True, "append_images": [RGB.rotate(180)]}
    seeds = {
        "jpeg": save(RGB, "JPEG", **turned),
        "progressive": save(RGB, "JPEG", progressive=True),
        "cmyk": save(RGB.convert("CMYK"), "JPEG"),
        "png": save(RGB, "PNG", **turned),
        "palette": save(indexed, "PNG", transparency=bytes(range(32))),
        "apng": save(RGB, "PNG", **animated),
        "deep": save(Image.fromarray(DEEP), "PNG"),
        "gif": save(indexed, "GIF", transparency=3, save_all=True, append_images=[indexed.rotate(180)], comment=b"hi"),
        "webp": save(RGB, "WEBP", **turned),
        "webp-animated": save(RGB, "WEBP", **animated),
        "bmp": save(RGB, "BMP"),
        "bmp-palette": save(indexed, "BMP"),
        "tiff": save(RGB, "TIFF", **turned),
        "tiff-lzw": save(RGB, "TIFF", compression="tiff_lzw"),
        "tiff-jpeg": save(RGB, "TIFF", compression="jpeg"),
        "tiff-fax": save(RGB.convert("1"), "TIFF", compression="group4"),
        "tiff-float": save(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
        "ppm": save(RGB, "PPM"),
        "pbm": save(RGB.convert("1"), "PPM"),
    }
    if features.check("avif"):
        seeds |= {"avif": save(RGB, "AVIF", **turned), "avif-animated": save(RGB, "AVIF", **animated)}
    return seeds


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    how = rng.integers(4)
    if how == 0:
        return data[: rng.integers(len(data))]
    changed = bytearray(data)
    # Anywhere, in the headers at the start, or where TIFF has its directory.
    low, high = {1: (0, len(data)), 2: (0, min(len(data), 120)), 3: (max(0, len(data) - 300), len(data))}[int(how)]
    for at in rng.integers(low, high, size=rng.integers(1, 6)):
        changed[at] = rng.integers(256) if rng.random() < 0.5 else changed[at] ^ 1 << rng.integers(8)
    return bytes(changed)


FUZZ_SEEDS = fuzz_seeds()


@pytest.mark.parametrize("seed", FUZZ_SEEDS.values(), ids=FUZZ_SEEDS)
def test_decode_gives_a_picture_or_an_image_error_for_damaged_files(seed):
    rng = np.random.default_rng(20)
    decode(seed)
    for _ in range(60):
        try:
            image = decode(mutated(seed, rng))
        except ImageError:
            continue
        assert image.ndim == 3
        assert image.flags.writeable


def test_decode_leaves_global_settings_alone_in_many_threads():
    def settings() -> tuple:
        return (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters), warnings.showwarning)

    before, seen = settings(), []
    files = [data for data, _ in list(REFUSED.values())[:20]]
    files += [save(RGB, "JPEG", exif=b"Exif\0\0" + block) for block in BAD_EXIF.values()]
    files += [
        tiff_of(PICTURE, t271=(3, list(range(99)))),
        png(WIDTH, HEIGHT, filtered(PICTURE), chunk(b"acTL", bytes(8))),
    ]

    def work(data: bytes) -> str | tuple[int, ...]:
        seen.append(settings())
        try:
            return decode(data).shape
        except ImageError as error:
            return str(error)

    alone = [work(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, files * 3)) == alone * 3
    assert all(state == before for state in [*seen, settings()])


def test_decode_of_photographs_equals_pillow():
    root = os.environ.get("CORRCORE_DATA")
    if root is None:
        pytest.skip("CORRCORE_DATA names no folder with photographs")
    paths = sorted(Path(root).rglob("*.jpg"))[::60]
    assert paths
    for path in paths:
        with Image.open(path) as image:
            assert_pixels(decode(path), np.asarray(image.convert("RGB")))


# --- Resizing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(60, 120), (30, 30), (45, 20), (31, 77), (30, 60)])
def test_resize_to_keeps_outlines_aligned(height, width):
    # On a plane every symmetric filter gives the plane's own value at the mapped point; 3 and 4 levels a pixel tell
    # half a pixel's shift from rounding.
    def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack(np.broadcast_arrays(3 * x, 4 * y[:, None], 255 - 4 * x), -1)

    image = images.resize_to(plane(np.arange(60), np.arange(30)).astype(np.uint8), height=height, width=width)
    x, y = (np.arange(width) + 0.5) * 60 / width - 0.5, (np.arange(height) + 0.5) * 30 / height - 0.5
    # The border repeats there, the plane does not.
    inner = np.ix_((y > 5) & (y < 24), (x > 5) & (x < 54))
    assert_pixels(image[inner], plane(x, y)[inner], tolerance=0.6)


def test_resize_to_averages_what_is_too_fine():
    y, x = np.mgrid[:64, :64]
    board = grey3((255 * ((x + y) % 2)).astype(np.uint8))
    small = images.resize_to(board, height=8, width=8)
    assert np.abs(small.astype(float) - 127.5).max() < 6


def test_resize_to_the_same_size_copies():
    image = images.resize_to(PICTURE, height=HEIGHT, width=WIDTH)
    assert_pixels(image, PICTURE)
    assert not np.shares_memory(image, PICTURE)


@pytest.mark.parametrize(
    ("shape", "longer_side", "expected"),
    [
        ((375, 500), 227, (170, 227)),
        ((500, 375), 227, (227, 170)),
        ((3, 2), 3000, (3000, 2000)),
        ((1, 2000), 10, (1, 10)),
        ((5, 10), 5, (3, 5)),  # 2.5 rounds up
        ((40, 40), 40, (40, 40)),
    ],
)
def test_resize_keeps_proportions(shape, longer_side, expected):
    assert images.resize(np.zeros((*shape, 3), np.uint8), longer_side=longer_side).shape == (*expected, 3)


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-1, 5)])
def test_resize_to_nothing_is_refused(height, width):
    with pytest.raises(ValueError, match=f"at least 1 px; got height {height} and width {width}"):
        images.resize_to(PICTURE, height=height, width=width)


def test_mirror_swaps_left_and_right():
    mirrored = images.hflip(PICTURE)
    for x in (0, 7, WIDTH - 1):
        assert_pixels(mirrored[:, [WIDTH - 1 - x]], PICTURE[:, [x]])
    assert mirrored.flags.c_contiguous
    assert not np.shares_memory(mirrored, PICTURE)


# --- Cutting ---------------------------------------------------------------------------------------------------------


def test_cut_of_the_whole_picture_is_the_picture():
    found = images.crop_resized(PICTURE, (-0.5, -0.5, WIDTH - 0.5, HEIGHT - 0.5), width=WIDTH, height=HEIGHT)
    np.testing.assert_array_equal(found, PICTURE)
    assert found.flags.writeable  # torch warns of arrays that are not
    assert not np.shares_memory(found, PICTURE)


def test_cut_of_whole_pixels_is_a_slice():
    found = images.crop_resized(PICTURE, (4.5, 6.5, 20.5, 29.5), width=16, height=23)
    np.testing.assert_array_equal(found, PICTURE[7:30, 5:21])


def test_cut_beyond_the_picture_goes_on_with_its_border():
    found = images.crop_resized(PICTURE, (-10.5, -7.5, WIDTH + 5.5, HEIGHT + 3.5), width=WIDTH + 16, height=HEIGHT + 11)
    np.testing.assert_array_equal(found, np.pad(PICTURE, ((7, 4), (10, 6), (0, 0)), mode="edge"))
    beyond = images.crop_resized(PICTURE, (100.5, 100.5, 110.5, 108.5), width=5, height=7)
    np.testing.assert_array_equal(beyond, np.broadcast_to(PICTURE[-1, -1], (7, 5, 3)))


@pytest.mark.parametrize(("width", "height"), [(96, 96), (17, 60), (5, 4), (1, 1), (200, 3)])
@pytest.mark.parametrize(
    "edges",
    [(3.25, 5.75, 30.5, 28.0), (-20.3, -31.6, 25.1, 12.7), (-300.0, 10.0, 350.0, 12.5), (38.0, 31.0, 39.4, 32.9)],
)
def test_cut_equals_pillow_on_the_padded_picture(edges, width, height):
    around = 800
    padded = np.pad(PICTURE, ((around, around), (around, around), (0, 0)), mode="edge")
    box = tuple(edge + 0.5 + around for edge in edges)
    expected = Image.fromarray(padded).resize((width, height), Image.Resampling.BICUBIC, box=box)
    found = images.crop_resized(PICTURE, edges, width=width, height=height)
    assert_pixels(found, np.asarray(expected), tolerance=1)  # rounded twice, in another order


def test_cut_averages_what_it_shrinks():
    y, x = np.mgrid[:64, :64]
    board = grey3((255 * ((x + y) % 2)).astype(np.uint8))
    found = images.crop_resized(board, (7.5, 7.5, 55.5, 55.5), width=6, height=6)
    assert np.abs(found.astype(float) - 127.5).max() < 6


# --- Patches ---------------------------------------------------------------------------------------------------------


def cut_slowly(image: np.ndarray, left: int, top: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    patch, inside = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            y, x = top + row, left + column
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                patch[row, column], inside[row, column] = image[y, x], True
    return patch, inside


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 8), (16, 16), (50, 7), (70, 90)])
def test_gather_cuts_what_a_loop_cuts(height, width):
    rng = np.random.default_rng(3)
    corners = np.stack([rng.integers(-100, 140, 60), rng.integers(-80, 110, 60)], -1)
    corners = np.concatenate([corners, [[0, 0], [WIDTH - width, HEIGHT - height], [-(10**12), 5], [7, 10**12]]])
    patches, inside = images.extract_patches(PICTURE, corners, height=height, width=width)
    for patch, mask, (left, top) in zip(patches, inside, corners, strict=True):
        expected, expected_mask = cut_slowly(PICTURE, left, top, height, width)
        np.testing.assert_array_equal(patch, expected)
        np.testing.assert_array_equal(mask, expected_mask)


def test_gather_of_inner_patches_is_all_inside():
    patches, inside = images.extract_patches(PICTURE, np.array([[3, 2], [0, 0]]), height=4, width=5)
    assert inside.all()
    np.testing.assert_array_equal(patches, [PICTURE[2:6, 3:8], PICTURE[:4, :5]])


def test_gather_of_a_view_equals_that_of_a_copy():
    view = PICTURE[::-1, ::2]
    corners = np.array([[-2, 3], [4, 20]], np.int32)
    for ours, theirs in zip(
        images.extract_patches(view, corners, height=9, width=9),
        images.extract_patches(view.copy(), corners, height=9, width=9),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_gather_shares_no_memory_with_the_picture():
    patches, _ = images.extract_patches(PICTURE, np.array([[0, 0]]), height=HEIGHT, width=WIDTH)
    assert not np.shares_memory(patches, PICTURE)


@pytest.mark.parametrize("size", [5, 100])
def test_gather_of_no_patches_is_empty(size):
    patches, inside = images.extract_patches(PICTURE, np.zeros((0, 2), int), height=size, width=size)
    assert patches.shape == (0, size, size, 3)
    assert inside.shape == (0, size, size)


def test_gather_of_empty_patches_is_refused():
    with pytest.raises(ValueError, match="A patch's sides must be at least 1 px; got height 0 and width 4"):
        images.extract_patches(PICTURE, np.array([[0, 0]]), height=0, width=4)


# --- Encoding --------------------------------------------------------------------------------------------------------


def test_encode_as_png_is_lossless():
    data = images.encode(PICTURE, format="PNG")
    assert data.startswith(b"\x89PNG")
    assert_pixels(decode(data), PICTURE)


@pytest.mark.parametrize(("kind", "start"), [("WEBP", b"RIFF"), ("JPEG", b"\xff\xd8\xff")])
def test_encode_spends_bytes_on_quality(kind, start):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    coarse, fine = (images.encode(noise, format=kind, quality=quality) for quality in (20, 95))
    assert fine.startswith(start)
    assert len(coarse) < len(fine) / 2
    assert_pixels(decode(images.encode(PICTURE, format=kind, quality=95)), PICTURE, tolerance=25)


def test_encode_makes_webp_by_default():
    assert images.encode(PICTURE)[8:12] == b"WEBP"


def test_encode_refuses_sides_its_format_cannot_hold():
    long = np.zeros((1, 16_384, 3), np.uint8)
    with pytest.raises(
        ValueError, match=r"WEBP picture has sides of at most 16,383 px; got 16384 x 1: resize it, or use"
    ):
        images.encode(long)
    assert decode(images.encode(long, format="PNG")).shape == long.shape


@pytest.mark.parametrize("quality", [-1, 101])
def test_encode_refuses_a_quality_out_of_range(quality):
    with pytest.raises(ValueError, match=f"quality must be between 0 and 100; got {quality}"):
        images.encode(PICTURE, quality=quality)


def test_digest_is_that_of_shape_and_bytes():
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert images.digest(image) == hashlib.blake2b(b"(2, 3, 3)" + bytes(range(18)), digest_size=16).hexdigest()
    assert len(images.digest(image)) == 32


def test_digest_tells_pictures_apart():
    changed = PICTURE.copy()
    changed[-1, -1, -1] ^= 1
    shapes = [PICTURE, changed, PICTURE.reshape(WIDTH, HEIGHT, 3), PICTURE[:-1]]
    assert len({images.digest(image) for image in shapes}) == 4


def test_digest_of_a_view_is_that_of_its_copy():
    assert images.digest(PICTURE[::2, ::-1]) == images.digest(PICTURE[::2, ::-1].copy())


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3)), np.zeros((4, 5, 4), np.uint8), np.zeros((0, 5, 3), np.uint8)],
)
@pytest.mark.parametrize(
    ("operation", "options"),
    [
        (images.encode, {}),
        (images.resize_to, {"height": 3, "width": 3}),
        (images.extract_patches, {"corners": np.array([[0, 0]]), "height": 2, "width": 2}),
    ],
)
def test_operations_refuse_what_is_no_picture(operation, options, image):
    # Without the type checker that tests put around public functions.
    with pytest.raises(ValueError, match=re.escape(f"shape (height, width, 3); got {image.dtype} {image.shape}")):
        inspect.unwrap(operation)(image, **options)
