"""Long work on a page: begun, watched, cancelled, tried again."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from dashboard.services import people, sessions
from dashboard.services.jobs import LONG, VIEW, Job, QueueFull
from dashboard.services.quotas import QuotaError
from dashboard.services.roles import Role
from dashboard.services.turns import turns
from dashboard.wording import duration, escape_markdown, rough_duration, sentence

T = TypeVar("T")
PACE_FROM, PACE_FROM_S = 0.05, 5.0  # share done and seconds after which a pace tells how long the rest takes


def view_job(work: Callable[..., T], label: str, key: Hashable) -> Job[T]:
    """The job for what this session looks at (`sessions.submit_view`), a second given to it; the page stops
    where there is no room for it.
    """
    try:
        job = sessions.submit_view(work, label, key)
    except (QueueFull, QuotaError) as error:
        st.warning(str(error), icon=":material/hourglass:")
        st.stop()
    with turns().given_up():
        job.wait(1.0)
    return job


def view(work: Callable[..., Any], label: str, key: Hashable, *, meanwhile: Callable[[], None] = lambda: None) -> Any:
    """What `view_job` makes; the page stops here while there is nothing but what `meanwhile` shows."""
    job = view_job(work, label, key)
    if job.result is None:
        meanwhile()
        job_panel(job, again=sessions.forget_view)
        if job.result is not None:  # it ended between two looks
            st.rerun()
        st.stop()
    return job.result


def begin_long(work: Callable[..., T], label: str, key: Hashable, *, least: Role = Role.MEMBER) -> Job[T] | None:
    """Work of minutes, which `sessions.long_job` finds again; None, with a warning, where there is no room for it, or
    for whoever is less than `least`.
    """
    try:
        people.require(least)
        return sessions.submit_long(work, label, key)
    except (PermissionError, QueueFull, QuotaError) as error:
        st.warning(sentence(error), icon=":material/hourglass:")
        return None


def job_panel(job: Job[Any], *, again: Callable[[], None] | None = None) -> None:
    """What a job is doing, how far it is and how long it takes, with a button that cancels it.

    The whole page runs again once, when the job ends; the page then shows `Job.result`, and this panel, for a job
    that has none, why, with a button to try `again` where that is given.
    """
    if not job.finished and not _is_left(job):
        _watch(job)
    elif job.state == "failed":
        st.error(sentence(job.error), icon=":material/error:")
    elif _is_left(job):
        st.caption(f"{escape_markdown(job.label)} was cancelled.")
    if again is not None and (job.state == "failed" or _is_left(job)):
        st.button("Try again", key=f"again-{job.id}", on_click=again, icon=":material/refresh:")


def _is_left(job: Job[Any]) -> bool:
    """Whether it was cancelled, or this session does not wait any more for what others still look at."""
    return job.state == "cancelled" or (job.lane == VIEW and not job.finished and not sessions.is_own(job))


def _cancel(job: Job[Any]) -> None:
    """Ends long work for all, if that is this session's to do; a view goes on for others who look at the same."""
    if job.lane == LONG:
        if _may_cancel(job):
            job.cancel()
    else:
        sessions.give_view_up(job)


def _may_cancel(job: Job[Any]) -> bool:
    return sessions.is_own(job) or people.may_measure()


@st.fragment(run_every=0.5)
def _watch(job: Job[Any]) -> None:
    if job.finished or _is_left(job):
        st.rerun()
    with st.container(border=True, key=f"job-{job.id}"):
        doing = f": {escape_markdown(job.text)}" if job.text else ""
        st.progress(job.progress, text=escape_markdown(job.label) + doing)
        st.caption(_standing(job))
        if not _may_cancel(job):
            return
        if job.lane == LONG and not sessions.is_own(job):
            st.caption("Begun in another window, or here before a reload; cancelling ends it there too.")
        st.button(
            "Cancelling" if job.cancelling else "Cancel",
            key=f"cancel-{job.id}",
            on_click=_cancel,
            args=(job,),
            disabled=job.cancelling,
            icon=":material/close:",
        )


def _standing(job: Job[Any]) -> str:
    """How long a job takes, or how long its queue is."""
    place, remaining = job.place, job.remaining
    if place is not None:
        first, begins = job.running_before, job.begins_in
        # what others look at, which may name their photos, is not told
        after = f", after {first.label}" if first is not None and (first.lane == LONG or sessions.is_own(first)) else ""
        when = ""
        if first is not None and begins is not None and _has_pace(first):
            when = f", in about {rough_duration(begins)}"
        return {0: f"Next in line{escape_markdown(after)}{when}", 1: "Waiting, 1 job before it"}.get(
            place, f"Waiting, {place} jobs before it"
        )
    left = f" · about {rough_duration(remaining)} left" if remaining is not None and _has_pace(job) else ""
    return f"{job.progress:.0%} · {duration(job.elapsed)} so far{left}"


def _has_pace(job: Job[Any]) -> bool:
    return job.progress >= PACE_FROM and job.elapsed >= PACE_FROM_S
