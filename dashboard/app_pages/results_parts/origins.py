"""The pages that show what a table's numbers come from, and in what they show it otherwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from corrcore.experiments import ALPHAS, UNALIGNED, Classification, ObjectExperiment, Prediction, Row, Transfer
from corrcore.features import Extractor, Feature
from dashboard import links
from dashboard.app_pages.results_parts import kinds
from dashboard.app_pages.results_parts.view import View
from dashboard.parts import pickers, settings_text
from dashboard.services import caches


@dataclass(frozen=True)
class _Asked:
    """A row and category to look at on another page, or one object of it."""

    view: View
    row: Row
    category: str
    instance: str

    @property
    def of(self) -> dict[str, str]:
        return {
            "data": pickers.dataset_title(self.view.source.name),
            "category": self.category,
            "network": self.view.network,
        }

    @property
    def section(self) -> str:
        return "" if self.instance else kinds.SECTIONS[self.view.kind.kind]

    @property
    def offered(self) -> str:
        """The row's feature as the page's controls have it; empty where it is not among them."""
        feature = self.row.feature
        return feature.title if feature is not None and feature in _offered(self.view) else ""


_IN_LINK = frozenset({"protocol", "smoothness", "iterations", "limit", "features"})


def page_of(kind: kinds.Kind) -> str:
    """The title of the page that shows an experiment's objects; empty where none does."""
    return {Transfer: "Alignment", Classification: "Classification", Prediction: "Prediction"}.get(kind, "")


def page_url(view: View, row: Row, category: str, instance: str = "") -> str:
    """Where a number came from, or an object of it; empty where no page shows it."""
    make = _ROUTES.get(view.kind)
    if make is None or view.source.data is None or _network(view) is None:
        return ""
    route = make(_Asked(view, row, category, instance))
    return "" if route is None else route.url


def _to_alignment(asked: _Asked) -> links.Route:
    of = asked.of
    if asked.row == UNALIGNED:
        return links.Alignment(**of, object=asked.instance, alignment_section=asked.section)
    smoothness = _smoothness(asked.view, asked.row, asked.category)
    return links.Alignment(
        **of,
        object=asked.instance,
        upper=asked.offered,
        smoothness=str(smoothness) if smoothness in pickers.SMOOTHNESSES else "",
        iterations=str(getattr(asked.view.entries[asked.category].result.experiment, "iterations", "")),
        alignment_section=asked.section,
    )


def _to_classification(asked: _Asked) -> links.Route | None:
    protocol = getattr(asked.view.entries[asked.category].result.experiment, "protocol", "")
    if not asked.instance:
        seen = pickers.PROTOCOLS.get(protocol, "")
        return links.Classification(**asked.of, seen=seen, feature=asked.offered, classification_section=asked.section)
    scale, feature, network = _scale_of(protocol), asked.row.feature, _network(asked.view)
    if feature is None or not scale or network is None or feature not in pickers.mapped_features(network):
        return None
    return links.Responses(**asked.of, object=asked.instance, features=(feature.title,), scale=scale)


def _scale_of(protocol: str) -> str:
    """How the Responses page calls the scale of a protocol; empty where it has none such."""
    return next((title for title, name in pickers.SEEN.items() if name == protocol), "")


def _to_prediction(asked: _Asked) -> links.Route:
    prior = pickers.PRIOR_TITLES.get(asked.row.priors, "") if asked.row.feature is not None else ""
    return links.Prediction(**asked.of, object=asked.instance, prior=prior, prediction_section=asked.section)


_ROUTES: Mapping[type, Callable[[_Asked], links.Route | None]] = {
    Transfer: _to_alignment,
    Classification: _to_classification,
    Prediction: _to_prediction,
}


def _network(view: View) -> Extractor | None:
    """The view's network, where its weights are here."""
    try:
        return caches.network(view.network)
    except (OSError, ValueError):
        return None


def _offered(view: View) -> Sequence[Feature]:
    """The features of the table's page."""
    network = _network(view)
    if network is None or not issubclass(view.kind, ObjectExperiment):
        return ()
    return pickers.aligned_features(network) if view.kind is Transfer else view.kind.usual_features(network)


def _smoothness(view: View, row: Row, category: str) -> float | None:
    known = view.entries[category].result.notes.get("smoothness", {})
    return None if row.feature is None else known.get(row.feature.key)


def differs_on_page(view: View, row: Row, category: str) -> list[str]:
    """In what the page behind a number differs from how the number was measured."""
    said = []
    if row.feature is not None and row.feature not in _offered(view):
        said.append(f"other features than {row.feature.title}")
    if view.alpha not in (None, ALPHAS[0]):
        said.append(f"right within α = {ALPHAS[0]}, not {view.alpha}")
    if view.over == "per_image":
        said.append("averages per keypoint type, not per image")
    if view.kind is Prediction:
        said += _of_another_prior(row)
    if view.kind is Transfer:
        said += _aligned_otherwise(view, row, category)
    said += _unusual(view, category)
    n, of = view.extent(category)
    if n + sum(one.name in view.tables[category].left_out for one in view.source.val(category)) < of:
        said.append(f"all {of} val objects, not {n}")
    return said


def _of_another_prior(row: Row) -> list[str]:
    if row.feature is None:
        return [f"detectors with this prior, not {row.title} alone"]
    return ["the best cell, not the best pixel around it"] if row.refined else []


def _aligned_otherwise(view: View, row: Row, category: str) -> list[str]:
    if row == UNALIGNED:
        return ["neighbours that are aligned"]
    smoothness = _smoothness(view, row, category)
    return [] if smoothness in (None, *pickers.SMOOTHNESSES) else [f"another smoothness than {smoothness:g}"]


def _unusual(view: View, category: str) -> list[str]:
    """The settings in which an experiment is not the page's, but for those that go along in the link."""
    experiment: Any = replace(view.entries[category].result.experiment, dataset=view.source.name)
    usual = experiment.usual(caches.context(view.source.name, view.network))
    said = []
    for each in fields(experiment):
        ours, pages = getattr(experiment, each.name), getattr(usual, each.name)
        if ours != pages and each.name not in _IN_LINK:
            words = settings_text.WORDS.get(each.name, each.name.replace("_", " "))
            said.append(f"{words} {_text(pages)}, not {_text(ours)}")
    return said


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
