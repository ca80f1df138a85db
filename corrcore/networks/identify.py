"""Which known network a file's weights are of."""

import re
from collections.abc import Iterator

from corrcore.networks import registry
from corrcore.networks.fitting import fitted
from corrcore.networks.weights import Weights

_MOST = 0.9  # of the weights, which a network has that they are of
_MOST_RELATIVES = 16  # networks of a library with names alike: of resnet50, resnet18 to resnet152


def like(weights: Weights, name: str) -> str | None:
    """The network that most of the weights fit: one that is registered or has a short name, or a relative of `name`."""
    best, most = None, 0
    for other in _tried(name):
        try:
            spec = registry.spec(other)
            if not hasattr(spec, "build"):
                continue
            found, _ = fitted(weights, other, spec.build, layers=getattr(spec, "layers", None))  # type: ignore[attr-defined]
        except (ValueError, ImportError, RuntimeError):  # a library that is not here, or has another version
            continue
        if found.ok and len(found.weights) > max(most, _MOST * len(found.given)):
            best, most = other, len(found.weights)
    return best


def _tried(name: str) -> Iterator[str]:
    full = registry.full_name(name)
    yield from (each for each in registry.names() if each != full)
    yield from (each for each in registry.aliases().values() if each != full)
    family, _, inner = full.rpartition(":")
    for own in [family] if family else registry.families():
        relatives = [each for each in registry.family_names(own) if _letters(each) == _letters(inner) and each != full]
        yield from relatives if len(relatives) <= _MOST_RELATIVES else ()


def _letters(name: str) -> str:
    return re.split(r"[^a-z]", name.rpartition(":")[2])[0]
