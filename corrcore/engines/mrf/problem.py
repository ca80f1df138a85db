"""What is minimised, and what a minimiser returns."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int, Num

Method = Literal["trw-s", "bp"]

LARGEST = 1e5  # of a cost that single precision tells from its neighbours to a hundredth
FORBIDDEN = np.float32(2.5e8)
FAR = np.float32(1e9)  # of what lies outside the grid


@dataclass(frozen=True)
class Solution:
    """A displacement field, its energy, and what is known of the optimum.

    `labels` are (row, column) of the target cell of each source cell. No labelling has less energy than `lower_bound`,
    but for rounding in single precision; it is -inf after belief propagation. `history` has a row per iteration: the
    energy of its labels, and its bound.
    """

    labels: Int[np.ndarray, "rows columns 2"]
    data: float
    smoothness: float
    lower_bound: float
    history: Float[np.ndarray, "iterations 2"]

    @property
    def energy(self) -> float:
        """The data term and the smoothness term together."""
        return self.data + self.smoothness

    @property
    def gap(self) -> float:
        """The most by which the energy may exceed the optimum's."""
        return self.energy - self.lower_bound

    @property
    def displacement(self) -> Float[np.ndarray, "rows columns 2"]:
        """(dx, dy) of every source cell, in cells."""
        rows, columns = self.labels.shape[:2]
        own = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
        return (self.labels - own)[..., ::-1].astype(float)


def energy(
    unary: Float[np.ndarray, "rows columns target_rows target_columns"],
    labels: Int[np.ndarray, "rows columns 2"],
    *,
    smoothness: float,
) -> tuple[float, float]:
    """The data term and the smoothness term of a labelling, (row, column) of a target cell for every source cell."""
    rows, columns = np.indices(unary.shape[:2])
    data = unary[rows, columns, labels[..., 0], labels[..., 1]].sum(dtype=np.float64)
    displacement = labels - np.stack([rows, columns], axis=-1)
    return float(data), float(smoothness * roughness(displacement))


def roughness(displacement: Num[np.ndarray, "rows columns 2"]) -> float:
    """The sum of ||w(p) - w(q)||² over neighbouring cells."""
    return float(sum((np.diff(displacement, axis=axis) ** 2).sum() for axis in (0, 1)))


class Settings(NamedTuple):
    """How a field is minimised: see `minimise`."""

    smoothness: float
    method: Method = "trw-s"
    iterations: int = 20
    gap: float = 1e-4

    @property
    def reweighted(self) -> bool:
        """Whether messages are those of *trw-s*."""
        return self.method == "trw-s"


def check(unary: Float[np.ndarray, "rows columns target_rows target_columns"], settings: Settings) -> None:
    """Raises ValueError for what cannot be minimised."""
    smoothness, method, iterations, _ = settings
    if method not in get_args(Method):
        msg = f"method must be one of {', '.join(get_args(Method))}; got {method!r}."
        raise ValueError(msg)
    if not 0 <= smoothness <= LARGEST:
        msg = f"smoothness must be between 0 and {LARGEST:g}; got {smoothness}."
        raise ValueError(msg)
    if iterations < 1:
        msg = f"iterations must be at least 1; got {iterations}."
        raise ValueError(msg)
    rows, columns, height, width = unary.shape
    if 0 in unary.shape:
        msg = f"source and target must have at least one cell; got {columns} x {rows} and {width} x {height} cells."
        raise ValueError(msg)
    least = unary.min(axis=(2, 3))
    if not (least >= -LARGEST).all() or not (unary.max() <= LARGEST or ((unary <= LARGEST) | (unary == np.inf)).all()):
        msg = f"unary costs must be between -{LARGEST:g} and {LARGEST:g}, or infinite where a label is forbidden."
        raise ValueError(msg)
    if not (least < np.inf).all():
        msg = "every source cell must have a target cell that is allowed; for some, all costs are infinite."
        raise ValueError(msg)
    worst = smoothness * (height**2 + width**2)  # an edge's cost of keeping to what is allowed
    if worst > FORBIDDEN / 100 and np.isinf(unary).any():
        most = FORBIDDEN / 100 / (height**2 + width**2)
        msg = f"smoothness must be at most {most:g} where labels are forbidden on such a grid; got {smoothness}."
        raise ValueError(msg)
