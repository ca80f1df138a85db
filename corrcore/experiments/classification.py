"""Table 3: which keypoint is it, told by the descriptor there alone?"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Int

from corrcore import concurrency
from corrcore.datasets.records import Instance
from corrcore.engines import svm
from corrcore.experiments.base import ObjectExperiment, Result
from corrcore.experiments.context import Context
from corrcore.experiments.options import option
from corrcore.experiments.registry import register
from corrcore.experiments.tables import KeypointTable, Row, mean_rows
from corrcore.features import SIFT, Extractor, Feature
from corrcore.metrics import Estimate
from corrcore.networks import every_pixel
from corrcore.tasks import classification
from corrcore.tasks.classification import CropProtocol, Samples

PROTOCOLS: Mapping[str, CropProtocol] = {
    "box": classification.PROTOCOL,
    "photo": CropProtocol(longer_side_px=None),
    "small": CropProtocol(longer_side_px=250),
    "raw": CropProtocol(unit_length=False),
    "three": CropProtocol(cells=3),
    "sideless": CropProtocol(sides=False),
    "exact": CropProtocol(exact=True),
    "exact-photo": CropProtocol(longer_side_px=None, exact=True),
}
RADII = ("10", "20", "40", "80", "160")


@dataclass(frozen=True, eq=False)
class _State:
    network: Extractor
    names: tuple[str, ...]
    train: Samples
    val: Samples
    splits: Mapping[str, Sequence[Instance]]


@dataclass(frozen=True, eq=False)
class ClassificationRecord:
    """What one feature's classifier called every val keypoint, by class number; `curve` is of cross validation."""

    cost: float
    curve: tuple[float, ...]
    left_out: Mapping[str, str]
    objects: tuple[str, ...]
    photos: tuple[str, ...]
    keypoints: Int[np.ndarray, " samples"]
    labels: Int[np.ndarray, " samples"]
    called: Int[np.ndarray, " samples"]


@dataclass(frozen=True, eq=False)
class FeatureAccuracy:
    """How well one feature tells keypoints apart; percentages. `confusion` has the true classes in its rows."""

    accuracy: Estimate
    by_class: Float[np.ndarray, " classes"]
    keypoints: int
    cost: float
    curve: tuple[float, ...]
    confusion: Int[np.ndarray, "classes classes"]

    @property
    def mean_of_classes(self) -> float:
        """The mean over the classes there are."""
        return float(np.nanmean(self.by_class))


@dataclass(frozen=True, eq=False)
class ClassificationSummary:
    """Table 3's column of a category: the table, and more of each feature."""

    table: KeypointTable
    classes: tuple[str, ...]
    features: Mapping[Feature, FeatureAccuracy]


@register
@dataclass(frozen=True)
class Classification(ObjectExperiment[Feature, _State, ClassificationRecord, ClassificationSummary]):
    """How often each feature's classifier names the keypoints of a category's val objects rightly: Table 3, Figure 4.

    For every feature classifiers are trained on the train objects' visible keypoints at the best of `costs`:
    that of highest accuracy in `folds`-fold cross validation on train, whose folds share no photo. Accuracy is
    over keypoints, with its 95 % interval over photos. With `limit`, so many objects of each split. Features
    that were measured before are not measured again, and all that there are stand in the table.
    """

    protocol: str = option(
        "box",
        "how objects are seen: in a box of 500 px or small one of 250, or in the photo as it is; raw descriptors, "
        "three by three cells together, or sideless: left and right not told apart; exact: layers at the keypoint's "
        "own pixel, not the nearest cell",
        choices=tuple(PROTOCOLS),
    )
    costs: tuple[float, ...] = option((), "costs tried (default: seven powers of ten)")
    folds: int = option(5, "of cross validation")

    kind: ClassVar[str] = "classification"
    title: ClassVar[str] = "Keypoint classification (Table 3)"
    number: ClassVar[str] = "3"
    learnt_from: ClassVar[tuple[str, ...]] = ("train", "val")  # a record is of a feature, and of all photos
    versions: ClassVar[tuple[int, ...]] = (classification.VERSION, svm.VERSION, every_pixel.VERSION)
    growing: ClassVar[frozenset[str]] = frozenset({"features"})

    @classmethod
    def usual_features(cls, network: Extractor) -> tuple[Feature, ...]:
        """A layer per depth, and SIFT of five radii."""
        layers = tuple(Feature(network.name, layer) for layer in network.roles.classification)
        return layers + tuple(Feature(SIFT, radius) for radius in RADII)

    @property
    def crop_protocol(self) -> CropProtocol:
        """How objects are seen. Raises ValueError for an unknown protocol."""
        if self.protocol not in PROTOCOLS:
            msg = f"protocol must be one of {', '.join(PROTOCOLS)}; got {self.protocol!r}."
            raise ValueError(msg)
        return PROTOCOLS[self.protocol]

    def resolved(self, context: Context) -> Self:
        """With the costs that are usual for its protocol, too."""
        found = super().resolved(context)
        if found.folds < 2:
            msg = f"folds must be at least 2, so that each is tried on what the others have learnt; got {found.folds}."
            raise ValueError(msg)
        usual = classification.usual_costs(found.crop_protocol)  # which an unknown protocol has none of
        return replace(found, costs=found.costs or usual)

    @property
    def described_by(self) -> tuple[Feature, ...]:
        """With SIFT, whose features may join a network's in the same results later."""
        return *self.feature_list, Feature(SIFT, "20")

    def samples(self, context: Context) -> Mapping[str, Feature]:
        """The features."""
        del context
        return {feature.key: feature for feature in self.feature_list}

    def stamp(self, sample: Feature) -> str:
        """Features have none: photos and weights are in the provenance."""
        return str(sample)

    def prepare(self, context: Context) -> _State:
        """Describes every visible keypoint of both splits."""
        network, data = context.network(self.network), context.dataset(self.dataset)
        names = data.keypoint_names[self.category]
        splits = {split: self.instances(context, split) for split in ("train", "val")}
        train, val = (
            classification.samples(
                splits[split],
                self.feature_list,
                names,
                network=network,
                protocol=self.crop_protocol,
                progress=concurrency.part(context.progress, start, 0.5, f"{split}: "),
            )
            for split, start in (("train", 0.0), ("val", 0.5))
        )
        return _State(network, classification.class_names(names, self.crop_protocol), train, val, splits)

    def measure(self, sample: Feature, state: _State) -> ClassificationRecord:
        """Trains one feature's classifiers, and names the val keypoints."""
        train, val, splits = state.train, state.val, state.splits
        photos = [one.photo.name for one in splits["train"]]
        device = state.network.device
        cost, curve = classification.best_cost(
            train, sample, photos, costs=self.costs, n_folds=self.folds, device=device
        )
        classifier = classification.train(
            train, sample, state.names, cost=cost, protocol=self.crop_protocol, device=device
        )
        numbers = np.array([state.names.index(name) for name in classifier.names])
        return ClassificationRecord(
            cost,
            tuple(curve),
            {
                splits[split][n].name: why
                for split, some in (("train", train), ("val", val))
                for n, why in some.left_out.items()
            },
            tuple(splits["val"][n].name for n in val.objects),
            tuple(splits["val"][n].photo.name for n in val.objects),
            val.keypoints,
            val.labels,
            numbers[classifier.linear.predict(val.features[sample])],
        )

    def read_record(self, plain: Mapping[str, Any]) -> ClassificationRecord:
        """See `Experiment.read_record`."""
        keypoints, labels, called = (np.array(plain[name], dtype=int) for name in ("keypoints", "labels", "called"))
        objects, photos = (tuple(plain[name]) for name in ("objects", "photos"))
        curve = tuple(float("nan") if value is None else value for value in plain["curve"])  # nothing to validate on
        return ClassificationRecord(plain["cost"], curve, plain["left_out"], objects, photos, keypoints, labels, called)

    def summarise(self, result: Result[ClassificationRecord, ClassificationSummary]) -> ClassificationSummary:
        """Accuracy by feature."""
        classes = classification.class_names(result.provenance["keypoints"], self.crop_protocol)
        table = _table(result)
        features = {
            row.feature: _feature_accuracy(record, table.accuracy(row), len(classes))
            for row, record in zip(table.rows, result.records.values(), strict=True)
            if row.feature is not None
        }
        return ClassificationSummary(table, classes, features)

    def table(self, result: Result[ClassificationRecord, ClassificationSummary]) -> KeypointTable:
        """See `Experiment.table`."""
        return result.summary.table

    def summary_rows(self, summary: ClassificationSummary) -> Sequence[Mapping[str, str]]:
        """Accuracy by feature."""
        return [
            {
                "row": feature.key,
                "accuracy, %": f"{found.accuracy.value:.1f} [{found.accuracy.low:.1f}, {found.accuracy.high:.1f}]",
                "mean of classes": f"{found.mean_of_classes:.1f}",
                "cost": f"{found.cost:g}",
                "keypoints": str(found.keypoints),
            }
            for feature, found in summary.features.items()
        ]

    @classmethod
    def mean_rows(cls, summaries: Sequence[ClassificationSummary]) -> Sequence[Mapping[str, str]]:
        """Mean accuracy by feature."""
        return mean_rows([summary.table for summary in summaries], {"accuracy, %": 0.1})


def _feature_accuracy(record: ClassificationRecord, accuracy: Estimate, n_classes: int) -> FeatureAccuracy:
    confusion = np.zeros((n_classes, n_classes), int)
    np.add.at(confusion, (record.labels, record.called), 1)
    of = confusion.sum(axis=1)
    by_class = np.where(of > 0, 100 * confusion.diagonal() / np.maximum(of, 1), np.nan)
    return FeatureAccuracy(accuracy, by_class, len(record.labels), record.cost, record.curve, confusion)


def _table(result: Result[ClassificationRecord, Any]) -> KeypointTable:
    """The table of what keypoints were called. Raises ValueError for rows of other keypoints."""
    network = getattr(result.experiment, "network", "")
    records = tuple(result.records.values())
    photo_of = dict(zip(records[0].objects, records[0].photos, strict=True))
    objects, keypoints = tuple(photo_of), tuple(result.provenance["keypoints"])
    number = {name: n for n, name in enumerate(objects)}
    errors = np.full((len(records), len(objects), len(keypoints)), np.nan)
    for row, record in zip(errors, records, strict=True):
        right = record.labels == record.called
        if set(record.objects) == set(objects):
            row[[number[name] for name in record.objects], record.keypoints] = np.where(right, 0, np.inf)
    if (np.isnan(errors) != np.isnan(errors[0])).any():
        of = getattr(result.experiment, "category", "this category")
        msg = (
            f"the features of {of} were not measured on the same keypoints; delete its file in the folder of results, "
            "and measure all features together."
        )
        raise ValueError(msg)
    return KeypointTable(
        result.experiment,
        result.provenance,
        tuple(Row.parse(key, network=network) for key in result.records),
        keypoints,
        objects,
        np.unique([photo_of[name] for name in objects], return_inverse=True)[1],
        None,
        errors,
        dict(records[0].left_out),
        "micro",
        2000,
    )


@functools.cache
def protocols_of_single_cells() -> tuple[str, ...]:
    """The protocols that response maps can be made with."""
    return tuple(name for name, protocol in PROTOCOLS.items() if protocol.cells == 1)
