"""8-bit codes of descriptors, and how far their products may be from the truth."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int8, Int32

from corrcore.engines.knn.keys import TILE

MARGIN = np.float32(6 / 12**0.5)  # what rounding may add to a similarity, in units of the two scales
_CHANNELS = 32  # that are taken together
_ROUNDING = 1e-5  # of the product of two lengths: more than single precision loses where a coarse bound is computed


def quantise(
    descriptors: Float[torch.Tensor, "rows channels"] | Float[np.ndarray, "rows channels"],
) -> tuple[Int8[np.ndarray, "rows channels"], Float32[np.ndarray, " rows"]]:
    """8-bit codes and a scale per row: ``descriptors ≈ codes * scales[:, None]``.

    A row's largest magnitude becomes ±127; a row of zeros has scale 0. Raises ValueError for values that are not
    finite.
    """
    values = torch.as_tensor(descriptors).detach().float()
    scales = values.abs().amax(dim=1) / 127
    if not torch.isfinite(scales).all():
        msg = "descriptors must be finite; got NaN or infinity."
        raise ValueError(msg)
    codes = (values / torch.where(scales > 0, scales, 1)[:, None]).round_().clamp_(-127, 127).to(torch.int8)
    return codes.cpu().numpy(), scales.cpu().numpy()


class CodedQueries(NamedTuple):
    """Queries' codes q, and coarse codes b of fewer levels, as rows' codes c are multiplied by them.

    Coarse codes are so coarse that their sums fit: of every `summed` channels, four by four, each two of the four. They
    are a t-th of the codes, rounded. c·q = t c·b + c·(q - t b), of which the last is at most ‖c‖ ‖q - t b‖. Hence

        scales * c·q <= coarse_scales * (c·b) + slopes * ‖c‖

    where `coarse_scales` are ``scales * t`` and `slopes` ``scales * ‖q - t b‖``, with something for rounding. For rows
    without a negative code, only what is positive of q - t b counts: `rises` are the slopes then. If codes are not
    coarser, slopes are 0 and both sides are equal. `coarse` is filled up with zeros to whole tiles of queries,
    and to a multiple of 32 channels; `offsets` are what a number added to all of a row's codes adds to its products.
    """

    codes: Int8[np.ndarray, "queries channels"]
    scales: Float32[np.ndarray, " queries"]
    coarse: Int8[np.ndarray, "at_least_queries at_least_channels"]
    coarse_scales: Float32[np.ndarray, " queries"]
    slopes: Float32[np.ndarray, " queries"]
    rises: Float32[np.ndarray, " queries"]
    offsets: Int32[np.ndarray, " queries"]

    @classmethod
    def of(
        cls, queries: Float[torch.Tensor, "queries channels"], *, offset: int, most: int, summed: int
    ) -> "CodedQueries":
        """The codes of queries, and coarse ones whose sums are `most` at most, or any if that is 0.

        Rows have `offset` added to them.
        """
        codes, scales = quantise(queries)
        n, channels = codes.shape
        padded = np.pad(codes, ((0, -n % TILE), (0, -channels % _CHANNELS)))
        steps, slopes = np.ones(n), np.zeros((2, n))
        if most:
            sums = np.abs(padded[:n].astype(int)).reshape(n, -1, summed // 4, 2, 2).sum(axis=(2, 4)).max(axis=(1, 2))
            steps = np.maximum(sums / (most - summed // 4), 1)  # of which each code may be rounded up by a half
            padded[:n] = np.rint(padded[:n] / steps[:, None])
            left_out = codes - steps[:, None] * padded[:n, :channels]
            parts = (left_out, left_out.clip(min=0), codes.astype(float))
            *lost, lengths = (np.linalg.norm(part, axis=1) for part in parts)
            slopes = scales * (np.array(lost) + _ROUNDING * lengths)
        return cls(
            codes,
            scales,
            padded,
            (scales * steps).astype(np.float32),
            slopes[0].astype(np.float32),
            slopes[1].astype(np.float32),
            offset * padded[:n].sum(axis=1, dtype=np.int32),
        )
