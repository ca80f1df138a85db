"""Effective receptive fields: against convolved kernels, theoretical windows, and known maps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from scipy.signal import convolve2d
from torch import nn

from corrcore import networks
from corrcore.decoding import ImageError
from corrcore.features import Roles
from corrcore.geometry import CellGrid, ReceptiveField
from corrcore.networks import ModuleNetwork, ModuleSpec
from corrcore.store import Cache
from corrcore.tasks import effective_field as erf
from corrcore.tasks.effective_field import EffectiveField, choose_cells, effective_field, even_radius
from tests.conftest import ArrayPhoto, smooth_noise

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "device": "cpu", "dtype": torch.float64}
PHOTOS = [smooth_noise(150, 120, 1), smooth_noise(131, 140, 2)]


def chain(*windows):
    """Convolutions of one channel without non-linearities, of (size, stride, padding), and their network."""
    torch.manual_seed(0)
    colours = [3, *[1] * len(windows)]
    module = nn.Sequential(*(nn.Conv2d(n, 1, *window) for n, window in zip(colours, windows, strict=False)))
    return module, networks.from_module(module, layers={"last": str(len(windows) - 1)}, **PLAIN)


def composed(module):
    """The one kernel, by colour, that a chain of convolutions is."""
    kernels, stride = np.ones((3, 1, 1)), 1
    for n, each in enumerate(module):
        weight = each.weight.detach().double().numpy()[0]
        spread = np.zeros((len(weight), *(stride * (side - 1) + 1 for side in weight.shape[1:])))
        spread[:, ::stride, ::stride] = weight
        kernels = spread if n == 0 else np.stack([convolve2d(each, spread[0]) for each in kernels])
        stride *= each.stride[0]
    return kernels


@pytest.mark.parametrize(
    "windows",
    [
        [(5, 1, 2)],
        [(4, 2, 1)],
        [(11, 4, 2)],
        [(3, 2, 1), (3, 1, 1), (3, 1, 0)],
        [(4, 2, 1), (5, 3, 2), (2, 1, 0)],
        [(7, 3, 0), (4, 2, 3)],
    ],
    ids=str,
)
@pytest.mark.parametrize("units", ["signs", "sum"])
def test_of_a_linear_network_is_its_composed_kernel(windows, units):
    module, network = chain(*windows)
    expected = abs(composed(module)).sum(0)
    found = effective_field(network, "last", PHOTOS, units=units)
    field = network.receptive_field("last")
    assert (field.size, found.side_px) == (len(expected), field.around_px)
    first = round(found.centre_px + field.askew - (len(expected) - 1) / 2)
    inside = slice(first, first + len(expected))
    np.testing.assert_allclose(found.map[inside, inside], expected / expected.sum(), atol=1e-9)
    along = np.arange(len(expected)) - (len(expected) - 1) / 2 + field.askew
    shares = expected / expected.sum()
    assert found.mass_px == pytest.approx((shares.sum(0) @ along, shares.sum(1) @ along))
    assert (found.n_photos, found.n_cells, dict(found.left_out)) == (2, 8, {})


@pytest.mark.parametrize("more", [1, 6])
def test_a_larger_window_is_placed_around_the_same_centre(more):
    module, network = chain((4, 2, 1), (3, 1, 1))
    expected = abs(composed(module)).sum(0)
    found = effective_field(network, "last", PHOTOS, window_px=len(expected) + more)
    first = round(found.centre_px + found.receptive_field.askew - (len(expected) - 1) / 2)
    inside = slice(first, first + len(expected))
    np.testing.assert_allclose(found.map[inside, inside], expected / expected.sum(), atol=1e-9)
    assert found.beyond < 1e-12


def test_a_smaller_window_says_what_is_beyond():
    module, network = chain((9, 1, 4))
    kernel = abs(composed(module)).sum(0)
    found = effective_field(network, "last", PHOTOS, window_px=5)
    assert found.beyond == pytest.approx(1 - kernel[2:7, 2:7].sum() / kernel.sum())
    np.testing.assert_allclose(found.map, kernel[2:7, 2:7] / kernel[2:7, 2:7].sum(), atol=1e-9)


def test_of_a_field_wider_than_the_photo_every_pixel_is_the_mean_over_cells_that_have_it():
    module, network = chain((41, 2, 20))
    kernel = abs(composed(module)).sum(0)
    found = effective_field(network, "last", [smooth_noise(32, 33, 0)], n_cells=2)
    first = round(found.centre_px + found.receptive_field.askew - 20)
    inside = found.map[first : first + 41, first : first + 41]
    seen = inside > 0
    assert 0.5 < seen.mean() < 1
    np.testing.assert_allclose(inside[seen], kernel[seen] / kernel[seen].sum(), atol=1e-9)


def random_network(build, layers):
    torch.manual_seed(3)
    module = build().eval()
    spec = ModuleSpec(
        "random", build, {name: name for name in layers}, Roles(layers, *[layers[0]] * 1, layers, *[layers[0]] * 3)
    )
    return ModuleNetwork(spec, module.state_dict(), device="cpu")


def lite():
    timm = pytest.importorskip("timm")
    return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)


def alexnet_layers():
    return networks.open("alexnet", device="cpu"), ["conv1", "pool2", "conv4"]


def residual_layers():
    return random_network(lambda: torchvision.models.resnet18(), ("layer1.1", "layer2.0")), ["layer1.1", "layer2.0"]


def same_layers():
    layers = ("blocks.1.1", "blocks.2.0")
    return random_network(lite, layers), list(layers)


@pytest.mark.parametrize("layers_of", [alexnet_layers, residual_layers, same_layers])
@pytest.mark.parametrize("size", [(247, 200)], ids=str)
def test_no_gradient_leaves_the_theoretical_window(layers_of, size):
    network, layers = layers_of()
    for layer in layers:
        field = network.receptive_field(layer)
        assert field.size is not None
        found = effective_field(network, layer, [smooth_noise(*size, 4)], n_cells=2, window_px=field.size + 10)
        first = round(found.centre_px + field.askew - (field.size - 1) / 2)
        inside = slice(first, first + field.size)
        assert 1 - found.map[inside, inside].sum() < 1e-12
        assert found.map[first].sum() + found.map[:, first].sum() > 0 or field.size > 100
        exact = effective_field(network, layer, [smooth_noise(*size, 4)], n_cells=2)
        assert exact.side_px == field.around_px
        assert exact.beyond < 1e-12


def test_a_deep_rectified_network_sees_less_than_its_window():
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 12, 3), nn.ReLU()]
    for _ in range(14):
        layers += [nn.Conv2d(12, 12, 3), nn.ReLU()]
    network = networks.from_module(nn.Sequential(*layers), layers={"shallow": "3", "deep": "29"}, device="cpu")
    shallow, deep = (effective_field(network, layer, PHOTOS) for layer in ("shallow", "deep"))
    assert deep.receptive_field.size == 31
    assert deep.radius_px < 0.8 * even_radius(31)
    assert deep.radius_px / 31 < shallow.radius_px / 5  # Luo et al.: the share shrinks with depth
    assert shallow.radius_px < deep.radius_px


def of_map(values, stride=2):
    """What was measured, with a known map."""
    side = len(values)
    field = ReceptiveField(side, stride, (side - 1) / 2)
    return EffectiveField("it", values / values.sum(), field, 0.0, 1, 1, {})


@pytest.mark.parametrize("side", [120, 121])
def test_radii_of_a_gaussian_are_the_known_ones(side):
    sigma = 11.0
    across = np.arange(side) - (side - 1) / 2
    along = np.exp(-(across**2) / (2 * sigma**2))
    found = of_map(along[:, None] * along)
    assert found.radius_px == pytest.approx(sigma * np.sqrt(2 * np.log(2)), abs=0.2)
    two_sigma = sigma * np.sqrt(-2 * np.log(1 - 0.9545))
    assert found.radius_of(0.9545) == pytest.approx(two_sigma, abs=0.2)
    assert found.luo_radius_px == pytest.approx(two_sigma, abs=0.2)
    assert found.share_within(sigma) == pytest.approx(1 - np.exp(-0.5), abs=0.02)
    radii, density = found.profile(2)
    np.testing.assert_allclose(
        density, np.exp(-(radii**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2), rtol=0.1, atol=1e-6
    )


def test_of_an_even_window_half_lies_within_the_known_radius():
    assert of_map(np.ones((99, 99))).radius_px == pytest.approx(even_radius(99), abs=0.3)
    assert of_map(np.ones((8, 8)), stride=4).share_in_patch == pytest.approx(1 / 4)


def test_all_in_one_pixel_has_no_radius():
    values = np.zeros((7, 7))
    values[3, 3] = 1
    found = of_map(values, stride=1)
    assert (found.radius_px, found.radius_of(1.0), found.share_in_patch) == (0, 0, 1)
    with pytest.raises(ValueError, match="share must be from 0 to 1; got 1.5"):
        found.radius_of(1.5)


def test_cells_are_far_apart_inside_and_always_the_same():
    grid = CellGrid(ReceptiveField(9, 4, 4.0), 20, 30, (120, 80))
    first, again = (choose_cells(grid, 5, 9, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    corners = grid.centres()[tuple(first.T)] - 4
    assert ((corners >= 0) & (corners + 9 <= (120, 80))).all()
    apart = np.hypot(*(first[:, None] - first[None]).transpose(2, 0, 1)) + 99 * np.eye(5)
    assert apart.min() > 8
    few = CellGrid(ReceptiveField(79, 4, 39.0), 3, 2, (84, 84))
    assert len(choose_cells(few, 5, 79, np.random.default_rng(0))) == 4  # two rows that are whole


def test_results_are_kept_by_what_they_depend_on(tmp_path):
    _, network = chain((4, 2, 1), (3, 1, 1))
    cache = Cache(tmp_path, min_free_bytes=0)
    photos = [ArrayPhoto("one", PHOTOS[0]), ArrayPhoto("two", PHOTOS[1])]
    assert erf.kept_field(network, "last", photos, results=cache) is None
    found = effective_field(network, "last", photos, results=cache)
    kept = erf.kept_field(network, "last", photos, results=cache)
    np.testing.assert_array_equal(kept.map, found.map)
    assert replace(kept, map=found.map) == found
    for other in ({"photos": photos[:1]}, {"n_cells": 2}, {"units": "sum"}, {"longer_side": 100}, {"window_px": 9}):
        given = {"photos": photos} | other
        assert erf.kept_field(network, "last", given.pop("photos"), results=cache, **given) is None


class Damaged:
    name = "damaged"

    def load(self):
        raise ImageError("it cannot be read")


def test_photos_that_cannot_be_used_are_named(alexnet):
    found = effective_field(alexnet, "conv1", [Damaged(), smooth_noise(5, 5, 0), smooth_noise(60, 60, 0)], n_cells=1)
    assert found.n_photos == 1
    assert found.left_out["damaged"] == "it cannot be read"
    assert "at least" in found.left_out["photo 2"]
    with pytest.raises(ValueError, match="no photo can be used to measure conv1: damaged: it cannot be read"):
        effective_field(alexnet, "conv1", [Damaged()])
    with pytest.raises(ValueError, match="n_cells must be at least 1; got 0"):
        effective_field(alexnet, "conv1", PHOTOS, n_cells=0)


def test_progress_may_end_it(alexnet):
    told = []

    def stop(done, text):
        told.append((done, text))
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        effective_field(alexnet, "conv1", PHOTOS, progress=stop)
    assert [text for _, text in told] == ["conv1, photo 1"] * 3
    assert sorted(done for done, _ in told) == [done for done, _ in told]


def test_a_network_of_one_size_sees_the_middle_of_photos():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = nn.Conv2d(3, 6, 16, 16)
            self.place = nn.Parameter(torch.zeros(1, 6, 14, 14))

        def forward(self, image):
            return self.mixed(self.cells(image) + self.place)

        def mixed(self, grid):
            return grid

    torch.manual_seed(0)
    network = networks.from_module(Fixed(), layers={"cells": "cells"}, device="cpu")
    assert network.image_size == (224, 224)
    found = effective_field(network, "cells", [smooth_noise(300, 200, 0)])
    assert (found.side_px, found.n_photos) == (16, 1)
    assert found.beyond == 0
