"""Training objects, described, for detectors and priors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from corrcore.concurrency import Progress
from corrcore.crops import CropTransform
from corrcore.datasets.records import Instance
from corrcore.features import Extractor, Feature
from corrcore.geometry import CellGrid
from corrcore.tasks.detection.prior import Prior
from corrcore.tasks.detection.spec import ObjectFeatures, crop_box, describe
from corrcore.tasks.every_object import every_object


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Training objects, described: one array per feature.

    An object takes 0.5 MB for conv5, 0.8 for SIFT, and 0.2 for the summary. `keypoints` are in pixels of the stretched
    objects, NaN where not visible. `left_out` are objects whose photo is none, by name, with the reason.
    """

    grids: Mapping[Feature, torch.Tensor]  # objects, rows, columns, channels
    cells: Mapping[Feature, CellGrid]
    summaries: Float32[np.ndarray, "objects channels"]
    keypoints: Float[np.ndarray, "objects keypoints 2"]
    objects: tuple[str, ...]
    photos: tuple[str, ...]
    names: tuple[str, ...]
    left_out: Mapping[str, str]

    @property
    def prior(self) -> Prior:
        """The same objects, to be asked by likeness."""
        return Prior(self.summaries, self.keypoints, self.objects, self.photos)

    def some(self, chosen: Int[np.ndarray, " chosen"]) -> "TrainingSet":
        """The same of some objects, by their numbers."""
        return TrainingSet(
            {name: grids[torch.from_numpy(chosen).to(grids.device)] for name, grids in self.grids.items()},
            self.cells,
            self.summaries[chosen],
            self.keypoints[chosen],
            tuple(self.objects[n] for n in chosen),
            tuple(self.photos[n] for n in chosen),
            self.names,
            self.left_out,
        )


def describe_training_set(
    instances: Sequence[Instance],
    names: Sequence[str],
    features: Sequence[Feature],
    *,
    network: Extractor,
    progress: Progress | None = None,
) -> TrainingSet:
    """Describes objects for training and for priors. `names` are their keypoints'.

    With no feature it is for the prior alone. Raises what `every_object` does.
    """
    kept: list[Instance] = []
    keypoints: list[np.ndarray] = []
    grids: dict[Feature, torch.Tensor] = {}  # one array per feature from the first object on: never twice in memory
    cells: dict[Feature, CellGrid] = {}
    summaries = np.empty((0, 0), np.float32)

    def work(instance: Instance) -> tuple[CropTransform, ObjectFeatures]:
        image, transform = crop_box(instance.photo.load(), instance.box)
        return transform, describe(image, features, network=network)

    def keep(number: int, found: tuple[CropTransform, ObjectFeatures]) -> None:
        nonlocal summaries
        transform, described = found
        if not kept:
            summaries = np.empty((len(instances), len(described.summary)), np.float32)
            for name, grid in described.grids.items():
                grids[name] = grid.descriptors.new_empty(len(instances), *grid.descriptors.shape)
                cells[name] = grid.cells
        for name, grid in described.grids.items():
            grids[name][len(kept)] = grid.descriptors
        summaries[len(kept)] = described.summary
        keypoints.append(transform.to_crop(instances[number].keypoints))
        kept.append(instances[number])

    left_out = every_object(instances, work, keep, noun="train object", progress=progress)
    return TrainingSet(
        {name: grid[: len(kept)] for name, grid in grids.items()},
        cells,
        summaries[: len(kept)],
        np.stack(keypoints),
        tuple(instance.name for instance in kept),
        tuple(instance.photo.name for instance in kept),
        tuple(names),
        {instances[number].name: reason for number, reason in left_out.items()},
    )
