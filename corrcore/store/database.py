"""diskcache's database, which is trusted with names, sizes and times of use, and with nothing else."""

import os
import re
import secrets
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import diskcache
from diskcache.core import MODE_BINARY, UNKNOWN

from corrcore.store.files import write_atomically

NAME = "cache.db"
_SETTINGS = {  # every one that diskcache has but for the size limit
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "least-recently-used",
    "cull_limit": 0,  # `Cache` makes room before it stores
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 1 << 13,
    "sqlite_journal_mode": "delete",
    "sqlite_mmap_size": 0,  # a mapped database that is cut short would end the process
    "sqlite_synchronous": 0,  # a database that a power cut damages is set aside; dead processes damage none
    "disk_min_file_size": 0,
    "disk_pickle_protocol": 0,
}
_FILE_NAME = re.compile(r"[0-9a-f]{16}\.safetensors")
_UNFINISHED_NAME = re.compile(r"\.[0-9a-f]{16}\.writing")  # what dead writers leave behind (`write_atomically`)


class File(NamedTuple):
    """Where the database says that a value is."""

    name: str
    size: int


class FilesOnly(diskcache.Disk):
    """Keys are text and values bytes, each in a file of the database's own folder.

    What diskcache would unpickle is refused. So is what it would read or delete elsewhere.
    """

    def put(self, key: object) -> Any:
        """A key as the database holds it."""
        if type(key) is not str:
            msg = f"a key must be a str; got {type(key).__qualname__}."
            raise TypeError(msg)
        return key, True

    def get(self, key: object, raw: object) -> str:
        """A key of the database. Raises sqlite3.DatabaseError for what is no text."""
        if type(key) is not str or not raw:
            msg = "it holds a key that is no text"
            raise sqlite3.DatabaseError(msg)
        return key

    def store(self, value: object, read: bool, key: object = UNKNOWN) -> Any:  # noqa: ARG002
        """Writes a value to a new file; what comes back is its row."""
        if type(value) is not bytes or read:
            msg = f"a value must be bytes; got {type(value).__qualname__}."
            raise TypeError(msg)
        name, path = self.filename()
        write_atomically(Path(path), value)
        return len(value), MODE_BINARY, name, len(value)

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> File | None:  # noqa: ARG002
        """The file that a row names, to be read when the database is free again; None for any other row."""
        if mode == MODE_BINARY and _is_file_name(filename) and type(value) is int:
            return File(str(filename), value)
        return None

    def filename(self, key: object = UNKNOWN, value: object = UNKNOWN) -> tuple[str, str]:  # noqa: ARG002
        """A new file's name and path."""
        name = f"{secrets.token_hex(8)}.safetensors"
        return name, os.path.join(self._directory, name)

    def remove(self, file_path: object) -> None:
        """Removes a file of the folder; other names are left alone."""
        if _is_file_name(file_path):
            remove(Path(self._directory, str(file_path)))


def open_database(folder: Path, *, max_bytes: int, timeout_s: float) -> Any:
    """diskcache's cache in a folder, checked first, without an open connection.

    Raises sqlite3.DatabaseError for a damaged database, or one of another kind.
    """
    reconcile(folder, timeout_s=timeout_s)
    library: Any = diskcache.Cache
    database = library(str(folder), timeout=timeout_s, disk=FilesOnly, size_limit=max_bytes, **_SETTINGS)
    database.close()
    return database


def reconcile(folder: Path, *, timeout_s: float) -> None:
    """Removes files without a row and rows without a file of their size, and forgets settings that may be planted.

    Raises sqlite3.DatabaseError for a damaged database, or one of another kind.
    """
    path = folder / NAME
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            msg = "it is not a regular file"
            raise sqlite3.DatabaseError(msg)
    with closing(sqlite3.connect(path, timeout=timeout_s, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = 0")
        connection.execute("BEGIN IMMEDIATE")  # nobody writes meanwhile: a file without a row is a dead writer's
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables <= {"Settings", "Cache"}:
            msg = "it is not a database of this cache"
            raise sqlite3.DatabaseError(msg)
        unknown = {file.name: file for file in files(folder)}
        if "Cache" in tables:
            for row, name, size in connection.execute("SELECT rowid, filename, size FROM Cache").fetchall():
                file = unknown.get(name)
                if file is not None and file.lstat().st_size == size:
                    del unknown[name]
                else:
                    connection.execute("DELETE FROM Cache WHERE rowid = ?", (row,))
            connection.execute("DELETE FROM Settings")
            connection.execute(
                "INSERT INTO Settings SELECT 'count', count(*) FROM Cache "
                "UNION ALL SELECT 'size', coalesce(sum(size), 0) FROM Cache"
            )
        for file in unknown.values():
            remove(file)
        connection.execute("COMMIT")


def files(folder: Path) -> list[Path]:
    """The files of values, those that dead writers left unfinished included."""
    return [
        path for path in folder.iterdir() if _FILE_NAME.fullmatch(path.name) or _UNFINISHED_NAME.fullmatch(path.name)
    ]


def remove(path: Path) -> None:
    """Removes a file if that is possible."""
    with suppress(OSError):
        path.unlink()


def _is_file_name(name: object) -> bool:
    return type(name) is str and _FILE_NAME.fullmatch(name) is not None
