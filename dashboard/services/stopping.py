"""How the server ends: what is to end with it is told at once, and it is gone after its grace period in any case."""

import atexit
import faulthandler
import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

GRACE_S = 9.0  # hosts kill after ten seconds

_log = logging.getLogger(__name__)
_callbacks: list[Callable[[], object]] = []
_threads: list[threading.Thread] = []
_lock = threading.Lock()


def at_stop(callback: Callable[[], object]) -> None:
    """Calls `callback` once when the server is asked to end, in a thread of its own, or else when Python ends.

    At once where the server has been asked to end already.
    """
    with _lock:
        _callbacks.append(callback)
        if _threads:
            _tell(callback)


def begun() -> bool:
    """Whether the server has been asked to end."""
    return bool(_threads)


def begin() -> None:
    """Tells all that are to end with the server; a second call does nothing.

    A watchdog of the interpreter, which needs no lock of Python's, prints all stacks and ends the process should it
    still be there after `GRACE_S`.
    """
    with _lock:
        if _threads:
            return
        faulthandler.dump_traceback_later(GRACE_S, exit=True)
        for callback in (_say_so, *_callbacks):
            _tell(callback)


def _tell(callback: Callable[[], object]) -> None:
    thread = threading.Thread(target=callback, name="corrcore-stop", daemon=True)
    thread.start()
    _threads.append(thread)


def finish(timeout: float) -> None:
    """Begins, if that is still to be done, and waits for what was told, at most `timeout` seconds in all."""
    begin()
    deadline = time.monotonic() + timeout
    for thread in _threads:
        thread.join(max(deadline - time.monotonic(), 0.0))


def watch_signals() -> None:
    """Begins at SIGTERM and SIGINT, before the handlers that are there. To be called in the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _before(signal.getsignal(number)))


def _before(handler: Any) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        # In a thread: a signal's handler may have interrupted one that holds the lock.
        threading.Thread(target=begin, name="corrcore-stop", daemon=True).start()
        if callable(handler):
            handler(number, frame)

    return handle


def _say_so() -> None:
    _log.info("the server ends", extra={"event": "stop"})


@atexit.register
def _at_exit() -> None:
    if begun():
        finish(GRACE_S)
    else:  # Python ends by itself: a script's, or a test's
        for callback in _callbacks:
            callback()
