"""Telling formats apart, and reading pictures and their sizes."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import features

from corrcore.decoding import containers, limits
from corrcore.decoding.limits import ImageError, Source
from corrcore.decoding.netpbm import open_netpbm
from corrcore.decoding.pixels import OpenedImage
from corrcore.decoding.tiff import open_tiff

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".avifs", ".gif", ".bmp"),
        *(".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm"),
    }
)
"""How names of files that can be read end, in lower case. Files are told apart by content all the same."""

_PREFIX_BYTES = 2**16


def decode(
    source: Source,
    *,
    name: str | None = None,
    max_pixels: int | None = limits.MAX_PIXELS,
    max_bytes: int | None = limits.MAX_BYTES,
) -> UInt8[np.ndarray, "height width 3"]:
    """Read a picture from bytes, a path, or an open binary file (read from its start), as upright RGB.

    Read are JPEG, PNG, WebP, AVIF (where Pillow has it), GIF, BMP, TIFF and binary PBM/PGM/PPM, told apart by content,
    never by name. A side is 1 to 65,535 px. What comes back is contiguous, writable and shares no memory with `source`.

    - EXIF orientation (for AVIF its own rotation and mirroring) is applied; a corrupt EXIF block is ignored.
    - Of animations and files of several pages the first picture is taken; of an APNG its default picture.
    - Transparency is composited over white. (The transparent key colour of a 16-bit PNG is ignored.)
    - Colour profiles are ignored: values are taken as sRGB, CMYK is converted as (1 - ink)(1 - black). CMYK in JPEG is
      taken as stored inverted (255 = no ink), as browsers do; in TIFF as 0 = no ink.
    - Samples of 16 bits keep their high byte (12 bits: the upper 8). Samples of fewer bits that were stored in 16
      without being scaled keep the upper 8 of the bits they have: as PNG's sBIT chunk declares them; without one, 10 or
      12 if the greatest sample is exactly the white of so many. Anything else stays as dark as it is. PGM and PPM are
      scaled by their declared maximum.
    - Float and 32-bit or signed TIFFs are scaled linearly: black is the smaller of 0 and the least finite value, white
      the larger of 1 and the greatest; NaN is black, an infinity takes the end of its sign.

    The limits are for strangers' files, and are checked first: `max_bytes` before anything is read where the
    size can be known, else while reading; `max_pixels` (width x height, at most 89,478,485) from the header.
    For files of your own None lifts either. `name` is what the messages call the file; by default the path's or
    open file's own.

    Raises `ImageError` for any file that gives no picture, and `ValueError` for a `max_pixels` out of its range.
    """
    limits.check_max_pixels(max_pixels)
    title = _title(source, name)
    data = limits.read(source, title, max_bytes)
    found = _format_of(data, title)
    opened = _open(data, found, title, max_pixels)
    with limits.blame_file(title, found.name):
        return opened.decode()


def read_size(
    source: Source,
    *,
    upright: bool = True,
    name: str | None = None,
    max_pixels: int | None = limits.MAX_PIXELS,
    max_bytes: int | None = limits.MAX_BYTES,
) -> tuple[int, int]:
    """Width and height of a picture as `decode` gives it, without decoding its pixels.

    Cameras store photos as the sensor lay and note in EXIF how to turn them. `upright` is the turned picture, which is
    what everything here works with; its opposite is the stored one, in whose pixels some annotations were made.

    The other arguments, and what is raised, are those of `decode`; damage behind the header stays unseen.
    """
    limits.check_max_pixels(max_pixels)
    title = _title(source, name)
    opened = _open_beginning(source, title, max_pixels, max_bytes)
    if opened is None:
        data = limits.read(source, title, max_bytes)
        opened = _open(data, _format_of(data, title), title, max_pixels)
    return opened.upright_size if upright else (opened.width, opened.height)


def _title(source: Source, name: str | None) -> str:
    return f"'{limits.display_name(limits.own_name(source) if name is None else name)}'"


def _open(data: bytes, found: "_Format", title: str, max_pixels: int | None) -> OpenedImage:
    with limits.blame_file(title, found.name):
        opened = found.open(data)
    limits.check_size(title, opened.width, opened.height, max_pixels)
    return opened


def _open_beginning(source: Source, title: str, max_pixels: int | None, max_bytes: int | None) -> OpenedImage | None:
    """A JPEG of whose file only the beginning was read; None for others, and where that does not suffice.

    Other formats may have orientation or size at their end.
    """
    if not isinstance(source, str | os.PathLike):
        return None
    data = limits.read(source, title, max_bytes, first=_PREFIX_BYTES)
    found = _format_of(data, title)
    if found is not _JPEG:
        return None
    try:
        return _open(data, found, title, max_pixels)
    except ImageError:
        return None


def _format_of(data: bytes, title: str) -> "_Format":
    found = next((kind for kind in _FORMATS if kind.matches(data)), None)
    if found is not None:
        return found
    if data[4:8] == b"ftyp" and _brands(data) & (_HEVC_BRANDS | {b"mif1", b"msf1"}):
        msg = f"{title} is a HEIF picture (HEIC), which is not read here; export it as JPEG or PNG."
        raise ImageError(msg)
    names = ", ".join(kind.name for kind in _FORMATS)
    msg = f"{title} is in none of the formats read here ({names}); save it as one of them, PNG or JPEG for choice."
    raise ImageError(msg)


_AVIF_BRANDS = {b"avif", b"avis"}
_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}


def _brands(data: bytes) -> set[bytes]:
    """What an ISO media file says it is: its major brand, and those it is compatible with."""
    if data[4:8] != b"ftyp":
        return set()
    box = data[8 : min(int.from_bytes(data[:4]), 512)]
    return {box[:4], *(box[at : at + 4] for at in range(8, len(box), 4))}


@dataclass(frozen=True)
class _Format:
    """A format: its name, whether a file's beginning is of it, and what opens it."""

    name: str
    matches: Callable[[bytes], object]
    open: Callable[[bytes], OpenedImage]


_JPEG = _Format("JPEG", re.compile(rb"\xff\xd8\xff").match, containers.open_jpeg)
_FORMATS = [
    _JPEG,
    _Format("PNG", re.compile(rb"\x89PNG\r\n\x1a\n").match, containers.open_png),
    _Format("WebP", re.compile(rb"RIFF....WEBP", re.DOTALL).match, containers.open_webp),
    _Format("GIF", re.compile(rb"GIF8[79]a").match, containers.open_gif),
    _Format("BMP", re.compile(rb"BM").match, containers.open_bmp),
    _Format("TIFF", re.compile(rb"II\*\x00|MM\x00\*").match, open_tiff),
    _Format("PBM/PGM/PPM", re.compile(rb"P[456]\s").match, open_netpbm),
]
if features.check("avif"):
    _FORMATS.append(_Format("AVIF", lambda data: _brands(data) & _AVIF_BRANDS, containers.open_avif))
