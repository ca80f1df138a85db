"""Two rows of the same objects: how much one exceeds the other, how sure that is, and what that says."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import streamlit as st

from corrcore.experiments import KeypointTable, Row
from corrcore.metrics import Estimate, mean_of
from dashboard.app_pages.results_parts.view import MEAN, View
from dashboard.parts import exports, header, url_state

T = TypeVar("T")
SURE = 0.05
FIRST_ONLY, SECOND_ONLY, MCNEMAR = "only the first right", "only the second right", "p, McNemar"


def show_compared(view: View) -> None:
    """Two rows to choose, and their difference by category."""
    best, rival = _to_compare(view)
    places = header.two_a_row("compared").columns(2, gap="small")
    chosen = choose_two({row.title: row for row in view.rows}, (best.title, rival.title), places)
    if chosen is None:
        return
    first, second = chosen
    lines = _lines(view, first, second)
    if not lines:
        st.info("No category has both rows.", icon=":material/compare:")
        return
    st.dataframe(
        {name: [line[name] for line in lines] for name in lines[0]},
        hide_index=True,
        width="stretch",
        height="content",
        alt=f"{first.title} against {second.title}, by category",
    )
    st.caption(f"{how_compared(view)} No p is corrected for the number of categories.")


def how_compared(view: View) -> str:
    """What the numbers of a comparison mean."""
    objects = "objects" if view.first.measures_places and not view.first.is_of_pairs else "photos"
    return (
        f"Difference in points, with its 95 % interval by a paired bootstrap over {objects}. McNemar's test counts "
        "keypoints that only one of the two has right, each for itself; those of one object are right or wrong "
        "together, so trust the bootstrap where they disagree."
    )


def choose_two(rows: Mapping[str, T], usual: tuple[str, str], places: Sequence[Any]) -> tuple[T, T] | None:
    """Two of several rows by their titles, which a link may name; None, with a sentence, where they are the same."""
    chosen = []
    for place, label, key, title in zip(places, ("Row", "against"), ("first", "second"), usual, strict=True):
        url_state.check_link(key, list(rows))
        index = list(rows).index(title)
        chosen.append(place.selectbox(label, list(rows), index, key=key, bind="query-params") or title)
    if chosen[0] == chosen[1]:
        st.info("These are the same row; choose another to compare it with.", icon=":material/compare:")
        return None
    return rows[chosen[0]], rows[chosen[1]]


def _to_compare(view: View) -> tuple[Row, Row]:
    """The best of the usual rows, and the best of SIFT, or of layers, with the same prior or none."""

    def height(row: Row) -> float:
        return float(
            np.mean([view.estimates[row, each].value for each in view.entries if (row, each) in view.estimates])
        )

    def is_sift(row: Row) -> bool:
        return row.feature is not None and row.feature.is_sift

    ranked = sorted(view.rows, key=height, reverse=True)
    best = next(row for row in ranked if row in view.usual_rows)
    rivals = [row for row in ranked if row != best and is_sift(row) != is_sift(best)]
    alike = [row for row in rivals if row.feature and (row.priors, row.refined) == (best.priors, best.refined)]
    others = [row for row in ranked if row != best]
    return best, next(iter([*alike, *rivals, *others, best]))


def _lines(view: View, first: Row, second: Row) -> list[dict[str, str]]:
    """A line per category that has both rows, and their mean where there are several."""
    titles = first.title, second.title
    differences: list[Estimate] = []
    lines: list[dict[str, str]] = []
    for category, table in view.tables.items():
        if first not in table.rows or second not in table.rows:
            continue
        found, counts = difference_of(view, category, first, second)
        differences.append(found)
        lines.append(line_of(view.heading(category), found, titles, counts))
    if len(lines) > 1:
        mean = mean_of(differences, rng=np.random.default_rng(0))
        lines.append(line_of(view.heading(MEAN), mean, titles, dict.fromkeys((FIRST_ONLY, SECOND_ONLY, MCNEMAR), "")))
    return lines


def difference_of(
    view: View, category: str, first: Row, second: Row, *, of: KeypointTable | None = None
) -> tuple[Estimate, dict[str, str]]:
    """By how much a row of a view exceeds another, which may be of another table, and McNemar's test in words."""
    table, at = view.tables[category], {} if view.alpha is None else {"alpha": view.alpha}
    tested = table.mcnemar(first, second, of=of, **at)
    counts = {
        FIRST_ONLY: str(tested.first_only),
        SECOND_ONLY: str(tested.second_only),
        MCNEMAR: exports.p_text(tested.p),
    }
    return table.difference(first, second, of=of, **view.options), counts


def line_of(category: str, found: Estimate, titles: tuple[str, str], counts: Mapping[str, str]) -> dict[str, str]:
    """A comparison's line of text."""
    better = titles[0] if found.value > 0 else titles[1]
    return {
        "category": category,
        "difference": f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]",
        "p, bootstrap": exports.p_text(found.p_value),
        **counts,
        "which says": f"{better} is better" if found.p_value <= SURE else "no difference can be told",
    }
