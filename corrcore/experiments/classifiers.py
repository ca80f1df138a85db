"""Keypoint classifiers of a category, trained once for the objects there are and kept: what response maps show."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from corrcore import extractors, networks, store
from corrcore.concurrency import Progress
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.engines import svm
from corrcore.engines.svm import LinearClassifier
from corrcore.experiments.classification import PROTOCOLS, protocols_of_single_cells
from corrcore.experiments.context import Context
from corrcore.experiments.options import option
from corrcore.features import Extractor, Feature
from corrcore.store import Cache
from corrcore.tasks import classification
from corrcore.tasks.classification import CropProtocol, KeypointClassifier


@dataclass(frozen=True)
class ClassifierTraining:
    """Which classifiers are trained, and on what."""

    dataset: str
    category: str
    network: str = networks.DEFAULT
    features: tuple[Feature | str, ...] = option((), "such as conv4,sift20 (default: the network's for classification)")
    protocol: str = option("box", "how objects are seen, as for classification", choices=protocols_of_single_cells())

    def begin(self, context: Context, results: Cache) -> tuple["TrainedOn", tuple[Feature, ...]]:
        """What they are trained on, and their features. Raises ValueError for what does not fit."""
        network = context.network(self.network)
        features = self.features or tuple(Feature(network.name, layer) for layer in network.roles.classification)
        trained_on = TrainedOn.of(
            context.dataset(self.dataset), self.category, network, PROTOCOLS[self.protocol], results
        )
        return trained_on, extractors.parse(features, network)


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """What classifiers of a category's keypoints are trained on, and where they are kept.

    `state` changes with the objects and their photos.
    """

    train: Sequence[Instance]
    keypoint_names: Sequence[str]
    network: Extractor
    protocol: CropProtocol
    results: Cache
    state: str

    @classmethod
    def of(
        cls, data: KeypointDataset, category: str, network: Extractor, protocol: CropProtocol, results: Cache
    ) -> Self:
        """The category's train objects. Raises ValueError where there are none."""
        train = data.visible_instances(category, "train")
        objects = [[one.name, list(one.box), str(one.photo.stamp)] for one in train]
        state = store.key(task="classifiers", data=data.digest, category=category, objects=objects)
        return cls(train, data.keypoint_names[category], network, protocol, results, state)

    def kept(self, feature: Feature) -> KeypointClassifier | None:
        """The classifier of a feature, if it was trained."""
        entry = self.results.get(self._key(feature))
        if entry is None:
            return None
        arrays, about = entry.arrays, entry.metadata
        linear = LinearClassifier(arrays["weights"], arrays["bias"], about["cost"], arrays["objective"], arrays["gap"])
        return KeypointClassifier(feature, tuple(about["names"]), self.protocol, linear)

    def train_missing(
        self, features: Sequence[Feature], *, progress: Progress | None = None
    ) -> dict[Feature, KeypointClassifier]:
        """The classifiers of `features`: those that are kept, and the others trained and kept where that can be.

        Raises what training does.
        """
        known = {feature: each for feature in features if (each := self.kept(feature)) is not None}
        missing = [feature for feature in features if feature not in known]
        if not missing:
            return known
        found = self.fit(missing, progress=progress)
        self.keep(found)
        return known | found

    def fit(
        self, features: Sequence[Feature], *, progress: Progress | None = None
    ) -> dict[Feature, KeypointClassifier]:
        """The classifiers of `features`, trained and not kept. Raises what training does."""
        found = classification.train_classifiers(
            self.train,
            features,
            self.keypoint_names,
            network=self.network,
            protocol=self.protocol,
            progress=progress,
        )
        return dict(found)

    def keep(self, found: Mapping[Feature, KeypointClassifier]) -> None:
        """Keeps classifiers where that can be."""
        for feature, classifier in found.items():
            linear = classifier.linear
            arrays = {
                "weights": linear.weights,
                "bias": linear.bias,
                "objective": linear.objective,
                "gap": linear.gap,
            }
            self.results.put(self._key(feature), arrays, {"names": list(classifier.names), "cost": linear.cost})

    def _key(self, feature: Feature) -> str:
        return store.key(
            task="keypoint classifier",
            version=[classification.VERSION, svm.VERSION],
            feature=str(feature),
            extractor=extractors.extractor_of(feature, self.network).digest,
            objects=self.state,
            protocol=asdict(self.protocol),
        )
