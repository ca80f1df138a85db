"""The photos of a folder, with nothing known about them but their names."""

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from corrcore import decoding
from corrcore.decoding import SUFFIXES


class DatasetNotFoundError(FileNotFoundError):
    """There are no data where they should be. The text says where we looked and what is expected there."""


@dataclass(frozen=True)
class FolderPhoto:
    """A photo file. `name` is its path below the folder."""

    name: str
    path: Path

    @property
    def stamp(self) -> str:
        """Changes with the file's content: a copy of it has the same."""
        status = self.path.stat()
        return _content(self.path, status.st_size, status.st_mtime_ns)

    def load(self) -> UInt8[np.ndarray, "height width 3"]:
        return decoding.decode(self.path)


@functools.lru_cache(maxsize=1 << 16)
def _content(path: Path, size: int, mtime_ns: int) -> str:
    """A digest of a file, read once for as long as it has this size and time; of these alone where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError:
        return f"{size} {mtime_ns}"


def photos(folder: str | os.PathLike) -> list[FolderPhoto]:
    """All photos below a folder, by name. Of a folder in PASCAL VOC's layout, those in its ``JPEGImages``.

    Files are told by their suffix and decoded only when they are loaded. Hidden files, and links that lead out of
    the folder, are left out. Raises DatasetNotFoundError where there is no folder or no photo in it.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        msg = f"{root} is no folder; give one that holds photos ({', '.join(sorted(SUFFIXES))})."
        raise DatasetNotFoundError(msg)
    if (root / "JPEGImages").is_dir():
        root = root / "JPEGImages"
    real = root.resolve()
    found = [
        FolderPhoto(path.relative_to(root).as_posix(), path)
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
        and path.resolve().is_relative_to(real)
    ]
    if not found:
        msg = f"there is no photo in {root}; files with these suffixes are looked for: {', '.join(sorted(SUFFIXES))}."
        raise DatasetNotFoundError(msg)
    return found


def hold_out(photos: Sequence[FolderPhoto], count: int) -> tuple[list[FolderPhoto], list[FolderPhoto]]:
    """The photos without `count` of them, and those.

    They are chosen by the digests of their names: the same ones each time, and no stretch of the alphabet. Raises ValueError where that leaves none.
    """
    if not 0 <= count < len(photos):
        msg = f"photos to hold out must be between 0 and {len(photos) - 1} (one less than there are); got {count}."
        raise ValueError(msg)
    shuffled = sorted(photos, key=lambda photo: hashlib.sha256(photo.name.encode()).digest())
    out = {photo.name for photo in shuffled[:count]}
    return [photo for photo in photos if photo.name not in out], [photo for photo in photos if photo.name in out]
