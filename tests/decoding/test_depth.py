import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from corrcore.decoding import decode
from tests.decoding.files import (
    DEEP,
    HEIGHT,
    WIDTH,
    assert_pixels,
    chunk,
    filtered,
    grey3,
    over_white,
    png,
    save,
    tiff_of,
)


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


# --- Fewer bits in 16 ------------------------------------------------------------------------------------------------


def deep_png(samples: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG of 16 bits: grey, grey and alpha, RGB or RGBA by the number of channels."""
    n_channels = samples.shape[2] if samples.ndim == 3 else 1
    rows = filtered(samples.astype(">u2"))
    return png(WIDTH, HEIGHT, rows, *chunks, depth=16, colour={1: 0, 2: 4, 3: 2, 4: 6}[n_channels])


def with_alpha(colours: np.ndarray, alpha: int) -> np.ndarray:
    return np.dstack([colours, np.full((HEIGHT, WIDTH), alpha)])


def of_bits(bits: int) -> np.ndarray:
    """RGB from black to the white of so many bits."""
    grey = np.linspace(0, 2**bits - 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).round().astype(np.uint16)
    return np.stack([grey, grey[::-1], grey[:, ::-1]], -1)


@pytest.mark.parametrize(
    ("bits", "declared"), [(10, True), (10, False), (12, True), (12, False), (9, True), (14, True)]
)
def test_decode_keeps_the_upper_eight_bits_of_unscaled_png(bits, declared):
    colours = of_bits(bits)
    grey, white = colours[:, :, 0], 2**bits - 1
    for samples, expected in (
        (grey, grey3(grey >> bits - 8)),
        (with_alpha(grey, white), grey3(grey >> bits - 8)),
        (colours, colours >> bits - 8),
        (with_alpha(colours, white), colours >> bits - 8),
    ):
        n_channels = samples.shape[2] if samples.ndim == 3 else 1
        chunks = [chunk(b"sBIT", bytes([bits] * n_channels))] if declared else []
        assert_pixels(decode(deep_png(samples, *chunks)), expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [10, 12])
def test_decode_keeps_the_upper_eight_bits_of_unscaled_tiff(bits, order):
    colours = of_bits(bits)
    assert_pixels(decode(tiff_of(colours, order=order)), colours >> bits - 8)
    assert_pixels(decode(tiff_of(colours[:, :, 0], order=order)), grey3(colours[:, :, 0] >> bits - 8))


def test_decode_keeps_the_upper_eight_bits_of_compressed_unscaled_tiff():
    # Through libtiff, which hands over samples in the machine's own order.
    colours = of_bits(10)
    data = tiff_of(colours)
    rows = colours.astype("<u2").tobytes()
    packed = zlib.compress(rows)
    data = data[:8] + packed.ljust(len(rows), b"\0") + data[8 + len(rows) :]
    at = data.index(struct.pack("<HHLL", 259, 3, 1, 1))
    data = data[: at + 8] + struct.pack("<L", 8) + data[at + 12 :]
    assert_pixels(decode(data), colours >> 2)


def test_decode_takes_alpha_of_16_bits_beside_colours_of_10():
    colours = of_bits(10)
    assert_pixels(decode(deep_png(with_alpha(colours, 65_535))), colours >> 2)
    half = decode(deep_png(with_alpha(colours, 32_768)))
    assert_pixels(half, over_white((colours >> 2).astype(float), np.full((HEIGHT, WIDTH), 128)), tolerance=1)


def test_decode_takes_significant_bits_of_alpha_by_themselves():
    declared = chunk(b"sBIT", bytes([10, 10, 10, 16]))
    faint = decode(deep_png(with_alpha(of_bits(10), 1001), declared))  # about 4 of 255
    assert faint.min() >= 250


DARK = (of_bits(16) * 0.05).astype(np.uint16)  # at most 3276: as much as 12 bits could hold


@pytest.mark.parametrize(
    ("samples", "chunks"),
    [
        (DARK, []),
        (of_bits(14), []),  # a quarter of white
        (DARK, [chunk(b"sBIT", bytes([16] * 3))]),
        (np.minimum(DARK, 1023), [chunk(b"sBIT", bytes([16] * 3))]),
        # Ten bits, scaled to 16 as PNG wants it: the darkest sixteen of 1024 levels.
        (DARK >> 6 << 6, [chunk(b"sBIT", bytes([10] * 3))]),
        (np.minimum(DARK >> 6, 15) << 6, [chunk(b"sBIT", bytes([10] * 3))]),
        (of_bits(10) << 6 | of_bits(10) >> 4, [chunk(b"sBIT", bytes([10] * 3))]),
    ],
    ids=[
        "undeclared",
        "up-to-a-quarter",
        "declared-16",
        "declared-16-up-to-1023",
        "scaled",
        "scaled-and-dark",
        "scaled-by-repeating-bits",
    ],
)
def test_decode_leaves_dark_pictures_of_16_bits_dark(samples, chunks):
    assert_pixels(decode(deep_png(samples, *chunks)), samples >> 8)
    grey = [chunk(b"sBIT", each[8:9]) for each in chunks]
    assert_pixels(decode(deep_png(samples[:, :, 0], *grey)), grey3(samples[:, :, 0] >> 8))


def test_decode_leaves_dark_tiffs_of_16_bits_dark():
    assert_pixels(decode(tiff_of(DARK)), DARK >> 8)
    assert_pixels(decode(tiff_of(DARK[:, :, 0])), grey3(DARK[:, :, 0] >> 8))
    inverted = np.minimum(DARK[:, :, 0], 1023)
    assert_pixels(decode(tiff_of(inverted, t262=(3, [0]))), grey3(255 - (inverted >> 8)))
