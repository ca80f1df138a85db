"""Where pictures and their records come from: one module a source."""

import os
from pathlib import Path

from corrcore.datasets import toy, voc
from corrcore.datasets.records import KeypointDataset

TOY = "toy"


def open_dataset(source: str | os.PathLike) -> KeypointDataset:
    """Annotated objects: those drawn by `toy`, or of a folder in PASCAL VOC's layout (see `voc.load`)."""
    return toy.load() if source == TOY else voc.load(Path(source))
