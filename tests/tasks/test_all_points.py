"""All points of two photos at once, against all pairs of cells and scikit-learn's components."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from corrcore.features import Feature
from corrcore.tasks import all_points, matching
from tests.conftest import smooth_noise

CONV4 = Feature("alexnet", "conv4")


@pytest.fixture(scope="module")
def scene():
    """A picture to look at through a window of 320 x 256 px."""
    return smooth_noise(520, 460, seed=3)


def window(scene, left, top):
    return scene[top : top + 256, left : left + 320]


@pytest.fixture(scope="module")
def two(alexnet, scene):
    first, second = window(scene, 96, 96), window(scene, 140, 120)
    return tuple(matching.describe(photo, [CONV4], network=alexnet)[CONV4] for photo in (first, second))


def test_mutual_matches_are_the_pairs_of_cells_that_choose_each_other(two):
    source, target = two
    points = source.transform.to_image(source.grid.cells.centres().reshape(-1, 2))
    each = matching.match_points(source, target, points)
    assert each.mutual.any()
    found = all_points.mutual_matches(source, target)
    order = np.argsort(-each.similarities[each.mutual], kind="stable")
    np.testing.assert_allclose(found.points, points[each.mutual][order])
    np.testing.assert_allclose(found.places, each.places[each.mutual][order])
    np.testing.assert_allclose(found.similarities, each.similarities[each.mutual][order], atol=1e-5)
    assert (np.diff(found.similarities) <= 0).all()


def test_principal_colours_are_those_of_scikit_learns_components(two):
    values = np.concatenate([each.grid.flat().double().numpy() for each in two])
    expected = PCA(3, svd_solver="full").fit_transform(values)
    found = np.concatenate([each.reshape(-1, 3) for each in all_points.principal_colours(*two)])
    for axis in range(3):
        low, high = np.percentile(expected[:, axis], [1, 99])
        levels = ((expected[:, axis] - low) / (high - low)).clip(0, 1)
        assert min(np.abs(found[:, axis] - levels).max(), np.abs(found[:, axis] - (1 - levels)).max()) < 1e-6


def test_the_foreground_is_the_side_away_from_the_borders(two):
    rows, columns, channels = two[0].grid.descriptors.shape
    generator = torch.Generator().manual_seed(0)
    described = []
    for each in two:
        values = 0.05 * torch.randn(rows, columns, channels, generator=generator)
        values[..., 0] = 1
        values[4:9, 5:12, 0], values[4:9, 5:12, 1] = 0, 1
        described.append(replace(each, grid=replace(each.grid, descriptors=values)))
    for found in all_points.principal_colours(*described, foreground=True):
        inside = np.isfinite(found).all(axis=-1)
        assert inside[4:9, 5:12].all()
        assert inside.sum() <= 5 * 7 + 2  # the threshold is the middle of one of 256 bins
    assert np.isfinite(all_points.principal_colours(*described)[0]).all()


def test_mutual_matches_are_the_same_a_part_at_a_time(two, alexnet, scene):
    """AlexNet's conv1 has more pairs of cells than are compared at once."""
    conv1 = Feature("alexnet", "conv1")
    source, target = (
        matching.describe(photo, [conv1], network=alexnet)[conv1]
        for photo in (window(scene, 96, 96), window(scene, 140, 120))
    )
    cosines = (source.grid.flat() @ target.grid.flat().T).numpy()
    assert cosines.size > 2 * (1 << 24)
    own = np.flatnonzero(cosines.argmax(axis=0)[cosines.argmax(axis=1)] == np.arange(len(cosines)))
    found = all_points.mutual_matches(source, target)
    expected = source.transform.to_image(source.grid.cells.centres().reshape(-1, 2)[own])
    assert {tuple(each) for each in found.points} == {tuple(each) for each in expected}


def test_what_takes_too_long_is_refused_in_a_sentence(two):
    many = replace(two[0].grid, descriptors=two[0].grid.descriptors[:1, :1, :8].expand(260, 260, 8))
    large = replace(two[0], grid=many)
    with pytest.raises(ValueError, match=r"all points at once take .* pairs of cells at most; conv4 has 4,569,760,000"):
        all_points.mutual_matches(large, large)
    wide = replace(many, descriptors=two[0].grid.descriptors[:1, :1].expand(400, 400, -1))
    with pytest.raises(ValueError, match=r"components are computed of .* numbers at most; conv4 has 41,"):
        all_points.principal_colours(replace(two[0], grid=wide), two[1])
