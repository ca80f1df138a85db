"""The photos of a folder, with nothing known about them but their names."""

import functools
import hashlib
import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from corrcore import decoding
from corrcore.datasets.records import DatasetNotFoundError
from corrcore.decoding import MAX_BYTES, MAX_PIXELS, SUFFIXES
from corrcore.settings import prepared_path

# Pictures all the same, so that a folder of them is not called empty.
_UNREAD_SUFFIXES = frozenset(
    {
        *(".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpx", ".psd", ".xcf", ".exr", ".hdr", ".tga", ".svg"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".raw"),
    }
)

_THUMBNAILS = "thumbnail of a file manager or a NAS box"
_BIN = "in a recycle bin"
_HIDDEN = "hidden"
_REASONS_BY_NAME = {
    **dict.fromkeys(("@eadir", ".@__thumb", ".thumbnails", ".thumbs", ".xvpics", ".picasaoriginals"), _THUMBNAILS),
    **dict.fromkeys(("#recycle", "@recycle", "$recycle.bin", "recycler", "lost+found"), _BIN),
    **dict.fromkeys(("#snapshot", "@recently-snapshot", ".snapshot", ".snapshots"), "in a snapshot of a NAS box"),
    **dict.fromkeys(("__macosx", ".appledouble"), "companion file of a Mac"),
}


@dataclass(frozen=True)
class FolderPhoto:
    """A photo file. `name` is its path below the folder, fit to show.

    `max_pixels` and `max_bytes` are limits for files from strangers; raise them for larger photos of one's own, or
    lift them with None.
    """

    name: str
    path: Path
    max_pixels: int | None = MAX_PIXELS
    max_bytes: int | None = MAX_BYTES

    @property
    def stamp(self) -> str:
        """A digest of the file's content, computed when asked for: a copy has the same.

        A file over `max_bytes`, or one that cannot be read, is not read through: its size and time stand for it. Raises
        FileNotFoundError where there is none.
        """
        status = self.path.stat()
        if self._is_refused(status):
            return f"{status.st_size} {status.st_mtime_ns}"
        return _content(self.path, status.st_size, status.st_mtime_ns)

    def load(self) -> UInt8[np.ndarray, "height width 3"]:
        """The upright picture. Raises ImageError where there is none or it is over the limits."""
        return decoding.decode(self.path, max_pixels=self.max_pixels, max_bytes=self.max_bytes)

    def read(self) -> tuple[str, UInt8[np.ndarray, "height width 3"]]:
        """The stamp and the picture, of one reading of the file. Raises ImageError as `load` does."""
        try:
            status = self.path.stat()
            if self._is_refused(status):
                return self.stamp, self.load()  # `load` says what is wrong
            data = self.path.read_bytes()
        except OSError as error:
            name = decoding.display_name(self.name)
            msg = f"'{name}' cannot be read ({error.strerror or error}); check that it is there and may be read."
            raise decoding.ImageError(msg) from error
        pixels = decoding.decode(data, name=self.name, max_pixels=self.max_pixels, max_bytes=self.max_bytes)
        return hashlib.sha256(data).hexdigest()[:32], pixels

    def _is_refused(self, status: os.stat_result) -> bool:
        """Whether a file is no photo whatever it holds."""
        return not stat.S_ISREG(status.st_mode) or (self.max_bytes is not None and status.st_size > self.max_bytes)


@runtime_checkable
class Named(Protocol):
    """Whatever has a name: to ask whether something is a `records.Photo` may cost its stamp, a read of its file."""

    @property
    def name(self) -> str:
        """Its own among those beside it."""
        ...


NamedPhoto = TypeVar("NamedPhoto", bound=Named)


@dataclass(frozen=True)
class PhotoListing(Generic[NamedPhoto]):
    """The photos of a folder by name, and by name why other pictures in it are left out: a few words for each."""

    photos: tuple[NamedPhoto, ...]
    left_out: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def counts(self) -> dict[str, int]:
        """How many are left out, by reason; most first."""
        return dict(Counter(self.left_out.values()).most_common())

    def summary(self) -> str:
        """What is left out, in one line; empty where nothing is."""
        if not self.left_out:
            return ""
        reasons = "; ".join(f"{reason} ({count:,})" for reason, count in self.counts.items())
        return f"{len(self.left_out):,} left out: {reasons}"

    def check(self, place: str) -> None:
        """Raises DatasetNotFoundError where there is no photo in it."""
        if not self.photos:
            but = f"; {self.summary()}" if self.left_out else ""
            suffixes = ", ".join(sorted(SUFFIXES))
            msg = f"there is no photo in {place}; files with these suffixes are looked for: {suffixes}{but}."
            raise DatasetNotFoundError(msg)


def photos(
    folder: str | os.PathLike, *, max_pixels: int | None = MAX_PIXELS, max_bytes: int | None = MAX_BYTES
) -> PhotoListing[FolderPhoto]:
    """All photos below a folder, by name. Of a folder in PASCAL VOC's layout, those in its ``JPEGImages``.

    Files are told by their suffix, and neither opened nor hashed. What is hidden, a thumbnail, in a bin, a link that
    leads out of the folder, or of a format that is not read here is left out and named. `max_pixels` and `max_bytes`
    are checked when a photo is loaded. Raises DatasetNotFoundError where there is no folder or no photo in it.
    """
    root = prepared_path(folder)
    if not root.is_dir():
        msg = f"{printable_name(root)} is no folder; give one that holds photos ({', '.join(sorted(SUFFIXES))})."
        raise DatasetNotFoundError(msg)
    if (root / "JPEGImages").is_dir():
        root = root / "JPEGImages"
    found: dict[str, FolderPhoto] = {}
    left_out: dict[str, str] = {}
    for path, reason in sorted(_pictures(root), key=lambda entry: entry[0].parts):
        name = printable_name(path.relative_to(root))
        if name in found or name in left_out:  # of other bytes: those that cannot be shown are written as text
            name = f"{name} ({hashlib.sha256(os.fsencode(path.relative_to(root))).hexdigest()[:8]})"
        if reason is None:
            found[name] = FolderPhoto(name, path, max_pixels, max_bytes)
        else:
            left_out[name] = reason
    listing = PhotoListing(tuple(found.values()), left_out)
    listing.check(printable_name(root))
    return listing


def hold_out(photos: Sequence[NamedPhoto], count: int) -> tuple[list[NamedPhoto], list[NamedPhoto]]:
    """The photos without `count` of them, and those.

    They are chosen by the digests of their names: the same ones each time, and no stretch of the alphabet. Raises
    ValueError where that leaves none.
    """
    if not 0 <= count < len(photos):
        msg = f"photos to hold out must be between 0 and {len(photos) - 1} (one less than there are); got {count}."
        raise ValueError(msg)
    shuffled = sorted(photos, key=lambda photo: hashlib.sha256(os.fsencode(photo.name)).digest())
    out = {photo.name for photo in shuffled[:count]}
    return [photo for photo in photos if photo.name not in out], [photo for photo in photos if photo.name in out]


def printable_name(path: str | os.PathLike) -> str:
    r"""A path or name fit to be shown and kept as UTF-8: what cannot be is written as its code, such as ``\xff``.

    File names may be any bytes. Names of printable characters, spaces of all kinds and joined emoji stay as they are.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        char
        if char.isprintable() or char == "\u200d" or unicodedata.category(char) == "Zs"
        else char.encode("unicode_escape").decode()
        for char in text
    )


@functools.lru_cache(maxsize=1 << 16)
def _content(path: Path, size: int, mtime_ns: int) -> str:
    """A digest of a file, read once while it has this size and time; these themselves where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError:
        return f"{size} {mtime_ns}"


def _pictures(root: Path) -> Iterator[tuple[Path, str | None]]:
    """All pictures and links below a folder; with why they are left out, None for those that are taken."""
    real = os.path.realpath(root)
    waiting: list[tuple[Path, str | None]] = [(root, None)]
    while waiting:
        folder, reason = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    why = reason or reason_by_name(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((Path(entry.path), why))
                    elif entry.is_symlink() and os.path.isdir(entry.path):
                        yield Path(entry.path), why or "link to a folder, which is not followed"
                    elif (suffix := os.path.splitext(entry.name)[1].lower()) in SUFFIXES:
                        yield Path(entry.path), why or _reason_by_kind(entry, real)
                    elif unread := reason_by_suffix(suffix):
                        yield Path(entry.path), why or unread
        except OSError as error:
            yield folder, f"folder that cannot be read ({error.strerror or error})"


def reason_by_name(name: str) -> str | None:
    """Why a file or folder of this name holds no photo of its owner's; None where it may."""
    lower = name.lower()
    if known := _REASONS_BY_NAME.get(lower):
        return known
    if lower.startswith(".trash"):
        return _BIN
    if lower.startswith("._"):
        return "companion file of a Mac"
    return _HIDDEN if lower.startswith(".") else None


def reason_by_suffix(suffix: str) -> str | None:
    """Why a picture whose name ends so, in lower case, is left out; None for what is no picture, or is read."""
    return f"in a format that is not read here ({suffix})" if suffix in _UNREAD_SUFFIXES else None


def _reason_by_kind(entry: os.DirEntry[str], real: str) -> str | None:
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if not Path(target).is_relative_to(real):
            return "link that leads out of the folder"
        if not os.path.exists(target):
            return "link to nothing"
    return None if entry.is_file() else "no regular file"
