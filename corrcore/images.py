"""Pictures in and out: safe decoding, resizing, cutting patches, encoding.

A picture is `UInt8[np.ndarray, "height width 3"]`: RGB, 0-255, indexed [row, column]. Points are (x, y) in pixels with
pixel centres at integers, so pixel (0, 0) covers [-0.5, 0.5) x [-0.5, 0.5). All half-pixel arithmetic of pictures is
here.

Decoding is for files from strangers. Pillow is shown only the parts of a file that hold pixels: where it would parse
them, text, colour profiles, thumbnails, further frames and EXIF are cut away unread, but for the orientation, which is
read here. So metadata can neither swell in memory nor make Pillow warn, and neither Pillow's global settings nor
Python's warning filters, which all threads share, have to be touched.
"""

import hashlib
import io
import math
import os
import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from PIL import AvifImagePlugin, Image, ImageFile, TiffTags, features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

# The last for run-time checkers: `BytesIO`, and so an upload, is a `BinaryIO` to static ones only.
Source = bytes | str | os.PathLike | BinaryIO | io.BufferedIOBase

_MAX_SIDE = 65_535

# Past this Pillow itself warns of a decompression bomb (its default `MAX_IMAGE_PIXELS`).
_PILLOW_MAX_PIXELS = 89_478_485

# Chunks, segments, blocks or strips of one file. A photograph has tens; millions would keep a parser busy for minutes.
_MAX_PARTS = 2**17
# Each scan of a progressive JPEG passes over the whole picture, however few bytes it takes. Encoders write about ten.
_MAX_SCANS = 50


class ImageError(ValueError):
    """A file is no picture that can be read here; the message is one sentence fit to show its owner."""


def decode(
    source: Source,
    *,
    name: str | None = None,
    max_pixels: int = 25_000_000,
    max_bytes: int = 20 * 2**20,
) -> UInt8[np.ndarray, "height width 3"]:
    """Read a picture from bytes, a path, or an open binary file (read from its start), as upright RGB.

    Read are JPEG, PNG, WebP, AVIF (where Pillow has it), GIF, BMP, TIFF and binary PBM/PGM/PPM, told apart by content,
    never by name. A side is 1 to 65,535 px. What comes back is contiguous, writable and shares no memory with `source`.

    - EXIF orientation (for AVIF its own rotation and mirroring) is applied; a corrupt EXIF block is ignored.
    - Of animations and files of several pages the first picture is taken; of an APNG its default picture.
    - Transparency is composited over white. (The transparent key colour of a 16-bit PNG is ignored.)
    - Colour profiles are ignored: values are taken as sRGB, CMYK is converted as (1 - ink)(1 - black). CMYK in JPEG is
      taken as stored inverted (255 = no ink), as browsers do; in TIFF as 0 = no ink.
    - Samples of 16 bits keep their high byte (12 bits: the upper 8); PGM and PPM are scaled by their declared maximum.
    - Float and 32-bit or signed TIFFs are scaled linearly: black is the smaller of 0 and the least finite value, white
      the larger of 1 and the greatest; NaN is black, an infinity takes the end of its sign.

    Limits are checked before pixels are decoded: `max_bytes` while reading, `max_pixels` (width x height, at most
    89,478,485) from the header. `name` is what the messages call the file; by default the path's or open file's own.

    Raises `ImageError` for any file that gives no picture, and `ValueError` for a `max_pixels` out of its range.
    """
    if not 1 <= max_pixels <= _PILLOW_MAX_PIXELS:
        msg = f"max_pixels must be between 1 and {_PILLOW_MAX_PIXELS:,}; got {max_pixels:,}."
        raise ValueError(msg)
    shown = f"'{display_name(_own_name(source) if name is None else name)}'"
    data = _read(source, shown, max_bytes)
    if not data:
        msg = f"{shown} is empty (0 bytes); choose a file that holds a picture."
        raise ImageError(msg)
    if len(data) > max_bytes:
        msg = f"{shown} is larger than the {max_bytes / 2**20:.1f} MiB accepted; choose or save a smaller file."
        raise ImageError(msg)
    found = next((kind for kind in _KINDS if kind.signature.match(data)), None)
    if found is None:
        names = ", ".join(kind.name for kind in _KINDS)
        msg = f"{shown} is in none of the formats read here ({names}); save it as one of them, PNG or JPEG for choice."
        raise ImageError(msg)

    with _blaming(shown, found.name, max_pixels):
        opened = found.open(data)
    _check_size(shown, opened.width, opened.height, max_pixels)
    with _blaming(shown, found.name, max_pixels):
        pixels = opened.pixels()
    return np.array(_upright(pixels, opened.orientation), order="C")


def display_name(name: str) -> str:
    """The last part of an uploaded file's name, made fit to show: printable characters only, 60 at most.

    Names arrive as the sender chose them, with folders (`../../x.png`), NUL, line ends or marks that turn the direction
    of writing. Never use the result as a path.
    """
    return _printable(re.split(r"[/\\]", name.rstrip("/\\"))[-1]) or "unnamed file"


def _printable(text: str) -> str:
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= 60 else f"{clean[:42]}…{clean[-17:]}"


def resize(
    image: UInt8[np.ndarray, "height width 3"], *, longer_side: int
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Scale a picture, up or down, so that its longer side becomes `longer_side` px, keeping its proportions.

    The other side is rounded to whole pixels (at least 1), so the two axes' scales may differ a little: with
    `s = new_width / width`, the point x goes to `(x + 0.5) * s - 0.5`; likewise y with the heights. See `resize_to`.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    # Whole-number arithmetic: rounds halves up, exactly.
    height, width = (max(1, (2 * side * longer_side + longer) // (2 * longer)) for side in (height, width))
    return resize_to(image, height=height, width=width)


def resize_to(
    image: UInt8[np.ndarray, "old_height old_width 3"], *, height: int, width: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Resample a picture to `height` x `width` px by antialiased bicubic interpolation (Pillow's).

    Pixel areas are kept aligned, not pixel centres: the picture's outline [-0.5, old_width - 0.5] becomes
    [-0.5, width - 0.5], so the point x goes to `(x + 0.5) * width / old_width - 0.5`, and y likewise.
    """
    _check_rgb(image)
    if height < 1 or width < 1:
        msg = f"A picture's sides must be at least 1 px; got height {height} and width {width}."
        raise ValueError(msg)
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def crop_resized(
    image: UInt8[np.ndarray, "image_height image_width 3"],
    edges: tuple[float, float, float, float],
    *,
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """A rectangle of a picture, resampled to `width` x `height` px; beyond the picture its border goes on.

    `edges` are (left, top, right, bottom) in pixels, not rounded: pixel 0 lies between -0.5 and 0.5. Bicubic, smoothed
    first where it shrinks.
    """
    left, top, right, bottom = (edge + 0.5 for edge in edges)
    rows, columns = image.shape[:2]
    across, x, x_box, x_rim = _span(left, right, width, columns)
    there, y, y_box, y_rim = _span(top, bottom, height, rows)
    around = Image.fromarray(np.ascontiguousarray(image[there[:, None], across[None, :]]))
    inner = around.resize((x, y), Image.Resampling.BICUBIC, box=(x_box[0], y_box[0], x_box[1], y_box[1]))
    return np.pad(np.asarray(inner), (y_rim, x_rim, (0, 0)), mode="edge")


def _span(start: float, stop: float, n: int, side: int) -> tuple[np.ndarray, int, tuple[float, float], tuple[int, int]]:
    """Along one axis, what of a photo is to be resampled, and to what, where `n` pixels span `start` to `stop`.

    Returns the photo's pixels, the number of output pixels they make, where these begin and end among them, and how many
    output pixels lie before and after, so far outside that all they see is the photo's last pixel: a rectangle much
    larger than its photo takes no more memory than the photo.
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


def hflip(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Swap left and right: the point (x, y) goes to (width - 1 - x, y)."""
    return np.ascontiguousarray(image[:, ::-1])


def grey(images: UInt8[np.ndarray, "*shape 3"]) -> Float32[np.ndarray, "*shape"]:
    """Grey levels, 0 to 255, of one or more pictures: the luma of ITU-R BT.601."""
    return images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def extract_patches(
    image: UInt8[np.ndarray, "image_height image_width 3"],
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
    _check_rgb(image)
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
    image: UInt8[np.ndarray, "height width 3"],
    *,
    format: Literal["WEBP", "JPEG", "PNG"] = "WEBP",  # noqa: A002
    quality: int = 90,
) -> bytes:
    """Write a picture as WebP, JPEG or PNG. `quality` is 0 to 100 for the first two; PNG is lossless and has none.

    Raises `ValueError` where the format cannot hold the picture: sides over 16,383 px in WebP, 65,500 in JPEG.
    """
    _check_rgb(image)
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


def digest(image: UInt8[np.ndarray, "height width 3"]) -> str:
    """A 32-character name for a picture's content: BLAKE2b over its shape and bytes, the same on every machine."""
    content = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    content.update(np.ascontiguousarray(image).data)
    return content.hexdigest()


_MAX_ENCODED_SIDE = {"WEBP": 16_383, "JPEG": 65_500, "PNG": 2**31 - 1}


def _check_rgb(image: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        msg = f"A picture must be a non-empty uint8 array of shape (height, width, 3); got {image.dtype} {image.shape}."
        raise ValueError(msg)


# --- Reading ---------------------------------------------------------------------------------------------------------


def _own_name(source: Source) -> str:
    if isinstance(source, bytes):
        return "image"
    own = os.fsdecode(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "image")
    return own if isinstance(own, str) else "image"


def _read(source: Source, shown: str, max_bytes: int) -> bytes:
    """All of `source`, or its first `max_bytes + 1` bytes where it has more."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | os.PathLike) and "\0" in os.fsdecode(source):
        msg = f"{shown} cannot be read (NUL in its path); give the path of a picture."
        raise ImageError(msg)
    try:
        if not isinstance(source, str | os.PathLike):
            return _read_stream(source, max_bytes)
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(source).st_mode):
            msg = f"{shown} is not a regular file; give the path of a picture."
            raise ImageError(msg)
        with open(source, "rb") as file:
            return _read_stream(file, max_bytes)
    except OSError as error:
        msg = f"{shown} cannot be read ({error.strerror or error}); check that it is there and may be read."
        raise ImageError(msg) from error


def _read_stream(file: BinaryIO | io.BufferedIOBase, max_bytes: int) -> bytes:
    if file.seekable():
        file.seek(0)
    data = bytearray()
    while len(data) <= max_bytes and (part := file.read(max_bytes + 1 - len(data))):
        data += part
    return bytes(data)


def _check_size(shown: str, width: int, height: int, max_pixels: int) -> None:
    if min(width, height) < 1:
        msg = f"{shown} is {width:,} x {height:,} pixels, so it holds no picture; choose another file."
        raise ImageError(msg)
    if width * height > max_pixels:
        msg = (
            f"{shown} is {width:,} x {height:,} pixels ({width * height / 1e6:,.1f} megapixels), "
            f"more than the {max_pixels / 1e6:,.1f} megapixels accepted; save it smaller."
        )
        raise ImageError(msg)
    if max(width, height) > _MAX_SIDE:
        msg = (
            f"{shown} is {width:,} x {height:,} pixels, with a side longer than the {_MAX_SIDE:,} accepted; "
            "save it smaller or cut it."
        )
        raise ImageError(msg)


# What Pillow's and our parsers raise on damaged files.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@contextmanager
def _blaming(shown: str, kind: str, max_pixels: int) -> Iterator[None]:
    """Turn what goes wrong inside into an `ImageError` about the file."""
    try:
        yield
    except Image.DecompressionBombError as error:
        # Raised for WebP before its size can be seen here.
        msg = f"{shown} holds more than the {max_pixels / 1e6:,.1f} megapixels accepted; save it smaller."
        raise ImageError(msg) from error
    except _DAMAGE as error:
        # What a parser says that ran past the end means nothing to the owner; what Pillow says may quote the file.
        past_end = isinstance(error, struct.error | EOFError | LookupError)
        reason = "it ends too early" if past_end else _printable(str(error)) or type(error).__name__
        msg = (
            f"{shown} cannot be decoded as {kind} ({reason}): it is damaged, cut short or of a rare kind; "
            "save it anew as PNG or JPEG."
        )
        raise ImageError(msg) from error


@dataclass(frozen=True)
class _Opened:
    """A picture whose size is known and whose pixels are still to be decoded, [row, column, RGB] as they are stored."""

    width: int
    height: int
    pixels: Callable[[], np.ndarray]
    orientation: int = 1


def _opened(image: ImageFile.ImageFile, exif: bytes = b"") -> _Opened:
    return _Opened(*image.size, pixels=lambda: _rgb(image), orientation=_orientation(exif))


def _rgb(image: ImageFile.ImageFile) -> np.ndarray:
    """Decode, and bring any of Pillow's modes to RGB by the rules in `decode`."""
    image.load()
    if image.mode.startswith(("I", "F")):
        return np.broadcast_to(_grey_of_deep(image)[:, :, None], (image.height, image.width, 3))
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image)
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    # Straight from La to RGBA Pillow drops the alpha.
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba, mask=rgba)
    return np.asarray(white)


def _grey_of_deep(image: ImageFile.ImageFile) -> np.ndarray:
    """Grey of more than 8 bits as 0-255."""
    values = np.asarray(image)
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    if image.mode.startswith("I;16"):
        grey = (values >> (tags.get(_BITS, (16,))[0] - 8)).astype(np.uint8)
    else:
        if image.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,))[0] == 1:
            # Pillow reads unsigned numbers of 32 bits as signed ones.
            values = values.view(np.uint32)
        values = values.astype(np.float32)
        finite = np.isfinite(values)
        low = float(values.min(where=finite, initial=0.0))
        high = float(values.max(where=finite, initial=1.0))
        scale = 255 / (high - low)
        levels = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
        grey = np.rint(levels * scale - low * scale).clip(0, 255).astype(np.uint8)
    # Pillow turns "white is zero" round for 8 bits, not for more.
    return 255 - grey if tags.get(_PHOTOMETRIC) == 0 else grey


def _orientation(exif: bytes) -> int:
    """EXIF tag 0x0112 of a block laid out as TIFF: 1 to 8, or 1 where it is missing or makes no sense."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}L", exif, 4)
        (n_entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for at in range(directory + 2, directory + 2 + 12 * n_entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHLH", exif, at)
            if tag == 0x0112:
                return value if (kind, count) == (3, 1) and 1 <= value <= 8 else 1
    except struct.error:
        # Cut short.
        pass
    return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation: 2-4 turn or mirror about the axes, 5-8 also swap rows and columns."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # After the swap: which of the rows, the columns run backwards.
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(orientation, (1, 1))
    return pixels[::rows, ::columns]


# --- Formats ---------------------------------------------------------------------------------------------------------

# A marker with its code; `FF 00` and the restart markers belong to the entropy-coded data, `FF FF` is padding.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)


def _open_jpeg(data: bytes) -> _Opened:
    """Keep the tables, frames and scans up to the first end of image, and of APPn only JFIF (0) and Adobe (14)."""
    kept, exif, at, n_scans = [data[:2]], b"", 2, 0
    for _ in range(_MAX_PARTS):
        marker = _JPEG_MARKER.search(data, at)
        if n_scans:
            # What lies between two markers is the picture; before the first scan it is junk.
            kept.append(data[at : marker.start() if marker else None])
        if marker is None:
            break
        code, body = marker[1][0], marker.end()
        if code == 0xD9:
            kept.append(marker[0])
            break
        # Two markers stand alone, the others have a length.
        at = body if code in (0x01, 0xD8) else body + int.from_bytes(data[body : body + 2])
        if code == 0xE1 and not exif and data.startswith(b"Exif\0\0", body + 2):
            exif = data[body + 2 : at]
        elif code in (0xE0, 0xEE) or not (0xE0 <= code <= 0xEF or code == 0xFE):
            kept.append(data[marker.start() : at])
        n_scans += code == 0xDA
        if n_scans > _MAX_SCANS:
            msg = f"more than {_MAX_SCANS} scans"
            raise ValueError(msg)
    else:
        msg = f"more than {_MAX_PARTS:,} segments"
        raise ValueError(msg)
    return _opened(JpegImageFile(io.BytesIO(b"".join(kept))), exif)


def _open_png(data: bytes) -> _Opened:
    """Keep the chunks of the one still picture."""
    kept, exif, at = [data[:8]], b"", 8
    wanted = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
    if data[24:25] == b"\x10":
        # Pillow would compare a key of 16 bits with samples of 8.
        wanted.remove(b"tRNS")
    for _ in range(_MAX_PARTS):
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if kind in wanted:
            kept.append(data[at:end])
        elif kind == b"eXIf":
            exif = data[at + 8 : end - 4]
        if kind == b"IEND" or end >= len(data):
            break
        at = end
    else:
        msg = f"more than {_MAX_PARTS:,} chunks"
        raise ValueError(msg)
    return _opened(PngImageFile(io.BytesIO(b"".join(kept))), exif)


def _open_webp(data: bytes) -> _Opened:
    image = WebPImageFile(io.BytesIO(data))
    return _opened(image, image.info.get("exif", b""))


def _open_avif(data: bytes) -> _Opened:
    """Rename EXIF items: Pillow would parse them, while AVIF's own rotation and mirroring say all that counts."""
    parts, at = [], 0
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        end = at + size if size >= 8 else len(data)
        box = data[at:end]
        parts.append(box.replace(b"Exif", b"none") if kind in (b"meta", b"moov") else box)
        at = end
        if len(parts) > _MAX_PARTS:
            msg = f"more than {_MAX_PARTS:,} boxes"
            raise ValueError(msg)
    image = AvifImagePlugin.AvifImageFile(io.BytesIO(b"".join(parts)))
    return _opened(image, image.info.get("exif", b""))


def _open_gif(data: bytes) -> _Opened:
    """Keep the header and the first frame with its transparency, and find how far that frame reaches.

    Pillow widens the canvas to hold a frame that sticks out, before that size could be checked.
    """
    canvas_width, canvas_height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    header, control = data[:at], b""
    in_extension = False
    for _ in range(_MAX_PARTS):
        byte = data[at]
        if in_extension:
            # A sub-block of so many bytes; an empty one ends the extension.
            at += 1 + byte
            in_extension = byte > 0
        elif byte == ord("!"):
            if data[at + 1] == 0xF9 and data[at + 2] == 4 and data[at + 7] == 0:
                control = data[at : at + 8]
            at += 2
            in_extension = True
        elif byte == ord(","):
            break
        elif byte == ord(";"):
            msg = "no picture in it"
            raise ValueError(msg)
        else:
            at += 1
    else:
        msg = f"more than {_MAX_PARTS:,} blocks"
        raise ValueError(msg)
    left, top, width, height = struct.unpack_from("<HHHH", data, at + 1)
    return _Opened(
        max(canvas_width, left + width),
        max(canvas_height, top + height),
        pixels=lambda: _rgb(GifImageFile(io.BytesIO(header + control + data[at:]))),
    )


def _open_bmp(data: bytes) -> _Opened:
    image = BmpImageFile(io.BytesIO(data))
    if image.tile[0].codec_name == "bmp_rle":
        # Pillow unpacks them in Python, a pixel at a time: two kilobytes can take six seconds.
        msg = "run-length coded BMP is not read"
        raise ValueError(msg)
    return _opened(image)


_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT = 256, 257, 258, 259, 262, 339
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
# The tags that say how pixels are stored; all others stay unread.
_TIFF_TAGS = {
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT, _TILE_WIDTH, _TILE_HEIGHT),
    *(266, 273, 277, 278, 279, 284),  # fill order, strips, samples a pixel, planes
    *(292, 293, 317, 320, 324, 325, 338, 347),  # fax options, predictor, palette, tiles, alpha, JPEG tables
    *(529, 530, 531, 532),  # YCbCr
}
_TIFF_SIZES = {1: 1, 3: 2, 4: 4, 5: 8, 7: 1}  # bytes a value: BYTE, SHORT, LONG, RATIONAL, UNDEFINED
# Uncompressed, fax, LZW, JPEG, deflate, packed bits. The rest is rare, and its decoders take memory as the file says.
_TIFF_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}


def _open_tiff(data: bytes) -> _Opened:
    """Append a directory with the first page's storage tags alone, and make it the only one."""
    order = "<" if data[:1] == b"I" else ">"
    (directory,) = struct.unpack_from(f"{order}L", data, 4)
    (n_entries,) = struct.unpack_from(f"{order}H", data, directory)
    entries: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    n_bytes = 0
    for at in range(directory + 2, directory + 2 + 12 * n_entries, 12):
        tag, kind, count, offset = struct.unpack_from(f"{order}HHLL", data, at)
        if tag not in _TIFF_TAGS or tag in entries or kind not in _TIFF_SIZES:
            continue
        size = count * _TIFF_SIZES[kind]
        n_bytes += size
        if (
            not 1 <= count <= _MAX_PARTS
            # Pillow would warn; bytes count as one value.
            or (count > 1 and TiffTags.lookup(tag).length == 1 and kind not in (1, 7))
            or (size > 4 and offset + size > len(data))
            or n_bytes > len(data)
        ):
            msg = f"tag {tag} holds {count} values"
            raise ValueError(msg)
        entries[tag] = data[at : at + 12]
        numbers[tag] = struct.unpack_from(f"{order}H", data, at + 8)[0] if kind == 3 else offset
    if numbers.get(_COMPRESSION, 1) not in _TIFF_COMPRESSIONS:
        msg = f"compression {numbers[_COMPRESSION]} is not read"
        raise ValueError(msg)
    width, height = numbers.get(_WIDTH, 0), numbers.get(_HEIGHT, 0)
    tile_width, tile_height = numbers.get(_TILE_WIDTH, 1), numbers.get(_TILE_HEIGHT, 1)
    if tile_width * tile_height > max(2 * width * height, 2**20):
        msg = f"tiles of {tile_width} x {tile_height} pixels"
        raise ValueError(msg)

    padding = b"\0" * (len(data) % 2)
    moved = struct.pack(f"{order}L", len(data) + len(padding))
    alone = struct.pack(f"{order}H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + b"\0" * 4
    clean = b"".join([data[:4], moved, data[8:], padding, alone])
    return _Opened(width, height, pixels=lambda: _tiff_pixels(clean), orientation=_orientation(data))


def _tiff_pixels(clean: bytes) -> np.ndarray:
    image = TiffImageFile(io.BytesIO(clean))
    # Strips may be listed over and over, each to be decoded. Eight: the most planes Pillow reads.
    boxes = [tile.extents or (0, 0, 0, 0) for tile in image.tile]
    if sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) > 8 * image.width * image.height:
        msg = "its strips overlap"
        raise ValueError(msg)
    return _rgb(image)


_NETPBM_HEADER = re.compile(
    rb"""P(?:(4)|[56])
    (?:\s|\#[^\r\n]*[\r\n])+ (\d{1,10})           # width
    (?:\s|\#[^\r\n]*[\r\n])+ (\d{1,10})           # height
    (?(1)|(?:\s|\#[^\r\n]*[\r\n])+ (\d{1,5}))\s   # the value of white, but for bitmaps""",
    re.VERBOSE,
)


def _open_netpbm(data: bytes) -> _Opened:
    """Binary PBM, PGM and PPM (P4, P5, P6), read here: Pillow goes through most of them in Python, pixel by pixel."""
    header = _NETPBM_HEADER.match(data, 0, 4096)
    if header is None:
        msg = "its header makes no sense"
        raise ValueError(msg)
    width, height = int(header[2]), int(header[3])
    white = int(header[4] or 1)
    n_channels = 3 if data[1:2] == b"6" else 1
    if not 1 <= white <= 65_535:
        msg = f"maximum {white} is not between 1 and 65535"
        raise ValueError(msg)

    def pixels() -> np.ndarray:
        if header[1]:
            row_bytes = (width + 7) // 8
            packed = np.frombuffer(data, np.uint8, height * row_bytes, header.end()).reshape(height, row_bytes)
            levels = 255 * (1 - np.unpackbits(packed, axis=1, count=width))[:, :, None]
        else:
            sample = np.dtype(np.uint8 if white < 256 else ">u2")
            count = height * width * n_channels
            samples = np.frombuffer(data, sample, count, header.end()).reshape(height, width, n_channels)
            to_level = (np.arange(2 ** (8 * sample.itemsize)) * 255 + white // 2) // white
            levels = np.minimum(to_level, 255).astype(np.uint8)[samples]
        return np.broadcast_to(levels, (height, width, 3))

    return _Opened(width, height, pixels)


@dataclass(frozen=True)
class _Kind:
    """A format: its name, how its files begin, and what opens them."""

    name: str
    signature: re.Pattern[bytes]
    open: Callable[[bytes], _Opened]


_KINDS = [
    _Kind("JPEG", re.compile(rb"\xff\xd8\xff"), _open_jpeg),
    _Kind("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), _open_png),
    _Kind("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL), _open_webp),
    _Kind("GIF", re.compile(rb"GIF8[79]a"), _open_gif),
    _Kind("BMP", re.compile(rb"BM"), _open_bmp),
    _Kind("TIFF", re.compile(rb"II\*\x00|MM\x00\*"), _open_tiff),
    _Kind("PBM/PGM/PPM", re.compile(rb"P[456]\s"), _open_netpbm),
]
if features.check("avif"):
    _KINDS.append(_Kind("AVIF", re.compile(rb"....ftyp(?:avif|avis|mif1|msf1)", re.DOTALL), _open_avif))
