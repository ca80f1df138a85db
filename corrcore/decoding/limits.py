"""What is accepted of a file: how many bytes and pixels; and the sentences for what is refused."""

import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image

# The last for run-time checkers: `BytesIO`, and so an upload, is a `BinaryIO` to static ones only.
Source = bytes | str | os.PathLike | BinaryIO | io.BufferedIOBase
"""Where a picture comes from: its bytes, a path, or an open binary file."""

MAX_PIXELS = 25_000_000
"""Width times height accepted of a stranger's picture."""

MAX_BYTES = 20 * 2**20
"""Size accepted of a stranger's file."""

PILLOW_MAX_PIXELS = 89_478_485
"""Past this Pillow itself warns of a decompression bomb (its default `MAX_IMAGE_PIXELS`)."""

MAX_PARTS = 2**17
"""Chunks, segments, blocks or strips of one file. A photo has tens; millions would keep a parser busy for minutes."""

_MAX_SIDE = 65_535


class ImageError(ValueError):
    """A file is no picture that can be read here; the message is one sentence fit to show its owner."""


class ImageNotReadError(ImageError, OSError):
    """The system did not read a file that is there, which may pass: what is made without it must not be kept."""


def display_name(name: str | os.PathLike, *, folders: bool = False) -> str:
    """The last part of a file's name, made fit to show: printable characters only, 60 at most.

    Names arrive as the sender chose them, with folders (`../../x.png`), NUL, line ends or marks that turn the direction
    of writing. On disk a name is bytes, which need not be UTF-8: those that are not become "�". With `folders`, the
    path before the last part is kept. Different names may look alike: never use the result as a path or a key.
    """
    text = os.fsdecode(name)
    return printable(text if folders else re.split(r"[/\\]", text.rstrip("/\\"))[-1]) or "unnamed file"


def printable(text: str) -> str:
    """Any text on one line, without what cannot be printed, its middle left out beyond 60 characters."""
    text = re.sub("[\udc80-\udcff]", "\ufffd", text)  # how Python holds bytes that are not UTF-8
    clean = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return clean if len(clean) <= 60 else f"{clean[:42]}…{clean[-17:]}"


def own_name(source: Source) -> str:
    """The name that a source itself has."""
    if isinstance(source, bytes):
        return "image"
    name = os.fsdecode(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", "image")
    return name if isinstance(name, str) else "image"


def read(source: Source, title: str, max_bytes: int | None, *, first: int | None = None) -> bytes:
    """All of a source, or its `first` bytes. Its size is checked before anything is read, where it can be known.

    `title` is what messages call it. Raises ImageError for a source that is empty, larger than `max_bytes`, or
    unreadable, ImageNotReadError for what may be readable another time.
    """
    try:
        data = _read(source, title, max_bytes, first)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        msg = f"{title} cannot be read ({error.strerror or error}); check that it is there and may be read."
        raise ImageError(msg) from error
    except OSError as error:
        msg = f"{title} cannot be read ({error.strerror or error}); check its drive and try again."
        raise ImageNotReadError(msg) from error
    if not data:
        msg = f"{title} is empty (0 bytes); choose a file that holds a picture."
        raise ImageError(msg)
    return data


def _read(source: Source, title: str, max_bytes: int | None, first: int | None) -> bytes:
    if isinstance(source, bytes):
        check_bytes(title, len(source), max_bytes)
        return source[:first]
    if not isinstance(source, str | os.PathLike):
        return _read_stream(source, title, max_bytes, first)
    if "\0" in os.fsdecode(source):
        msg = f"{title} cannot be read (NUL in its path); give the path of a picture."
        raise ImageError(msg)
    # Opening a pipe would wait for a writer.
    if not stat.S_ISREG(os.stat(source).st_mode):
        msg = f"{title} is not a regular file; give the path of a picture."
        raise ImageError(msg)
    with open(source, "rb") as file:
        return _read_stream(file, title, max_bytes, first)


def _read_stream(file: BinaryIO | io.BufferedIOBase, title: str, max_bytes: int | None, first: int | None) -> bytes:
    if file.seekable():
        check_bytes(title, file.seek(0, os.SEEK_END), max_bytes)
        file.seek(0)
    limit = first if first is not None else None if max_bytes is None else max_bytes + 1
    data = bytearray()
    while limit is None or len(data) < limit:
        part = file.read(2**20 if limit is None else limit - len(data))
        if not part:
            break
        data += part
    if first is None:
        check_bytes(title, len(data), max_bytes)
    return bytes(data)


def check_bytes(title: str, size: int, max_bytes: int | None) -> None:
    """Raises ImageError for a file that is larger than what is accepted."""
    if max_bytes is not None and size > max_bytes:
        msg = f"{title} is larger than the {max_bytes / 2**20:,.1f} MiB accepted; choose or save a smaller file."
        raise ImageError(msg)


def check_max_pixels(max_pixels: int | None) -> None:
    """Raises ValueError for a limit that could not be kept."""
    if max_pixels is not None and not 1 <= max_pixels <= PILLOW_MAX_PIXELS:
        msg = (
            f"max_pixels must be between 1 and {PILLOW_MAX_PIXELS:,}; got {max_pixels:,}. "
            "None lifts the limit, for files of your own."
        )
        raise ValueError(msg)


def check_size(title: str, width: int, height: int, max_pixels: int | None) -> None:
    """Raises ImageError for a picture without pixels, or with too many."""
    if min(width, height) < 1:
        msg = f"{title} is {width:,} x {height:,} pixels, so it holds no picture; choose another file."
        raise ImageError(msg)
    if max_pixels is not None and width * height > max_pixels:
        msg = (
            f"{title} is {width:,} x {height:,} pixels ({width * height / 1e6:,.1f} megapixels), "
            f"more than the {max_pixels / 1e6:,.1f} megapixels accepted; save it smaller."
        )
        raise ImageError(msg)
    if max(width, height) > _MAX_SIDE:
        msg = (
            f"{title} is {width:,} x {height:,} pixels, with a side longer than the {_MAX_SIDE:,} accepted; "
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
def blame_file(title: str, kind: str) -> Iterator[None]:
    """Turn what goes wrong inside into an `ImageError` about the file."""
    try:
        yield
    except Image.DecompressionBombError as error:
        msg = f"{title} has more pixels than Pillow decodes of {kind} ({2 * PILLOW_MAX_PIXELS:,}); save it smaller."
        raise ImageError(msg) from error
    except _DAMAGE as error:
        # What a parser says that ran past the end means nothing to the owner; what Pillow says may quote the file.
        past_end = isinstance(error, struct.error | EOFError | LookupError)
        reason = "it ends too early" if past_end else printable(str(error)) or type(error).__name__
        msg = (
            f"{title} cannot be decoded as {kind} ({reason}): it is damaged, cut short or of a rare kind; "
            "save it anew as PNG or JPEG."
        )
        raise ImageError(msg) from error
