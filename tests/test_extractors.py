"""Descriptors by name, at points and at every pixel."""

import re

import numpy as np
import pytest
import torch

from corrcore import extractors
from corrcore.descriptors import sift
from corrcore.geometry import PixelBox
from corrcore.networks import every_pixel

from .conftest import smooth_noise


@pytest.fixture(scope="module")
def image():
    return smooth_noise(150, 130, 5)


def test_points_get_the_cell_whose_receptive_field_is_nearest(alexnet, image):
    grid = alexnet.extract(image, ["conv3"])["conv3"]
    points = np.array([[15.0, 15.0], [22.9, 15.0], [23.1, 40.0], [-30.0, 500.0]])
    found = extractors.sample_at(image, points, ["conv3"], network=alexnet)["conv3"]
    rows, columns, _ = grid.descriptors.shape
    for values, (row, column) in zip(found, [(0, 0), (0, 0), (2, 1), (rows - 1, 0)], strict=True):
        torch.testing.assert_close(values, grid.descriptors[row, column])
    assert columns > 1


def test_several_cells_lie_end_to_end_and_repeat_the_border(alexnet, image):
    grid = alexnet.extract(image, ["conv5"])["conv5"].descriptors
    found = extractors.sample_at(image, np.array([[31.0, 47.0], [15.0, 15.0]]), ["conv5"], network=alexnet, cells=3)[
        "conv5"
    ]
    assert found.shape == (2, 9 * 256)
    torch.testing.assert_close(found[0], grid[1:4, 0:3].reshape(-1))
    torch.testing.assert_close(found[1], grid[[0, 0, 1]][:, [0, 0, 1]].reshape(-1))


def test_sift_is_taken_exactly_at_points(alexnet, image):
    points = np.array([[40.25, 61.5], [80.0, 20.0]])
    found = extractors.sample_at(image, points, ["sift20", "conv3"], network=alexnet)
    torch.testing.assert_close(found["sift20"], sift.describe(image, points, radius_px=20, device="cpu"))
    assert set(found) == {"sift20", "conv3"}


@pytest.mark.parametrize("feature", ["conv4", "sift10"])
def test_tiles_hold_every_pixels_descriptor(alexnet, image, feature):
    region = PixelBox(30, 20, 100, 107)
    told, seen = [], np.zeros((region.height, region.width), int)
    for part, found in extractors.iter_tiles(image, feature, network=alexnet, region=region, progress=told.append):
        seen[part.top - region.top : part.bottom - region.top, part.left - region.left : part.right - region.left] += 1
        if feature == "sift10":
            at = np.array([[part.left, part.top], [part.right - 1, part.bottom - 1]], float)
            torch.testing.assert_close(found[[0, -1], [0, -1]], sift.describe(image, at, radius_px=10, device="cpu"))
        else:
            own = every_pixel.extract(image, feature, network=alexnet, region=part).descriptors
            torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-4)
    assert (seen == 1).all()
    assert told[-1] == 1


def test_sift_describes_every_pixel_of_the_image(alexnet, image):
    assert extractors.valid_region("sift40", (150, 130), network=alexnet) == PixelBox(0, 0, 150, 130)
    assert extractors.valid_region("conv5", (150, 130), network=alexnet) == PixelBox(15, 15, 135, 115)
    with pytest.raises(
        ValueError, match=re.escape("region must lie within the image, (0, 0, 150, 130); got (0, 0, 151, 1)")
    ):
        list(extractors.iter_tiles(image, "sift40", network=alexnet, region=PixelBox(0, 0, 151, 1)))


@pytest.mark.parametrize("feature", ["sift", "sift1", "siftx", "sift1e9", "siftnan"])
def test_an_unusable_radius_is_named(alexnet, feature):
    with pytest.raises(
        ValueError, match=re.escape(f"sift with a radius of 2 to 1000 px such as sift20; got {feature!r}")
    ):
        extractors.check(["conv4", feature], alexnet)


def test_an_even_number_of_cells_is_refused(alexnet, image):
    with pytest.raises(ValueError, match="cells must be an odd number from 1; got 2"):
        extractors.sample_at(image, np.zeros((1, 2)), ["conv3"], network=alexnet, cells=2)
