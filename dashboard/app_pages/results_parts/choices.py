"""Results sorted into tables: by network, by how they were measured, one per category."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import streamlit as st

from corrcore import networks
from corrcore.experiments import ALPHAS, Classification, Result
from corrcore.metrics import Average
from dashboard.app_pages.results_parts import kinds
from dashboard.app_pages.results_parts.view import Entry, network_of, weights_of
from dashboard.parts import header, pickers, settings_text, url_state

T = TypeVar("T")
ALPHA_TITLES = {f"α = {alpha}": alpha for alpha in ALPHAS}


def choose(label: str, groups: Mapping[str, T], key: str, place: Any) -> tuple[str, T]:
    """One of several groups, with its title."""
    url_state.check_link(key, list(groups))
    url_state.forget_unoffered(key, groups)
    title = place.selectbox(label, list(groups), key=key, bind="query-params") or next(iter(groups))
    return title, groups[title]


def grouped(entries: Sequence[Entry], title: Callable[[Entry], str]) -> dict[str, list[Entry]]:
    """Entries by a title, in their order."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(title(entry), []).append(entry)
    return groups


def by_network(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """By the name in print, and where weights of one name differ, by these."""
    titles = network_titles([entry.result for entry in entries])
    title_of = {entry.path: title for entry, title in zip(entries, titles, strict=True)}
    return grouped(entries, lambda entry: title_of[entry.path])


def network_titles(results: Sequence[Result]) -> list[str]:
    """The names in print of the networks that results are of, and where weights of one name differ, these."""
    of = [(network_of(result), weights_of(result)) for result in results]
    names = [name for name, _ in set(of)]
    return [networks.title(name) + f", weights {weights[:8]}" * (names.count(name) > 1) for name, weights in of]


def choose_network(groups: Mapping[str, list[Entry]], place: Any) -> tuple[str, list[Entry]]:
    """One of several networks, which a link may name by any of its names."""

    def title(text: str) -> str:
        name, comma, weights = text.partition(", weights ")
        return networks.title(pickers.network_named(name) or name) + comma + weights

    url_state.spell_out("network", {value: title(value) for value in st.query_params.get_all("network")})
    return choose("Network", groups, "network", place)


def by_how(entries: Sequence[Entry], *, features_apart: bool = True) -> dict[str, list[Entry]]:
    """By how they were measured, in words; what is usual comes first.

    Where a category was measured with several lists of features, these are told apart, too, if asked for.
    """
    titles = settings_text.titles([entry.result.experiment for entry in entries])
    title_of = {entry.path: title for entry, title in zip(entries, titles, strict=True)}
    groups = grouped(entries, lambda entry: title_of[entry.path])
    found: dict[str, list[Entry]] = {}
    for title, members in groups.items():
        if features_apart and _measures_twice(members):
            found |= grouped(members, lambda entry, title=title: f"{title}, {_features(entry.result)}")
        else:
            found[title] = members
    order = list(pickers.PROTOCOLS.values())
    return {
        name: found[name]
        for name in sorted(found, key=lambda name: (order.index(name) if name in order else len(order), len(name)))
    }


def how_key(kind: kinds.Kind) -> str:
    """What links call how an experiment's results were measured."""
    return "seen" if kind is Classification else "how"


def choose_how(kind: kinds.Kind, groups: Mapping[str, T], place: Any) -> tuple[str, T]:
    """How results were measured; no choice is shown where there is one way, but for classification."""
    if len(groups) == 1 and kind is not Classification:
        return next(iter(groups.items()))
    label = "Crop and scale" if kind is Classification else "Measured with"
    return choose(label, groups, how_key(kind), place)


def choose_measure(entry: Entry) -> tuple[float | None, Average | None]:
    """Alpha, and what PCK is averaged over; None where keypoints have no places."""
    if not entry.measures_places:
        return None, None
    at_alpha, at_over = st.columns([2, 3], gap="small", width=620)
    with at_alpha:
        alpha = ALPHA_TITLES[header.section_picker("Alpha", tuple(ALPHA_TITLES), key="alpha")]
    with at_over:
        over = entry.averages[header.section_picker("Average", tuple(entry.averages), key="average")]
    return alpha, over


def _features(result: Result) -> str:
    features = getattr(result.experiment, "features", ())
    return " and ".join(getattr(each, "key", str(each)).rpartition(":")[2] for each in features)


def _measures_twice(entries: Sequence[Entry]) -> bool:
    """Whether some category was measured with several lists of features."""
    lists = {(entry.table.category, _features(entry.result)) for entry in entries}
    categories = [category for category, _ in lists]
    return len(set(categories)) < len(categories)


def of_most_objects(entries: Sequence[Entry]) -> tuple[dict[str, Entry], list[Entry]]:
    """One per category, and those that gave way: a quick look at some objects does to a look at more."""
    largest: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: -len(entry.table.objects)):
        largest.setdefault(entry.table.category, entry)
    kept = {entry.path for entry in largest.values()}
    return dict(sorted(largest.items())), [entry for entry in entries if entry.path not in kept]
