"""How much the prior counts: chosen by cross validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from corrcore.concurrency import Progress, part
from corrcore.engines.svm import LinearClassifier
from corrcore.metrics import keypoint_errors, pck
from corrcore.tasks.detection.mining import MINING_BYTES, HardNegativeMiner
from corrcore.tasks.detection.prior import SIGMA_PX, PriorFusion, argmax_points, combined, log_prior
from corrcore.tasks.detection.spec import SIDE_PX, DetectorSpec
from corrcore.tasks.detection.training_set import TrainingSet


def held_out_scores(
    training: TrainingSet,
    spec: DetectorSpec,
    *,
    costs: Sequence[float],
    n_folds: int = 3,
    most_rounds: int = 20,
    most_bytes: int = MINING_BYTES,
    progress: Progress | None = None,
) -> list[Float32[np.ndarray, "objects rows columns keypoints"]]:
    """For each of `costs` every training object's scores by detectors that were trained without its fold.

    Folds share no photo. A keypoint that has no detector without a fold has no score in it, NaN, and so has none where
    too few objects are left to train anything.
    """
    rng = np.random.default_rng(0)
    fold_of = {name: n % n_folds for n, name in enumerate(rng.permutation(sorted(set(training.photos))))}
    folds = np.array([fold_of[photo] for photo in training.photos])
    grids = training.grids[spec.feature]
    scores = [np.full((*grids.shape[:3], len(training.names)), np.nan, np.float32) for _ in costs]
    for fold in range(n_folds):
        try:
            mining = HardNegativeMiner(training.some(np.flatnonzero(folds != fold)), spec, most_bytes=most_bytes)
        except ValueError:  # too few objects
            continue
        start: LinearClassifier | None = None
        for step, number in enumerate(np.argsort(costs)):
            start_at, share = (fold + step / len(costs)) / n_folds, 1 / len(costs) / n_folds
            report = part(progress, start_at, share, f"cost {costs[number]:g}, ")
            found = mining.fit(
                cost=costs[number], start=start, most_rounds=most_rounds, tolerance=1e-2, progress=report
            )
            start = found.linear
            for one in np.flatnonzero(folds == fold):
                scores[number][one] = found.scores(grids[one])
    return scores


@dataclass(frozen=True)
class FusionSearch:
    """The fusion that cross validation chose, its PCK in percent, and that of all it tried, by sigma and eta."""

    fusion: PriorFusion
    pck: float
    by_eta: Mapping[float, Mapping[float, float]]


def pck_percent(
    predicted: Float[np.ndarray, "objects keypoints 2"],
    truth: Float[np.ndarray, "objects keypoints 2"],
    *,
    alpha: float = 0.1,
) -> float:
    """PCK in percent, the mean over keypoints that any object shows; points are in pixels of the stretched objects."""
    boxes = np.tile([-0.5, -0.5, SIDE_PX - 0.5, SIDE_PX - 0.5], (len(truth), 1))
    return pck(keypoint_errors(predicted, truth, boxes), alpha=alpha, rng=np.random.default_rng(0), n_resamples=1).mean


def select_fusion(
    scores: Float32[np.ndarray, "objects rows columns keypoints"],
    centres: Float[np.ndarray, "rows columns 2"],
    places: Float[np.ndarray, "objects k keypoints 2"],
    truth: Float[np.ndarray, "objects keypoints 2"],
    *,
    etas: Sequence[float],
    sigmas_px: Sequence[float] = (SIGMA_PX,),
) -> FusionSearch:
    """The fusion of highest PCK among those tried, the least eta of several; `scores` are of detectors that did not see
    the objects (`held_out_scores`), and `places` of training objects in other photos.
    """
    found: dict[float, dict[float, float]] = {sigma: {} for sigma in sigmas_px}
    for sigma in sigmas_px:
        predicted: dict[float, list[np.ndarray]] = {eta: [] for eta in etas}
        for one, at in zip(scores, places, strict=True):
            prior = log_prior(centres, at, sigma_px=sigma)
            for eta in etas:
                predicted[eta].append(argmax_points(combined(one, prior, eta=eta), centres))
        for eta in etas:
            found[sigma][eta] = pck_percent(np.stack(predicted[eta]), truth)
    best = max(((sigma, eta) for sigma in sigmas_px for eta in etas), key=lambda at: (found[at[0]][at[1]], -at[1]))
    return FusionSearch(PriorFusion(places.shape[1], *best), found[best[0]][best[1]], found)
