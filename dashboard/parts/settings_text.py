"""How tables were measured, in words rather than in the names of settings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from corrcore import experiments
from corrcore.experiments import Table
from dashboard.parts import pickers

USUAL = {"position": 0.0, "order": "deformation"}  # of Table 2: the paper's
WORDS = {
    "position": "position",
    "order": "order",
    "neighbours_by": "neighbours by",
    "iterations": "iterations",
    "costs": "costs tried",
    "etas": "η tried",
    "sigmas_px": "σ tried, px",
    "scheme": "features",
    "folds": "folds",
    "side_px": "box, px",
}
CHOSEN_BY = ("etas", "sigmas_px")  # which say nothing where nothing was chosen


def titles(some: Sequence[Table]) -> list[str]:
    """How each of the tables of one experiment was measured, so that those that were measured otherwise are told apart."""
    flat = [flattened(table.how) for table in some]
    known = [_known(table, how) for table, how in zip(some, flat, strict=True)]
    return [", ".join([title, *_differing(how, title, flat, known)]) for how, title in zip(flat, known, strict=True)]


def _known(table: Table, how: Mapping[str, Any]) -> str:
    """What is usual, in words."""
    if table.experiment == "classification":
        name = protocol_of(table)
        return "otherwise" if name is None else pickers.PROTOCOLS[name]
    if table.experiment == "transfer":
        unusual = [f"{name} {how[name]}" for name, usual in USUAL.items() if how.get(name, usual) != usual]
        return f"kept in place: {', '.join(unusual)}" if unusual else "as in the paper"
    chosen = "weights chosen by cross validation" if how.get("folds") else "nothing chosen, weights as set"
    return f"{chosen}, also the best pixel around the best cell" if how.get("fine") else chosen


def _differing(
    how: Mapping[str, Any], title: str, flat: Sequence[Mapping[str, Any]], known: Sequence[str]
) -> list[str]:
    """The settings in which tables of one title differ, and what they are here."""
    alike = [other for other, own in zip(flat, known, strict=True) if own == title]
    names = dict.fromkeys(name for other in alike for name in other)
    silent = () if how.get("folds", 1) else CHOSEN_BY
    return [
        f"{WORDS.get(name, name.replace('_', ' '))} {_words(how.get(name))}"
        for name in names
        if name not in silent and len({json.dumps(other.get(name, USUAL.get(name))) for other in alike}) > 1
    ]


def _words(value: object) -> str:
    if value is None:
        return "not said"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def flattened(how: Mapping[str, Any]) -> dict[str, Any]:
    """One level of names; of several schemes only what they are of."""
    flat: dict[str, Any] = {}
    for name, value in how.items():
        if isinstance(value, dict):
            flat |= {f"{name} {inner}": own for inner, own in value.items()}
        elif isinstance(value, list) and value and all(isinstance(each, dict) and "feature" in each for each in value):
            flat[name] = ", ".join(str(each["feature"]) for each in value)
        else:
            flat[name] = value
    return flat


def protocol_of(table: Table) -> str | None:
    """The name of how objects were seen, where it has one."""
    seen = table.settings.get("protocol")
    return next((name for name, known in experiments.PROTOCOLS.items() if asdict(known) == seen), None)
