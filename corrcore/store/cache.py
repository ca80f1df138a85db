"""Keep computed results on disk, so that what was computed once is only read the next time.

A result is a few arrays and a little metadata, filed under a key that digests everything it was computed from
(`key`). The cache may be lost, damaged or full at any time: then results are computed again, and
`Cache.statistics` says why. It serves no wrong result, runs nothing it reads, and never raises for the state of
the disk.

Two things lie in its folder. Each result is one safetensors file, with its key and metadata in the header. A SQLite
database, ``cache.db``, has a row for each such file: file number, key, size and CRC-32. These rules make it safe:

- A file is written under a number never used before, and readers know it from the commit of its row on. A process
  killed before that leaves a file without a row, which the next start removes.
- All writing is done inside a SQLite write transaction, whose lock the system frees when its holder dies. Space is
  counted and old entries are evicted under the same lock. Readers wait for commits only.
- Size and CRC-32 of the file, and the key in it, are checked at each read; an entry that fails is dropped, a miss.
  (A CRC is for accidents. Who can write in the folder could forge any digest kept there; hence its mode, 0700.)
- Nothing is held open between calls, so threads, forks and other processes may share the folder, or delete it.

For POSIX systems: links are refused by ``O_NOFOLLOW``, folders of others by their owner.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
import shutil
import sqlite3
import stat
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy

_Result = TypeVar("_Result")

_SCHEMA = "CREATE TABLE entry (file INTEGER PRIMARY KEY, key TEXT UNIQUE, bytes INTEGER, checksum INTEGER)"
_FILE_NAME = re.compile(r"[0-9a-f]{16}\.safetensors")
_DTYPES = {  # safetensors' names of the types it can hold, and NumPy's
    "BOOL": "b1",
    **{f"I{8 * size}": f"i{size}" for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": f"u{size}" for size in (1, 2, 4, 8)},
    **{f"F{8 * size}": f"f{size}" for size in (2, 4, 8)},
    "C64": "c8",
}
_LOCK_TIMEOUT_S = 10.0
_SLACK_BYTES = 1 << 16  # for the database's own growth and a file's last, partly filled block
_FULL = "disk is full: results are not kept"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_NO_TABLE = sqlite3.SQLITE_ERROR  # what an empty database is met with


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


def key(**parts: object) -> str:
    """Digest named parts into a key: equal parts, in any order, give equal keys, today and in another process.

    Name everything the result depends on, the version of the code included. A part is None, a bool, int, float, str
    or bytes, a NumPy array or scalar, or a list, tuple or str-keyed mapping of such. Arrays enter with dtype, shape
    and content; 1, 1.0, True and "1" are four different parts; a tuple equals the list of its items.

    Raises TypeError for anything else, naming the part.

    >>> key(layer="conv3", n_neighbours=5) == key(n_neighbours=5, layer="conv3")
    True
    """
    text = json.dumps({name: _canonical(part, name) for name, part in parts.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(part: object, name: str) -> object:
    """The part as JSON, with a tag where two different parts would otherwise look alike."""
    if isinstance(part, np.ndarray | np.generic) and not part.dtype.hasobject:
        return {"array": [repr(part.dtype), part.shape, hashlib.sha256(part.tobytes()).hexdigest()]}
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, bytes):
        return {"bytes": hashlib.sha256(part).hexdigest()}
    if isinstance(part, list | tuple):
        return [_canonical(item, f"{name}[{i}]") for i, item in enumerate(part)]
    if isinstance(part, Mapping) and all(isinstance(inner, str) for inner in part):
        return {"mapping": {inner: _canonical(item, f"{name}[{inner!r}]") for inner, item in part.items()}}
    msg = (
        f"{name} must be None, a bool, number, str, bytes, NumPy array without objects, or a list, tuple or str-keyed "
        f"mapping of these, to enter a key; got {type(part).__qualname__}. Pass what identifies it instead."
    )
    raise TypeError(msg)


def default_folder() -> Path:
    """``$CORRCORE_CACHE`` if that is set, else ``corrcore`` in the user's cache directory."""
    if folder := os.environ.get("CORRCORE_CACHE"):
        return Path(folder).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "corrcore"
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "corrcore"  # XDG has relative paths ignored


class Cache:
    """Results in ``folder/results``, at most ``max_bytes`` of them; the least recently used give way to new ones.

    ``folder`` defaults to `default_folder`. The folder inside it is the cache's own: its mode is 0700, and it is
    refused when it is a link or another user's. A result that would leave the disk less than ``min_free_bytes`` free
    is not kept.

    A damaged database is renamed ``cache.db.broken-<time>``, with one RuntimeWarning, and begun anew.

    Raises ValueError for negative limits; never for the state of the disk.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        max_bytes: int = 4 * 1024**3,
        min_free_bytes: int = 256 * 1024**2,
    ) -> None:
        if min(max_bytes, min_free_bytes) < 0:
            msg = f"max_bytes and min_free_bytes must be at least 0; got {max_bytes} and {min_free_bytes}."
            raise ValueError(msg)
        self.folder = Path(default_folder() if folder is None else folder).absolute() / "results"
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self._database = self.folder / "cache.db"
        self._trouble: str | None = None
        # Counted without a lock: one that another thread holds while the process forks stays locked in the child.
        self._hits = 0
        self._misses = 0
        self._guarded(self._start)

    def get(self, key: str) -> Entry | None:
        """The result kept under ``key``; None when there is none, or none that can be trusted."""
        entry = self._guarded(lambda: self._read(key))
        if entry is None:
            self._misses += 1
        else:
            self._hits += 1
        return entry

    def put(self, key: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bool:
        """Keep a result, in place of any other under ``key``. False when it is not kept; `statistics` says why.

        Raises TypeError for an array that is not of bools, integers, floats or complex64, and for metadata that
        JSON cannot hold; ValueError for an array named ``__metadata__``.
        """
        return self._keep(key, _encode(key, arrays, metadata))

    def get_or_compute(
        self, key: str, compute: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]
    ) -> Entry:
        """The result kept under ``key``, else the arrays and metadata of ``compute()``, which are then kept.

        What comes back is the same either way. Processes that miss together all compute, and the last one's result
        stays. Raises what ``compute`` and `put` raise.
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
            with self._transaction() as connection:
                self._evict(connection, math.inf)

        self._guarded(remove_all)

    def statistics(self) -> Statistics:
        """What the cache holds, how often it helped, and whether it keeps results now."""

        def count() -> tuple[int, int]:
            with closing(self._connect()) as connection:
                return connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM entry").fetchone()

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
        """What ``action`` gives, after a new start if that helps; None, the reason noted, where the disk forbids it."""
        try:
            try:
                return action()
            except (FileNotFoundError, sqlite3.Error) as error:
                if not isinstance(error, FileNotFoundError) and _code(error) not in {_NO_TABLE, *_DAMAGED}:
                    raise
                self._start()
                return action()
        except (OSError, sqlite3.Error) as error:
            full = self._is_full() or getattr(error, "errno", None) in _NO_ROOM or _code(error) == sqlite3.SQLITE_FULL
            self._trouble = _FULL if full else f"{self.folder} cannot be used: results are not kept ({error})"
            return None

    def _start(self) -> None:
        """Make folder and database ready; set aside a damaged one, and remove what the dead left behind."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            try:
                self._reconcile()
            except sqlite3.Error as error:
                if _code(error) not in _DAMAGED:
                    raise
                aside = self._database.with_name(f"cache.db.broken-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
                msg = f"The cache's database was damaged ({error}). It now is {aside}, and results are computed again."
            else:
                return
            self._database.rename(aside)
            self._reconcile()
        warnings.warn(msg, RuntimeWarning, stacklevel=4)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One start at a time, so that no thread or process sets aside the new database that another has just begun."""
        self._check_folder()
        descriptor = os.open(self.folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough when a fork has the descriptor too
            os.close(descriptor)

    def _reconcile(self) -> None:
        """Check or create the database; remove files without a row, and rows without a file of their size."""
        with self._transaction() as connection:
            schema = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
            if not schema:
                connection.execute(_SCHEMA)
            elif schema != [(_SCHEMA,)]:
                msg = "it is not a database of this cache"
                raise _DamagedError(msg)
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise _DamagedError(verdict)
            with os.scandir(self.folder) as items:
                found = {item.name: item for item in items if _FILE_NAME.fullmatch(item.name)}
            for file, size in connection.execute("SELECT file, bytes FROM entry").fetchall():
                item = found.get(self._path(file).name)
                if item is not None and item.stat(follow_symlinks=False).st_size == size:
                    del found[item.name]
                else:
                    connection.execute("DELETE FROM entry WHERE file = ?", (file,))
            for name in found:
                _remove(self.folder / name)

    def _connect(self, timeout: float = _LOCK_TIMEOUT_S) -> sqlite3.Connection:
        """A connection for one call: that costs 0.1 ms, and leaves nothing to go stale or to break in a fork."""
        self._check_folder()
        with suppress(FileNotFoundError):
            if not stat.S_ISREG(self._database.lstat().st_mode):
                msg = "it is not a regular file"
                raise _DamagedError(msg)
        return sqlite3.connect(self._database, timeout=timeout, isolation_level=None)

    def _check_folder(self) -> None:
        state = self.folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid():
            msg = "it must be a folder, no link, and this user's"
            raise PermissionError(msg)
        if state.st_mode & 0o077:
            self.folder.chmod(0o700)

    @contextmanager
    def _transaction(self, timeout: float = _LOCK_TIMEOUT_S) -> Iterator[sqlite3.Connection]:
        """A connection that holds the write lock: committed at the end, rolled back by an exception or by death."""
        with closing(self._connect(timeout)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _path(self, file: int) -> Path:
        return self.folder / f"{file:016x}.safetensors"

    def _read(self, key: str) -> Entry | None:
        failed = None
        while True:
            with closing(self._connect()) as connection:
                query = "SELECT file, bytes, checksum FROM entry WHERE key = ?"
                row = connection.execute(query, (key,)).fetchone()
            if row is None:
                return None
            file, size, checksum = row
            if file == failed:
                break
            entry = self._load(key, file, size, checksum)
            if entry is not None:
                return entry
            failed = file  # If it was replaced after its row was read, there is a newer row now.
        # A reader waits for no writer: `put` will replace the row as well.
        with suppress(sqlite3.OperationalError), self._transaction(timeout=0) as connection:
            connection.execute("DELETE FROM entry WHERE file = ?", (file,))
            _remove(self._path(file))
        return None

    def _load(self, key: str, file: int, size: object, checksum: object) -> Entry | None:
        """The entry in a file; None unless that is a regular file of this size, CRC-32 and key."""
        try:
            # O_NONBLOCK: opening a FIFO would otherwise wait for its writer.
            descriptor = os.open(self._path(file), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb", buffering=0) as stream:
                state = os.fstat(descriptor)
                if not stat.S_ISREG(state.st_mode) or state.st_size != size:
                    return None
                data = stream.readall()
                if zlib.crc32(data) != checksum:
                    return None
                with suppress(OSError):  # a read-only disk
                    os.utime(descriptor)  # its last use, by which `_evict` goes
            return _decode(key, data)
        except (OSError, ValueError):
            return None

    def _keep(self, key: str, data: bytes) -> bool:
        return bool(self._guarded(lambda: self._write(key, data)))

    def _write(self, key: str, data: bytes) -> bool:
        if self._is_full():
            self._trouble = _FULL
            return False
        file = secrets.randbits(63)
        path = self._path(file)
        try:
            with self._transaction() as connection:
                (held,) = connection.execute("SELECT coalesce(sum(bytes), 0) FROM entry").fetchone()
                free = shutil.disk_usage(self.folder).free
                limit = min(self.max_bytes, held + free - self.min_free_bytes - _SLACK_BYTES)
                if len(data) > limit:
                    large = f"a result of {len(data)} bytes is not kept: the cache may hold {self.max_bytes}"
                    self._trouble = large if len(data) > self.max_bytes else _FULL
                    return False
                self._evict(connection, held + len(data) - limit)
                with path.open("xb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                replaced = connection.execute("SELECT file FROM entry WHERE key = ?", (key,)).fetchone()
                row = (file, key, len(data), zlib.crc32(data))
                connection.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)", row)
        except BaseException:
            _remove(path)
            raise
        if replaced is not None:
            _remove(self._path(replaced[0]))
        self._trouble = None
        return True

    def _evict(self, connection: sqlite3.Connection, excess: float) -> None:
        """Remove the least recently used entries until ``excess`` bytes are freed."""
        if excess <= 0:
            return
        entries = []
        for (file,) in connection.execute("SELECT file FROM entry").fetchall():
            try:
                state = self._path(file).lstat()
                entries.append((state.st_mtime_ns, state.st_size, file))
            except FileNotFoundError:
                entries.append((0, 0, file))
        for _, size, file in sorted(entries):
            if excess <= 0:
                break
            _remove(self._path(file))  # before its row: on a full disk, to record that takes the room it frees
            connection.execute("DELETE FROM entry WHERE file = ?", (file,))
            excess -= size

    def _is_full(self) -> bool:
        try:
            return shutil.disk_usage(self.folder).free < self.min_free_bytes
        except OSError:
            return False


class _DamagedError(sqlite3.DatabaseError):
    """What SQLite itself does not find wrong with a database."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 for an error that SQLite did not raise."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _encode(key: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> bytes:
    if "__metadata__" in arrays:
        msg = "no array can be named '__metadata__': safetensors keeps that name for its own use."
        raise ValueError(msg)
    for name, array in arrays.items():
        if array.dtype.str[1:] not in _DTYPES.values():
            msg = f"array {name!r} must be of bools, integers, floats or complex64 to be kept; got {array.dtype}."
            raise TypeError(msg)
    try:
        record = {"key": key, "metadata": json.dumps(dict(metadata))}
    except (TypeError, ValueError) as error:
        msg = f"metadata must be what JSON can hold: {error}."
        raise TypeError(msg) from error
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in arrays.items()}, record)


def _decode(key: str, data: bytes) -> Entry:
    """The entry in the bytes of a file. Raises ValueError when they hold none, or another key's.

    The arrays are views of the bytes, and so read-only; safetensors' own loader would take three times as long.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:start])
        record = header.pop("__metadata__")
        owner, metadata = record["key"], dict(json.loads(record["metadata"]))
        arrays = {
            name: np.ndarray(item["shape"], "<" + _DTYPES[item["dtype"]], data, start + item["data_offsets"][0])
            for name, item in header.items()
        }
    except (AttributeError, LookupError, RecursionError, TypeError) as error:
        msg = f"the file of {key} holds no result"
        raise ValueError(msg) from error
    if owner != key:
        msg = f"the file of {key} holds the result of {owner}"
        raise ValueError(msg)
    return Entry(arrays=arrays, metadata=metadata)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
