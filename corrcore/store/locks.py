"""One writer at a time, between threads and processes. The system frees a lock when its holder dies."""

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_CANNOT_LOCK = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP}


class LockedError(OSError):
    """Somebody else holds the lock."""


@contextmanager
def exclusive(path: Path, *, timeout: float = 0.0, required: bool = False) -> Iterator[None]:
    """Holds the lock file `path` while the block runs; waits at most `timeout` seconds for it.

    A file system that has no locks, as some network drives, is used without them, with one RuntimeWarning: two writers
    at once may then overwrite one another there. Where the lock is `required`, it is refused instead.

    Raises LockedError where another holds the lock, and OSError where the file cannot be made.
    """
    lock = FileLock(path, timeout=timeout, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        msg = f"{path} is held by another process or thread; wait until it is done."
        raise LockedError(msg) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _CANNOT_LOCK:
            raise
        if required:
            msg = f"the file system of {path.parent} has no locks; choose a folder on a local disk."
            raise OSError(msg) from error
        msg = f"the file system of {path.parent} has no locks; do not write there from two processes at once."
        warnings.warn(msg, RuntimeWarning, stacklevel=3)
        yield
        return
    try:
        yield
    finally:
        lock.release()
