"""Linear support vector machines, all classes at once.

One against all others, as liblinear trains them (Fan et al. 2008): for every class the w of least

    P(w) = ||w||² / 2  +  cost * sum over samples of weight * max(0, 1 - y w·x)²        y = 1 in the class, else -1

where x ends in a constant 1, so that the bias is regularised like the rest. Truncated Newton (Keerthi and DeCoste 2005)
takes a few dozen passes through the samples; the classes share them, and so do the folds of a cross validation.

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

VERSION = 2  # of what this module computes: results kept by another are not used
_FORCING = 0.1  # the residual of a Newton step, as a share of the gradient
_STALE = 2.5  # how much the mean weight of samples may change until the preconditioner is made anew
_JITTERS = (10, 100, 1e3, 1e4)  # tried for a Cholesky factor, in roundings of the largest diagonal element
_FEW = 0.8  # of the samples: where fewer are active they are put together, which takes as long as passing them twice
_ROWS = 4096  # of samples, at a time in double precision
_MOST_SQUARED = 6000  # features, whose products with one another are used
_MOST_STEPS = 100
_MOST_LENGTHS = 10  # tried, in one Newton step
_MOST_DIRECTIONS = 60  # of conjugate gradients, in one Newton step


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """A row of weights and a bias a class; the class of a sample is that of its highest score.

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
    """One classifier a class, each against all others.

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
    features: Float[np.ndarray | torch.Tensor, "samples features"],
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

    `start` are weights to begin with, of a similar problem.
    """
    samples = _samples(features, len(targets), device)
    _check_cost(cost)
    bare = np.flatnonzero(~((targets > 0).any(axis=0) & (targets < 0).any(axis=0)))
    if len(bare):
        msg = f"every class needs samples in it and samples against it; class {bare[0]} of {targets.shape[1]} does not have both."
        raise ValueError(msg)
    y = torch.from_numpy(targets).to(samples)
    costs = cost * y.abs()
    if weights is not None:
        costs *= torch.from_numpy(weights).to(samples)[:, None]
    w = torch.zeros(samples.shape[1] + 1, y.shape[1], dtype=samples.dtype, device=samples.device)
    if start is not None:
        w[:-1], w[-1] = torch.from_numpy(start.weights.T).to(w), torch.from_numpy(start.bias).to(w)
    w = _minimise(samples, y, costs, w, tolerance, progress)
    objective, gap = _certified(samples, y, costs, w)
    if not torch.isfinite(objective).all():
        msg = "features are too large for the cost; scale them, or give a smaller cost."
        raise ValueError(msg)
    found = w.cpu().numpy()
    return LinearClassifier(
        np.ascontiguousarray(found[:-1].T), found[-1].copy(), cost, objective.cpu().numpy(), gap.cpu().numpy()
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
    trained side by side in the same passes through the samples, beginning where the next smaller cost ended. The means over
    samples are the accuracies. Raises as `fit` does, and for a class that some fold has to be trained without.
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
    y = torch.from_numpy(targets).to(samples).repeat(1, n_folds)
    masks = torch.from_numpy(inside.astype(np.float32)).to(samples).repeat_interleave(n_classes, dim=1)
    if weights is not None:
        masks *= torch.from_numpy(weights).to(samples)[:, None]
    w = torch.zeros(samples.shape[1] + 1, y.shape[1], dtype=samples.dtype, device=samples.device)
    right = np.empty((len(costs), len(labels)), bool)
    for done, number in enumerate(np.argsort(costs)):
        w = _minimise(samples, y, float(costs[number]) * masks, w, tolerance, None)
        scores = (samples @ w[:-1] + w[-1]).reshape(len(labels), n_folds, n_classes).cpu().numpy()
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


def _samples(features: np.ndarray | torch.Tensor, n: int, device: torch.device | str | None) -> torch.Tensor:
    samples = torch.as_tensor(features)
    place = torch.device(device) if device is not None else default_device()
    samples = samples.to(place, torch.float64 if samples.dtype == torch.float64 else torch.float32).contiguous()
    if len(samples) != n or n < 2:
        msg = f"features and labels must be of the same samples, at least 2; got {len(samples)} and {n}."
        raise ValueError(msg)
    if not torch.isfinite(samples).all():
        bad = int((~torch.isfinite(samples)).any(dim=1).nonzero()[0])
        msg = f"features must be finite numbers; sample {bad} has others."
        raise ValueError(msg)
    return samples


def _minimise(
    samples: Float[torch.Tensor, "samples features"],
    y: Float[torch.Tensor, "samples problems"],
    costs: Float[torch.Tensor, "samples problems"],
    w: Float[torch.Tensor, "features+1 problems"],
    tolerance: float,
    progress: Callable[[float], None] | None,
) -> Float[torch.Tensor, "features+1 problems"]:
    """Each column's w of least P. Columns are independent; those that are solved leave, so that the rest costs less."""
    n_problems = y.shape[1]
    result = w.clone()
    left = torch.arange(n_problems, device=w.device)
    noise = torch.finfo(w.dtype).eps  # a step that lowers the objective by less, relatively, is rounding
    margins = _scores(samples, w)
    before = w.new_full((n_problems,), torch.inf)
    precondition, weight = None, 0.0
    for _ in range(_MOST_STEPS):
        slack = (1 - y * margins).clamp_(min=0)
        value = w.square().sum(0) / 2 + (costs * slack.square()).sum(0)
        gradient = w - _back(samples, 2 * costs * slack * y)
        above = gradient.square().sum(0) / 2
        better = value < before
        result[:, left[better]] = w[:, better]
        going = (above > tolerance * value) & (before - value > noise * value)
        if progress is not None:
            progress(1 - len(left) / n_problems)
        if not going.any():
            break
        if not going.all():
            left, y, costs, w, margins, slack = (
                left[going], y[:, going], costs[:, going], w[:, going], margins[:, going], slack[:, going],
            )  # fmt: skip
            gradient, value = gradient[:, going], value[going]
        before, active = value, 2 * costs * (slack > 0)
        # A Newton step as exact as is worth it: its residual would be the gradient, were the active samples to stay.
        residual = torch.maximum(_FORCING * gradient.norm(dim=0), (0.5 * tolerance * value).sqrt())
        now = float(active.mean())
        if precondition is None or not weight / _STALE < now < weight * _STALE:
            precondition, weight = _preconditioner(samples, active), now
        step, changed = _direction(samples, active, gradient, residual, precondition)
        length = _length(w, step, gradient, y, costs, margins, changed)
        w = w + length * step
        margins = margins + length * changed
    return result


def _certified(
    samples: torch.Tensor, y: torch.Tensor, costs: torch.Tensor, w: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """P of every column, and how far above the least possible it is at most; in double precision."""
    w = w.double()
    value, gradient = w.square().sum(0) / 2, w.clone()
    for some, own, weights in zip(samples.split(_ROWS), y.split(_ROWS), costs.split(_ROWS), strict=True):
        rows = some.double()
        slack = (1 - own * _scores(rows, w)).clamp_(min=0)
        value += (weights * slack.square()).sum(0)
        gradient -= _back(rows, 2 * weights * slack * own)
    return value, gradient.square().sum(0) / 2


def _direction(
    samples: torch.Tensor,
    active: torch.Tensor,
    gradient: torch.Tensor,
    allowed: torch.Tensor,
    precondition: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The Newton direction by conjugate gradients, with residuals below those `allowed`, and how it changes the scores."""
    step, residual = torch.zeros_like(gradient), -gradient
    some = active.any(dim=1)
    rows = samples
    if some.float().mean() < _FEW:
        rows, active = samples[some], active[some]
    goal = allowed.square()
    ahead = precondition(residual)
    product = (residual * ahead).sum(0)
    for _ in range(_MOST_DIRECTIONS):
        curved = ahead + _back(rows, active * _scores(rows, ahead))
        going = residual.square().sum(0) > goal
        length = torch.where(going, product / (ahead * curved).sum(0).clamp(min=1e-30), 0)
        step += length * ahead
        residual -= length * curved
        if not (residual.square().sum(0) > goal).any():
            break
        steered = precondition(residual)
        before, product = product, (residual * steered).sum(0)
        ahead = steered + product / before.clamp(min=1e-30) * ahead
    return step, _scores(samples, step)


def _preconditioner(samples: torch.Tensor, active: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Divides by I + X' D X, D being the mean of the columns' weights: no column's own Hessian is far from it.

    From every n-th active sample where there are many more than features, fewer before any is out, when a step need not be
    exact; of very many features by the diagonal alone.
    """
    weights = active.mean(1)
    some = weights.nonzero()[:, 0]
    enough = (1 if len(some) == len(weights) else 2) * samples.shape[1] + 512
    some = some[:: max(len(some) // enough, 1)]
    rows = samples[some]
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    weights = weights[some] * (weights.sum() / weights[some].sum())
    if rows.shape[1] > _MOST_SQUARED:
        diagonal = 1 + (weights[:, None] * rows.square()).sum(0)
        return lambda vectors: vectors / diagonal[:, None]
    hessian = (weights[:, None] * rows).T @ rows
    diagonal = hessian.diagonal() + 1
    for jitter in _JITTERS:
        hessian.diagonal().copy_(diagonal + jitter * torch.finfo(diagonal.dtype).eps * diagonal.max())
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if not failed:
            inverse = torch.cholesky_inverse(factor)
            return lambda vectors: inverse @ vectors
    return lambda vectors: vectors / diagonal[:, None]


def _length(
    w: torch.Tensor,
    step: torch.Tensor,
    gradient: torch.Tensor,
    y: torch.Tensor,
    costs: torch.Tensor,
    margins: torch.Tensor,
    changed: torch.Tensor,
) -> torch.Tensor:
    """How far to go along each column's direction: to where P, piecewise quadratic there, has a tenth of its slope at most."""
    along, square = (w * step).sum(0), step.square().sum(0)
    enough = 0.1 * (gradient * step).sum(0).abs()
    low, high = torch.zeros_like(along), torch.full_like(along, torch.inf)
    length = torch.ones_like(along)
    for _ in range(_MOST_LENGTHS):
        slack = 1 - y * (margins + length * changed)
        weighted = torch.where(slack > 0, costs, 0) * changed
        slope = along + length * square - 2 * (weighted * slack * y).sum(0)
        going = slope.abs() > enough
        if not going.any():
            break
        curvature = square + 2 * (weighted * changed).sum(0)
        low, high = torch.where(slope < 0, length, low), torch.where(slope < 0, high, length)
        newton = length - slope / curvature.clamp(min=1e-30)
        middle = torch.where(torch.isinf(high), 2 * length, (low + high) / 2)
        length = torch.where(going, torch.where((newton > low) & (newton < high), newton, middle), length)
    return length


def _scores(samples: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.addmm(w[-1], samples, w[:-1])


def _back(samples: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The sum over samples of each one's weights times itself, with its constant 1."""
    return torch.cat([(weights.T.contiguous() @ samples).T, weights.sum(0, keepdim=True)])
