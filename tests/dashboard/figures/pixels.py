"""What pictures are asked by their tests."""

import numpy as np
from PIL import ImageColor

from dashboard import figures

GREY = np.full((60, 80, 3), 128, np.uint8)


def rgb(number):
    return ImageColor.getrgb(figures.keypoint_colour(number))


def is_colour(pixel, colour):
    return np.abs(pixel.astype(int) - colour).max() <= 2


def covered(picture, colour):
    """(x, y) of the pixels that have a colour."""
    return np.argwhere(np.abs(picture.astype(int) - colour).max(axis=-1) <= 2)[:, ::-1]
