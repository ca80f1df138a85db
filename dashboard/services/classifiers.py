"""Keypoint classifiers: trained once for the objects there are, and kept among the results."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from corrcore import extractors, store
from corrcore.concurrency import Progress
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.engines import svm
from corrcore.engines.svm import LinearClassifier
from corrcore.features import Extractor, Feature
from corrcore.tasks import classification
from corrcore.tasks.classification import CropProtocol, KeypointClassifier
from dashboard.services import caches


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """What classifiers of a category's keypoints are trained on; `state` changes with the objects and their photos."""

    train: Sequence[Instance]
    keypoint_names: Sequence[str]
    network: Extractor
    protocol: CropProtocol
    state: str

    @classmethod
    def of(cls, data: KeypointDataset, category: str, network: Extractor, protocol: CropProtocol) -> "TrainedOn":
        """The category's train objects. Raises ValueError where there are none."""
        train = data.visible_instances(category, "train")
        state = store.key(data=data.digest, category=category, photos=caches.state_of(train))
        return cls(train, data.keypoint_names[category], network, protocol, state)

    def kept(self, feature: Feature) -> KeypointClassifier | None:
        """The classifier of a feature, if it was trained."""
        entry = caches.results().get(self._key(feature))
        if entry is None:
            return None
        arrays, about = entry.arrays, entry.metadata
        linear = LinearClassifier(arrays["weights"], arrays["bias"], about["cost"], arrays["objective"], arrays["gap"])
        return KeypointClassifier(feature, tuple(about["names"]), self.protocol, linear)

    def training(self, features: Sequence[Feature]) -> Callable[..., bool]:
        """Work that trains and keeps the classifiers of `features`."""
        results = caches.results()

        def work(*, progress: Progress) -> bool:
            missing = [feature for feature in features if results.get(self._key(feature)) is None]
            if not missing:  # another session had the same trained while this one waited
                return True
            found = classification.train_classifiers(
                self.train,
                missing,
                self.keypoint_names,
                network=self.network,
                protocol=self.protocol,
                progress=progress,
            )
            for feature, classifier in found.items():
                linear = classifier.linear
                arrays = {
                    "weights": linear.weights,
                    "bias": linear.bias,
                    "objective": linear.objective,
                    "gap": linear.gap,
                }
                results.put(self._key(feature), arrays, {"names": list(classifier.names), "cost": linear.cost})
            return True

        return work

    def _key(self, feature: Feature) -> str:
        return store.key(
            task="keypoint classifier",
            version=[classification.VERSION, svm.VERSION],
            feature=str(feature),
            extractor=extractors.extractor_of(feature, self.network).digest,
            objects=self.state,
            protocol=asdict(self.protocol),
        )
