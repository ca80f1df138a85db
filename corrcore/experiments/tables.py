"""Tables 2, 3 and 4: which keypoints of which objects every row has right, with intervals and tests."""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from corrcore.datasets.twins import twins
from corrcore.experiments.base import Experiment, Result
from corrcore.features import Feature
from corrcore.metrics import (
    Average,
    Estimate,
    McNemar,
    accuracy,
    bootstrap_counts,
    bootstrap_pair_counts,
    difference,
    keypoint_errors,
    mcnemar,
)

ALPHAS = (0.1, 0.05, 0.025)
LARGE_PX = 60  # shorter side of the box, of objects that are reported for themselves
WELL_VISIBLE = 5  # keypoints that such objects show

Part = Literal["all", "large"]


@dataclass(frozen=True, eq=False)
class TwinsTaken:
    """How often a row takes a keypoint's twin, the same part of the other side, for the keypoint.

    `taken` is the percentage of places that are right for the twin and nearer to it than to the keypoint itself, of
    `n` keypoints whose twin is shown, too; `right` that of places that are right for the keypoint, and not taken.
    `of_either` is the percentage of taken ones among both, which is 50 where sides are told by a coin; None where no
    place is at either.
    """

    taken: Estimate
    right: Estimate
    of_either: Estimate | None
    n: int


@dataclass(frozen=True)
class Row:
    """What predicted a table's row: a feature, a prior from so many objects, or both; neither is "NN", unaligned boxes.

    `refined` rows take the best pixel around the best cell.

    >>> conv5 = Feature("alexnet", "conv5")
    >>> [Row(*each).key for each in [(conv5,), (conv5, 1), (conv5, 5, True), (None, 1), (None, 5), ()]]
    ['conv5', 'conv5+prior', 'conv5+5 priors, refined', 'prior', '5 priors', 'NN']
    >>> Row.parse("conv5+5 priors", network="alexnet") == Row(conv5, 5)
    True
    """

    feature: Feature | None = None
    priors: int = 0
    refined: bool = False

    @property
    def key(self) -> str:
        """The name in files, arrays and links."""
        prior = "" if not self.priors else "prior" if self.priors == 1 else f"{self.priors} priors"
        name = "+".join(each for each in (self.feature.key if self.feature else "", prior) if each) or "NN"
        return f"{name}, refined" if self.refined else name

    @property
    def title(self) -> str:
        """The name on pages."""
        if self == UNALIGNED:
            return "NN, not aligned"
        if self.feature is None:
            return self.key
        return self.feature.title + self.key.removeprefix(self.feature.key).replace("+", " + ", 1)

    @classmethod
    def parse(cls, key: str, *, network: str) -> "Row":
        """The row of a key. Raises ValueError for what is none."""
        found = re.fullmatch(r"(?:(NN)|(?:([^+,]+)\+)?(?:(prior)|([2-9]|[1-9]\d+) priors)|([^+,]+))(, refined)?", key)
        if found is None:
            msg = f"a row must be a feature, a prior, both as conv5+prior, or NN; got {key!r}."
            raise ValueError(msg)
        unaligned, of_prior, one, several, alone, refined = found.groups()
        text = of_prior or alone
        feature = Feature.parse(text, network=network) if text and not unaligned else None
        return cls(feature, 1 if one else int(several or 0), bool(refined))


UNALIGNED = Row()


@dataclass(frozen=True, eq=False)
class KeypointRecord:
    """Where one object has its keypoints, and where every row predicts them; (x, y) in pixels of its photo, by
    row's key.
    """

    box: tuple[float, float, float, float]
    truth: Float[np.ndarray, "keypoints 2"]
    neighbours: tuple[str | None, ...]
    predicted: Mapping[str, Float[np.ndarray, "keypoints 2"]]

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "KeypointRecord":
        """A record as it was written."""
        left, top, right, bottom = plain["box"]
        return cls(
            (left, top, right, bottom),
            np.array(plain["truth"], dtype=float).reshape(-1, 2),
            tuple(plain["neighbours"]),
            {row: np.array(points, dtype=float).reshape(-1, 2) for row, points in plain["predicted"].items()},
        )


Places = TypeVar("Places", bound=KeypointRecord)


@dataclass(frozen=True, eq=False)
class KeypointTable:
    """A category's column of Table 2, 3 or 4: which keypoints of which objects every row has right.

    `errors` are those of `metrics.keypoint_errors`, in Table 4 in the box stretched to a square; where
    keypoints are only named, in Table 3, they are 0 where right and infinite where wrong. NaN is what an object
    does not show. `photos` numbers those whose objects are resampled together: in Table 3 photos, else every
    object for itself. Where objects are pairs of photos, `partners` numbers the other photo, and both are
    resampled (`metrics.bootstrap_pair_counts`). `boxes` are not known in Table 3. `left_out` are objects that could
    not be measured, with the reason. `twin_errors` are distances from keypoints' twins (`datasets.twins`), NaN where
    the object does not show both; None where keypoints have no places or no twins.
    """

    experiment: Experiment[Any, Any, Any, Any]
    provenance: Mapping[str, Any]
    rows: tuple[Row, ...]
    keypoints: tuple[str, ...]
    objects: tuple[str, ...]
    photos: Int[np.ndarray, " objects"]
    boxes: Float[np.ndarray, "objects 4"] | None
    errors: Float[np.ndarray, "rows objects keypoints"]
    left_out: Mapping[str, str]
    average: Average
    n_resamples: int | None = None
    partners: Int[np.ndarray, " objects"] | None = None
    twin_errors: Float[np.ndarray, "rows objects keypoints"] | None = None

    @property
    def category(self) -> str:
        """The category it is the column of."""
        return getattr(self.experiment, "category", "")

    @property
    def visible(self) -> Bool[np.ndarray, "objects keypoints"]:
        """What objects show."""
        return ~np.isnan(self.errors[0])

    def part(self, which: Part) -> Bool[np.ndarray, " objects"]:
        """All objects, or those that are large and show much of themselves."""
        if which == "all" or self.boxes is None:
            return np.full(len(self.objects), True)
        shorter = np.minimum(self.boxes[:, 2] - self.boxes[:, 0], self.boxes[:, 3] - self.boxes[:, 1])
        return (shorter >= LARGE_PX) & (self.visible.sum(axis=1) >= WELL_VISIBLE)

    def right(self, row: Row, *, alpha: float = 0.1) -> Bool[np.ndarray, "objects keypoints"]:
        """Whether each keypoint's error is at most `alpha`; in Table 3 whether it is called by its name."""
        return np.nan_to_num(self.errors[self.rows.index(row)], nan=np.inf) <= alpha

    def accuracy(
        self,
        row: Row,
        *,
        alpha: float = 0.1,
        over: Average | None = None,
        some: Bool[np.ndarray, " objects"] | None = None,
    ) -> Estimate:
        """The percentage a row has right, with its 95 % interval, of all objects or `some`.

        Averages are those of `metrics.accuracy`; unless given, over keypoint types, in Table 3 over keypoints.
        """
        chosen = np.full(len(self.objects), True) if some is None else some
        hit, visible = self.right(row, alpha=alpha)[chosen], self.visible[chosen]
        return accuracy(hit, visible, self._counts(chosen, 1000), over=over or self.average)

    def by_keypoint(self, row: Row, *, alpha: float = 0.1) -> Float[np.ndarray, " keypoints"]:
        """The percentage a row has right of each keypoint; NaN for one that no object shows."""
        hits, of = (self.right(row, alpha=alpha) & self.visible).sum(axis=0), self.visible.sum(axis=0)
        return np.where(of > 0, 100 * hits / np.maximum(of, 1), np.nan)

    @property
    def shows_twins(self) -> bool:
        """Whether any object shows a keypoint and its twin."""
        return self.twin_errors is not None and not np.isnan(self.twin_errors[0]).all()

    def twins_taken(self, row: Row, *, alpha: float = 0.1) -> TwinsTaken | None:
        """How often a row takes twins for one another at an alpha; None where no object shows both of any."""
        if self.twin_errors is None or not self.shows_twins:
            return None
        number = self.rows.index(row)
        own, other = self.errors[number], self.twin_errors[number]
        shown = ~np.isnan(other)
        taken = shown & (other <= alpha) & (other < own)
        right = shown & (own <= alpha) & ~taken

        def share(hit: Bool[np.ndarray, "objects keypoints"], of: Bool[np.ndarray, "objects keypoints"]) -> Estimate:
            some = np.asarray(of.any(axis=1))
            return accuracy(hit[some], of[some], self._counts(some, 1000), over="micro")

        either = taken | right
        return TwinsTaken(
            share(taken, shown), share(right, shown), share(taken, either) if either.any() else None, int(shown.sum())
        )

    def difference(
        self,
        first: Row,
        second: Row,
        *,
        of: "KeypointTable | None" = None,
        alpha: float = 0.1,
        over: Average | None = None,
    ) -> Estimate:
        """By how many points one row exceeds another (`metrics.difference`), averaged as `accuracy` does.

        `of` is the second row's table, where it is another: compared are then the keypoints that both show of the
        objects that both have. Raises ValueError where there are none, and for tables of other keypoints.
        """
        own, other = self.in_common(of)
        found = difference(
            own.right(first, alpha=alpha),
            other.right(second, alpha=alpha),
            own.visible & other.visible,
            own._counts(np.full(len(own.objects), True), 2000),
            over=over or self.average,
        )
        drawn = [own.photos] if own.partners is None else [own.photos, own.partners]
        return replace(found, samples=len(np.unique(drawn)))

    def mcnemar(self, first: Row, second: Row, *, of: "KeypointTable | None" = None, alpha: float = 0.1) -> McNemar:
        """Keypoints that only one of two rows has right; the second row is one of `of`, as in `difference`."""
        own, other = self.in_common(of)
        shown = own.visible & other.visible
        return mcnemar(own.right(first, alpha=alpha)[shown], other.right(second, alpha=alpha)[shown])

    def in_common(self, other: "KeypointTable | None") -> tuple["KeypointTable", "KeypointTable"]:
        """Both tables, of the objects of which both show some keypoint. Raises ValueError where there are none, and
        for tables of other keypoints.
        """
        if other is None or other is self:
            return self, self
        if self.keypoints != other.keypoints:
            names = (", ".join(each.keypoints) for each in (self, other))
            msg = f"tables that are compared must be of the same keypoints; got {' and '.join(names)}."
            raise ValueError(msg)
        place = {name: number for number, name in enumerate(other.objects)}
        both = [(number, place[name]) for number, name in enumerate(self.objects) if name in place]
        both = [(one, two) for one, two in both if (self.visible[one] & other.visible[two]).any()]
        if not both:
            msg = f"the tables compared must have objects in common; got {len(self.objects)} and {len(place)} others."
            raise ValueError(msg)
        return self._of([one for one, _ in both]), other._of([two for _, two in both])

    def _of(self, numbers: Sequence[int]) -> "KeypointTable":
        return replace(
            self,
            objects=tuple(self.objects[number] for number in numbers),
            photos=self.photos[numbers],
            boxes=None if self.boxes is None else self.boxes[numbers],
            errors=self.errors[:, numbers],
            twin_errors=None if self.twin_errors is None else self.twin_errors[:, numbers],
            partners=None if self.partners is None else self.partners[numbers],
        )

    def _counts(self, some: Bool[np.ndarray, " objects"], n: int) -> Float[np.ndarray, "resamples some"]:
        if self.partners is not None:
            drawn = self.n_resamples or n
            return bootstrap_pair_counts(self.photos[some], self.partners[some], drawn, np.random.default_rng(0))
        photos = np.unique(self.photos[some], return_inverse=True)[1]
        return _drawn(len(np.unique(photos)), self.n_resamples or n)[:, photos].astype(float)


@functools.lru_cache(maxsize=64)  # for the rows of twenty categories; drawing takes longer than all the rest
def _drawn(n: int, n_resamples: int) -> np.ndarray:
    return bootstrap_counts(n, n_resamples, np.random.default_rng(0)).astype(np.uint16)


def table_of_places(result: Result[Places, Any], *, stretched: bool) -> KeypointTable:
    """The table of predicted places. Raises ValueError for records that do not fit one another."""
    network = getattr(result.experiment, "network", "")
    records = {name: record for name, record in result.records.items() if not np.isnan(record.truth).any(axis=1).all()}
    if not records:
        msg = "no object that was measured shows a keypoint."
        raise ValueError(msg)
    keys = tuple(next(iter(records.values())).predicted)
    truth, boxes = (np.array([getattr(each, name) for each in records.values()], float) for name in ("truth", "box"))
    predicted = [np.array([each.predicted[key] for each in records.values()]) for key in keys]
    keypoints = tuple(result.provenance["keypoints"])
    expected = (len(records), len(keypoints), 2)
    if any(points.shape != expected for points in (truth, *predicted)):
        msg = "its records are not of so many keypoints as its data set has."
        raise ValueError(msg)
    errors = [keypoint_errors(points, truth, boxes, stretched=stretched) for points in predicted]
    twin_truth = _twin_truth(truth, keypoints)
    to_twins = [keypoint_errors(points, twin_truth, boxes, stretched=stretched) for points in predicted]
    return KeypointTable(
        result.experiment,
        result.provenance,
        tuple(Row.parse(key, network=network) for key in keys),
        keypoints,
        tuple(records),
        np.arange(len(records)),
        boxes,
        np.stack(errors),
        result.skipped,
        "macro",
        twin_errors=None if np.isnan(twin_truth).all() else np.stack(to_twins),
    )


def _twin_truth(
    truth: Float[np.ndarray, "objects keypoints 2"], names: Sequence[str]
) -> Float[np.ndarray, "objects keypoints 2"]:
    """Where each keypoint's twin is; NaN where it has none, or the object does not show both."""
    found = np.full_like(truth, np.nan)
    for number, twin in enumerate(twins(names)):
        if twin is not None:
            both = ~np.isnan(truth[:, [number, twin]]).any(axis=(1, 2))
            found[both, number] = truth[both, twin]
    return found


def pck_rows(table: KeypointTable) -> Sequence[Mapping[str, str]]:
    """PCK of every row over all objects, and over the large ones where there are some, as text."""
    rows: list[dict[str, str]] = []
    for which in ("all", "large"):
        some = table.part(which)
        if not some.any():
            continue
        for row in table.rows:
            cells = {"objects": f"{int(some.sum())} {which}", "row": row.key}
            for alpha in ALPHAS:
                found = table.accuracy(row, alpha=alpha, some=some)
                cells[f"PCK at {alpha:g}, %"] = f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"
            rows.append(cells)
    return rows


def mean_rows(tables: Sequence[KeypointTable], alphas: Mapping[str, float]) -> Sequence[Mapping[str, str]]:
    """Rows' mean accuracy over categories, as text, by a heading per alpha; of rows that all categories have."""
    rows = [row for row in tables[0].rows if all(row in table.rows for table in tables)]
    return [
        {"row": row.key}
        | {
            heading: f"{np.mean([table.accuracy(row, alpha=alpha).value for table in tables]):.1f}"
            for heading, alpha in alphas.items()
        }
        | {"categories": str(len(tables))}
        for row in rows
    ]


class PckTables:
    """What experiments that predict places share: their summary is their table, and its rows are PCK."""

    def table(self, result: Result[KeypointRecord, KeypointTable]) -> KeypointTable:
        """See `Experiment.table`."""
        return result.summary

    def summary_rows(self, summary: KeypointTable) -> Sequence[Mapping[str, str]]:
        """PCK of every row."""
        return pck_rows(summary)

    @classmethod
    def mean_rows(cls, summaries: Sequence[KeypointTable]) -> Sequence[Mapping[str, str]]:
        """Mean PCK of every row."""
        return mean_rows(summaries, {f"PCK at {alpha:g}, %": alpha for alpha in ALPHAS})
