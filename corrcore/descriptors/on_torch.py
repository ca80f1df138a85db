"""SIFT by torch's operations, for a GPU."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from corrcore.descriptors.taps import LARGEST_SHARE, N_BINS, N_DIRECTIONS, Taps


def fill(
    grey: Float32[np.ndarray, "height width"],
    columns: Taps,
    rows: Taps,
    least: float,
    places: Int[np.ndarray, " points"],
    descriptors: Float[torch.Tensor, "all_points 128"],
) -> None:
    """The same as `on_cpu.fill`. Multiplying by many zeros is what a GPU does fastest."""
    device = descriptors.device
    votes = _votes(torch.from_numpy(grey).to(device))
    by_row = torch.einsum("rby,oyx->rbox", rows.dense(grey.shape[0], device), votes).flatten(1, 2)
    row_of, column_of, at = (torch.from_numpy(a).to(device) for a in (rows.centre_of, columns.centre_of, places))
    sums = by_row[row_of] @ columns.dense(grey.shape[1], device)[column_of].mT
    sums = sums.unflatten(1, (N_BINS, N_DIRECTIONS)).mT.flatten(1)
    unit = torch.nn.functional.normalize(torch.nn.functional.normalize(sums).clamp_max(LARGEST_SHARE))
    descriptors[at] = unit * (sums.sum(dim=1, keepdim=True) > least)


def _votes(grey: Float[torch.Tensor, "height width"]) -> Float[torch.Tensor, "8 height width"]:
    """What each pixel votes for each direction; as in `kernels.fill_votes`."""
    dy, dx = (torch.gradient(grey, dim=axis)[0] if grey.shape[axis] > 1 else torch.zeros_like(grey) for axis in (0, 1))
    wide, high = dx.abs(), dy.abs()
    share = torch.atan(torch.minimum(wide, high) / torch.maximum(wide, high).clamp_min(1e-30)) * (4 / torch.pi)
    magnitude = torch.sqrt(dx * dx + dy * dy)
    straight = torch.where(wide >= high, torch.where(dx > 0, 0, 4), torch.where(dy > 0, 2, 6))
    diagonal = torch.where(dx > 0, torch.where(dy > 0, 1, 7), torch.where(dy > 0, 3, 5))
    votes = grey.new_zeros(N_DIRECTIONS, *grey.shape)
    votes.scatter_(0, straight[None], (magnitude * (1 - share))[None])
    return votes.scatter_(0, diagonal[None], (magnitude * share)[None])
