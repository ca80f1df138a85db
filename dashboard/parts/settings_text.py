"""How experiments were measured, in words rather than in the names of their fields."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from corrcore.experiments import Experiment, to_jsonable
from dashboard.parts import pickers

WORDS = {
    "position": "position",
    "order": "order",
    "iterations": "iterations",
    "costs": "costs tried",
    "folds": "folds",
    "refined": "also the best pixel around the best cell",
}
AS_USUAL = "as usual"
_WHAT = ("dataset", "category", "categories", "network", "features", "limit", "keypoints", "index", "photos")


def settings_of(experiment: Experiment) -> Mapping[str, Any]:
    """The fields that say how it is measured, not on what: experiments that agree in them make one table."""
    return {
        each.name: to_jsonable(getattr(experiment, each.name)) for each in fields(experiment) if each.name not in _WHAT
    }


def titles(experiments: Sequence[Experiment], *, besides: Collection[str] = ()) -> list[str]:
    """How each of several experiments of one kind was measured, so that they are told apart.

    What is unusual is said of each whatever the others are, so that links keep their meaning when there are
    more results. The fields `besides` are left out, for they are said elsewhere.
    """
    plain = [
        {name: value for name, value in settings_of(experiment).items() if name not in besides}
        for experiment in experiments
    ]
    defaults = {each.name: to_jsonable(each.default) for each in fields(experiments[0])} if experiments else {}
    usual = [_title(how, _unusual(how, defaults)) for how in plain]
    alike = {title: [how for how, own in zip(plain, usual, strict=True) if own == title] for title in usual}
    return [
        _title(how, [*_unusual(how, defaults), *_varied(alike[title])]) for how, title in zip(plain, usual, strict=True)
    ]


def _unusual(how: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    return [name for name, value in how.items() if value != defaults.get(name) and name not in ("protocol", "costs")]


def _varied(alike: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields in which experiments of one title differ."""
    return [name for name in alike[0] if len({str(each[name]) for each in alike}) > 1]


def _title(how: Mapping[str, Any], named: Sequence[str]) -> str:
    """How objects are seen, and the fields `named`, in words."""
    parts = []
    if "protocol" in how:
        parts.append(pickers.PROTOCOLS.get(how["protocol"], str(how["protocol"])))
    for name in dict.fromkeys(named):
        value, words = how[name], WORDS.get(name, name.replace("_", " "))
        if value is False:
            continue
        text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.append(words if value is True else f"{words} {text}")
    return ", ".join(parts) or AS_USUAL
