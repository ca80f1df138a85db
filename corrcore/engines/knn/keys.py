"""Similarities and rows packed into one integer, so that sorting integers ranks rows."""

import numpy as np
from jaxtyping import Float32, Int64

GROUP = 64  # rows that are looked at together
TILE = 4  # queries whose products with a group of rows are taken together
SAMPLED = 16  # one group of so many is in the sample
ALL, SAMPLE, REST = 0, 1, 2  # groups that are looked at
ABSENT = np.iinfo(np.int64).max  # key of no row


def pack(bounds: Float32[np.ndarray, "*shape"], rows: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
    """Keys whose ascending order is that of descending bounds, and of ascending rows where bounds are equal."""
    bits = (bounds + np.float32(0)).view(np.int32).astype(np.int64)  # + 0 makes zero of -0
    return (~(bits ^ ((bits >> 31) & 0x7FFFFFFF)) << 32) | rows


def unpack(keys: Int64[np.ndarray, "*shape"]) -> tuple[Int64[np.ndarray, "*shape"], Float32[np.ndarray, "*shape"]]:
    """Rows and bounds; of `ABSENT`, a row beyond all and NaN."""
    bits = ~(keys >> 32)
    return keys & 0xFFFFFFFF, (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int32).view(np.float32)
