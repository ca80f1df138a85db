"""What detector, prior and their product say of a keypoint everywhere, against the formulas."""

import numpy as np
import pytest

from corrcore.crops import CropTransform
from corrcore.features import Feature
from corrcore.geometry import CellGrid, ReceptiveField
from corrcore.tasks.detection import ObjectPrediction, PriorFusion

FEATURE = Feature("alexnet", "conv5")
BOX = (9.5, 19.5, 59.5, 119.5)  # stretched to 500 px: ten times as wide, five times as high


@pytest.fixture
def found():
    """A keypoint with a detector and one without, on 5 x 5 cells of 100 px."""
    scores = np.full((5, 5, 2), np.nan, np.float32)
    scores[..., 0] = np.random.default_rng(0).normal(size=(5, 5))
    places = np.array([[[249.5, 149.5], [49.5, 449.5]], [[349.5, 149.5], [np.nan, np.nan]]])
    cells = CellGrid(ReceptiveField(163, 100, 49.5), 5, 5, (500, 500))
    return ObjectPrediction(
        np.zeros((500, 500, 3), np.uint8),
        CropTransform(BOX, (500, 500)),
        {FEATURE: scores},
        {FEATURE: cells},
        np.zeros((2, 2), int),
        places,
    )


def in_photo(row, column):
    """The centre of a cell, by hand."""
    return BOX[0] + (column + 0.5) * 10, BOX[1] + (row + 0.5) * 20


def test_cells_lie_in_the_photo(found):
    np.testing.assert_allclose(found.cell_points(FEATURE)[3, 1], in_photo(3, 1))


@pytest.mark.parametrize("fusion", [PriorFusion(1, 90.0, 0.3), PriorFusion(2, 60.0, 0.7)])
def test_the_three_maps_are_the_formulas_and_the_product_is_the_prediction(found, fusion):
    detector, prior, product = found.maps(FEATURE, 0, fusion)
    scores, centres = found.scores[FEATURE][..., 0].astype(float), found.cells[FEATURE].centres()
    some = [np.square(centres - place).sum(-1) for place in found.places[: fusion.neighbours, 0]]
    p = np.mean([np.exp(-each / (2 * fusion.sigma_px**2)) for each in some], axis=0)
    f = (1 / (1 + np.exp(-scores))) ** (1 - fusion.eta) * p**fusion.eta
    np.testing.assert_allclose(detector.values, scores)
    np.testing.assert_allclose(prior.values, p)
    np.testing.assert_allclose(product.values, f / f.max())
    for each, values in ((detector, scores), (prior, p), (product, f)):
        np.testing.assert_allclose(each.highest, in_photo(*np.unravel_index(values.argmax(), values.shape)))
    np.testing.assert_allclose(product.highest, found.keypoints(FEATURE, fusion)[0])


def test_without_a_detector_the_prior_alone_is_the_product(found):
    detector, prior, product = found.maps(FEATURE, 1, PriorFusion(1, 90.0, 0.3))
    assert np.isnan(detector.values).all()
    assert detector.highest is None
    np.testing.assert_allclose(prior.highest, in_photo(4, 0))
    np.testing.assert_allclose(product.values, prior.values / prior.values.max())


def test_without_a_fusion_the_product_is_the_detectors(found):
    detector, _, product = found.maps(FEATURE, 0)
    s = 1 / (1 + np.exp(-detector.values.astype(float)))
    np.testing.assert_allclose(product.values, s / s.max())
    np.testing.assert_allclose(product.highest, found.keypoints(FEATURE)[0])
    assert np.isnan(found.maps(FEATURE, 1)[2].values).all()  # which has no detector
