"""8-bit codes of descriptors, their products, and how far these may be from the truth."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Int8, Int32

MARGIN = np.float32(6 / 12**0.5)  # what rounding may add to a similarity, in units of the two scales
_EXACT_IN_SINGLE = (1 << 24) // 127**2  # channels of which products of codes add up exactly in single precision


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


@cache
def has_fast_int8() -> bool:
    """Whether 8-bit products are fast, and exact: without instructions for them oneDNN's sums saturate."""
    if not (torch.backends.mkldnn.is_available() and torch.cpu._is_vnni_supported()):
        return False
    extreme = torch.full((64, 64), 127, dtype=torch.int8)
    return bool((torch.ops.aten._int_mm(extreme, extreme.T) == 64 * 127**2).all())


def multiply(
    queries: Int8[torch.Tensor, "queries channels"],
    rows: Int8[torch.Tensor, "rows channels"],
    out: Int32[torch.Tensor, "queries at_least_rows"],
    *,
    fast: bool,
) -> None:
    """Writes the products of all pairs into the first columns of `out`, exactly.

    Only where `has_fast_int8` may it be `fast`; else the codes are multiplied as floating-point numbers.
    """
    if not fast:
        exact = torch.float32 if rows.shape[1] <= _EXACT_IN_SINGLE else torch.float64
        out[:, : len(rows)] = queries.to(exact) @ rows.to(exact).T
    elif len(rows) == out.shape[1]:
        torch.ops.aten._int_mm.out(queries, rows.T, out=out)
    else:  # which takes only a whole block
        out[:, : len(rows)] = torch.ops.aten._int_mm(queries, rows.T)
