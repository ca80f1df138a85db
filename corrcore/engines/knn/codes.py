"""8-bit codes of descriptors, and how far their products may be from the truth."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int8, Int32

from corrcore.engines.knn.keys import TILE

MARGIN = np.float32(6 / 12**0.5)  # what rounding may add to a similarity, in units of the two scales
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

    With t = 127 / levels, c·q = t c·b + c·(q - t b), of which the last is at most ‖c‖ ‖q - t b‖. Hence

        scales * c·q <= coarse_scales * (c·b) + slopes * ‖c‖

    where `coarse_scales` are ``scales * t`` and `slopes` ``scales * ‖q - t b‖``, with something for rounding. If codes
    are not coarser, slopes are 0 and both sides are equal. `coarse` is filled up with zeros to whole tiles of queries,
    and to a multiple of 32 channels; `offsets` are what a number added to all of a row's codes adds to its products.
    """

    codes: Int8[np.ndarray, "queries channels"]
    scales: Float32[np.ndarray, " queries"]
    coarse: Int8[np.ndarray, "at_least_queries at_least_channels"]
    coarse_scales: Float32[np.ndarray, " queries"]
    slopes: Float32[np.ndarray, " queries"]
    offsets: Int32[np.ndarray, " queries"]

    @classmethod
    def of(cls, queries: Float[torch.Tensor, "queries channels"], *, levels: int, offset: int) -> "CodedQueries":
        """The codes of queries, and coarse ones of at most `levels`; rows have `offset` added to them."""
        codes, scales = quantise(queries)
        step = 127 / levels
        coarse = np.rint(codes / step).astype(np.int8)
        lengths, lost = (np.linalg.norm(part, axis=1) for part in (codes.astype(float), codes - step * coarse))
        slopes = scales * (lost + _ROUNDING * lengths) if levels < 127 else np.zeros(len(codes))
        n, channels = codes.shape
        return cls(
            codes,
            scales,
            np.pad(coarse, ((0, -n % TILE), (0, -channels % 32))),
            (scales * step).astype(np.float32),
            slopes.astype(np.float32),
            offset * coarse.sum(axis=1, dtype=np.int32),
        )
