"""The table itself, one colour range over all its numbers, and what is said under it."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import streamlit as st

from corrcore.experiments import Classification, Row
from dashboard import figures
from dashboard.app_pages.results_parts import kinds
from dashboard.app_pages.results_parts.view import Entry, View
from dashboard.parts import exports
from dashboard.state import session
from dashboard.wording import escape_markdown

OURS, INTERVAL, PAPER, DIFFERENCE = "ours", "95 %", "paper", "diff."
Columns = dict[tuple[str, str], list[Any]]


def names_column(names: Collection[str], *, at_most_px: int = 120, pinned: bool = False) -> Any:
    """A column of a table as wide as its names need, but narrow enough to leave numbers in sight on a phone."""
    return st.column_config.TextColumn(width=min(30 + 7 * max(map(len, names)), at_most_px), pinned=pinned)


def show_table(view: View) -> tuple[Row, str] | None:
    """The table; the row and column of the cell that was clicked."""
    columns, meant = _columns(view)
    state = st.dataframe(
        _styled(view, columns, meant),
        width="stretch" if len(view.columns) > 1 else "content",
        height="content",
        placeholder="",
        key=f"cells {view.kind.kind}",
        on_select="rerun",
        selection_mode="single-cell",
        alt=f"{kinds.name_of(view.kind)}: {view.metric}",
    )
    clicked = [
        (view.rows[row], meant[name])
        for row, name in state["selection"]["cells"]
        if row < len(view.rows) and name in meant
    ]
    return _cell_to_show(view, clicked[0] if clicked else None)


def _columns(view: View) -> tuple[Columns, dict[str, str]]:
    """Cells by both headings, and which of the view's columns the lower ones are of."""
    columns: Columns = {}
    meant: dict[str, str] = {}
    for number, column in enumerate(view.columns):
        apart = "\u200b" * number  # of no width: a click tells of the lower heading alone
        found = [view.estimates.get((row, column)) for row in view.rows]
        paper = [view.published(row, column) for row in view.rows]
        cells: dict[str, list[Any]] = {
            OURS: [np.nan if each is None else each.value for each in found],
            INTERVAL: ["" if each is None else exports.interval_text(each) for each in found],
        }
        if any(each is not None for each in paper):
            cells[PAPER] = [np.nan if each is None else each for each in paper]
            cells[DIFFERENCE] = [own - other for own, other in zip(cells[OURS], cells[PAPER], strict=True)]
        for name, values in cells.items():
            columns[view.heading(column), name + apart] = values
            meant[name + apart] = column
    return columns, meant


def _styled(view: View, columns: Columns, meant: Mapping[str, str]) -> Any:
    """The cells as Streamlit draws them: numbers in colours, with their digits."""
    import pandas as pd  # Streamlit has it loaded

    table = pd.DataFrame(columns, index=pd.Index([row.title for row in view.rows], name="row"))
    table.columns = pd.MultiIndex.from_tuples(list(columns))
    named = {
        kind: [name for name in columns if name[1].startswith(kind)] for kind in (OURS, INTERVAL, PAPER, DIFFERENCE)
    }
    furthest = max((abs(v) for name in named[DIFFERENCE] for v in columns[name] if not np.isnan(v)), default=0) or 1

    def shade(value: float) -> str:
        return "" if np.isnan(value) else f"background-color: {figures.heat(value / view.highest)}"

    def shade_difference(value: float) -> str:
        if np.isnan(value):
            return ""
        colour = figures.BLUE if value > 0 else figures.ORANGE
        return f"background-color: {figures.heat(0.5 * abs(value) / furthest, colour)}"

    shown = table.style.map(shade, subset=named[OURS]).map(shade_difference, subset=named[DIFFERENCE])
    forms = dict.fromkeys(named[OURS], "{:.1f}") | dict.fromkeys(named[DIFFERENCE], "{:+.1f}")
    forms |= {name: f"{{:.{view.digits(meant[name[1]])}f}}" for name in named[PAPER]}
    return shown.format(forms, na_rep="")


def _cell_to_show(view: View, clicked: tuple[Row, str] | None) -> tuple[Row, str] | None:
    """The cell that was clicked; until one is, that of the link by which this session came. It is kept in the link."""
    came = view.kind.kind, st.query_params.get("cell", "")
    experiment, cell = session().linked_cell = session().linked_cell or came
    key, _, column = cell.rpartition(",")
    rows = {row.key: row for row in view.rows}
    if clicked is not None:
        session().linked_cell = view.kind.kind, ""
    elif experiment == view.kind.kind and key in rows and column in view.columns:
        clicked = rows[key], column
    if clicked is not None:
        st.query_params["cell"] = f"{clicked[0].key},{clicked[1]}"
    elif "cell" in st.query_params:
        del st.query_params["cell"]
    return clicked


def say_what_it_is_of(view: View) -> None:
    """When a keypoint is right, of how many objects the table is, and what its words mean."""
    text = kinds.text_of(view.kind)
    counts = []
    for category in view.entries:
        n, of = view.extent(category)
        counts.append(f"{escape_markdown(category)} {n}" + (f" of {of}" if n < of else ""))
    paper = (
        f" *Paper*: Long, Zhang and Darrell (2014), {kinds.name_of(view.kind)}, with the Caffe reference model; its "
        "mean is over the categories here; differences from it are blue above and orange below."
        if view.has_published
        else ""
    )
    st.caption(
        f"{text.definition(view.alpha)} Val objects: {', '.join(counts)}.{quick_look(view.entries.values())} "
        f"Colours from 0 to {view.highest:.0f} %. Click a cell to see what it is made of, a heading to sort.{paper}"
    )
    if means := view.published_means:
        numbers = ", ".join(f"{row.title} {number:g}" for row, number in means.items())
        st.caption(f"Published at this α are only means over all twenty categories: {numbers}.")
    with st.expander("What the words mean", icon=":material/menu_book:"):
        st.markdown("\n".join(f"- **{word}**: {meaning}." for word, meaning in text.words.items()))


def quick_look(entries: Collection[Entry]) -> str:
    """That fewer objects were learnt from, too, and that there is more to come."""
    limited = {limit for entry in entries if (limit := getattr(entry.result.experiment, "limit", None))}
    learnt = any(getattr(entry.result.experiment, "learnt_from", ()) for entry in entries)
    said = f" A quick look, limited to {' or '.join(map(str, sorted(limited)))}" if limited else ""
    said += (": less was learnt from, too." if learnt else ".") * bool(limited)
    return said + " Some are still being measured, or were stopped." * any(
        not entry.result.finished for entry in entries
    )


def say_what_the_paper_has_otherwise(view: View, groups: Mapping[str, list[Entry]]) -> None:
    """What large differences from the published numbers come from, as far as that is known."""
    if not view.has_published:
        return
    by = str(view.first.result.provenance.get("neighbours_by", "fc7"))
    if not by.startswith("fc"):
        st.caption(
            f"Neighbours are found by {escape_markdown(by.partition(' (')[0])} here, for there are no weights for "
            "the paper's "
            "fc7. That keeps the pose, so that neighbours stand like the object more often: a reason why rows come "
            "out higher "
            "than the published ones, NN too."
        )
    experiment = view.first.result.experiment
    if isinstance(experiment, Classification) and experiment.crop_protocol.sides:
        st.caption(
            "Left and right are told apart here. The paper does not say whether it does so, nor at which size "
            "objects are "
            "seen; like for like, its numbers compare with those of left and right alike."
        )
        alike = next((name for name, some in groups.items() if _is_sideless(some[0])), None)
        if alike is not None:
            st.button(
                "Show left and right alike",
                key="alike",
                on_click=_show_seen(alike),
                icon=":material/swap_horiz:",
                type="tertiary",
            )


def _is_sideless(entry: Entry) -> bool:
    return getattr(entry.result.experiment, "protocol", "") == "sideless"


def _show_seen(name: str) -> Callable[[], None]:
    return lambda: st.session_state.update(seen=name)
