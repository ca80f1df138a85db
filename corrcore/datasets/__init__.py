"""Where pictures and their records come from: one module a source, each registered here."""

from corrcore.datasets import spair, toy, voc
from corrcore.datasets.records import DatasetNotFoundError, KeypointDataset
from corrcore.datasets.registry import (
    Available,
    DatasetSpec,
    ReaderSpec,
    available,
    names,
    open_dataset,
    readers,
    register,
    unregister,
)

TOY = "toy"

__all__ = [
    "TOY",
    "Available",
    "DatasetNotFoundError",
    "DatasetSpec",
    "KeypointDataset",
    "ReaderSpec",
    "available",
    "names",
    "open_dataset",
    "readers",
    "register",
    "unregister",
]


def _toy() -> KeypointDataset:
    return toy.load()


register(DatasetSpec(TOY, toy.TITLE, True, _toy))
register(voc.READER)
register(spair.READER)
