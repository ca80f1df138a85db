"""The sweep over depth: which layer, of which network, is good for what?"""

import html
import inspect
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import streamlit as st

from corrcore.experiments import Result, Stored, Sweep
from corrcore.experiments.sweep import BEST, MEASURES
from corrcore.wording import counted
from dashboard import figures
from dashboard.app_pages.results_parts import choices, kinds
from dashboard.app_pages.results_parts.left_out import file_of, left_out_of_kind, nothing_yet, say_left_out
from dashboard.app_pages.results_parts.source import data_title
from dashboard.app_pages.results_parts.table import names_column
from dashboard.figures import DepthCurve
from dashboard.parts import exports, header, settings_text, url_state
from dashboard.services import caches
from dashboard.wording import escape_markdown

LOOK_FOR = (
    "**Look for** where each line is highest, in the middle or near an end, and whether it is at the same depth for "
    "each purpose. Stars mark the highest number of each network, others may be as good: see the intervals."
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
INTERVALS = (
    "Measured on the train split. Bands are 95 % intervals: of accuracy and localisation over photos, of transfer over "
    "objects, of agreement radii over seeds (a cell at random in each of 30 photos). Radii: solid, the disc that holds half of a "
    "cell's gradient, which has no interval; dashed, how far around their places a cell and its nearest neighbours "
    "agree, where that falls at all."
)
PLAIN = {"displayModeBar": False}


@dataclass(frozen=True, eq=False)
class Swept:
    """A network's result and its file."""

    path: Path
    result: Result

    @property
    def sweep(self) -> Sweep:
        """What was asked for."""
        return cast("Sweep", self.result.experiment)

    @property
    def rows(self) -> Sequence[Mapping[str, str]]:
        """Its layers, as they are printed."""
        return self.sweep.summary_rows(self.result.summary)


def page_of_sweeps(stored: Stored) -> None:
    """Curves of several networks, a table of their layers, and what to take along."""
    swept: list[Swept] = []
    empty: dict[Path, str] = {}
    for path, result in stored.results.items():
        if isinstance(result.experiment, Sweep):
            if result.records:
                swept.append(Swept(path, result))
            else:
                empty[path] = "no layer has been measured yet."
    left_out = left_out_of_kind(stored, Sweep, empty)
    if not swept:
        st.markdown("**Sweep over depth**")
        nothing_yet(Sweep)
        say_left_out(left_out)
        return
    subject, there = choices.choose("Objects", _by_subject(swept), "swept", st)
    chosen = _choose_networks(there)
    if chosen:
        _draw(chosen, figures.network_styles(list(there)))
        _table(chosen)
    say_left_out(left_out)
    header.how_computed(
        inspect.cleandoc(Sweep.__doc__ or ""),
        {"of": subject, "files": ", ".join(file_of(each.path) for each in there.values())},
    )
    _export(subject, chosen)


def _by_subject(swept: Sequence[Swept]) -> dict[str, dict[str, Swept]]:
    """Results by what they are of and how it was measured, then by network.

    A result that nothing tells from another has its file's name besides.
    """
    data = _data_titles(swept)
    how = settings_text.titles([each.sweep for each in swept], besides=("objects",))
    groups: dict[str, list[Swept]] = {}
    for each, source, measured in zip(swept, data, how, strict=True):
        said = [
            source,
            each.sweep.category,
            _extent(each.sweep),
            *([measured] if measured != settings_text.AS_USUAL else []),
        ]
        groups.setdefault(" · ".join(said), []).append(each)
    found: dict[str, dict[str, Swept]] = {}
    for subject, some in groups.items():
        named = found.setdefault(subject, {})
        for each, title in zip(some, choices.network_titles([each.result for each in some]), strict=True):
            named[title if title not in named else f"{title} · {file_of(each.path)}"] = each
    return found


def _data_titles(swept: Sequence[Swept]) -> list[str]:
    """What the data sets are called; where annotations of one differ, with these."""
    of = [(data_title(each.result), str(each.result.provenance.get("data_digest"))[:8]) for each in swept]
    titles = [title for title, _ in set(of)]
    return [title + f", annotations {digest}" * (titles.count(title) > 1) for title, digest in of]


def _extent(sweep: Sweep) -> str:
    """How much was measured."""
    train = "all train objects" if sweep.limit is None else f"at most {counted(sweep.limit, 'train object')}"
    transferred = sweep.objects if sweep.limit is None else min(sweep.limit, sweep.objects)
    return f"{train}, {transferred} transferred to, {counted(sweep.photos, 'photo')} searched"


def _choose_networks(there: Mapping[str, Swept]) -> dict[str, Swept]:
    """Those to draw, all to begin with, and where other objects have none of those chosen before."""
    url_state.check_link("swept_networks", list(there))
    if (before := st.session_state.get("swept_networks")) and not set(before) & set(there):
        del st.session_state["swept_networks"]
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


def _draw(chosen: Mapping[str, Swept], styles: Mapping[str, figures.NetworkStyle]) -> None:
    st.markdown(LOOK_FOR)
    st.html(_legend(styles, {network: network for network in chosen}))
    places = [column for _ in range(2) for column in st.columns(2, gap="medium")]  # in this order on a phone, too
    for place, name in zip(places, _TITLES, strict=True):
        curves = [curve for network, each in chosen.items() for curve in _curves(network, each.result, name)]
        place.markdown(f"**{_TITLES[name]}**")
        chart = figures.depth_curves(
            curves,
            styles=styles,
            title=_AXES[name],
            chance=0.5 if name == "localisation" else None,
            digits=2 if name == "localisation" else 0 if name == "radii" else 1,
            best=name in BEST,
        )
        place.plotly_chart(chart, key=f"depth {name}", config=PLAIN)
        if name in BEST:
            place.html(_legend(styles, _highest(curves), "★"))
    st.caption(f"{INTERVALS} {_layers_measured(chosen)}")


def _layers_measured(chosen: Mapping[str, Swept]) -> str:
    """How many of each network's layers curves are of: a curve's end may not be the network's."""
    said = []
    for network, each in chosen.items():
        known = len(caches.layers_of(each.sweep.network))
        n = counted(len(each.result.summary), "layer")
        said.append(f"{escape_markdown(network)} {n}" + (f" of {known}" if known else ""))
    return f"Measured: {', '.join(said)}."


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
            result.finished,
        )
        for measure, dash in of.items()
    ]


def _highest(curves: Sequence[DepthCurve]) -> dict[str, str]:
    """The layer where each network's curve is highest, where all that were asked for are measured."""
    best = {curve.network: figures.highest_of(curve) for curve in curves if curve.whole}
    layers = {curve.network: curve.layers for curve in curves}
    return {network: layers[network][number] for network, number in best.items() if number is not None}


def _legend(styles: Mapping[str, figures.NetworkStyle], names: Mapping[str, str], glyph: str | None = None) -> str:
    """Names by their networks, each beside its network's marker, or another in its colour."""
    items = "".join(
        f'<span style="white-space:nowrap"><span style="color:{styles[network].colour}">'
        f"{glyph or styles[network].glyph}</span> {html.escape(name)}</span>"
        for network, name in names.items()
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:0.25rem 1.25rem">{items}</div>'


def _lines(chosen: Mapping[str, Swept]) -> list[dict[str, str]]:
    """A line per network and layer."""
    return [{"network": network, **row} for network, each in chosen.items() for row in each.rows]


def _widths(networks: Collection[str]) -> dict[str, Any]:
    """Of the table's columns in pixels: names stay in sight on a phone, where the numbers are scrolled."""
    return {
        "network": names_column(networks, pinned=True),
        "layer": st.column_config.TextColumn(width=80, pinned=True),
        "stride": st.column_config.TextColumn(width=60),
        MEASURES["localisation"]: st.column_config.TextColumn(width=165),
        "best for": st.column_config.TextColumn(width=180),
    }


def _table(chosen: Mapping[str, Swept]) -> None:
    lines = _lines(chosen)
    with st.expander("Numbers of every layer", icon=":material/table_chart:"):
        st.dataframe(
            {heading: [line[heading] for line in lines] for heading in lines[0]},
            hide_index=True,
            width="stretch",
            height="content",
            column_config=_widths(chosen),
            alt="Sweep over depth: every layer's numbers",
        )
    for network, each in chosen.items():
        if not each.result.finished:
            st.caption(
                f"{escape_markdown(network)}: {len(each.result.records)} of {each.result.asked} layers so far; the "
                "rest is being measured, or it was stopped."
            )


def _export(subject: str, chosen: Mapping[str, Swept]) -> None:
    if not chosen:
        return
    lines, category = _lines(chosen), next(iter(chosen.values())).sweep.category
    files = "\n".join(f"    {file_of(each.path)!r}," for each in chosen.values())
    exports.export_row(
        downloads={
            f"sweep {category}.csv": lambda: exports.as_csv([{**line, "of": subject} for line in lines]),
            f"sweep {category}.json": lambda: json.dumps(
                {name: json.loads(each.result.to_json()) for name, each in chosen.items()}, indent=1, ensure_ascii=False
            ).encode(),
        },
        python=f"""from corrcore.experiments import ResultStore

files = [  # {subject}
{files}
]
store = ResultStore()
for file in files:
    result = store.read(store.folder / file)
    print(file)
    for row in result.experiment.summary_rows(result.summary):
        print(row)
""",
        state={"table": kinds.title_of(Sweep), "swept": subject, "swept_networks": list(chosen)},
    )
