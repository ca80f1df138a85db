"""Directions of descriptors that tell of the place alone: of extractors that describe places, content, or both."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np
import pytest
import torch

from corrcore import images
from corrcore.features import Feature, FeatureGrid
from corrcore.geometry import ReceptiveField
from corrcore.images import hflip
from corrcore.store import Cache
from corrcore.tasks import matching
from corrcore.tasks.matching import MatchOptions
from corrcore.tasks.positional_subspace import (
    N_IMAGES,
    VarianceInCommon,
    kept_subspace,
    positional_subspace,
    subspace_key,
    without_content,
)
from tests.conftest import smooth_noise
from tests.tasks.described import STRIDE, Described

SIZE = (160, 128)
BOTH = Described(1.0, 0.3)


def test_axes_are_of_length_one_and_upright_to_each_other():
    found = positional_subspace(BOTH, "only", SIZE)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(len(found.axes)), atol=1e-5)
    assert (np.diff(found.variances) <= 0).all()
    assert found.variances.min() > 0


def test_what_does_not_tell_places_has_no_subspace():
    """Colours of noise are not in common, and of noise there is as much below zero as above."""
    assert len(positional_subspace(Described(1.0, 0.0), "only", SIZE).axes) <= 1
    assert len(positional_subspace(Described(1.0, 1.0), "only", SIZE).axes) >= 5


def test_the_subspace_is_of_the_place_and_of_nothing_else():
    """The first three numbers are colours, which images without content have as well."""
    found = positional_subspace(BOTH, "only", SIZE)
    assert np.abs(found.axes[:4, :3]).max() < 0.2


def test_projection_removes_the_subspace_and_nothing_besides():
    found = positional_subspace(BOTH, "only", SIZE)
    grid = BOTH.extract(smooth_noise(*SIZE, seed=1), ["only"])["only"]
    n = 3
    rest = found.without(grid, n).descriptors.numpy()
    np.testing.assert_allclose(rest @ found.axes[:n].T, 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rest, axis=-1), 1, atol=1e-5)
    given = grid.descriptors.numpy()
    beside = given - given @ found.axes[:n].T @ found.axes[:n]
    np.testing.assert_allclose(rest, beside / np.linalg.norm(beside, axis=-1, keepdims=True), atol=1e-5)
    again = found.without(found.without(grid, n), n).descriptors.numpy()
    np.testing.assert_allclose(again, rest, atol=1e-5)


def test_the_covariance_is_that_of_pairs_of_different_grids():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 5, 6, 3)).astype(np.float32) + 4 * rng.normal(size=(5, 6, 3)).astype(np.float32)
    common, unit = VarianceInCommon(), []
    for each in maps:
        common.add(FeatureGrid(torch.from_numpy(each), ReceptiveField(1, 1, 0), (6, 5), "only"))
        own = (each / np.linalg.norm(each, axis=-1, keepdims=True)).reshape(-1, 3).astype(float)
        unit.append(own - own.mean(axis=0))
    by_hand = np.mean([a.T @ b / 30 for i, a in enumerate(unit) for j, b in enumerate(unit) if i != j], axis=0)
    values = np.linalg.eigvalsh(by_hand)[::-1]
    found = common.subspace()
    np.testing.assert_allclose(found.variances, values[: len(found.variances)], rtol=1e-4)


def test_images_without_content_are_as_large_as_asked_for_and_others_each():
    found = list(without_content(SIZE, 4))
    assert all(each.shape == (SIZE[1], SIZE[0], 3) for each in found)
    assert [int(each.std(axis=(0, 1)).max()) > 0 for each in found] == [False, True, False, True]
    assert len({images.digest(each) for each in found}) == 4


def test_it_is_kept_on_disk_for_another_process(tmp_path):
    extractor = Described(1.0, 0.7)
    with Cache(tmp_path) as results:
        first = positional_subspace(extractor, "only", (96, 96), results=results)
        kept = kept_subspace(results, subspace_key(extractor, "only", (96, 96)))
    assert kept is not None
    np.testing.assert_array_equal(kept.axes, first.axes)
    np.testing.assert_array_equal(kept.variances, first.variances)
    grid = extractor.extract(smooth_noise(96, 96, 1), ["only"])["only"]
    assert torch.equal(kept.without(grid, 2).descriptors, first.without(grid, 2).descriptors)


class Fails(Described):
    """Describes nothing."""

    def extract(self, image, layers):
        msg = "not today"
        raise ValueError(msg)


class Counted(Described):
    """Counts the images that all of its kind describe."""

    seen: ClassVar[list[str]] = []

    def extract(self, image, layers):
        self.seen.append(self.digest)
        time.sleep(0.001)  # another thread's turn
        return super().extract(image, layers)


def test_threads_that_ask_together_get_what_is_worked_out_once():
    """Of many more than are remembered, so that some give way while others are looked up."""
    asked = [Counted(1.0, 0.31 + n / 1000) for n in range(50) for _ in range(4)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda each: positional_subspace(each, "only", (48, 48)), asked))
    for first, *others in zip(*[iter(found)] * 4, strict=True):
        assert all(each is first for each in others)
    assert len(Counted.seen) == 50 * N_IMAGES


def test_the_least_recently_used_give_way():
    often = Counted(1.0, 0.9)
    for n in range(40):
        positional_subspace(Counted(1.0, 0.51 + n / 1000), "only", (48, 48))
        positional_subspace(often, "only", (48, 48))
    assert Counted.seen.count(often.digest) == N_IMAGES


def test_what_cannot_be_worked_out_is_tried_again_by_the_next_who_asks():
    extractor = Fails(1.0, 0.77)
    with pytest.raises(ValueError, match="not today"):
        positional_subspace(extractor, "only", (48, 48))
    assert len(positional_subspace(Described(1.0, 0.77), "only", (48, 48)).axes)


# --- Matching without it ---------------------------------------------------------------------------------------------


def places_of(extractor, without):
    """Where cells of a picture are found in its mirror image, and where they are there."""
    picture = smooth_noise(160, 160, seed=5)
    options = MatchOptions(longer_side=160, without_position=without)
    feature = Feature("described", "only")
    x, y = np.meshgrid(np.arange(7.5, 60, 16), np.arange(7.5, 160, 16))
    points = np.stack([x.ravel(), y.ravel()], axis=-1)
    found = matching.match_photos(picture, hflip(picture), points, feature, network=extractor, options=options)
    return points, found, np.stack([159 - points[:, 0], points[:, 1]], axis=-1)


def test_matches_follow_the_content_where_the_place_is_taken_out():
    extractor = Described(1.0, 0.4)
    points, with_place, truth = places_of(extractor, 0)
    _, without_place, _ = places_of(extractor, 8)
    at_truth = [np.mean(np.abs(each - truth).max(axis=1) <= STRIDE) for each in (with_place, without_place)]
    at_place = [np.mean(np.abs(each - points).max(axis=1) <= STRIDE) for each in (with_place, without_place)]
    assert at_place[0] > 0.5 > at_truth[0]
    assert at_truth[1] > 0.7
    assert at_place[1] < 0.1


def test_without_nothing_matches_are_as_ever(alexnet):
    picture = smooth_noise(160, 128, seed=2)
    feature = Feature("alexnet", "conv3")
    plain, none = (
        matching.describe(picture, [feature], network=alexnet, options=options)[feature].grid.descriptors
        for options in (MatchOptions(longer_side=160), MatchOptions(longer_side=160, without_position=0))
    )
    assert torch.equal(plain, none)


@pytest.mark.parametrize("extent", ["photo", "box"])
@pytest.mark.parametrize("method", ["nn", "mrf"])
def test_whatever_is_described_is_without_it(alexnet, extent, method):
    picture, feature = smooth_noise(160, 128, seed=2), Feature("alexnet", "conv3")
    options = MatchOptions(method, extent, 160, without_position=4)
    grid = matching.describe(picture, [feature], network=alexnet, options=options, box=(10, 10, 120, 100))[feature].grid
    side = max(grid.image_size)
    axes = torch.from_numpy(positional_subspace(alexnet, "conv3", (side, side)).axes[:4])
    assert len(axes) == 4
    assert (grid.descriptors @ axes.T).abs().max() < 1e-5
    torch.testing.assert_close(grid.descriptors.norm(dim=-1), torch.ones(grid.descriptors.shape[:2]))


@pytest.mark.parametrize("n", [-1, 65])
def test_other_numbers_of_directions_are_refused(n):
    with pytest.raises(ValueError, match=f"without_position must be 0 to 64 directions to take out; got {n}."):
        MatchOptions(without_position=n)
