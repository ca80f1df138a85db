"""Which layer? Every layer of a network by what it is good for, against its depth."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from corrcore import concurrency, images, patch_index
from corrcore.concurrency import Progress
from corrcore.datasets.records import Photo
from corrcore.engines import mrf, svm
from corrcore.experiments.base import ObjectExperiment, Result, subsample
from corrcore.experiments.context import Context
from corrcore.experiments.options import option
from corrcore.experiments.over_index import agreement_of_seed
from corrcore.experiments.registry import register
from corrcore.experiments.results import ResultStore
from corrcore.experiments.run import run
from corrcore.experiments.transfer import SmoothnessSearch, best_smoothness
from corrcore.features import Extractor, Feature
from corrcore.metrics import Estimate, bootstrap_interval
from corrcore.networks import ModuleNetwork
from corrcore.patch_index import LONGER_SIDE_PX, PatchIndex
from corrcore.tasks import alignment, averaging, classification, effective_field, localisation, reconstruction

VERSION = 1  # of what this module computes: results kept by another are not used
FINEST_PX = 4  # stride of the layers that are swept unless others are asked for: finer grids take hours and say little
FIELD_PHOTOS, QUERY_PHOTOS, SEEDS = 8, 20, 30
NOTHING = Estimate(float("nan"), float("nan"), float("nan"), np.empty(0), 0)

Measure = str
MEASURES: Mapping[Measure, str] = {
    "classification": "classified, %",
    "transfer": "PCK at 0.1 aligned, %",
    "localisation": "localisation, 0.5 by chance",
    "agreement": "agreement radius, px",
    "effective": "effective radius, px",
}
BEST: tuple[Measure, ...] = ("classification", "transfer", "localisation")
"""Those of which more is better."""


@dataclass(frozen=True, eq=False)
class _State:
    context: Context
    network: Extractor
    samples: classification.Samples
    photo_names: Sequence[str]
    indexed: Sequence[Photo]
    queried: Sequence[Photo]


@dataclass(frozen=True, eq=False)
class LayerRecord:
    """One layer: how deep it lies, from just above 0 to 1, its stride in pixels, and what it reaches."""

    depth: float
    stride_px: int
    smoothness: float
    measures: Mapping[Measure, Estimate]


Layers = Mapping[Feature, LayerRecord]


@register
@dataclass(frozen=True)
class Sweep(ObjectExperiment[Feature, _State, LayerRecord, Layers]):
    """What each layer of a network is good for, by depth: which block should be taken?

    All is measured on the train split, so that a layer may be chosen by it. Classification: accuracy of five-fold cross
    validation at the best cost, folds share no photo (Table 3's protocol). Transfer: PCK at 0.1 of `objects` objects
    whose own photos are left out of their neighbours, at the best of three smoothnesses (Table 2's). Localisation: the
    score of retrieved patches of 20 photos among `photos` others; the agreement radius is the median of a seed in each
    of 30 of these. The effective radius is that of the disc that holds half of the gradient, over 8 photos. Layers of
    stride 4 px and more, unless others are asked for; layers that were measured before are not measured again. Of the
    train objects `limit` are taken.
    """

    features: tuple[Feature | str, ...] = option(
        (), "layers, such as conv3,conv5 (default: all with cells 4 px apart or more)"
    )
    limit: int | None = option(100, "train objects at most, at random")
    objects: int = option(30, "whose keypoints are transferred")
    photos: int = option(60, "among which patches are retrieved")

    kind: ClassVar[str] = "sweep"
    title: ClassVar[str] = "Sweep over depth"
    growing: ClassVar[frozenset[str]] = frozenset({"features"})
    named: ClassVar[frozenset[str]] = frozenset({"category"})
    sample_noun: ClassVar[str] = "layer"
    versions: ClassVar[tuple[int, ...]] = (
        VERSION,
        classification.VERSION,
        svm.VERSION,
        alignment.VERSION,
        mrf.VERSION,
        reconstruction.VERSION,
        averaging.VERSION,
        effective_field.VERSION,
    )

    @classmethod
    def usual_features(cls, network: Extractor) -> tuple[Feature, ...]:
        """All layers, by depth, but those of the finest grids."""
        layers = [layer for layer in network.layers if network.receptive_field(layer).stride >= FINEST_PX]
        return tuple(Feature(network.name, layer) for layer in layers or network.layers)

    def resolved(self, context: Context) -> Self:
        """With its layers. Raises ValueError for features that are no layers, and too few objects or photos."""
        found = super().resolved(context)
        if others := [each.key for each in found.feature_list if each.extractor != found.network]:
            msg = f"features of a sweep must be layers of {self.network}; got {', '.join(others)}."
            raise ValueError(msg)
        for name in ("objects", "photos"):
            if getattr(self, name) < 2:
                msg = f"{name} must be at least 2; got {getattr(self, name)}."
                raise ValueError(msg)
        return found

    def samples(self, context: Context) -> Mapping[str, Feature]:
        """The layers."""
        del context
        return {feature.key: feature for feature in self.feature_list}

    def stamp(self, sample: Feature) -> str:
        """Layers have none: photos and weights are in the provenance."""
        return str(sample)

    @property
    def described_by(self) -> tuple[Feature, ...]:
        """The network alone, whatever layers are asked for."""
        return ()

    def prepare(self, context: Context) -> _State:
        """Describes every visible keypoint of the train split, and says which photos patches are retrieved from."""
        network, names = context.network(self.network), context.dataset(self.dataset).keypoint_names[self.category]
        train = self.instances(context, "train")
        described = classification.samples(train, self.feature_list, names, network=network, progress=context.progress)
        unique = {one.photo.name: one.photo for one in train}
        lot = subsample(list(unique.values()), self.photos + QUERY_PHOTOS)
        n = min(self.photos, max(len(lot) - QUERY_PHOTOS, len(lot) // 2))
        photo_names = [one.photo.name for one in train]
        return _State(context, network, described, photo_names, lot[:n], lot[n:])

    def measure(self, sample: Feature, state: _State) -> LayerRecord:
        """All measures of one layer."""
        network, layers = state.network, state.network.layers
        report = state.context.progress
        transfer, smoothness = self._transfer(sample, state.context)
        found = {"classification": _classified(sample, state), "transfer": transfer}
        found |= _retrieved(sample.layer, state, concurrency.part(report, 0, 1, f"{sample.layer}, "))
        found["effective"] = _effective(sample.layer, state)
        depth = (layers.index(sample.layer) + 1) / len(layers)
        stride = network.receptive_field(sample.layer).stride
        return LayerRecord(depth, stride, smoothness, {name: found[name] for name in MEASURES})

    def _transfer(self, feature: Feature, context: Context) -> tuple[Estimate, float]:
        """PCK of the best smoothness, and this."""
        search = SmoothnessSearch(
            self.dataset, self.category, self.network, (feature,), self.limit, n_objects=self.objects
        )
        store = None if context.store is None else ResultStore(context.store)
        report = concurrency.part(context.progress, 0, 1, f"{feature.layer}, transfer: ")
        try:
            result = run(search, context=context, store=store, progress=report)
            best = best_smoothness(result)[feature]
        except ValueError:  # no object has a neighbour in another photo, or shows a keypoint
            return NOTHING, float("nan")
        row = next(row for row in result.summary.rows if row.key == f"{feature.key} {best}")
        return replace(result.summary.accuracy(row, alpha=0.1), resampled=np.empty(0)), best

    def read_record(self, plain: Mapping[str, Any]) -> LayerRecord:
        """See `Experiment.read_record`."""
        measures = {name: _estimate(each) for name, each in plain["measures"].items()}
        return LayerRecord(plain["depth"], plain["stride_px"], _number(plain["smoothness"]), measures)

    def summarise(self, result: Result[LayerRecord, Layers]) -> Layers:
        """The layers by depth."""
        found = {Feature.parse(key, network=self.network): record for key, record in result.records.items()}
        return dict(sorted(found.items(), key=lambda each: each[1].depth))

    def summary_rows(self, summary: Layers) -> Sequence[Mapping[str, str]]:
        """A row per layer; the last column says what it is the best for."""
        best = best_layers(summary)
        return [
            {
                "layer": feature.layer,
                "stride": f"{record.stride_px} px",
                **{MEASURES[name]: measure_text(name, record.measures[name]) for name in MEASURES},
                "best for": ", ".join(name for name in BEST if best.get(name) == feature),
            }
            for feature, record in summary.items()
        ]


def best_layers(summary: Layers) -> Mapping[Measure, Feature]:
    """The layer of the highest number of each measure in `BEST`, the first of several; none where nothing was found."""
    found = {}
    for name in BEST:
        values = {feature: record.measures[name].value for feature, record in summary.items()}
        values = {feature: value for feature, value in values.items() if not np.isnan(value)}
        if values:
            found[name] = max(values, key=lambda feature: values[feature])
    return found


def measure_text(name: Measure, found: Estimate) -> str:
    """A number and its interval, as tables have them."""
    if np.isnan(found.value):
        return "none"
    digits = 2 if name == "localisation" else 1 if name in BEST else 0
    low, high = f"{found.low:.{digits}f}", f"{found.high:.{digits}f}"
    ends = f"[{low} or more]" if np.isinf(found.high) else f"[{low}, {high}]"
    value = "does not fall" if np.isinf(found.value) else f"{found.value:.{digits}f}"
    return value if np.isnan(found.low) or np.isinf(found.low) else f"{value} {ends}"


def _estimate(plain: Mapping[str, Any]) -> Estimate:
    value, low, high = (_number(plain[end]) for end in ("value", "low", "high"))
    return Estimate(value, low, high, np.empty(0), plain["samples"])


def _number(plain: float | str | None) -> float:
    return float("nan" if plain is None else plain)


def _bootstrapped(values: Sequence[float], statistic: Any) -> Estimate:
    """The statistic of those that are numbers; nothing where less than half of them are."""
    there = np.array([value for value in values if not np.isnan(value)])
    if len(there) < max(2, len(values) / 2):
        return NOTHING
    low, high = bootstrap_interval(there, rng=np.random.default_rng(0), statistic=statistic)
    return Estimate(float(statistic(there)), low, high, np.empty(0), len(there))


def _classified(feature: Feature, state: _State) -> Estimate:
    """Accuracy in cross validation, with its interval over photos."""
    found = classification.cross_validated(state.samples, feature, state.photo_names, device=state.network.device)
    if found is None:
        return NOTHING
    of_photo = np.unique([state.photo_names[n] for n in found.objects], return_inverse=True)[1]
    hits, n = np.bincount(of_photo, found.right), np.bincount(of_photo)
    drawn = np.random.default_rng(0).integers(0, len(n), (2000, len(n)))
    low, high = np.quantile(100 * hits[drawn].sum(1) / n[drawn].sum(1), [0.025, 0.975])
    return Estimate(100 * float(found.right.mean()), float(low), float(high), np.empty(0), len(n))


def _retrieved(layer: str, state: _State, progress: Progress) -> dict[Measure, Estimate]:
    """How well retrieved patches sit in their places, and how far around a cell its neighbours agree."""
    if not state.queried:
        return {"localisation": NOTHING, "agreement": NOTHING}
    with tempfile.TemporaryDirectory(prefix="corrcore sweep ", ignore_cleanup_errors=True) as folder:
        try:
            index = patch_index.build(
                state.indexed, f"{folder}/index", extractor=state.network, layers=(layer,), progress=progress
            )
        except ValueError:  # no photo has a cell of this layer
            return {"localisation": NOTHING, "agreement": NOTHING}
        scores = [_score(number, photo, layer, index, state.network) for number, photo in enumerate(state.queried)]
        enough = index.n_patches(layer) > 2 * averaging.PROFILE_K
        radii = [_radius(photo, layer, index) for photo in range(min(SEEDS, len(index.photos)) if enough else 0)]
    return {"localisation": _bootstrapped(scores, np.mean), "agreement": _bootstrapped(radii, np.median)}


def _radius(photo: int, layer: str, index: PatchIndex) -> float:
    """The agreement radius, in pixels, of a seed at random in a photo, which is the one picture of itself."""
    rng, cells = np.random.default_rng([0, photo]), index.grid(layer, photo)
    if not len(cells):
        return float("nan")
    seed = index.id_at(layer, photo, int(rng.integers(cells.rows)), int(rng.integers(cells.columns)))
    return agreement_of_seed(index, layer, seed, averaging.PROFILE_K, rng).agreement_radius_px


def _score(number: int, photo: Photo, layer: str, index: PatchIndex, network: Extractor) -> float:
    """The localisation score of one photo; NaN where it has no cell to measure."""
    image = images.shrink(photo.load(), longer_side=LONGER_SIDE_PX)
    try:
        grid = network.extract(image, [layer])[layer]
    except ValueError:  # too small
        return float("nan")
    cells = localisation.cells_to_measure(grid.cells, rng=np.random.default_rng(number))
    if not len(cells):
        return float("nan")
    found = index.search(layer, grid.flat()[cells], 1, exclude=index.photos_like(image))
    return localisation.localise_cells(image, grid.cells, cells, np.asarray(found.ids)[:, 0], layer, index).score


def _effective(layer: str, state: _State) -> Estimate:
    """The radius that holds half of the gradient; nothing where a network has no gradients."""
    if not isinstance(state.network, ModuleNetwork):
        return NOTHING
    try:
        found = effective_field.effective_field(state.network, layer, [*state.indexed[:FIELD_PHOTOS]])
    except ValueError:  # no photo is large enough
        return NOTHING
    return replace(NOTHING, value=found.radius_px, samples=found.n_photos)
