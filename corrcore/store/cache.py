"""Computed results kept on disk, so that what was computed once is only read the next time.

A result is a few arrays and a little metadata, filed under a key that digests everything it was computed from (`key`).
The cache may be lost, damaged or full at any time: then results are computed again, and `Cache.statistics` says why.
It serves no wrong result, runs nothing it reads, and never raises for the state of the disk.

Keys, sizes and times of use are in diskcache's database, which also chooses what to evict. Each result is a file of
arrays (`store.arrays`) beside it, whose digest and key are checked whenever it is read. The rules that make it safe:

- From the database are taken only names of files in the cache's own folder, and their sizes. No pickle is loaded.
- diskcache's settings are forgotten at every start and given anew, so that none is taken from the database.
- All writing is done in a transaction, whose lock the system frees when its holder dies. What a dead process left
  behind is removed at the next start.
- Nothing is held open between calls, so threads, forks and other processes may share the folder, or delete it.

For POSIX systems: links are refused by ``O_NOFOLLOW``, folders of others by their owner.
"""

import os
import shutil
import sqlite3
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import diskcache
import numpy as np

from corrcore.store import database
from corrcore.store.arrays import decode, encode
from corrcore.store.bundle import Bundle
from corrcore.store.database import File
from corrcore.store.files import explain, is_full
from corrcore.store.locks import exclusive

_Result = TypeVar("_Result")

_SLACK_BYTES = 1 << 16  # for the database's growth and journal, and a file's last, partly filled block
_FULL = "disk is full: results are not kept"
_PASSING = {  # SQLite's errors that a new database would not mend
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
# diskcache unpacks and adds what it finds in the database without a look at it.
_DAMAGED = (sqlite3.Error, ArithmeticError, TypeError, ValueError)


@dataclass(frozen=True)
class Entry:
    """A result: named read-only arrays, and metadata as JSON gives it back (tuples have become lists)."""

    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Statistics:
    """What a cache holds, the hits and misses of this object, and in words whether results are being kept."""

    entries: int
    bytes: int
    hits: int
    misses: int
    status: str


class Cache:
    """Results in ``folder/results``, at most about `max_bytes`; the least recently used give way, up to ten at a time.

    The folder inside `folder` is the cache's own: its mode is 0700, and it is refused when it is a link or another
    user's. A result that would leave the disk less than `min_free_bytes` free is not kept. Where another process
    writes, calls wait `lock_timeout_s` seconds at most.

    What has no result here is looked for in the bundle `beneath`, which is never written.

    A damaged database is renamed ``cache.db.broken-<time>``, with one RuntimeWarning, and begun anew. Another warning
    says once that results cannot be kept.

    Raises ValueError for negative limits; never for the state of the disk.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        max_bytes: int = 4 * 10**9,
        min_free_bytes: int = 250 * 10**6,
        lock_timeout_s: float = 10.0,
        beneath: Bundle | None = None,
    ) -> None:
        if min(max_bytes, min_free_bytes) < 0:
            msg = f"max_bytes and min_free_bytes must be at least 0; got {max_bytes} and {min_free_bytes}."
            raise ValueError(msg)
        self.folder = Path(folder).absolute() / "results"
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self.lock_timeout_s = lock_timeout_s
        self.beneath = beneath
        self._database = self.folder / database.NAME
        self._trouble: str | None = None
        # Counted without a lock: one that another thread holds while the process forks stays locked in the child.
        self._hits = 0
        self._misses = 0
        self._opened: tuple[int, Any] | None = None  # by this process
        self._guarded(self._start)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def get(self, key: str) -> Entry | None:
        """The result kept under `key`; None when there is none, or none that can be trusted.

        Raises TypeError for a key that is no text.
        """
        _check_key(key)
        entry = self._guarded(lambda: self._read(key)) or self._read_beneath(key)
        if entry is None:
            self._misses += 1
        else:
            self._hits += 1
        return entry

    def put(self, key: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bool:
        """Keep a result, in place of any other under `key`. False when it is not kept; `statistics` says why.

        Raises TypeError for a key that is no text, for an array that is not of bools, integers, floats or complex64,
        and for metadata that JSON cannot hold; ValueError for an array named ``__metadata__``.
        """
        _check_key(key)
        return self._keep(key, _encode(key, arrays, metadata))

    def get_or_compute(
        self, key: str, compute: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]
    ) -> Entry:
        """The result kept under `key`, else the arrays and metadata of ``compute()``, which are then kept.

        What comes back is the same either way. Processes that miss together all compute, and the last one's result
        stays. Raises what `compute` and `put` raise.
        """
        entry = self.get(key)
        if entry is None:
            data = _encode(key, *compute())
            self._keep(key, data)
            entry = _decode(key, data)
        return entry

    def clear(self) -> None:
        """Remove all results."""

        def remove_all() -> None:
            self._check_folder()
            # Before their rows: on a full disk, to record that takes the room it frees.
            for path in database.files(self.folder):
                database.remove(path)
            with self._index() as index:
                index.clear()

        self._guarded(remove_all)

    def statistics(self) -> Statistics:
        """What the cache holds, how often it helped, and whether it keeps results now."""

        def count() -> tuple[int, int]:
            with self._index() as index:
                return len(index), index.reset("size")

        entries, size = self._guarded(count) or (0, 0)
        status = _FULL if self._is_full() else self._trouble or "results are kept"
        return Statistics(entries=entries, bytes=size, hits=self._hits, misses=self._misses, status=status)

    def close(self) -> None:
        """Nothing: no call leaves anything open. For callers that close what they open."""

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _guarded(self, action: Callable[[], _Result]) -> _Result | None:
        """What `action` gives, after a new start if that helps; None, the reason noted, where the disk forbids it."""
        try:
            try:
                return action()
            except (FileNotFoundError, *_DAMAGED) as error:
                if isinstance(error, sqlite3.Error) and not _is_damage(error):
                    raise
                self._start()
            try:
                return action()
            except _DAMAGED as error:  # which no check of the database has found
                if not _is_damage(error):
                    raise
                self._start(damage=error)
                return action()
        except (OSError, diskcache.Timeout, *_DAMAGED) as error:
            if isinstance(error, diskcache.Timeout) or _code(error) == sqlite3.SQLITE_BUSY:  # which passes by itself
                self._trouble = f"{self.folder} is locked by another process: results are not kept"
            elif self._is_full() or is_full(error) or _code(error) == sqlite3.SQLITE_FULL:
                self._warn(_FULL)
            else:
                reason = explain(error) if isinstance(error, OSError) else error
                self._warn(f"{self.folder} cannot be used: results are not kept ({reason})")
            return None

    def _warn(self, trouble: str) -> None:
        """Say why results are not kept: in `statistics` until they are again, and once as a warning."""
        before, self._trouble = self._trouble, trouble
        if before != trouble:
            warnings.warn(trouble, RuntimeWarning, stacklevel=5)

    def _start(self, damage: Exception | None = None) -> Any:
        """Make folder and database ready; set aside a damaged one, and remove what the dead left behind."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_folder()
        # One at a time, so that no thread or process sets aside the new database that another has just begun.
        with exclusive(self.folder / "start.lock", timeout=self.lock_timeout_s, required=True):
            try:
                if damage is not None:
                    raise damage
                return self._open()
            except _DAMAGED as error:
                if not _is_damage(error):
                    raise
                aside = self._database.with_name(f"cache.db.broken-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
                msg = f"The cache's database was damaged ({error}). It now is {aside}, and results are computed again."
            self._database.rename(aside)
            for suffix in ("-journal", "-wal", "-shm"):
                database.remove(self._database.with_name(self._database.name + suffix))
            index = self._open()
        warnings.warn(msg, RuntimeWarning, stacklevel=4)
        return index

    def _open(self) -> Any:
        index = database.open_database(self.folder, max_bytes=self.max_bytes, timeout_s=self.lock_timeout_s)
        self._opened = os.getpid(), index
        self._trouble = None
        return index

    @contextmanager
    def _index(self) -> Iterator[Any]:
        """diskcache's cache for one call: a connection costs little, and one left open would go stale or break
        in a fork.
        """
        self._check_folder()
        pid, index = self._opened or (None, None)
        if index is None or pid != os.getpid():  # a fork's copy may believe that it is in another thread's transaction
            index = self._start()
        try:
            yield index
        finally:
            index.close()

    def _check_folder(self) -> None:
        state = self.folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
            msg = "it must be a folder, no link, and this user's"
            raise PermissionError(msg)
        if state.st_mode & 0o077:
            self.folder.chmod(0o700)

    def _read(self, key: str) -> Entry | None:
        failed = None
        while True:
            with self._index() as index:
                file = index.get(key)
            if file is None:
                return None
            if file == failed:
                break
            entry = self._load(key, file)
            if entry is not None:
                return entry
            failed = file  # If it was replaced after its row was read, there is a newer row now.
        with self._index() as index:
            index.delete(key)
        return None

    def _read_beneath(self, key: str) -> Entry | None:
        data = None if self.beneath is None else self.beneath.get(key)
        with suppress(ValueError):
            return None if data is None else _decode(key, data)
        return None

    def _load(self, key: str, file: File) -> Entry | None:
        """The entry in a file; None unless that is a regular file of this size and key with the right digest."""
        try:
            # O_NONBLOCK: opening a FIFO would otherwise wait for its writer.
            descriptor = os.open(self.folder / file.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb", buffering=0) as stream:
                state = os.fstat(descriptor)
                if not stat.S_ISREG(state.st_mode) or state.st_size != file.size:
                    return None
                return _decode(key, stream.readall())
        except (OSError, ValueError):
            return None

    def _keep(self, key: str, data: bytes) -> bool:
        return bool(self._guarded(lambda: self._write(key, data)))

    def _write(self, key: str, data: bytes) -> bool:
        if len(data) > self.max_bytes:
            self._trouble = f"a result of {len(data)} bytes is not kept: the cache may hold {self.max_bytes}"
            return False
        try:
            with self._index() as index, index.transact():
                limit = min(self.max_bytes - len(data), index.volume() + self._room_for(data) - _SLACK_BYTES)
                index.reset("size_limit", limit, update=False)
                index.cull()
                if self._room_for(data) < 0:
                    self._warn(_FULL)
                    return False
                index.set(key, data)
        except diskcache.Timeout:
            raise
        except BaseException:
            with suppress(OSError, *_DAMAGED):
                database.reconcile(self.folder, timeout_s=self.lock_timeout_s)  # a file whose row could not be written
            raise
        self._trouble = None
        return True

    def _room_for(self, data: bytes) -> int:
        """The bytes that would be free beyond the floor, were they written; negative for those that have to go
        first.
        """
        return self._free_bytes() - len(data) - self.min_free_bytes

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def _is_full(self) -> bool:
        try:
            return self._free_bytes() < self.min_free_bytes
        except OSError:
            return False


def _check_key(key: str) -> None:
    """Before the database sees it, which could not tell such a key from damage of its own."""
    if type(key) is not str or not key.isprintable():
        msg = f"key must be a str of printable characters, as `key` makes them; got {key!r}."
        raise TypeError(msg)


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for an error that SQLite did not raise."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: Exception) -> bool:
    return not isinstance(error, OSError) and _code(error) not in _PASSING


def _encode(key: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bytes:
    return encode(arrays, {"key": key, "metadata": dict(metadata)})


def key_in(data: bytes) -> str:
    """The key of the result in a file's content. Raises ValueError where it holds none."""
    key = decode(data)[1].get("key")
    if not isinstance(key, str):
        msg = "it holds no result with a key."
        raise ValueError(msg)  # noqa: TRY004 - what is wrong is the content
    return key


def _decode(key: str, data: bytes) -> Entry:
    """The entry in the content of a file. Raises ValueError when it holds none, or another key's."""
    arrays, manifest = decode(data)
    if manifest.get("key") != key or not isinstance(manifest.get("metadata"), dict):
        msg = f"the file of {key} holds another result"
        raise ValueError(msg)
    return Entry(arrays, manifest["metadata"])
