"""Figure 5: where around a keypoint is its classifier's score highest, pixel by pixel?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float, Int

from corrcore import extractors
from corrcore.datasets.records import Instance
from corrcore.engines import svm
from corrcore.experiments.base import ObjectExperiment, Result, subsample
from corrcore.experiments.classification import PROTOCOLS, protocols_of_single_cells
from corrcore.experiments.context import Context
from corrcore.experiments.options import option
from corrcore.experiments.registry import register
from corrcore.features import SIFT, Extractor, Feature
from corrcore.networks import every_pixel
from corrcore.tasks import classification, responses
from corrcore.tasks.classification import CropProtocol, KeypointClassifier

USUAL_KEYPOINTS = 3  # of those there are: maps take seconds each


@dataclass(frozen=True, eq=False)
class _State:
    network: Extractor
    names: tuple[str, ...]
    classifiers: Mapping[Feature, KeypointClassifier]


@dataclass(frozen=True, eq=False)
class MaximumRecord:
    """Where one keypoint's score is highest in the square around it, and the true place, from the square's
    middle pixel; `profile` is the mean score by distance.
    """

    maximum: Int[np.ndarray, "2"]
    place: Float[np.ndarray, "2"]
    profile: Float[np.ndarray, " distances"]


Maxima = Mapping[str, Mapping[str, MaximumRecord]]
"""Of one object, by the feature's key and the keypoint."""


@dataclass(frozen=True, eq=False)
class KeypointResponse:
    """Where one feature's score of one keypoint is highest, over all objects that have room for the square.

    Shares within radii are pairs of ours and chance's. `finer` than its stride is "yes" or "no" where the
    interval leaves no doubt, else "open"; None for features without a stride.
    """

    instances: int
    boundary_share: float
    median_px: float
    low: float
    high: float
    chance_median_px: float
    stride_median_px: float
    finer: str | None
    within: Mapping[int, tuple[float, float]]
    counts: Float[np.ndarray, "side side"]
    profile: Float[np.ndarray, " distances"]


ResponseSummary = Mapping[Feature, Mapping[str, KeypointResponse | None]]
"""By feature and keypoint; None where no object has room."""


@register
@dataclass(frozen=True)
class Responses(ObjectExperiment[Instance, _State, Maxima, ResponseSummary]):
    """Where around keypoints of a category's val objects their classifiers' scores are highest: Figure 5.

    Classifiers are trained on all keypoints of the train objects, at `cost` or that of best cross validation.
    Pixels are those of what the protocol shows, and looked at are squares of `side` px. Keypoints so near the
    border that not all of theirs have a descriptor are left out.
    """

    keypoints: tuple[str, ...] = option((), "such as L_Eye,Nose (default: the first three that objects show)")
    protocol: str = option("box", "how objects are seen, as for classification", choices=protocols_of_single_cells())
    side: int = option(responses.SIDE_PX, "of the square around the keypoint, px")
    cost: float | None = option(None, "of the classifiers (default: chosen on the train split)")

    kind: ClassVar[str] = "responses"
    title: ClassVar[str] = "Response maxima (Figure 5)"
    versions: ClassVar[tuple[int, ...]] = (
        responses.VERSION,
        classification.VERSION,
        svm.VERSION,
        every_pixel.VERSION,
    )

    @classmethod
    def usual_features(cls, network: Extractor) -> tuple[Feature, ...]:
        """The layers that rebuild photos, and SIFT of two radii."""
        layers = tuple(Feature(network.name, layer) for layer in network.roles.reconstruction)
        return (*layers, Feature(SIFT, "20"), Feature(SIFT, "40"))

    @property
    def crop_protocol(self) -> CropProtocol:
        """How objects are seen. Raises ValueError for one of several cells together, and for an unknown one."""
        if self.protocol not in protocols_of_single_cells():
            msg = f"protocol must be one of {', '.join(protocols_of_single_cells())}; got {self.protocol!r}."
            raise ValueError(msg)
        return PROTOCOLS[self.protocol]

    def resolved(self, context: Context) -> Self:
        """Raises ValueError for unknown keypoints, those that some split does not show, and an even side."""
        if self.side < 3 or self.side % 2 == 0:
            msg = f"side must be odd, so that a pixel is in the middle, and at least 3 px; got {self.side}."
            raise ValueError(msg)
        found = super().resolved(context)
        data = context.dataset(self.dataset)
        known = data.keypoint_names[self.category]
        if absent := [name for name in self.keypoints if name not in known]:
            msg = f"keypoints of {self.category} must be among {', '.join(known)}; got {', '.join(absent)}."
            raise ValueError(msg)
        _ = self.crop_protocol
        splits = {
            "train": self.instances(context, "train"),
            "val": data.visible_instances(self.category, "val"),
        }
        seen = {split: np.any([one.visible for one in some], axis=0) for split, some in splits.items() if some}
        for split in splits:
            unseen = [name for name in self.keypoints if split not in seen or not seen[split][known.index(name)]]
            if unseen or split not in seen:
                shown = f"; none shows {', '.join(unseen)}" if unseen else ""
                msg = f"keypoints must be visible in some {split} object of {self.category}{shown}."
                raise ValueError(msg)
        usual = [name for name, *both in zip(known, *seen.values(), strict=True) if all(both)][:USUAL_KEYPOINTS]
        if not usual:
            msg = f"no keypoint of {self.category} is visible in objects of both splits; raise the limit."
            raise ValueError(msg)
        return replace(found, keypoints=self.keypoints or tuple(usual))

    def _showing(self, context: Context) -> list[Instance]:
        """The val objects that show one of the keypoints."""
        data = context.dataset(self.dataset)
        known = list(data.keypoint_names[self.category])
        numbers = [known.index(name) for name in self.keypoints]
        return [one for one in data.visible_instances(self.category, "val") if one.visible[numbers].any()]

    def _of_split(self, context: Context, split: str) -> list[Instance]:
        if split == "val":
            return subsample(self._showing(context), self.limit)
        return self.instances(context, split)

    def samples(self, context: Context) -> Mapping[str, Instance]:
        """The val objects that show one of the keypoints."""
        return {one.name: one for one in self._of_split(context, "val")}

    def prepare(self, context: Context) -> _State:
        """Trains a classifier per feature on all train objects."""
        network, data = context.network(self.network), context.dataset(self.dataset)
        names = tuple(data.keypoint_names[self.category])
        classifiers = classification.train_classifiers(
            self.instances(context, "train"),
            self.feature_list,
            names,
            network=network,
            protocol=self.crop_protocol,
            cost=self.cost,
            progress=context.progress,
        )
        for feature, classifier in classifiers.items():
            classes = {name: classification.class_of(name, self.crop_protocol) for name in self.keypoints}
            if untrained := [name for name, each in classes.items() if each not in classifier.names]:
                msg = f"no train object whose photo can be read shows {', '.join(untrained)} to {feature.title}."
                raise ValueError(msg)
        return _State(network, names, classifiers)

    def measure(self, sample: Instance, state: _State) -> Maxima:
        """The highest score in the square around each keypoint, by each feature."""
        protocol = self.crop_protocol
        image, transform = classification.view(sample, protocol)
        size, points = (image.shape[1], image.shape[0]), transform.to_crop(sample.keypoints)
        found: dict[str, dict[str, MaximumRecord]] = {feature.key: {} for feature in self.feature_list}
        for feature, classifier in state.classifiers.items():
            for name in self.keypoints:
                number = state.names.index(name)
                square = responses.around(points[number], self.side) if sample.visible[number] else None
                if square is None or not responses.inside(square, feature, size, network=state.network):
                    continue
                scores = responses.response_map(image, classifier, network=state.network, region=square)
                own = classifier.names.index(classification.class_of(name, protocol))
                middle = np.array([square.left, square.top]) + self.side // 2
                profile = responses.profile(scores, own, middle.astype(float), reach=self.side // 2)
                maximum = np.array(scores.highest(own)) - middle
                found[feature.key][name] = MaximumRecord(maximum, points[number] - middle, np.round(profile, 4))
        return found

    def read_record(self, plain: Mapping[str, Any]) -> Maxima:
        """See `Experiment.read_record`."""
        return {
            feature: {
                name: MaximumRecord(np.array(one["maximum"]), np.array(one["place"]), np.array(one["profile"], float))
                for name, one in of.items()
            }
            for feature, of in plain.items()
        }

    def summarise(self, result: Result[Maxima, ResponseSummary]) -> ResponseSummary:
        """Histogram, medians and shares by feature and keypoint."""
        summary: dict[Feature, dict[str, KeypointResponse | None]] = {}
        for feature in self.feature_list:
            stride = stride_of(feature, result.notes)
            records = [record[feature.key] for record in result.records.values()]
            summary[feature] = {
                name: _response([each[name] for each in records if name in each], self.side, stride)
                for name in self.keypoints
            }
        return summary

    def notes(self, state: _State) -> Mapping[str, Any]:
        """Layers' strides, which maxima are compared with."""
        strides = {}
        for feature in state.classifiers:
            extractor = extractors.extractor_of(feature, state.network)
            if not extractor.anywhere:
                strides[feature.key] = extractor.receptive_field(feature.layer).stride
        return {"strides": strides}

    def summary_rows(self, summary: ResponseSummary) -> Sequence[Mapping[str, str]]:
        """A row per feature and keypoint."""
        return [_text_row(feature, name, found) for feature, of in summary.items() for name, found in of.items()]


def stride_of(feature: Feature, notes: Mapping[str, Any]) -> int | None:
    """A layer's stride, as the experiment noted it; None for features without a grid."""
    return notes.get("strides", {}).get(feature.key)


def _response(records: Sequence[MaximumRecord], side: int, stride: int | None) -> KeypointResponse | None:
    if not records:
        return None
    maxima, places, profiles = (
        np.array([getattr(record, name) for record in records]) for name in ("maximum", "place", "profile")
    )
    found = responses.histogram(maxima, places, side=side)
    middle, low, high = found.median_px(np.random.default_rng(0))
    inside = len(found.distances_px) > 0
    by_stride = float("nan") if stride is None else responses.stride_median_px(stride)
    finer = None
    if stride is not None and np.isfinite(low):
        finer = "yes" if high < by_stride else "no" if low > by_stride else "open"
    return KeypointResponse(
        len(records),
        found.boundary_share,
        middle,
        low,
        high,
        found.chance_median_px if inside else float("nan"),
        by_stride,
        finer,
        {radius: found.share_within(radius) for radius in responses.RADII_PX} if inside else {},
        found.counts,
        profiles.mean(axis=0),
    )


def _text_row(feature: Feature, keypoint: str, found: KeypointResponse | None) -> Mapping[str, str]:
    cells = {"feature": feature.key, "keypoint": keypoint}
    if found is None or not found.within:
        return cells | {"median, px (chance)": "none inside the square"}
    ends = "-, -" if np.isnan(found.low) else f"{found.low:.1f}, {found.high:.1f}"
    shares = {f"within {r} px, % (chance)": f"{100 * a:.0f} ({100 * b:.0f})" for r, (a, b) in found.within.items()}
    return (
        cells
        | shares
        | {
            "median, px (chance)": f"{found.median_px:.1f} [{ends}] ({found.chance_median_px:.1f})",
            "finer than its stride": found.finer or "",
            "on the boundary": f"{100 * found.boundary_share:.0f} % of {found.instances}",
        }
    )
