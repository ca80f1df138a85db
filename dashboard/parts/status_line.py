"""The foot of every page: which networks are in memory, and how to get those whose weights are not here."""

from collections.abc import Callable

import streamlit as st

from dashboard.services import people
from dashboard.services.kept_networks import kept_networks
from dashboard.wording import escape_markdown


def status_line() -> Callable[[], None]:
    """What is in memory, and, opened, the known networks without weights: for whoever may bring them.

    It stands before the page has run, for many a page stops to wait; what comes back is to be called when it has, and
    says anew what is in memory.
    """
    with st.container(horizontal=True, vertical_alignment="center", key="status-line"):
        place = st.empty()
        if people.may_measure():  # it says what to do on the server
            _without_weights()

    def say() -> None:
        if held := kept_networks().held():
            from corrcore import networks, wording  # in memory already, with torch

            said = [f"{networks.title(each.name)}, {wording.size_text(each.n_bytes)} on {each.device}" for each in held]
            place.caption(escape_markdown(f"In memory: {' · '.join(said)}"), width="content")

    say()
    return say


@st.fragment
def _without_weights() -> None:
    place = st.popover(
        "Networks without weights here",
        key="without_weights",
        on_change="rerun",
        type="tertiary",
        icon=":material/help:",
    )
    if not place.open:
        return
    from corrcore.networks import lookup  # with torch, and only where somebody asks

    lines = ways_to_get()
    with place:
        if not lines:
            st.caption("All that are known by a short name have their weights here.")
            return
        st.caption(
            f"Download one with its command, or put its file (.pth is as good) in {lookup.folder_text()}. "
            "`corrcore network list` names all there are."
        )
        st.markdown("\n".join(lines))


def ways_to_get() -> list[str]:
    """A line per known network without weights here, with the command and the file that bring them."""
    from corrcore import networks
    from corrcore.networks import lookup
    from dashboard.services import caches

    here, lines = caches.offered_networks(), []
    for name in caches.known_networks():
        if name in here:
            continue
        full = networks.full_name(name)
        spec = networks.spec(name) if full == name else None
        fetched = spec is None or getattr(spec, "fetch", None) is not None
        ways = [f"`{lookup.fetch_command(name)}`"] * fetched + [f"`{name}.safetensors`"]
        library = full.partition(":")[0] if spec is None else ""
        lines.append(f"- **{networks.title(name)}**{library and f' · {library}'}: {' or '.join(ways)}")
    return lines
