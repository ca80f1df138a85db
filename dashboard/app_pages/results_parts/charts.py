"""Rows drawn: by category, against alpha, and by what makes objects hard."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from corrcore.experiments import KeypointTable, Row
from corrcore.metrics import Estimate
from corrcore.tasks.detection import PRIORS
from corrcore.wording import counted
from dashboard import figures
from dashboard.app_pages.results_parts.view import View
from dashboard.parts import exports, url_state
from dashboard.state import session
from dashboard.wording import escape_markdown

CURVE_ALPHAS = tuple(round(0.01 * n, 2) for n in range(21))
PLAIN = {"displayModeBar": False}


def show_categories(view: View) -> None:
    """Bars by category."""
    if not (rows := _choose_rows(view)):
        return
    bars = {row.title: [_ends(view.estimates.get((row, column))) for column in view.columns] for row in rows}
    paper = {row.title: [view.published(row, column) for column in view.columns] for row in rows}
    headings = [view.heading(column) for column in view.columns]
    st.plotly_chart(figures.category_bars(bars, paper, headings, styles=view.styles), key="bars", config=PLAIN)
    diamonds = " White diamonds are the paper's numbers." if any(any(each) for each in paper.values()) else ""
    st.caption(f"{view.metric}; whiskers are 95 % intervals.{_of_lines(rows, 'dots', 'stripes')}{diamonds}")


def show_curve(view: View) -> None:
    """PCK against alpha."""
    table, chosen = _choose_category(view), _choose_rows(view)
    if not (rows := _rows_of(table, chosen)):
        return
    curves = {
        row.title: [_ends(table.accuracy(row, alpha=alpha, over=view.over)) for alpha in CURVE_ALPHAS] for row in rows
    }
    st.plotly_chart(
        figures.pck_curves(curves, CURVE_ALPHAS, at=view.alpha or 0.0, styles=view.styles), key="curve", config=PLAIN
    )
    st.caption(
        f"PCK of {escape_markdown(view.heading(table.category))} for every α, with 95 % intervals as bands. How "
        "early a line "
        "rises tells how near predictions are; where it goes, how many are anywhere near. The upright line is the "
        "α of the "
        f"table.{_of_lines(rows, 'dotted', 'dashed')}"
    )


def show_difficulty(view: View) -> None:
    """Accuracy of groups of objects, by the size of their boxes and by how much they show."""
    table, chosen = _choose_category(view), _choose_rows(view)
    if not (rows := _rows_of(table, chosen)):
        return
    charts: list[tuple[str, str, np.ndarray]] = []
    if table.boxes is not None:
        longer = np.maximum(table.boxes[:, 2] - table.boxes[:, 0], table.boxes[:, 3] - table.boxes[:, 1])
        charts.append(("Size of the box", "longer side of the box, px", longer))
    charts.append(("Visible keypoints", "keypoints that the object shows", table.visible.sum(axis=1).astype(float)))
    drawn = []
    for title, axis, values in charts:
        groups = groups_of(values)
        found = {row.title: [_ends(table.accuracy(row, **view.options, some=some)) for some in groups] for row in rows}
        drawn.append((title, axis, [_group_name(values[some]) for some in groups], found, group_words(groups)))
    highest = 1.05 * max(each[2] for _, _, _, found, _ in drawn for line in found.values() for each in line)
    for place, (title, axis, names, found, words) in zip(st.columns(len(drawn), gap="medium"), drawn, strict=True):
        place.markdown(f"**{title}**")
        chart = figures.by_difficulty(found, names, title=axis, highest=highest or 1.0, styles=view.styles)
        place.plotly_chart(chart, key=f"difficulty {title}", config=PLAIN)
        place.caption(words)
    unknown = "" if table.boxes is not None else " Sizes of boxes are not in the results of this table."
    st.caption(
        f"{view.metric}, {escape_markdown(view.heading(table.category))}, with 95 % intervals; least to the left."
        f"{_of_lines(rows, 'dotted', 'dashed')}{unknown}"
    )


def groups_of(values: np.ndarray) -> list[np.ndarray]:
    """Which objects are in each of up to four groups, split at the quartiles; equal values stay together."""
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="nearest"))
    group = np.searchsorted(edges, values, side="left")
    return [group == n for n in np.unique(group)]


def group_words(groups: Sequence[np.ndarray]) -> str:
    """What groups are: quarters where they are of one size, to an object, else groups of so many."""
    sizes = [int(some.sum()) for some in groups]
    if len(sizes) == 4 and max(sizes) - min(sizes) <= 1:
        return "Quarters of the objects."
    if len(sizes) == 1:
        return f"One group of {counted(sizes[0], 'object')}: all are too much alike to be split."
    listed = f"{', '.join(map(str, sizes[:-1]))} and {sizes[-1]}"
    return f"Groups of {listed} objects: split at the quartiles, objects of equal value stay together."


def _group_name(values: np.ndarray) -> str:
    return f"{exports.span(values)}<br>{counted(len(values), 'object')}"


def _ends(found: Estimate | None) -> figures.Ends:
    return (np.nan, np.nan, np.nan) if found is None else (found.value, found.low, found.high)


def _choose_rows(view: View) -> tuple[Row, ...]:
    """Rows to draw, in their order; the usual ones to begin with."""
    first = list(view.usual_rows)
    url_state.check_link("rows", [row.title for row in view.rows])
    before, of = st.session_state.get("rows"), f"{view.kind.kind} {view.network}"
    another = (session().rows_of or of) != of
    if before is not None and (another or (before and not set(before) & set(view.rows))):
        st.session_state["rows"] = first
    session().rows_of = of
    chosen = st.multiselect(
        "Rows",
        view.rows,
        first,
        format_func=lambda row: f"{row.title}",
        key="rows",
        bind="query-params",
        placeholder="Choose rows",
    )
    if not chosen:
        st.info("Choose a row to draw.", icon=":material/show_chart:")
    return tuple(row for row in view.rows if row in chosen)


def _rows_of(table: KeypointTable, chosen: Sequence[Row]) -> list[Row]:
    """Those of the rows that a table has; says so where it has none."""
    rows = [row for row in chosen if row in table.rows]
    if chosen and not rows:
        st.info(
            f"None of these rows was measured for {escape_markdown(table.category)}; choose others.",
            icon=":material/show_chart:",
        )
    return rows


def _choose_category(view: View) -> KeypointTable:
    url_state.check_link("category", list(view.entries))
    name = st.selectbox("Category", list(view.entries), key="category", bind="query-params", width=240)
    return view.tables[name or next(iter(view.entries))]


def _of_lines(rows: Sequence[Row], one: str, several: str) -> str:
    """What the patterns of bars or lines tell, where there are such rows."""
    said = {1: f"{one}: with the prior", PRIORS: f"{several}: with {PRIORS} priors"}
    there = [text for n, text in said.items() if any(row.priors == n for row in rows)]
    return f" One colour per feature; {'; '.join(there)}." if there else ""
