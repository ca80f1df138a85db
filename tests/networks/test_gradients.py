"""Gradients by pixels: against kernels, finite differences, and from several threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from corrcore import networks
from tests.conftest import smooth_noise

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "device": "cpu", "dtype": torch.float64}


def convolution(size, stride, padding, channels=4):
    torch.manual_seed(size)
    return nn.Conv2d(3, channels, size, stride, padding)


@pytest.mark.parametrize(("size", "stride", "padding"), [(5, 1, 2), (4, 2, 1), (11, 4, 2), (2, 3, 0)])
def test_of_one_convolution_is_its_kernel_where_the_field_is(size, stride, padding):
    module = convolution(size, stride, padding)
    network = networks.from_module(nn.Sequential(module), layers={"it": "0"}, **PLAIN)
    cells = np.array([[3, 4], [5, 2]])
    weights = np.array([1.0, -2.0, 0.5, 0.0])
    kernel = np.einsum("c,cdyx->dyx", weights, module.weight.detach().numpy()) / 255
    gradients = network.pixel_gradients(smooth_noise(50, 40, 1), "it", cells, weights=weights)
    for cell, found in zip(cells, gradients, strict=True):
        box = network.receptive_field("it").receptive_field_box(*cell.tolist())
        expected = np.zeros((40, 50))
        expected[box.top : box.bottom, box.left : box.right] = abs(kernel).sum(0)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-15)


def test_of_a_rectified_network_is_what_a_changed_pixel_changes():
    module = nn.Sequential(convolution(3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 3))
    network = networks.from_module(module, layers={"it": "2"}, **PLAIN)
    image = smooth_noise(30, 30, 2)
    [found] = network.pixel_gradients(image, "it", np.array([[4, 5]]))
    module.double()
    for y, x in [(9, 11), (8, 8), (12, 13)]:
        change = 0.0
        for colour in range(3):
            pair = []
            for step in (-1e-4, 1e-4):
                pixels = torch.from_numpy(image).double().permute(2, 0, 1)[None] / 255
                pixels[0, colour, y, x] += step / 255
                with torch.no_grad():
                    pair.append(float(module(pixels)[0, :, 4, 5].sum()))
            change += abs(pair[1] - pair[0]) / 2e-4
        np.testing.assert_allclose(found[y, x], change, rtol=1e-6)


def test_leaves_nothing_on_the_network_and_is_the_same_from_several_threads(alexnet):
    photos = [smooth_noise(130 + 9 * n, 140, n) for n in range(4)]
    cells = np.array([[3, 3], [4, 2]])

    def gradients(image):
        return np.stack(list(alexnet.pixel_gradients(image, "conv3", cells)))

    alone = [gradients(image) for image in photos]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(gradients, photos * 2))
    for one, other in zip(alone * 2, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * one.max())
    assert all(each.grad is None and not each.requires_grad for each in alexnet._model.parameters())
    assert torch.is_grad_enabled()
    with torch.inference_mode():
        np.testing.assert_allclose(gradients(photos[0]), alone[0], rtol=1e-4, atol=1e-4 * alone[0].max())
        assert torch.is_inference_mode_enabled()


def test_a_module_that_writes_into_its_image_first_has_gradients():
    module = nn.Sequential(nn.ReLU(inplace=True), convolution(3, 1, 1))
    network = networks.from_module(module, layers={"it": "1"}, **PLAIN)
    [found] = network.pixel_gradients(smooth_noise(20, 20, 0), "it", np.array([[9, 9]]))
    assert (found > 0).sum() == 9


def test_wrong_numbers_of_weights_are_said(alexnet):
    with pytest.raises(ValueError, match="weights must be one for each channel, 384; got 3"):
        list(alexnet.pixel_gradients(smooth_noise(99, 99, 0), "conv3", np.array([[1, 1]]), weights=np.ones(3)))
