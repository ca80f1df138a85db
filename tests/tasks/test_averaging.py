"""Averages of receptive fields, and how far neighbours agree."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from corrcore import patch_index as indexes
from corrcore.store import Cache
from corrcore.tasks import averaging
from tests.conftest import ArrayPhoto


def test_averages_are_means_over_the_pixels_that_neighbours_have(small_index):
    layer = "conv3"
    seed = small_index.descriptors(layer, np.array([40]))[0]
    found = averaging.average(seed, layer, index=small_index, ks=(3, 10))
    everything = small_index.descriptors(layer, np.arange(small_index.n_patches(layer))).double()
    best = (torch.nn.functional.normalize(seed.double(), dim=0) @ everything.T).topk(10)
    np.testing.assert_allclose(found.similarities, best.values, atol=1e-5)
    for result in found.averages:
        crops, valid = small_index.cut_receptive_fields(layer, found.ids[: result.k])
        for y, x in np.random.default_rng(0).integers(0, 99, size=(200, 2)):
            having = valid[:, y, x]
            assert result.count[y, x] == having.sum()
            expected = crops[having, y, x].mean(axis=0) if having.any() else np.zeros(3)
            np.testing.assert_allclose(result.mean[y, x], expected)


def test_a_notebook_shows_averages_side_by_side(small_index):
    found = averaging.average(
        small_index.descriptors("conv3", np.array([40]))[0], "conv3", index=small_index, ks=(3, 10)
    )
    few, many = (averaging.expand_contrast(each.mean, each.count) for each in found.averages)
    picture = np.asarray(Image.open(io.BytesIO(found._repr_png_())))
    assert picture.shape == (99, 99 + 8 + 99, 3)
    np.testing.assert_array_equal(picture[:, :99], few)
    np.testing.assert_array_equal(picture[:, 107:], many)
    np.testing.assert_array_equal(Image.open(io.BytesIO(found.averages[0]._repr_png_())), few)


def test_excluded_photos_are_not_averaged(small_index):
    seed = small_index.descriptors("conv3", np.array([40]))[0]
    found = averaging.average(seed, "conv3", index=small_index, ks=(10,), exclude=(0,))
    assert not np.isin(small_index.photo_of[small_index.locate("conv3", found.ids).pictures], [0]).any()


def test_more_neighbours_than_patches_are_refused(small_index):
    seed = small_index.descriptors("conv5", np.array([0]))[0]
    with pytest.raises(ValueError, match="k must be between 1 and"):
        averaging.average(seed, "conv5", index=small_index, ks=(5, 10**6))


def test_contrast_is_stretched_over_seen_pixels_only():
    mean = np.full((20, 20, 3), 100.0)
    mean[:, 10:] = 140.0
    count = np.ones((20, 20), int)
    mean[0], count[0] = 0.0, 0
    picture = averaging.expand_contrast(mean, count)
    assert (picture[0] == 0).all()
    assert (picture[1:, :10] == 0).all()
    assert (picture[1:, 10:] == 255).all()


def test_contrast_of_one_colour_does_not_blow_up():
    picture = averaging.expand_contrast(np.full((4, 4, 3), 77.0), np.ones((4, 4), int))
    assert len(np.unique(picture)) == 1


def test_a_profile_crosses_a_level_between_its_rings():
    radii = np.array([2.0, 6.0, 10.0, 14.0])
    assert averaging.crossing(radii, np.array([0.8, 0.6, 0.2, 0.1]), 0.4) == pytest.approx(8.0)
    assert averaging.crossing(radii, np.array([0.8, 0.7, 0.6, 0.5]), 0.4) == np.inf


def test_agreement_that_does_not_fall_has_no_radius_and_none_at_the_centre_is_not_a_number():
    radii = np.array([2.0, 6.0, 10.0])
    assert averaging.Agreement(radii, np.array([0.5, 0.5, 0.45]), 25).agreement_radius_px == np.inf
    assert np.isnan(averaging.Agreement(radii, np.array([0.05, 0.5, 0.0]), 25).agreement_radius_px)
    assert averaging.Agreement(radii, np.array([0.6, 0.4, 0.2]), 25).agreement_radius_px == pytest.approx(6.0)


DISC_PX = 21


@pytest.fixture(scope="module")
def discs(alexnet, tmp_path_factory):
    """Forty photos of noise, each with the same textured disc around the centre of one cell of conv3."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    y, x = np.mgrid[0:200, 0:200]
    disc = np.hypot(x - 95, y - 95) < DISC_PX
    photos = [
        ArrayPhoto(str(n), np.where(disc[..., None], texture, rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)))
        for n in range(40)
    ]
    index = indexes.build(photos, tmp_path_factory.mktemp("discs") / "it", extractor=alexnet, layers=("conv3",))
    ids = np.arange(40) * (index.n_patches("conv3") // 40)
    row_of_cell = index.locate("conv3", np.arange(index.n_patches("conv3") // 40))
    cell = int(np.flatnonzero((row_of_cell.rows == 5) & (row_of_cell.columns == 5))[0])
    return index, ids + cell


def test_agreement_radius_is_the_radius_of_what_neighbours_share(discs):
    index, ids = discs
    profile = averaging.agreement(ids, "conv3", index=index, rng=np.random.default_rng(0))
    assert profile.agreement[0] > 0.95
    assert abs(profile.agreement[-1]) < 0.1
    assert profile.agreement_radius_px == pytest.approx(DISC_PX, abs=2)


def test_random_neighbours_agree_on_nothing(discs):
    index, _ = discs
    rng = np.random.default_rng(1)
    ids = rng.choice(index.n_patches("conv3"), 300, replace=False)
    profile = averaging.agreement(ids, "conv3", index=index, rng=rng)
    assert abs(profile.agreement).max() < 0.1
    assert np.isnan(profile.agreement_radius_px)


def test_identical_neighbours_agree_everywhere(discs):
    index, ids = discs
    profile = averaging.agreement(np.repeat(ids[:1], 20), "conv3", index=index, rng=np.random.default_rng(0))
    np.testing.assert_allclose(profile.agreement, 1)
    assert profile.agreement_radius_px == np.inf


def test_light_that_neighbours_share_leaves_the_radius_as_it_is(alexnet, tmp_path):
    rng = np.random.default_rng(2)
    y, x = np.mgrid[0:200, 0:200]
    disc = (np.hypot(x - 95, y - 95) < DISC_PX)[..., None]
    texture = rng.integers(0, 100, (200, 200, 3), dtype=np.uint8)
    noise = [rng.integers(0, 100, (200, 200, 3), dtype=np.uint8) for _ in range(80)]
    bright = [np.where(disc, texture, picture) + np.uint8(150) for picture in noise[:40]]
    photos = [ArrayPhoto(str(n), picture) for n, picture in enumerate([*bright, *noise[40:]])]
    index = indexes.build(photos, tmp_path / "it", extractor=alexnet, layers=("conv3",))
    per_photo = index.n_patches("conv3") // 80
    cells = index.locate("conv3", np.arange(per_photo))
    ids = np.arange(40) * per_photo + int(np.flatnonzero((cells.rows == 5) & (cells.columns == 5))[0])
    profile = averaging.agreement(ids, "conv3", index=index, rng=rng)
    assert profile.agreement[-1] > 0.5
    assert profile.agreement_radius_px == pytest.approx(DISC_PX, abs=2)


def test_a_study_from_the_cache_is_the_one_that_was_kept(small_index, tmp_path):
    descriptor = small_index.descriptors("conv3", np.array([5]))[0]
    with Cache(tmp_path) as results:
        fresh, kept = (
            averaging.study(descriptor, "conv3", index=small_index, ks=(2, 9), profile_k=9, results=results)
            for _ in range(2)
        )
        assert results.statistics().hits == 1
    for one, other in zip(fresh.averages.averages, kept.averages.averages, strict=True):
        assert (one.k, one.mean.dtype) == (other.k, other.mean.dtype)
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_array_equal(fresh.averages.ids, kept.averages.ids)
    np.testing.assert_array_equal(fresh.agreement.agreement, kept.agreement.agreement)
    assert fresh.agreement.size_px == kept.agreement.size_px
