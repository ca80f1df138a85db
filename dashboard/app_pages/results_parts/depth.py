"""The sweep over depth: which layer, of which network, is good for what?"""

import html
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import streamlit as st

from corrcore import networks
from corrcore.experiments import Result, Stored, Sweep
from corrcore.experiments.sweep import BEST, MEASURES, best_layers, measure_text
from dashboard import figures
from dashboard.app_pages.results_parts import kinds
from dashboard.app_pages.results_parts.left_out import file_of, left_out_of_kind, nothing_yet, say_left_out
from dashboard.app_pages.results_parts.source import known_as, offered_name
from dashboard.figures import DepthCurve
from dashboard.parts import exports, header, pickers, url_state
from dashboard.wording import escape_markdown

LOOK_FOR = (
    "**Look for** where each line is highest: the middle layers know best where things are, the last ones forget it. "
    "Stars mark the best layer of each network."
)
_TITLES = {
    "classification": "Keypoints named rightly",
    "transfer": "Keypoints transferred by alignment",
    "localisation": "Localisation of retrieved patches",
    "radii": "How far around its place a cell looks",
}
_AXES = {
    "classification": "accuracy, %",
    "transfer": "PCK at 0.1, %",
    "localisation": "score, 0.5 by chance",
    "radii": "radius, px",
}
_EFFECTIVE, _AGREEMENT = "effective", "agreement"
PLAIN = {"displayModeBar": False}


def page_of_sweeps(stored: Stored) -> None:
    """Curves of several networks, a table of their layers, and what to take along."""
    results: dict[Path, Result] = {}
    empty: dict[Path, str] = {}
    for path, result in stored.results.items():
        if isinstance(result.experiment, Sweep):
            if result.records:
                results[path] = result
            else:
                empty[path] = "no layer has been measured yet."
    left_out = left_out_of_kind(stored, Sweep, empty)
    if not results:
        st.markdown("**Sweep over depth**")
        nothing_yet(Sweep)
        say_left_out(left_out)
        return
    subject, there = _choose_subject(results)
    chosen = _choose_networks(there)
    if chosen:
        _draw(chosen)
        _table(chosen)
    say_left_out(left_out)
    header.how_computed(
        inspect.cleandoc(Sweep.__doc__ or ""),
        {"of": subject, "files": ", ".join(file_of(path) for path, each in results.items() if each in there.values())},
    )
    _export(subject, chosen)


def _sweep_of(result: Result) -> Sweep:
    return cast("Sweep", result.experiment)


def _choose_subject(results: Mapping[Path, Result]) -> tuple[str, dict[str, Result]]:
    """A data set and a category, with how much of them was swept; and its results by network."""
    subjects: dict[str, dict[str, Result]] = {}
    for result in results.values():
        experiment = _sweep_of(result)
        name = offered_name(result)
        data = pickers.dataset_title(name) if name else known_as(result.provenance)
        limit = "all train objects" if experiment.limit is None else f"{experiment.limit} train objects"
        subject = f"{data} · {experiment.category} · {limit}, {experiment.objects} transferred to"
        subjects.setdefault(subject, {})[networks.title(experiment.network)] = result
    url_state.check_link("swept", list(subjects))
    chosen = st.selectbox("Objects", list(subjects), key="swept", bind="query-params") or next(iter(subjects))
    return chosen, subjects[chosen]


def _choose_networks(there: Mapping[str, Result]) -> dict[str, Result]:
    """Those to draw, all to begin with."""
    url_state.check_link("swept_networks", list(there))
    names = st.multiselect(
        "Networks",
        list(there),
        list(there),
        key="swept_networks",
        bind="query-params",
        placeholder="Choose networks",
    )
    if not names:
        st.info("Choose a network to draw.", icon=":material/show_chart:")
    return {name: there[name] for name in there if name in names}


def _draw(chosen: Mapping[str, Result]) -> None:
    colours = figures.network_colours(list(chosen))
    st.markdown(LOOK_FOR)
    st.html(_legend(colours))
    left, right = st.columns(2, gap="medium")
    for place, name in zip((left, right, left, right), _TITLES, strict=True):
        curves = [curve for network, result in chosen.items() for curve in _curves(network, result, name)]
        place.markdown(f"**{_TITLES[name]}**")
        chart = figures.depth_curves(
            curves,
            colours=colours,
            title=_AXES[name],
            chance=0.5 if name == "localisation" else None,
            digits=2 if name == "localisation" else 0 if name == "radii" else 1,
            best=name in BEST,
        )
        place.plotly_chart(chart, key=f"depth {name}", config=PLAIN)
    st.caption(
        "All of the train split; bands are 95 % intervals over photos or objects. Radii: solid, the disc that holds "
        "half of a cell's gradient; dashed, how far around their places a cell and its nearest neighbours agree, "
        "where that falls at all."
    )


def _curves(network: str, result: Result, name: str) -> list[DepthCurve]:
    layers = result.summary
    of = {"radii": {_EFFECTIVE: "solid", _AGREEMENT: "dash"}}.get(name, {name: "solid"})
    return [
        DepthCurve(
            network,
            [feature.layer for feature in layers],
            [record.depth for record in layers.values()],
            [record.measures[measure] for record in layers.values()],
            dash,
        )
        for measure, dash in of.items()
    ]


def _legend(colours: Mapping[str, str]) -> str:
    """The networks' names beside their colours."""
    items = "".join(
        f'<span style="white-space:nowrap"><span style="color:{colour}">&#9679;</span> {html.escape(name)}</span>'
        for name, colour in colours.items()
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:0.25rem 1.25rem">{items}</div>'


def _lines(chosen: Mapping[str, Result]) -> list[dict[str, str]]:
    """A line per network and layer."""
    lines = []
    for network, result in chosen.items():
        best = best_layers(result.summary)
        for feature, record in result.summary.items():
            words = {MEASURES[name]: measure_text(name, record.measures[name]) for name in MEASURES}
            lines.append(
                {
                    "network": network,
                    "layer": feature.layer,
                    "stride": f"{record.stride_px} px",
                    **words,
                    "best for": ", ".join(name for name in BEST if best.get(name) == feature),
                }
            )
    return lines


def _table(chosen: Mapping[str, Result]) -> None:
    lines = _lines(chosen)
    with st.expander("Numbers of every layer", icon=":material/table_chart:"):
        st.dataframe(
            {heading: [line[heading] for line in lines] for heading in lines[0]},
            hide_index=True,
            width="stretch",
            height="content",
            alt="Sweep over depth: every layer's numbers",
        )
    for network, result in chosen.items():
        if not result.finished:
            st.caption(
                f"{escape_markdown(network)}: {len(result.records)} of {result.asked} layers so far; the rest is being "
                "measured, or it was stopped."
            )


def _export(subject: str, chosen: Mapping[str, Result]) -> None:
    if not chosen:
        return
    lines = _lines(chosen)
    sweeps = [_sweep_of(result) for result in chosen.values()]
    named, category = [sweep.network for sweep in sweeps], sweeps[0].category
    exports.export_row(
        downloads={
            f"sweep {category}.csv": lambda: exports.as_csv([{**line, "of": subject} for line in lines]),
            f"sweep {category}.json": lambda: json.dumps(
                {name: json.loads(result.to_json()) for name, result in chosen.items()}, indent=1, ensure_ascii=False
            ).encode(),
        },
        python=f"""from corrcore.experiments import ResultStore, Sweep

for path, result in ResultStore().scan().results.items():
    if isinstance(result.experiment, Sweep) and result.experiment.network in {named!r}:
        print(path.name, result.experiment.network)
        for row in result.experiment.summary_rows(result.summary):
            print(row)
""",
        state={"table": kinds.title_of(Sweep), "swept": subject, "swept_networks": list(chosen)},
    )
