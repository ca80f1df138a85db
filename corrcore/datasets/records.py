"""What every annotated data set gives: objects of a category, each a box in a photo, with named keypoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from corrcore.crops import BoxXYXY


class DatasetNotFoundError(FileNotFoundError):
    """There are no data where they should be. The text says where we looked and what is expected there."""


@runtime_checkable
class Photo(Protocol):
    """A picture that is decoded or drawn when it is needed; `stamp` changes with its content."""

    @property
    def name(self) -> str:
        """Unique in its data set or folder, and fit to show."""
        ...

    @property
    def stamp(self) -> object:
        """Another one for other content."""
        ...

    def load(self) -> UInt8[np.ndarray, "height width 3"]:
        """The upright picture."""
        ...


@dataclass(frozen=True, eq=False)
class Instance:
    """One object in a photo.

    `name` is unique in its data set. `box` holds the outer edges (left, top, right, bottom) of its pixels: the box of
    pixel 0 alone is (-0.5, -0.5, 0.5, 0.5). `keypoints` are (x, y) in the photo's pixels, NaN where a keypoint is not
    visible, in the order of the data set's `keypoint_names` of the category.
    """

    name: str
    category: str
    photo: Photo
    box: BoxXYXY
    keypoints: Float[np.ndarray, "keypoints 2"]

    @property
    def visible(self) -> Bool[np.ndarray, " keypoints"]:
        """Which keypoints are visible."""
        return np.asarray(np.isfinite(self.keypoints).all(axis=1))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the box, in pixels."""
        left, top, right, bottom = self.box
        return right - left, bottom - top


@dataclass(frozen=True, eq=False)
class InstancePair:
    """Two objects of one category in different photos; keypoints of the source are looked for in the target."""

    name: str
    source: Instance
    target: Instance

    @property
    def shared(self) -> Bool[np.ndarray, " keypoints"]:
        """Which keypoints both objects show."""
        return self.source.visible & self.target.visible


@dataclass(frozen=True, eq=False)
class KeypointDataset:
    """Instances by category and split. `digest` changes with any annotation.

    `synthetic` pictures are drawn, and wherever they are shown they are labelled so. `left_out` names annotations that
    cannot be used, with the reason in words. `listed_pairs` are those of a benchmark that says which to measure.
    """

    name: str
    title: str
    digest: str
    synthetic: bool
    keypoint_names: Mapping[str, Sequence[str]]
    splits: Mapping[tuple[str, str], Sequence[Instance]]  # by category and "train", "val" or "test"
    left_out: Mapping[str, str]
    listed_pairs: Mapping[tuple[str, str], Sequence[InstancePair]] = field(default_factory=dict)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories that have objects, in their order."""
        return tuple(self.keypoint_names)

    def instances(self, category: str, split: str) -> Sequence[Instance]:
        """Raises ValueError for a category or split that is not there."""
        if category not in self.keypoint_names:
            msg = f"category of {self.name} must be one of {', '.join(self.categories)}; got {category!r}."
            raise ValueError(msg)
        if (category, split) not in self.splits:
            there = ", ".join(split for own, split in self.splits if own == category)
            msg = f"split of {category} in {self.name} must be one of {there}; got {split!r}."
            raise ValueError(msg)
        return self.splits[category, split]

    def visible_instances(self, category: str, split: str) -> list[Instance]:
        """The instances with at least one visible keypoint. Raises as `instances` does."""
        return [instance for instance in self.instances(category, split) if instance.visible.any()]

    def pairs(self, category: str, split: str) -> Sequence[InstancePair]:
        """The listed pairs of a category and split; where none are listed, all there are.

        Those are every ordered pair of two objects in different photos that show a common keypoint, in the objects'
        order, as SPair-71k (Min et al. 2019) makes its list. Raises as `instances` does.
        """
        instances = self.instances(category, split)
        if self.listed_pairs:
            return self.listed_pairs.get((category, split), ())
        every = (
            InstancePair(f"{source.name} to {target.name}", source, target)
            for source in instances
            for target in instances
            if source.photo.name != target.photo.name
        )
        return [pair for pair in every if pair.shared.any()]
