"""SIFT by a processor: votes are summed over rows once for all points of one height."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Int

from corrcore.descriptors.taps import N_DIRECTIONS, Taps


def fill(
    grey: Float32[np.ndarray, "height width"],
    columns: Taps,
    rows: Taps,
    least: float,
    places: Int[np.ndarray, " points"],
    descriptors: Float[torch.Tensor, "all_points 128"],
) -> None:
    """Fills in the points' descriptors at their `places`. Points come in order of their y, then x.

    Those of one y are a run, unless so far apart that what is between them would be summed in vain.
    """
    from corrcore.descriptors.kernels import fill_descriptors, fill_votes  # which needs Numba

    votes = np.empty((*grey.shape, N_DIRECTIONS), np.float32)
    fill_votes(grey, votes)
    left = columns.first[columns.centre_of, 0]
    far = np.diff(left) > 3 * columns.weights.shape[2]
    begins = np.flatnonzero(np.concatenate([[True], (np.diff(rows.centre_of) != 0) | far, [True]]))
    weighing = (rows.first, rows.weights, rows.centre_of, columns.first, columns.weights, columns.centre_of)
    fill_descriptors(votes, *weighing, begins, least, places, descriptors.numpy())
