"""What a number is made of: the page it comes from, and the objects it is lowest and highest of."""

from collections.abc import Iterable

import streamlit as st

from corrcore import images
from corrcore.experiments import Row
from dashboard.app_pages.results_parts.origins import differs_on_page, page_of, page_url
from dashboard.app_pages.results_parts.view import MEAN, View
from dashboard.parts import exports, header
from dashboard.services import caches, thumbnails
from dashboard.wording import escape_markdown

EXAMPLES = 6


def show_cell(view: View, row: Row, column: str) -> None:
    """Where a number came from, and its objects."""
    with st.container(border=True, key="cell"):
        found = view.estimates.get((row, column))
        title = f"{escape_markdown(row.title)}, {escape_markdown(view.heading(column))}"
        if found is None:
            st.markdown(f"**{title}**: not measured.")
            return
        st.markdown(f"**{title}: {found.value:.1f} %** {escape_markdown(exports.interval_text(found))}")
        if column == MEAN:
            _show_mean(view, row)
            return
        if view.source.data is None:
            st.caption("The data set itself is not on this machine, so its objects cannot be shown.")
            return
        if link := page_url(view, row, column):
            st.markdown(f"[Open {escape_markdown(column)} on the {page_of(view.kind)} page]({link})")
            _say_what_differs(differs_on_page(view, row, column))
        _show_examples(view, row, column)


def _show_mean(view: View, row: Row) -> None:
    found = {each: url for each in view.entries if (url := page_url(view, row, each))}
    listed = ", ".join(f"[{escape_markdown(each)}]({url})" for each, url in found.items())
    on_page = f" On the {page_of(view.kind)} page: {listed}." if found else ""
    st.markdown(f"The mean of {len(view.entries)} categories.{on_page}")
    _say_what_differs(dict.fromkeys(each for name in found for each in differs_on_page(view, row, name)))


def _say_what_differs(said: Iterable[str]) -> None:
    """Nothing where the page shows a number as it was measured."""
    if said := list(said):
        st.caption(escape_markdown(f"The page shows these with its own settings: {'; '.join(said)}."))


def _show_examples(view: View, row: Row, category: str) -> None:
    """The objects of lowest and of highest share, of those that show at least half of the most that any shows."""
    table = view.tables[category]
    by_name = {one.name: one for one in view.source.val(category)}
    hits, shown = _right_and_shown(view, row, category)
    known = [n for n, name in enumerate(table.objects) if name in by_name and shown[n] >= max(shown) / 2]
    order = sorted(known, key=lambda n: (hits[n] / shown[n], -shown[n]))
    parts = {
        "Objects of which it has least right": order[:EXAMPLES],
        "Objects of which it has most right": order[max(len(order) - EXAMPLES, EXAMPLES) :][::-1],
    }
    for title, numbers in parts.items():
        if not numbers:
            continue
        some = [by_name[table.objects[n]] for n in numbers]
        st.markdown(f"**{title}**")
        pictures = thumbnails.of_objects(caches.state_of(some), some)
        places = header.two_a_row(f"examples {title}").columns(EXAMPLES, gap="small")
        for place, n, one, picture in zip(places, numbers, some, pictures, strict=False):
            place.image(images.encode(picture, format="JPEG"), width="stretch", alt=one.name)
            link, text = page_url(view, row, category, one.name), f"{hits[n]} of {shown[n]} right"
            place.markdown(f"[{text}]({link})" if link else text)


def _right_and_shown(view: View, row: Row, category: str) -> tuple[list[int], list[int]]:
    table = view.tables[category]
    right = table.right(row) if view.alpha is None else table.right(row, alpha=view.alpha)
    return right.sum(axis=1).tolist(), table.visible.sum(axis=1).tolist()
