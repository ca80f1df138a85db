"""Numbers that say how good a result is, and how sure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


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

    `errors` are those of `keypoint_errors`; what an object does not show counts for nothing (Yang and Ramanan 2013; Long,
    Zhang and Darrell 2014, Section 4). Numbers are percentages. The interval resamples objects, not keypoints, which are
    right or wrong together. Raises ValueError where no object shows any keypoint.
    """
    shown = ~np.isnan(errors)
    if not shown.any():
        msg = "PCK needs an object with at least one visible keypoint; none has any."
        raise ValueError(msg)
    shown, errors = (values[shown.any(axis=1)] for values in (shown, errors))  # of the others no sample can consist
    hit = shown & (np.nan_to_num(errors, nan=np.inf) <= alpha)
    times = times_drawn(len(errors), n_resamples, rng)
    by_keypoint = _percentages(np.ones((1, len(errors))), hit, shown)[0]
    resampled = np.nanmean(_percentages(times, hit, shown), axis=1)
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return KeypointAccuracy(
        float(np.nanmean(by_keypoint)), float(low), float(high), by_keypoint, shown.sum(0).astype(float)
    )


def times_drawn(n: int, n_resamples: int, rng: np.random.Generator) -> Float[np.ndarray, "resamples n"]:
    """How often each of `n` objects is in a sample of `n` drawn with replacement."""
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(float)


def _percentages(
    times: Float[np.ndarray, "resamples objects"],
    hit: Bool[np.ndarray, "objects keypoints"],
    shown: Bool[np.ndarray, "objects keypoints"],
) -> Float[np.ndarray, "resamples keypoints"]:
    hits, of = times @ hit.astype(float), times @ shown.astype(float)
    return np.where(of > 0, 100 * hits / np.maximum(of, 1), np.nan)
