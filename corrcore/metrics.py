"""Numbers that say how good a result is, and how sure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Average = Literal["macro", "per_image", "micro"]


def bootstrap_interval(
    values: Float[np.ndarray, " samples"],
    *,
    rng: np.random.Generator,
    statistic: Callable[..., np.ndarray] = np.mean,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a mean over independent samples (photos, say, not their cells).

    Or of another `statistic`, such as `numpy.median`, which bears infinite values. Raises ValueError for fewer than
    two samples, of which no spread can be told.
    """
    if len(values) < 2:
        msg = f"an interval needs at least 2 samples; got {len(values)}."
        raise ValueError(msg)
    resampled = statistic(values[rng.integers(0, len(values), size=(n_resamples, len(values)))], axis=1)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return float(low), float(high)


@dataclass(frozen=True)
class KeypointAccuracy:
    """The percentage of correct keypoints (PCK), with its bootstrap interval over objects.

    `mean` is over the keypoint types that any object shows; `by_keypoint` is NaN for the others.
    """

    mean: float
    low: float
    high: float
    by_keypoint: Float[np.ndarray, " keypoints"]
    shown: Float[np.ndarray, " keypoints"]  # by how many objects


def keypoint_errors(
    predicted: Float[np.ndarray, "objects keypoints 2"],
    truth: Float[np.ndarray, "objects keypoints 2"],
    boxes: Float[np.ndarray, "objects 4"],
    *,
    stretched: bool = False,
) -> Float[np.ndarray, "objects keypoints"]:
    """Distances from the truth as a share of the box's longer side, which is what PCK compares with alpha.

    With `stretched` each axis is divided by the box's own side: distances in the box stretched to a square, which are
    longer (Long, Zhang and Darrell 2014, Section 6). NaN where the object does not show the keypoint; infinite where it
    does and nothing is predicted. `boxes` are (left, top, right, bottom).
    """
    sides = np.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]], axis=-1)
    if not stretched:
        sides = sides.max(axis=1, keepdims=True)
    errors = np.linalg.norm((predicted - truth) / sides[:, None], axis=-1)
    shown = ~np.isnan(truth).any(axis=-1)
    return np.where(shown, np.where(np.isnan(errors), np.inf, errors), np.nan)


def pck(
    errors: Float[np.ndarray, "objects keypoints"],
    *,
    alpha: float = 0.1,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = 1000,
) -> KeypointAccuracy:
    """The share of shown keypoints within `alpha` of the box's longer side: by keypoint type, then the mean over types.

    `errors` are those of `keypoint_errors`; what an object does not show counts for nothing (Yang and Ramanan
    2013; Long, Zhang and Darrell 2014, Section 4). Numbers are percentages. The interval resamples objects, not
    keypoints, which are right or wrong together. Raises ValueError where no object shows any keypoint.
    """
    shown = ~np.isnan(errors)
    if not shown.any():
        msg = "PCK needs an object with at least one visible keypoint; none has any."
        raise ValueError(msg)
    shown, errors = (values[shown.any(axis=1)] for values in (shown, errors))  # of the others no sample can consist
    hit = shown & (np.nan_to_num(errors, nan=np.inf) <= alpha)
    times = bootstrap_counts(len(errors), n_resamples, rng)
    by_keypoint = _percentages(np.ones((1, len(errors))), hit, shown)[0]
    resampled = np.nanmean(_percentages(times, hit, shown), axis=1)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return KeypointAccuracy(
        float(np.nanmean(by_keypoint)), float(low), float(high), by_keypoint, shown.sum(0).astype(float)
    )


def bootstrap_counts(n: int, n_resamples: int, rng: np.random.Generator) -> Float[np.ndarray, "resamples n"]:
    """How often each of `n` objects is in a sample of `n` drawn with replacement."""
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(float)


def bootstrap_pair_counts(
    first: Int[np.ndarray, " pairs"], second: Int[np.ndarray, " pairs"], n_resamples: int, rng: np.random.Generator
) -> Float[np.ndarray, "resamples pairs"]:
    """How often each pair of photos is in a sample whose photos are drawn with replacement.

    Pairs that share a photo are right or wrong together, so photos are drawn, not pairs: a pair is there as often as
    its two photos are, multiplied (Snijders and Borgatti 1999, for ties between actors). `first` and `second` number
    the photos of each pair; samples without any pair are drawn again. Raises ValueError for a photo paired with itself.
    """
    if not len(first) or (first == second).any():
        msg = "a bootstrap over photos needs pairs of two different photos."
        raise ValueError(msg)
    numbers = np.unique([first, second], return_inverse=True)[1].reshape(2, -1)
    n_photos = int(numbers.max()) + 1
    times = np.zeros((n_resamples, len(first)))
    while (empty := ~times.any(axis=1)).any():
        drawn = bootstrap_counts(n_photos, int(empty.sum()), rng)
        times[empty] = drawn[:, numbers[0]] * drawn[:, numbers[1]]
    return times


def _percentages(
    times: Float[np.ndarray, "resamples objects"],
    hit: Bool[np.ndarray, "objects keypoints"],
    shown: Bool[np.ndarray, "objects keypoints"],
) -> Float[np.ndarray, "resamples keypoints"]:
    hits, of = times @ hit.astype(float), times @ shown.astype(float)
    return np.where(of > 0, 100 * hits / np.maximum(of, 1), np.nan)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A percentage, or how much one exceeds another in points, or an area under a curve, with its bootstrap interval;
    `resampled` are the bootstrap's.

    `samples` are the independent ones that were resampled, where it is said how many.
    """

    value: float
    low: float
    high: float
    resampled: Float[np.ndarray, " resamples"]
    samples: int | None = None

    @property
    def p_value(self) -> float:
        """Of a difference: the two-sided probability of resamples that lie on the other side of zero or on it.

        The estimate is counted as one of the resamples, so that the smallest p is 2 / (resamples + 1). Of few
        samples no resample may lie there; p is then that of all of them having the same sign by chance.
        """
        beyond = min(int((self.resampled <= 0).sum()), int((self.resampled >= 0).sum()))
        least = 0.0 if self.samples is None else 2.0 ** (1 - self.samples)
        return min(1.0, max(least, 2 * (beyond + 1) / (len(self.resampled) + 1)))


def accuracy(
    hit: Bool[np.ndarray, "objects keypoints"],
    shown: Bool[np.ndarray, "objects keypoints"],
    times: Float[np.ndarray, "resamples objects"],
    *,
    over: Average = "macro",
    level: float = 0.95,
) -> Estimate:
    """The percentage of shown keypoints that are right, averaged one of three ways, with its bootstrap interval.

    `over` "macro" is the share by keypoint type, then the mean over types, as in `pck`; "per_image" the share
    of each object's shown keypoints, then the mean over objects, to which one that shows little counts as much
    as any; "micro" the share of all. `times` says how often each object is in each resample
    (`bootstrap_counts`); objects of one photo may be given the same. Raises ValueError where an object shows
    nothing, of which a resample could consist.
    """
    _check_shown(shown)
    value = _averages(np.ones((1, len(hit))), hit & shown, shown, over)[0]
    return _estimate(float(value), _averages(times, hit & shown, shown, over), level)


def difference(
    first: Bool[np.ndarray, "objects keypoints"],
    second: Bool[np.ndarray, "objects keypoints"],
    shown: Bool[np.ndarray, "objects keypoints"],
    times: Float[np.ndarray, "resamples objects"],
    *,
    over: Average = "macro",
    level: float = 0.95,
) -> Estimate:
    """How many points `first` is right more often than `second`, of the same keypoints of the same objects.

    A paired bootstrap: every resample has the same objects for both, so what makes an object hard for both
    cancels. Other arguments and errors are those of `accuracy`.
    """
    one, other = (accuracy(hit, shown, times, over=over, level=level) for hit in (first, second))
    return _estimate(one.value - other.value, one.resampled - other.resampled, level)


def mean_of(estimates: Sequence[Estimate], *, rng: np.random.Generator, level: float = 0.95) -> Estimate:
    """The mean of estimates from independent samples, such as categories, of equally many resamples each."""
    shuffled = [rng.permutation(each.resampled) for each in estimates]  # whatever their generators had in common
    found = _estimate(float(np.mean([each.value for each in estimates])), np.mean(shuffled, axis=0), level)
    known = [each.samples for each in estimates if each.samples is not None]
    return replace(found, samples=sum(known)) if len(known) == len(estimates) else found


@dataclass(frozen=True)
class McNemar:
    """How many samples only the one, and only the other has right, and how probable that or less even is by chance."""

    first_only: int
    second_only: int
    p: float


def mcnemar(first: Bool[np.ndarray, " samples"], second: Bool[np.ndarray, " samples"]) -> McNemar:
    """McNemar's exact test of whether one is right as often as the other, of the same samples.

    Those that both or neither have right say nothing; of the others each would have half (McNemar 1947, exact by the
    binomial). Samples are taken to be independent, which several keypoints of one object are not: p is then too small.
    """
    from scipy.stats import binomtest  # takes as long to import as numpy does

    first_only, second_only = int((first & ~second).sum()), int((second & ~first).sum())
    n = first_only + second_only
    return McNemar(first_only, second_only, float(binomtest(first_only, n, 0.5).pvalue) if n else 1.0)


def _check_shown(shown: Bool[np.ndarray, "objects keypoints"]) -> None:
    if not (there := shown.any(axis=1)).all() or not len(shown):
        msg = f"every object must show a keypoint; {int((~there).sum())} of {len(shown)} show none."
        raise ValueError(msg)


def _averages(
    times: Float[np.ndarray, "resamples objects"],
    hit: Bool[np.ndarray, "objects keypoints"],
    shown: Bool[np.ndarray, "objects keypoints"],
    over: Average,
) -> Float[np.ndarray, " resamples"]:
    if over == "macro":
        return np.nanmean(_percentages(times, hit, shown), axis=1)
    hits, of = hit.sum(axis=1).astype(float), shown.sum(axis=1).astype(float)
    if over == "per_image":
        return 100 * (times @ (hits / of)) / times.sum(axis=1)
    return 100 * (times @ hits) / (times @ of)


def _estimate(value: float, resampled: Float[np.ndarray, " resamples"], level: float) -> Estimate:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), resampled)


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often matches, say, are right of which a confidence says how often they are, in bins of rising confidence.

    `confidences` are bins' means, in percent, `right` the percentages that are right, `counts` how many each has.
    """

    confidences: Float[np.ndarray, " bins"]
    right: tuple[Estimate, ...]
    counts: Int[np.ndarray, " bins"]

    @property
    def expected_error(self) -> float:
        """By how many points the two differ, in the mean: the expected calibration error (Naeini et al. 2015)."""
        apart = np.abs(self.confidences - [each.value for each in self.right])
        return float(np.average(apart, weights=self.counts))


def reliability(
    confidences: Float[np.ndarray, " points"],
    right: Bool[np.ndarray, " points"],
    times: Float[np.ndarray, "resamples groups"],
    of: Int[np.ndarray, " points"],
    *,
    n_bins: int = 10,
    level: float = 0.95,
) -> Reliability:
    """Points in bins of as many each, in the order of their confidences.

    `times` says how often each group of points is in each resample (`bootstrap_pair_counts`, for those of a pair of
    photos), `of` which group a point is of. Bins stay as they are in resamples.
    """
    bins = np.array_split(np.argsort(confidences, kind="stable"), min(n_bins, len(right)))
    estimates = []
    for each in bins:
        n, hits = (np.bincount(of[each], weights, times.shape[1]) for weights in (None, right[each]))
        counted = times @ n
        share = 100 * (times @ hits)[counted > 0] / counted[counted > 0]
        estimates.append(_estimate(100 * float(right[each].mean()), share, level))
    means = np.array([100 * float(confidences[each].mean()) for each in bins])
    return Reliability(means, tuple(estimates), np.array([len(each) for each in bins]))


def risk_coverage(
    confidences: Float[np.ndarray, " points"], right: Bool[np.ndarray, " points"]
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Of the most confident points, for every number of them: their share of all, and of these what is wrong; percent.

    El-Yaniv and Wiener (2010). Of points of one confidence the wrong ones are spread evenly.
    """
    order, starts = _ranked(-confidences)
    n = np.arange(1, len(right) + 1)
    wrong = _evened(np.ones((1, len(right))), ~right[order], starts)[0]
    return 100 * n / len(right), 100 * np.cumsum(wrong) / n


def area_under_risk_coverage(
    confidences: Float[np.ndarray, " points"],
    right: Bool[np.ndarray, " points"],
    times: Float[np.ndarray, "resamples groups"],
    of: Int[np.ndarray, " points"],
    *,
    level: float = 0.95,
) -> Estimate:
    """The mean of `risk_coverage` over all coverages, in percent: of a confidence that says nothing what is wrong of
    all, less where wrong points have less confidence (Geifman, Uziel and El-Yaniv 2019). Resamples as for
    `reliability`.
    """
    order, starts = _ranked(-confidences)

    def area(weights: Float[np.ndarray, "some points"]) -> Float[np.ndarray, " some"]:
        wrong = np.cumsum(weights * _evened(weights, ~right[order], starts), axis=1)
        counted = np.cumsum(weights, axis=1)
        return 100 * (weights * wrong / np.maximum(counted, 1)).sum(axis=1) / counted[:, -1]

    return _of_resamples(area, times, of[order], level)


def area_under_roc(
    scores: Float[np.ndarray, " points"],
    positive: Bool[np.ndarray, " points"],
    times: Float[np.ndarray, "resamples groups"],
    of: Int[np.ndarray, " points"],
    *,
    level: float = 0.95,
) -> Estimate:
    """How probably a positive point has a higher score than another one, ties counted as halves; 0.5 by chance.

    Resamples are as for `reliability`; those without points of either kind do not count. Raises ValueError where there
    are none at all.
    """
    if positive.all() or not positive.any():
        msg = f"a ROC curve needs points of both kinds; got {int(positive.sum())} positive ones of {len(positive)}."
        raise ValueError(msg)
    order, starts = _ranked(scores)

    def area(weights: Float[np.ndarray, "some points"]) -> Float[np.ndarray, " some"]:
        tied = [_sums(weights * kind, starts) for kind in (positive[order], ~positive[order])]
        below = np.cumsum(tied[1], axis=1) - tied[1] / 2
        of_both = tied[0].sum(axis=1) * tied[1].sum(axis=1)
        return np.where(of_both > 0, (tied[0] * below).sum(axis=1) / np.maximum(of_both, 1), np.nan)

    return _of_resamples(area, times, of[order], level)


def _ranked(values: Float[np.ndarray, " points"]) -> tuple[np.ndarray, np.ndarray]:
    """The points in rising order, and where in it each run of equal values begins."""
    order = np.argsort(values, kind="stable")
    return order, np.flatnonzero(np.diff(values[order], prepend=-np.inf) > 0)


def _evened(
    weights: Float[np.ndarray, "some points"], values: np.ndarray, starts: Int[np.ndarray, " runs"]
) -> Float[np.ndarray, "some points"]:
    """Values, each the weighted mean of its run."""
    if len(starts) == len(values):
        return np.broadcast_to(values.astype(float), weights.shape)
    of_run = _sums(weights * values, starts) / np.maximum(_sums(weights, starts), 1)
    return np.repeat(of_run, np.diff(starts, append=len(values)), axis=1)


def _sums(values: Float[np.ndarray, "some points"], starts: Int[np.ndarray, " runs"]) -> np.ndarray:
    """Of each run; most have one value."""
    return values if len(starts) == values.shape[1] else np.add.reduceat(values, starts, axis=1)


def _of_resamples(
    statistic: Callable[[np.ndarray], np.ndarray],
    times: Float[np.ndarray, "resamples groups"],
    of: Int[np.ndarray, " points"],
    level: float,
) -> Estimate:
    """A statistic of weighted points, some resamples at a time."""
    at_once = max((1 << 17) // len(of), 1)  # what the processor keeps near
    parts = [statistic(times[first : first + at_once, of]) for first in range(0, len(times), at_once)]
    resampled = np.concatenate(parts)
    return _estimate(float(statistic(np.ones((1, len(of))))[0]), resampled[np.isfinite(resampled)], level)
