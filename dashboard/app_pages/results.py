"""The paper's tables, computed on this machine, beside the published numbers; and whatever else was measured here."""

import streamlit as st

from dashboard.app_pages.results_parts import kinds
from dashboard.app_pages.results_parts.fields import page_of_fields
from dashboard.app_pages.results_parts.numbers import entries_of, page_of_numbers
from dashboard.app_pages.results_parts.plain import page_of_plain
from dashboard.parts import header, url_state
from dashboard.services import caches


def page() -> None:
    """A table of those there are, and its view."""
    header.header(
        "Which layer knows where things are, in numbers?",
        "The paper's tables, from the results on this machine, beside the published numbers where they are of the same data "
        "and network. **Look for** rows of layers above rows of SIFT, and whether that is more than chance: choose two rows to "
        "compare, or click a cell to see the objects behind it.",
    )
    stored = caches.stored()
    there = kinds.titles()
    titles = (kinds.FIELDS, *there)
    measured = {type(result.experiment) for result in stored.results.values()}
    url_state.check_link("table", titles)
    title = st.segmented_control(
        "Table",
        titles,
        default=next((title for title, kind in there.items() if kind in measured), kinds.FIELDS),
        key="table",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    if title == kinds.FIELDS:
        page_of_fields()
        return
    kind = there[title]
    entries, damaged = entries_of(kind, stored)
    if entries or kind.number:
        page_of_numbers(kind, stored, entries, damaged)
    else:
        page_of_plain(kind, stored)


page()
