"""Exact similarities of a shortlist, from half-precision rows in memory or in a mapped file."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float16, Float32, Float64, Int64

from corrcore import concurrency
from corrcore.engines.knn.memory import as_tensor, drop_pages

BUCKET = 1 << 15  # rows of which pages are in memory at a time
_FEW_PAIRS = 1000  # to start threads takes longer than they do


def rescore(
    descriptors: Float16[np.ndarray, "rows channels"],
    unit: Float64[np.ndarray, "queries channels"],
    rows: Int64[np.ndarray, "queries keep"],
    *,
    report: Callable[[float], None],
) -> Float32[np.ndarray, "queries keep"]:
    """Similarities of queries (`asked.unit_vectors`) to rows, with no rounding before the last.

    The file is gone through from front to back: few of its pages are needed at a time. `report(1.0)` is called often.
    """
    from corrcore.engines.knn.kernels import score_pairs

    similarities = np.empty(rows.shape, np.float32)
    bucket = (rows.reshape(-1) // BUCKET).astype(np.uint16)
    pairs = np.argsort(bucket, kind="stable")
    ends = np.cumsum(np.bincount(bucket))
    halves = as_tensor(descriptors).view(torch.uint16).numpy()

    def score(bucket: int) -> None:
        its_pairs = pairs[ends[bucket - 1] if bucket else 0 : ends[bucket]]
        score_pairs(halves, unit, rows.reshape(-1), its_pairs, similarities.reshape(-1))
        drop_pages(descriptors, slice(BUCKET * bucket, BUCKET * (bucket + 1)))

    n_threads = torch.get_num_threads() if len(pairs) > _FEW_PAIRS else 1
    concurrency.map_in_order(score, range(len(ends)), lambda _: report(1.0), n_threads=n_threads)
    return similarities
