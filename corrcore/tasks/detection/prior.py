"""Where similar training objects have a keypoint, and how that is weighed against its detector.

Long, Zhang and Darrell (2014), Section 6: the prior is a Gaussian around the keypoint's place in the training object
most alike, and the prediction is the candidate cell of highest

    log f = (1 - eta) log s + eta log p        s = 1 / (1 + exp(-score)),   p = exp(-||x - place||² / (2 sigma²))

An SVM's score may be negative, where the paper's product of powers means nothing: the logistic function makes it
positive here. With several places p is the mean of their Gaussians.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

SIGMA_PX = 22.0


@dataclass(frozen=True, eq=False)
class Prior:
    """Where keypoints are in training objects, to be asked by likeness: descriptions of unit length, and places in
    pixels of the stretched objects, NaN where not visible. `objects` and `photos` are names.
    """

    summaries: Float[np.ndarray, "objects channels"]
    keypoints: Float[np.ndarray, "objects keypoints 2"]
    objects: tuple[str, ...]
    photos: tuple[str, ...]

    def nearest(
        self, summary: Float[np.ndarray, " channels"], *, k: int = 1, photo: str | None = None
    ) -> Int[np.ndarray, "k keypoints"]:
        """For each keypoint the `k` objects most alike that show it, most alike first; -1 where there are no more.

        Those in the `photo` of this name, the object's own, are left out. Raises ValueError for `k` below 1.
        """
        if k < 1:
            msg = f"k must be at least 1; got {k}."
            raise ValueError(msg)
        order = np.argsort(-(self.summaries @ summary), kind="stable")
        order = order[[self.photos[n] != photo for n in order]]
        shown = np.asarray(np.isfinite(self.keypoints[order]).all(axis=-1))
        found = np.full((k, self.keypoints.shape[1]), -1)
        for keypoint in range(self.keypoints.shape[1]):
            some = order[shown[:, keypoint]][:k]
            found[: len(some), keypoint] = some
        return found

    def places(self, objects: Int[np.ndarray, "k keypoints"]) -> Float[np.ndarray, "k keypoints 2"]:
        """Where the objects that `nearest` found have the keypoints; NaN for -1."""
        at = self.keypoints[objects, np.arange(objects.shape[1])]
        return np.where((objects >= 0)[..., None], at, np.nan)


def median_places(places: Float[np.ndarray, "k keypoints 2"]) -> Float[np.ndarray, "keypoints 2"]:
    """The median of each coordinate over the places there are; NaN where there are none."""
    found = np.full(places.shape[1:], np.nan)
    for keypoint, some in enumerate(places.transpose(1, 0, 2)):
        there = some[np.isfinite(some).all(axis=1)]
        if len(there):
            found[keypoint] = np.median(there, axis=0)
    return found


def log_prior(
    centres: Float[np.ndarray, "rows columns 2"],
    places: Float[np.ndarray, "k keypoints 2"],
    *,
    sigma_px: float = SIGMA_PX,
) -> Float[np.ndarray, "rows columns keypoints"]:
    """log p: of the mean of Gaussians around the places, each 1 at its middle. Keypoints without a place have zero."""
    if not sigma_px > 0:
        msg = f"sigma_px must be positive; got {sigma_px}."
        raise ValueError(msg)
    known = np.asarray(np.isfinite(places).all(axis=-1))
    away = centres[:, :, None, None] - np.where(known[..., None], places, 0)
    exponents = np.where(known, -np.square(away).sum(axis=-1) / (2 * sigma_px**2), -np.inf)
    n = known.sum(axis=0)
    total = np.logaddexp.reduce(exponents, axis=2) - np.log(np.maximum(n, 1))
    return np.where(n > 0, total, 0.0)


def log_detector(scores: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """log s, s being the logistic function of a detector's score."""
    with np.errstate(invalid="ignore"):  # where there is no detector
        return -np.logaddexp(0, -scores.astype(float))


def combined(
    scores: Float[np.ndarray, "rows columns keypoints"],
    prior: Float[np.ndarray, "rows columns keypoints"] | None = None,
    *,
    eta: float = 0.1,
) -> Float[np.ndarray, "rows columns keypoints"]:
    """log f = (1 - eta) log s + eta log p. Without a `prior` log s alone; without a detector, where scores are NaN, the
    prior alone.

    Raises ValueError for an `eta` that is not between 0 and 1.
    """
    if not 0 <= eta <= 1:
        msg = f"eta must be between 0 and 1; got {eta}."
        raise ValueError(msg)
    own = log_detector(scores)
    if prior is None:
        return own
    return np.where(np.isnan(own), prior, (1 - eta) * np.nan_to_num(own) + eta * prior)


def argmax_points(
    values: Float[np.ndarray, "rows columns keypoints"], centres: Float[np.ndarray, "rows columns 2"]
) -> Float[np.ndarray, "keypoints 2"]:
    """Where each keypoint's value is highest; NaN where there are none, or nothing but one value everywhere."""
    flat = values.reshape(-1, values.shape[-1])
    found = centres.reshape(-1, 2)[np.nan_to_num(flat, nan=-np.inf).argmax(axis=0)].astype(float)
    nothing = np.isnan(flat).all(axis=0) | (np.ptp(np.nan_to_num(flat), axis=0) == 0)
    found[nothing] = np.nan
    return found


@dataclass(frozen=True)
class PriorFusion:
    """How much the prior counts: `eta` of Gaussians of `sigma_px` around the places in `neighbours` objects."""

    neighbours: int = 1
    sigma_px: float = SIGMA_PX
    eta: float = 0.1


def predict(
    scores: Float[np.ndarray, "rows columns keypoints"],
    centres: Float[np.ndarray, "rows columns 2"],
    places: Float[np.ndarray, "k keypoints 2"],
    fusion: PriorFusion,
) -> Float[np.ndarray, "keypoints 2"]:
    """The candidate cell's centre of highest log f, for each keypoint; `places` are those of `Prior.places`.

    NaN for keypoints that have neither a detector nor a place.
    """
    prior = log_prior(centres, places[: fusion.neighbours], sigma_px=fusion.sigma_px)
    return argmax_points(combined(scores, prior, eta=fusion.eta), centres)
