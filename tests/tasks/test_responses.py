"""Scores of every pixel, and where they are highest."""

import re

import numpy as np
import pytest

from corrcore.descriptors import sift
from corrcore.engines.svm import LinearClassifier
from corrcore.features import Feature
from corrcore.geometry import PixelBox
from corrcore.tasks import classification, responses
from corrcore.tasks.classification import CropProtocol, KeypointClassifier
from tests.conftest import smooth_noise

CONV3, CONV5 = Feature("alexnet", "conv3"), Feature("alexnet", "conv5")
SIFT10, SIFT20 = Feature("sift", "10"), Feature("sift", "20")


@pytest.fixture(scope="module")
def image():
    return smooth_noise(150, 130, 5)


def classifier(feature, channels, **protocol):
    rng = np.random.default_rng(0)
    linear = LinearClassifier(
        rng.normal(size=(3, channels)).astype(np.float32),
        np.array([0.5, 0, -1], np.float32),
        1.0,
        np.zeros(3),
        np.zeros(3),
    )
    return KeypointClassifier(feature, ("ear", "eye", "nose"), CropProtocol(**protocol), linear)


def test_a_map_has_the_scores_that_descriptors_at_its_pixels_get(alexnet, image):
    found = responses.response_map(image, named := classifier(CONV3, 384), network=alexnet)
    assert found.region == PixelBox(15, 15, 135, 115)
    grid = alexnet.extract(image, ["conv3"])["conv3"]
    own = named.linear.scores(classification.scaled(grid.descriptors.numpy(), named.protocol))
    np.testing.assert_allclose(found.scores[::16, ::16], own, atol=1e-4)


def test_a_map_of_sift_has_the_scores_of_points(alexnet, image):
    named = classifier(SIFT10, 128, unit_length=False)
    region = PixelBox(10, 20, 90, 100)
    found = responses.response_map(image, named, network=alexnet, region=region)
    points = np.array([[10.0, 20.0], [89.0, 99.0], [40.0, 33.0]])
    own = named.linear.scores(sift.describe(image, points, radius_px=10, device="cpu").numpy())
    for (x, y), scores in zip(points.astype(int), own, strict=True):
        np.testing.assert_allclose(found.scores[y - 20, x - 10], scores, atol=1e-5)


def test_the_highest_place_is_in_the_images_pixels():
    scores = np.zeros((4, 5, 2), np.float32)
    scores[2, 3, 1] = 1
    found = responses.ResponseMap(scores, PixelBox(10, 20, 15, 24))
    assert found.highest(1) == (13, 22)
    assert found.highest(0) == (10, 20)


def test_classifiers_of_several_cells_are_refused(alexnet, image):
    with pytest.raises(ValueError, match="needs a classifier of single cells; got one of 3 x 3"):
        responses.response_map(image, classifier(CONV3, 384 * 9, cells=3), network=alexnet)


def test_the_square_around_a_point_has_its_pixel_in_the_middle():
    assert responses.around(np.array([30.4, 19.6])) == PixelBox(20, 10, 41, 31)
    assert responses.around(np.array([30.5, 20.0]), 3) == PixelBox(30, 19, 33, 22)


def test_a_square_that_leaves_the_described_pixels_is_not_inside(alexnet):
    assert responses.inside(PixelBox(15, 15, 36, 36), CONV5, (150, 130), network=alexnet)
    assert not responses.inside(PixelBox(14, 15, 35, 36), CONV5, (150, 130), network=alexnet)
    assert not responses.inside(PixelBox(15, 95, 36, 116), CONV5, (150, 130), network=alexnet)
    assert responses.inside(PixelBox(0, 0, 21, 21), SIFT20, (150, 130), network=alexnet)


def test_a_profile_is_the_mean_score_by_distance():
    scores = np.zeros((21, 31, 1), np.float32)
    y, x = np.mgrid[20:41, 10:41]
    scores[..., 0] = -np.rint(np.hypot(x - 25, y - 30))
    found = responses.profile(
        responses.ResponseMap(scores, PixelBox(10, 20, 41, 41)), 0, np.array([25.0, 30.0]), reach=10
    )
    np.testing.assert_array_equal(found, -np.arange(11))
    outside = responses.profile(
        responses.ResponseMap(scores, PixelBox(10, 20, 41, 41)), 0, np.array([60.0, 30.0]), reach=2
    )
    assert np.isnan(outside).all()


def test_a_keypoint_known_by_its_cell_alone_is_off_by_the_strides_median():
    rng = np.random.default_rng(0)
    within = np.linalg.norm(rng.uniform(-8, 8, size=(200_000, 2)), axis=1)
    assert responses.stride_median_px(16) == pytest.approx(np.median(within), abs=0.03)


# --- Histograms ------------------------------------------------------------------------------------------------------


def test_maxima_are_counted_where_they_are_and_boundaries_left_out():
    places = np.array([[0.25, 0.0], [0.0, 0.0], [0.0, -0.5], [0.0, 0.0]])
    found = responses.histogram(np.array([[0, 0], [3, 4], [0, -1], [-10, -5]]), places)
    assert found.counts.sum() == 4
    assert found.counts[10, 10] == found.counts[14, 13] == found.counts[9, 10] == found.counts[5, 0] == 1
    assert found.boundary_share == 0.25
    np.testing.assert_allclose(found.distances_px, [0.25, 5.0, 0.5])
    assert found.share_within(1)[0] == pytest.approx(2 / 3)
    middle, low, high = found.median_px(np.random.default_rng(0))
    assert middle == 0.5
    assert np.isnan([low, high]).all()


def test_six_maxima_are_needed_for_an_interval():
    for n in (5, 6):
        maxima = np.array([[each, 0] for each in range(n)])
        middle, low, high = responses.histogram(maxima, np.zeros((n, 2))).median_px(np.random.default_rng(0))
        assert middle == (n - 1) / 2
        assert np.isfinite([low, high]).all() == (n == 6)
    assert 0 <= low <= middle <= high <= 5


def test_chance_is_a_pixel_of_the_inside_drawn_at_random():
    found = responses.histogram(np.array([[0, 0]]), np.zeros((1, 2)))
    assert len(found.chance_px) == 19 * 19
    for radius in responses.RADII_PX:
        inner = sum(x * x + y * y <= radius * radius for x in range(-9, 10) for y in range(-9, 10))
        assert found.share_within(radius)[1] == pytest.approx(inner / 361)
    x, y = np.meshgrid(np.arange(-9, 10), np.arange(-9, 10))
    assert found.chance_median_px == np.median(np.hypot(x, y))


def test_random_maxima_are_at_chance():
    rng = np.random.default_rng(3)
    found = responses.histogram(rng.integers(-10, 11, size=(4000, 2)), np.zeros((4000, 2)))
    assert found.boundary_share == pytest.approx(80 / 441, abs=0.02)
    for radius in (4, 8):
        own, chance = found.share_within(radius)
        assert own == pytest.approx(chance, abs=0.03)
    middle, low, high = found.median_px(rng)
    assert low <= found.chance_median_px <= high
    assert middle == pytest.approx(found.chance_median_px, abs=0.3)


def test_where_all_maxima_are_on_the_boundary_there_is_no_median():
    found = responses.histogram(np.array([[-10, -10]]), np.zeros((1, 2)))
    assert found.boundary_share == 1
    assert np.isnan(found.median_px(np.random.default_rng(0))).all()


@pytest.mark.parametrize(("n", "side"), [(0, 21), (2, 20), (1, 1)])
def test_squares_without_an_inside_are_refused(n, side):
    text = f"a histogram needs at least one maximum, in squares of an odd side from 3; got {n} in squares of {side}."
    with pytest.raises(ValueError, match=re.escape(text)):
        responses.histogram(np.zeros((n, 2), int), np.zeros((n, 2)), side=side)
