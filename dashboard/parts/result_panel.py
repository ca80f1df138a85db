"""Where a result belongs: the result, or the button that begins it, or how far it is."""

from collections.abc import Callable, Hashable
from typing import TypeVar

import streamlit as st

from corrcore.cli.evaluate import command_of
from corrcore.concurrency import Progress
from corrcore.experiments import Context, Experiment, Result, run
from dashboard.parts.job_panel import begin_long, job_panel
from dashboard.services import caches, people, processes, sessions
from dashboard.services.roles import Role
from dashboard.wording import sentence

T = TypeVar("T")


def result_panel(
    title: str,
    text: str,
    key: Hashable,
    work: Callable[..., object],
    *,
    read: Callable[[], T | None],
    automatic: bool = False,
    button: str = "Compute",
    label: str = "",
) -> T | None:
    """What `read` finds; while that is None, what makes it: a button under `title` and `text`, or progress.

    `work` takes ``progress`` (see `Queue.submit`) and leaves its result where `read` finds it; a session that
    begins it finds it again under `key`. It begins by itself if `automatic`, once, so that what failed or was
    cancelled waits for the button. `label` names the work while it runs. For visitors begins what is automatic alone.
    """
    job = sessions.long_job(key)
    over = job is None or job.finished  # before `read`: what ends meanwhile has left its result behind
    if (found := read()) is not None:
        return found
    if automatic and job is None:
        job = begin_long(work, label or title, key, least=Role.VISITOR)
    elif over and not people.may_measure():
        st.info(f"{label or title}: not computed here yet; {people.reserved()}", icon=":material/lock:")
    elif over:
        pressed = empty_state(title, text, button=button)
        if pressed and begin_long(work, label or title, key) is not None:
            st.rerun()  # without the button
    if job is not None:
        job_panel(job)
        if job.state == "done" and not over:  # it ended between two looks
            st.rerun()
    return None


def experiment_panel(
    experiment: Experiment,
    context: Context,
    *,
    title: str,
    text: str,
    automatic: bool = False,
    button: str = "Compute",
) -> Result | None:
    """An experiment's finished result; while there is none, what makes it: see `result_panel`.

    Where the experiment does not fit its data, the page says why.
    """
    try:
        experiment = experiment.resolved(context)
        key = ("experiment", str(caches.store().path(experiment, context)), *experiment.samples(context))
        caches.finished(experiment, context)
    except (OSError, ValueError) as error:
        st.error(sentence(error), icon=":material/error:")
        return None

    def here(*, progress: Progress) -> Result:
        return run(experiment, context=context, store=caches.store(), progress=progress)  # the server joins no cluster

    work = here if automatic else processes.of_command(lambda: command_of(experiment), here)
    category = getattr(experiment, "category", "")
    return result_panel(
        title,
        text,
        key,
        work,
        read=lambda: caches.finished(experiment, context),
        automatic=automatic,
        button=button,
        label=f"{experiment.title}, {category}" if category else experiment.title,
    )


def empty_state(title: str, text: str, *, button: str = "", on_click: Callable[[], None] | None = None) -> bool:
    """Where there is nothing to show yet: what is missing, why, and the button that mends it; whether it is pressed."""
    with st.container(border=True):
        st.subheader(title, anchor=False)
        st.markdown(text)
        return bool(button) and st.button(button, key=f"mend {title}", on_click=on_click, type="primary")
