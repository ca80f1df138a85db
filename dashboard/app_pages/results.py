"""The paper's tables, computed on this machine, beside the published numbers; and whatever else was measured here."""

import streamlit as st

from corrcore.experiments import Confidence, Sweep
from dashboard.app_pages.results_parts import kinds
from dashboard.app_pages.results_parts.confidence import page_of_confidence
from dashboard.app_pages.results_parts.depth import page_of_sweeps
from dashboard.app_pages.results_parts.fields import page_of_fields
from dashboard.app_pages.results_parts.numbers import entries_of, page_of_numbers
from dashboard.app_pages.results_parts.plain import page_of_plain
from dashboard.parts import header, url_state
from dashboard.services import caches


def page() -> None:
    """A table of those there are, and its view."""
    top = st.container()  # what to look for depends on the table
    stored = caches.stored()
    there = kinds.titles()
    titles = (kinds.FIELDS, *there)
    measured = {type(result.experiment) for result in stored.results.values()}
    url_state.check_link("table", titles)
    usual = next((title for title, kind in there.items() if kind in measured), kinds.FIELDS)
    title = st.segmented_control(
        "Table",
        titles,
        default=usual,
        key="table",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    title = title or usual  # a browser can be made to say that none is chosen, here and below
    with top:
        header.header(
            "Which layer knows where things are, in numbers?",
            "The paper's tables and whatever else was measured on this machine; published numbers stand beside "
            "those of the "
            f"same data and network. {kinds.look_for(there.get(title))}",
        )
    if title == kinds.FIELDS:
        page_of_fields()
        return
    kind = there[title]
    if kind is Sweep:
        page_of_sweeps(stored)
        return
    if kind is Confidence:
        page_of_confidence(stored)
        return
    entries, empty = entries_of(kind, stored)
    if entries or kind.number:
        page_of_numbers(kind, stored, entries, empty, top)
    else:
        page_of_plain(kind, stored)


page()
