"""The paper's tables, computed on this machine, beside the published numbers; rows compared, and what makes objects hard."""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from corrcore import datasets, experiments, images, networks
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.experiments import Table, published
from corrcore.metrics import Average, Estimate, mean_of
from corrcore.networks import WeightsNotFoundError
from dashboard import figures, links
from dashboard.parts import exports, header, pickers, result_panel, settings_text, url_state
from dashboard.services import caches, thumbnails
from dashboard.state import session
from dashboard.titles import feature_of, feature_title, row_title
from dashboard.wording import counted, escape_markdown

FIELDS = "1 Receptive fields"
EXPERIMENTS: dict[str, published.Numbered] = {
    "2 Transfer": "transfer",
    "3 Classification": "classification",
    "4 Prediction": "prediction",
}
NUMBERS = {experiment: title[0] for title, experiment in EXPERIMENTS.items()}
AVERAGES: dict[str, Average] = {"per keypoint type": "types", "per image": "images"}
ALPHAS = {f"α = {alpha}": alpha for alpha in experiments.ALPHAS}
COMPARED, BY_CATEGORY = "Two rows compared", "By category"
CURVE, DIFFICULT = "PCK against alpha", "Accuracy by size and visibility"
ON_PAGES = {  # the sections of the tables' pages
    "transfer": "Accuracy (Table 2)",
    "classification": "Right and wrong",
    "prediction": "Accuracy (Table 4)",
}
MEAN = "mean"
OURS, INTERVAL, PAPER, DIFFERENCE = "ours", "95 %", "paper", "diff."
CURVE_ALPHAS = tuple(round(0.01 * n, 2) for n in range(21))
EXAMPLES, SAID_AT_MOST = 6, 5
NO_TABLES = {  # files beside tables, by how their names end
    ".smoothness.json": "the search for the smoothness of the table beside it",
    ".choice": "detectors whose training was stopped, as cross validation has chosen them; the command goes on from it",
    ".mining": "detectors whose training was stopped, as far as it came; the command goes on from it",
}
SURE = 0.05
PLAIN = {"displayModeBar": False}

NORMALISER = (
    "Measured by the side of the image, which is larger than the boxes in it, more keypoints would count as right: such numbers do "
    "not compare with these."
)
RIGHT = {  # at alpha
    "transfer": "A keypoint counts as right when it lies within {} of the longer side of the object's box.",
    "classification": "A keypoint counts as right when its own classifier, of all those of its category, has the highest score.",
    "prediction": "A keypoint counts as right when it lies within {} of the sides of the box, which is stretched to a square.",
}
HOW = {
    "transfer": f"{RIGHT['transfer'].format('α')} {NORMALISER}",
    "prediction": f"{RIGHT['prediction'].format('α')} The square is the paper's 500 x 500 px, in which distances along the box's "
    f"shorter side are longer. {NORMALISER}",
    "classification": f"{RIGHT['classification']} Accuracy is over all visible keypoints of the val objects.",
}
PCK = {"PCK": "the percentage of keypoints that are right, at an α that says how near that is"}
ROWS = {
    "conv1 … conv5": "layers of the network, by whose descriptors keypoints are found",
    "SIFT, radius": "dense SIFT, whose four by four bins reach so many pixels from the middle",
}
WORDS: dict[str, dict[str, str]] = {
    "transfer": {
        **PCK,
        **ROWS,
        "NN": "keypoints of the nearest neighbours, their boxes laid on the object's with no alignment",
    },
    "classification": ROWS,
    "prediction": {
        **PCK,
        **ROWS,
        "+ prior": "detectors, weighed with where the most similar train object has the keypoint",
        f"+ {experiments.PRIORS} priors": f"the same, with the places in the {experiments.PRIORS} most similar",
        "prior": "that place alone, with no detector",
        f"{experiments.PRIORS} priors": f"the median of the {experiments.PRIORS} places, with no detector",
    },
}
HOW_COMPARED = r"""
*Per keypoint type* is the share of right ones for every type, then the mean over types,

$$ \mathrm{PCK}_\alpha = \frac{1}{K} \sum_{k=1}^{K} \frac{\#\{\text{objects that show } k,\ \|\hat x_k - x_k\| \le \alpha \max(h, w)\}}{\#\{\text{objects that show } k\}} $$

as in the paper; *per image* is each object's share of its own visible keypoints, then the mean over objects. Keypoints that an object
does not show count for nothing. Intervals are of 95 %, by the bootstrap over objects, over photos in Table 3. The mean over
categories takes them to be independent of each other.

**Two rows.** Every resample has the same objects for both rows, and the difference is taken in each (paired bootstrap); p is twice the
share of differences on the far side of zero. McNemar's exact test looks at the keypoints that only one of the two has right, and asks
how often a fair coin would be as one-sided; it takes keypoints of one object to be independent, which they are not, so its p is too
small. No p is corrected for the number of categories. Long, Zhang and Darrell (2014), Tables 2, 3 and 4.
"""
HOW_FIELDS = (
    "A unit's receptive field is every input pixel that is path-connected to it; the stride is how far apart neighbouring units' fields "
    "are, the offset where the first one's centre is. All three are derived from the network's graph. Between windows of size $k_i$ and "
    r"stride $s_i$, size and stride are $1 + \sum_i (k_i - 1) \prod_{j<i} s_j$ and $\prod_i s_i$. Long, Zhang and Darrell (2014), Table 1."
)


@dataclass(frozen=True)
class View:
    """What is shown: a table, its numbers by row and category, and the data set it is of, where that can be opened."""

    experiment: published.Numbered
    tables: Mapping[str, Table]
    rows: tuple[str, ...]
    alpha: float
    over: Average | None
    estimates: Mapping[tuple[str, str], Estimate]
    source: str
    data: KeypointDataset | None
    how: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Categories, and their mean where there are several."""
        return (*self.tables, MEAN) if len(self.tables) > 1 else tuple(self.tables)

    @property
    def styles(self) -> dict[str, figures.RowStyle]:
        """How charts draw rows, by their titles."""
        layers = caches.layers_of(self.network) or tuple(feature_of(row)[0] for row in self.rows)
        return {row_title(row): figures.row_style(row, layers) for row in self.rows}

    def published(self, row: str, column: str) -> float | None:
        """The published number, where it is one of the same kind; its mean is over the categories that are here."""
        if self.over == "images" or (self.experiment != "classification" and self.alpha != experiments.ALPHAS[0]):
            return None
        numbers = [
            published.number(self.experiment, row, each) for each in (self.tables if column == MEAN else [column])
        ]
        known = [number for number in numbers if number is not None]
        return float(np.mean(known)) if known and len(known) == len(numbers) else None

    def digits(self, paper: float, column: str) -> float | int:
        """A published number with its digits; means of ours over its categories have one digit more than Table 3."""
        return round(paper) if self.experiment == "classification" and column != MEAN else round(paper, 1)

    @property
    def network(self) -> str:
        return next(iter(self.tables.values())).settings["backbone"]

    @property
    def metric(self) -> str:
        if self.experiment == "classification":
            return "Accuracy, %"
        return f"PCK at α = {self.alpha}, {self.average}, %"

    @property
    def average(self) -> str:
        return next(title for title, over in AVERAGES.items() if over == self.over)

    @property
    def file(self) -> str:
        """What files to take along are called: by the table, and how it was measured."""
        measured_at = "" if self.experiment == "classification" else f"alpha {self.alpha} {self.average}, "
        how = re.sub(r"[^0-9a-zA-Z., +-]", "", measured_at + self.how)
        return f"table {NUMBERS[self.experiment]} {self.experiment}, {how}"


def choose_data(found: experiments.Tables, experiment: str, place: Any) -> tuple[str, KeypointDataset | None]:
    """A data set of those on offer; where no photos are offered, also those that only results are left of."""
    offered = caches.dataset_names()
    of_photos = [table for table in found.tables if table.settings["data"] != datasets.TOY]
    if len(offered) == 1:
        offered += sorted({known_as(table) for table in of_photos})
    url_state.check_link("data", [pickers.dataset_title(each) for each in offered])
    first = 1 if len(offered) > 1 and any(table.experiment == experiment for table in of_photos) else 0
    source = place.selectbox(
        "Data set", offered, first, format_func=pickers.dataset_title, key="data", bind="query-params"
    )
    if source not in caches.dataset_names():
        return source, None
    try:
        return source, caches.dataset(source)
    except (OSError, ValueError) as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
        st.stop()


def known_as(table: Table) -> str:
    return f"{table.settings['data']} {table.settings['data_digest'][:8]}"


def of_data(settings: Mapping[str, Any], source: str, data: KeypointDataset | None) -> bool:
    if data is None:
        return f"{settings['data']} {str(settings['data_digest'])[:8]}" == source
    return (settings["data"], settings["data_digest"]) == (data.name, data.digest)


def choose(label: str, found: Mapping[str, list[Table]], key: str, place: Any) -> list[Table]:
    """The tables under one of several titles."""
    url_state.check_link(key, list(found))
    return found[place.selectbox(label, list(found), key=key, bind="query-params") or next(iter(found))]


def grouped(some: Sequence[Table], title: Callable[[Table], str]) -> dict[str, list[Table]]:
    groups: dict[str, list[Table]] = {}
    for table in some:
        groups.setdefault(title(table), []).append(table)
    return groups


def by_backbone(some: Sequence[Table]) -> dict[str, list[Table]]:
    """By name, and where weights of one name differ, by these."""
    digests = {(table.settings["backbone"], table.settings["backbone_digest"]) for table in some}
    names = [name for name, _ in digests]

    def title(table: Table) -> str:
        name, digest = table.settings["backbone"], table.settings["backbone_digest"]
        return name if names.count(name) == 1 else f"{name}, weights {digest[:8]}"

    return grouped(some, title)


def by_how(some: Sequence[Table]) -> dict[str, list[Table]]:
    """By how they were measured, in words."""
    some = sorted(some, key=lambda table: len(table.path.name))  # what has a name of its own is the exception
    titles = dict(zip((table.path for table in some), settings_text.titles(some), strict=True))
    groups = grouped(some, lambda table: titles[table.path])
    order = list(pickers.PROTOCOLS.values())
    return {name: groups[name] for name in sorted(groups, key=lambda name: order.index(name) if name in order else 99)}


def of_most_objects(some: Sequence[Table]) -> dict[str, Table]:
    """One a category: a quick look at some objects gives way to a look at more."""
    largest: dict[str, Table] = {}
    for table in some:
        if table.category not in largest or len(table.objects) > len(largest[table.category].objects):
            largest[table.category] = table
    return dict(sorted(largest.items()))


@dataclass(frozen=True)
class LeftOut:
    """Files that are not shown, of the table and the data set that are: by name, in words."""

    older: tuple[str, ...]
    of_other_annotations: tuple[str, ...]
    unreadable: Mapping[str, str]
    no_tables: Mapping[str, str]
    command: str


def left_out(
    found: experiments.Tables, experiment: published.Numbered, source: str, data: KeypointDataset | None
) -> LeftOut:
    own = {table.path.parent for table in found.tables if of_data(table.settings, source, data)}
    if data is not None:
        own |= {experiments.default_folder(data, name) for name in networks.ARCHITECTURES}
    older = [
        path.name
        for path, about in found.older.items()
        if about["experiment"] == experiment and of_data(about, source, data)
    ]
    others = [
        table.path.name
        for table in found.tables
        if table.experiment == experiment
        and data is not None
        and table.settings["data"] == data.name
        and not of_data(table.settings, source, data)
    ]
    no_tables = {
        path.name: next(what for suffix, what in NO_TABLES.items() if path.name.endswith(suffix))
        for path in found.others
        if path.parent in own and path.name.startswith(f"{experiment} ") and path.name.endswith(tuple(NO_TABLES))
    }
    other_tables = tuple(f"{each} " for each in NUMBERS if each != experiment)
    unreadable = {
        f"{path.parent.name}/{path.name}": reason
        for path, reason in found.unreadable.items()
        if path.parent in own and not path.name.startswith(other_tables)
    }
    return LeftOut(tuple(older), tuple(others), unreadable, no_tables, command(experiment, source, data))


def say_left_out(out: LeftOut) -> None:
    """Files that are not shown, folded."""
    counts = {
        "of an older version": len(out.older),
        "of other annotations": len(out.of_other_annotations),
        "that cannot be read": len(out.unreadable),
        "that are no tables": len(out.no_tables),
    }
    if not any(counts.values()):
        return
    said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    with st.expander(f"Files that are not shown: {said}", icon=":material/folder_off:"):
        if out.older:
            st.caption(
                f"Of an older version of the code: {escape_markdown(', '.join(out.older))}. Run the command again to renew them: "
                f"`{out.command}`"
            )
        if out.of_other_annotations:
            names = escape_markdown(", ".join(out.of_other_annotations))
            st.caption(f"Of other annotations than the data set has now: {names}.")
        for name, reason in list(out.unreadable.items())[:SAID_AT_MOST]:
            st.caption(escape_markdown(f"{name} is left out: {reason}"))
        if len(out.unreadable) > SAID_AT_MOST:
            st.caption(f"{len(out.unreadable) - SAID_AT_MOST} more cannot be read.")
        for name, what in out.no_tables.items():
            st.caption(f"{escape_markdown(name)}: {what}.")


def command(experiment: published.Numbered, source: str, data: KeypointDataset | None) -> str:
    """What computes a table on the command line."""
    if source == datasets.TOY or data is None:
        where = datasets.TOY if source == datasets.TOY else "FOLDER"
    else:
        where = shlex.quote(str(Path(os.environ.get("CORRCORE_DATA", ""), source)))
    return f"corrcore evaluate {experiment} --data {where}"


def nothing_yet(experiment: published.Numbered, source: str, data: KeypointDataset | None) -> None:
    """What is missing, the command that computes it, and the page that does."""
    to: dict[str, links.Route] = {
        "transfer": links.Alignment(data=pickers.dataset_title(source), alignment_section=ON_PAGES["transfer"]),
        "classification": links.Classification(data=pickers.dataset_title(source)),
        "prediction": links.Prediction(data=pickers.dataset_title(source), prediction_section=ON_PAGES["prediction"]),
    }
    link, page = to[experiment].url, to[experiment].path.capitalize()
    drawn = source == datasets.TOY
    when = "at once" if experiment == "classification" and drawn else "at the press of a button"
    trained = (
        " Detectors of every keypoint are trained first, which takes minutes a category, once."
        if experiment == "prediction" and not drawn
        else ""
    )
    by_page = (
        ""
        if data is None or caches.read_only()
        else f"The [{page} page]({link}) computes it {when}, a category at a time.{trained} "
    )
    result_panel.empty_state(
        f"Table {NUMBERS[experiment]} has not been computed for this data set yet",
        f"{by_page}For all categories there is a command, which goes on where it was stopped:",
    )
    st.code(command(experiment, source, data), language="sh", wrap_lines=True)


def show_table(view: View) -> tuple[str, str] | None:
    """The table, one colour range over all its numbers; the row and column of the cell that was clicked."""
    import pandas as pd  # Streamlit has it loaded

    columns: dict[tuple[str, str], list[Any]] = {}
    meant: dict[str, str] = {}
    for number, column in enumerate(view.columns):
        apart = "\u200b" * number  # of no width: a click tells of the lower heading alone
        found = [view.estimates.get((row, column)) for row in view.rows]
        paper = [view.published(row, column) for row in view.rows]
        cells = {
            OURS: [np.nan if each is None else each.value for each in found],
            INTERVAL: ["" if each is None else exports.interval_text(each) for each in found],
        }
        if any(each is not None for each in paper):
            cells[PAPER] = [np.nan if each is None else each for each in paper]
            cells[DIFFERENCE] = [own - other for own, other in zip(cells[OURS], cells[PAPER], strict=True)]
        for name, values in cells.items():
            columns[column, name + apart] = values
            meant[name + apart] = column
    table = pd.DataFrame(columns, index=pd.Index([row_title(row) for row in view.rows], name="row"))
    table.columns = pd.MultiIndex.from_tuples(list(columns))
    kinds = {
        kind: [name for name in columns if name[1].startswith(kind)] for kind in (OURS, INTERVAL, PAPER, DIFFERENCE)
    }
    highest = highest_of(view)
    furthest = max((abs(v) for name in kinds[DIFFERENCE] for v in columns[name] if not np.isnan(v)), default=0) or 1

    def shade(value: float) -> str:
        if np.isnan(value):
            return ""
        colour, white = figures.heat(value / highest)
        return f"background-color: {colour}" + ("; color: white" if white else "")

    def shade_difference(value: float) -> str:
        if np.isnan(value):
            return ""
        colour, _ = figures.heat(0.5 * abs(value) / furthest, figures.BLUE if value > 0 else figures.ORANGE)
        return f"background-color: {colour}"

    shown = table.style.map(shade, subset=kinds[OURS]).map(
        lambda _: "color: gray", subset=kinds[INTERVAL] + kinds[PAPER]
    )
    shown = shown.map(shade_difference, subset=kinds[DIFFERENCE]).format("{:+.1f}", na_rep="", subset=kinds[DIFFERENCE])
    form = "{:.0f}" if view.experiment == "classification" else "{:.1f}"
    one_digit = [name for name in kinds[PAPER] if name[0] == MEAN]
    shown = shown.format(form, na_rep="", subset=[name for name in kinds[PAPER] if name not in one_digit])
    shown = shown.format("{:.1f}", na_rep="", subset=kinds[OURS] + one_digit)
    state = st.dataframe(
        shown,
        width="stretch" if len(view.columns) > 1 else "content",
        height="content",
        placeholder="",
        key=f"cells {view.experiment}",
        on_select="rerun",
        selection_mode="single-cell",
        alt=f"Table {NUMBERS[view.experiment]}: {view.metric}",
    )
    clicked = [
        (view.rows[row], meant[name])
        for row, name in state["selection"]["cells"]
        if row < len(view.rows) and name in meant
    ]
    return cell_to_show(view, clicked[0] if clicked else None)


def cell_to_show(view: View, clicked: tuple[str, str] | None) -> tuple[str, str] | None:
    """The cell that was clicked; until one is, that of the link by which this session came. It is kept in the link."""
    came = view.experiment, st.query_params.get("cell", "")
    experiment, cell = session().linked_cell = session().linked_cell or came
    row, _, column = cell.rpartition(",")
    if clicked is not None:
        session().linked_cell = view.experiment, ""
    elif experiment == view.experiment and row in view.rows and column in view.columns:
        clicked = row, column
    if clicked is not None:
        st.query_params["cell"] = ",".join(clicked)
    elif "cell" in st.query_params:
        del st.query_params["cell"]
    return clicked


def highest_of(view: View) -> float:
    """The end of the colours: the next ten above the highest number."""
    return float(max(np.ceil(max(each.value for each in view.estimates.values()) / 10) * 10, 10))


def say_what_it_is_of(view: View) -> None:
    counts = []
    for category, table in view.tables.items():
        asked = len(view.data.shown(category, "val")) if view.data is not None and in_val(view.data, category) else 0
        of = f" of {asked}" if asked > looked_at(view, category) else ""
        learnt = table.settings.get("objects", {}).get("train")
        there = len(view.data.shown(category, "train")) if view.data is not None and in_val(view.data, category) else 0
        trained = f" (trained on {learnt} of {there})" if learnt is not None and learnt < there else ""
        counts.append(f"{escape_markdown(category)} {len(table.objects)}{of}{trained}")
    what = RIGHT[view.experiment].format(view.alpha)
    if view.experiment != "classification":
        what += f" {NORMALISER}"
    paper = (
        f" *Paper*: Long, Zhang and Darrell (2014), Table {NUMBERS[view.experiment]}, with the Caffe reference model; its mean is over "
        "the categories here; differences from it are blue above and orange below."
        if any(view.published(row, column) is not None for row in view.rows for column in view.columns)
        else ""
    )
    st.caption(
        f"{what} Val objects: {', '.join(counts)}. Colours from 0 to {highest_of(view):.0f} %. "
        f"Click a cell to see what it is made of, a heading to sort.{paper}"
    )
    if view.over == "types" and view.experiment == "transfer" and (means := published.transfer_means(view.alpha)):
        numbers = ", ".join(f"{row_title(row)} {number:g}" for row, number in means.items())
        st.caption(f"Published at this α are only means over all twenty categories: {numbers}.")
    with st.expander("What the words mean", icon=":material/menu_book:"):
        st.markdown("\n".join(f"- **{word}**: {meaning}." for word, meaning in WORDS[view.experiment].items()))


def say_what_the_paper_has_otherwise(view: View, groups: Mapping[str, Sequence[Table]]) -> None:
    """What large differences from the published numbers come from, as far as that is known."""
    first = next(iter(view.tables.values()))
    if view.experiment == "transfer" and (by := first.settings.get("neighbours_by")) and not by.startswith("fc"):
        st.caption(
            f"Neighbours are found by {escape_markdown(by.partition(' (')[0])} here, for there are no weights for the paper's fc7. That "
            "keeps the pose, so that neighbours stand like the object more often: a reason why rows come out higher than the published ones, NN too."
        )
    if view.experiment == "classification" and first.settings.get("protocol", {}).get("sides"):
        st.caption(
            "Left and right are told apart here. The paper does not say whether it does so, nor at which size objects are seen; like for "
            "like, its numbers compare with those of left and right alike."
        )
        alike = next((name for name, some in groups.items() if settings_text.protocol_of(some[0]) == "sideless"), None)
        if alike is not None:
            st.button(
                "Show left and right alike",
                key="alike",
                on_click=lambda: st.session_state.update(seen=alike),
                icon=":material/swap_horiz:",
                type="tertiary",
            )


def in_val(data: KeypointDataset, category: str) -> bool:
    return (category, "val") in data.splits


def looked_at(view: View, category: str) -> int:
    """How many val objects a table is of, with those that could not be measured."""
    table = view.tables[category]
    if view.data is None or not in_val(view.data, category):
        return len(table.objects) + len(table.left_out)
    return len(table.objects) + sum(one.name in table.left_out for one in view.data.shown(category, "val"))


def page_link(view: View, row: str, category: str, instance: str = "") -> str:
    """Where a number came from, or an object of it; empty where the data set cannot be opened."""
    if view.data is None:
        return ""
    of = {"data": pickers.dataset_title(view.source), "category": category}
    table, section = view.tables[category], "" if instance else ON_PAGES[view.experiment]
    if view.experiment == "classification":
        seen, feature = settings_text.protocol_of(table), feature_title(row)
        if not instance:
            feature = feature if row in experiments.NAMING else ""
            seen = pickers.PROTOCOLS.get(seen or "", "")
            return links.Classification(**of, seen=seen, feature=feature, classification_section=section).url
        shown_at = next((title for title, name in pickers.SEEN.items() if name == seen), "")
        shown = bool(shown_at) and row in pickers.mapped_features()
        return links.Responses(**of, object=instance, features=(feature,), scale=shown_at).url if shown else ""
    feature, suffix = feature_of(row)
    if view.experiment == "prediction":
        prior = pickers.PRIORS.get(suffix, "") if feature else ""
        return links.Prediction(**of, object=instance, prior=prior, prediction_section=section).url
    if row == experiments.UNALIGNED:
        return links.Alignment(**of, object=instance, alignment_section=section).url
    beta = smoothness_of(table, row)
    return links.Alignment(
        **of,
        object=instance,
        upper=feature_title(row) if row in pickers.aligned_features() else "",
        smoothness=str(beta) if beta in pickers.SMOOTHNESSES else "",
        iterations=str(table.settings.get("iterations", "")),
        alignment_section=section,
    ).url


def learnt_from(view: View, category: str) -> int:
    """How many train objects a page's classifiers or detectors see."""
    if view.data is None:
        return 0
    if view.experiment == "prediction":
        return experiments.learnt_from(view.data, category)
    return len(view.data.shown(category, "train"))


def smoothness_of(table: Table, row: str) -> float | None:
    return (table.settings.get("smoothness") or {}).get(row)


def shown_otherwise(view: View, row: str, category: str) -> list[str]:
    """In what the page behind a number differs from how the number was measured."""
    settings, said = view.tables[category].settings, []
    feature, suffix = feature_of(row)
    if (network := settings["backbone"]) != pickers.BACKBONE:
        said.append(f"{pickers.BACKBONE}, not {network}")
    if feature and feature not in offered(view.experiment):
        said.append(f"other features than {feature_title(feature)}")
    if view.experiment == "classification":
        if settings_text.protocol_of(view.tables[category]) is None:
            said.append("objects seen in another way")
    else:
        if view.alpha != experiments.ALPHAS[0]:
            said.append(f"right within α = {experiments.ALPHAS[0]}, not {view.alpha}")
        if view.over == "images":
            said.append("averages per keypoint type, not per image")
    if view.experiment == "prediction":
        if not feature:
            said.append(f"detectors with this prior, not {row_title(row)} alone")
        elif suffix not in pickers.PRIORS:
            said.append("the best cell, not the best pixel around it")
    if view.experiment == "transfer":
        if row == experiments.UNALIGNED:
            said.append("neighbours that are aligned")
        elif (beta := smoothness_of(view.tables[category], row)) not in (None, *pickers.SMOOTHNESSES):
            said.append(f"another smoothness than {beta:g}")
        for name, usual in settings_text.USUAL.items():
            if (value := settings.get(name, usual)) != usual:
                said.append(f"{settings_text.WORDS[name]} {usual}, not {value}")
        if view.tables[category].path.name != f"transfer {category}.json":
            said.append(f"in its table another file than {view.tables[category].path.name}")
    if view.data is not None and in_val(view.data, category):
        there = len(view.data.shown(category, "val"))
        if (n := looked_at(view, category)) < there:
            said.append(f"all {there} val objects, not {n}")
        learnt, usual = settings.get("objects", {}).get("train"), learnt_from(view, category)
        if learnt is not None and learnt < usual:
            said.append(f"what was learnt from {usual} train objects, not {learnt}")
    return said


def offered(experiment: published.Numbered) -> Sequence[str]:
    """The features of a table's page."""
    if experiment == "transfer":
        return pickers.aligned_features()
    return experiments.NAMING if experiment == "classification" else experiments.DETECTING


def show_cell(view: View, row: str, column: str) -> None:
    """What a number is made of: where it came from, and the objects it is lowest and highest of."""
    with st.container(border=True, key="cell"):
        found = view.estimates.get((row, column))
        title = escape_markdown(row_title(row))
        if found is None:
            st.markdown(f"**{title}, {escape_markdown(column)}**: not measured.")
            return
        st.markdown(
            f"**{title}, {escape_markdown(column)}: {found.value:.1f} %** {escape_markdown(exports.interval_text(found))}"
        )
        page = {"transfer": "Alignment", "classification": "Classification", "prediction": "Prediction"}[
            view.experiment
        ]
        if column == MEAN:
            links = [f"[{escape_markdown(each)}]({page_link(view, row, each)})" for each in view.tables if view.data]
            st.markdown(
                f"The mean of {len(view.tables)} categories."
                + f" On the {page} page: {', '.join(links)}." * bool(links)
            )
            if links:
                say_what_differs(
                    dict.fromkeys(each for name in view.tables for each in shown_otherwise(view, row, name))
                )
            return
        if not (link := page_link(view, row, column)):
            st.caption("The data set itself is not on this machine, so its objects cannot be shown.")
            return
        st.markdown(f"[Open {escape_markdown(column)} on the {page} page]({link})")
        say_what_differs(shown_otherwise(view, row, column))
        show_examples(view, row, column)


def say_what_differs(said: Iterable[str]) -> None:
    """Nothing where the page shows a number as it was measured."""
    if said := list(said):
        st.caption(escape_markdown(f"The page shows these with its own settings: {'; '.join(said)}."))


def show_examples(view: View, row: str, category: str) -> None:
    """The objects of lowest and of highest share, of those that show at least half of the most that any shows."""
    table = view.tables[category]
    if view.data is None or not in_val(view.data, category):
        return
    by_name = {one.name: one for one in view.data.shown(category, "val")}
    hits, shown = table.right(row, alpha=view.alpha).sum(axis=1), table.shown.sum(axis=1)
    known = [n for n, name in enumerate(table.objects) if name in by_name and shown[n] >= shown.max() / 2]
    order = sorted(known, key=lambda n: (hits[n] / shown[n], -shown[n]))
    parts = {
        "Objects of which it has least right": order[:EXAMPLES],
        "Objects of which it has most right": order[max(len(order) - EXAMPLES, EXAMPLES) :][::-1],
    }
    for title, numbers in parts.items():
        some: list[Instance] = [by_name[table.objects[n]] for n in numbers]
        if not some:
            continue
        st.markdown(f"**{title}**")
        pictures = thumbnails.of_objects(caches.state_of(some), some)
        places = header.two_a_row(f"examples {title}").columns(EXAMPLES, gap="small")
        for place, n, one, picture in zip(places, numbers, some, pictures, strict=False):
            place.image(images.encode(picture, format="JPEG"), width="stretch")
            link, text = page_link(view, row, category, one.name), f"{hits[n]} of {shown[n]} right"
            place.markdown(f"[{text}]({link})" if link else text)


def to_compare(view: View) -> tuple[str, str]:
    """The best row of those published, and the best of SIFT, or of layers, with the same prior or none."""

    def height(row: str) -> float:
        return float(
            np.mean([view.estimates[row, each].value for each in view.tables if (row, each) in view.estimates])
        )

    ranked = sorted(view.rows, key=height, reverse=True)
    best = next((row for row in ranked if published.has_row(view.experiment, row)), ranked[0])
    feature, suffix = feature_of(best)
    rivals = [row for row in ranked if feature_of(row)[0].startswith("sift") != feature.startswith("sift")]
    others = [row for row in ranked if row != best]
    alike = [row for row in rivals if feature_of(row)[0] and feature_of(row)[1] == suffix]
    return best, next(iter([*alike, *rivals, *others, best]))


def show_compared(view: View) -> None:
    """Two rows of the same objects: how much one exceeds the other, how sure that is, and what that says."""
    titles = {row: row_title(row) for row in view.rows}
    one, other = to_compare(view)
    for key in ("first", "second"):
        url_state.check_link(key, list(titles.values()))
    places = header.two_a_row("compared").columns(2, gap="small")
    first, second = (
        place.selectbox(label, view.rows, view.rows.index(row), titles.__getitem__, key=key, bind="query-params") or row
        for place, label, key, row in zip(places, ("Row", "against"), ("first", "second"), (one, other), strict=True)
    )
    if first == second:
        st.info("These are the same row; choose another to compare it with.", icon=":material/compare:")
        return
    differences: dict[str, Estimate] = {}
    lines: list[dict[str, str]] = []
    for category, table in view.tables.items():
        if first not in table.rows or second not in table.rows:
            continue
        differences[category] = table.difference(first, second, alpha=view.alpha, over=view.over)
        tested = table.mcnemar(first, second, alpha=view.alpha)
        mcnemar = {
            "only the first right": str(tested.first_only),
            "only the second right": str(tested.second_only),
            "p, McNemar": exports.p_text(tested.p),
        }
        lines.append(compared_line(category, differences[category], titles[first], titles[second], mcnemar))
    if not lines:
        st.info("No category has both rows.", icon=":material/compare:")
        return
    if len(lines) > 1:
        mean = mean_of(list(differences.values()), rng=np.random.default_rng(0))
        empty = {
            name: "" for name in lines[0] if name in ("only the first right", "only the second right", "p, McNemar")
        }
        lines.append(compared_line(MEAN, mean, titles[first], titles[second], empty))
    st.dataframe(
        {name: [line[name] for line in lines] for name in lines[0]},
        hide_index=True,
        width="stretch",
        height="content",
        alt=f"{titles[first]} against {titles[second]}, by category",
    )
    objects = "photos" if view.experiment == "classification" else "objects"
    st.caption(
        f"Difference in points, with its 95 % interval by a paired bootstrap over {objects}. McNemar's test counts keypoints that only "
        "one of the two has right, each for itself; those of one object are right or wrong together, so trust the bootstrap where they "
        "disagree. No p is corrected for the number of categories."
    )


def compared_line(column: str, found: Estimate, first: str, second: str, mcnemar: dict[str, str]) -> dict[str, str]:
    better = first if found.value > 0 else second
    sure = found.p_value <= SURE
    return {
        "category": column,
        "difference": f"{found.value:+.1f} [{found.low:+.1f}, {found.high:+.1f}]",
        "p, bootstrap": exports.p_text(found.p_value),
        **mcnemar,
        "which says": f"{better} is better" if sure else "no difference can be told",
    }


def ends(found: Estimate | None) -> figures.Ends:
    return (np.nan, np.nan, np.nan) if found is None else (found.value, found.low, found.high)


def choose_rows(view: View) -> tuple[str, ...]:
    """Rows to draw, in their order; the published ones to begin with."""
    first = [row for row in view.rows if published.has_row(view.experiment, row)] or list(view.rows)
    url_state.check_link("rows", [row_title(row) for row in view.rows])
    before = st.session_state.get("rows")
    another = (session().rows_of or view.experiment) != view.experiment
    if before is not None and (another or (before and not set(before) & set(view.rows))):
        st.session_state["rows"] = first
    session().rows_of = view.experiment
    chosen = st.multiselect(
        "Rows",
        view.rows,
        first,
        format_func=row_title,
        key="rows",
        bind="query-params",
        placeholder="Choose rows",
    )
    if not chosen:
        st.info("Choose a row to draw.", icon=":material/show_chart:")
    return tuple(row for row in view.rows if row in chosen)


def rows_of(table: Table, chosen: Sequence[str]) -> list[str]:
    """Those of the rows that a table has; says so where it has none."""
    rows = [row for row in chosen if row in table.rows]
    if chosen and not rows:
        st.info(
            f"None of these rows was measured for {escape_markdown(table.category)}; choose others.",
            icon=":material/show_chart:",
        )
    return rows


def show_categories(view: View) -> None:
    if not (rows := choose_rows(view)):
        return
    bars = {row_title(row): [ends(view.estimates.get((row, column))) for column in view.columns] for row in rows}
    paper = {row_title(row): [view.published(row, column) for column in view.columns] for row in rows}
    st.plotly_chart(figures.category_bars(bars, paper, view.columns, styles=view.styles), key="bars", config=PLAIN)
    diamonds = " White diamonds are the paper's numbers." if any(any(each) for each in paper.values()) else ""
    st.caption(f"{view.metric}; whiskers are 95 % intervals.{of_lines(rows, 'dots', 'stripes')}{diamonds}")


def of_lines(rows: Sequence[str], one: str, several: str) -> str:
    """What the patterns of bars or lines tell, where there are such rows."""
    said = {
        "prior": f"{one}: with the prior",
        f"{experiments.PRIORS} priors": f"{several}: with {experiments.PRIORS} priors",
    }
    there = [text for added, text in said.items() if any(feature_of(row)[1].lstrip("+") == added for row in rows)]
    return f" One colour a feature; {'; '.join(there)}." if there else ""


def choose_category(view: View) -> Table:
    url_state.check_link("category", list(view.tables))
    name = st.selectbox("Category", list(view.tables), key="category", bind="query-params", width=240)
    return view.tables[name or next(iter(view.tables))]


def show_curve(view: View) -> None:
    table, chosen = choose_category(view), choose_rows(view)
    if not (rows := rows_of(table, chosen)):
        return
    curves = {
        row_title(row): [ends(table.accuracy(row, alpha=alpha, over=view.over)) for alpha in CURVE_ALPHAS]
        for row in rows
    }
    st.plotly_chart(
        figures.pck_curves(curves, CURVE_ALPHAS, at=view.alpha, styles=view.styles), key="curve", config=PLAIN
    )
    st.caption(
        f"PCK of {escape_markdown(table.category)} for every α, with 95 % intervals as bands. How early a line rises tells how near "
        "predictions are; where it goes, how many are anywhere near. The upright line is the α of the table."
        + of_lines(rows, "dotted", "dashed")
    )


def show_difficulty(view: View) -> None:
    table, chosen = choose_category(view), choose_rows(view)
    if not (rows := rows_of(table, chosen)):
        return
    charts: list[tuple[str, str, np.ndarray]] = []
    if table.boxes is not None:
        longer = np.maximum(table.boxes[:, 2] - table.boxes[:, 0], table.boxes[:, 3] - table.boxes[:, 1])
        charts.append(("Size of the box", "longer side of the box, px", longer))
    charts.append(("Visible keypoints", "keypoints that the object shows", table.shown.sum(axis=1).astype(float)))
    drawn = []
    for title, axis, values in charts:
        groups = groups_of(values)
        names = [f"{exports.span(values[some])}<br>{counted(int(some.sum()), 'object')}" for some in groups]
        found = {
            row_title(row): [ends(table.accuracy(row, alpha=view.alpha, over=view.over, some=some)) for some in groups]
            for row in rows
        }
        drawn.append((title, axis, names, found))
    highest = 1.05 * max(each[2] for *_, found in drawn for line in found.values() for each in line)
    for place, (title, axis, names, found) in zip(st.columns(len(drawn), gap="medium"), drawn, strict=True):
        place.markdown(f"**{title}**")
        place.plotly_chart(
            figures.by_difficulty(found, names, title=axis, highest=highest, styles=view.styles),
            key=f"difficulty {title}",
            config=PLAIN,
        )
    unknown = "" if table.boxes is not None else " Sizes of boxes are not in the results of this table."
    st.caption(
        f"{view.metric}, {escape_markdown(table.category)}: groups of about as many objects, from those with least to those with most; objects with equal values stay together, with 95 % "
        f"intervals.{of_lines(rows, 'dotted', 'dashed')}{unknown}"
    )


def groups_of(values: np.ndarray) -> list[np.ndarray]:
    """Which objects are in each of up to four groups of about as many; equal values stay together."""
    edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="nearest"))
    group = np.searchsorted(edges, values, side="left")
    return [group == n for n in np.unique(group)]


def lines_of(view: View) -> list[dict[str, Any]]:
    """Every number of the table, a line each, with the digits that are on screen, and how it was measured."""
    lines = []
    for row in view.rows:
        for column in view.columns:
            found = view.estimates.get((row, column))
            if found is None:
                continue
            table, paper = view.tables.get(column), view.published(row, column)
            lines.append(
                {
                    "table": int(NUMBERS[view.experiment]),
                    "category": column,
                    "row": row,
                    "value": round(found.value, 1),
                    "low": round(found.low, 1),
                    "high": round(found.high, 1),
                    "published": None if paper is None else view.digits(paper, column),
                    "difference": None if paper is None else round(found.value - paper, 1),
                    "alpha": None if view.experiment == "classification" else view.alpha,
                    "over": view.over or "keypoints",
                    "objects": None if table is None else len(table.objects),
                    "keypoints": None if table is None else int(table.shown.sum()),
                    "data": data_title(view),
                    "network": view.network,
                    "how": view.how,
                }
            )
    return lines


def as_json(view: View) -> bytes:
    content = {
        "metric": view.metric,
        "how": view.how,
        "definition": HOW[view.experiment].replace("*", ""),
        "settings": {category: dict(table.settings) for category, table in view.tables.items()},
        "numbers": lines_of(view),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()


def cells_of(view: View) -> tuple[list[str], list[list[str]], list[list[float | None]]]:
    """The table in text, for pictures and LaTeX: headings, rows, and how far up the colours each cell is."""
    highest = highest_of(view)
    rows: list[list[str]] = []
    shares: list[list[float | None]] = []
    for row in view.rows:
        cells: list[str] = [row_title(row)]
        levels: list[float | None] = [None]
        for column in view.columns:
            found, paper = view.estimates.get((row, column)), view.published(row, column)
            beside = "" if paper is None else f" ({view.digits(paper, column)})"
            cells.append("" if found is None else f"{found.value:.1f} {exports.interval_text(found)}{beside}")
            levels.append(None if found is None else found.value / highest)
        rows.append(cells)
        shares.append(levels)
    return ["", *view.columns], rows, shares


def caption(view: View) -> str:
    """What a table that was taken along is of."""
    drawn = " · drawn, synthetic" if view.data is not None and view.data.synthetic else ""
    beside = (
        " (published)"
        if any(view.published(row, each) is not None for row in view.rows for each in view.columns)
        else ""
    )
    return (
        f"Table {NUMBERS[view.experiment]}. {view.metric} [95 % interval]{beside} · {data_title(view)}{drawn} · {view.network} · "
        f"{view.how}"
    )


def picture(view: View) -> bytes:
    headings, rows, shares = cells_of(view)
    title = caption(view).replace("α", "alpha").replace("η", "eta").replace("σ", "sigma")  # which PIL's font lacks
    return images.encode(figures.table_picture(title, headings, rows, shares), format="PNG")


def data_title(view: View) -> str:
    return view.source if view.data is None else view.data.title


def python_lines(view: View) -> str:
    files = [f"{table.path.parent.name}/{table.path.name}" for table in view.tables.values()]
    listed = "\n".join(f"    {file!r}," for file in files)
    options = "" if view.experiment == "classification" else f", alpha={view.alpha}, over={view.over!r}"
    return f"""from corrcore import experiments

files = [  # {data_title(view)}, {view.network}, {view.how}
{listed}
]
for file in files:
    table = experiments.read_table(experiments.results_folder() / file)
    print(file)
    for row in table.rows:
        found = table.accuracy(row{options})
        print(f"  {{row:14}} {{found.value:5.1f}} [{{found.low:.1f}}, {{found.high:.1f}}]")
"""


def page_of_fields() -> None:
    """Table 1: the receptive fields of every network that can be loaded here."""
    lines: list[dict[str, Any]] = []
    missing = []
    for name in networks.ARCHITECTURES:
        try:
            backbone = caches.network(name)
        except WeightsNotFoundError:
            missing.append(name)
            continue
        for layer in backbone.layers:
            field = backbone.receptive_field(layer)
            paper = published.receptive_field(layer) if name == "alexnet" else None
            lines.append(
                {
                    "network": name,
                    "layer": layer,
                    "size, px": field.size,
                    "stride, px": field.stride,
                    "offset, px": field.offset,
                    "paper's size": None if paper is None else paper[0],
                    "paper's stride": None if paper is None else paper[1],
                }
            )
    st.markdown("**Receptive fields, px**")
    st.dataframe(
        {name: [line[name] for line in lines] for name in lines[0]},
        hide_index=True,
        width="stretch",
        height="content",
        placeholder="",
        alt="Table 1: size, stride and offset of every layer",
    )
    absent = f" No weights on this machine: {', '.join(missing)}." if missing else ""
    st.caption(
        "Offset: where the centre of the first unit's field is, which padding decides. *Paper*: Long, Zhang and Darrell (2014), Table 1, "
        f"the Caffe reference model, whose windows are alexnet's but for the padding of the first.{absent}"
    )
    header.how_computed(HOW_FIELDS, {"networks": ", ".join(dict.fromkeys(line["network"] for line in lines))})
    headings = list(lines[0])
    texts = [
        ["" if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in line.values()]
        for line in lines
    ]
    exports.export_row(
        downloads={
            "table 1 receptive fields.csv": lambda: exports.as_csv(lines),
            "table 1 receptive fields.tex": lambda: exports.as_latex(headings, texts, "Table 1. Receptive fields, px"),
            "table 1 receptive fields.json": lambda: json.dumps(lines, indent=1).encode(),
            "table 1 receptive fields.png": lambda: images.encode(
                figures.table_picture("Table 1. Receptive fields", headings, texts, [[]] * len(texts)), format="PNG"
            ),
        },
        python="""from corrcore import backbones

backbone = networks.load("alexnet")
for layer in backbone.layers:
    print(layer, backbone.receptive_field(layer))
""",
        state={"table": FIELDS},
    )


def page_of_numbers(experiment: published.Numbered, found: experiments.Tables) -> None:
    """Table 2, 3 or 4."""
    at_data, at_backbone, at_how = header.two_a_row("controls").columns([3, 2, 5], gap="small")
    source, data = choose_data(found, experiment, at_data)
    every = [table for table in found.tables if table.experiment == experiment]
    some = [table for table in every if of_data(table.settings, source, data)]
    out = left_out(found, experiment, source, data)
    if not some:
        nothing_yet(experiment, source, data)
        say_left_out(out)
        st.stop()
    some = choose("Network", by_backbone(some), "backbone", at_backbone)
    groups = by_how(some)
    how = next(iter(groups))
    key = "seen" if experiment == "classification" else "how"
    if len(groups) > 1 or experiment == "classification":
        some = choose("Crop and scale" if key == "seen" else "Measured with", groups, key, at_how)
        how = next(name for name, group in groups.items() if group is some)
    else:
        some = groups[how]
    alpha, over = experiments.ALPHAS[0], None
    if experiment != "classification":
        at_alpha, at_over = st.columns([2, 3], gap="small", width=620)
        with at_alpha:
            alpha = ALPHAS[header.section_picker("Alpha", tuple(ALPHAS), key="alpha")]
        with at_over:
            over = AVERAGES[header.section_picker("Average", tuple(AVERAGES), key="average")]
    view = view_of(experiment, of_most_objects(some), alpha, over, (source, data), how)
    drawn = " · **drawn, synthetic**" if data is not None and data.synthetic else ""
    st.markdown(f"**{view.metric}**{drawn}")
    clicked = show_table(view)
    say_what_it_is_of(view)
    say_what_the_paper_has_otherwise(view, groups)
    say_left_out(out)
    objects = {name: why for table in view.tables.values() for name, why in table.left_out.items()}
    pickers.show_left_out("object", objects)
    if clicked is not None:
        show_cell(view, *clicked)
    sections: dict[str, Callable[[View], None]] = {COMPARED: show_compared, BY_CATEGORY: show_categories}
    if experiment != "classification":
        sections[CURVE] = show_curve
    sections[DIFFICULT] = show_difficulty
    sections[header.section_picker("Look closer", tuple(sections), key="results_section")](view)
    finish(view, state_of_view(view, how_key=key))


def state_of_view(view: View, *, how_key: str) -> dict[str, str | list[str]]:
    """What is shown, in the words of links: defaults are others where there are other results."""
    state: dict[str, str | list[str]] = {
        "table": next(title for title, experiment in EXPERIMENTS.items() if experiment == view.experiment),
        "data": pickers.dataset_title(view.source),
        "backbone": st.session_state["backbone"],
        how_key: view.how,
        "results_section": (section := st.session_state["results_section"]),
    }
    if view.over is not None:
        state |= {name: st.session_state[name] for name in ("alpha", "average")}
    if section == COMPARED:
        state |= {name: row_title(st.session_state[name]) for name in ("first", "second")}
    else:
        state["rows"] = [row_title(row) for row in st.session_state["rows"]]
        state |= {"category": st.session_state["category"]} if section in (CURVE, DIFFICULT) else {}
    return state


def view_of(
    experiment: published.Numbered,
    tables: Mapping[str, Table],
    alpha: float,
    over: Average | None,
    of: tuple[str, KeypointDataset | None],
    how: str,
) -> View:
    rows = tuple(dict.fromkeys(row for table in tables.values() for row in table.rows))
    estimates = {
        (row, category): table.accuracy(row, alpha=alpha, over=over)
        for category, table in tables.items()
        for row in table.rows
    }
    for row in rows if len(tables) > 1 else ():
        if all((row, category) in estimates for category in tables):
            each = [estimates[row, category] for category in tables]
            estimates[row, MEAN] = mean_of(each, rng=np.random.default_rng(0))
    return View(experiment, tables, rows, alpha, over, estimates, *of, how)


def finish(view: View, state: Mapping[str, str | Sequence[str]]) -> None:
    first = next(iter(view.tables.values()))
    header.how_computed(
        HOW[view.experiment] + "\n" + HOW_COMPARED,
        {
            "data": f"{data_title(view)}, {first.settings['data_digest'][:8]}",
            "network": f"{first.settings['backbone']}, weights {first.settings['backbone_digest'][:8]}",
            "how": view.how,
            **{name: str(value) for name, value in settings_text.flattened(first.how).items()},
            "files": ", ".join(table.path.name for table in view.tables.values()),
        },
    )
    headings, rows, _ = cells_of(view)
    exports.export_row(
        downloads={
            f"{view.file}.csv": lambda: exports.as_csv(lines_of(view)),
            f"{view.file}.tex": lambda: exports.as_latex(headings, rows, caption(view)),
            f"{view.file}.json": lambda: as_json(view),
            f"{view.file}.png": lambda: picture(view),
        },
        python=python_lines(view),
        state=state,
    )


def page() -> None:
    header.header(
        "How near do these numbers come to the published ones?",
        "The paper's tables, from the results on this machine. **Look for** rows of layers above rows of SIFT, and whether that is more "
        "than chance: choose two rows to compare, or click a cell to see the objects behind it.",
    )
    found = caches.tables()
    titles = (FIELDS, *EXPERIMENTS)
    there = {table.experiment for table in found.tables}
    url_state.check_link("table", titles)
    title = st.segmented_control(
        "Table",
        titles,
        default=next((title for title, experiment in EXPERIMENTS.items() if experiment in there), FIELDS),
        key="table",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
    if title == FIELDS:
        page_of_fields()
    else:
        page_of_numbers(EXPERIMENTS[title], found)


page()
