"""Features by name, of several extractors at once: at points and at every pixel."""

import re

import numpy as np
import pytest
import torch

from corrcore import extractors
from corrcore.descriptors import sift
from corrcore.features import Feature
from corrcore.geometry import PixelBox, ReceptiveField
from tests.conftest import smooth_noise

CONV3, CONV4, CONV5 = (Feature("alexnet", f"conv{number}") for number in (3, 4, 5))
SIFT10, SIFT20, SIFT40 = (Feature("sift", radius) for radius in ("10", "20", "40"))


@pytest.fixture(scope="module")
def image():
    return smooth_noise(150, 130, 5)


def test_points_get_the_cell_whose_receptive_field_is_nearest(alexnet, image):
    grid = alexnet.extract(image, ["conv3"])["conv3"]
    points = np.array([[15.0, 15.0], [22.9, 15.0], [23.1, 40.0], [-30.0, 500.0]])
    found = extractors.sample_at(image, points, [CONV3], network=alexnet)[CONV3]
    rows, columns, _ = grid.descriptors.shape
    for values, (row, column) in zip(found, [(0, 0), (0, 0), (2, 1), (rows - 1, 0)], strict=True):
        torch.testing.assert_close(values, grid.descriptors[row, column])
    assert columns > 1


def test_several_cells_lie_end_to_end_and_repeat_the_border(alexnet, image):
    grid = alexnet.extract(image, ["conv5"])["conv5"].descriptors
    points = np.array([[31.0, 47.0], [15.0, 15.0]])
    found = extractors.sample_at(image, points, [CONV5], network=alexnet, cells=3)[CONV5]
    assert found.shape == (2, 9 * 256)
    torch.testing.assert_close(found[0], grid[1:4, 0:3].reshape(-1))
    torch.testing.assert_close(found[1], grid[[0, 0, 1]][:, [0, 0, 1]].reshape(-1))


def test_sift_is_taken_exactly_at_points_beside_a_layer(alexnet, image):
    points = np.array([[40.25, 61.5], [80.0, 20.0]])
    found = extractors.sample_at(image, points, [SIFT20, CONV3], network=alexnet)
    torch.testing.assert_close(found[SIFT20], sift.describe(image, points, radius_px=20, device="cpu"))
    assert set(found) == {SIFT20, CONV3}


def test_features_of_several_extractors_have_the_grids_these_give(alexnet, image):
    features = [CONV5, SIFT10, CONV3]
    found = extractors.extract(image, features, network=alexnet)
    assert set(found) == set(features)
    own = alexnet.extract(image, ["conv3", "conv5"])
    for feature, layer in ((CONV3, "conv3"), (CONV5, "conv5")):
        torch.testing.assert_close(found[feature].descriptors, own[layer].descriptors)
    points = found[SIFT10].cells.centres().reshape(-1, 2)
    by_hand = sift.describe(image, points, radius_px=10, device="cpu")
    torch.testing.assert_close(found[SIFT10].flat(), by_hand)
    assert extractors.receptive_field(CONV3, network=alexnet) == ReceptiveField(99, 16, 15.0)
    assert extractors.receptive_field(SIFT10, network=alexnet) == found[SIFT10].receptive_field


@pytest.mark.parametrize("feature", [CONV4, SIFT10], ids=str)
def test_tiles_hold_every_pixels_descriptor(alexnet, image, feature):
    region = PixelBox(30, 20, 100, 107)
    told, seen = [], np.zeros((region.height, region.width), int)
    together = extractors.extract_region(image, feature, network=alexnet, region=region)
    for part, found in extractors.iter_tiles(image, feature, network=alexnet, region=region, progress=told.append):
        rows = slice(part.top - region.top, part.bottom - region.top)
        columns = slice(part.left - region.left, part.right - region.left)
        seen[rows, columns] += 1
        torch.testing.assert_close(together[rows, columns], found, atol=1e-4, rtol=1e-4)
        at = np.array([[part.left, part.top], [part.right - 1, part.bottom - 1]], float)
        expected = extractors.sample_at(image, at, [feature], network=alexnet, exact=True)[feature]
        torch.testing.assert_close(found[[0, -1], [0, -1]], expected, atol=1e-4, rtol=1e-4)
    assert (seen == 1).all()
    assert told[-1] == 1


def test_without_a_region_all_that_has_a_descriptor_is_taken(alexnet):
    small = smooth_noise(50, 44, 1)
    valid = extractors.valid_region(CONV3, (50, 44), network=alexnet)
    found = extractors.extract_region(small, CONV3, network=alexnet)
    assert found.shape == (valid.height, valid.width, 384)
    part = extractors.extract_region(small, CONV3, network=alexnet, region=valid)
    torch.testing.assert_close(found, part)


def test_sift_describes_every_pixel_of_the_image(alexnet, image):
    assert extractors.valid_region(SIFT40, (150, 130), network=alexnet) == PixelBox(0, 0, 150, 130)
    assert extractors.valid_region(CONV5, (150, 130), network=alexnet) == PixelBox(15, 15, 135, 115)
    with pytest.raises(
        ValueError, match=re.escape("region must lie within the image, (0, 0, 150, 130); got (0, 0, 151, 1)")
    ):
        list(extractors.iter_tiles(image, SIFT40, network=alexnet, region=PixelBox(0, 0, 151, 1)))


def test_features_are_parsed_as_people_write_them(alexnet):
    written = ["conv4", "sift20", "alexnet:conv3", SIFT10]
    assert extractors.parse(written, alexnet) == (CONV4, SIFT20, CONV3, SIFT10)


@pytest.mark.parametrize("radius", ["1", "1e+09", "nan", "1001"])
def test_an_unusable_radius_is_named(alexnet, radius):
    with pytest.raises(ValueError, match=re.escape(f"radius of 2 to 1000 px, such as 20; got {radius!r}")):
        extractors.parse(["conv4", f"sift:{radius}"], alexnet)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (["conv9"], "layer of alexnet must be one of conv1, .*; got 'conv9'"),
        (["sift"], "layer of alexnet must be one of conv1, .*; got 'sift'"),
        (["conv4", "siftx"], "layer of alexnet must be one of conv1, .*; got 'siftx'"),
        (["sift1.2.3"], "layer of alexnet must be one of conv1, .*; got 'sift1.2.3'"),
        (["sift1"], "radius of 2 to 1000 px, such as 20; got '1'"),
        (["lenet:conv1"], "network must be one of alexnet, vgg16.*; got 'lenet'"),
        ([], r"at least one feature: a layer of alexnet such as pool5, or sift20; got none"),
    ],
)
def test_what_no_extractor_has_is_named(alexnet, written, text):
    with pytest.raises(ValueError, match=text):
        extractors.parse(written, alexnet)


def test_sift_is_opened_by_name_and_a_network_too(alexnet):
    assert extractors.open("sift", device="cpu").name == "sift"
    assert extractors.open("alexnet", device="cpu").layers == alexnet.layers
    assert extractors.extractor_of(CONV4, alexnet) is alexnet
    assert extractors.extractor_of(SIFT20, alexnet).name == "sift"
