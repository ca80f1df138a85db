"""How much of descriptors is of the place: known for extractors of places and of content, and for exact shifts."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from corrcore import images
from corrcore.decoding import ImageError
from corrcore.store import Cache
from corrcore.tasks.position import (
    COPIES,
    N_COMPONENTS,
    content_in,
    kept_position,
    measure_position,
    moved_copies,
    nearest_centres,
    shift_of,
)
from corrcore.tasks.positional_subspace import positional_subspace
from tests.conftest import ArrayPhoto, smooth_noise
from tests.tasks.described import STRIDE, Described

SIDE = 256
PHOTOS = [smooth_noise(300 + 10 * n, 340 - 10 * n, n) for n in range(8)]


def measured(extractor, **options):
    return measure_position(extractor, ["only"], PHOTOS, side_px=SIDE, **options)["only"]


def test_descriptors_of_places_alone_have_a_share_of_one():
    found = measured(Described(0.0, 1.0))
    assert found.share == pytest.approx(1, abs=1e-4)
    assert found.in_subspace.sum() == pytest.approx(1, abs=1e-3)
    assert found.again == 1
    assert all((each.place, each.content) == (1, 0) for each in found.moved.values())


def test_descriptors_of_content_alone_have_a_share_of_nothing():
    found = measured(Described(1.0, 0.0))
    assert abs(found.map.mean()) < 0.03
    assert found.again < found.again_by_chance + 0.05
    assert found.moved["shifted"].content > 0.95
    assert found.moved["shifted"].place < 0.02
    assert found.moved["shifted"].error_px < STRIDE / 4  # shifted by whole cells


def test_the_share_grows_with_what_is_said_of_the_place():
    shares = [measured(Described(1.0, place)).share for place in (0.05, 0.15, 0.4)]
    assert 0 < shares[0] < 0.3 < shares[1] < shares[2] < 1


def test_the_share_is_of_photos_whatever_each_looks_like():
    """By hand, over pairs of views of different photos."""
    extractor, size, views = Described(1.0, 0.2), (SIDE, SIDE), []
    for number, photo in enumerate(PHOTOS[:3]):
        window, copies = moved_copies(photo, size, np.random.default_rng(number))
        own = []
        for view in (window, copies["shifted"], copies["mirrored"]):
            each = extractor.extract(view, ["only"])["only"].flat().numpy().astype(float)
            each /= np.linalg.norm(each, axis=1, keepdims=True)
            own.append(each - each.mean(axis=0))
        views.append(own)
    products = [
        (a * b).sum(axis=1)
        for i, one in enumerate(views)
        for j, other in enumerate(views)
        if i != j
        for a in one
        for b in other
    ]
    variance = np.mean([(view**2).sum(axis=1).mean() for own in views for view in own])
    found = measure_position(extractor, ["only"], PHOTOS[:3], side_px=SIDE)["only"]
    np.testing.assert_allclose(found.map.ravel(), np.mean(products, axis=0) / variance, atol=1e-5)
    axes = positional_subspace(extractor, "only", size).axes[:N_COMPONENTS]
    along = np.mean([((view @ axes.T) ** 2).mean(axis=0) for own in views for view in own], axis=0)
    np.testing.assert_allclose(found.in_subspace, along / variance, atol=1e-5)


def test_copies_have_the_content_where_it_is_said_to_be():
    size = 96, 80
    window, copies = moved_copies(smooth_noise(150, 100, 3), size, np.random.default_rng(2))
    y, x = np.mgrid[: size[1], : size[0]]
    points = np.stack([x.ravel(), y.ravel()], axis=-1).astype(float)
    for copy in COPIES:
        at = content_in(copy, points, size)
        inside = ((at >= 0) & (at < size)).all(axis=1)
        column, row = at[inside].astype(int).T
        assert inside.mean() > 0.5
        np.testing.assert_array_equal(copies[copy][row, column], window.reshape(-1, 3)[inside])
    right, down = shift_of(size)
    wake = copies["padded"][size[1] - down :, :]
    assert (wake == wake[0, 0]).all()
    assert copies["shifted"][size[1] - down :, size[0] - right :].std() > 1


def test_photos_are_turned_so_that_no_place_has_a_content_of_its_own():
    photo = np.zeros((120, 120, 3), np.uint8)
    photo[:60] = 255  # a sky
    skies = [moved_copies(photo, (96, 96), np.random.default_rng(n))[0].mean(axis=2) for n in range(40)]
    assert 0.2 < np.mean([sky[:20].mean() > 127 for sky in skies]) < 0.8


@pytest.mark.parametrize(("height", "width"), [(150, 100), (90, 240), (600, 431), (96, 96)])
def test_windows_are_cut_from_the_resized_photo(height, width):
    """As if all of it had been resized."""
    size, (right, down), photo = (96, 80), shift_of((96, 80)), smooth_noise(width, height, 3)
    for seed in range(4):
        window, copies = moved_copies(photo, size, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        turned = np.rot90(photo, int(rng.integers(4)))
        turned = turned[:, ::-1] if rng.integers(2) else turned
        scale = max((size[0] + right) / turned.shape[1], (size[1] + down) / turned.shape[0])
        rows, columns = max(round(scale * turned.shape[0]), 100), max(round(scale * turned.shape[1]), 120)
        whole = images.resize_to(np.ascontiguousarray(turned), height=rows, width=columns).astype(int)
        top, left = int(rng.integers(rows - 100 + 1)), int(rng.integers(columns - 120 + 1))
        assert np.abs(window - whole[top : top + 80, left : left + 96]).max() <= 1
        there = whole[top + down : top + down + 80, left + right : left + right + 96]
        assert np.abs(copies["shifted"] - there).max() <= 1


def test_no_more_of_a_very_wide_photo_is_resized_than_its_window():
    """All of it would be of 43 MB."""
    photo = np.random.default_rng(0).integers(0, 256, (20, 20_000, 3), np.uint8)
    tracemalloc.start()
    window, copies = moved_copies(photo, (96, 96), np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert window.shape == copies["shifted"].shape == (96, 96, 3)
    assert peak < 10 * photo.nbytes  # 1.2 MB


class Noisy(Described):
    """Tells places where there is something to be seen at all."""

    def extract(self, image, layers):
        found = super().extract(image, layers)
        if np.ptp(image.reshape(-1, 3), axis=0).max():
            return found
        return {layer: replace(grid, descriptors=torch.ones_like(grid.descriptors)) for layer, grid in found.items()}


def test_found_again_are_cells_of_noise_in_other_noise():
    assert measured(Noisy(0.0, 1.0)).again == 1


def test_conv1_of_a_shift_by_whole_strides_is_exact_away_from_the_border(alexnet):
    window, copies = moved_copies(smooth_noise(300, 280, 4), (128, 128), np.random.default_rng(0))
    own, there = (alexnet.extract(each, ["conv1"])["conv1"] for each in (window, copies["shifted"]))
    centres = own.cells.centres().reshape(-1, 2)
    truth = content_in("shifted", centres, (128, 128))
    whole = np.flatnonzero(((truth > 8) & (truth < 119) & (centres < 119)).all(axis=1))
    found = nearest_centres(own, there, whole)
    np.testing.assert_array_equal(found, truth[whole])


def test_layers_are_measured_together_as_alone_and_kept(alexnet, tmp_path):
    photos = [*PHOTOS[:2]]
    with Cache(tmp_path) as results:
        both = measure_position(alexnet, ["conv2", "conv3"], photos, side_px=128, results=results)
        assert list(both) == ["conv2", "conv3"]
        kept = kept_position(alexnet, "conv3", photos, side_px=128, results=results)
        assert kept_position(alexnet, "conv3", photos[:1], side_px=128, results=results) is None
    alone = measure_position(alexnet, ["conv3"], photos, side_px=128)["conv3"]
    assert kept is not None
    for each in (both["conv3"], kept):
        np.testing.assert_allclose(each.map, alone.map, atol=1e-5)
        assert each.moved == alone.moved
        assert (each.again, each.again_by_chance, each.n_photos) == (alone.again, alone.again_by_chance, 2)
        np.testing.assert_allclose(each.in_subspace, alone.in_subspace, atol=1e-5)


def test_photos_that_cannot_be_read_are_left_out_and_one_is_too_few():
    class Broken(ArrayPhoto):
        def load(self):
            raise ImageError("broken.png is no picture.")

    broken = Broken("broken.png", PHOTOS[0])
    found = measure_position(Described(1.0, 0.3), ["only"], [*PHOTOS[:2], broken], side_px=SIDE)["only"]
    assert (found.n_photos, found.left_out) == (2, {"broken.png": "broken.png is no picture."})
    with pytest.raises(ValueError, match=r"needs two of them: broken.png: broken.png is no picture."):
        measure_position(Described(1.0, 0.3), ["only"], [PHOTOS[0], broken], side_px=SIDE)
