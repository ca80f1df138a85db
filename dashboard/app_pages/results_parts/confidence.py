"""When not to believe a match: how good each feature's confidence is."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import cast

import streamlit as st

from corrcore.experiments import Confidence, JudgedFeature, Result, Stored
from corrcore.features import Feature
from corrcore.wording import counted
from dashboard import figures
from dashboard.app_pages.results_parts import choices, kinds
from dashboard.app_pages.results_parts.left_out import file_of, left_out_of_kind, nothing_yet, say_left_out
from dashboard.app_pages.results_parts.source import data_title
from dashboard.app_pages.results_parts.table import names_column
from dashboard.parts import exports, header, legends, pickers, settings_text, url_state
from dashboard.services import caches
from dashboard.wording import escape_markdown

LOOK_FOR = (
    "**Look for** curves along the dotted line on the left: there matches that are called 80 % sure are right four times of "
    "five. In the middle, the lower the better: what is wrong of the surest ones. On the right, whether little confidence "
    "tells points that the other photo does not show."
)
CHARTS = ("As sure as it says?", "What is left if the least sure go", "Is it there at all?")
PLAIN = {"displayModeBar": False}


def page_of_confidence(stored: Stored) -> None:
    """Three charts and a table of one result, to be chosen where there are several."""
    results: dict[Path, Result] = {}
    empty: dict[Path, str] = {}
    for path, result in stored.results.items():
        if not isinstance(result.experiment, Confidence):
            continue
        if result.records and result.notes.get(
            "calibrations"
        ):  # what takes seconds is computed of the one that is shown
            results[path] = result
        else:
            empty[path] = "no confidence has been learnt and judged yet."
    st.markdown(f"**{escape_markdown(Confidence.title)}**")
    if not results:
        nothing_yet(Confidence)
        say_left_out(left_out_of_kind(stored, Confidence, empty))
        return
    title, path = choices.choose("Pairs", _by_title(results), "judged", st)
    result = results[path]
    try:
        judged: Mapping[Feature, JudgedFeature] = result.summary.features
    except ValueError as error:
        empty[path] = str(error)
        st.info("What was measured of these pairs cannot be summed up; the reason is below.", icon=":material/info:")
        say_left_out(left_out_of_kind(stored, Confidence, empty))
        return
    if chosen := _choose_features(judged):
        _draw({feature.title: each for feature, each in chosen.items()}, _styles(result))
    _table(result)
    say_left_out(left_out_of_kind(stored, Confidence, empty))
    _finish(title, path, result)


def _by_title(results: Mapping[Path, Result]) -> dict[str, Path]:
    """Results by what they are of: data, network, the categories judged and learnt from, and how points are matched."""
    asked = [cast("Confidence", result.experiment) for result in results.values()]
    how = settings_text.titles(asked, besides=("categories", "learn_from"))
    networks = choices.network_titles(list(results.values()))
    found: dict[str, Path] = {}
    for (path, result), each, network, measured in zip(results.items(), asked, networks, how, strict=True):
        judged, learnt = (", ".join(names) for names in (each.categories, each.learn_from))
        on = judged if judged == learnt else f"{judged} (learnt on {learnt})"
        title = " · ".join((data_title(result), network, on, measured))
        found[title if title not in found else f"{title} · {file_of(path)}"] = path
    return found


def _choose_features(judged: Mapping[Feature, JudgedFeature]) -> dict[Feature, JudgedFeature]:
    """Those to draw, all to begin with, and where another result has none of those chosen before."""
    titles = {feature.title: feature for feature in judged}
    url_state.check_link("judged_features", list(titles))
    if (before := st.session_state.get("judged_features")) and not set(before) & set(titles):
        del st.session_state["judged_features"]
    names = st.multiselect(
        "Features", list(titles), list(titles), key="judged_features", bind="query-params",
        placeholder="Choose features",
    )  # fmt: skip
    if not names:
        st.info("Choose a feature to draw.", icon=":material/show_chart:")
    return {feature: judged[feature] for title, feature in titles.items() if title in names}


def _styles(result: Result) -> dict[str, figures.RowStyle]:
    judged: Sequence[Feature] = list(result.summary.features)
    known = tuple(feature.layer for feature in judged if not feature.is_sift)
    return figures.feature_lines(judged, caches.layers_of(cast("Confidence", result.experiment).network) or known)


def _draw(judged: Mapping[str, JudgedFeature], styles: Mapping[str, figures.RowStyle]) -> None:
    st.markdown(LOOK_FOR)
    legends.line_legend({name: styles[name] for name in judged})
    charts = (
        figures.reliability_diagram({name: each.bins for name, each in judged.items()}, styles=styles),
        figures.risk_curves({name: each.risk_coverage for name, each in judged.items()}, styles=styles),
        figures.roc_curves({name: each.roc for name, each in judged.items()}, styles=styles),
    )
    for place, title, chart in zip(st.columns(3, gap="medium"), CHARTS, charts, strict=True):
        place.markdown(f"**{title}**")
        place.plotly_chart(chart, key=f"confidence {title}", config=PLAIN)


def _rows(result: Result) -> Sequence[Mapping[str, str]]:
    return result.experiment.summary_rows(result.summary)


def _table(result: Result) -> None:
    rows = _rows(result)
    st.dataframe(
        {heading: [row[heading] for row in rows] for heading in rows[0]},
        hide_index=True,
        width="stretch",
        height="content",
        column_config={"row": names_column([row["row"] for row in rows], pinned=True)},
        alt="Confidence of matches: how good it is, by feature",
    )
    stopped = "" if result.finished else " Some are still being measured, or it was stopped."
    st.caption(
        f"Of {_extent(result)}, at all keypoints that the source shows; "
        "those that the target does not show count as not right. Ten bins of as many points; lines through points, and "
        f"numbers in brackets, are 95 % intervals over photos.{stopped}"
    )
    for line in result.experiment.note_lines(result.notes):
        st.caption(escape_markdown(line[:1].upper() + line[1:]) + ".")
    pickers.show_left_out("pair", result.skipped)


def _extent(result: Result) -> str:
    """How much it is of."""
    n, limit = len(result.records), getattr(result.experiment, "limit", None)
    pairs = counted(n, "pair") if n == result.asked else f"{n} of {counted(result.asked, 'pair')}"
    at_most = "" if limit is None else f" (at most {limit} of each category)"
    return f"{pairs} of {counted(result.summary.n_photos, 'photo')}{at_most}"


def _finish(title: str, path: Path, result: Result) -> None:
    """How it is computed, and what to take along."""
    asked = result.experiment
    parameters = {each.name: str(getattr(asked, each.name)) for each in fields(asked) if each.name != "features"}
    said = ", ".join(map(str, result.summary.features))
    header.how_computed(
        inspect.cleandoc(Confidence.__doc__ or ""), {**parameters, "features": said, "file": file_of(path)}
    )
    exports.export_row(
        downloads={
            f"{path.stem}.csv": lambda: exports.as_csv([{**row, "result": title} for row in _rows(result)]),
            f"{path.stem}.json": lambda: json.dumps(
                {"result": title, **json.loads(result.to_json())}, indent=1, ensure_ascii=False
            ).encode(),
        },
        python=f"""from corrcore.experiments import ResultStore

store = ResultStore()
result = store.read(store.folder / {file_of(path)!r})
for row in result.experiment.summary_rows(result.summary):
    print(row)
""",
        state={
            "table": kinds.title_of(Confidence),
            "judged": title,
            "judged_features": [feature.title for feature in _chosen(result)],
        },
    )


def _chosen(result: Result) -> list[Feature]:
    return [each for each in result.summary.features if each.title in st.session_state.get("judged_features", ())]
