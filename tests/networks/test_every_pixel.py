"""Layers at every pixel, against the network itself run on shifted images."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from corrcore import networks
from corrcore.geometry import PixelBox
from corrcore.networks import ARCHITECTURES, Architecture, , every_pixel
from corrcore.features import Extractor

from .conftest import smooth_noise

LAYERS = list(ARCHITECTURES["alexnet"].layers)


@pytest.fixture(scope="module")
def image():
    return smooth_noise(261, 234, 3)


@pytest.mark.parametrize("layer", LAYERS)
def test_phase_zero_is_the_networks_own_grid_with_its_borders(alexnet, image, layer):
    grid = alexnet.extract(image, [layer])[layer]
    found = every_pixel.extract(image, layer, network=alexnet)
    assert found.region == every_pixel.valid_region(layer, (261, 234), network=alexnet)
    stride = grid.receptive_field.stride
    torch.testing.assert_close(found.descriptors[::stride, ::stride], grid.descriptors, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer", ["conv1", "pool2", "conv5"])
def test_every_phase_is_the_network_on_the_shifted_image(alexnet, image, layer):
    """Wherever no receptive field leaves either image."""
    found = every_pixel.extract(image, layer, network=alexnet).descriptors
    stride = alexnet.receptive_field(layer).stride
    compared = 0
    for right, down in {(phase % stride, 5 * phase % stride) for phase in range(0, 16, 3)}:
        shifted = alexnet.extract(np.ascontiguousarray(image[down:, right:]), [layer])[layer]
        own = found[down::stride, right::stride]
        rows, columns = np.divmod(shifted.cells.inner(), shifted.cells.columns)
        assert len(rows)
        torch.testing.assert_close(own[rows, columns], shifted.descriptors[rows, columns], atol=1e-4, rtol=1e-4)
        compared += 1
    assert compared > 1


def test_every_phase_is_the_network_that_sees_the_padding_where_it_is(alexnet, image):
    """Moving the grid by less than the first layer's padding of 2 px, borders can be compared too: a wider image, grey
    as the padding is, has phase zero where the narrower one had another phase."""
    grey = np.round(255 * np.array(ARCHITECTURES["alexnet"].mean)).astype(np.uint8)
    padded = np.broadcast_to(grey, (236, 263, 3)).copy()
    padded[1:-1, 1:-1] = image
    own = every_pixel.extract(image, "conv1", network=alexnet).descriptors
    wider = every_pixel.extract(padded, "conv1", network=alexnet).descriptors
    torch.testing.assert_close(wider[1:-1, 1:-1], own, atol=0.05, rtol=0.02)  # grey is rounded to whole levels


def test_a_region_is_a_part_of_the_whole(alexnet, image):
    whole = every_pixel.extract(image, "conv5", network=alexnet)
    for region in (
        PixelBox(120, 100, 141, 121),
        PixelBox(15, 15, 20, 30),
        PixelBox(245, 200, 246, 219),
        PixelBox(15, 40, 246, 41),
    ):
        part = every_pixel.extract(image, "conv5", network=alexnet, region=region)
        assert part.region == region
        left, top = region.left - whole.region.left, region.top - whole.region.top
        expected = whole.descriptors[top : top + region.height, left : left + region.width]
        torch.testing.assert_close(part.descriptors, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv4"])
def test_points_have_their_pixels_descriptors(alexnet, image, layer):
    whole = every_pixel.extract(image, layer, network=alexnet)
    region = whole.region
    corners = [[x, y] for x in (region.left, region.right - 1) for y in (region.top, region.bottom - 1)]
    points = np.array([*corners, [100.4, 90.6], [40, 50], [41, 66], [-9, 70], [120, 1000]], dtype=float)
    at = every_pixel.sample_at(image, points, layer, network=alexnet)
    columns = np.clip([*points[:4, 0], 100, 40, 41, -9, 120], region.left, region.right - 1).astype(int) - region.left
    rows = np.clip([*points[:4, 1], 91, 50, 66, 70, 1000], region.top, region.bottom - 1).astype(int) - region.top
    torch.testing.assert_close(at, whole.descriptors[rows, columns], atol=1e-4, rtol=1e-4)


def test_tiles_cover_the_region_once_within_the_budget(alexnet, image):
    region, budget, told = PixelBox(30, 40, 200, 150), 16 * 2**20, []
    whole = every_pixel.extract(image, "conv3", network=alexnet, region=region).descriptors
    seen = torch.zeros(region.height, region.width, dtype=torch.int)
    made = list(
        every_pixel.iter_tiles(image, "conv3", network=alexnet, region=region, budget=budget, progress=told.append)
    )
    assert len(made) > 1
    for part, descriptors in made:
        rows = slice(part.top - region.top, part.bottom - region.top)
        columns = slice(part.left - region.left, part.right - region.left)
        seen[rows, columns] += 1
        torch.testing.assert_close(descriptors, whole[rows, columns], atol=1e-4, rtol=1e-4)
    assert (seen == 1).all()
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)


def test_no_layers_values_take_more_than_the_budget(alexnet, image, monkeypatch):
    apply, largest, budget = every_pixel._apply, 0, 16 * 2**20

    def watched(values, step, margins, *, strided):
        nonlocal largest
        result = apply(values, step, margins, strided=strided)
        largest = max(largest, 4 * (values.numel() + result.numel()))
        return result

    monkeypatch.setattr(every_pixel, "_apply", watched)
    for _ in every_pixel.iter_tiles(image, "conv3", network=alexnet, budget=budget):
        pass
    assert budget / 4 < largest <= budget


@pytest.mark.parametrize(
    "region",
    [
        PixelBox(14, 20, 30, 40),
        PixelBox(20, 20, 247, 40),
        PixelBox(20, 20, 20, 40),
        PixelBox(30, 20, 20, 40),
        PixelBox(20, 200, 30, 220),
    ],
)
def test_a_region_without_descriptors_is_refused(alexnet, image, region):
    text = f"region must lie within the pixels that conv5 describes, (15, 15, 246, 219); got {tuple(region)}."
    with pytest.raises(ValueError, match=re.escape(text)):
        every_pixel.extract(image, "conv5", network=alexnet, region=region)


def test_an_image_too_small_is_refused(alexnet):
    with pytest.raises(ValueError, match=r"at least 31 x 31 px for conv5 of alexnet; got 70 x 20 px"):
        every_pixel.valid_region("conv5", (70, 20), network=alexnet)
    with pytest.raises(ValueError, match="layer of alexnet must be one of .* got 'conv9'"):
        every_pixel.valid_region("conv9", (70, 40), network=alexnet)


def _network(layers: dict[str, str], *modules: nn.Module) -> Extractor:
    torch.manual_seed(0)
    architecture = Architecture(
        name="small", build=lambda: nn.Sequential(*modules), layers=layers, default_layers=tuple(layers), checkpoint=""
    )
    weights = nn.Sequential(*modules).state_dict()
    return Extractor(architecture, weights, device="cpu")


def test_paddings_strides_dilations_and_groups_of_every_kind():
    network = _network(
        {"last": "6"},
        *(nn.Conv2d(3, 8, 5, stride=2, padding=1), nn.BatchNorm2d(8), nn.MaxPool2d(3, 2, padding=1)),
        *(nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4), nn.LocalResponseNorm(3), nn.MaxPool2d(2, 2)),
        nn.Conv2d(12, 6, 3, padding=2, bias=False),
    )
    image = smooth_noise(75, 62, 9)
    grid = network.extract(image, ["last"])["last"]
    found = every_pixel.extract(image, "last", network=network)
    torch.testing.assert_close(found.descriptors[::8, ::8], grid.descriptors, atol=1e-5, rtol=1e-4)
    shifted = network.extract(np.ascontiguousarray(image[3:, 5:]), ["last"])["last"]
    rows, columns = np.divmod(shifted.cells.inner(), shifted.cells.columns)
    assert len(rows)
    own = found.descriptors[3::8, 5::8][rows, columns]
    torch.testing.assert_close(own, shifted.descriptors[rows, columns], atol=1e-5, rtol=1e-4)
    centre = found.region.left + 8 * 2  # of phase zero's third cell, whose field has no middle pixel
    assert centre == np.floor(grid.receptive_field.centre(2))


def test_a_layer_behind_branches_is_refused():
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            first = self.first(pixels)
            return self.last(first + first)

    architecture = Architecture(
        name="branching", build=Branching, layers={"last": "last"}, default_layers=("last",), checkpoint=""
    )
    network = Extractor(architecture, Branching().state_dict(), device="cpu")
    with pytest.raises(ValueError, match="last of branching cannot be taken at every pixel: add is no step of a chain"):
        every_pixel.valid_region("last", (50, 50), network=network)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_describes_the_same(alexnet, image):
    there = networks.open("alexnet", device="cuda")
    own = every_pixel.extract(image, "conv5", network=alexnet).descriptors
    found = every_pixel.extract(image, "conv5", network=there).descriptors
    torch.testing.assert_close(found.cpu(), own, atol=1e-2, rtol=1e-2)  # TF32 may be used there
