"""SPair-71k: keypoints of one photo found in another, as benchmarks of semantic correspondence measure it."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from corrcore.crops import BoxXYXY
from corrcore.datasets.records import Instance, InstancePair
from corrcore.engines import mrf
from corrcore.experiments.base import ObjectExperiment, Result, stamp_of, subsample
from corrcore.experiments.context import Context, open_results
from corrcore.experiments.options import option
from corrcore.experiments.registry import register
from corrcore.experiments.tables import KeypointRecord, KeypointTable, Row, table_of_places
from corrcore.features import Extractor, Feature
from corrcore.metrics import Average, Estimate
from corrcore.store import Cache
from corrcore.tasks import alignment, confidence, matching, positional_subspace
from corrcore.tasks.matching import DescribedExtent, MatchOptions, Method

AVERAGES: Mapping[str, Average] = {"per point": "micro", "per image": "per_image"}
PAIR_ALPHAS = (0.1, 0.05)
TWIN_TAKEN, TWIN_OF_EITHER = "twin taken at 0.1, %", "of places at either (chance 50), %"
KEPT_BYTES = 512 * 10**6  # of descriptors at a time; a photo at 448 px takes 0.6 MB by AlexNet's conv4

Described = Mapping[Feature, DescribedExtent]


class DescribedOnce:
    """Describes each photo's object once, for a photo is in many pairs; the least recently used go first.

    At most `limit_bytes` of descriptors are kept. Several threads may ask at once.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        network: Extractor,
        options: MatchOptions,
        limit_bytes: int = KEPT_BYTES,
        results: Cache | None = None,
    ) -> None:
        self.features, self.network, self.options = features, network, options
        self.limit_bytes, self.results = limit_bytes, results
        self._kept: OrderedDict[str, Described] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, instance: Instance) -> Described:
        """What is matched of an object's photo. Raises what loading the photo and describing it do."""
        with self._lock:
            if instance.name in self._kept:
                self._kept.move_to_end(instance.name)
                return self._kept[instance.name]
        found = matching.describe(
            instance.photo.load(),
            self.features,
            network=self.network,
            options=self.options,
            box=instance.box,
            results=self.results,
        )
        with self._lock:
            self._kept[instance.name] = found
            while self.n_bytes > self.limit_bytes and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return found

    @property
    def n_bytes(self) -> int:
        """Of the descriptors that are kept."""
        return sum(each.grid.descriptors.nbytes for described in self._kept.values() for each in described.values())


@dataclass(frozen=True, kw_only=True)
class MatchFields:
    """How points are matched, as fields of an experiment: those of `MatchOptions`."""

    method: Method = option("nn", "the cell most like the point, or alignment of all cells by a random field")
    extent: str = option("photo", "what is described of photos", choices=("photo", "box"))
    longer_side: int | None = option(None, "px of it (default: 448; for mrf what makes 18 cells of the layer)")
    refine: bool = option(False, "for nn: between cells, by the parabola around the best one")
    smoothness: float = option(MatchOptions.smoothness, "for mrf: cost of uneven displacements")
    position: float = option(MatchOptions.position, "for mrf: cost of a square cell away from the same place")
    iterations: int = option(MatchOptions.iterations, "for mrf: of the solver, at most")
    without_position: int = option(
        0, "directions that tell of the place alone to take out of descriptors, such as 8 (default: 0, none)"
    )

    @property
    def options(self) -> MatchOptions:
        """How points are matched. Raises ValueError for what cannot be."""
        given: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(MatchOptions)}
        return MatchOptions(**given)

    def taken_out(self) -> Mapping[str, Any]:
        """The code that says what is of the place, where that is taken out: a part of where results come from."""
        return {"positional_subspace": positional_subspace.VERSION} if self.without_position else {}

    def describing(self, features: Sequence[Feature], network: Extractor) -> DescribedOnce:
        """Photos are described when a pair needs them."""
        results = open_results() if self.without_position else None
        return DescribedOnce(features, network, self.options, results=results)


@dataclass(frozen=True, eq=False)
class PairRecord(KeypointRecord):
    """One pair: `box`, `truth` and `predicted` are in pixels of the target; NaN are keypoints that one does not show.

    `photos` are the names of the source's and the target's photo.
    """

    photos: tuple[str, str]

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "PairRecord":
        """A record as it was written."""
        whole = KeypointRecord.read(plain)
        source, target = plain["photos"]
        return cls(whole.box, whole.truth, whole.neighbours, whole.predicted, (source, target))


@register
@dataclass(frozen=True)
class Pairs(MatchFields, ObjectExperiment[InstancePair, DescribedOnce, PairRecord, KeypointTable]):
    """How often keypoints of one photo are found in another of the same category: the measure of SPair-71k.

    A point is right within alpha of the longer side of the target's box. Per point is the share of all points of all
    pairs; per image every pair's own share, then the mean over pairs. 95 % intervals are over photos, both of each
    pair. Where a data set lists no pairs, these are all of a category's objects in different photos.

    Of keypoints that both photos show on both sides, left and right, it is said how often a place is within 0.1 of the
    twin and nearer to it ("twin taken"), and which share that is of places that are right for either: what knows eyes
    but not left from right has 50 % there.

    Others' numbers on SPair-71k are of whole photos (`extent` "photo"); "box" knows more.
    """

    limit: int | None = option(None, "pairs at most, at random, for a quick look (default: all)")
    split: str = option(
        "", "which pairs (default: test where there is one, else val)", choices=("test", "val", "train")
    )
    extent: str = option(
        "", "what is described of photos (default: photo for nn, box for mrf)", choices=("photo", "box")
    )

    kind: ClassVar[str] = "pairs"
    title: ClassVar[str] = "Matched pairs (SPair-71k)"
    versions: ClassVar[tuple[int, ...]] = (matching.VERSION, alignment.VERSION, mrf.VERSION)
    learnt_from: ClassVar[tuple[str, ...]] = ()
    sample_noun: ClassVar[str] = "pair"

    @classmethod
    def usual_features(cls, network: Extractor) -> tuple[Feature, ...]:
        """The network's layer for transfer."""
        return (Feature(network.name, network.roles.transfer),)

    def resolved(self, context: Context) -> Self:
        """With its split and extent, too. Raises ValueError for a split that is not there."""
        found = super().resolved(context)
        data = context.dataset(self.dataset)
        usual = "test" if (self.category, "test") in data.splits else "val"
        found = replace(
            found, split=self.split or usual, extent=self.extent or ("photo" if self.method == "nn" else "box")
        )
        data.instances(found.category, found.split)
        _ = found.options
        return found

    def provenance(self, context: Context) -> Mapping[str, Any]:
        """With the code that says what is of the place, where that is taken out."""
        return {**super().provenance(context), **self.taken_out()}

    def samples(self, context: Context) -> Mapping[str, InstancePair]:
        """The pairs."""
        pairs = context.dataset(self.dataset).pairs(self.category, self.split)
        return {pair.name: pair for pair in subsample(pairs, self.limit)}

    def stamp(self, sample: InstancePair) -> str:
        """Of both photos."""
        return f"{stamp_of(sample.source.photo)} {stamp_of(sample.target.photo)}"

    def prepare(self, context: Context) -> DescribedOnce:
        """Photos are described when a pair needs them."""
        return self.describing(self.feature_list, context.network(self.network))

    def measure(self, sample: InstancePair, state: DescribedOnce) -> PairRecord:
        """Where each feature finds the source's keypoints in the target."""
        source, target, shared = state(sample.source), state(sample.target), sample.shared
        truth = np.where(shared[:, None], sample.target.keypoints, np.nan)
        predicted = {}
        for feature in self.feature_list:
            points = np.full_like(truth, np.nan)
            known = sample.source.keypoints[shared]
            points[shared] = matching.match(source[feature], target[feature], known, options=self.options)
            predicted[Row(feature).key] = np.round(points, 2)
        photos = sample.source.photo.name, sample.target.photo.name
        return PairRecord(sample.target.box, truth, (sample.source.name,), predicted, photos)

    def read_record(self, plain: Mapping[str, Any]) -> PairRecord:
        """See `Experiment.read_record`."""
        return PairRecord.read(plain)

    def summarise(self, result: Result[PairRecord, KeypointTable]) -> KeypointTable:
        """Which points of which pairs each feature has right; objects of the table are pairs."""
        table = table_of_places(result, stretched=False)
        photos = [result.records[name].photos for name in table.objects]
        sources, targets = np.unique(photos, return_inverse=True)[1].reshape(-1, 2).T
        boxes = [result.records[name].box for name in table.objects]
        stretch = np.array([_longer_side(box) / confidence.side_px(box) for box in boxes])[:, None]
        return replace(
            table,
            errors=table.errors * stretch,
            twin_errors=None if table.twin_errors is None else table.twin_errors * stretch,
            photos=targets,
            partners=sources,
            average="micro",
        )

    def summary_rows(self, summary: KeypointTable) -> Sequence[Mapping[str, str]]:
        """PCK of every feature, per point and per image, and how often left is taken for right."""
        counts = {"pairs": str(len(summary.objects)), "points": str(int(summary.visible.sum()))}
        rows = []
        for row in summary.rows:
            cells = {"row": row.key}
            for (how, over), alpha in _measures():
                found = summary.accuracy(row, alpha=alpha, over=over)
                cells[_heading(how, alpha)] = _text(found)
            if (sides := summary.twins_taken(row)) is not None:
                cells[TWIN_TAKEN] = _text(sides.taken)
                cells[TWIN_OF_EITHER] = "" if sides.of_either is None else _text(sides.of_either)
            rows.append(cells | counts)
        return rows

    @classmethod
    def mean_rows(cls, summaries: Sequence[KeypointTable]) -> Sequence[Mapping[str, str]]:
        """The mean over categories, of features that all have."""
        rows = []
        for row in (row for row in summaries[0].rows if all(row in table.rows for table in summaries)):
            cells = {"row": row.key}
            for (how, over), alpha in _measures():
                each = [table.accuracy(row, alpha=alpha, over=over).value for table in summaries]
                cells[_heading(how, alpha)] = f"{np.mean(each):.1f}"
            sides = [found for table in summaries if (found := table.twins_taken(row)) is not None]
            if len(sides) == len(summaries):
                cells[TWIN_TAKEN] = f"{np.mean([found.taken.value for found in sides]):.1f}"
            rows.append(cells | {"categories": str(len(summaries))})
        return rows


def _measures() -> Sequence[tuple[tuple[str, Average], float]]:
    return [(average, alpha) for average in AVERAGES.items() for alpha in PAIR_ALPHAS]


def _text(found: Estimate) -> str:
    return f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"


def _heading(how: str, alpha: float) -> str:
    return f"PCK at {alpha:g} {how}, %"


def _longer_side(box: BoxXYXY) -> float:
    left, top, right, bottom = box
    return max(right - left, bottom - top)
