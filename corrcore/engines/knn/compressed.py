"""Approximate nearest neighbours: faiss's IVF-PQ makes a shortlist, which is scored exactly.

Rows are sorted into lists by their nearest of some centres, and kept as product-quantised codes (Jégou, Douze and
Schmid 2011, "Product quantization for nearest neighbor search"): a byte per 8 channels and 8 for the row's number,
instead of two or three bytes per channel. A search looks into the lists whose centres are most similar to the query,
and scores the rows that seem best from their half-precision descriptors. So the similarities that come back are those
of `DescriptorTable`, bit for bit, and ties go to the lower id; but rows may be missing, and nothing certifies that none
is. How many are is measured by ``python -m tests.drills.compressed``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Float64, Int64

from corrcore.engines.knn.asked import Asked, Ranges
from corrcore.engines.knn.keys import pack, unpack
from corrcore.engines.knn.memory import MappedArray, drop_pages, portable
from corrcore.engines.knn.rescoring import rescore
from corrcore.engines.knn.table import Neighbours
from corrcore.wording import counted

MIN_ROWS = 10_000  # k-means of 256 centres wants 39 rows each; the exact search of fewer takes a millisecond
_BITS, _CHANNELS_PER_BYTE = 8, 8
_ROWS_PER_CENTRE, _CODE_ROWS_PER_CENTRE, _ROUNDS = 64, 128, 10  # that k-means learns from, and its iterations
_ADDED, _ASKED = 1 << 16, 64  # rows and queries between two calls of `progress`


@dataclass(frozen=True)
class Compression:
    """How rows are compressed: lists that they are sorted into, bytes of a row's code, and the seed of what is drawn.

    Zeros stand for the usual: about the square root of the rows as lists, a byte per 8 channels.
    """

    n_lists: int = 0
    bytes_per_row: int = 0
    seed: int = 0

    def of(self, rows: int, channels: int) -> "Compression":
        """With the usual numbers for a table. Raises ValueError for what does not fit it."""
        if rows < MIN_ROWS:
            msg = f"only tables of {MIN_ROWS:,} rows or more are compressed; got {rows:,}. Search it exactly."
            raise ValueError(msg)
        usual = max(n for n in range(1, max(1, channels // _CHANNELS_PER_BYTE) + 1) if channels % n == 0)
        found = replace(
            self,
            n_lists=self.n_lists or 1 << round(math.log2(rows) / 2),
            bytes_per_row=self.bytes_per_row or usual,
        )
        if not 1 <= found.n_lists <= rows // 39:
            msg = f"lists must be between 1 and {rows // 39:,} for {rows:,} rows; got {found.n_lists:,}."
            raise ValueError(msg)
        if found.bytes_per_row < 1 or channels % found.bytes_per_row:
            msg = f"bytes per row must divide the {channels} channels; got {found.bytes_per_row}."
            raise ValueError(msg)
        return found


@dataclass(frozen=True)
class Probing:
    """How much of a compressed table a search looks at: lists per query, and candidates that are scored exactly.

    More of either find more of the nearest, and take longer. Four times as many candidates as neighbours are scored
    where that is more. Raises ValueError for numbers below 1.
    """

    n_lists: int = 64
    n_candidates: int = 500

    def __post_init__(self) -> None:
        if self.n_lists < 1 or self.n_candidates < 1:
            msg = f"lists and candidates must be at least 1; got {self.n_lists} and {self.n_candidates}."
            raise ValueError(msg)

    @property
    def text(self) -> str:
        """How it searches, in words."""
        how = f"{self.n_candidates:,} candidates of {counted(self.n_lists, 'list')} per query are compared"
        return f"approximate search, which may miss neighbours ({how})"


def load_faiss() -> Any:
    """The library, set to as many threads as torch is. Raises ValueError where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        msg = "compressed descriptors need the package faiss; install it with `pip install 'corrcore[pq]'`."
        raise ValueError(msg) from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss


def compress(
    descriptors: Float16[np.ndarray, "rows channels"],
    path: Path,
    compression: Compression,
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> Compression:
    """Learns codes of unit descriptors and writes a file for `CompressedTable`; what was chosen comes back.

    The same rows, compression, version of faiss and kind of processor give the same bytes. `progress` is called with
    the share that is done; an exception that it raises ends the work. Raises ValueError where faiss is missing, and as
    `Compression.of` does, and OSError where the file cannot be written.
    """
    rows, channels = descriptors.shape
    chosen, faiss = compression.of(rows, channels), load_faiss()
    progress(0.0)
    drawn = np.random.default_rng(chosen.seed).choice(
        rows, min(rows, max(MIN_ROWS, _ROWS_PER_CENTRE * chosen.n_lists)), replace=False
    )
    index = faiss.IndexIVFPQ(
        faiss.IndexFlatIP(channels),
        channels,
        chosen.n_lists,
        chosen.bytes_per_row,
        _BITS,
        faiss.METRIC_INNER_PRODUCT,
    )
    for kmeans, most in ((index.cp, len(drawn)), (index.pq.cp, _CODE_ROWS_PER_CENTRE)):
        kmeans.seed, kmeans.niter, kmeans.max_points_per_centroid = chosen.seed, _ROUNDS, most
    index.train(descriptors[np.sort(drawn)].astype(np.float32))
    for first in range(0, rows, _ADDED):
        progress(0.5 + 0.5 * first / rows)
        index.add(descriptors[first : first + _ADDED].astype(np.float32))
        drop_pages(descriptors, slice(first, first + _ADDED))
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        msg = f"{path} cannot be written; see that you may write there and that its disk has room."
        raise OSError(msg) from error
    return chosen


class CompressedTable:
    """Unit descriptors to be searched approximately: float16 rows, and the file that `compress` made of them.

    The file is mapped, not read. A table pickles; what is mapped is pickled by its path and mapped anew. Raises
    ValueError where faiss is missing, and OSError for a file that is not of these rows.
    """

    def __init__(
        self, descriptors: Float16[np.ndarray, "rows channels"], path: Path, *, probing: Probing | None = None
    ) -> None:
        self.descriptors, self.path, self.probing = descriptors, path, probing or Probing()
        self._index = _opened(path, descriptors.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {"descriptors": portable(self.descriptors), "path": self.path, "probing": self.probing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = state["descriptors"]
        rows = rows.open() if isinstance(rows, MappedArray) else rows
        self.__init__(rows, state["path"], probing=state["probing"])

    def __len__(self) -> int:
        return len(self.descriptors)

    def release(self) -> None:
        """Lets go of the memory in which pages of the rows are."""
        drop_pages(self.descriptors)

    def search(
        self,
        queries: Float[torch.Tensor, "queries channels"],
        k: int,
        *,
        exclude: Ranges = (),
        progress: Callable[[float], None] | None = None,
    ) -> Neighbours:
        """The `k` rows of largest cosine similarity among those that were looked at: `DescriptorTable.search`, but not
        exact. Where the lists hold fewer than `k` rows, all lists are searched.

        Raises as `DescriptorTable.search` does.
        """
        asked = Asked.checked(queries, k, exclude, self.descriptors.shape)
        ids = np.empty((len(asked.unit), k), np.int64)
        similarities = np.empty((len(asked.unit), k), np.float32)
        parts = np.array_split(np.arange(len(asked.unit)), -(-len(asked.unit) // _ASKED) or 1)
        selected = self._selected(asked.excluded)
        for number, part in enumerate(parts):
            if progress is not None:
                progress(number / len(parts))
            ids[part], similarities[part] = self._nearest(asked.unit[part], k, selected)
        if progress is not None:
            progress(1.0)
        return Neighbours(ids, similarities, exact=False)

    def _nearest(
        self, unit: Float64[np.ndarray, "queries channels"], k: int, selected: Any
    ) -> tuple[Int64[np.ndarray, "queries k"], Float32[np.ndarray, "queries k"]]:
        keep = min(len(self), max(self.probing.n_candidates, 4 * k))
        rows = self._shortlist(unit, keep, self.probing.n_lists, selected)
        if (few := np.flatnonzero((rows >= 0).sum(axis=1) < k)).size:
            rows[few] = self._shortlist(unit[few], keep, self._index.nlist, selected)
        similarities = rescore(self.descriptors, unit, np.maximum(rows, 0), report=lambda _: None)
        similarities[rows < 0] = -np.inf
        keys = pack(similarities, np.maximum(rows, 0))
        return unpack(np.sort(np.partition(keys, k - 1, axis=1)[:, :k], axis=1))

    def _shortlist(
        self, unit: Float64[np.ndarray, "queries channels"], keep: int, n_lists: int, selected: Any
    ) -> Int64[np.ndarray, "queries keep"]:
        """Rows of the best codes; -1 where the lists have fewer."""
        faiss = load_faiss()
        how = faiss.SearchParametersIVF(nprobe=min(n_lists, self._index.nlist), sel=selected)
        return self._index.search(unit.astype(np.float32), keep, params=how)[1]

    def _selected(self, excluded: list[tuple[int, int]]) -> Any:
        """A bit per row: whether it may be found."""
        if not excluded:
            return None
        kept = np.ones(len(self), bool)
        for start, stop in excluded:
            kept[start:stop] = False
        return load_faiss().IDSelectorBitmap(np.packbits(kept, bitorder="little"))


def _opened(path: Path, shape: tuple[int, int]) -> Any:
    faiss = load_faiss()
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        msg = f"{path} cannot be read: it is away, or no compressed table; compress the descriptors again."
        raise OSError(msg) from error
    if not isinstance(index, faiss.IndexIVFPQ) or (index.ntotal, index.d) != shape:
        msg = f"{path} is not of these descriptors; compress them again."
        raise OSError(msg)
    return index
