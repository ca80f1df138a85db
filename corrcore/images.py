"""Pictures as arrays: checking, resizing, cutting out, encoding.

A picture is `UInt8[np.ndarray, "height width 3"]`: RGB, 0-255, indexed [row, column]. Points are (x, y) in pixels with
pixel centres at integers, so pixel (0, 0) covers [-0.5, 0.5) x [-0.5, 0.5). All half-pixel arithmetic of pictures is
here. Files are read by `corrcore.decoding`.
"""

import hashlib
import io
import math
import struct
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from PIL import Image

ImageLike = np.ndarray | Image.Image
"""What functions that take a picture accept: an array or a PIL image that `as_image` can tell the meaning of."""

_EXIF_ORIENTATION = 0x0112


def as_image(value: ImageLike | Any, *, name: str = "image") -> UInt8[np.ndarray, "height width 3"]:
    """A picture in the one form that is worked with; of an RGB array itself, not a copy.

    Accepted is what can mean one thing only: uint8 arrays of shape (height, width, 3), RGB; (height, width) and
    (height, width, 1), grey; (height, width, 4), RGBA, which is composited over white; and PIL images of 8 bits or
    fewer, in any mode.

    Everything else is refused with the conversion to write. Floats are always refused, for white may be 1 or
    255, and so are bools, other integers, channels first, torch tensors, and PIL images that EXIF says are
    stored turned (upright and stored pixels differ).

    `name` is what messages call the value. Raises TypeError for what is neither an array nor a PIL image, and
    ValueError for an array or image that is refused.

    >>> import numpy as np
    >>> as_image(np.zeros((4, 5), np.uint8)).shape
    (4, 5, 3)
    >>> as_image(np.ones((4, 5, 3)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: image must be uint8, 0 to 255; got float64 of shape (4, 5, 3), from 1 to 1: pass ...
    """
    if isinstance(value, Image.Image):
        return _of_pil(value, name)
    if not isinstance(value, np.ndarray):
        msg = (
            f"{name} must be a NumPy array (height, width, 3) of uint8, or a PIL image; got {_described(value)}: "
            f"{_conversion_of(value, name)}."
        )
        raise TypeError(msg)
    if value.dtype != np.uint8:
        msg = f"{name} must be uint8, 0 to 255; got {_described(value)}{_remedy_of_dtype(value, name)}."
        raise ValueError(msg)
    if not value.size or value.ndim not in (2, 3) or (value.ndim == 3 and value.shape[2] not in (1, 3, 4)):
        msg = (
            f"{name} must be of shape (height, width, 3), or (height, width) for grey, and not empty; "
            f"got {_described(value)}{_remedy_of_shape(value, name)}."
        )
        raise ValueError(msg)
    if value.ndim == 3 and value.shape[2] == 3:
        return value
    if value.ndim == 3 and value.shape[2] == 4:
        return _over_white(Image.fromarray(np.ascontiguousarray(value)))
    return np.repeat(value.reshape(*value.shape[:2], 1), 3, axis=2)


def _of_pil(image: Image.Image, name: str) -> UInt8[np.ndarray, "height width 3"]:
    if 0 in image.size:
        msg = f"{name} must not be empty; got a PIL image of {image.width} x {image.height} px."
        raise ValueError(msg)
    if image.mode.startswith(("I", "F")):
        msg = (
            f"{name} must have 8 bits per sample; got a PIL image of mode {image.mode}: "
            f"scale np.asarray({name}) to 0-255 and pass it as uint8."
        )
        raise ValueError(msg)
    orientation = _orientation_of(image)
    if orientation in range(2, 9):
        msg = (
            f"{name} must be upright; got a PIL image that EXIF says is stored turned (orientation {orientation}): "
            f"pass PIL.ImageOps.exif_transpose({name}), or read the file with decoding.decode."
        )
        raise ValueError(msg)
    if image.has_transparency_data:
        # Straight from La to RGBA Pillow drops the alpha.
        return _over_white((image.convert("LA") if image.mode == "La" else image).convert("RGBA"))
    return np.array(image.convert("RGB"))


def _orientation_of(image: Image.Image) -> object:
    try:
        return image.getexif().get(_EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        return 1  # of a corrupt block, as for any viewer


def _over_white(rgba: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba)
    return np.array(white)


def _described(value: Any) -> str:
    """Type, shape and, where it tells something, range of a value."""
    if not isinstance(value, np.ndarray):
        of = f" of shape {tuple(value.shape)}" if hasattr(value, "shape") else ""
        return f"{type(value).__module__}.{type(value).__qualname__}{of}".removeprefix("builtins.")
    if value.dtype == np.uint8 or value.dtype.kind not in "iuf" or not value.size:
        return f"{value.dtype} of shape {value.shape}"
    if np.isnan(value).any():
        return f"{value.dtype} of shape {value.shape} with NaN"
    return f"{value.dtype} of shape {value.shape}, from {value.min():g} to {value.max():g}"


def _conversion_of(value: Any, name: str) -> str:
    if hasattr(value, "permute"):  # a tensor
        is_first = len(value.shape) == 3 and value.shape[0] in (1, 3, 4) and value.shape[2] not in (1, 3, 4)
        array = f"{name}.permute(1, 2, 0)" if is_first else name
        return f"pass {array}.cpu().numpy(), as uint8 of 0 to 255"
    if isinstance(value, str | bytes) or hasattr(value, "__fspath__") or hasattr(value, "read"):
        return "read files with decoding.decode"
    return f"pass np.asarray({name}, np.uint8) if its values are 0 to 255"


def _remedy_of_dtype(value: np.ndarray, name: str) -> str:
    kind = value.dtype.kind
    if kind == "b":
        return f": pass 255 * {name}.astype(np.uint8) if True is white"
    if kind not in "iuf" or not value.size:
        return ""
    if np.isnan(value).any() or np.isinf(value).any():
        return f": fill what is not finite, scale to 0-255 and pass {name}.astype(np.uint8)"
    low, high = value.min(), value.max()
    if kind == "f" and low >= 0 and high <= 1:
        return f": pass np.rint(255 * {name}).astype(np.uint8)"
    if low >= 0 and high <= 255:
        return f": pass np.rint({name}).astype(np.uint8)" if kind == "f" else f": pass {name}.astype(np.uint8)"
    if value.dtype == np.uint16:
        return f": pass ({name} >> 8).astype(np.uint8) if 65535 is white"
    return f": scale it to 0-255 and pass {name}.astype(np.uint8)"


def _remedy_of_shape(value: np.ndarray, name: str) -> str:
    if value.size and value.ndim == 3 and value.shape[0] in (1, 3, 4):
        return f": its channels come first, so pass np.moveaxis({name}, 0, -1)"
    if value.size and value.ndim == 4:
        return f": pass the images one at a time, such as {name}[0]"
    return ""


def resize(image: ImageLike, *, longer_side: int) -> UInt8[np.ndarray, "height width 3"]:
    """Scale a picture, up or down, so that its longer side becomes `longer_side` px, keeping its proportions.

    The other side is rounded to whole pixels (at least 1), so the two axes' scales may differ a little: with
    `s = new_width / width`, the point x goes to `(x + 0.5) * s - 0.5`; likewise y with the heights. See `resize_to`.
    """
    image = as_image(image)
    if longer_side < 1:
        msg = f"longer_side must be at least 1 px; got {longer_side}."
        raise ValueError(msg)
    height, width = image.shape[:2]
    longer = max(height, width)
    # Whole-number arithmetic: rounds halves up, exactly.
    height, width = (max(1, (2 * side * longer_side + longer) // (2 * longer)) for side in (height, width))
    return resize_to(image, height=height, width=width)


def shrink(image: ImageLike, *, longer_side: int) -> UInt8[np.ndarray, "height width 3"]:
    """A picture whose longer side has at most `longer_side` px: `resize` where it has more, else as it is."""
    image = as_image(image)
    return resize(image, longer_side=longer_side) if max(image.shape[:2]) > longer_side else image


def resize_to(image: ImageLike, *, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Resample a picture to `height` x `width` px by antialiased bicubic interpolation (Pillow's).

    Pixel areas are kept aligned, not pixel centres: the picture's outline [-0.5, old_width - 0.5] becomes
    [-0.5, width - 0.5], so the point x goes to `(x + 0.5) * width / old_width - 0.5`, and y likewise.
    """
    image = as_image(image)
    if height < 1 or width < 1:
        msg = f"A picture's sides must be at least 1 px; got height {height} and width {width}."
        raise ValueError(msg)
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def window_of_resized(
    image: ImageLike, *, whole: tuple[int, int], corner: tuple[int, int], height: int, width: int
) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """A window of `height` x `width` px into a picture resampled to ``(width, height)`` = `whole`, of which no more is
    made than the window: the pixels from ``(left, top)`` = `corner` on of what `resize_to` gives, but for rounding.

    Raises ValueError for a window that is empty or not inside.
    """
    image = as_image(image)
    (left, top), (right, bottom) = corner, (corner[0] + width, corner[1] + height)
    if not (0 <= left < right <= whole[0] and 0 <= top < bottom <= whole[1]):
        msg = (
            f"a window must lie inside the {whole[0]} x {whole[1]} px; got {width} x {height} px from ({left}, {top})."
        )
        raise ValueError(msg)
    rows, columns = image.shape[:2]
    across, down = columns / whole[0], rows / whole[1]
    box = (left * across, top * down, min(right * across, columns), min(bottom * down, rows))
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box))


def crop_resized(
    image: ImageLike,
    edges: tuple[float, float, float, float],
    *,
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """A rectangle of a picture, resampled to `width` x `height` px; beyond the picture its border goes on.

    `edges` are (left, top, right, bottom) in pixels, not rounded: pixel 0 lies between -0.5 and 0.5. Bicubic, smoothed
    first where it shrinks. Raises ValueError for a rectangle without area and for sides below 1 px.
    """
    image = as_image(image)
    if height < 1 or width < 1:
        msg = f"A picture's sides must be at least 1 px; got height {height} and width {width}."
        raise ValueError(msg)
    if not (math.isfinite(sum(edges)) and edges[0] < edges[2] and edges[1] < edges[3]):
        msg = f"edges must be finite, left below right and top below bottom; got {edges}."
        raise ValueError(msg)
    left, top, right, bottom = (edge + 0.5 for edge in edges)
    rows, columns = image.shape[:2]
    across, x, x_box, x_rim = _span(left, right, width, columns)
    there, y, y_box, y_rim = _span(top, bottom, height, rows)
    around = Image.fromarray(np.ascontiguousarray(image[there[:, None], across[None, :]]))
    inner = around.resize((x, y), Image.Resampling.BICUBIC, box=(x_box[0], y_box[0], x_box[1], y_box[1]))
    return np.pad(np.asarray(inner), (y_rim, x_rim, (0, 0)), mode="edge")


def _span(start: float, stop: float, n: int, side: int) -> tuple[np.ndarray, int, tuple[float, float], tuple[int, int]]:
    """Along one axis, what of a photo is to be resampled, and to what, where `n` pixels span `start` to `stop`.

    Returns the photo's pixels, the number of output pixels they make, where these begin and end among them, and
    how many output pixels lie before and after, so far outside that all they see is the photo's last pixel: a
    rectangle much larger than its photo takes no more memory than the photo.
    """
    step = (stop - start) / n
    reach = 2 + 3 * max(step, 1)
    first = min(max(math.floor((-reach - start) / step), 0), n - 1)
    last = max(min(math.ceil((side + reach - start) / step), n), first + 1)
    begin, end = start + first * step, start + last * step
    low = math.floor(begin - reach)
    if begin - reach > side or end + reach < 0:  # the photo is elsewhere: a pixel of its edge stands for it
        pixels = np.array([0 if end < 0 else side - 1] * 2)
        return pixels, 1, (0, 2), (first, n - first - 1)
    pixels = np.clip(np.arange(low, math.ceil(end + reach)), 0, side - 1)
    return pixels, last - first, (begin - low, end - low), (first, n - last)


def hflip(image: ImageLike) -> UInt8[np.ndarray, "height width 3"]:
    """Swap left and right: the point (x, y) goes to (width - 1 - x, y)."""
    return np.ascontiguousarray(as_image(image)[:, ::-1])


def grey(image: ImageLike) -> Float32[np.ndarray, "*batch height width"]:
    """Grey levels, 0 to 255, of a picture, or of a batch of RGB pictures: the luma of ITU-R BT.601."""
    if not isinstance(image, np.ndarray) or image.ndim <= 3:
        image = as_image(image)
    elif image.dtype != np.uint8 or image.shape[-1] != 3:
        msg = f"a batch of images must be uint8 of shape (..., height, width, 3); got {_described(image)}."
        raise ValueError(msg)
    return image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def in_a_row(pictures: Sequence[ImageLike], *, gap: int = 8) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures side by side, their tops in line, with `gap` white pixels between them."""
    shown = [as_image(picture) for picture in pictures]
    height, width = max(each.shape[0] for each in shown), sum(each.shape[1] + gap for each in shown) - gap
    found = np.full((height, width, 3), 255, np.uint8)
    left = 0
    for each in shown:
        found[: each.shape[0], left : left + each.shape[1]] = each
        left += each.shape[1] + gap
    return found


def extract_patches(
    image: ImageLike,
    corners: Int[np.ndarray, "n 2"],
    *,
    height: int,
    width: int,
) -> tuple[UInt8[np.ndarray, "n height width 3"], Bool[np.ndarray, "n height width"]]:
    """Cut `n` patches of one size from a picture, and tell which of their pixels lie inside it.

    `corners` are [left, top] of each patch, whole pixels: patch i holds columns left to left + width - 1 and rows top
    to top + height - 1. Patches may cross the border or lie beyond it; pixels outside are 0 in the patches and False in
    the mask. Reconstructions (paper, Figure 1) are put together from such patches, averages (Figure 2) are their means.
    """
    image = as_image(image)
    if height < 1 or width < 1:
        msg = f"A patch's sides must be at least 1 px; got height {height} and width {width}."
        raise ValueError(msg)
    rows, columns = image.shape[:2]
    # A corner further out than one patch changes nothing: the patch is all outside.
    left, top = corners.astype(np.intp).T
    left, top = left.clip(-width, columns), top.clip(-height, rows)
    row, column = top[:, None] + np.arange(height), left[:, None] + np.arange(width)
    inside = ((row >= 0) & (row < rows))[:, :, None] & ((column >= 0) & (column < columns))[:, None, :]

    before = (max(0, -int(top.min(initial=0))), max(0, -int(left.min(initial=0))))
    after = (
        max(0, int(top.max(initial=0)) + height - rows),
        max(0, int(left.max(initial=0)) + width - columns),
    )
    if any(before + after):
        image = np.pad(image, [*zip(before, after, strict=True), (0, 0)])
    # Rows seen as bytes, three a pixel, make a patch's row one contiguous run: copied whole, not pixel by pixel.
    flat = np.ascontiguousarray(image).reshape(len(image), -1)
    windows = np.lib.stride_tricks.sliding_window_view(flat, (height, 3 * width))
    patches = windows[top + before[0], 3 * (left + before[1])]
    return patches.reshape(len(corners), height, width, 3), inside


def encode(
    image: ImageLike,
    *,
    format: Literal["WEBP", "JPEG", "PNG"] = "WEBP",  # noqa: A002
    quality: int = 90,
) -> bytes:
    """Write a picture as WebP, JPEG or PNG. `quality` is 0 to 100 for the first two; PNG is lossless and has none.

    Raises ValueError where the format cannot hold the picture: sides over 16,383 px in WebP, 65,500 in JPEG.
    """
    image = as_image(image)
    if format not in _MAX_ENCODED_SIDE:
        msg = f"format must be one of {', '.join(_MAX_ENCODED_SIDE)}; got {format!r}."
        raise ValueError(msg)
    if not 0 <= quality <= 100:
        msg = f"quality must be between 0 and 100; got {quality}."
        raise ValueError(msg)
    if max(image.shape) > _MAX_ENCODED_SIDE[format]:
        msg = (
            f"A {format} picture has sides of at most {_MAX_ENCODED_SIDE[format]:,} px; "
            f"got {image.shape[1]} x {image.shape[0]}: resize it, or use format='PNG'."
        )
        raise ValueError(msg)
    file = io.BytesIO()
    Image.fromarray(image).save(file, format=format, **({} if format == "PNG" else {"quality": quality}))
    return file.getvalue()


def digest(image: ImageLike) -> str:
    """A 32-character name for a picture's content: BLAKE2b over its shape and bytes, the same on every machine."""
    image = as_image(image)
    content = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(image).data)
    return content.hexdigest()


_MAX_ENCODED_SIDE = {"WEBP": 16_383, "JPEG": 65_500, "PNG": 2**31 - 1}
