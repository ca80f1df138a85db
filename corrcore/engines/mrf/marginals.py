"""Min-marginals: what labellings cost at least that give a cell a certain label."""

import numpy as np
from jaxtyping import Float, Float32

from corrcore.engines.mrf.on_cpu import State
from corrcore.engines.mrf.problem import FORBIDDEN, Method, Settings, check


def min_marginals(
    unary: Float[np.ndarray, "rows columns target_rows target_columns"],
    *,
    smoothness: float,
    method: Method = "trw-s",
    iterations: int = 20,
) -> Float32[np.ndarray, "rows columns target_rows target_columns"]:
    """How much more labellings cost that give a cell a label than those that give it its best one; 0 for that.

    A cell's costs and the four messages that it gets, less the least of these sums: the unary term of the
    reparametrised energy (Kolmogorov 2006, Section 2.2). On a single row or column the sums are the min-marginals of
    the energy, but for rounding. On other grids they stand in for these: with *trw-s* they are those of the trees that
    share the energy, added up; with *bp* those that messages would find if the grid had no loops. Infinite where a
    label is forbidden.

    `iterations` are sweeps over all labels, from messages of zero; two reach the end of a single row or column.
    Raises as `minimise` does.
    """
    settings = Settings(smoothness, method, iterations)
    check(unary, settings)
    state = State(unary, settings)
    sums = np.zeros(0, np.float32)
    for iteration in range(iterations):
        state.sweep(forth=True)
        if iteration == iterations - 1:  # there is room for the message of an edge that was sent last
            sums = _costs(state)
            _add_forth(sums, state)
        state.sweep(forth=False)
    _add_back(sums, state)
    found = sums[..., : unary.shape[3]]
    found = found - found.min(axis=(2, 3), keepdims=True)
    found[found > FORBIDDEN / 2] = np.inf
    return found


def _costs(state: State) -> Float32[np.ndarray, "rows columns target_rows pitch"]:
    rows, columns, height, _ = state.shape
    return state.arrays.costs.reshape(rows, columns, height, -1).copy()


def _messages(state: State) -> tuple[np.ndarray, np.ndarray]:
    """Between cells side by side, and one above the other: each of the labels of the cell it was sent to."""
    rows, columns, height, _ = state.shape
    across, down = (rows, columns - 1, height, -1), (rows - 1, columns, height, -1)
    arrays, n = state.arrays, state.arrays.size
    return (
        arrays.right[: rows * (columns - 1) * n].reshape(across) if columns > 1 else np.zeros((rows, 0, height, 1)),
        arrays.down[: (rows - 1) * columns * n].reshape(down) if rows > 1 else np.zeros((0, columns, height, 1)),
    )


def _add_forth(sums: np.ndarray, state: State) -> None:
    across, down = _messages(state)
    sums[:, 1:] += across
    sums[1:] += down


def _add_back(sums: np.ndarray, state: State) -> None:
    across, down = _messages(state)
    sums[:, :-1] += across
    sums[:-1] += down
