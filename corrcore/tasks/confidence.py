"""When to believe a match: what speaks for it as one number, the probability that it is right.

A match is *right* if it lies within 0.1 of the longer side of the target's object from the true place, as PCK at 0.1
has it. A point that the target does not show has no true place, and its match is wrong: whoever asks for a match does
not know whether there is one, so of the matches that are called 80 % sure, four of five have to be right among *all*
points of the source that were asked for. (A probability given that the point is there would be too high for all of
them.) How well the confidence tells points that are not there from those that are is measured apart, by its ROC curve
(`corrcore.experiments.Confidence`).

The model is a logistic regression (Platt 1999) on a few kinds of evidence, each bent by a fixed monotone function so
that about as much is told by equal steps of it. No weight is below 0, so that more of what speaks for a match never
makes it less sure: kinds go together (what is similar has often a margin, too), and weights that are free turn some of
them against the match. A kind of weight 0 says nothing beside the others. It is learnt from annotated pairs of photos,
for one feature and one way of matching, and knows nothing of others: points that are no keypoints, and pairs that show
nothing alike, are rarer among what it was learnt from than a user's may be.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float

from corrcore import extractors
from corrcore.crops import BoxXYXY
from corrcore.engines import mrf
from corrcore.features import Extractor, Feature
from corrcore.settings import Settings
from corrcore.store import write_atomically
from corrcore.store.locks import exclusive
from corrcore.tasks import alignment, matching, positional_subspace
from corrcore.tasks.matching import LONGER_SIDE_PX, DescribedExtent, MatchOptions, PointMatches

VERSION = 2  # of what this module computes: what another has learnt is not used
VERSIONS = (VERSION, matching.VERSION, alignment.VERSION, mrf.VERSION)


def versions_of(options: MatchOptions) -> tuple[int, ...]:
    """Of all code that a confidence of matches found in this way depends on."""
    return (*VERSIONS, positional_subspace.VERSION) if options.without_position else VERSIONS


EVIDENCE = ("similarity", "margin", "cycle error", "mutual", "min-marginal margin")
"""The columns of `evidence`. The last is of alignments only."""

RIGHT_WITHIN = 0.1  # of `side_px` of the target's object
SHIPPED = Path(__file__).with_name("calibrations.json")

_LEARN = "corrcore train confidence --help"
_LEAST_CYCLE = 0.01  # of the photo's longer side: below that a way back says nothing about the place
_LOCK_TIMEOUT_S = 60.0  # for whoever writes the same file, which takes no time


def side_px(box: BoxXYXY) -> float:
    """The longer side of an object's box as SPair-71k measures errors by it: from the first pixel's centre to the last
    one's, at least 1 px.
    """
    left, top, right, bottom = box
    return max(right - left - 1, bottom - top - 1, 1.0)


def right_within(errors: Float[np.ndarray, "*points"], box: BoxXYXY) -> Bool[np.ndarray, "*points"]:
    """Which matches are right: `errors` are px from the true place in the photo of the object in `box`; NaN is not."""
    return errors <= RIGHT_WITHIN * side_px(box)


def evidence(matches: PointMatches, *, longer_side: float) -> Float[np.ndarray, "points 5"]:
    """What speaks for matches, by the columns of `EVIDENCE`; NaN what there is not.

    Cycle errors are shares of `longer_side`, that of what is described of the source, in pixels
    (`DescribedExtent.longer_side`).
    """
    return np.stack(
        [
            matches.similarities,
            matches.margins,
            matches.cycle_errors / longer_side,
            matches.mutual.astype(float),
            matches.min_marginal_margins,
        ],
        axis=-1,
    )


def _bent(found: Float[np.ndarray, "points 5"], options: MatchOptions) -> Float[np.ndarray, "points kinds"]:
    """Evidence as the regression takes it, more speaking for a match; of nn without the last column."""
    similarity, margin, cycle, mutual, marginal = found.T
    columns = [
        np.arctanh(similarity.clip(-0.999, 0.999)),
        np.sign(margin) * np.sqrt(np.abs(margin)),
        -np.log(_LEAST_CYCLE + cycle),
        mutual,
        np.sign(marginal) * np.sqrt(np.abs(marginal)),
    ]
    return np.stack(columns[: None if options.method == "mrf" else -1], axis=-1)


@dataclass(frozen=True)
class LearntFrom:
    """The annotated pairs that a calibration was learnt from; `right` is the share of their points."""

    data: str
    data_digest: str
    split: str
    categories: tuple[str, ...]
    pairs: int
    photos: int
    points: int
    right: float


@dataclass(frozen=True)
class Calibration:
    """How evidence becomes a probability, for one feature matched in one way; see this module.

    `digest` is that of the feature's extractor, `stride_px` how far apart its cells were (`matching.stride_px`).
    `weights` are by the kinds of `EVIDENCE` that count, none below 0.
    """

    feature: Feature
    digest: str
    stride_px: int
    options: MatchOptions
    weights: Mapping[str, float]
    intercept: float
    learnt_from: LearntFrom
    versions: tuple[int, ...]

    def confidence(
        self, matches: PointMatches, *, options: MatchOptions, longer_side: float
    ) -> Float[np.ndarray, " points"]:
        """The probability that each match is right; NaN where a kind of evidence is missing.

        `options` are those that the matches were found with, `longer_side` is as for `evidence`. Raises ValueError for
        options other than those it was learnt with, and for what other code has learnt.
        """
        if self.versions != (wanted := versions_of(self.options)):
            msg = (
                f"this confidence of {self.feature} was learnt by versions {list(self.versions)} of the code, and this "
                f"is {list(wanted)}; learn it again ({_LEARN})."
            )
            raise ValueError(msg)
        if _counting(options) != _counting(self.options):
            msg = (
                f"this confidence of {self.feature} is of matches by {_words(self.options)}; got {_words(options)}. "
                f"Match so, or learn one of your own ({_LEARN})."
            )
            raise ValueError(msg)
        return self.of_evidence(evidence(matches, longer_side=longer_side))

    def of_evidence(self, found: Float[np.ndarray, "points 5"]) -> Float[np.ndarray, " points"]:
        """The probability that matches are right of which `evidence` found this."""
        from scipy.special import expit

        return expit(self.intercept + _bent(found, self.options) @ np.array(list(self.weights.values())))

    def is_for(self, feature: Feature, *, network: Extractor, options: MatchOptions) -> bool:
        """Whether it was learnt of this feature, of these weights, at cells so far apart, matched in this way."""
        return (
            (self.feature, self.versions) == (feature, versions_of(options))
            and _counting(self.options) == _counting(options)
            and self.digest == extractors.extractor_of(feature, network).digest
            and self.stride_px == matching.stride_px(feature, network=network, options=options)
        )

    def to_plain(self) -> dict[str, Any]:
        """What JSON holds."""
        return {**asdict(self), "feature": str(self.feature)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """A calibration that `to_plain` wrote. Raises ValueError for what is none."""
        try:
            learnt_from = {**plain["learnt_from"], "categories": tuple(plain["learnt_from"]["categories"])}
            given = {
                **plain,
                "feature": Feature.parse(plain["feature"], network=""),
                "options": MatchOptions(**plain["options"]),
                "learnt_from": LearntFrom(**learnt_from),
                "versions": tuple(plain["versions"]),
            }
            return cls(**given)
        except (AttributeError, KeyError, TypeError) as error:
            msg = f"not a calibration as `corrcore train confidence` writes it: {type(error).__name__}, {error}."
            raise ValueError(msg) from error


def fit(
    found: Float[np.ndarray, "points 5"],
    right: Bool[np.ndarray, " points"],
    feature: Feature,
    *,
    network: Extractor,
    options: MatchOptions,
    learnt_from: LearntFrom,
) -> Calibration:
    """Learns the probability that matches are right, from `evidence` and whether they were.

    Points whose evidence is not whole are left out. Raises ValueError where all others are right, or none.
    """
    columns = _bent(found, options)
    whole = np.isfinite(columns).all(axis=1)
    if len(np.unique(right[whole])) < 2:
        msg = (
            f"a confidence of {feature} is learnt from right and wrong matches; got {int(right[whole].sum())} right of "
            f"{int(whole.sum())}. Give more pairs."
        )
        raise ValueError(msg)
    weights, intercept = _monotone_regression(columns[whole], right[whole])
    return Calibration(
        feature,
        extractors.extractor_of(feature, network).digest,
        matching.stride_px(feature, network=network, options=options),
        options,
        dict(zip(EVIDENCE, weights.tolist(), strict=False)),  # of nn the last kind does not count
        intercept,
        learnt_from,
        versions_of(options),
    )


def _monotone_regression(
    columns: Float[np.ndarray, "points kinds"], right: Bool[np.ndarray, " points"]
) -> tuple[Float[np.ndarray, " kinds"], float]:
    """Weights of at least 0 and the intercept of a logistic regression, penalised by half the square of the weights of
    columns of mean 0 and deviation 1.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    mean, deviation = columns.mean(axis=0), columns.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1)  # what is the same everywhere gets no weight
    scaled, sign = (columns - mean) / deviation, np.where(right, 1.0, -1.0)

    def loss(parameters: Float[np.ndarray, " parameters"]) -> tuple[float, Float[np.ndarray, " parameters"]]:
        weights, intercept = parameters[:-1], parameters[-1]
        score = sign * (scaled @ weights + intercept)
        slope = -sign * expit(-score)
        whole = np.logaddexp(0, -score).sum() + weights @ weights / 2
        return float(whole), np.append(scaled.T @ slope + weights, slope.sum())

    n_kinds = columns.shape[1]
    share = right.mean()
    start = np.append(np.zeros(n_kinds), np.log(share / (1 - share)))
    bounds = [(0, None)] * n_kinds + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000, "ftol": 1e-12})
    weights = found.x[:-1] / deviation
    return weights, float(found.x[-1] - weights @ mean)


def known(
    feature: Feature, *, network: Extractor, options: MatchOptions, file: Path | None = None
) -> Calibration | None:
    """The calibration of a feature matched in this way: one's own, else the one that comes along; None if there is
    neither.

    One's own are in `file`, `own_file` by default. One that cannot be read is passed over with a RuntimeWarning.
    """
    for path in (own_file() if file is None else file, SHIPPED):
        try:
            calibrations = load(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            warnings.warn(str(error), RuntimeWarning, stacklevel=2)
            continue
        for each in calibrations:
            if each.is_for(feature, network=network, options=options):
                return each
    return None


def judged(
    feature: Feature, matches: PointMatches, source: DescribedExtent, *, network: Extractor, options: MatchOptions
) -> PointMatches:
    """Matches of a described source with the probability that each is right, where it is `known`."""
    if (found := known(feature, network=network, options=options)) is None:
        return matches
    return replace(matches, confidences=found.confidence(matches, options=options, longer_side=source.longer_side))


def judged_matches(
    source: Mapping[Feature, DescribedExtent],
    target: Mapping[Feature, DescribedExtent],
    points: Float[np.ndarray, "points 2"],
    *,
    network: Extractor,
    options: MatchOptions,
) -> dict[Feature, PointMatches]:
    """Points of a photo in another by every feature of the source, `judged`. Raises as `matching.match_points` does."""
    return {
        feature: judged(
            feature,
            matching.match_points(described, target[feature], points, options=options),
            described,
            network=network,
            options=options,
        )
        for feature, described in source.items()
    }


def own_file() -> Path:
    """Where one's own calibrations are kept unless another place is asked for."""
    return Settings.from_environment().cache / "calibrations.json"


def load(path: Path) -> tuple[Calibration, ...]:
    """The calibrations in a file. Raises FileNotFoundError, and ValueError for what holds none."""
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> tuple[Calibration, ...]:
    del changed
    try:
        return tuple(map(Calibration.from_plain, json.loads(path.read_text("utf-8"))["calibrations"]))
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path} holds no calibrations: {error} Delete it, or learn them again ({_LEARN})."
        raise ValueError(msg) from error


def keep(calibrations: Sequence[Calibration], path: Path) -> None:
    """Writes calibrations into a file; those that are there of other features, weights or options stay, also where
    several threads or processes write at once.

    Raises ValueError for a file that holds something else, and OSError where it cannot be written.
    """
    new = {_identity(each) for each in calibrations}
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_name(f".{path.name}.lock"), timeout=_LOCK_TIMEOUT_S):
        there = load(path) if path.exists() else ()
        others = [each for each in there if _identity(each) not in new and each.versions == versions_of(each.options)]
        plain = [each.to_plain() for each in (*others, *calibrations)]
        text = json.dumps({"calibrations": plain}, indent=1, allow_nan=False)
        write_atomically(path, f"{text}\n".encode())


def _identity(calibration: Calibration) -> tuple[Any, ...]:
    return calibration.feature, calibration.digest, calibration.stride_px, *_counting(calibration.options).items()


def _counting(options: MatchOptions) -> dict[str, Any]:
    """The options that matches depend on; those of the other method do not count."""
    nn = options.method == "nn"
    counting = ("refine",) if nn else ("smoothness", "position", "iterations")
    found = {
        name: getattr(options, name) for name in ("method", "extent", "longer_side", "without_position", *counting)
    }
    if nn and options.longer_side is None:
        found["longer_side"] = LONGER_SIDE_PX
    return found


def _words(options: MatchOptions) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {'as usual' if value is None else value}"
        for name, value in _counting(options).items()
    )
