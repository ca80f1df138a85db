"""What a search is asked: checked, of unit length, and without the rows that are left out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int

Ranges = Iterable[Sequence[int]] | Int[np.ndarray, "ranges 2"]


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries as `unit_vectors` makes them, half-open ranges of rows that are left out, and how many rows are not.

    Ranges are in order, and none overlaps another.
    """

    unit: Float64[np.ndarray, "queries channels"]
    excluded: list[tuple[int, int]]
    n_admissible: int

    @classmethod
    def checked(
        cls, queries: Float[torch.Tensor, "queries channels"], k: int, exclude: Ranges, shape: tuple[int, int]
    ) -> "Asked":
        """Of a table with `shape` rows and channels.

        Raises ValueError for queries that are not finite or do not fit the table, for ranges outside the table, and
        where `k` is more than the rows that are not excluded.
        """
        n, channels = shape
        if queries.shape[1:] != (channels,):
            msg = f"queries must have shape (queries, {channels}) as the table's rows; got {tuple(queries.shape)}."
            raise ValueError(msg)
        excluded = _merge_ranges(exclude, n)
        n_admissible = n - sum(stop - start for start, stop in excluded)
        if not 1 <= k <= n_admissible:
            msg = f"k must be between 1 and {n_admissible} (admissible descriptors); got {k}."
            raise ValueError(msg)
        return cls(unit_vectors(queries), excluded, n_admissible)


def unit_vectors(queries: Float[torch.Tensor, "queries channels"]) -> Float64[np.ndarray, "queries channels"]:
    """Queries of unit length, or zero, whose components are multiples of 2⁻²⁸.

    Half-precision numbers are multiples of 2⁻²⁴. All products are then multiples of 2⁻⁵², and sums of them below 2 are
    exact in double precision: the order of summation is of no consequence.
    """
    values = queries.detach().to("cpu", torch.float64).contiguous()
    lengths = values.norm(dim=1, keepdim=True)
    if not torch.isfinite(lengths).all():
        msg = "queries must be finite; got NaN or infinity."
        raise ValueError(msg)
    return ((values / torch.where(lengths > 0, lengths, 1) * 2.0**28).round_() / 2.0**28).numpy()


def _merge_ranges(ranges: Ranges, n: int) -> list[tuple[int, int]]:
    merged, reached = [], 0
    for start, stop in sorted((int(start), int(stop)) for start, stop in ranges):
        if not 0 <= start <= stop <= n:
            msg = f"exclude must hold ranges of rows between 0 and {n}; got ({start}, {stop})."
            raise ValueError(msg)
        if reached < stop:
            merged.append((max(start, reached), stop))
            reached = stop
    return merged
