"""What every page has in common, from its first sentence to the quiet row at its end."""

import mimetypes
import re
from base64 import b64encode
from collections.abc import Callable, Hashable, Mapping, Sequence
from html import escape
from pathlib import PurePath
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import numpy as np
import streamlit as st

from corrcore import images
from dashboard import figures
from dashboard.services import caches
from dashboard.services.jobs import Job, QueueFull

T = TypeVar("T")


def header(sentence: str, look_for: str = "") -> None:
    """The page's one sentence: what is shown. `look_for` adds, smaller, what to look for."""
    st.title(sentence, anchor=False)
    if look_for:
        st.markdown(look_for)


def two_a_row(what: str) -> Any:
    """A container whose columns stand two a row on a phone, where Streamlit would stack them; one for each `what`."""
    st.html(
        "<style>@media (max-width: 640px) {[class*=st-key-two-a-row] [data-testid=stColumn]"
        "{min-width: 0; flex: 0 0 calc(50% - 0.5rem)}}</style>"
    )
    return st.container(key=f"two-a-row {what}")


def section_picker(label: str, options: Sequence[str], *, key: str) -> str:
    """One of a few options, side by side, the first to begin with; the choice is in the URL. `label` is not shown."""
    return st.segmented_control(
        label,
        options,
        default=options[0],
        key=key,
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )


def how_computed(text: str, parameters: Mapping[str, object]) -> None:
    """Folded: how the result comes about, in three sentences and a formula, and the parameters in force."""
    with st.expander("How this is computed", icon=":material/function:"):
        st.markdown(text)
        names, values = list(parameters), [escape_markdown(str(value)) for value in parameters.values()]
        st.table({"parameter": names, "value": values}, border="horizontal", hide_header=True, hide_index=True)


def share_link(state: Mapping[str, str | Sequence[str]] | None = None) -> str:
    """The address that shows this view to somebody else: the page's, with the state of all widgets bound to it.

    Call it below those widgets. A widget that changes in a fragment reaches the link of that fragment only. Streamlit leaves out
    those that are at their default; where that depends on data, which others may have more of, `state` says what it is here.
    """
    there = {name: st.query_params.get_all(name) for name in st.query_params}
    query = urlencode({**(state or {}), **there}, doseq=True)
    url = urlsplit(st.context.url or "")
    return url._replace(path=url.path or "/", query=query).geturl()


def export_row(
    *,
    downloads: Mapping[str, Callable[[], bytes]],
    python: str,
    state: Mapping[str, str | Sequence[str]] | None = None,
) -> None:
    """The end of a page: the link to this view, files to take along, and the lines of Python that make the same.

    `downloads` maps a file name to what makes its content; that is called when somebody asks for the file. `state` is that of
    `share_link`.
    """
    with st.container(horizontal=True, gap="small", key="quiet-row"):
        with st.popover("Link", icon=":material/link:"):
            st.code(share_link(state), language=None, wrap_lines=True)
        for name, make in downloads.items():
            st.download_button(
                PurePath(name).suffix[1:].upper(),
                make,
                file_name=name,
                mime=mimetypes.guess_type(name)[0],
                key=f"download {name}",
                on_click="ignore",
                icon=":material/download:",
            )
        with st.popover("Python", icon=":material/code:"):
            st.code(python, language="python")


def view_job(work: Callable[..., T], label: str, key: Hashable) -> Job[T]:
    """The job for what this session looks at (`caches.submit_view`), a second given to it; the page stops where there is
    no room for it.
    """
    try:
        job = caches.submit_view(work, label, key)
    except QueueFull as error:
        st.warning(str(error), icon=":material/hourglass:")
        st.stop()
    job.wait(1.0)
    return job


def view(work: Callable[..., Any], label: str, key: Hashable) -> Any:
    """What `view_job` makes; the page stops here while there is nothing."""
    job = view_job(work, label, key)
    if job.result is None:
        job_panel(job, again=caches.forget_view)
        st.stop()
    return job.result


def begin_measurement(work: Callable[..., T], label: str, key: Hashable) -> Job[T] | None:
    """Work of minutes, which `caches.measurement` finds again; None, with a warning, where there is no room for it."""
    try:
        return caches.queue("measurements").submit(work, label=label, owner=caches.owner(), key=key)
    except QueueFull as error:
        st.warning(str(error), icon=":material/hourglass:")
        return None


def job_panel(job: Job[Any], *, again: Callable[[], None] | None = None) -> None:
    """What a job is doing, how far it is and how long it takes, with a button that cancels it.

    The whole page runs again once, when the job ends; the page then shows `Job.result`, and this panel, for a job
    that has none, why, with a button to try `again` where that is given.
    """
    if not job.finished:
        _watch(job)
    elif job.state == "failed":
        st.error(escape_markdown(job.error), icon=":material/error:")
    elif job.state == "cancelled":
        st.caption(f"{job.label} was cancelled.")
    if again is not None and job.state in ("failed", "cancelled"):
        st.button("Try again", key=f"again-{job.id}", on_click=again, icon=":material/refresh:")


@st.fragment(run_every=0.5)
def _watch(job: Job[Any]) -> None:
    if job.finished:
        st.rerun()
    with st.container(border=True, key=f"job-{job.id}"):
        st.progress(job.progress, text=f"{job.label}: {job.text}" if job.text else job.label)
        st.caption(_standing(job))
        st.button(
            "Cancelling" if job.cancelling else "Cancel",
            key=f"cancel-{job.id}",
            on_click=job.cancel,
            disabled=job.cancelling,
            icon=":material/close:",
        )


def _standing(job: Job[Any]) -> str:
    """How long a job takes, or how long its queue is."""
    place, remaining = job.place, job.remaining
    if place is not None:
        return {0: "Next in line", 1: "Waiting, 1 job before it"}.get(place, f"Waiting, {place} jobs before it")
    left = f" · about {duration(remaining)} left" if remaining is not None else ""
    return f"{job.progress:.0%} · {duration(job.elapsed)} so far{left}"


def escape_markdown(text: str) -> str:
    """Text from outside, such as a file's name, with nothing in it that Markdown or HTML would act on."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|$~:&])", r"\\\1", text)


def round_picture(image: np.ndarray, *, alt: str, side: int = 88) -> None:
    """A square picture with its corners cut, `side` screen pixels wide."""
    st.html(
        f'<img src="{_data_url(image)}" alt="{escape(alt)}" style="width: {side}px; height: {side}px; border-radius: 50%">'
    )


def colour_bar(colours: Sequence[str], low: str, high: str) -> None:
    """A key to a picture's colours, from those of `low` to those of `high`."""
    st.html(
        '<div style="display: flex; align-items: center; gap: .5em; font-size: .85rem; max-width: 24rem">'
        f"<span>{escape(low)}</span>"
        f'<span style="flex: 1; height: .7em; background: linear-gradient(to right, {", ".join(colours)})"></span>'
        f"<span>{escape(high)}</span></div>"
    )


def keypoint_legend(names: Sequence[str]) -> None:
    """Keypoints' names, each with a dot of its colour."""
    dots = " &nbsp; ".join(
        f'<span style="white-space: nowrap"><span style="display: inline-block; width: .8em; height: .8em; '
        f'border-radius: 50%; border: 1px solid #888; background: {figures.keypoint_colour(number)}"></span> '
        f"{escape(name.replace('_', ' '))}</span>"
        for number, name in enumerate(names)
    )
    st.html(f'<div style="font-size: .85rem; line-height: 1.7">{dots}</div>')


def _data_url(image: np.ndarray) -> str:
    return f"data:image/png;base64,{b64encode(images.encode(image, format='PNG')).decode()}"


def empty_state(title: str, text: str, *, button: str = "", on_click: Callable[[], None] | None = None) -> bool:
    """Where there is nothing to show yet: what is missing, why, and the button that mends it; whether it is pressed."""
    with st.container(border=True):
        st.subheader(title, anchor=False)
        st.markdown(text)
        return bool(button) and st.button(button, key=f"mend {title}", on_click=on_click, type="primary")


def duration(seconds: float) -> str:
    """A time span as people say it.

    >>> [duration(seconds) for seconds in (0.2, 59.7, 61, 3600 + 125)]
    ['0 s', '1 min 0 s', '1 min 1 s', '1 h 2 min']
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
