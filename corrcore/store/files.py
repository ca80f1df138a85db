"""Files that are written whole or not at all, and the system's errors in words."""

import errno
import os
import secrets
from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_WORDS = {
    errno.EACCES: "you may not read or write it; change its permissions or choose another place",
    errno.EPERM: "you may not read or write it; change its permissions or choose another place",
    errno.EROFS: "it is on a disk that can only be read; choose another place",
    errno.ENOENT: "it does not exist; check the path",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EISDIR: "it is a folder, not a file; choose another name",
    errno.EEXIST: "it exists already; choose another name",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
}


class DiskFullError(OSError):
    """A file that could not be written because its disk is full."""


def write_atomically(path: Path, data: bytes | str) -> None:
    """Writes a file that readers see whole: the old content until all of the new is on the disk. Text is UTF-8.

    A process that dies meanwhile leaves a hidden file ``.<random>.writing`` beside it.

    Raises DiskFullError, which names the path, where there is no room, and OSError where the file cannot be written.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.writing")
    try:
        with temporary.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if not is_full(error):
            raise
        full = DiskFullError(f"{path} cannot be written: the disk is full; free some space or choose another place.")
        full.errno = error.errno
        raise full from error
    finally:
        temporary.unlink(missing_ok=True)


def is_full(error: Exception) -> bool:
    """Whether a full disk, or a quota that is used up, is what went wrong."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def explain(error: OSError) -> str:
    """An error of the system as a sentence with the path and a remedy; errors with a text of their own keep that.

    >>> explain(FileNotFoundError(2, "No such file or directory", "/photos"))
    '/photos: it does not exist; check the path.'
    """
    if error.strerror is None:
        return str(error)
    path = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    if is_full(error):
        return f"{path}the disk is full; free some space or choose another place."
    return f"{path}{_WORDS.get(error.errno or 0, error.strerror)}."
