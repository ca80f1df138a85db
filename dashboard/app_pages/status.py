"""Status: how the server is doing, and what clears. For operators."""

import time
from collections.abc import Callable

import streamlit as st

from corrcore import networks
from corrcore.wording import counted, size_text
from dashboard.parts.header import header, two_a_row
from dashboard.server import status
from dashboard.server.status import Snapshot
from dashboard.services import people
from dashboard.services.jobs import LONG, VIEW
from dashboard.wording import duration, escape_markdown

EVERY_S = 5
TITLES = {VIEW: "Pictures somebody waits for", LONG: "Long work"}


def show_numbers(found: Snapshot) -> None:
    cells = two_a_row("numbers").columns(5, gap="small")
    cells[0].metric("Open windows", found.sessions)
    cells[1].metric("Running", sum(each.running for each in found.work))
    cells[2].metric("Waiting", sum(each.waiting for each in found.work))
    cells[3].metric(
        "Memory",
        size_text(found.resident_bytes),
        help=f"{size_text(found.own_bytes)} of it beyond files that are mapped"
        + (f"; {size_text(found.device_bytes)} on the device besides." if found.device_bytes else "."),
    )
    cells[4].metric("Up for", duration(found.uptime_s))


def show_work(found: Snapshot) -> None:
    st.subheader("Work", anchor=False)
    table(
        ("", "Waiting", "Running", "Done", "Failed", "Cancelled"),
        [
            (TITLES[each.lane], each.waiting, each.running, each.done, each.failed, each.cancelled)
            for each in found.work
        ],
    )
    jobs = status.running_jobs()
    for job in jobs:
        with st.container(horizontal=True, vertical_alignment="center"):
            state = f"{job.progress:.0%} after {duration(job.elapsed)}" if job.state == "running" else job.state
            # What somebody looks at may name their photo.
            what = escape_markdown(job.label) if job.lane == LONG else TITLES[VIEW]
            st.markdown(f"{what}: {state}", width="content")
            operate("Cancel", job.cancel, "It is asked to stop.", key=f"cancel job {job.id}", disabled=job.cancelling)
    said = "All work is asked to stop."
    operate("Cancel all work", status.cancel_all, said, key="cancel_all", icon="cancel", disabled=not jobs)


def show_disk(found: Snapshot) -> None:
    st.subheader("On disk", anchor=False)
    results = found.results
    st.markdown(
        f"{counted(results.entries, 'kept result')}, {size_text(results.bytes)}; since the start "
        f"{results.hits:,} were found there and {results.misses:,} were not. "
        f"State: {escape_markdown(results.status)}."
    )
    operate("Clear kept results", status.clear_results, "Kept results are cleared.", key="clear_results", icon="delete")
    if found.indexes:
        table(("Index", "Size"), [(escape_markdown(each.name), size_text(each.n_bytes)) for each in found.indexes])
        st.caption("Indexes are deleted on the Data page.")


def show_memory(found: Snapshot) -> None:
    st.subheader("In memory", anchor=False)
    if found.networks:
        table(
            ("Network", "Size", "On"),
            [(networks.title(each.name), size_text(each.n_bytes), each.device) for each in found.networks],
        )
    else:
        st.markdown("No network.")
    with st.container(horizontal=True):
        nothing, said = not found.networks, "Networks are forgotten."
        operate("Forget networks", status.forget_networks, said, key="forget_networks", icon="memory", disabled=nothing)
        said = "What was in memory is cleared."
        operate("Clear what is in memory", status.clear_memory, said, key="clear_memory", icon="delete")


def show_errors(found: Snapshot) -> None:
    st.subheader("Last errors", anchor=False)
    if not found.errors:
        st.markdown("None since the start.")
        return
    now = time.time()
    table(
        ("Ago", "Error", "Where"),
        [(duration(now - each.at), each.kind, escape_markdown(each.where)) for each in found.errors],
    )
    st.caption("What an error says is in the server's log alone: it may quote what a visitor brought.")


def table(names: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    columns = {name: [str(row[number]) for row in rows] for number, name in enumerate(names)}
    st.table(columns, border="horizontal", hide_index=True)


def operate(
    label: str, what: Callable[[], object], done: str, *, key: str, icon: str = "", disabled: bool = False
) -> None:
    """A button, which acts before the page asks who presses it; what is `done` the page then says."""

    def act() -> None:
        if people.may_operate():
            what()
            st.session_state["done"] = done

    symbol = f":material/{icon}:" if icon else None
    st.button(label, key=key, icon=symbol, on_click=act, disabled=disabled)


@st.fragment(run_every=EVERY_S)
def show() -> None:
    if not people.may_operate():  # any more
        st.rerun()
    if done := st.session_state.pop("done", ""):
        st.toast(done, icon=":material/check:")
    found = status.snapshot()
    show_numbers(found)
    show_work(found)
    show_disk(found)
    show_memory(found)
    show_errors(found)


if not people.may_operate():
    st.info("This page is for whoever looks after the server.", icon=":material/lock:")
    st.stop()
header("How is the server doing?", "What runs, what is kept, and what went wrong; looked at anew every five seconds.")
show()
