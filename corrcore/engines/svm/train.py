"""Linear support vector machines, all classes at once.

One against all others, as liblinear trains them (Fan et al. 2008): for every class the w of least

    P(w) = ||w||² / 2  +  cost * sum over samples of weight * max(0, 1 - y w·x)²        y = 1 in the class, else -1

where x ends in a constant 1, so that the bias is regularised like the rest. Conjugate gradients (`descent`) take a few
dozen passes through the samples; the classes share them, and so do the folds of a cross validation.

Weights and their squared hinges give a feasible point of the dual problem, whose value is less than P(w) by exactly
||gradient||² / 2. So the solver knows how far from the optimum it is at most, and stops there; what a solution says of
itself is computed in double precision.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from corrcore.concurrency import default_device
from corrcore.engines.svm.descent import certify, minimise
from corrcore.engines.svm.samples import ROWS, Rows, Samples

VERSION = 3  # of what this module computes: results kept by another are not used


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """A row of weights and a bias per class; the class of a sample is that of its highest score.

    `objective` is P of every class, and `gap` what it is above the least possible at most.
    """

    weights: Float[np.ndarray, "classes features"]
    bias: Float[np.ndarray, " classes"]
    cost: float
    objective: Float[np.ndarray, " classes"]
    gap: Float[np.ndarray, " classes"]

    def scores(self, features: Float[np.ndarray, "*shape features"]) -> Float[np.ndarray, "*shape classes"]:
        """w·x + bias: above 0 on the class's own side, above 1 beyond the margin."""
        return features @ self.weights.T + self.bias

    def predict(self, features: Float[np.ndarray, "*shape features"]) -> Int[np.ndarray, "*shape"]:
        """The class of highest score."""
        return self.scores(features).argmax(axis=-1)


def fit(
    features: Float[np.ndarray | torch.Tensor, "samples features"],
    labels: Int[np.ndarray, " samples"],
    *,
    cost: float = 1.0,
    n_classes: int | None = None,
    weights: Float[np.ndarray, " samples"] | None = None,
    tolerance: float = 1e-4,
    device: torch.device | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> LinearClassifier:
    """One classifier per class, each against all others.

    `labels` count classes from 0, up to `n_classes` (by default those there are). `weights` are of samples. Stops when
    every class's objective is within `tolerance` of the least possible, relatively, or where single precision goes no
    further, as for costs of thousands; the classifier's `gap` tells, and is certain.

    Raises ValueError for fewer than two samples, one class, a class without samples, NaN features or a cost that is not
    positive.

    >>> import numpy as np
    >>> from corrcore.engines import svm
    >>> found = svm.fit(np.array([[0.0], [1.0], [4.0], [5.0]], np.float32), np.array([0, 0, 1, 1]), cost=10.0)
    >>> found.predict(np.array([[0.5], [4.5]], np.float32))
    array([0, 1])
    """
    targets = one_against_all(labels, n_classes)
    return fit_targets(
        features, targets, cost=cost, weights=weights, tolerance=tolerance, device=device, progress=progress
    )


def fit_targets(
    features: Float[np.ndarray | torch.Tensor, "samples features"] | Samples,
    targets: Float[np.ndarray, "samples classes"],
    *,
    cost: float = 1.0,
    weights: Float[np.ndarray, " samples"] | None = None,
    start: LinearClassifier | None = None,
    tolerance: float = 1e-4,
    device: torch.device | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> LinearClassifier:
    """`fit` for classes that may overlap: `targets` are 1 for samples of a class, -1 for others, 0 for neither.

    `start` are weights to begin with, of a similar problem. `features` may be `Samples`, which need not be put
    together; these are where they are, whatever `device`.
    """
    samples = _samples(features, len(targets), device)
    _check_cost(cost)
    bare = np.flatnonzero(~((targets > 0).any(axis=0) & (targets < 0).any(axis=0)))
    if len(bare):
        msg = (
            "every class needs samples in it and samples against it; "
            f"class {bare[0]} of {targets.shape[1]} does not have both."
        )
        raise ValueError(msg)
    y = torch.from_numpy(targets.T).to(samples.device, samples.dtype).contiguous()
    costs = cost * y.abs()
    if weights is not None:
        costs *= torch.from_numpy(weights).to(y)
    w = y.new_zeros(len(y), samples.shape[1] + 1)
    if start is not None:
        w[:, :-1], w[:, -1] = torch.from_numpy(start.weights).to(w), torch.from_numpy(start.bias).to(w)
    w = minimise(samples, y, costs, w, tolerance, progress)
    objective, gap = certify(samples, y, costs, w)
    if not torch.isfinite(objective).all():
        msg = "features are no finite numbers, or too large for the cost; scale them, or give a smaller cost."
        raise ValueError(msg)
    found = w.cpu().numpy()
    return LinearClassifier(
        np.ascontiguousarray(found[:, :-1]), found[:, -1].copy(), cost, objective.cpu().numpy(), gap.cpu().numpy()
    )


def cross_validate(
    features: Float[np.ndarray | torch.Tensor, "samples features"],
    labels: Int[np.ndarray, " samples"],
    folds: Int[np.ndarray, " samples"],
    *,
    costs: Sequence[float],
    weights: Float[np.ndarray, " samples"] | None = None,
    tolerance: float = 1e-3,
    device: torch.device | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> Bool[np.ndarray, "costs samples"]:
    """Which samples a classifier names rightly that was trained without their fold, for every cost.

    `folds` tell each sample's fold, from 0; samples of one photo belong into one fold. All classes of all folds are
    trained side by side in the same passes through the samples, beginning where the next smaller cost ended. The means
    over samples are the accuracies. Raises as `fit` does, and for a class that some fold has to be trained without.
    """
    targets = one_against_all(labels, None)
    samples = _samples(features, len(labels), device)
    if not len(costs):
        msg = "costs must have at least one value; got none."
        raise ValueError(msg)
    for cost in costs:
        _check_cost(cost)
    n_folds, n_classes = int(folds.max()) + 1, targets.shape[1]
    inside = folds[:, None] != np.arange(n_folds)
    for fold in range(n_folds):
        absent = np.setdiff1d(np.arange(n_classes), labels[inside[:, fold]])
        if len(absent):
            msg = f"every class needs samples outside of every fold; class {absent[0]} has none outside of fold {fold}."
            raise ValueError(msg)
    y = torch.from_numpy(targets.T).to(samples.device, samples.dtype).repeat(n_folds, 1)
    masks = torch.from_numpy(inside.T.astype(np.float32)).to(y).repeat_interleave(n_classes, dim=0)
    if weights is not None:
        masks *= torch.from_numpy(weights).to(y)
    w = y.new_zeros(len(y), samples.shape[1] + 1)
    right = np.empty((len(costs), len(labels)), bool)
    for done, number in enumerate(np.argsort(costs)):
        w = minimise(samples, y, float(costs[number]) * masks, w, tolerance, None)
        scores = samples.scores(w.T).reshape(len(labels), n_folds, n_classes).cpu().numpy()
        right[number] = scores[np.arange(len(labels)), folds].argmax(axis=1) == labels
        if progress is not None:
            progress((done + 1) / len(costs))
    return right


def one_against_all(labels: Int[np.ndarray, " samples"], n_classes: int | None) -> Float[np.ndarray, "samples classes"]:
    """1 in the column of a sample's class, -1 in the others. Raises ValueError for less than two classes."""
    n_classes = n_classes if n_classes is not None else int(labels.max(initial=-1)) + 1
    if n_classes < 2 or len(labels) == 0:
        msg = f"a classifier needs samples of at least 2 classes; got {len(labels)} samples of {n_classes}."
        raise ValueError(msg)
    if labels.min() < 0 or labels.max() >= n_classes:
        msg = f"labels must be between 0 and {n_classes - 1}; got {labels.min()} to {labels.max()}."
        raise ValueError(msg)
    return np.where(labels[:, None] == np.arange(n_classes), 1.0, -1.0).astype(np.float32)


def _check_cost(cost: float) -> None:
    if not 0 < cost < np.inf:
        msg = f"cost must be a positive number; got {cost}."
        raise ValueError(msg)


def _samples(features: np.ndarray | torch.Tensor | Samples, n: int, device: torch.device | str | None) -> Samples:
    if isinstance(features, (np.ndarray, torch.Tensor)):
        rows = torch.as_tensor(features)
        place = torch.device(device) if device is not None else default_device()
        rows = rows.to(place, torch.float64 if rows.dtype == torch.float64 else torch.float32).contiguous()
        _check_finite(rows)
        features = Rows(rows)
    if features.shape[0] != n or n < 2:
        msg = f"features and labels must be of the same samples, at least 2; got {features.shape[0]} and {n}."
        raise ValueError(msg)
    return features


def _check_finite(rows: torch.Tensor) -> None:
    for number, some in enumerate(rows.split(ROWS)):
        if not (finite := torch.isfinite(some)).all():
            bad = number * ROWS + int((~finite).any(dim=1).nonzero()[0])
            msg = f"features must be finite numbers; sample {bad} has others."
            raise ValueError(msg)
