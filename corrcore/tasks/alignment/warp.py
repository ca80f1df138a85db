"""A source drawn as its target would show it."""

import numpy as np
from jaxtyping import Bool

from corrcore.features import Image
from corrcore.tasks.alignment.align import Alignment
from corrcore.tasks.alignment.describe import DescribedCrop

NOTHING = 128  # the grey of a warped picture where its source has nothing to show


def warp(
    source: DescribedCrop, target: DescribedCrop, alignment: Alignment
) -> tuple[Image, Bool[np.ndarray, "height width"]]:
    """The source as the target would show it, and where it shows anything; elsewhere it is grey."""
    from scipy.ndimage import map_coordinates

    height, width = target.image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    places = alignment.to_source(np.stack([x, y], axis=-1))
    shown = np.asarray(np.isfinite(places).all(axis=-1))
    at = [np.where(shown, places[..., axis], 0) for axis in (1, 0)]
    channels = [map_coordinates(source.image[..., c].astype(float), at, order=1, mode="nearest") for c in range(3)]
    picture = np.where(shown[..., None], np.stack(channels, axis=-1), NOTHING)
    return np.rint(picture).astype(np.uint8), shown
