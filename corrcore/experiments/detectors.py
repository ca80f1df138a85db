"""Keypoint detectors of a category, trained once and kept: what Table 4 and the page on prediction use."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from corrcore import extractors, networks, store
from corrcore.concurrency import Progress, part
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.engines import svm
from corrcore.experiments.base import FORMAT, dataset_folder, extractor_digests, stamp_of, subsample, to_jsonable
from corrcore.experiments.context import Context
from corrcore.features import SIFT, Extractor, Feature
from corrcore.store import write_atomically
from corrcore.tasks import detection
from corrcore.tasks.detection import (
    PRIORS,
    DetectorSpec,
    HardNegativeMiner,
    Prior,
    PriorFusion,
    TrainedDetectors,
    TrainingSet,
)

COSTS = (0.01, 0.1, 1.0)
DRAWN_COSTS, DRAWN_OBJECTS = (0.1,), 24  # drawn objects are there to try things on: at once, and with nothing chosen
ETAS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
SIGMAS_PX = (detection.SIGMA_PX, 30.0, 45.0, 60.0, 90.0)  # the paper's, and those tried for several places
FOLDS, VALIDATED = 2, 200  # of cross validation; train objects it takes at most, at random
MOST_OBJECTS = 2000  # that detectors learn from, at random: 3 GB

Trained = tuple[Mapping[Feature, TrainedDetectors], Prior]


def usual_features(network: Extractor) -> tuple[Feature, ...]:
    """SIFT with bins of 8 px, and the network's layer for detection."""
    return Feature(SIFT, "16"), Feature(network.name, network.roles.detection)


@dataclass(frozen=True)
class DetectorTraining:
    """Which detectors are trained, on what, and among which costs; `limit` are train objects, fewer than usual."""

    dataset: str
    category: str
    network: str = networks.DEFAULT
    features: tuple[Feature | str, ...] = ()
    costs: tuple[float, ...] = ()
    limit: int | None = None

    def resolved(self, context: Context) -> Self:
        """With its features by role and the usual costs, unless others are given. Raises ValueError for unknown
        ones.
        """
        network, data = context.network(self.network), context.dataset(self.dataset)
        features = extractors.parse(self.features or usual_features(network), network)
        costs = self.costs or (DRAWN_COSTS if data.synthetic else COSTS)
        return type(self)(self.dataset, self.category, self.network, features, tuple(costs), self.limit)

    def instances(self, context: Context) -> list[Instance]:
        """The train objects that detectors learn from."""
        data = context.dataset(self.dataset)
        return subsample(data.visible_instances(self.category, "train"), self.limit or most_objects(data))

    def settings(self, feature: Feature, context: Context) -> dict[str, Any]:
        """What is written beside one feature's detectors: those of other settings are others."""
        network, data = context.network(self.network), context.dataset(self.dataset)
        plain = {
            **self._prior_settings(context),
            "extractors": extractor_digests([feature], network),
            "spec": asdict(DetectorSpec.of(feature, network=network)),
            "costs": self.costs,
            "etas": ETAS,
            "sigmas_px": SIGMAS_PX,
            "folds": 0 if data.synthetic else FOLDS,
            "validated": VALIDATED,
        }
        return to_jsonable(plain)

    def _prior_settings(self, context: Context) -> dict[str, Any]:
        """What a prior depends on."""
        network, data = context.network(self.network), context.dataset(self.dataset)
        return to_jsonable(
            {
                "versions": [FORMAT, detection.VERSION, svm.VERSION],
                "data": data.name,
                "data_digest": data.digest,
                "photos": store.key(stamps=[[one.name, stamp_of(one.photo)] for one in self.instances(context)]),
                "category": self.category,
                "keypoints": list(data.keypoint_names[self.category]),
                "extractors": extractor_digests([], network),
                "side_px": detection.SIDE_PX,
                "prior_by": network.roles.prior,
            }
        )

    def folder(self, context: Context) -> Path | None:
        """Where they are kept; None where nothing is."""
        if context.store is None:
            return None
        return context.store / dataset_folder(context.dataset(self.dataset), self.network)

    def file(self, what: str, context: Context) -> Path | None:
        """The file of one feature's detectors, by the feature's key, or of the prior."""
        folder = self.folder(context)
        of = "" if self.limit is None else f", limit {self.limit}"
        if what != "prior" and self.costs not in ((), COSTS, DRAWN_COSTS):
            of += f", costs {' '.join(map(str, self.costs))}"
        return None if folder is None else folder / f"detectors {self.category} {what}{of}.safetensors"

    def known(self, context: Context) -> Trained | None:
        """What is kept; None where something is missing for the photos, weights and code as they are."""
        self = self.resolved(context)
        found = {feature: self._known_detectors(feature, context) for feature in self.feature_list}
        prior = self._known_prior(context)
        there = {feature: each for feature, each in found.items() if each is not None}
        return (there, prior) if prior is not None and len(there) == len(found) else None

    @property
    def feature_list(self) -> tuple[Feature, ...]:
        """The features of a resolved training."""
        return tuple(each for each in self.features if isinstance(each, Feature))

    def _bring(self, what: str, settings: Mapping[str, Any], context: Context) -> Path | str:
        """The file of one feature's detectors or of the prior; what comes along is put there where nothing is."""
        file = self.file(what, context)
        if file is None:
            return ""
        if context.along is not None and not file.exists():
            data = context.along.get(store.key(settings=settings))
            with suppress(OSError):
                if data is not None:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(file, data)
        return file

    def _known_detectors(self, feature: Feature, context: Context) -> TrainedDetectors | None:
        settings = self.settings(feature, context)
        try:
            found, about = detection.load_detectors(self._bring(feature.key, settings, context))
        except (OSError, ValueError):
            return None
        if about.pop("settings", None) != settings:
            return None
        return TrainedDetectors(found, fusions_from(about), about)

    def _known_prior(self, context: Context) -> Prior | None:
        settings = self._prior_settings(context)
        try:
            found, about = detection.load_prior(self._bring("prior", settings, context))
        except (OSError, ValueError):
            return None
        return found if about.get("settings") == settings else None

    def outdated(self, context: Context) -> bool:
        """Whether something is kept that is of other photos, weights or code, and so is no use."""
        self = self.resolved(context)
        kept = {feature: self.file(feature.key, context) for feature in self.feature_list}
        there = [feature for feature, file in kept.items() if file is not None and file.exists()]
        prior = self.file("prior", context)
        return any(self._known_detectors(feature, context) is None for feature in there) or (
            prior is not None and prior.exists() and self._known_prior(context) is None
        )

    def begun(self, context: Context) -> bool:
        """Whether training was stopped on the way, and goes on where it was."""
        self = self.resolved(context)
        files = [self.file(feature.key, context) for feature in self.feature_list]
        parts = [
            file.with_suffix(suffix) for file in files if file for suffix in (".safetensors", ".choice", ".mining")
        ]
        return self.known(context) is None and not self.outdated(context) and any(part.exists() for part in parts)

    def train(self, context: Context, *, progress: Progress | None = None) -> Trained:
        """Detectors by feature and the prior, those that are kept and the others trained.

        The cost, eta and, for several neighbours, sigma are those of highest PCK in cross validation on at most
        200 train objects, in two halves that share no photo; the paper's sigma is kept for one neighbour. Where
        there are too few objects to train on half of them, and of drawn objects, of which a few are taken,
        nothing is chosen.

        Training that was stopped goes on from its last round. Raises ValueError where nothing can be trained, and
        OSError where a photo may be readable another time.
        """
        self = self.resolved(context)
        known = {feature: self._known_detectors(feature, context) for feature in self.feature_list}
        missing = [feature for feature, each in known.items() if each is None]
        prior = self._known_prior(context)
        found = {feature: each for feature, each in known.items() if each is not None}
        if not missing and prior is not None:
            return found, prior
        network, train = context.network(self.network), self.instances(context)
        names = context.dataset(self.dataset).keypoint_names[self.category]
        describing = 0.1 if missing else 1.0
        training = detection.describe_training_set(
            train, names, missing, network=network, progress=part(progress, 0, describing)
        )
        if (folder := self.folder(context)) is not None:
            folder.mkdir(parents=True, exist_ok=True)
        if (file := self.file("prior", context)) is not None:
            detection.save_prior(file, training.prior, {"settings": self._prior_settings(context)})
        for number, feature in enumerate(missing):
            share = (1 - describing) / len(missing)
            report = part(progress, describing + number * share, share, f"{feature.title}: ")
            found[feature] = self._train(feature, training, context, report)
        return {feature: found[feature] for feature in self.feature_list}, training.prior

    def _train(self, feature: Feature, training: TrainingSet, context: Context, progress: Progress) -> TrainedDetectors:
        spec = DetectorSpec.of(feature, network=context.network(self.network))
        settings, file = self.settings(feature, context), self.file(feature.key, context)
        key = store.key(settings=settings, objects=list(training.objects))
        beside = None if file is None else file.with_suffix(".choice")
        about = _read_choice(beside)
        if about.get("key") != key:
            about = to_jsonable(
                {"key": key, **choose(training, spec, settings, part(progress, 0, 0.6, "cross validation, "))}
            )
            if beside is not None:
                write_atomically(beside, json.dumps(about, allow_nan=False).encode())
        begun = time.monotonic()
        found = HardNegativeMiner(training, spec).fit(
            cost=about["cost"],
            kept=None if file is None else file.with_suffix(".mining"),
            key=key,
            progress=part(progress, 0.6, 0.4, "training, "),
        )
        seconds = round(about["seconds"] + time.monotonic() - begun, 1)
        about = {name: value for name, value in about.items() if name != "key"}
        about = to_jsonable(about | {"seconds": seconds, "left_out": dict(training.left_out)})
        if file is not None and beside is not None:
            detection.save_detectors(file, found, about | {"settings": settings})
            beside.unlink(missing_ok=True)
        return TrainedDetectors(found, fusions_from(about), about)


def _read_choice(file: Path | None) -> dict[str, Any]:
    """What cross validation chose before training was stopped; empty where there is nothing."""
    try:
        return {} if file is None else json.loads(file.read_text())
    except (OSError, ValueError):
        return {}


def most_objects(data: KeypointDataset) -> int:
    """How many train objects detectors learn from at most, unless they are limited."""
    return DRAWN_OBJECTS if data.synthetic else MOST_OBJECTS


def fusions_from(about: Mapping[str, Any]) -> dict[int, PriorFusion]:
    """How the prior counts, by the number of objects it comes from."""
    return {int(n): PriorFusion(**each) for n, each in about["fusions"].items()}


def choose(
    training: TrainingSet, spec: DetectorSpec, settings: Mapping[str, Any], progress: Progress
) -> dict[str, Any]:
    """The cost of detectors that are best alone, and how the prior counts beside them; with all that was tried."""
    begun = time.monotonic()
    costs, folds = settings["costs"], settings["folds"]
    usual = {1: PriorFusion(1, detection.SIGMA_PX, 0.05), PRIORS: PriorFusion(PRIORS, 40.0, 0.1)}
    unchosen = {"cost": costs[len(costs) // 2], "fusions": usual, "seconds": 0.0}
    if not folds:
        return unchosen
    prior = training.prior
    lot = np.random.default_rng(0).permutation(len(training.objects))[: settings["validated"]]
    training = training.some(np.sort(lot))
    centres = training.cells[spec.feature].centres()
    scores = detection.held_out_scores(training, spec, costs=costs, n_folds=folds, progress=progress)
    there = np.flatnonzero(~np.isnan(scores[0]).all(axis=(1, 2, 3)))
    if len(there) == 0:  # too few objects to train on half of them
        return unchosen
    scores, training = [some[there] for some in scores], training.some(there)
    alone = [
        detection.pck_percent(
            np.stack([detection.argmax_points(detection.combined(one), centres) for one in some]), training.keypoints
        )
        for some in scores
    ]
    best = max(range(len(costs)), key=lambda n: (alone[n], -costs[n]))
    places = np.stack(
        [
            prior.places(prior.nearest(summary, k=PRIORS, photo=photo))
            for summary, photo in zip(training.summaries, training.photos, strict=True)
        ]
    )
    truth = training.keypoints
    found = {
        1: detection.select_fusion(scores[best], centres, places[:, :1], truth, etas=ETAS),
        PRIORS: detection.select_fusion(scores[best], centres, places, truth, etas=ETAS, sigmas_px=SIGMAS_PX),
    }
    return {
        "cost": costs[best],
        "pck_by_cost": dict(zip(map(str, costs), alone, strict=True)),
        "fusions": {n: each.fusion for n, each in found.items()},
        "pck_by_eta": {n: each.by_eta for n, each in found.items()},
        "seconds": time.monotonic() - begun,
    }
