"""Displacement fields of least energy on a grid: a Markov random field with squared-distance smoothness.

Every cell p of a rectangular source grid takes a cell t(p) of a rectangular target grid as its label; its displacement
is w(p) = t(p) - p, in cells. The energy (Long, Zhang and Darrell 2014, Section 4)

    E(w) = sum over p of unary[p, t(p)]  +  smoothness * sum over neighbours p, q of ||w(p) - w(q)||²

is minimised by passing messages between the four neighbours of every cell. A message is a minimum over all labels,

    m(t') = min over t of h(t) + smoothness * ||t' - t - (q - p)||².

Its distances are separable in x and y, and along an axis d² = 1 + 3 + 5 + ... + (2d - 1). So the minimum is found in
passes: in pass j = 1, 2, ... every label becomes the least of itself and its two neighbours + (2j - 1) * smoothness.
When a pass changes nothing no later one will, since its steps cost more; most messages need few of the passes.

`minimise` sweeps over all cells, in reading order and back, in one of two ways. *trw-s*, sequential tree-reweighted
message passing (Kolmogorov 2006), has a lower bound on the optimum that never sinks, so a result tells how far from the
optimum it may be. *bp*, min-sum loopy belief propagation, is the paper's. Both are exact on a single row or column,
from their second iteration on.

On larger grids *trw-s* begins with the messages of a grid half as fine (Felzenszwalb and Huttenlocher 2006), goes on in
whole numbers of sixteen bits (`shorts.sweep`), and then drops labels that cannot be the optimum's (why, see
`sweeps.sweep`). When energy and bound are close, few are left, and messages between lists of them take a small part of
the time.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from corrcore import concurrency
from corrcore.engines.mrf.problem import Method, Settings, Solution, check

VERSION = 3  # of what this module computes: results kept by another are not used


def minimise(
    unary: Float[np.ndarray, "rows columns target_rows target_columns"],
    *,
    smoothness: float,
    method: Method = "trw-s",
    iterations: int = 20,
    gap: float = 1e-4,
    progress: Callable[[float], None] | None = None,
) -> Solution:
    """Labels of low energy: the best of all iterations, improved cell by cell until no single cell can be.

    `unary` has the cost of every label at every source cell; infinity forbids a label. An iteration is a sweep forth
    and one back, or several that take no longer once most labels are dropped. *trw-s* ends before `iterations` once
    energy and bound are within ``gap * |energy|``. `progress` is told the share done after every iteration; what it
    raises ends the work.

    Raises ValueError for NaN, costs beyond ±1e5, a cell without an allowed label, and options out of range.

    >>> import numpy as np
    >>> from corrcore.engines import mrf
    >>> unary = np.ones((1, 3, 1, 3))  # three cells, three labels: which cost nothing where it matches
    >>> unary[0, [0, 1, 2], 0, [0, 2, 2]] = 0
    >>> mrf.minimise(unary, smoothness=2.0).labels[0, :, 1]  # the middle one stays in line
    array([0, 1, 2])
    """
    from corrcore.engines.mrf.search import Search  # which needs Numba

    settings = Settings(smoothness, method, iterations, gap)
    check(unary, settings)
    search = Search(unary, settings)
    for iteration in range(iterations):
        search.iterate()
        if progress is not None:
            progress((iteration + 1) / iterations)
        if search.is_over:
            break
    return search.solution()


def minimise_batch(
    unaries: Sequence[Float[np.ndarray, "_rows _columns _target_rows _target_columns"]],
    *,
    smoothness: float,
    method: Method = "trw-s",
    iterations: int = 20,
    gap: float = 1e-4,
    progress: Callable[[float], None] | None = None,
    device: torch.device | str | None = None,
) -> list[Solution]:
    """`minimise` for many pairs side by side: one per thread, or, on a CUDA device, all at once.

    Grids may differ in size. `device` is CUDA where there is one, by default. There all sweeps are over all labels:
    what they find is as close to the optimum as it says, and may be other labels than threads find.
    """
    device = torch.device(device) if device is not None else concurrency.default_device()
    if device.type not in ("cpu", "cuda"):
        msg = f"device must be cpu or a CUDA device; got {device}."
        raise ValueError(msg)
    settings = Settings(smoothness, method, iterations, gap)
    if device.type == "cuda":
        from corrcore.engines.mrf.together import minimise_together  # which takes time to see whether there is Triton

        return minimise_together(unaries, settings, device=device, progress=progress)
    solutions: list[Solution] = []

    def keep(solution: Solution) -> None:
        solutions.append(solution)
        if progress is not None:
            progress(len(solutions) / len(unaries))

    concurrency.map_in_order(lambda unary: minimise(unary, **settings._asdict()), unaries, keep)
    return solutions
