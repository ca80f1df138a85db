"""One of the two photos, with what is known of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from corrcore import images
from corrcore.crops import BoxXYXY, CropTransform
from corrcore.datasets.points import NamedPoints
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.datasets.records import Photo as AnyPhoto
from dashboard.parts import photo_picker

Side = Literal["first", "second"]
SIDES: tuple[Side, Side] = ("first", "second")


@dataclass(frozen=True, eq=False)
class Annotated:
    """An object that somebody annotated: the keypoints that it shows, its box, and `beside` it
    other photos of its category.
    """

    keypoints: NamedPoints
    box: BoxXYXY
    beside: Sequence[AnyPhoto]

    @classmethod
    def of(cls, instance: Instance, data: KeypointDataset) -> "Annotated":
        """An object of a data set."""
        there = [one for (category, _), split in data.splits.items() if category == instance.category for one in split]
        beside = {one.photo.name: one.photo for one in there if one.photo.name != instance.photo.name}
        names = data.keypoint_names[instance.category]
        visible = [name for name, shown in zip(names, instance.visible, strict=True) if shown]
        keypoints = NamedPoints(tuple(visible), instance.keypoints[instance.visible])
        return cls(keypoints, instance.box, tuple(beside.values()))


@dataclass(frozen=True, eq=False)
class Photo:
    """One of the two: `reference` names it in links, `python` is how it is loaded, and `start` is a pixel worth looking
    at first; `annotate` tells what is known of it. Points are in its own pixels; it is shown at working size.
    """

    image: np.ndarray
    title: str
    reference: str
    python: str
    start: tuple[int, int] | None = None
    annotate: Callable[[], Annotated | None] | None = None

    @cached_property
    def annotated(self) -> Annotated | None:
        """What somebody annotated in it."""
        return None if self.annotate is None else self.annotate()

    @cached_property
    def shown(self) -> np.ndarray:
        """The photo as it is shown."""
        return photo_picker.working_size(self.image)

    @cached_property
    def digest(self) -> str:
        """Names its pixels."""
        kind, _, name = self.reference.partition(":")
        return name if kind == "upload" else images.digest(self.image)

    @property
    def edges(self) -> BoxXYXY:
        """Its outer edges, in its own pixels."""
        height, width = self.image.shape[:2]
        return -0.5, -0.5, width - 0.5, height - 0.5

    @property
    def transform(self) -> CropTransform:
        """Between the photo and the picture that is shown of it."""
        return CropTransform(self.edges, (self.shown.shape[1], self.shown.shape[0]))
