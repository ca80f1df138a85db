"""The long work of this session: what it looks at now, and what takes minutes, in the queues that all sessions
share.
"""

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from dashboard.services import stopping
from dashboard.services.jobs import Job, Queue
from dashboard.state import View, session

if TYPE_CHECKING:  # which brings torch along, and Home needs none
    from corrcore.patch_index import PatchIndex

T = TypeVar("T")


@st.cache_resource(max_entries=3, show_spinner=False)
def queue(purpose: str = "views") -> Queue:
    """The queue for pictures that somebody waits for, or that for what takes minutes. They end with the server."""
    made = Queue(capacity=20 if purpose == "views" else 5, name=purpose)
    stopping.at_stop(made.close)
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
    return queue("measurements").submit(work, label=label, owner=session().owner, key=key, shared=True)


def measurement(key: Hashable) -> Job[Any] | None:
    """Work of minutes under this key, whoever began it: another window, or this one before it was loaded again.

    How it ended is told to the session that began it alone.
    """
    job = queue("measurements").find(None, key)
    return None if job is None or (job.finished and not is_own(job)) else job


def is_own(job: Job[Any]) -> bool:
    """Whether this session began it."""
    return job.owner == session().owner


def submit_build(work: "Callable[..., PatchIndex]", label: str, key: Hashable) -> "Job[PatchIndex]":
    """Work that builds an index, which `build` finds again. Raises `QueueFull` where there is no room."""
    job = queue("builds").submit(work, label=label, owner=session().owner, key=key, shared=True)
    session().building = job
    return job


def build() -> Job[Any] | None:
    """The index that this session builds or has built; else one that is being built, whoever began it."""
    return session().building or next(iter(queue("builds").unfinished()), None)
