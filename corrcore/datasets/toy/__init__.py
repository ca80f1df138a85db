"""Drawn animals."""

from corrcore.datasets.toy.drawing import (
    CATEGORIES,
    Drawing,
    Species,
    Vector,
    correspondence,
    load,
)

__all__ = [
    "CATEGORIES",
    "Drawing",
    "Species",
    "Vector",
    "correspondence",
    "load",
]
