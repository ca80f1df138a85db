"""The experiments there are, by kind: an open registry that the command line and the Results page go by."""

from typing import Any, TypeVar

from corrcore.experiments.base import Experiment

Kind = TypeVar("Kind", bound=type[Experiment[Any, Any, Any, Any]])

_KINDS: dict[str, type[Experiment[Any, Any, Any, Any]]] = {}


def register(kind: Kind) -> Kind:
    """Adds an experiment; a decorator. Raises ValueError for a kind that is taken."""
    if kind.kind in _KINDS:
        msg = f"an experiment's kind must be new; {kind.kind!r} is registered already."
        raise ValueError(msg)
    _KINDS[kind.kind] = kind
    return kind


def unregister(kind: str) -> None:
    """Removes an experiment that was registered."""
    del _KINDS[kind]


def kinds() -> tuple[type[Experiment[Any, Any, Any, Any]], ...]:
    """Those that stand for themselves, in the order they were registered."""
    return tuple(kind for kind in _KINDS.values() if kind.listed)


def find(kind: str) -> type[Experiment[Any, Any, Any, Any]] | None:
    """The experiment of a kind; None where there is none."""
    return _KINDS.get(kind)
