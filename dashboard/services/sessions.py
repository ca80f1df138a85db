"""The long work of this session: what it looks at now, and what takes minutes, in the queues that all sessions
share.
"""

import atexit
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from dashboard.services.jobs import Job, Queue
from dashboard.state import View, session

T = TypeVar("T")


@st.cache_resource(max_entries=3, show_spinner=False)
def queue(purpose: str = "views") -> Queue:
    """The queue for pictures that somebody waits for, or that for what takes minutes. They end with the server."""
    made = Queue(capacity=20 if purpose == "views" else 5)
    atexit.register(made.close)
    return made


def submit_view(work: Callable[..., T], label: str, key: Hashable) -> Job[T]:
    """Work for the picture this session looks at now; what it looked at before is cancelled.

    A job that failed or was cancelled stays so, until `forget_view` is called or something else is looked at.
    """
    before = session().view
    if before is not None and before.key == key:
        return before.job
    if before is not None:
        before.job.cancel()
    job = queue().submit(work, label=label, owner=session().owner, key=key)
    session().view = View(key, job)
    return job


def forget_view() -> None:
    """Let the next `submit_view` begin again."""
    session().view = None


def submit_measurement(work: Callable[..., T], label: str, key: Hashable) -> Job[T]:
    """Work of minutes, which `measurement` finds again under its key. Raises `QueueFull` where there is no room."""
    return queue("measurements").submit(work, label=label, owner=session().owner, key=key)


def measurement(key: Hashable) -> Job[Any] | None:
    """This session's work of minutes, running or ended, if it began any under this key."""
    return queue("measurements").find(session().owner, key)
