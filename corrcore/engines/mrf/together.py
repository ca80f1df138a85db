"""Many displacement fields at once, on a device."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from corrcore.engines.mrf.on_torch import Batch
from corrcore.engines.mrf.problem import Settings, Solution, check, energy


def minimise_together(
    unaries: Sequence[Float[np.ndarray, "_rows _columns _target_rows _target_columns"]],
    settings: Settings,
    *,
    device: torch.device,
    progress: Callable[[float], None] | None = None,
    batch_bytes: int = 1 << 30,
    by_triton: bool | None = None,
) -> list[Solution]:
    """Pairs of one size at once, as many as `batch_bytes` of the device's memory hold. `by_triton`: see `Batch`."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, unary in enumerate(unaries):
        check(unary, settings)
        places.setdefault(unary.shape, []).append(place)
    batches = []
    for shape, alike in places.items():
        size = max(1, batch_bytes // (4 * 5 * math.prod(shape)))  # of costs, and of four messages per cell
        batches += [alike[first : first + size] for first in range(0, len(alike), size)]
    solutions: dict[int, Solution] = {}

    def report(share: float) -> None:
        if progress is not None:
            progress((len(solutions) + share * len(batch)) / len(unaries))

    for batch in batches:
        some = [unaries[place] for place in batch]
        state = Batch(some, settings, device=device, by_triton=by_triton)
        solutions |= dict(zip(batch, _solve(state, some, settings, report), strict=True))
    return [solutions[place] for place in range(len(unaries))]


def _solve(
    state: Batch,
    unaries: Sequence[Float[np.ndarray, "rows columns height width"]],
    settings: Settings,
    report: Callable[[float], None],
) -> list[Solution]:
    """Pairs of one size. One that ends before others stays as it is then."""
    n = len(unaries)
    running, best, bounds = np.ones(n, bool), np.full(n, math.inf), np.full(n, -math.inf)
    histories: list[list[tuple[float, float]]] = [[] for _ in unaries]
    labels = torch.zeros((n, *unaries[0].shape[:2], 2), dtype=torch.int64, device=state.costs.device)
    for iteration in range(settings.iterations):
        chosen, found = state.iterate()
        totals, found = torch.stack([state.energies(chosen), found]).cpu().numpy()
        bounds[running] = np.maximum(bounds, found)[running]
        better = running & (totals < best)
        best[better] = totals[better]
        where = torch.from_numpy(better).to(labels.device)[:, None, None, None]
        labels = torch.where(where, chosen, labels)
        for pair in np.flatnonzero(running):
            histories[pair].append((float(totals[pair]), float(bounds[pair])))
        running &= best - bounds > settings.gap * np.abs(best)
        report((iteration + 1) / settings.iterations if running.any() else 1.0)
        if not running.any():
            break
    improved = state.improve(labels).cpu().numpy()
    return [
        Solution(own, *energy(unary, own, smoothness=settings.smoothness), float(bound), np.array(history))
        for unary, own, bound, history in zip(unaries, improved, bounds, histories, strict=True)
    ]
