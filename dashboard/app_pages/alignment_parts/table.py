"""Table 2 of what was computed on this machine, beside what was published, and a button to compute it."""

from dataclasses import replace

import streamlit as st

from corrcore.datasets.records import KeypointDataset
from corrcore.experiments import ALPHAS, Context, KeypointTable, Result, Row, Transfer, published
from corrcore.features import Extractor
from corrcore.wording import counted
from dashboard.parts import exports, pickers
from dashboard.parts.result_panel import experiment_panel
from dashboard.services import caches, people
from dashboard.services.roles import Role
from dashboard.titles import network_title
from dashboard.wording import escape_markdown, sentence

PUBLISHED = "published, α = 0.1"


def show(source: str, data: KeypointDataset, category: str, network: Extractor) -> None:
    """All categories' rows, and what computes the chosen one's."""
    st.markdown(
        f"**PCK of keypoints transferred to the val objects** of {escape_markdown(data.title)} by "
        f"{network_title(network.name)} and SIFT, in percent, with 95 % intervals over objects. NN lays the neighbours' "
        "boxes on the target's, with no alignment."
    )
    at_table, context = st.container(), caches.context(source, network.name)
    experiment = Transfer(source, category, network=network.name)
    result = experiment_panel(
        experiment,
        context,
        button=f"Compute for {category}",
        title=f"Table 2 has not been computed for {category} yet",
        text=f"All {counted(_n_val(data, category), 'val object')} are aligned to their neighbours, at a smoothness that is "
        "chosen on 30 train objects first. That takes some ten minutes on two cores, here or with `corrcore "
        "evaluate transfer "
        f'--data {pickers.shell_dataset(source)} --categories "{category}" --network {network.name}`.',
    )
    try:
        computed, missing = _lines(source, data, network, context)
    except (OSError, ValueError) as error:
        st.error(sentence(error), icon=":material/error:")
        return
    if computed or missing:
        lines = computed + missing
        names = [name for name in (computed or missing)[0] if any(line.get(name) for line in lines)]
        cells = {name: [line.get(name, "") for line in lines] for name in names}
        at_table.dataframe(cells, hide_index=True, width="stretch")
        paper = (
            " Published: Long, Zhang and Darrell (2014), Table 2, with the Caffe reference model and fc7 neighbours."
            if PUBLISHED in names
            else ""
        )
        at_table.caption(f"*Large*: the box's shorter side at least 60 px and five keypoints visible.{paper}")
    if result is not None and people.may_measure():
        st.button(
            f"Forget the results for {category}",
            key="forget",
            on_click=_forget,
            args=(experiment, context),
            help="To compute them anew.",
        )


def _forget(experiment: Transfer, context: Context) -> None:
    people.require(Role.MEMBER)
    caches.store().forget(experiment.resolved(context), context)


def _lines(
    source: str, data: KeypointDataset, network: Extractor, context: Context
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Rows of the categories that were measured, and published rows of the others."""
    computed: list[dict[str, str]] = []
    missing: list[dict[str, str]] = []
    for category in data.categories:
        usual = Transfer(source, category, network=network.name).resolved(context)
        found = _stored(usual, data, context)
        if found is not None:
            computed += _measured(found.summary, data, category, network)
            continue
        missing += [
            {"category": category, "objects": "not computed", "row": row.title, PUBLISHED: number}
            for row in (Row.parse(key, network=network.name) for key in published.TRANSFER_ROWS)
            if (number := published.text("transfer", row.key, category, dataset=data.name, network=network.name))
        ]
    return computed, missing


def _stored(usual: Transfer, data: KeypointDataset, context: Context) -> Result | None:
    """What is kept of an experiment, be it unfinished; else of one limited to the most objects."""
    if (found := caches.store().load(usual, context)) is not None and found.records:
        return found
    there = [
        replace(each.experiment, dataset=usual.dataset).resolved(context)
        for each in caches.stored().results.values()
        if isinstance(each.experiment, Transfer)
        and each.provenance.get("data_digest") == data.digest
        and (each.experiment.category, each.experiment.network) == (usual.category, usual.network)
    ]
    limited = [each for each in there if each.limit is not None and replace(each, limit=None) == usual]
    for each in sorted(limited, key=lambda one: -(one.limit or 0)):
        if (found := caches.store().load(each, context)) is not None and found.records:
            return found
    return None


def _measured(table: KeypointTable, data: KeypointDataset, category: str, network: Extractor) -> list[dict[str, str]]:
    """A category's rows, of all that was measured and of the large objects among it."""
    lines = []
    n, n_val = len(table.objects), _n_val(data, category)
    of_all = f"{n}" if n == n_val else f"{n} of {n_val}"
    for which in ("all", "large"):
        some = table.part(which)
        if not some.any():
            continue
        large = f"{int(some.sum())} large" + ("" if n == n_val else f" ({of_all})")
        for row in table.rows:
            line = {"category": category, "objects": of_all if which == "all" else large, "row": row.title}
            for alpha in ALPHAS:
                found = table.accuracy(row, alpha=alpha, some=some)
                line[f"α = {alpha}"] = f"{found.value:.1f} {exports.interval_text(found)}"
            number = published.text("transfer", row.key, category, dataset=data.name, network=network.name)
            lines.append(line | {PUBLISHED: number if which == "all" else ""})
    return lines


def _n_val(data: KeypointDataset, category: str) -> int:
    return len(data.visible_instances(category, "val")) if (category, "val") in data.splits else 0
