"""Places of retrieved patches: synthetic extremes.

The index holds the query with other brightness and contrast, so that what a cell retrieves can be chosen by hand.
"""

import numpy as np
import pytest

from corrcore import patch_index as indexes
from corrcore.tasks import reconstruction
from corrcore.tasks.localisation import Localisation, localise
from corrcore.tasks.reconstruction import Retrieval
from tests.conftest import ArrayPhoto, smooth_noise


@pytest.fixture(scope="module")
def twin(alexnet, tmp_path_factory):
    image = np.random.default_rng(5).integers(0, 200, (420, 460, 3), dtype=np.uint8)
    image = image // 2 + smooth_noise(460, 420, 3) // 2
    photos = [ArrayPhoto("twin", (image * 0.6 + 20).astype(np.uint8)), ArrayPhoto("other", smooth_noise(460, 420, 4))]
    index = indexes.build(photos, tmp_path_factory.mktemp("twin") / "it", extractor=alexnet, layers=("conv3",))
    grid = alexnet.extract(image, ("conv3",))["conv3"]
    return image, grid.cells, index


def retrieval_of(cells, ids):
    return Retrieval("conv3", cells, ids[:, None], np.ones((len(ids), 1), np.float32))


def test_localisation_is_perfect_when_the_right_patch_is_retrieved(twin):
    image, cells, index = twin
    retrieval = retrieval_of(cells, np.arange(len(cells)))
    found = retrieval.localise(image, index, rng=np.random.default_rng(0))
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
    found = localise(image, cells, ids, "conv3", index, rng=rng, max_cells=1000)
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
    found = retrieval.localise(image, index, rng=rng, max_cells=1000)
    assert found.score == pytest.approx(0.5, abs=0.06)
    near, chance = found.share_within(8)
    assert near == pytest.approx(chance, abs=0.06)


def test_localisation_knows_the_direction_of_an_offset(twin):
    """Retrieving the cell to the right means: the patch matches one stride to the right."""
    image, cells, index = twin
    retrieval = retrieval_of(cells, np.minimum(np.arange(len(cells)) + 1, len(cells) - 1))
    found = retrieval.localise(image, index, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(np.median(found.offsets, axis=0), [16, 0])


def test_localisation_without_structure_has_no_matches(twin, alexnet, tmp_path):
    flat = np.full((420, 460, 3), 90, np.uint8)
    index = indexes.build([ArrayPhoto("flat", flat)], tmp_path / "it", extractor=alexnet, layers=("conv3",))
    _, cells, _ = twin
    found = localise(flat, cells, np.arange(len(cells)), "conv3", index, rng=np.random.default_rng(0))
    assert len(found.offsets) == 0
    assert np.isnan(found.score)


def test_an_image_smaller_than_the_field_has_no_inner_cells(alexnet, small_index):
    image = smooth_noise(90, 90, 7)
    retrieval = reconstruction.retrieve(image, "conv3", extractor=alexnet, index=small_index, k=1)
    found = retrieval.localise(image, small_index, rng=np.random.default_rng(0))
    assert np.isnan(found.score)
    assert np.isnan(found.share_within(8)[0])


def test_score_is_the_probability_of_being_closer_with_ties_halved():
    # Nine places: one at distance 0, four at 1, four at the square root of 2.
    found = Localisation("conv3", np.array([[0, 0], [1, 0], [1, 1]]), -1, 1)
    assert found.score == pytest.approx(((8 + 0.5) + (4 + 2) + (0 + 2)) / 27)
    assert found.share_within(1) == (pytest.approx(2 / 3), pytest.approx(5 / 9))
