"""Truncated Newton for squared hinges: see `train`, whose P is minimised here."""

from collections.abc import Callable

import torch
from jaxtyping import Float

from corrcore.engines.svm.samples import Samples, parts

_FORCING = 0.1  # the residual of a Newton step, as a share of the gradient
_STALE = 2.5  # how much the mean weight of samples may change until the preconditioner is made anew
_JITTERS = (10, 100, 1e3, 1e4)  # tried for a Cholesky factor, in roundings of the largest diagonal element
_MOST_LENGTHS = 10  # tried, in one Newton step
_MOST_DIRECTIONS = 60  # of conjugate gradients, in one Newton step


def minimise(
    samples: Samples,
    y: Float[torch.Tensor, "samples problems"],
    costs: Float[torch.Tensor, "samples problems"],
    w: Float[torch.Tensor, "inputs problems"],
    tolerance: float,
    progress: Callable[[float], None] | None = None,
    *,
    most_steps: int = 100,
    most_squared: int = 6000,
) -> Float[torch.Tensor, "inputs problems"]:
    """Each column's w of least P. Columns are independent; those that are solved leave, so that the rest costs less.

    Products of features with one another are used where there are no more than `most_squared`.
    """
    n_problems = y.shape[1]
    result = w.clone()
    left = torch.arange(n_problems, device=w.device)
    noise = torch.finfo(w.dtype).eps  # a step that lowers the objective by less, relatively, is rounding
    margins = samples.scores(w)
    before = w.new_full((n_problems,), torch.inf)
    precondition, weight = None, 0.0
    for _ in range(most_steps):
        slack = (1 - y * margins).clamp_(min=0)
        weighted = costs * slack
        value = w.square().sum(0) / 2 + (weighted * slack).sum(0)
        gradient = w - samples.back(weighted.mul_(2).mul_(y))
        del weighted
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
            precondition, weight = _preconditioner(samples, active, most_squared), now
        step, changed = _direction(samples, active, gradient, residual, precondition)
        length = _length(w, step, gradient, y, costs, margins, changed)
        w = w + length * step
        margins = margins + length * changed
    return result


def certify(
    samples: Samples, y: torch.Tensor, costs: torch.Tensor, w: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """P of every column, and how far above the least possible it is at most; in double precision."""
    w = w.double()
    value, gradient = w.square().sum(0) / 2, w.clone()
    for part, single in parts(samples, torch.arange(len(y), device=w.device)):
        rows = single.double()
        slack = (1 - y[part] * (rows @ w)).clamp_(min=0)
        value += (costs[part] * slack.square()).sum(0)
        gradient -= rows.T @ (2 * costs[part] * slack * y[part])
    return value, gradient.square().sum(0) / 2


def _direction(
    samples: Samples,
    active: torch.Tensor,
    gradient: torch.Tensor,
    allowed: torch.Tensor,
    precondition: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The Newton direction by conjugate gradients, with residuals below `allowed`, and how it changes the scores."""
    step, residual = torch.zeros_like(gradient), -gradient
    some = active.any(dim=1)
    rows = samples.only(some)
    if rows is None:
        rows = samples
    else:
        active = active[some]
    goal = allowed.square()
    ahead = precondition(residual)
    product = (residual * ahead).sum(0)
    for _ in range(_MOST_DIRECTIONS):
        curved = ahead + rows.back(active * rows.scores(ahead))
        going = residual.square().sum(0) > goal
        length = torch.where(going, product / (ahead * curved).sum(0).clamp(min=1e-30), 0)
        step += length * ahead
        residual -= length * curved
        if not (residual.square().sum(0) > goal).any():
            break
        steered = precondition(residual)
        before, product = product, (residual * steered).sum(0)
        ahead = steered + product / before.clamp(min=1e-30) * ahead
    return step, samples.scores(step)


def _preconditioner(
    samples: Samples, active: torch.Tensor, most_squared: int
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Divides by I + X' D X, D being the mean of the columns' weights: no column's own Hessian is far from it.

    From every n-th active sample where there are many more than features, fewer before any is out, when a step need
    not be exact; of very many features by the diagonal alone.
    """
    weights = active.mean(1)
    some = weights.nonzero()[:, 0]
    enough = (1 if len(some) == len(weights) else 2) * samples.shape[1] + 512
    some = some[:: max(len(some) // enough, 1)]
    weights = weights[some] * (weights.sum() / weights[some].sum())
    if samples.shape[1] + 1 > most_squared:
        diagonal = weights.new_ones(samples.shape[1] + 1)
        for part, rows in parts(samples, some):
            diagonal += (weights[part, None] * rows.square()).sum(0)
        return lambda vectors: vectors / diagonal[:, None]
    hessian = weights.new_zeros(samples.shape[1] + 1, samples.shape[1] + 1)
    for part, rows in parts(samples, some):
        hessian.addmm_((weights[part, None] * rows).T, rows)
    diagonal = hessian.diagonal() + 1
    for jitter in _JITTERS:
        hessian.diagonal().copy_(diagonal + jitter * torch.finfo(diagonal.dtype).eps * diagonal.max())
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if not failed:
            inverse = torch.cholesky_inverse(factor, out=hessian)
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
    """How far to go along each column's direction.

    That is to where P, piecewise quadratic there, has a tenth of its slope at most.
    """
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
