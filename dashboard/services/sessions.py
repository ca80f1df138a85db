"""What sessions have on the server: long work, in the queue that all of them share, and uploads in memory."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, TypeVar

import streamlit as st
from streamlit import runtime

from corrcore.settings import Settings
from dashboard.services import people, quotas, stopping
from dashboard.services.jobs import LONG, VIEW, Job, Lane, Queue
from dashboard.state import View, is_served, session

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

    A job that failed, or that was cancelled, stays so, until `forget_view` is called or something else is looked at.
    Raises `QueueFull` where there is no room, and `QuotaError` for a visitor who asked for too much.
    """
    _leave_views_of_the_gone(but=key)
    before = session().view
    if before is not None:
        if before.key == key and (before.given_up or before.job.state == "done" or is_own(before.job)):
            return before.job
        before.job.leave(session().owner)
        session().view = None  # whatever becomes of the next
    job = _submit(work, label, key, VIEW)
    session().view = View(key, job)
    return job


def give_view_up(job: Job[Any]) -> None:
    """Wait no more for a view's work, which goes on for others who look at the same."""
    job.leave(session().owner)
    if (view := session().view) is not None and view.job is job:
        session().view = replace(view, given_up=True)


def forget_view() -> None:
    """Let the next `submit_view` begin again."""
    session().view = None


def submit_long(work: Callable[..., T], label: str, key: Hashable) -> Job[T]:
    """Work of minutes, which `long_job` finds again under its key. Raises what `submit_view` does."""
    return _submit(work, label, key, LONG)


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


def _submit(work: Callable[..., T], label: str, key: Hashable, lane: Lane) -> Job[T]:
    """Work of this session in the queue; what others asked for before counts as theirs."""
    owner, address = session().owner, people.address()
    return queue().submit(
        work,
        label=label,
        owner=owner,
        group=quotas.network_of(address) if address else "",
        key=key,
        lane=lane,
        admit=lambda: quotas.check_job(owner, address),
    )


def _leave_views_of_the_gone(*, but: Hashable) -> None:
    """Makes room: nobody waits for the pictures of a window that was closed, or that was loaded again; only the one
    that is asked for now goes on.
    """
    if not is_served():
        return
    server = runtime.get_instance()
    for job in queue().unfinished(VIEW):
        for owner in tuple(job.owners) if job.key != but else ():
            if not server.is_active_session(owner):
                job.leave(owner)


def uploads_held() -> dict[str, int]:
    """The bytes of uploads in memory, by Streamlit's sessions."""
    if not runtime.exists():
        return {}
    storage = getattr(runtime.get_instance().uploaded_file_mgr, "file_storage", None)
    if not isinstance(storage, dict):  # of a page that is tested without a server
        return {}
    return {name: sum(len(file.data) for file in files.copy().values()) for name, files in storage.copy().items()}
