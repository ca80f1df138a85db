"""Any other experiment: its summary as a table, whatever it measures."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import streamlit as st

from corrcore.experiments import KeypointTable, ObjectExperiment, Result, Stored
from dashboard.app_pages.results_parts import choices, kinds, side_by_side
from dashboard.app_pages.results_parts.left_out import (
    LeftOut,
    file_of,
    left_out_of_kind,
    nothing_yet,
    say_left_out,
)
from dashboard.app_pages.results_parts.source import choose_source, data_title, offered_name
from dashboard.app_pages.results_parts.view import Entry
from dashboard.parts import exports, header, photo_picker, pickers, settings_text, url_state
from dashboard.services import caches
from dashboard.titles import keypoint_title
from dashboard.wording import escape_markdown

Lines = Sequence[Mapping[str, str]]


def page_of_plain(kind: kinds.Kind, stored: Stored) -> None:
    """One result of an experiment, to be chosen where there are several."""
    results = {path: result for path, result in stored.results.items() if isinstance(result.experiment, kind)}
    rows: dict[Path, Lines] = {}
    empty: dict[Path, str] = {}
    for path, result in results.items():
        try:
            rows[path] = _whole_rows(result.experiment.summary_rows(result.summary))
        except ValueError as error:
            empty[path] = str(error)
        else:
            if not rows[path]:
                empty[path] = "nothing that was measured can be summed up."
                del rows[path]
    left_out = left_out_of_kind(stored, kind, empty)
    st.markdown(f"**{escape_markdown(kind.title)}**")
    if not rows:
        nothing_yet(kind)
        say_left_out(left_out)
        return
    tables = {path: results[path].summary for path in rows if isinstance(results[path].summary, KeypointTable)}
    entries = [Entry(path, results[path], table) for path, table in tables.items()]
    if side_by_side.is_asked_for(choices.by_network(entries)):
        _show_networks(kind, entries)
        say_left_out(left_out)
        return
    path, title = _choose({path: results[path] for path in rows})
    _show(results[path], rows[path], left_out)
    _export(kind, path, results[path], rows[path], title)


def _show_networks(kind: kinds.Kind, entries: Sequence[Entry]) -> None:
    at_data, *places = header.two_a_row("controls").columns([3, 2, 5], gap="small")
    source = choose_source([entry.result for entry in entries], at_data)
    there = [entry for entry in entries if source.made(entry.result.provenance)]
    if there:
        side_by_side.page_of_networks(kind, source, choices.by_network(there), places)
    else:
        titles = dict.fromkeys(data_title(entry.result) for entry in entries)
        st.info(
            f"There are results of {escape_markdown(', '.join(titles))}: choose that above.", icon=":material/info:"
        )
        nothing_yet(kind, source)


def _whole_rows(rows: Lines) -> Lines:
    """Rows that all have all headings."""
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    return [{heading: row.get(heading, "") for heading in headings} for row in rows]


def _choose(results: Mapping[Path, Result]) -> tuple[Path, str]:
    how = settings_text.titles([result.experiment for result in results.values()])
    titles: dict[str, Path] = {}
    for (path, result), measured in zip(results.items(), how, strict=True):
        title = " · ".join((*_subject(result), measured))
        titles[title if title not in titles else f"{title} · {file_of(path)}"] = path
    url_state.check_link("result", list(titles))
    chosen = st.selectbox("Result", list(titles), key="result", bind="query-params") or next(iter(titles))
    return titles[chosen], chosen


def _subject(result: Result) -> list[str]:
    """What a result is of: data set, category, network, index, in words."""
    experiment = result.experiment
    said = []
    for each in fields(experiment):
        if each.name not in experiment.told_by_folder | experiment.named:
            continue
        value = getattr(experiment, each.name)
        if each.name == "dataset":
            value = pickers.dataset_title(offered_name(result) or str(result.provenance.get("data", value)))
        if each.name == "index":
            value = photo_picker.index_title(value)
        text = ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
        said += [keypoint_title(text) if each.name == "keypoints" else text] if text else []
    return said


def extent(result: Result) -> str:
    """How much a result is of: 3 of 24 where it is a part."""
    n, of, noun = len(result.records), result.asked, "samples"
    limit = getattr(result.experiment, "limit", None)
    if isinstance(result.experiment, ObjectExperiment) and limit is not None:
        noun = f"{result.experiment.sample_noun}s"
        if noun == "objects":  # of which the data set may have more than were asked for
            of = max(of, _val_objects(result))
    if n < of:
        return f"{n} of {of} {noun}"
    return f"{n} {noun}" + (f", as many as the limit of {limit} allows" if limit is not None and n >= limit else "")


def _val_objects(result: Result) -> int:
    """How many val objects the data set has; 0 where it is not here."""
    name, category = offered_name(result), getattr(result.experiment, "category", "")
    try:
        data = caches.dataset(name) if name is not None else None
    except (OSError, ValueError):
        return 0
    if data is None or data.digest != result.provenance.get("data_digest") or (category, "val") not in data.splits:
        return 0
    return len(data.visible_instances(category, "val"))


def _show(result: Result, rows: Lines, left_out: LeftOut) -> None:
    st.dataframe(
        {heading: [row[heading] for row in rows] for heading in rows[0]},
        hide_index=True,
        width="stretch",
        height="content",
        alt=result.experiment.title,
    )
    stopped = "" if result.finished else " Some are still being measured, or it was stopped."
    st.caption(f"Of {extent(result)}; numbers in brackets are 95 % intervals.{stopped}")
    for line in result.experiment.note_lines(result.notes):
        st.caption(escape_markdown(line))
    pickers.show_left_out("sample", result.skipped)
    say_left_out(left_out)


def _export(kind: kinds.Kind, path: Path, result: Result, rows: Lines, title: str) -> None:
    experiment = result.experiment
    parameters = {each.name: str(getattr(experiment, each.name)) for each in fields(experiment)}
    header.how_computed(inspect.cleandoc(kind.__doc__ or kind.title), {**parameters, "file": file_of(path)})
    about = {"result": title, "measured": extent(result)}
    exports.export_row(
        downloads={
            f"{path.stem}.csv": lambda: exports.as_csv([{**row, **about} for row in rows]),
            f"{path.stem}.json": lambda: json.dumps(
                {**about, **json.loads(result.to_json())}, indent=1, ensure_ascii=False
            ).encode(),
        },
        python=f"""from corrcore.experiments import ResultStore

store = ResultStore()
result = store.read(store.folder / {file_of(path)!r})
print("{{}} of {{}} samples".format(len(result.records), result.asked))
for row in result.experiment.summary_rows(result.summary):
    print(row)
""",
        state={
            "table": kinds.title_of(kind),
            **({"view": side_by_side.ONE} if "view" in st.session_state else {}),
            "result": title,
        },
    )
