"""How the bins of a SIFT descriptor weigh pixels, along one axis."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

VoteWindow = Literal["gaussian", "flat"]

N_BINS, N_DIRECTIONS = 4, 8
LARGEST_SHARE = 0.2  # of a descriptor's length, in one of its numbers
_SIGMA_BINS = 2.0  # VLFeat's default `windowSize`


@dataclass(frozen=True)
class Taps:
    """How the bins around centres weigh pixels along one axis: bin b of centre i those from ``first[i, b]`` on.

    Equal centres are one. ``centre_of`` tells which centre a point has.
    """

    first: Int[np.ndarray, "centres 4"]
    weights: Float32[np.ndarray, "centres 4 taps"]
    centre_of: Int[np.ndarray, " points"]

    @classmethod
    def of(cls, positions: Float[np.ndarray, " points"], length: int, bin_px: float, window: VoteWindow) -> "Taps":
        """The weights of pixels beyond the image, 0 to `length` - 1, are added to the border's, which goes on there."""
        centres, centre_of = np.unique(positions, return_inverse=True)
        from_centre = (np.arange(N_BINS) - (N_BINS - 1) / 2) * bin_px
        middles = centres[:, None] + from_centre
        start = np.floor(middles - bin_px).astype(np.int64) + 1
        pixels = start[:, :, None] + np.arange(int(np.ceil(2 * bin_px)))
        weights = np.maximum(1 - np.abs(pixels - middles[:, :, None]) / bin_px, 0)
        if window == "gaussian":
            weights *= _gaussian((pixels - centres[:, None, None]) / bin_px)
        else:  # the mean over the pixels of a bin that is centred on one
            reach = int(np.ceil(bin_px)) - 1
            within = np.arange(-reach, reach + 1)
            weights *= _gaussian((from_centre[:, None] + within) / bin_px).mean(axis=1)[:, None]

        n_taps = min(pixels.shape[2], length)
        first = start.clip(0, length - n_taps)
        slots = pixels.clip(0, length - 1) - first[:, :, None]
        slots += n_taps * np.arange(first.size).reshape(*first.shape, 1)
        folded = np.bincount(slots.ravel(), weights.ravel(), minlength=first.size * n_taps)
        return cls(first, folded.reshape(*first.shape, n_taps).astype(np.float32), centre_of)

    @property
    def start(self) -> int:
        """The first pixel that weighs anything."""
        return int(self.first.min())

    @property
    def stop(self) -> int:
        """The pixel after the last that does."""
        return int(self.first.max()) + self.weights.shape[2]

    def shifted(self, pixels: int) -> "Taps":
        """The same weights of pixels so many further on."""
        return Taps(self.first + pixels, self.weights, self.centre_of)

    def dense(self, length: int, device: torch.device) -> Float[torch.Tensor, "centres 4 length"]:
        """The weights of all pixels, nearly all of them zero."""
        first = torch.from_numpy(self.first).to(device)
        weights = torch.from_numpy(self.weights).to(device)
        places = first[:, :, None] + torch.arange(weights.shape[2], device=device)
        return weights.new_zeros(*first.shape, length).scatter_(2, places, weights)


def _gaussian(distance_bins: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.exp(-0.5 * (distance_bins / _SIGMA_BINS) ** 2)
