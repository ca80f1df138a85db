"""A table of keypoints: choose the results, see the table, look closer."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from corrcore.experiments import Stored
from dashboard.app_pages.results_parts import choices, kinds, left_out, side_by_side, take_along
from dashboard.app_pages.results_parts.cell import show_cell
from dashboard.app_pages.results_parts.charts import show_categories, show_curve, show_difficulty
from dashboard.app_pages.results_parts.compared import show_compared
from dashboard.app_pages.results_parts.source import choose_source
from dashboard.app_pages.results_parts.table import say_what_it_is_of, say_what_the_paper_has_otherwise, show_table
from dashboard.app_pages.results_parts.view import Entry, View
from dashboard.parts import exports, header, pickers, settings_text
from dashboard.titles import network_title

COMPARED, BY_CATEGORY = "Two rows compared", "By category"
CURVE, DIFFICULT = "PCK against alpha", "Accuracy by size and visibility"
HOW_COMPARED = r"""
*Per keypoint type* is the share of right ones for every type, then the mean over types,

$$ \mathrm{PCK}_\alpha = \frac{1}{K} \sum_{k=1}^{K} \frac{\#\{\text{objects that show } k,\ \|\hat x_k - x_k\| \le \alpha \max(h, w)\}}{\#\{\text{objects that show } k\}} $$

as in the paper; *per image* is each object's share of its own visible keypoints, then the mean over objects.
Keypoints that an object does not show count for nothing. Intervals are of 95 %, by the bootstrap over objects, over
photos in Table 3. The mean over categories takes them to be independent of each other.

**Two rows.** Every resample has the same objects for both rows, and the difference is taken in each (paired
bootstrap); p is twice the share of differences on the far side of zero. McNemar's exact test looks at the keypoints
that only one of the two has right, and asks how often a fair coin would be as one-sided; it takes keypoints of one
object to be independent, which they are not, so its p is too small. No p is corrected for the number of categories.
Long, Zhang and Darrell (2014), Tables 2, 3 and 4.
"""


def entries_of(kind: kinds.Kind, stored: Stored) -> tuple[list[Entry], dict[Path, str]]:
    """The results of an experiment that are tables, and those that are none yet, with the reason."""
    found, empty = [], {}
    for path, result in stored.results.items():
        if not isinstance(result.experiment, kind):
            continue
        try:
            table = result.experiment.table(result)
        except ValueError as error:
            empty[path] = str(error)
            continue
        if table is not None:
            found.append(Entry(path, result, table))
    return found, empty


def page_of_numbers(
    kind: kinds.Kind, stored: Stored, entries: Sequence[Entry], empty: Mapping[Path, str], explained: Any
) -> None:
    """The table of an experiment; what drawings show is said where the page is `explained`."""
    at_data, at_network, at_how = header.two_a_row("controls").columns([3, 2, 5], gap="small")
    source = choose_source([entry.result for entry in entries], at_data)
    there = [entry for entry in entries if source.made(entry.result.provenance)]
    if not there:
        left_out.nothing_yet(kind, source)
        left_out.say_left_out(left_out.left_out_of(stored, kind, source, empty))
        return
    by_network = choices.by_network(there)
    if side_by_side.is_asked_for(by_network):
        side_by_side.page_of_networks(kind, source, by_network, (at_network, at_how))
        return
    _, there = choices.choose_network(by_network, at_network)
    groups = choices.by_how(there)
    how, there = choices.choose_how(kind, groups, at_how)
    shown, fewer = choices.of_most_objects(there)
    alpha, over = choices.choose_measure(there[0])
    view = View(kind, shown, source, how, alpha, over)
    drawn = " · **drawn, synthetic**" if source.synthetic else ""
    if source.synthetic:
        explained.markdown(kinds.text_of(kind).drawn)
    st.markdown(f"**{view.metric}** · {network_title(view.network)}{drawn}")
    clicked = show_table(view)
    say_what_it_is_of(view)
    say_what_the_paper_has_otherwise(view, groups)
    left_out.say_left_out(left_out.left_out_of(stored, kind, source, empty, fewer))
    objects = {name: why for table in view.tables.values() for name, why in table.left_out.items()}
    pickers.show_left_out("object", objects)
    if clicked is not None:
        show_cell(view, *clicked)
    _look_closer(view)
    _finish(view)


def _look_closer(view: View) -> None:
    sections: dict[str, Callable[[View], None]] = {COMPARED: show_compared, BY_CATEGORY: show_categories}
    if view.alpha is not None:
        sections[CURVE] = show_curve
    sections[DIFFICULT] = show_difficulty
    sections[header.section_picker("Look closer", tuple(sections), key="results_section")](view)


def _finish(view: View) -> None:
    """How it is computed, and what to take along."""
    entry = view.first
    settings = settings_text.settings_of(entry.result.experiment)
    notes = {
        category: "; ".join(each.result.experiment.note_lines(each.result.notes))
        for category, each in view.entries.items()
    }
    header.how_computed(
        kinds.text_of(view.kind).definition(None) + "\n" + HOW_COMPARED,
        {
            "data": f"{view.source.title}, {str(entry.result.provenance.get('data_digest'))[:8]}",
            "network": f"{entry.network}, weights {entry.weights[:8]}",
            "how": view.how,
            **{settings_text.WORDS.get(name, name): _words(value) for name, value in settings.items()},
            **{category: text for category, text in notes.items() if text},
            "files": ", ".join(each.file for each in view.entries.values()),
        },
    )
    headings, rows, _ = take_along.cells_of(view)
    exports.export_row(
        downloads={
            f"{view.file}.csv": lambda: exports.as_csv(take_along.lines_of(view)),
            f"{view.file}.tex": lambda: exports.as_latex(headings, rows, take_along.caption(view)),
            f"{view.file}.json": lambda: take_along.as_json(view),
            f"{view.file}.png": lambda: take_along.picture(view),
        },
        python=take_along.python_lines(view),
        state=_state_of(view),
    )


def _words(value: object) -> str:
    if value is None:
        return "as usual"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _state_of(view: View) -> dict[str, str | list[str]]:
    """What is shown, in the words of links: defaults are others where there are other results."""
    section = st.session_state["results_section"]
    state: dict[str, str | list[str]] = {
        "table": kinds.title_of(view.kind),
        **({"view": side_by_side.ONE} if "view" in st.session_state else {}),
        "data": pickers.dataset_title(view.source.name),
        "network": st.session_state["network"],
        choices.how_key(view.kind): view.how,
        "results_section": section,
    }
    if view.over is not None:
        state |= {name: st.session_state[name] for name in ("alpha", "average")}
    if section == COMPARED:
        state |= {name: st.session_state[name] for name in ("first", "second")}
    else:
        state["rows"] = [row.title for row in st.session_state.get("rows", ())]
        state |= {"category": st.session_state["category"]} if section in (CURVE, DIFFICULT) else {}
    return state
