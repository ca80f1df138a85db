"""Runs of pages take turns, so that many visitors at once make none of them wait for all, and fit into memory.

A page computes quick things itself: a forward pass, a warp, a small picture. Each of them wants all cores and some
hundred megabytes, so only a few pages run at once; the others wait a moment. What takes longer is in the queue
(`jobs`).
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st


class Turns:
    """At most `most` threads at once between `taken` and its end."""

    def __init__(self, most: int) -> None:
        self._free = threading.Semaphore(most)
        self._own = threading.local()
        self._running: set[int] = set()
        self.ended = threading.Event()
        """Whether any turn has ended."""

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A turn, waited for; a thread that has one goes on."""
        if self._has_turn:
            yield
            return
        self._free.acquire()
        self._own.turn = True
        self._running.add(threading.get_ident())
        try:
            yield
        finally:
            self._running.discard(threading.get_ident())
            self.ended.set()
            self._own.turn = False
            self._free.release()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Lets others go on while this thread only waits; it has its turn again afterwards."""
        if not self._has_turn:
            yield
            return
        self._own.turn = False
        self._free.release()
        try:
            yield
        finally:
            self._free.acquire()
            self._own.turn = True

    @property
    def running(self) -> int:
        """How many have begun a turn that has not ended, whether they wait in it or not."""
        return len(self._running)

    @property
    def _has_turn(self) -> bool:
        return getattr(self._own, "turn", False)


@st.cache_resource(max_entries=1, show_spinner=False)
def turns() -> Turns:
    """Those of all sessions."""
    return Turns(max(2, os.cpu_count() or 1))
