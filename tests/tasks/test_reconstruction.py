"""Pictures rebuilt of patches, against brute force."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from corrcore import networks
from corrcore.geometry import CellGrid, PixelBox, ReceptiveField
from corrcore.networks.weights import EMBEDDED
from corrcore.store import Cache
from corrcore.tasks import reconstruction
from tests.conftest import smooth_noise


def brute_force(image, layer, alexnet, index, excluded):
    query = alexnet.extract(image, (layer,))[layer].flat().double()
    everything = index.descriptors(layer, np.arange(index.n_patches(layer))).double()
    similarity = torch.nn.functional.normalize(query, dim=1) @ everything.T
    photo = index.photo_of[index.locate(layer, np.arange(len(everything))).pictures]
    similarity[:, np.isin(photo, excluded)] = -2
    return similarity


@pytest.mark.parametrize("layer", ["conv3", "conv5"])
def test_every_patch_is_the_mean_of_its_nearest_neighbours_patches(alexnet, small_index, small_photos, layer):
    image = smooth_noise(140, 100, seed=99)
    k = 3
    retrieval = reconstruction.retrieve(image, layer, extractor=alexnet, index=small_index, k=5)
    picture = reconstruction.rebuild(retrieval, small_index, k=k)
    best = brute_force(image, layer, alexnet, small_index, []).topk(k).indices.numpy()
    for cell in range(len(best)):
        row, column = divmod(cell, retrieval.cells.columns)
        box = small_index.receptive_field(layer).patch_box(row, column)
        patches = small_index.cut_patches(layer, best[cell])
        expected = np.rint(patches.astype(float).mean(axis=0))
        got = picture[box.top : box.bottom, box.left : box.right]
        np.testing.assert_array_equal(got, expected[: got.shape[0], : got.shape[1]])
    covered = retrieval.cells.covered
    assert (picture[: covered.top] == 255).all()
    assert (picture[:, covered.right :] == 255).all()
    assert picture.shape == image.shape


def test_a_photo_in_the_index_is_not_rebuilt_from_itself(alexnet, small_index, small_photos):
    image = small_photos[2].pixels
    retrieval = reconstruction.retrieve(image, "conv3", extractor=alexnet, index=small_index, k=8)
    pictures = small_index.locate("conv3", retrieval.ids.reshape(-1)).pictures
    assert 2 not in small_index.photo_of[pictures]
    similarity = brute_force(image, "conv3", alexnet, small_index, [2]).topk(8).values
    np.testing.assert_allclose(retrieval.similarities, similarity, atol=1e-3)


def test_excluded_photos_are_not_used(alexnet, small_index):
    image = smooth_noise(140, 100, seed=99)
    retrieval = reconstruction.retrieve(image, "conv5", extractor=alexnet, index=small_index, k=8, exclude=(0, 4))
    used = small_index.photo_of[small_index.locate("conv5", retrieval.ids.reshape(-1)).pictures]
    assert not np.isin(used, [0, 4]).any()


def test_another_networks_index_is_refused(small_index):
    weights = load_file(EMBEDDED / "alexnet_conv.safetensors")
    weights = {name: value * 2 for name, value in weights.items()}
    other = networks.open("alexnet", weights=weights, device="cpu")
    with pytest.raises(ValueError, match=r"index small was made by alexnet with weights .* Choose that network"):
        reconstruction.retrieve(smooth_noise(90, 90, 0), "conv3", extractor=other, index=small_index)


def test_more_neighbours_than_retrieved_are_refused(alexnet, small_index):
    retrieval = reconstruction.retrieve(smooth_noise(90, 90, 0), "conv3", extractor=alexnet, index=small_index, k=5)
    with pytest.raises(ValueError, match=r"k must be between 1 and 5 \(neighbours that were retrieved\); got 6"):
        reconstruction.rebuild(retrieval, small_index, k=6)


def test_uniform_draws_every_patch_from_its_neighbourhood():
    # Red and green name the pixel's own place: every drawn patch tells where it came from.
    y, x = np.mgrid[0:200, 0:220]
    image = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    cells = CellGrid(ReceptiveField(131, 16, 15.0), 11, 12, (220, 200))
    rng = np.random.default_rng(0)
    offsets = []
    for _ in range(60):
        picture = reconstruction.uniform(image, cells, window=99, k=1, rng=rng)
        for row in range(cells.rows):
            for column in range(cells.columns):
                box = cells.receptive_field.patch_box(row, column)
                patch = picture[box.top : box.bottom, box.left : box.right].astype(int)
                np.testing.assert_array_equal(patch - patch[0, 0], image[:16, :16].astype(int))
                offsets.append((*(patch[0, 0, :2] - [box.left, box.top]), row, column))
    offsets = np.array(offsets)
    inner = offsets[(offsets[:, 2] == 5) & (offsets[:, 3] == 6), :2]
    assert inner.min() >= -41
    assert inner.max() <= 42
    assert inner.min() < -30
    assert inner.max() > 31
    corner = offsets[(offsets[:, 2] == 0) & (offsets[:, 3] == 0), :2]
    assert corner.min() >= -7  # the image begins seven pixels before the first patch


def test_uniform_averages_over_its_draws():
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, ::2] = 200
    cells = CellGrid(ReceptiveField(99, 16, 15.0), 11, 11, (200, 200))
    picture = reconstruction.uniform(image, cells, k=400, rng=np.random.default_rng(0))
    covered = cells.covered
    inside = picture[covered.top : covered.bottom, covered.left : covered.right].astype(float)
    assert abs(inside - 100).max() < 25


def test_fidelity_of_the_same_picture_is_perfect():
    image = smooth_noise(80, 70, 0)
    same = reconstruction.fidelity(image, image.copy(), PixelBox(0, 0, 80, 70))
    assert same.psnr_db == np.inf
    assert same.ssim == pytest.approx(1)


def test_fidelity_counts_only_what_is_covered():
    image = np.full((64, 64, 3), 100, np.uint8)
    changed = image.copy()
    changed[10:50, 10:50] += 10
    changed[:5] = 0
    found = reconstruction.fidelity(image, changed, PixelBox(10, 10, 50, 50))
    assert found.psnr_db == pytest.approx(20 * np.log10(255 / 10))


def test_a_reconstruction_from_the_cache_is_the_one_that_was_kept(alexnet, small_index, tmp_path):
    image = smooth_noise(140, 100, seed=99)
    with Cache(tmp_path) as results:
        fresh, kept = (
            reconstruction.reconstruct(image, "conv3", extractor=alexnet, index=small_index, k=4, results=results)
            for _ in range(2)
        )
        assert results.statistics().hits == 1
    assert fresh.retrieval.cells == kept.retrieval.cells
    for name in ("ids", "similarities"):
        np.testing.assert_array_equal(getattr(fresh.retrieval, name), getattr(kept.retrieval, name))
    np.testing.assert_array_equal(fresh.localisation.offsets, kept.localisation.offsets)
    assert (fresh.localisation.lowest, fresh.localisation.highest) == (
        kept.localisation.lowest,
        kept.localisation.highest,
    )
