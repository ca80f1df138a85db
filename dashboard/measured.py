"""How tables were measured, in words rather than in the names of settings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from corrcore import experiments
from corrcore.experiments import Table
from dashboard import choices

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
CHOSEN_BY = ("costs", "etas", "sigmas_px", "validated")  # which say nothing where nothing was chosen


def titles(some: Sequence[Table]) -> list[str]:
    """How each of the tables of one experiment was measured, so that those that were measured otherwise are told apart."""
    flat = [flattened(table.how) for table in some]
    differing = [
        name
        for name in dict.fromkeys(name for how in flat for name in how)
        if len({json.dumps(how.get(name, USUAL.get(name))) for how in flat}) > 1
    ]
    return [_title(table, how, differing) for table, how in zip(some, flat, strict=True)]


def _title(table: Table, how: Mapping[str, Any], differing: Sequence[str]) -> str:
    if table.experiment == "classification":
        name = protocol_of(table)
        seen = "otherwise" if name is None else choices.PROTOCOLS[name]
        return ", ".join([seen, *(f"folds {how.get('folds', 'not said')}" for _ in [0] if "folds" in differing)])
    known: list[str] = []
    if table.experiment == "transfer":
        unusual = [f"{name} {how[name]}" for name, usual in USUAL.items() if how.get(name, usual) != usual]
        known = [f"kept in place: {', '.join(unusual)}" if unusual else "as in the paper"]
    elif "folds" in how:
        known = ["weights chosen by cross validation" if how["folds"] else "nothing chosen, weights as set"]
        if how.get("fine"):
            known.append("also the best pixel around the best cell")
    silent = (*USUAL, "fine", *(() if how.get("folds", 1) else CHOSEN_BY))
    others = [name for name in differing if name not in silent and (name != "folds" or how.get("folds"))]
    return ", ".join(
        [*known, *(f"{WORDS.get(name, name.replace('_', ' '))} {_words(how.get(name))}" for name in others)]
    )


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
