"""Results that show whether they are whole, caches that do not mind how full the tests' disk is, and other
processes.
"""

import os
import sqlite3
import sys
import traceback
import warnings
from contextlib import closing

import numpy as np

from corrcore.store import Cache

FULL = "disk is full: results are not kept"
KEPT = "results are kept"


def open_cache(folder, **options):
    return Cache(folder, **{"min_free_bytes": 0, **options})


def result(value, n_items=1000, **metadata):
    arrays = {"a": np.full(n_items, value, np.int64), "b": np.full((n_items, 3), value, np.float32)}
    return arrays, {"value": value, **metadata}


def value_of(entry):
    """The value an entry was made of; fails for an entry that is not of one piece."""
    value = entry.metadata["value"]
    assert (entry.arrays["a"] == value).all()
    assert (entry.arrays["b"] == value).all()
    return value


def size_of(n_items=1000):
    """The bytes of a result's file, about: 20 an item."""
    return 20 * n_items + 500


def array_files(cache):
    return sorted(cache.folder.glob("*.safetensors"))


def execute(cache, statement, *parameters):
    with closing(sqlite3.connect(cache.folder / "cache.db")) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


def file_of(cache, name):
    """The path of the file that holds a key's result, by the database."""
    ((file,),) = execute(cache, "SELECT filename FROM Cache WHERE key = ?", name)
    return cache.folder / file


def in_child(work):
    """Run ``work`` in a fork of this process, and return the child's process id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of forks among threads
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def wait_for(pid):
    """0 for a child that ended well."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
