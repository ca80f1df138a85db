"""What the solver asks of samples: to pass them all, and to have a few.

A sample's `inputs` are its features and a constant 1, for the bias.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int

ROWS = 512  # of samples that are put together at a time


@runtime_checkable
class Samples(Protocol):
    """Samples, put together or not. `shape` counts them and their features; products are in their `dtype`."""

    shape: tuple[int, int]
    dtype: torch.dtype
    device: torch.device

    def scores(self, w: Float[torch.Tensor, "inputs problems"]) -> Float[torch.Tensor, "samples problems"]:
        """Each sample times every column; quickest where both lie column by column."""
        ...

    def back(self, weights: Float[torch.Tensor, "samples problems"]) -> Float[torch.Tensor, "inputs problems"]:
        """The sum over samples of each one's weights times itself."""
        ...

    def rows(self, numbers: Int[torch.Tensor, " some"]) -> Float[torch.Tensor, "some features"]:
        """The features of some samples."""
        ...


class Rows:
    """Samples that are put together: a row each."""

    def __init__(self, features: Float[torch.Tensor, "samples features"]) -> None:
        """In single or double precision. Raises ValueError for another."""
        if features.dtype not in (torch.float32, torch.float64):
            msg = f"samples must be float32 or float64; got {features.dtype}."
            raise ValueError(msg)
        self._features = features
        self.shape, self.dtype, self.device = (len(features), features.shape[1]), features.dtype, features.device

    def scores(self, w: Float[torch.Tensor, "inputs problems"]) -> Float[torch.Tensor, "samples problems"]:
        """See `Samples`."""
        return torch.addmm(w[-1:].T, w[:-1].T.contiguous(), self._features.T).T

    def back(self, weights: Float[torch.Tensor, "samples problems"]) -> Float[torch.Tensor, "inputs problems"]:
        """See `Samples`."""
        return torch.cat([weights.T.contiguous() @ self._features, weights.sum(0)[:, None]], dim=1).T

    def rows(self, numbers: Int[torch.Tensor, " some"]) -> Float[torch.Tensor, "some features"]:
        """See `Samples`."""
        return self._features[numbers]


def parts(
    samples: Samples, numbers: Int[torch.Tensor, " some"]
) -> Iterator[tuple[slice, Float[torch.Tensor, "part inputs"]]]:
    """Some samples, a part of them at a time, and which part that is."""
    for start in range(0, len(numbers), ROWS):
        part = slice(start, start + ROWS)
        rows = samples.rows(numbers[part])
        yield part, torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
