"""Conjugate gradients for squared hinges: see `train`, whose P is minimised here.

P is smooth, and quadratic wherever no sample passes its margin. So the directions of Polak and Ribière (1969) keep what
earlier ones have learnt while margins settle, where Newton's method would look for each of its directions from nothing;
and how far to go along one is computed exactly, from scores alone. A step passes the samples twice.

Descriptors have much in common: along a few directions P bends thousands of times as much as along others. Steps are
freed of these by a preconditioner of low rank, made from a few thousand samples (Frangella, Tropp and Udell 2023). A
factor of all features' products would take longer than the steps that it saves: the active samples of one class are few
and its own, and how P bends beyond what all classes share is theirs alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float

from corrcore.engines.svm.samples import Samples, parts

_RANK = 64  # of the preconditioner, and the gradients at hand
_LOOKED_AT = 4096  # samples that the preconditioner is made from
_STALE = 2.5  # how much the mean weight of samples may change until the preconditioner is made anew
_ROUNDINGS = 10  # of the largest curvature: lesser ones are not told apart
_EXACT = 0.01  # of the slope that a direction begins with, at most, is left where a step ends
_MOST_LENGTHS = 10  # tried, in one step
_PATIENCE = 20  # steps that gain nothing: what is left is rounding


class _Path(NamedTuple):
    """A step of each problem, the gradients that it begins with, and these times what was made of them."""

    direction: Float[torch.Tensor, "problems inputs"]
    gradient: Float[torch.Tensor, "problems inputs"]
    product: Float[torch.Tensor, " problems"]

    def of(self, some: torch.Tensor) -> "_Path":
        """Of some problems."""
        return _Path(*(each[some] for each in self))


def minimise(
    samples: Samples,
    y: Float[torch.Tensor, "problems samples"],
    costs: Float[torch.Tensor, "problems samples"],
    w: Float[torch.Tensor, "problems inputs"],
    tolerance: float,
    progress: Callable[[float], None] | None = None,
    *,
    most_steps: int = 2000,
) -> Float[torch.Tensor, "problems inputs"]:
    """Each problem's w of least P. They are independent; those that are solved leave, so that the rest costs less."""
    result, left = w.clone(), torch.arange(len(y), device=w.device)
    noise = torch.finfo(w.dtype).eps  # a step that lowers the objective by less, relatively, may be rounding
    margins = y * samples.scores(w.T).T
    nearest = lowest = w.new_full((len(y),), torch.inf)
    idle = torch.zeros_like(left)
    precondition, weight, path = None, 0.0, None
    for _ in range(most_steps):
        slack = (1 - margins).clamp_(min=0)
        weighted = costs * slack
        value = w.square().sum(1) / 2 + (weighted * slack).sum(1)
        gradient = w - samples.back(weighted.mul_(2).mul_(y).T).T
        del slack, weighted
        above = gradient.square().sum(1) / 2
        nearer = above < nearest
        result[left[nearer]] = w[nearer]
        idle = torch.where(nearer | (value < lowest * (1 - noise)), 0, idle + 1)
        nearest, lowest = torch.minimum(nearest, above), torch.minimum(lowest, value)
        going = (above > tolerance * value) & (idle < _PATIENCE)
        if progress is not None:
            progress(1 - len(left) / len(result))
        if not going.any():
            break
        if not going.all():
            left, y, costs, w, margins = left[going], y[going], costs[going], w[going], margins[going]
            gradient, nearest, lowest, idle = gradient[going], nearest[going], lowest[going], idle[going]
            path = path.of(going) if path is not None else None
        active = costs.where(margins < 1, 0).mean(0)
        now = float(active.mean())
        if precondition is None or not weight / _STALE < now < weight * _STALE:
            precondition, weight, path = _preconditioner(samples, 2 * active, gradient), now, None
        path = _next(path, gradient, precondition(gradient))
        changed = y * samples.scores(path.direction.T).T
        length = _length(w, path.direction, costs, margins, changed)[:, None]
        w, margins = w + length * path.direction, torch.addcmul(margins, length, changed)
    return result


def certify(
    samples: Samples,
    y: Float[torch.Tensor, "problems samples"],
    costs: Float[torch.Tensor, "problems samples"],
    w: Float[torch.Tensor, "problems inputs"],
) -> tuple[Float[torch.Tensor, " problems"], Float[torch.Tensor, " problems"]]:
    """P of every problem, and how far above the least possible it is at most; in double precision."""
    w = w.double()
    value, gradient = w.square().sum(1) / 2, w.clone()
    for part, single in parts(samples, torch.arange(y.shape[1], device=w.device)):
        rows, signs = single.double(), y[:, part]
        slack = (1 - signs * (w @ rows.T)).clamp_(min=0)
        value += (costs[:, part] * slack.square()).sum(1)
        gradient -= (2 * costs[:, part] * slack * signs) @ rows
    return value, gradient.square().sum(1) / 2


def _next(
    path: _Path | None,
    gradient: Float[torch.Tensor, "problems inputs"],
    steepest: Float[torch.Tensor, "problems inputs"],
) -> _Path:
    """The steps that follow; `steepest` is what the preconditioner makes of the gradients."""
    product = (gradient * steepest).sum(1)
    if path is None:
        return _Path(-steepest, gradient, product)
    kept = (product - (path.gradient * steepest).sum(1)) / path.product.clamp(min=1e-30)
    direction = kept.clamp(min=0)[:, None] * path.direction - steepest
    downhill = (direction * gradient).sum(1) < 0
    return _Path(torch.where(downhill[:, None], direction, -steepest), gradient, product)


def _preconditioner(
    samples: Samples, weights: Float[torch.Tensor, " samples"], gradients: Float[torch.Tensor, "problems inputs"]
) -> Callable[[Float[torch.Tensor, "problems inputs"]], Float[torch.Tensor, "problems inputs"]]:
    """Divides by I + X' D X along the directions in which that is largest, and by the least of these along all others.

    The directions are those of one pass from random ones, and the gradients', which tell how classes differ.
    """
    some = weights.nonzero()[:, 0]
    some = some[:: max(len(some) // _LOOKED_AT, 1)]
    weights = weights[some] * (weights.sum() / weights[some].sum())

    def curved(vectors: torch.Tensor) -> torch.Tensor:
        found = torch.zeros_like(vectors)
        for part, rows in parts(samples, some):
            found.addmm_(rows.T, weights[part, None] * (rows @ vectors))
        return found

    n_inputs = gradients.shape[1]
    drawn = torch.randn(n_inputs, min(_RANK, n_inputs), generator=torch.Generator().manual_seed(0)).to(gradients)
    vectors = torch.linalg.qr(torch.cat([gradients.T, curved(drawn)], dim=1))[0]
    values, turns = torch.linalg.eigh(vectors.T @ curved(vectors))
    values, vectors = 1 + values.clamp(min=_ROUNDINGS * torch.finfo(values.dtype).eps * values[-1]), vectors @ turns
    beyond = values[0] / values - 1
    return lambda gradients: gradients + (gradients @ vectors * beyond) @ vectors.T


def _length(
    w: Float[torch.Tensor, "problems inputs"],
    direction: Float[torch.Tensor, "problems inputs"],
    costs: Float[torch.Tensor, "problems samples"],
    margins: Float[torch.Tensor, "problems samples"],
    changed: Float[torch.Tensor, "problems samples"],
) -> Float[torch.Tensor, " problems"]:
    """How far to go along each problem's direction: to where P, piecewise quadratic there, is level."""
    along, square = (w * direction).sum(1), direction.square().sum(1)
    weighted = 2 * costs * changed
    length, low, high = torch.zeros_like(along), torch.zeros_like(along), torch.full_like(along, torch.inf)
    enough = None
    for _ in range(_MOST_LENGTHS):
        slack = (1 - torch.addcmul(margins, length[:, None], changed)).clamp_(min=0)
        slope = along + length * square - (weighted * slack).sum(1)
        enough = _EXACT * slope.abs() if enough is None else enough
        going = slope.abs() > enough
        if not going.any():
            break
        curvature = square + (weighted * changed).where(slack > 0, 0).sum(1)
        low, high = torch.where(slope < 0, length, low), torch.where(slope < 0, high, length)
        newton = length - slope / curvature.clamp(min=1e-30)
        middle = torch.where(torch.isinf(high), 2 * length, (low + high) / 2)
        length = torch.where(going, torch.where((newton > low) & (newton < high), newton, middle), length)
    return length
