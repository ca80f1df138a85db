import numpy as np
import pytest

from corrcore.crops import CropTransform


def test_a_crop_keeps_edges_and_middles_of_pixels():
    # Columns 10 to 19 and rows 20 to 23 of a photo, drawn three times as wide and half as high.
    crop = CropTransform(edges=(9.5, 19.5, 19.5, 23.5), size=(30, 2))
    assert crop.scale == (3, 0.5)
    in_photo = np.array([[9.5, 19.5], [19.5, 23.5], [10, 20.5], [14.5, 21.5]])
    in_crop = np.array([[-0.5, -0.5], [29.5, 1.5], [1, 0], [14.5, 0.5]])
    np.testing.assert_allclose(crop.to_crop(in_photo), in_crop)
    np.testing.assert_allclose(crop.to_image(in_crop), in_photo)


@pytest.mark.parametrize("edges", [(-0.5, -0.5, 99.5, 49.5), (-37.2, 4.1, 12.9, 800.3), (3.0, 3.0, 3.5, 4.0)])
@pytest.mark.parametrize("size", [(1, 1), (304, 304), (304, 96)])
def test_to_image_inverts_to_crop(edges, size):
    crop = CropTransform(edges, size)
    points = np.random.default_rng(0).uniform(-400, 900, (5, 7, 2))
    np.testing.assert_allclose(crop.to_image(crop.to_crop(points)), points, atol=1e-9)
    np.testing.assert_allclose(crop.to_crop(crop.to_image(points)), points, atol=1e-9)


def test_a_hidden_point_stays_hidden_in_a_crop():
    crop = CropTransform((0.0, 0.0, 10.0, 10.0), (5, 5))
    assert np.isnan(crop.to_crop(np.array([np.nan, np.nan]))).all()
    assert np.isnan(crop.to_image(np.array([np.nan, np.nan]))).all()
