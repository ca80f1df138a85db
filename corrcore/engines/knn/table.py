"""Exact nearest neighbours by cosine among a million descriptors that stay in memory-mapped files.

A table holds unit descriptors twice: in half precision, and as 8-bit codes with one scale per row (`quantise`). A
search

1. scans the codes, which are half the bytes and a quarter of single precision's arithmetic, and keeps as a shortlist
   the rows for which an upper bound of the similarity is largest. On a processor without 8-bit dot products a coarser
   bound, which is never less, tells first which products are needed at all (`codes.CodedQueries`);
2. scores the shortlist from the half-precision rows, with no rounding before the last (`asked.unit_vectors`): equal
   rows get equal similarities in whatever order and on whatever device they are summed, and ties go to the lower id;
3. accepts a query's result if its k-th similarity exceeds the bound of every row left out. If it does not, as where
   thousands of rows are almost equal, the shortlist is made longer, and at last every row is scored as in 2.

The bound: a code's rounding error is uniform within ±scale / 2, so its variance is scale² / 12. Between a unit query
and a unit row these errors add up to a standard deviation of sqrt((s_row² + s_query²) / 12), which is less than
(s_row + s_query) / sqrt(12), to which it rises where row and query are alike. The bound allows for six times that. The
result is thus exact but for one event: that the errors of a row left out exceed the allowance, while none on the
shortlist exceeds two thirds of it (if one does, the result is not accepted). Were errors normal, this would befall one
row in 10⁹. Where the scan uses floating point, on a GPU or by choice, its bound holds for every rounding, and the
result is exact.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64

from corrcore.engines.knn.asked import Asked, Ranges
from corrcore.engines.knn.device import Device
from corrcore.engines.knn.host import Host, Scan
from corrcore.engines.knn.keys import GROUP
from corrcore.engines.knn.memory import MappedArray, drop_pages, portable

_LONGER = 1 << 14  # rows by which a shortlist that was too short is extended


class Pass(NamedTuple):
    """One pass of a search through a table: what it made, and for how many queries."""

    kind: Literal["shortlist", "all"]
    n_queries: int


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest descriptors of each query, best first; equally similar ones by ascending id.

    `passes` tell how they were found: see the module. Those that are not `exact` (`corrcore.engines.knn.compressed`)
    may lack some of the nearest; the similarities are those of the rows all the same.
    """

    ids: Int64[np.ndarray, "queries k"]
    similarities: Float32[np.ndarray, "queries k"]
    passes: tuple[Pass, ...] = ()
    exact: bool = True


class DescriptorTable:
    """Unit descriptors to be searched: float16 rows, and the codes and scales that `quantise` made of them.

    The arrays are used where they are, memory-mapped or not. A table pickles; arrays that are mapped read-only from
    files (`numpy.memmap`) are pickled by their path and mapped anew.

    `scan` chooses how a processor scans: the codes by "dot" or by "pairs", see `lanes`, or by "float" the
    half-precision rows. By default it is the way of `lanes` for which the processor has instructions. Results are the
    same.

    Raises ValueError for another `scan`, and where the arrays do not fit one another.
    """

    def __init__(
        self, descriptors: np.ndarray, codes: np.ndarray, scales: np.ndarray, *, scan: Scan | None = None
    ) -> None:
        if scan not in (None, *get_args(Scan)):
            msg = f"scan must be one of {', '.join(get_args(Scan))}, or None for the faster one; got {scan!r}."
            raise ValueError(msg)
        rows_channels = descriptors.shape if descriptors.ndim == 2 else ("rows", "channels")
        expected = {
            "descriptors": (descriptors, np.float16, rows_channels),
            "codes": (codes, np.int8, rows_channels),
            "scales": (scales, np.float32, rows_channels[:1]),
        }
        for name, (array, dtype, shape) in expected.items():
            if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
                msg = (
                    f"{name} must be a contiguous {np.dtype(dtype)} array of shape {shape}; "
                    f"got {array.dtype} {array.shape}{'' if array.flags.c_contiguous else ', not contiguous'}."
                )
                raise ValueError(msg)
        if len(descriptors) >= 1 << 31:
            msg = f"descriptors must have less than 2**31 rows; got {len(descriptors)}."
            raise ValueError(msg)
        self.descriptors, self.codes, self.scales = descriptors, codes, scales
        self.scan: Scan | None = scan
        self._resident: torch.Tensor | None = None

    def __getstate__(self) -> dict[str, Any]:
        arrays = {name: portable(getattr(self, name)) for name in ("descriptors", "codes", "scales")}
        return {**arrays, "scan": self.scan, "device": self._resident.device if self._resident is not None else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in ("descriptors", "codes", "scales"):
            array = state[name]
            setattr(self, name, array.open() if isinstance(array, MappedArray) else array)
        self.scan, device = state["scan"], state["device"]
        self._resident = Device.copy(self.descriptors, device) if device is not None else None

    def __len__(self) -> int:
        return len(self.descriptors)

    def to(self, device: torch.device | str, *, resident: bool | None = None) -> "DescriptorTable":
        """The same table, to be searched by a device.

        A `resident` one holds a copy of the half-precision rows on the device, and is searched by torch's operations
        there; that is the default for CUDA, and not for the CPU. Raises ValueError for other devices, and for a CUDA
        device that is to hold nothing.
        """
        device = torch.device(device)
        if device.type not in ("cpu", "cuda"):
            msg = f"device must be cpu or a CUDA device; got {device}."
            raise ValueError(msg)
        resident = device.type == "cuda" if resident is None else resident
        if device.type == "cuda" and not resident:
            msg = f"resident must be True for a CUDA device, which cannot search a file; got {resident}."
            raise ValueError(msg)
        table = copy(self)
        table._resident = Device.copy(self.descriptors, device) if resident else None
        return table

    def release(self) -> None:
        """Lets go of the memory in which pages of the files are; a later search reads them again."""
        for array in (self.descriptors, self.codes, self.scales):
            drop_pages(array)

    def search(
        self,
        queries: Float[torch.Tensor, "queries channels"],
        k: int,
        *,
        exclude: Ranges = (),
        progress: Callable[[float], None] | None = None,
        shortlist_bytes: int = 1 << 26,
    ) -> Neighbours:
        """The `k` rows of largest cosine similarity to each query. Queries need not have unit length.

        Rows within the half-open ranges (start, stop) of `exclude` are left out. A query of zeros has similarity 0 to
        every row. As many threads work as torch is set to use. `progress` is called often, in the calling thread, with
        the share that is done; an exception that it raises ends the search and leaves it. More queries than have
        shortlists within `shortlist_bytes` are searched one part after another.

        Raises ValueError for queries that are not finite or do not fit the table, for ranges outside the table, and
        where `k` is more than the rows that are not excluded.
        """
        asked = Asked.checked(queries, k, exclude, self.descriptors.shape)
        unit = asked.unit
        ids = np.empty((len(unit), k), np.int64)
        similarities = np.empty((len(unit), k), np.float32)
        certain = np.zeros(len(unit), bool)
        passes: list[Pass] = []
        done = 0

        def report(share: float) -> None:
            if progress is not None:
                progress(min(1.0, (done + share * len(part)) / len(unit)))

        searcher = self._searcher(asked.excluded, report)
        for wanted in (k + k // 2 + GROUP, k + _LONGER):
            keep = min(wanted, asked.n_admissible)
            for part in _parts(np.flatnonzero(~certain), searcher.queries_at_once(keep, shortlist_bytes)):
                passes.append(Pass("shortlist", len(part)))
                ids[part], similarities[part], certain[part] = searcher.search_shortlist(unit[part], k, keep)
                done += len(part)
        for part in _parts(np.flatnonzero(~certain), searcher.queries_at_once(k, shortlist_bytes)):
            passes.append(Pass("all", len(part)))
            ids[part], similarities[part] = searcher.search_all(unit[part], k)
        return Neighbours(ids, similarities, tuple(passes))

    def _searcher(self, excluded: list[tuple[int, int]], report: Callable[[float], None]) -> Host | Device:
        if self._resident is not None:
            return Device(self._resident, [*excluded, (len(self), len(self._resident))], report)
        return Host(self.descriptors, self.codes, self.scales, scan=self.scan, excluded=excluded, report=report)


def _parts(pending: Int64[np.ndarray, " queries"], at_once: int) -> list[Int64[np.ndarray, " part"]]:
    return np.array_split(pending, -(-len(pending) // at_once)) if len(pending) else []
