"""The page's frame: its first sentence, rows of controls, sections, and how its result is computed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard.parts import url_state
from dashboard.wording import escape_markdown


def header(sentence: str, look_for: str = "") -> None:
    """The page's one sentence: what is shown. `look_for` adds, smaller, what to look for."""
    st.title(sentence, anchor=False)
    if look_for:
        st.markdown(look_for)


def two_a_row(what: str) -> Any:
    """A container whose columns stand two a row on a phone, where Streamlit would stack them; one for each `what`."""
    st.html(
        "<style>@media (max-width: 640px) {[class*=st-key-two-a-row] [data-testid=stColumn]"
        "{min-width: 0; flex: 0 0 calc(50% - 0.5rem)} [class*=st-key-two-a-row] [data-testid=stColumn] *"
        "{max-width: 100%} [class*=st-key-two-a-row] [data-testid=stColumn]:has([data-testid=stMultiSelect])"
        "{flex-basis: 100%}}</style>"
    )
    return st.container(key=f"two-a-row {what}")


def part_of_column(share: float, what: str, *, at_most: int) -> Any:
    """A container that takes a `share` of its column's width, and so many screen pixels at most; one for each `what`.

    Pictures in such containers keep their relative sizes on every screen.
    """
    key = re.sub(r"[^\w-]", "-", f"part-{what}", flags=re.ASCII)
    st.html(f"<style>.st-key-{key} {{width: min({share:.2%}, {at_most}px)}}</style>")
    return st.container(key=key)


def section_picker(label: str, options: Sequence[str], *, key: str) -> str:
    """One of a few options, side by side, the first to begin with; the choice is in the URL. `label` is not shown."""
    url_state.check_link(key, options)
    chosen = st.segmented_control(
        label,
        options,
        default=options[0],
        key=key,
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    return chosen or options[0]


def how_computed(text: str, parameters: Mapping[str, object]) -> None:
    """Folded: how the result comes about, in three sentences and a formula, and the parameters in force, if any."""
    with st.expander("How this is computed", icon=":material/function:"):
        st.markdown(text)
        if not parameters:
            return
        names, values = list(parameters), [escape_markdown(str(value)) for value in parameters.values()]
        st.table({"parameter": names, "value": values}, border="horizontal", hide_header=True, hide_index=True)
