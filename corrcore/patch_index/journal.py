"""The writer of an index's data files: photos are appended, and a journal says which are safely on disk."""

import json
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from corrcore.patch_index.files import (
    FORMAT,
    JOURNAL,
    MANIFEST,
    BuildSettings,
    Manifest,
    PhotoEntry,
    SkippedPhoto,
    data_files,
    entry_from_json,
    writing_to,
)

Entry = PhotoEntry | SkippedPhoto
# A killed build returns to its last checkpoint. They are at least so many photos apart, and farther where they would
# take more than this share of the time, as of small photos, for which disks take as long; never more than so many
# seconds.
_CHECKPOINT_EVERY, _CHECKPOINTS_SHARE, _CHECKPOINT_S = 32, 0.1, 30.0


def read_checkpoint(partial: Path, settings: BuildSettings) -> list[Entry]:
    """The photos that an earlier build with the same settings has safely on disk; none where there is no such build.

    A line torn by a kill ends them, and so does a photo whose bytes are not all there.
    """
    path = partial / JOURNAL
    with writing_to(partial):
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    entries: list[Entry] = []
    left = {name: _size(partial / name) for name in data_files(settings.layers)}
    try:
        if not lines or _about(json.loads(lines[0])) != _about(_header(settings, 0)):
            return []
        for line in lines[1:]:
            entry = entry_from_json(json.loads(line))
            for name, size in entry.n_bytes().items() if isinstance(entry, PhotoEntry) else ():
                left[name] -= size
            if not line.endswith(b"\n") or min(left.values()) < 0:
                break
            entries.append(entry)
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    return entries


class JournalWriter:
    """Appends photos to the data files and, at every checkpoint, to the journal: data first, both synced.

    What an earlier build wrote beyond the photos `kept` is cut off. Raises OSError with a sentence where the disk is
    full or cannot be written; what is on disk then is still as good as the last checkpoint.
    """

    def __init__(self, folder: Path, settings: BuildSettings, *, kept: Sequence[Entry], n_photos: int) -> None:
        self.folder = folder
        self._pending: list[Entry] = []
        self._next_checkpoint = 0.0
        self.entries = list(kept)
        self._data: dict[str, BinaryIO] = {}
        try:
            with writing_to(folder):
                self._cut_off(settings)
                self._begin_journal(_header(settings, n_photos))
                for name in data_files(settings.layers):
                    self._data[name] = (folder / name).open("ab")
                self._journal = (folder / JOURNAL).open("ab")
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> "JournalWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(OSError):  # on a full disk; else a cancelled build loses nothing
                self.checkpoint()
        self._close()

    def add(self, entry: Entry, arrays: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Appends a photo's arrays, each to its data file."""
        with writing_to(self.folder):
            for name, parts in arrays.items():
                for part in parts:
                    self._data[name].write(np.ascontiguousarray(part).data)
        self.entries.append(entry)
        self._pending.append(entry)
        if len(self._pending) >= _CHECKPOINT_EVERY and time.monotonic() >= self._next_checkpoint:
            self.checkpoint()

    def adopt(self, folder: Path, entries: Sequence[Entry], told: Callable[[int, str], None]) -> bool:
        """Appends photos that lie in another build's folder, the first of its own; all or, where this raises, none.

        False where bytes are not those that were written: photos before them are appended.
        """
        self.checkpoint()
        before = len(self.entries)
        try:
            with ExitStack() as stack, writing_to(self.folder):
                files = {name: stack.enter_context((folder / name).open("rb")) for name in self._data}
                for entry in entries:
                    if isinstance(entry, PhotoEntry):
                        parts = read_photo(files, entry)
                        if parts is None:
                            break
                        for name, part in parts.items():
                            self._data[name].write(part)
                    self.entries.append(entry)
                    told(len(self.entries), " are described and joined")
        except BaseException:
            del self.entries[before:]  # and whoever goes on cuts off what was written
            raise
        self._pending = self.entries[before:]
        self.checkpoint()
        return len(self.entries) == before + len(entries)

    def checkpoint(self) -> None:
        """Makes all photos that were added safe."""
        begun = time.monotonic()
        with writing_to(self.folder):
            for file in self._data.values():
                _sync(file)
            self._journal.write(b"".join(_line(entry.to_json()) for entry in self._pending))
            _sync(self._journal)
        self._pending.clear()
        ended = time.monotonic()
        self._next_checkpoint = ended + min((ended - begun) / _CHECKPOINTS_SHARE, _CHECKPOINT_S)

    def finish(self, manifest: Manifest) -> None:
        """Makes everything safe, and writes what the index says of itself."""
        self.checkpoint()
        with writing_to(self.folder), (self.folder / MANIFEST).open("wb") as file:
            file.write(json.dumps(manifest.to_json(), indent=1).encode())
            _sync(file)

    def _cut_off(self, settings: BuildSettings) -> None:
        lengths = dict.fromkeys(data_files(settings.layers), 0)
        for entry in self.entries:
            for name, size in entry.n_bytes().items() if isinstance(entry, PhotoEntry) else ():
                lengths[name] += size
        for name, length in lengths.items():
            if _size(self.folder / name) > length:
                os.truncate(self.folder / name, length)

    def _begin_journal(self, header: dict[str, Any]) -> None:
        """Writes the journal anew, whole, so that a kill meanwhile leaves the old one or this."""
        path = self.folder / f"{JOURNAL}.new"
        with path.open("wb") as file:
            file.write(_line(header) + b"".join(_line(entry.to_json()) for entry in self.entries))
            _sync(file)
        path.replace(self.folder / JOURNAL)
        sync_folder(self.folder)

    def _close(self) -> None:
        for file in (*self._data.values(), *([self._journal] if hasattr(self, "_journal") else [])):
            with suppress(OSError):  # of a full disk, again
                file.close()


def checksum(arrays: Mapping[str, Sequence[np.ndarray]]) -> int:
    """Guards a photo's bytes, file by file, against accidents; what was indexed is known by the photo's digests."""
    check = 0
    for parts in arrays.values():
        for part in parts:
            check = zlib.crc32(np.ascontiguousarray(part).data, check)
    return check


def read_photo(files: Mapping[str, BinaryIO], entry: PhotoEntry) -> dict[str, bytes] | None:
    """The next photo of open data files, its bytes by file; None where they are not those that were written."""
    parts = {name: files[name].read(n_bytes) for name, n_bytes in entry.n_bytes().items()}
    check = 0
    for part in parts.values():
        check = zlib.crc32(part, check)
    return parts if check == entry.check else None


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder safe."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header(settings: BuildSettings, n_photos: int) -> dict[str, Any]:
    return {"format": FORMAT, "settings": settings.to_json(), "photos": n_photos}


def _about(header: Mapping[str, Any]) -> str:
    """What must be the same for a build to go on: all but the number of photos."""
    return json.dumps([header["format"], header["settings"]])


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
