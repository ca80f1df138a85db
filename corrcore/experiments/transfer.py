"""Table 2: keypoints of a category's val objects, transferred from similar train objects by alignment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from corrcore import concurrency
from corrcore.datasets.records import Instance
from corrcore.engines import mrf
from corrcore.experiments.base import Experiment, ObjectExperiment, Result
from corrcore.experiments.context import Context
from corrcore.experiments.options import option
from corrcore.experiments.registry import register
from corrcore.experiments.results import ResultStore
from corrcore.experiments.run import run
from corrcore.experiments.tables import (
    UNALIGNED,
    KeypointRecord,
    KeypointTable,
    PckTables,
    Row,
    pck_rows,
    table_of_places,
)
from corrcore.features import SIFT, Extractor, Feature
from corrcore.tasks import alignment
from corrcore.tasks.alignment import NEIGHBOURS, DescribedCrop, NeighbourPool, Order, TransferOptions

SMOOTHNESSES = (0.03, 0.1, 0.3)
LEAST_POOL = 2 * NEIGHBOURS  # train objects that a limited experiment finds neighbours among, at least


@dataclass(frozen=True, eq=False)
class _State:
    pool: NeighbourPool
    describe: Any
    smoothness: Mapping[Feature, float]
    options: TransferOptions


@dataclass(frozen=True)
class _Aligning(ObjectExperiment[Instance, _State, KeypointRecord, KeypointTable]):
    """What the table and the search for its smoothness have in common."""

    position: float = option(0.0, "cost of a square cell away from the place that the box gives")
    order: Order = option("deformation", "which neighbours vote first")
    iterations: int = option(10, "of message passing, at most")

    versions: ClassVar[tuple[int, ...]] = (alignment.VERSION, mrf.VERSION)

    @classmethod
    def usual_features(cls, network: Extractor) -> tuple[Feature, ...]:
        """The network's layer for transfer, and SIFT of radius 20 px."""
        return Feature(network.name, network.roles.transfer), Feature(SIFT, "20")

    @property
    def options(self) -> TransferOptions:
        """How neighbours are aligned and vote."""
        return TransferOptions(position=self.position, order=self.order, iterations=self.iterations)

    def _of_split(self, context: Context, split: str) -> list[Instance]:
        if split == "train":
            return self.instances(context, "train", None if self.limit is None else max(self.limit, LEAST_POOL))
        return self.instances(context, split)

    def pool(self, context: Context) -> tuple[NeighbourPool, Any]:
        """The train objects, each described once in this context, and what describes any object in full precision."""
        network, features = context.network(self.network), self.feature_list
        train = self._of_split(context, "train")
        halved: dict[str, DescribedCrop] = {}

        def describe(instance: Instance) -> DescribedCrop:
            return alignment.describe_object(instance, features, network=network)

        def describe_once(instance: Instance) -> DescribedCrop:
            if instance.name not in halved:
                halved[instance.name] = describe(instance).halved()
            return halved[instance.name]

        key = self.dataset, self.category, self.network, features, len(train)
        pool = context.latest(
            "pool of neighbours", key, lambda: NeighbourPool.of(train, describe_once, progress=context.progress)
        )
        return pool, describe

    def read_record(self, plain: Mapping[str, Any]) -> KeypointRecord:
        """See `Experiment.read_record`."""
        return KeypointRecord.read(plain)

    def provenance(self, context: Context) -> Mapping[str, Any]:
        """With what neighbours are found by."""
        by = alignment.summary_source(context.network(self.network))
        return {**super().provenance(context), "neighbours_by": by}


@register
@dataclass(frozen=True)
class Transfer(PckTables, _Aligning):
    """Keypoints of a category's val objects, transferred from similar train objects of other photos: Table 2.

    The 25 most similar (`alignment.DescribedCrop.summary`) are aligned to each object by each feature; ordered by how
    little they are deformed, the first five that show a keypoint vote on it by the median of their coordinates. The row
    "NN" has the same neighbours in the order of their likeness, unaligned: boxes laid on one another. Each feature's
    `smoothness` is what does best on 30 train objects (PCK at 0.1), unless given for all.

    With `limit`, so many val objects are measured, smoothness is chosen on so many, and neighbours are found among so
    many, at least 50, train objects.
    """

    smoothness: float | None = option(None, "of all features (default: chosen on the train split)")

    kind: ClassVar[str] = "transfer"
    title: ClassVar[str] = "Keypoint transfer (Table 2)"
    number: ClassVar[str] = "2"

    def samples(self, context: Context) -> Mapping[str, Instance]:
        """The val objects."""
        return {one.name: one for one in self.instances(context, "val")}

    def parts(self) -> Mapping[str, Experiment]:
        """The search for the smoothness, where it is not given."""
        if self.smoothness is not None or not self.feature_list:
            return {}
        shared = {name: getattr(self, name) for name in ("dataset", "category", "network", "features", "limit")}
        search = SmoothnessSearch(**shared, position=self.position, order=self.order, iterations=self.iterations)
        return {"choosing the smoothness": search}

    def prepare(self, context: Context) -> _State:
        """Describes the train objects, and chooses the smoothness where it is not given."""
        pool, describe = self.pool(context)
        chosen = dict.fromkeys(self.feature_list, float(self.smoothness or 0))
        for what, search in self.parts().items():
            store = None if context.store is None else ResultStore(context.store)
            report = concurrency.part(context.progress, 0, 1, f"{what}: ")
            chosen = best_smoothness(run(search, context=context, store=store, progress=report))
        return _State(pool, describe, chosen, self.options)

    def notes(self, state: _State) -> Mapping[str, Any]:
        """The smoothness of each feature."""
        return {"smoothness": {feature.key: value for feature, value in state.smoothness.items()}}

    def note_lines(self, notes: Mapping[str, Any]) -> Sequence[str]:
        """The smoothness of each feature."""
        return [f"{feature}: smoothness {value:g}" for feature, value in notes.get("smoothness", {}).items()]

    def measure(self, sample: Instance, state: _State) -> KeypointRecord:
        """Where every row has the object's keypoints."""
        found = alignment.transfer_to_object(
            sample, state.describe(sample), state.pool, state.smoothness, options=state.options
        )
        predicted = {UNALIGNED.key: found.unaligned}
        predicted |= {Row(feature).key: each.keypoints for feature, each in found.transfers.items()}
        return KeypointRecord(
            sample.box,
            sample.keypoints,
            tuple(other.name for other, _ in found.neighbours),
            {row: np.round(points, 2) for row, points in predicted.items()},
        )

    def summarise(self, result: Result[KeypointRecord, KeypointTable]) -> KeypointTable:
        """The category's column of Table 2."""
        return table_of_places(result, stretched=False)


@register
@dataclass(frozen=True)
class SmoothnessSearch(_Aligning):
    """Transfer to train objects, whose own photos are left out of their neighbours, at several smoothnesses."""

    n_objects: int = 30
    smoothnesses: tuple[float, ...] = SMOOTHNESSES

    kind: ClassVar[str] = "smoothness"
    title: ClassVar[str] = "Search for the smoothness"
    listed: ClassVar[bool] = False

    def samples(self, context: Context) -> Mapping[str, Instance]:
        """Train objects at random."""
        train = self.pool(context)[0].instances
        n = self.n_objects if self.limit is None else min(self.n_objects, self.limit)
        return {train[number].name: train[number] for number in np.random.default_rng(1).permutation(len(train))[:n]}

    def prepare(self, context: Context) -> _State:
        """Describes the train objects."""
        pool, describe = self.pool(context)
        return _State(pool, describe, {}, self.options)

    def measure(self, sample: Instance, state: _State) -> KeypointRecord:
        """Where each feature has the object's keypoints at each smoothness."""
        target = state.describe(sample)
        neighbours = state.pool.nearest(sample, target)
        predicted = {
            f"{feature.key} {value}": alignment.transfer(
                target, neighbours, feature, smoothness=value, options=state.options
            ).keypoints
            for feature in self.feature_list
            for value in self.smoothnesses
        }
        rounded = {row: np.round(points, 2) for row, points in predicted.items()}
        return KeypointRecord(sample.box, sample.keypoints, tuple(other.name for other, _ in neighbours), rounded)

    def summarise(self, result: Result[KeypointRecord, KeypointTable]) -> KeypointTable:
        """A row per feature and smoothness."""
        return table_of_places(result, stretched=False)

    def summary_rows(self, summary: KeypointTable) -> Sequence[Mapping[str, str]]:
        """PCK of every row."""
        return pck_rows(summary)


def best_smoothness(result: Result[KeypointRecord, KeypointTable]) -> Mapping[Feature, float]:
    """Each feature's smoothness of highest PCK at 0.1, the least of several."""
    experiment = result.experiment
    if not isinstance(experiment, SmoothnessSearch):
        msg = f"the smoothness is told by a search for it; got {experiment.kind}."
        raise TypeError(msg)
    table = result.summary
    scores = {row.key: table.accuracy(row, alpha=0.1).value for row in table.rows}
    return {
        feature: max(experiment.smoothnesses, key=lambda value: (scores[f"{feature.key} {value}"], -value))
        for feature in experiment.feature_list
    }
