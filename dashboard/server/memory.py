"""Memory that is free goes back to the system.

glibc gives every thread that allocates an arena of its own, up to eight a core, and none gets back what others have
freed: with a thread a visitor and several a job the process grows without end. And once a large block was freed, blocks
up to its size are taken from arenas, too. Elsewhere there is nothing to set.
"""

import ctypes
import gc
import threading
import time

ARENAS = 2
LARGE = 4 * 2**20  # bytes, from which on memory is the system's, and goes back to it at once
EVERY_S = 2.0
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of malloc.h


def bound_allocator() -> None:
    """Lets all threads allocate from few arenas, and nothing large; to be called before there are many threads."""
    if (library := _glibc()) is not None:
        library.mallopt(_M_ARENA_MAX, ARENAS)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE)


def keep_giving_back(every_s: float = EVERY_S) -> None:
    """Gives back what is free now and then, in a thread that ends with the process."""

    def work(library: ctypes.CDLL) -> None:
        while True:
            time.sleep(every_s)
            library.malloc_trim(0)

    if (library := _glibc()) is not None:
        threading.Thread(target=work, args=(library,), name="corrcore-memory", daemon=True).start()


def set_apart() -> None:
    """Takes what is in memory by now, such as modules, for what stays: it is not searched for garbage any more.

    Streamlit has all memory searched after every run of a page, an eighth of a second in which nothing else runs.
    """
    gc.collect()
    gc.freeze()


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except (OSError, TypeError):  # Windows has no such library
        return None
