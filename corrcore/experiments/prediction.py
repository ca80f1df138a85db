"""Table 4: where in its box does an object have each keypoint?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from corrcore import extractors
from corrcore.datasets.records import Instance
from corrcore.engines import svm
from corrcore.experiments.base import ObjectExperiment, Result
from corrcore.experiments.context import Context
from corrcore.experiments.detectors import DetectorTraining, Trained, usual_features
from corrcore.experiments.options import option
from corrcore.experiments.registry import register
from corrcore.experiments.tables import (
    KeypointRecord,
    KeypointTable,
    PckTables,
    Row,
    table_of_places,
)
from corrcore.features import Extractor, Feature, Image
from corrcore.networks import every_pixel
from corrcore.tasks import detection
from corrcore.tasks.detection import PRIORS, Detectors, ObjectPrediction

LEAST_TRAINED = 24  # train objects that detectors of a limited experiment learn from, at least


@dataclass(frozen=True, eq=False)
class _State:
    network: Extractor
    trained: Trained


@register
@dataclass(frozen=True)
class Prediction(PckTables, ObjectExperiment[Instance, _State, KeypointRecord, KeypointTable]):
    """Where each feature's detectors see the keypoints of a category's val objects, whose boxes are given: Table 4.

    Rows are by feature: detectors alone, with the prior of the object most alike, and of the five most alike;
    with `refined` also these two at the best pixel around the best cell, some seconds per object. "prior" has
    the place in the object most alike as it is, "5 priors" the median of five. PCK is taken in the boxes
    stretched to squares, as the paper has it. With `limit`, so many val objects are measured, and detectors
    learn from so many, at least 24, train objects.
    """

    costs: tuple[float, ...] = option((), "of the detectors, tried in cross validation")
    refined: bool = option(False, "also the best pixel around the best cell: slow")

    kind: ClassVar[str] = "prediction"
    title: ClassVar[str] = "Keypoint prediction (Table 4)"
    number: ClassVar[str] = "4"
    versions: ClassVar[tuple[int, ...]] = (detection.VERSION, svm.VERSION, every_pixel.VERSION)

    @classmethod
    def usual_features(cls, network: Extractor) -> tuple[Feature, ...]:
        """SIFT with bins of 8 px, and the network's layer for detection."""
        return usual_features(network)

    def resolved(self, context: Context) -> Self:
        """With the usual costs, too."""
        found = super().resolved(context)
        return replace(found, costs=found.training.resolved(context).costs)

    @property
    def training(self) -> DetectorTraining:
        """The training of its detectors."""
        limit = None if self.limit is None else max(self.limit, LEAST_TRAINED)
        return DetectorTraining(self.dataset, self.category, self.network, self.features, self.costs, limit)

    def _of_split(self, context: Context, split: str) -> list[Instance]:
        if split == "train":
            return self.training.instances(context)
        return self.instances(context, split)

    def samples(self, context: Context) -> Mapping[str, Instance]:
        """The val objects."""
        return {one.name: one for one in self.instances(context, "val")}

    def prepare(self, context: Context) -> _State:
        """Trains the detectors, or reads those that are kept."""
        trained = self.training.train(context, progress=context.progress)
        return _State(context.network(self.network), trained)

    def notes(self, state: _State) -> Mapping[str, Any]:
        """How detectors were chosen, by feature."""
        return {"training": {feature.key: dict(each.about) for feature, each in state.trained[0].items()}}

    def note_lines(self, notes: Mapping[str, Any]) -> Sequence[str]:
        """How detectors of each feature were chosen."""
        return [
            f"{feature}: cost {about['cost']:g}, trained in {about['seconds']:.0f} s; "
            + "; ".join(
                f"prior of {n}: eta {each['eta']:g}, sigma {each['sigma_px']:g} px"
                for n, each in about["fusions"].items()
            )
            for feature, about in notes.get("training", {}).items()
        ]

    def measure(self, sample: Instance, state: _State) -> KeypointRecord:
        """Where every row has the object's keypoints."""
        trained, prior = state.trained
        photo = sample.photo.load()
        found = detection.predict_object(
            photo, sample.box, trained, prior, network=state.network, own_photo=sample.photo.name
        )
        predicted = {Row(None, 1): found.prior_keypoints(1), Row(None, PRIORS): found.prior_keypoints(PRIORS)}
        for feature, each in trained.items():
            predicted[Row(feature)] = found.keypoints(feature)
            for n, fusion in each.fusions.items():
                predicted[Row(feature, n)] = found.keypoints(feature, fusion)
            if self.refined and not extractors.extractor_of(feature, state.network).anywhere:
                predicted |= _refined(found, feature, each, sample.visible, state.network)
        return KeypointRecord(
            sample.box,
            sample.keypoints,
            tuple(prior.objects[n] if n >= 0 else None for n in found.neighbours[0]),
            {row.key: np.round(points, 2) for row, points in predicted.items()},
        )

    def read_record(self, plain: Mapping[str, Any]) -> KeypointRecord:
        """See `Experiment.read_record`."""
        return KeypointRecord.read(plain)

    def summarise(self, result: Result[KeypointRecord, KeypointTable]) -> KeypointTable:
        """The category's column of Table 4."""
        return table_of_places(result, stretched=True)


def _refined(
    found: ObjectPrediction,
    feature: Feature,
    each: detection.TrainedDetectors,
    visible: np.ndarray,
    network: Extractor,
) -> dict[Row, Float[np.ndarray, "keypoints 2"]]:
    """The best pixels around the best cells of what the object shows."""
    coarse = {
        Row(feature, n, refined=True): np.where(visible[:, None], found.stretched_keypoints(feature, fusion), np.nan)
        for n, fusion in each.fusions.items()
    }
    fine = _refine_once(each.detectors, found.image, coarse, network)
    return {row: found.transform.to_image(points) for row, points in fine.items()}


def _refine_once(
    detectors: Detectors, image: Image, coarse: Mapping[Row, np.ndarray], network: Extractor
) -> dict[Row, np.ndarray]:
    """`Detectors.refine_to_pixels` of several rows' points; once where rows agree, as they often do."""
    known: dict[tuple[int, bytes], np.ndarray] = {}
    for points in coarse.values():
        for keypoint, point in enumerate(points):
            if (keypoint, point.tobytes()) not in known:
                alone = np.full_like(points, np.nan)
                alone[keypoint] = point
                refined = detectors.refine_to_pixels(image, alone, network=network)[keypoint]
                known[keypoint, point.tobytes()] = refined
    return {
        row: np.stack([known[keypoint, point.tobytes()] for keypoint, point in enumerate(points)])
        for row, points in coarse.items()
    }
