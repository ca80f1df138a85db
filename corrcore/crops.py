"""Crops: a rectangle of a photo, resampled, and the way of points from photo to crop and back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

BoxXYXY = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of a photo. Edges lie between pixels: pixel 0 alone is -0.5 to 0.5."""


@dataclass(frozen=True)
class CropTransform:
    """Where a crop lies in its photo. `edges` are in pixels of the photo; `size` is ``(width, height)`` of the crop.

    >>> import numpy as np
    >>> from corrcore.crops import CropTransform
    >>> half = CropTransform(edges=(-0.5, -0.5, 99.5, 49.5), size=(50, 25))
    >>> half.to_crop(np.array([[0.5, 0.5]])), half.to_image(np.array([[0.0, 0.0]]))
    (array([[0., 0.]]), array([[0.5, 0.5]]))
    """

    edges: BoxXYXY
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the crop per pixel of the photo, along x and y."""
        left, top, right, bottom = self.edges
        return self.size[0] / (right - left), self.size[1] / (bottom - top)

    def to_crop(self, points: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
        """Points (x, y) of the photo in pixels of the crop. NaN stays NaN."""
        return (points - np.array(self.edges[:2])) * self.scale - 0.5

    def to_image(self, points: Float[np.ndarray, "*shape 2"]) -> Float[np.ndarray, "*shape 2"]:
        """Points (x, y) of the crop in pixels of the photo: the inverse of `to_crop`."""
        return (points + 0.5) / self.scale + np.array(self.edges[:2])
