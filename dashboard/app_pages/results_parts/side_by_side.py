"""Networks side by side: the rows of several in one chart and one table, for a category."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from corrcore import images, networks
from corrcore.experiments import Row, to_jsonable
from corrcore.metrics import Estimate
from dashboard import figures
from dashboard.app_pages.results_parts import choices, compared, kinds, take_along
from dashboard.app_pages.results_parts.source import Source
from dashboard.app_pages.results_parts.table import DIFFERENCE, INTERVAL, OURS, PAPER, names_column, quick_look
from dashboard.app_pages.results_parts.view import Entry, View
from dashboard.parts import exports, header, pickers, url_state
from dashboard.services import caches
from dashboard.wording import escape_markdown, sentence

ONE, SIDE_BY_SIDE = "One network", "Networks side by side"
ALIKE = "Whatever the network"
HOW = """
Each network's result is asked for the same category, at the same α and by the same average. Intervals are of 95 %, by
the bootstrap over objects, over photos in Table 3. Rows that ask no layer and are right about the same keypoints of
the same objects by several networks stand once. A network that was measured in parts, some layers at a time, has the
rows of all; a row that several have is of the most objects. Intervals of two rows that overlap do not say that the
rows are alike: both are right about easy objects and wrong about hard ones. Two rows are compared object by object.
"""


@dataclass(frozen=True)
class Line:
    """A row of one network; of several where it asks no layer of theirs and is alike: then `network` is `ALIKE`."""

    network: str
    view: View
    row: Row
    category: str

    @property
    def estimate(self) -> Estimate:
        """The number, with its interval."""
        return self.view.estimates[self.row, self.category]

    @property
    def objects(self) -> frozenset[str]:
        """What it was measured on."""
        return frozenset(self.view.tables[self.category].objects)

    @property
    def published(self) -> float | None:
        """The number in print."""
        return self.view.published(self.row, self.category)

    @property
    def label(self) -> str:
        """Network and row."""
        return self.row.title if self.network == ALIKE else f"{self.network} · {self.row.title}"


def is_asked_for(by_network: Collection[str]) -> bool:
    """Whether networks are to stand side by side; there is a choice where results are of several."""
    return len(by_network) > 1 and header.section_picker("View", (ONE, SIDE_BY_SIDE), key="view") == SIDE_BY_SIDE


def page_of_networks(
    kind: kinds.Kind, source: Source, by_network: Mapping[str, Sequence[Entry]], places: Sequence[Any]
) -> None:
    """The choices, the chart, the table, and what to take along."""
    at_category, at_how = places
    how, entries = choices.choose_how(kind, _by_how(by_network), at_how)
    category = _choose_category(entries, at_category)
    named = {
        title: some for title, each in entries.items() if (some := [e for e in each if e.table.category == category])
    }
    chosen = _choose_networks(named)
    alpha, over = choices.choose_measure(next(iter(named.values()))[0])
    if not chosen:
        st.info("Choose a network.", icon=":material/hub:")
        return
    own = {}
    for title in chosen:
        each = [View(kind, {category: entry}, source, how, alpha, over) for entry in named[title]]
        own[title] = lines_of_one(title, each, category)
    lines = lines_of(own)
    views = {title: list({id(line.view): line.view for line in some}.values()) for title, some in own.items()}
    first = views[chosen[0]][0]
    drawn = " · **drawn, synthetic**" if source.synthetic else ""
    st.markdown(f"**{first.metric}** · {escape_markdown(category)}{drawn}")
    st.plotly_chart(_chart(lines, first), key="networks chart", config={"displayModeBar": False})
    _say_of_chart(own, first)
    if missing := [title for title in entries if title not in named]:
        st.caption(f"Not measured for {escape_markdown(category)}: {escape_markdown(', '.join(missing))}.")
    if missing := [title for title in by_network if title not in entries]:
        st.caption(f"Not measured {escape_markdown(how)}: {escape_markdown(', '.join(missing))}.")
    _show_table(lines)
    _show_compared(lines)
    _finish(lines, views, category)


def _by_how(by_network: Mapping[str, Sequence[Entry]]) -> dict[str, dict[str, list[Entry]]]:
    """Results by how they were measured, then by network: AlexNet first, then in alphabetical order.

    Layers are a network's own, so that those of its results do not tell apart how it was measured.
    """
    first = networks.title(networks.DEFAULT)
    titles = sorted(by_network, key=lambda title: (not title.startswith(first), title.lower()))
    network_of = {entry.path: title for title in titles for entry in by_network[title]}
    groups = choices.by_how([entry for title in titles for entry in by_network[title]], features_apart=False)
    return {how: choices.grouped(some, lambda entry: network_of[entry.path]) for how, some in groups.items()}


def _choose_category(entries: Mapping[str, Sequence[Entry]], place: Any) -> str:
    """A category, at first one that most networks have."""
    has = [{entry.table.category for entry in some} for some in entries.values()]
    offered = sorted(set().union(*has))
    first = max(offered, key=lambda category: sum(category in each for each in has))
    url_state.check_link("category", offered)
    url_state.forget_unoffered("category", offered)
    index = offered.index(first)
    return place.selectbox("Category", offered, index, key="category", bind="query-params") or first


def _choose_networks(offered: Mapping[str, Sequence[Entry]]) -> list[str]:
    """Networks that have the results, in their order; to begin with all that were measured whole, if two or more were."""
    url_state.check_link("networks", list(offered))
    whole = [title for title, some in offered.items() if any(not quick_look([each]) for each in some)]
    first = whole if len(whole) > 1 else list(offered)
    url_state.follow_default("networks", first)
    chosen = st.multiselect(
        "Networks", list(offered), first, key="networks", bind="query-params", placeholder="Choose networks"
    )
    if quick := [title for title in offered if title not in first and title not in chosen]:
        st.caption(f"Quick looks only, so not chosen to begin with: {escape_markdown(', '.join(quick))}.")
    return [title for title in offered if title in chosen]


def lines_of_one(title: str, views: Sequence[View], category: str) -> list[Line]:
    """The rows of one network's results, measured alike: those that several have are of the one of most objects."""
    found: dict[Row, Line] = {}
    for view in sorted(views, key=lambda view: -len(view.tables[category].objects)):
        for row in view.tables[category].rows:
            found.setdefault(row, Line(title, view, row, category))
    lines = list(found.values())
    if len(views) > 1:
        known = caches.layers_of(views[0].network)
        layers = {layer: depth for depth, layer in enumerate(known)}

        def place(line: Line) -> tuple[bool, int, int]:
            row = line.row
            return row.refined, row.priors, layers.get(row.feature.layer, len(known)) if row.feature else -1

        lines.sort(key=place)
    return lines


def lines_of(own: Mapping[str, Sequence[Line]]) -> list[Line]:
    """The rows of all networks, one after the other; those that several have alike stand once, at the end."""
    found: list[Line] = []
    alike: dict[tuple[Row, bytes, tuple[str, ...]], list[Line]] = {}
    for line in (line for some in own.values() for line in some):
        if line.row.feature is not None and not line.row.feature.is_sift:
            found.append(line)
        else:
            table = line.view.tables[line.category]
            right = np.nan_to_num(table.errors[table.rows.index(line.row)], nan=-1).tobytes()
            alike.setdefault((line.row, right, table.objects), []).append(line)
    together = [some for some in alike.values() if len(some) == len(own) > 1]
    found += [line for some in alike.values() if some not in together for line in some]
    found.sort(key=lambda line: list(own).index(line.network))
    return found + [replace(some[0], network=ALIKE) for some in together]


def _chart(lines: Sequence[Line], first: View) -> Any:
    groups: dict[str, list[figures.Dot]] = {}
    for line in lines:
        found, style = line.estimate, line.view.styles[line.row.title]
        dot = figures.Dot(line.row.title, (found.value, found.low, found.high), style.colour, line.published)
        groups.setdefault(line.network, []).append(dot)
    return figures.grouped_dots(groups, title=first.metric.removesuffix(", %"))


def _say_of_chart(own: Mapping[str, Sequence[Line]], first: View) -> None:
    said = [
        kinds.text_of(first.kind).definition(first.alpha),
        _objects_of(own) + quick_look([line.view.first for some in own.values() for line in some]),
        "Lines are 95 % intervals. Layers are coloured by their depth, from blue for the first to orange for the last.",
    ]
    if any(line.published is not None for some in own.values() for line in some):
        said.append("Hollow diamonds are the paper's numbers.")
    st.caption(" ".join(said))


def _objects_of(own: Mapping[str, Sequence[Line]]) -> str:
    """How many objects the rows are of, and whether all are of the same."""
    lines = [line for some in own.values() for line in some]
    what = "pairs" if lines[0].view.first.is_of_pairs else "val objects"
    n, of = lines[0].view.extent(lines[0].category)
    if len({line.objects for line in lines}) == 1:
        return f"{what.capitalize()}: {n}" + (f" of {of}." if n < of else ".")
    counts = {title: dict.fromkeys(len(line.objects) for line in some) for title, some in own.items()}
    listed = escape_markdown(", ".join(f"{title} {' and '.join(map(str, each))}" for title, each in counts.items()))
    shared = len(frozenset.intersection(*(line.objects for line in lines)))
    return f"**Not of the same {what}**: {listed}, {shared} in common; a part of the differences comes from that."


def _columns(lines: Sequence[Line]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "network": ["" if line.network == ALIKE else line.network for line in lines],
        "row": [line.row.title for line in lines],
        OURS: [line.estimate.value for line in lines],
        INTERVAL: [exports.interval_text(line.estimate) for line in lines],
    }
    if any(line.published is not None for line in lines):
        columns[PAPER] = [np.nan if line.published is None else line.published for line in lines]
        columns[DIFFERENCE] = [own - other for own, other in zip(columns[OURS], columns[PAPER], strict=True)]
    columns["pairs" if lines[0].view.first.is_of_pairs else "objects"] = [
        line.view.extent(line.category)[0] for line in lines
    ]
    return columns


def _highest(lines: Sequence[Line]) -> float:
    return max(line.view.highest for line in lines)


def _show_table(lines: Sequence[Line]) -> None:
    import pandas as pd  # Streamlit has it loaded

    columns, highest = _columns(lines), _highest(lines)

    def shade(value: float) -> str:
        return f"background-color: {figures.heat(value / highest)}"

    digits = lines[0].view.digits(lines[0].category)
    forms = {OURS: "{:.1f}", PAPER: f"{{:.{digits}f}}", DIFFERENCE: "{:+.1f}"}
    shown = pd.DataFrame(columns).style.map(shade, subset=[OURS])
    shown = shown.format({name: form for name, form in forms.items() if name in columns}, na_rep="")
    st.dataframe(
        shown,
        hide_index=True,
        width="content",
        height="content",
        placeholder="",
        key="networks table",
        column_config={
            "network": names_column(columns["network"], at_most_px=210),
            "row": names_column(columns["row"], at_most_px=130),
        },
        alt=f"{kinds.name_of(lines[0].view.kind)} by {len({line.network for line in lines} - {ALIKE})} networks",
    )
    st.caption(f"Colours from 0 to {highest:.0f} %. Click a heading to sort.")


def _show_compared(lines: Sequence[Line]) -> None:
    """Two rows, of any networks, and whether one is better than the other on the objects that both have."""
    labels = {line.label: line for line in lines}
    if len(labels) < 2:
        return
    st.subheader("Two rows compared", anchor=False)
    ranked = sorted(lines, key=lambda line: (-len(line.objects), -line.estimate.value))
    best = ranked[0]
    others = [line for line in ranked if line.network != ALIKE and line.view.network != best.view.network]
    rival = next(iter(others), ranked[1])
    places = st.columns(2, gap="small")  # under one another on a phone, for names are long
    chosen = compared.choose_two(labels, (best.label, rival.label), places)
    if chosen is None:
        return
    first, second = chosen
    other = second.view.tables[second.category]
    try:
        n = len(first.view.tables[first.category].in_common(other)[0].objects)
    except ValueError as error:
        st.info(sentence(error), icon=":material/compare:")
        return
    found, counts = compared.difference_of(first.view, first.category, first.row, second.row, of=other)
    texts = compared.line_of(first.category, found, (first.label, second.label), counts)
    st.dataframe(
        {name: [text] for name, text in texts.items()},
        hide_index=True,
        width="stretch",
        height="content",
        alt=f"{first.label} against {second.label}",
    )
    what = "pairs" if first.view.first.is_of_pairs else "objects"
    part = f"On the {n} {what} that both were measured on. " if n < max(len(first.objects), len(second.objects)) else ""
    st.caption(f"{part}{compared.how_compared(first.view)} No p is corrected for the choice of rows out of several.")


def csv_lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """What is shown, a line per row, as `take_along.lines_of` has it."""
    by_view = {id(line.view): take_along.lines_of(line.view) for line in lines}
    return [
        {**each, "network": "" if line.network == ALIKE else each["network"]}
        for line in lines
        for each in by_view[id(line.view)]
        if (each["row"], each["category"]) == (line.row.key, line.category)
    ]


def _as_json(lines: Sequence[Line], views: Mapping[str, Sequence[View]]) -> bytes:
    several = {
        title if len(some) == 1 else f"{title}, {view.first.file}": view
        for title, some in views.items()
        for view in some
    }
    content = {
        "networks": {title: json.loads(take_along.as_json(view)) for title, view in several.items()},
        "numbers": csv_lines(lines),
    }
    return json.dumps(to_jsonable(content), indent=1, ensure_ascii=False, allow_nan=False).encode()


def _cells(lines: Sequence[Line]) -> tuple[list[str], list[list[str]], list[list[float | None]]]:
    """The table in text, for pictures and LaTeX."""
    rows, shares, highest = [], [], _highest(lines)
    for line in lines:
        paper = "" if line.published is None else f" ({line.published:.{line.view.digits(line.category)}f})"
        value = f"{line.estimate.value:.1f} {exports.interval_text(line.estimate)}{paper}"
        rows.append([line.label, value])
        shares.append([None, line.estimate.value / highest])
    return ["", lines[0].view.heading(lines[0].category)], rows, shares


def _finish(lines: Sequence[Line], views: Mapping[str, Sequence[View]], category: str) -> None:
    flat = [view for some in views.values() for view in some]
    first = flat[0]
    header.how_computed(
        kinds.text_of(first.kind).definition(None) + "\n" + HOW,
        {
            "data": first.source.title,
            "category": category,
            "how": first.how,
            **{
                title: f"weights {some[0].first.weights[:8]}, {', '.join(view.first.file for view in some)}"
                for title, some in views.items()
            },
        },
    )
    headings, rows, shares = _cells(lines)
    about = take_along.caption(first, network=", ".join(views))
    file = f"{first.file}, {category}, networks side by side"
    exports.export_row(
        downloads={
            f"{file}.csv": lambda: exports.as_csv(csv_lines(lines)),
            f"{file}.tex": lambda: exports.as_latex(headings, rows, about),
            f"{file}.json": lambda: _as_json(lines, views),
            f"{file}.png": lambda: images.encode(
                figures.table_picture(take_along.spelt_out(about), headings, rows, shares), format="PNG"
            ),
        },
        python=take_along.python_of(flat, ", ".join(views)),
        state={
            "table": kinds.title_of(first.kind),
            "view": st.session_state["view"],
            "data": pickers.dataset_title(first.source.name),
            "category": category,
            "networks": list(views),
            choices.how_key(first.kind): first.how,
            **({} if first.over is None else {name: st.session_state[name] for name in ("alpha", "average")}),
            **{key: st.session_state[key] for key in ("first", "second") if len(lines) > 1},
        },
    )
