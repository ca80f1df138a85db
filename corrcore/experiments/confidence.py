"""When not to believe a match: how good its confidence is, and how it is learnt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Bool, Float, Int

from corrcore import concurrency, extractors, networks, store
from corrcore.datasets.records import InstancePair
from corrcore.experiments.base import (
    Experiment,
    Result,
    checked_features,
    dataset_folder,
    extractor_digests,
    stamp_of,
    subsample,
)
from corrcore.experiments.context import Context
from corrcore.experiments.options import option
from corrcore.experiments.pairs import DescribedOnce, MatchFields
from corrcore.experiments.registry import register
from corrcore.experiments.results import ResultStore
from corrcore.experiments.run import run
from corrcore.features import SIFT, Extractor, Feature
from corrcore.metrics import (
    Estimate,
    Reliability,
    area_under_risk_coverage,
    area_under_roc,
    bootstrap_pair_counts,
    reliability,
    risk_coverage,
)
from corrcore.tasks import confidence, matching
from corrcore.tasks.confidence import RIGHT_WITHIN, Calibration, LearntFrom

N_RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class MatchRecord:
    """One pair: what speaks for the match of each keypoint that the source shows, and how far off it is, by feature.

    `evidence` is that of `confidence.evidence`; `errors` are distances from the true places as shares of the longer
    side of the target's box, as SPair-71k measures it, NaN for what the target does not show. `photos` are the names of
    the source's and the target's.
    """

    photos: tuple[str, str]
    evidence: Mapping[str, Float[np.ndarray, "points 5"]]
    errors: Mapping[str, Float[np.ndarray, " points"]]

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "MatchRecord":
        """A record as it was written."""
        source, target = plain["photos"]
        n_kinds = len(confidence.EVIDENCE)
        found = {key: np.array(each, dtype=float).reshape(-1, n_kinds) for key, each in plain["evidence"].items()}
        return cls((source, target), found, {key: np.array(each, float) for key, each in plain["errors"].items()})


@dataclass(frozen=True, eq=False)
class JudgedFeature:
    """One feature's confidences of all points of all pairs, and how good they are.

    `right` are matches within 0.1, `shown` points that the target shows. `apart` is the area under the ROC curve of
    points that it does not show against the others, by less confidence; NaN where there are not both.
    """

    calibration: Calibration
    confidences: Float[np.ndarray, " points"]
    right: Bool[np.ndarray, " points"]
    shown: Bool[np.ndarray, " points"]
    bins: Reliability
    risk: Estimate
    apart: Estimate

    @property
    def risk_coverage(self) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """What is wrong of the most confident ones: `metrics.risk_coverage`."""
        return risk_coverage(self.confidences, self.right)

    @property
    def roc(self) -> tuple[Float[np.ndarray, " thresholds"], Float[np.ndarray, " thresholds"]]:
        """Percentages of points that the target shows, and of those that it does not, of less confidence than each
        threshold; empty where there are not both.
        """
        from sklearn.metrics import roc_curve

        if self.shown.all() or not self.shown.any():
            return np.empty(0), np.empty(0)
        false, true, _ = roc_curve(~self.shown, -self.confidences)
        return 100 * false, 100 * true


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found of each feature, over so many pairs of so many photos."""

    features: Mapping[Feature, JudgedFeature]
    n_pairs: int
    n_photos: int


@dataclass(frozen=True)
class _OfPairs(MatchFields, Experiment[InstancePair, Any, MatchRecord, Any]):
    """Pairs of objects of one category in different photos, of one split, matched at all points that the source shows.

    `limit` is of the pairs of each category.
    """

    dataset: str
    categories: tuple[str, ...] = option((), "whose pairs are taken, such as cat,cow (default: all)")
    network: str = networks.DEFAULT
    features: tuple[Feature | str, ...] = ()
    limit: int | None = option(None, "pairs of each category and split at most, at random (default: all)")

    named: ClassVar[frozenset[str]] = frozenset({"categories"})
    versions: ClassVar[tuple[int, ...]] = confidence.VERSIONS
    split: ClassVar[str]

    @property
    def feature_list(self) -> tuple[Feature, ...]:
        """The features, parsed."""
        return tuple(extractors.named(each, network=self.network) for each in self.features)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """See `Experiment.from_settings`; features are parsed."""
        found = super().from_settings(settings)
        return replace(found, features=found.feature_list)

    def resolved(self, context: Context) -> Self:
        """With its categories and features: the layers for reconstruction (of alignments that for transfer) and SIFT.

        Raises ValueError for what is not there.
        """
        network, data = context.network(self.network), context.dataset(self.dataset)
        if self.limit is not None and self.limit < 1:
            msg = f"limit must be at least 1 pair, or None for all; got {self.limit}."
            raise ValueError(msg)
        categories = self.categories or data.categories
        for category in categories:
            data.instances(category, self.split)
        _ = self.options
        layers = network.roles.reconstruction if self.method == "nn" else (network.roles.transfer,)
        usual = *(Feature(network.name, layer) for layer in layers), Feature(SIFT, "20")
        found = replace(self, network=network.name, categories=categories)
        return replace(found, features=checked_features(found.feature_list or usual, network))

    def samples(self, context: Context) -> Mapping[str, InstancePair]:
        """The pairs."""
        data = context.dataset(self.dataset)
        each = (subsample(data.pairs(category, self.split), self.limit) for category in self.categories)
        return {pair.name: pair for pairs in each for pair in pairs}

    def stamp(self, sample: InstancePair) -> str:
        """Of both photos."""
        return f"{stamp_of(sample.source.photo)} {stamp_of(sample.target.photo)}"

    def provenance(self, context: Context) -> Mapping[str, Any]:
        """Annotations, and whatever describes photos."""
        data = context.dataset(self.dataset)
        return {
            "data": data.name,
            "data_digest": data.digest,
            "extractors": extractor_digests(self.feature_list, context.network(self.network)),
            **self.taken_out(),
        }

    def folder(self, context: Context) -> str:
        """Named by the data set, the state of its annotations, and the network."""
        return dataset_folder(context.dataset(self.dataset), self.network)

    def matched(self, sample: InstancePair, describe: DescribedOnce) -> MatchRecord:
        """What speaks for each feature's matches of what the source shows, and how far off they are."""
        source, target, visible = describe(sample.source), describe(sample.target), sample.source.visible
        points, truth = (each.keypoints[visible].astype(float) for each in (sample.source, sample.target))
        side = confidence.side_px(sample.target.box)
        found, errors = {}, {}
        for feature in self.feature_list:
            matches = matching.match_points(source[feature], target[feature], points, options=self.options)
            speaking = confidence.evidence(matches, longer_side=source[feature].longer_side)
            found[feature.key] = np.round(speaking, 5)
            errors[feature.key] = np.round(np.linalg.norm(matches.places - truth, axis=1) / side, 5)
        return MatchRecord((sample.source.photo.name, sample.target.photo.name), found, errors)

    def read_record(self, plain: Mapping[str, Any]) -> MatchRecord:
        """See `Experiment.read_record`."""
        return MatchRecord.read(plain)


@register
@dataclass(frozen=True)
class ConfidenceTraining(_OfPairs):
    """What confidences are learnt from: pairs of train photos."""

    kind: ClassVar[str] = "confidence-training"
    title: ClassVar[str] = "Pairs that confidences are learnt from"
    listed: ClassVar[bool] = False
    split: ClassVar[str] = "train"

    def prepare(self, context: Context) -> DescribedOnce:
        """Photos are described when a pair needs them."""
        return self.describing(self.feature_list, context.network(self.network))

    def measure(self, sample: InstancePair, state: DescribedOnce) -> MatchRecord:
        """What speaks for matches, and how far off they are."""
        return self.matched(sample, state)

    def calibrations(self, result: Result[MatchRecord, Any], network: Extractor) -> dict[Feature, Calibration]:
        """What is learnt of each feature. Raises ValueError where matches are all right, or all wrong."""
        records = list(result.records.values())
        provenance, found = result.provenance, {}
        n_photos = len({name for each in records for name in each.photos})
        about = provenance["data"], provenance["data_digest"], self.split, self.categories, len(records), n_photos
        for feature in self.feature_list:
            speaking, right, _ = _joined(records, feature)
            learnt_from = LearntFrom(*about, len(right), float(right.mean()))
            found[feature] = confidence.fit(
                speaking, right, feature, network=network, options=self.options, learnt_from=learnt_from
            )
        return found

    def summarise(self, result: Result[MatchRecord, int]) -> int:
        """How many pairs there are."""
        return len(result.records)

    def summary_rows(self, summary: int) -> Sequence[Mapping[str, str]]:
        """That number."""
        return [{"pairs": str(summary)}]


@dataclass(frozen=True, eq=False)
class _State:
    described: DescribedOnce
    calibrations: Mapping[Feature, Calibration]


@register
@dataclass(frozen=True)
class Confidence(_OfPairs):
    """Whether matches that are called 80 % sure are right four times of five, and what is left if the others go.

    A confidence per feature is learnt on pairs of train photos (`corrcore.tasks.confidence`) and judged on pairs of val
    photos, at all keypoints that the source shows: right is what lies within 0.1 of the longer side of the target's box
    from the true place, and what the target does not show is not right. ECE, the expected calibration error, is how far
    confidence and share of right ones are apart in ten bins of as many points, in the mean (Naeini et al. 2015). AURC
    is what share of the most confident matches is wrong, averaged over how many of them are taken (Geifman, Uziel and
    El-Yaniv 2019). AUC is how probably a point that the target does not show has less confidence than one that it
    shows. 95 % intervals are over photos, both of each pair; what was learnt stays as it is. "Constant" is what ECE and
    AURC are if every match has one confidence, the share of right ones among those that were learnt from.

    With `learn_from` it is learnt on other categories than it is judged on.
    """

    learn_from: tuple[str, ...] = option((), "categories it is learnt on (default: those that it is judged on)")

    kind: ClassVar[str] = "confidence"
    title: ClassVar[str] = "Confidence of matches (when not to believe one)"
    split: ClassVar[str] = "val"

    def resolved(self, context: Context) -> Self:
        """With the categories that it is learnt on, too."""
        found = super().resolved(context)
        found = replace(found, learn_from=self.learn_from or found.categories)
        found.training.resolved(context)
        return found

    @property
    def training(self) -> ConfidenceTraining:
        """The pairs that it is learnt on."""
        shared = {each.name: getattr(self, each.name) for each in fields(ConfidenceTraining)}
        return ConfidenceTraining(**{**shared, "categories": self.learn_from})

    def parts(self) -> Mapping[str, Experiment[Any, Any, Any, Any]]:
        """Matching the pairs that it is learnt on."""
        return {"learning": self.training}

    def provenance(self, context: Context) -> Mapping[str, Any]:
        """The photos that it is learnt on, too."""
        training = self.training
        stamps = [[name, training.stamp(pair)] for name, pair in training.samples(context).items()]
        return {**super().provenance(context), "learnt_from": store.key(stamps=stamps)}

    def prepare(self, context: Context) -> _State:
        """Learns the confidences."""
        kept = None if context.store is None else ResultStore(context.store)
        report = concurrency.part(context.progress, 0, 1, "learning: ")
        training = self.training.resolved(context)
        result = run(training, context=context, store=kept, progress=report)
        network = context.network(self.network)
        return _State(self.describing(self.feature_list, network), training.calibrations(result, network))

    def notes(self, state: _State) -> Mapping[str, Any]:
        """The calibrations."""
        return {"calibrations": [each.to_plain() for each in state.calibrations.values()]}

    def note_lines(self, notes: Mapping[str, Any]) -> Sequence[str]:
        """What it was learnt from."""
        if not (found := _calibrations(notes)):
            return ()
        about = found[0].learnt_from
        photos = f"{about.pairs} pairs of {about.photos} {about.split} photos of {', '.join(about.categories)}"
        return [f"learnt on {about.points} points of {photos}"]

    def measure(self, sample: InstancePair, state: _State) -> MatchRecord:
        """As of what it is learnt on."""
        return self.matched(sample, state.described)

    def summarise(self, result: Result[MatchRecord, Judged]) -> Judged:
        """How good each feature's confidence is. Raises ValueError where nothing was learnt yet."""
        calibrations, records = _calibrations(result.notes), list(result.records.values())
        if not calibrations:
            msg = "no confidence has been learnt yet."
            raise ValueError(msg)
        names = [each.photos for each in records]
        first, second = np.unique(names, return_inverse=True)[1].reshape(-1, 2).T
        times = bootstrap_pair_counts(first, second, N_RESAMPLES, np.random.default_rng(0))
        found = {each.feature: _judged(each, records, times) for each in calibrations}
        return Judged(found, len(records), len(np.unique(names)))

    def summary_rows(self, summary: Judged) -> Sequence[Mapping[str, str]]:
        """A row per feature."""
        return [
            {
                "row": feature.key,
                "right, %": f"{100 * each.right.mean():.1f}",
                "ECE, points": f"{each.bins.expected_error:.1f}",
                "ECE, constant": f"{100 * abs(each.calibration.learnt_from.right - each.right.mean()):.1f}",
                "AURC, %": _with_interval(each.risk, 1),
                "AURC, constant": f"{100 * (1 - each.right.mean()):.1f}",
                "AUC, not shown": _with_interval(each.apart, 2),
                "pairs": str(summary.n_pairs),
                "points": str(len(each.right)),
                "not shown": str(int((~each.shown).sum())),
            }
            for feature, each in summary.features.items()
        ]


def _with_interval(found: Estimate, digits: int) -> str:
    if np.isnan(found.value):
        return "none"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def _calibrations(notes: Mapping[str, Any]) -> list[Calibration]:
    return [Calibration.from_plain(each) for each in notes.get("calibrations", ())]


def _joined(
    records: Sequence[MatchRecord], feature: Feature
) -> tuple[Float[np.ndarray, "points 5"], Bool[np.ndarray, " points"], Bool[np.ndarray, " points"]]:
    """What speaks for the matches of all pairs; which are right; and which points are shown."""
    speaking = np.concatenate([each.evidence[feature.key] for each in records])
    errors = np.concatenate([each.errors[feature.key] for each in records])
    return speaking, np.nan_to_num(errors, nan=np.inf) <= RIGHT_WITHIN, ~np.isnan(errors)


def _judged(
    calibration: Calibration, records: Sequence[MatchRecord], times: Float[np.ndarray, "resamples pairs"]
) -> JudgedFeature:
    speaking, right, shown = _joined(records, calibration.feature)
    of: Int[np.ndarray, " points"] = np.repeat(
        np.arange(len(records)), [len(each.errors[calibration.feature.key]) for each in records]
    )
    found = calibration.of_evidence(speaking)
    known = np.isfinite(found)  # else no cell of the target lies outside the neighbourhood of the place
    found, right, shown, of = found[known], right[known], shown[known], of[known]
    if not len(found):
        msg = f"no match by {calibration.feature} has a runner-up, so none has a confidence; give larger photos."
        raise ValueError(msg)
    none = Estimate(float("nan"), float("nan"), float("nan"), np.empty(0))
    return JudgedFeature(
        calibration,
        found,
        right,
        shown,
        reliability(found, right, times, of),
        area_under_risk_coverage(found, right, times, of),
        area_under_roc(-found, ~shown, times, of) if 0 < shown.sum() < len(shown) else none,
    )
