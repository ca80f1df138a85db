"""The long work of this session: what it looks at now, and what takes minutes, in the queue that all sessions share."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from corrcore.settings import Settings
from dashboard.services import people, quotas, stopping
from dashboard.services.jobs import LONG, Job, Queue
from dashboard.state import View, session

T = TypeVar("T")
BUILD = "build"  # of an index: the first part of its job's key


@st.cache_resource(max_entries=1, show_spinner=False)
def queue() -> Queue:
    """The queue of all sessions, as long as the environment asks for; it ends with the server."""
    limits = Settings.from_environment().limits
    made = Queue(capacity=limits.queue_length, share=limits.jobs_per_visitor)
    stopping.at_stop(made.close)
    return made


def submit_view(work: Callable[..., T], label: str, key: Hashable) -> Job[T]:
    """Work for the picture this session looks at now; what it looked at before is left.

    A job that failed, or that this session has cancelled, stays so, until `forget_view` is called or something else is
    looked at. Raises `QueueFull` where there is no room, and `QuotaError` for a visitor who asked for too much.
    """
    before = session().view
    if before is not None and before.key == key:
        return before.job
    if before is not None:
        before.job.leave(session().owner)
        session().view = None  # whatever becomes of the next
    quotas.check_job(session().owner, people.address())
    job = queue().submit(work, label=label, owner=session().owner, key=key)
    session().view = View(key, job)
    return job


def forget_view() -> None:
    """Let the next `submit_view` begin again."""
    session().view = None


def submit_long(work: Callable[..., T], label: str, key: Hashable) -> Job[T]:
    """Work of minutes, which `long_job` finds again under its key. Raises what `submit_view` does."""
    quotas.check_job(session().owner, people.address())
    return queue().submit(work, label=label, owner=session().owner, key=key, lane=LONG)


def long_job(key: Hashable) -> Job[Any] | None:
    """Work of minutes under this key, whoever began it: another window, or this one before it was loaded again.

    How it ended is told to those who asked for it alone.
    """
    job = queue().find(key)
    return None if job is None or (job.finished and not is_own(job)) else job


def is_own(job: Job[Any]) -> bool:
    """Whether this session asked for it."""
    return session().owner in job.owners


def build() -> Job[Any] | None:
    """The index that this session builds or has built; else one that is being built, whoever began it."""
    own = session().building
    if own is not None and not own.finished:
        return own
    building = (job for job in queue().unfinished(LONG) if isinstance(job.key, tuple) and job.key[0] == BUILD)
    return next(building, own)


def submit_build(work: Callable[..., T], label: str, target: Hashable) -> Job[T]:
    """Work that builds an index in a place, which `build` finds again. Raises what `submit_view` does."""
    job = submit_long(work, label, (BUILD, target))
    session().building = job
    return job
