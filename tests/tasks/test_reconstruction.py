import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from corrcore import networks
from corrcore import patch_index as indexes
from corrcore.geometry import CellGrid, PixelBox, ReceptiveField
from corrcore.store import Cache
from corrcore.tasks import reconstruction
from corrcore.tasks.reconstruction import Localisation, Retrieval
from tests.conftest import ArrayPhoto, smooth_noise


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
    retrieval = reconstruction.retrieve(image, layer, network=alexnet, index=small_index, k=5)
    picture = reconstruction.rebuild(retrieval, small_index, k=k)
    best = brute_force(image, layer, alexnet, small_index, []).topk(k).indices.numpy()
    for cell in range(len(best)):
        row, column = divmod(cell, retrieval.cells.columns)
        box = small_index.field(layer).patch_box(row, column)
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
    retrieval = reconstruction.retrieve(image, "conv3", network=alexnet, index=small_index, k=8)
    pictures = small_index.locate("conv3", retrieval.ids.reshape(-1)).pictures
    assert 2 not in small_index.photo_of[pictures]
    similarity = brute_force(image, "conv3", alexnet, small_index, [2]).topk(8).values
    np.testing.assert_allclose(retrieval.similarities, similarity, atol=1e-3)


def test_excluded_photos_are_not_used(alexnet, small_index):
    image = smooth_noise(140, 100, seed=99)
    retrieval = reconstruction.retrieve(image, "conv5", network=alexnet, index=small_index, k=8, exclude=(0, 4))
    used = small_index.photo_of[small_index.locate("conv5", retrieval.ids.reshape(-1)).pictures]
    assert not np.isin(used, [0, 4]).any()


def test_another_networks_index_is_refused(small_index):
    weights = load_file(networks.EMBEDDED_WEIGHTS / "alexnet_conv.safetensors")
    weights = {name: value * 2 for name, value in weights.items()}
    other = networks.open("alexnet", weights=weights, device="cpu")
    with pytest.raises(ValueError, match=r"index small was made by alexnet with weights .* Choose that network"):
        reconstruction.retrieve(smooth_noise(90, 90, 0), "conv3", network=other, index=small_index)


def test_more_neighbours_than_retrieved_are_refused(alexnet, small_index):
    retrieval = reconstruction.retrieve(smooth_noise(90, 90, 0), "conv3", network=alexnet, index=small_index, k=5)
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


# Localisation: synthetic extremes. The index holds the query with other brightness and contrast, so that what a cell
# retrieves can be chosen by hand.


@pytest.fixture(scope="module")
def twin(alexnet, tmp_path_factory):
    image = np.random.default_rng(5).integers(0, 200, (420, 460, 3), dtype=np.uint8)
    image = image // 2 + smooth_noise(460, 420, 3) // 2
    photos = [ArrayPhoto("twin", (image * 0.6 + 20).astype(np.uint8)), ArrayPhoto("other", smooth_noise(460, 420, 4))]
    index = indexes.build(photos, tmp_path_factory.mktemp("twin") / "it", network=alexnet, layers=("conv3",))
    grid = alexnet.extract(image, ("conv3",))["conv3"]
    return image, grid.cells, index


def retrieval_of(cells, ids):
    return Retrieval("conv3", cells, ids[:, None], np.ones((len(ids), 1), np.float32))


def test_localisation_is_perfect_when_the_right_patch_is_retrieved(twin):
    image, cells, index = twin
    retrieval = retrieval_of(cells, np.arange(len(cells)))
    found = reconstruction.localise(image, retrieval, index, rng=np.random.default_rng(0))
    assert len(found.offsets) > 200
    assert (found.offsets == 0).all()
    assert found.score > 0.999
    assert found.share_within(4)[0] == 1


@pytest.mark.parametrize("cells_away", [0, 1])
def test_score_is_that_of_the_shifts_the_neighbours_have(twin, cells_away):
    """The neighbour shows the query's content, shifted at random: the score follows from the shifts alone."""
    image, cells, index = twin
    rng = np.random.default_rng(1)
    corners = cells.corners(99 + 16)
    inner = np.flatnonzero(((corners >= 0) & (corners + 99 + 16 <= cells.image_size)).all(axis=1))
    rows, columns = np.divmod(np.arange(len(cells)), cells.columns)
    shifts = rng.integers(-cells_away, cells_away + 1, size=(2, len(cells)))
    rows, columns = np.clip(rows + shifts[0], 0, cells.rows - 1), np.clip(columns + shifts[1], 0, cells.columns - 1)
    ids = rows * cells.columns + columns
    found = reconstruction.localise(image, retrieval_of(cells, ids), index, rng=rng, max_cells=1000)
    used = inner[np.isin(ids[inner], cells.inner())]
    expected = 16 * np.stack([shifts[1][used], shifts[0][used]], axis=1)
    np.testing.assert_array_equal(found.offsets, expected)
    places = np.hypot(*np.meshgrid(np.arange(-25, 27), np.arange(-25, 27))).ravel()
    distances = np.hypot(*expected.T)[:, None]
    assert found.score == pytest.approx(((places > distances) + (places == distances) / 2).mean())


def test_score_is_one_half_for_places_drawn_uniformly():
    offsets = np.random.default_rng(0).integers(-25, 27, size=(20_000, 2))
    found = Localisation("conv3", offsets, -25, 26)
    assert found.score == pytest.approx(0.5, abs=0.01)
    near, chance = found.share_within(8)
    assert near == pytest.approx(chance, abs=0.01)


def test_localisation_is_at_chance_for_unrelated_neighbours(twin):
    image, cells, index = twin
    rng = np.random.default_rng(2)
    other = index.n_patches("conv3") // 2
    retrieval = retrieval_of(cells, rng.integers(other, 2 * other, size=len(cells)))
    found = reconstruction.localise(image, retrieval, index, rng=rng, max_cells=1000)
    assert found.score == pytest.approx(0.5, abs=0.06)
    near, chance = found.share_within(8)
    assert near == pytest.approx(chance, abs=0.06)


def test_localisation_knows_the_direction_of_an_offset(twin):
    """Retrieving the cell to the right means: the patch matches one stride to the right."""
    image, cells, index = twin
    retrieval = retrieval_of(cells, np.minimum(np.arange(len(cells)) + 1, len(cells) - 1))
    found = reconstruction.localise(image, retrieval, index, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(np.median(found.offsets, axis=0), [16, 0])


def test_localisation_without_structure_has_no_matches(twin, alexnet, tmp_path):
    flat = np.full((420, 460, 3), 90, np.uint8)
    index = indexes.build([ArrayPhoto("flat", flat)], tmp_path / "it", network=alexnet, layers=("conv3",))
    _, cells, _ = twin
    found = reconstruction.localise(
        flat, retrieval_of(cells, np.arange(len(cells))), index, rng=np.random.default_rng(0)
    )
    assert len(found.offsets) == 0
    assert np.isnan(found.score)


def test_an_image_smaller_than_the_field_has_no_inner_cells(alexnet, small_index):
    image = smooth_noise(90, 90, 7)
    retrieval = reconstruction.retrieve(image, "conv3", network=alexnet, index=small_index, k=1)
    found = reconstruction.localise(image, retrieval, small_index, rng=np.random.default_rng(0))
    assert np.isnan(found.score)
    assert np.isnan(found.share_within(8)[0])


def test_score_is_the_probability_of_being_closer_with_ties_halved():
    # Nine places: one at distance 0, four at 1, four at the square root of 2.
    found = Localisation("conv3", np.array([[0, 0], [1, 0], [1, 1]]), -1, 1)
    assert found.score == pytest.approx(((8 + 0.5) + (4 + 2) + (0 + 2)) / 27)
    assert found.share_within(1) == (pytest.approx(2 / 3), pytest.approx(5 / 9))


def test_a_reconstruction_from_the_cache_is_the_one_that_was_kept(alexnet, small_index, tmp_path):
    image = smooth_noise(140, 100, seed=99)
    with Cache(tmp_path) as results:
        fresh, kept = (
            reconstruction.reconstruct(image, "conv3", network=alexnet, index=small_index, k=4, results=results)
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
