import hashlib
import inspect
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from corrcore import extractors, images
from corrcore.decoding import decode
from corrcore.descriptors.sift import Sift
from corrcore.features import Feature
from tests.decoding.files import (
    ALPHA,
    BAD_EXIF,
    DEEP,
    GREY,
    HEIGHT,
    PICTURE,
    WIDTH,
    assert_pixels,
    grey3,
    over_white,
)

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


@pytest.mark.parametrize(("corner", "width"), [((-1, 0), 10), ((40, 0), 11), ((0, 0), 0)])
def test_a_window_beyond_the_resized_picture_is_refused(corner, width):
    with pytest.raises(ValueError, match=r"must lie inside the 50 x 40 px; got \d+ x 10 px from"):
        images.window_of_resized(np.zeros((20, 20, 3), np.uint8), whole=(50, 40), corner=corner, height=10, width=width)


def test_resize_to_the_same_size_copies():
    image = images.resize_to(PICTURE, height=HEIGHT, width=WIDTH)
    assert_pixels(image, PICTURE)
    assert not np.shares_memory(image, PICTURE)


@pytest.mark.parametrize(("longer_side", "size"), [(20, (17, 20)), (WIDTH, (HEIGHT, WIDTH)), (999, (HEIGHT, WIDTH))])
def test_shrink_makes_no_picture_larger(longer_side, size):
    assert images.shrink(PICTURE, longer_side=longer_side).shape[:2] == size


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


def test_hflip_swaps_left_and_right():
    mirrored = images.hflip(PICTURE)
    for x in (0, 7, WIDTH - 1):
        assert_pixels(mirrored[:, [WIDTH - 1 - x]], PICTURE[:, [x]])
    assert mirrored.flags.c_contiguous
    assert not np.shares_memory(mirrored, PICTURE)


# --- Cutting ---------------------------------------------------------------------------------------------------------


def test_crop_resized_of_the_whole_picture_is_the_picture():
    found = images.crop_resized(PICTURE, (-0.5, -0.5, WIDTH - 0.5, HEIGHT - 0.5), width=WIDTH, height=HEIGHT)
    np.testing.assert_array_equal(found, PICTURE)
    assert found.flags.writeable  # torch warns of arrays that are not
    assert not np.shares_memory(found, PICTURE)


def test_crop_resized_of_whole_pixels_is_a_slice():
    found = images.crop_resized(PICTURE, (4.5, 6.5, 20.5, 29.5), width=16, height=23)
    np.testing.assert_array_equal(found, PICTURE[7:30, 5:21])


def test_crop_resized_beyond_the_picture_goes_on_with_its_border():
    found = images.crop_resized(PICTURE, (-10.5, -7.5, WIDTH + 5.5, HEIGHT + 3.5), width=WIDTH + 16, height=HEIGHT + 11)
    np.testing.assert_array_equal(found, np.pad(PICTURE, ((7, 4), (10, 6), (0, 0)), mode="edge"))
    beyond = images.crop_resized(PICTURE, (100.5, 100.5, 110.5, 108.5), width=5, height=7)
    np.testing.assert_array_equal(beyond, np.broadcast_to(PICTURE[-1, -1], (7, 5, 3)))


@pytest.mark.parametrize(("width", "height"), [(96, 96), (17, 60), (5, 4), (1, 1), (200, 3)])
@pytest.mark.parametrize(
    "edges",
    [(3.25, 5.75, 30.5, 28.0), (-20.3, -31.6, 25.1, 12.7), (-300.0, 10.0, 350.0, 12.5), (38.0, 31.0, 39.4, 32.9)],
)
def test_crop_resized_equals_pillow_on_the_padded_picture(edges, width, height):
    around = 800
    padded = np.pad(PICTURE, ((around, around), (around, around), (0, 0)), mode="edge")
    box = tuple(edge + 0.5 + around for edge in edges)
    expected = Image.fromarray(padded).resize((width, height), Image.Resampling.BICUBIC, box=box)
    found = images.crop_resized(PICTURE, edges, width=width, height=height)
    assert_pixels(found, np.asarray(expected), tolerance=1)  # rounded twice, in another order


def test_crop_resized_averages_what_it_shrinks():
    y, x = np.mgrid[:64, :64]
    board = grey3((255 * ((x + y) % 2)).astype(np.uint8))
    found = images.crop_resized(board, (7.5, 7.5, 55.5, 55.5), width=6, height=6)
    assert np.abs(found.astype(float) - 127.5).max() < 6


# --- Patches ---------------------------------------------------------------------------------------------------------


def patch_by_loop(image: np.ndarray, left: int, top: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    patch, inside = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    for row in range(height):
        for column in range(width):
            y, x = top + row, left + column
            if 0 <= y < image.shape[0] and 0 <= x < image.shape[1]:
                patch[row, column], inside[row, column] = image[y, x], True
    return patch, inside


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 8), (16, 16), (50, 7), (70, 90)])
def test_extract_patches_cuts_what_a_loop_cuts(height, width):
    rng = np.random.default_rng(3)
    corners = np.stack([rng.integers(-100, 140, 60), rng.integers(-80, 110, 60)], -1)
    corners = np.concatenate([corners, [[0, 0], [WIDTH - width, HEIGHT - height], [-(10**12), 5], [7, 10**12]]])
    patches, inside = images.extract_patches(PICTURE, corners, height=height, width=width)
    for patch, mask, (left, top) in zip(patches, inside, corners, strict=True):
        expected, expected_mask = patch_by_loop(PICTURE, left, top, height, width)
        np.testing.assert_array_equal(patch, expected)
        np.testing.assert_array_equal(mask, expected_mask)


def test_extract_patches_of_inner_patches_is_all_inside():
    patches, inside = images.extract_patches(PICTURE, np.array([[3, 2], [0, 0]]), height=4, width=5)
    assert inside.all()
    np.testing.assert_array_equal(patches, [PICTURE[2:6, 3:8], PICTURE[:4, :5]])


def test_extract_patches_of_a_view_equals_that_of_a_copy():
    view = PICTURE[::-1, ::2]
    corners = np.array([[-2, 3], [4, 20]], np.int32)
    for ours, theirs in zip(
        images.extract_patches(view, corners, height=9, width=9),
        images.extract_patches(view.copy(), corners, height=9, width=9),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_extract_patches_shares_no_memory_with_the_picture():
    patches, _ = images.extract_patches(PICTURE, np.array([[0, 0]]), height=HEIGHT, width=WIDTH)
    assert not np.shares_memory(patches, PICTURE)


@pytest.mark.parametrize("size", [5, 100])
def test_extract_patches_of_no_patches_is_empty(size):
    patches, inside = images.extract_patches(PICTURE, np.zeros((0, 2), int), height=size, width=size)
    assert patches.shape == (0, size, size, 3)
    assert inside.shape == (0, size, size)


def test_extract_patches_of_empty_patches_is_refused():
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


# --- What is taken for a picture -------------------------------------------------------------------------------------

RGBA = np.dstack([PICTURE, ALPHA])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (PICTURE, PICTURE),
        (GREY, grey3(GREY)),
        (GREY[:, :, None], grey3(GREY)),
        (PICTURE[:3], PICTURE[:3]),  # three rows are rows, not channels
        (PICTURE[::-1, ::2], PICTURE[::-1, ::2]),
        (Image.fromarray(PICTURE), PICTURE),
        (Image.fromarray(GREY), grey3(GREY)),
        (Image.fromarray(GREY > 100), grey3(255 * (GREY > 100).astype(np.uint8))),
    ],
    ids=["rgb", "grey", "grey-channel", "three-rows", "view", "pil", "pil-grey", "pil-bits"],
)
def test_as_image_accepts_what_means_one_thing(value, expected):
    assert_pixels(images.as_image(value), expected)


def test_as_image_does_not_copy_what_is_a_picture_already():
    assert images.as_image(PICTURE) is PICTURE


@pytest.mark.parametrize("form", [np.asarray, Image.fromarray], ids=["array", "pil"])
def test_as_image_composites_over_white_as_decode_does(form):
    file = io.BytesIO()
    Image.fromarray(RGBA).save(file, "PNG")
    assert_pixels(images.as_image(form(RGBA)), decode(file.getvalue()))
    assert_pixels(images.as_image(form(RGBA)), over_white(PICTURE, ALPHA), tolerance=0.51)


def test_as_image_takes_pil_images_of_any_8_bit_mode():
    for mode in ("RGB", "L", "P", "LA", "CMYK", "YCbCr", "RGBX"):
        image = Image.fromarray(PICTURE).convert(mode)
        assert_pixels(images.as_image(image), np.asarray(image.convert("RGB")))


REFUSED = {
    "float-to-1": (
        PICTURE / 255,
        r"uint8, 0 to 255; got float64 of shape \(33, 40, 3\), from 0 to 1: pass np\.rint\(255",
    ),
    "float32-to-255": (PICTURE.astype(np.float32), r"float32 .* from 0 to 255: pass np\.rint\(image\)\.astype"),
    "float16": ((PICTURE / 255).astype(np.float16), "got float16 .*from 0 to 1: pass"),
    "nan": (np.full((4, 5, 3), np.nan), r"got float64 of shape \(4, 5, 3\) with NaN: fill what is not finite"),
    "infinite": (np.full((4, 5, 3), np.inf), "from inf to inf: fill what is not finite"),
    "negative": (PICTURE - 128.0, "from -128 to 127: scale it to 0-255"),
    "bool": (PICTURE > 99, r"got bool of shape \(33, 40, 3\): pass 255 \* image\.astype\(np\.uint8\) if True is white"),
    "uint16": (PICTURE.astype(np.uint16) * 257, r"got uint16 .* to 65535: pass \(image >> 8\)\.astype\(np\.uint8\)"),
    "int64": (PICTURE.astype(np.int64), r"got int64 .* from 0 to 255: pass image\.astype\(np\.uint8\)"),
    "int16": (PICTURE.astype(np.int16) - 9, "from -9 to 246: scale it to 0-255"),
    "complex": (PICTURE.astype(complex), "must be uint8, 0 to 255; got complex128"),
    "text": (np.array([["a"]]), "must be uint8, 0 to 255; got <U1"),
    "channels-first": (
        PICTURE.transpose(2, 0, 1),
        r"got uint8 of shape \(3, 33, 40\): its channels come first, so pass np\.m",
    ),
    "grey-first": (GREY[None], r"\(1, 33, 40\): its channels come first, so pass np\.moveaxis\(image, 0, -1\)"),
    "batch": (PICTURE[None], r"\(1, 33, 40, 3\): pass the images one at a time, such as image\[0\]"),
    "two-channels": (
        PICTURE[:, :, :2],
        r"must be of shape \(height, width, 3\), or .* got uint8 of shape \(33, 40, 2\)\.",
    ),
    "five-channels": (np.zeros((6, 5, 5), np.uint8), r"got uint8 of shape \(6, 5, 5\)\."),
    "empty": (np.zeros((0, 5, 3), np.uint8), r"and not empty; got uint8 of shape \(0, 5, 3\)\."),
    "no-channels": (np.zeros((5, 5, 0), np.uint8), r"and not empty; got uint8 of shape \(5, 5, 0\)\."),
    "empty-float": (np.zeros((0, 5, 3)), r"got float64 of shape \(0, 5, 3\)\."),
    "row": (GREY[0], r"got uint8 of shape \(40,\)\."),
    "number": (np.array(3, np.uint8), r"got uint8 of shape \(\)\."),
    "pil-16-bit": (Image.fromarray(DEEP), "8 bits per sample; got a PIL image of mode I;16: scale np.asarray"),
    "pil-float": (Image.fromarray(GREY.astype(np.float32)), "8 bits per sample; got a PIL image of mode F"),
    "pil-empty": (Image.new("RGB", (0, 4)), "must not be empty; got a PIL image of 0 x 4 px"),
}


@pytest.mark.parametrize(("value", "pattern"), REFUSED.values(), ids=REFUSED)
def test_as_image_refuses_the_rest_with_a_remedy(value, pattern):
    with pytest.raises(ValueError, match=pattern) as caught:
        images.as_image(value)
    assert str(caught.value).startswith("image must ")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="^images\\[2\\] must "):
        images.as_image(value, name="images[2]")


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        (
            torch.zeros(3, 4, 5),
            r"got torch\.Tensor of shape \(3, 4, 5\): pass image\.permute\(1, 2, 0\)\.cpu\(\)\.numpy",
        ),
        (
            torch.zeros(4, 5, 3, dtype=torch.uint8),
            r"got torch\.Tensor of shape \(4, 5, 3\): pass image\.cpu\(\)\.numpy",
        ),
        ("cat.png", "got str: read files with decoding.decode"),
        (Path("cat.png"), r"Path: read files with decoding\.decode"),
        (io.BytesIO(), r"got _io\.BytesIO: read files with decoding\.decode"),
        ([[1, 2], [3, 4]], r"got list: pass np\.asarray\(image, np\.uint8\)"),
        (None, "got NoneType"),
    ],
)
def test_as_image_refuses_what_is_no_array(value, pattern):
    with pytest.raises(TypeError, match=pattern):
        images.as_image(value)


@pytest.mark.parametrize("name", ["float-to-1", "float32-to-255", "float16", "uint16", "int64", "channels-first"])
def test_remedy_of_as_image_makes_the_picture(name):
    value, _ = REFUSED[name]
    with pytest.raises(ValueError, match="image must") as caught:
        images.as_image(value)
    conversion = re.search(r"pass (.+?)(?: if .*)?\.$", str(caught.value))
    assert conversion is not None
    assert_pixels(images.as_image(eval(conversion[1], {"np": np, "image": value})), PICTURE, tolerance=1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_as_image_refuses_pil_images_that_are_stored_turned(kind):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PICTURE).save(file, kind, exif=exif)
    stored = Image.open(file)
    with pytest.raises(
        ValueError, match=r"must be upright; .* turned \(orientation 6\): pass PIL.ImageOps.exif_transpose"
    ):
        images.as_image(stored)
    assert_pixels(images.as_image(ImageOps.exif_transpose(stored)), decode(file.getvalue()), tolerance=12)


@pytest.mark.parametrize("name", sorted({*BAD_EXIF} - {"orientation-twice", "orientation-long"}))
@pytest.mark.filterwarnings("ignore")  # Pillow's, of the block
def test_as_image_ignores_corrupt_exif(name):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "PNG", exif=b"Exif\0\0" + BAD_EXIF[name])
    assert images.as_image(Image.open(file)).shape == PICTURE.shape


def test_pictures_in_a_row_have_white_between_and_below():
    tall, wide = np.zeros((5, 2, 3), np.uint8), np.full((3, 4, 3), 7, np.uint8)
    found = images.in_a_row([tall, wide], gap=1)
    assert found[..., 0].tolist() == [[0, 0, 255, 7, 7, 7, 7]] * 3 + [[0, 0, 255, 255, 255, 255, 255]] * 2


OPERATIONS = {
    "resize": lambda image: images.resize(image, longer_side=9),
    "shrink": lambda image: images.shrink(image, longer_side=20),
    "resize_to": lambda image: images.resize_to(image, height=3, width=4),
    "window_of_resized": lambda image: images.window_of_resized(image, whole=(9, 7), corner=(2, 1), height=3, width=4),
    "crop_resized": lambda image: images.crop_resized(image, (1.5, 2.5, 9.5, 8.5), width=5, height=4),
    "hflip": images.hflip,
    "grey": images.grey,
    "in_a_row": lambda image: images.in_a_row([image, image]),
    "extract_patches": lambda image: images.extract_patches(image, np.array([[0, 1]]), height=2, width=2)[0],
    "encode": lambda image: np.frombuffer(images.encode(image), np.uint8),
    "digest": lambda image: np.array(images.digest(image)),
}


def test_every_operation_is_tried():
    public = {name for name, value in vars(images).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert public == {*OPERATIONS, "as_image"}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_operations_take_any_picture_as_its_rgb(operation):
    for value in (GREY, RGBA, Image.fromarray(PICTURE), Image.fromarray(GREY)):
        np.testing.assert_array_equal(operation(value), operation(images.as_image(value)))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("value", [PICTURE / 255, PICTURE > 99, PICTURE.transpose(2, 0, 1), PICTURE[:0]])
def test_operations_refuse_what_is_no_picture(operation, value):
    with pytest.raises(ValueError, match="^image must be "):
        operation(value)


def test_grey_takes_batches_of_rgb():
    batch = np.stack([PICTURE, PICTURE[::-1]])
    np.testing.assert_array_equal(images.grey(batch)[1], images.grey(PICTURE[::-1]))
    with pytest.raises(
        ValueError, match=r"batch of images must be uint8 of shape .* got float64 of shape \(2, 33, 40, 3\)"
    ):
        images.grey(batch / 255)


@pytest.mark.parametrize(
    ("edges", "size", "pattern"),
    [
        ((0.0, 0.0, 0.0, 5.0), (4, 4), r"left below right and top below bottom; got \(0\.0, 0\.0, 0\.0, 5\.0\)"),
        ((0.0, 5.0, 5.0, 1.0), (4, 4), "top below bottom"),
        ((0.0, 0.0, math.nan, 5.0), (4, 4), "edges must be finite"),
        ((0.0, 0.0, math.inf, 5.0), (4, 4), "edges must be finite"),
        ((0.0, 0.0, 5.0, 5.0), (0, 4), "at least 1 px; got height 4 and width 0"),
    ],
)
def test_crop_resized_refuses_what_has_no_area(edges, size, pattern):
    with pytest.raises(ValueError, match=pattern):
        images.crop_resized(PICTURE, edges, width=size[0], height=size[1])


@pytest.mark.parametrize("longer_side", [0, -5])
def test_resize_to_no_side_is_refused(longer_side):
    with pytest.raises(ValueError, match=f"longer_side must be at least 1 px; got {longer_side}"):
        images.resize(PICTURE, longer_side=longer_side)


# --- Whoever takes pictures ------------------------------------------------------------------------------------------

POINTS = np.array([[40.0, 30.0], [3.0, 60.0]])
SIFT, CONV1 = Sift(device="cpu"), Feature("alexnet", "conv1")
TAKERS = {
    "extract": lambda net, image: net.extract(image, ["conv1"])["conv1"].descriptors,
    "extract_batch": lambda net, image: net.extract_batch([image, image], ["conv1"])[1]["conv1"].descriptors,
    "sample_at": lambda net, image: net.sample_at(image, POINTS, ["conv1"])["conv1"],
    "sample_at exact": lambda net, image: net.sample_at(image, POINTS, ["conv1"], exact=True)["conv1"],
    "iter_tiles": lambda net, image: next(net.iter_tiles(image, "conv1"))[1],
    "sift sample_at": lambda net, image: SIFT.sample_at(image, POINTS, ["8"])["8"],
    "sift iter_tiles": lambda net, image: next(SIFT.iter_tiles(image, "8"))[1],
    "features": lambda net, image: (
        extractors.extract(image, [Feature("sift", "8")], network=net).popitem()[1].descriptors
    ),
    "features sample_at": lambda net, image: extractors.sample_at(image, POINTS, [CONV1], network=net)[CONV1],
    "features iter_tiles": lambda net, image: next(extractors.iter_tiles(image, CONV1, network=net))[1],
}


@pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)
def test_extractors_take_any_picture_as_its_rgb(taker, alexnet):
    picture = images.resize(PICTURE, longer_side=80)
    grey, alpha = picture[:, :, 1], np.dstack([picture, picture[:, :, 0]])
    for value in (grey, alpha, Image.fromarray(picture), picture[:, ::-1]):
        expected = taker(alexnet, np.ascontiguousarray(images.as_image(value)))
        torch.testing.assert_close(taker(alexnet, value), expected, rtol=0, atol=0)


@pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)
def test_extractors_refuse_what_is_no_picture(taker, alexnet):
    picture = images.resize(PICTURE, longer_side=80)
    for value in (picture / 255, picture > 99, picture.astype(np.uint16) * 257, picture.transpose(2, 0, 1)):
        with pytest.raises(ValueError, match=r"^image(s\[0\])? must be .* pass "):
            taker(alexnet, value)


def test_global_descriptors_refuse_what_is_no_picture(alexnet):
    with pytest.raises(ValueError, match="^image must be uint8"):
        alexnet.global_descriptor(PICTURE / 255, "fc6")
