"""Layers at every pixel, against the network itself run on shifted images."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from corrcore import extractors, networks
from corrcore.features import Feature, Roles
from corrcore.geometry import PixelBox
from corrcore.networks import ModuleNetwork, ModuleSpec, by_shifts
from tests.conftest import smooth_noise
from tests.gpu.pretended import REAL

LAYERS = list(networks.spec("alexnet").layers)


def whole(network, image, layer, region=None):
    """Every pixel's descriptor, and the region."""
    found = extractors.extract_region(image, Feature(network.name, layer), network=network, region=region)
    return found, region or network.valid_region(layer, (image.shape[1], image.shape[0]))


@pytest.fixture(scope="module")
def image():
    return smooth_noise(261, 234, 3)


@pytest.mark.parametrize("layer", LAYERS)
def test_phase_zero_is_the_networks_own_grid_with_its_borders(alexnet, image, layer):
    grid = alexnet.extract(image, [layer])[layer]
    found, _ = whole(alexnet, image, layer)
    stride = grid.receptive_field.stride
    torch.testing.assert_close(found[::stride, ::stride], grid.descriptors, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer", ["conv1", "pool2", "conv5"])
def test_every_phase_is_the_network_on_the_shifted_image(alexnet, image, layer):
    """Wherever no receptive field leaves either image."""
    found, _ = whole(alexnet, image, layer)
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
    grey = np.round(255 * np.array(networks.spec("alexnet").mean)).astype(np.uint8)
    padded = np.broadcast_to(grey, (236, 263, 3)).copy()
    padded[1:-1, 1:-1] = image
    own, _ = whole(alexnet, image, "conv1")
    wider, _ = whole(alexnet, padded, "conv1")
    torch.testing.assert_close(wider[1:-1, 1:-1], own, atol=0.05, rtol=0.02)  # grey is rounded to whole levels


def test_a_region_is_a_part_of_the_whole(alexnet, image):
    everything, there = whole(alexnet, image, "conv5")
    for region in (
        PixelBox(120, 100, 141, 121),
        PixelBox(15, 15, 20, 30),
        PixelBox(245, 200, 246, 219),
        PixelBox(15, 40, 246, 41),
    ):
        part, _ = whole(alexnet, image, "conv5", region)
        left, top = region.left - there.left, region.top - there.top
        expected = everything[top : top + region.height, left : left + region.width]
        torch.testing.assert_close(part, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv4"])
def test_points_have_their_pixels_descriptors(alexnet, image, layer):
    everything, region = whole(alexnet, image, layer)
    corners = [[x, y] for x in (region.left, region.right - 1) for y in (region.top, region.bottom - 1)]
    points = np.array([*corners, [100.4, 90.6], [40, 50], [41, 66], [-9, 70], [120, 1000]], dtype=float)
    at = alexnet.sample_at(image, points, [layer], exact=True)[layer]
    columns = np.clip([*points[:4, 0], 100, 40, 41, -9, 120], region.left, region.right - 1).astype(int) - region.left
    rows = np.clip([*points[:4, 1], 91, 50, 66, 70, 1000], region.top, region.bottom - 1).astype(int) - region.top
    torch.testing.assert_close(at, everything[rows, columns], atol=1e-4, rtol=1e-4)


def test_tiles_cover_the_region_once_within_the_budget(alexnet, image):
    region, budget, told = PixelBox(30, 40, 200, 150), 16 * 2**20, []
    everything, _ = whole(alexnet, image, "conv3", region)
    seen = torch.zeros(region.height, region.width, dtype=torch.int)
    made = list(alexnet.iter_tiles(image, "conv3", region=region, budget=budget, progress=told.append))
    assert len(made) > 1
    for part, descriptors in made:
        rows = slice(part.top - region.top, part.bottom - region.top)
        columns = slice(part.left - region.left, part.right - region.left)
        seen[rows, columns] += 1
        torch.testing.assert_close(descriptors, everything[rows, columns], atol=1e-4, rtol=1e-4)
    assert (seen == 1).all()
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)


def test_no_layers_values_take_more_than_the_budget(alexnet, image):
    """What a part needs of a layer follows from receptive fields: theirs, less the layer's, around the part."""
    budget, largest = 16 * 2**20, 0
    size, field = (image.shape[1], image.shape[0]), alexnet.receptive_field("conv3").size
    layers = alexnet.layers[: alexnet.layers.index("conv3") + 1]
    channels = {layer: grid.descriptors.shape[-1] for layer, grid in alexnet.extract(image, layers).items()}
    for part, _ in alexnet.iter_tiles(image, "conv3", budget=budget):
        before = 4 * 3 * min(part.width + field - 1, size[0]) * min(part.height + field - 1, size[1])
        for layer in layers:
            valid, around = alexnet.valid_region(layer, size), field - alexnet.receptive_field(layer).size
            pixels = min(part.width + around, valid.width) * min(part.height + around, valid.height)
            needed = 4 * channels[layer] * pixels
            largest = max(largest, before + needed, 2 * needed if layer.startswith("conv") else 0)  # its ReLU
            before = needed
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
        list(alexnet.iter_tiles(image, "conv5", region=region))


def test_an_image_too_small_is_refused(alexnet):
    small = smooth_noise(70, 20, 0)
    for ask in (
        lambda: alexnet.valid_region("conv5", (70, 20)),
        lambda: alexnet.sample_at(small, np.zeros((1, 2)), ["conv5"], exact=True),
        lambda: list(alexnet.iter_tiles(small, "conv5")),
    ):
        with pytest.raises(ValueError, match=r"at least 31 x 31 px for conv5 of alexnet; got 70 x 20 px"):
            ask()
    with pytest.raises(ValueError, match="layer of alexnet must be one of .* got 'conv9'"):
        alexnet.valid_region("conv9", (70, 40))


def test_no_points_have_no_descriptors(alexnet, image):
    for exact in (False, True):
        assert alexnet.sample_at(image, np.empty((0, 2)), ["conv3"], exact=exact)["conv3"].shape == (0, 384)


def _network(build, layer: str) -> ModuleNetwork:
    torch.manual_seed(0)
    weights = build().state_dict()
    spec = ModuleSpec("small", build, {"last": layer}, Roles(("last",), "last", ("last",), *["last"] * 3))
    return ModuleNetwork(spec, weights, device="cpu")


def test_paddings_strides_dilations_and_groups_of_every_kind():
    def build():
        return nn.Sequential(
            *(nn.Conv2d(3, 8, 5, stride=2, padding=1), nn.BatchNorm2d(8), nn.MaxPool2d(3, 2, padding=1)),
            *(nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=4), nn.LocalResponseNorm(3), nn.MaxPool2d(2, 2)),
            nn.Conv2d(12, 6, 3, padding=2, bias=False),
        )

    network = _network(build, "6")
    image = smooth_noise(75, 62, 9)
    grid = network.extract(image, ["last"])["last"]
    found, region = whole(network, image, "last")
    torch.testing.assert_close(found[::8, ::8], grid.descriptors, atol=1e-5, rtol=1e-4)
    shifted = network.extract(np.ascontiguousarray(image[3:, 5:]), ["last"])["last"]
    rows, columns = np.divmod(shifted.cells.inner(), shifted.cells.columns)
    assert len(rows)
    own = found[3::8, 5::8][rows, columns]
    torch.testing.assert_close(own, shifted.descriptors[rows, columns], atol=1e-5, rtol=1e-4)
    centre = region.left + 8 * 2  # of phase zero's third cell, whose field has no middle pixel
    assert centre == np.floor(grid.receptive_field.centre(2))


class Branching(nn.Module):
    """Two paths of different windows that meet."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.side = nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.Conv2d(3, 4, 1, stride=2)
        self.last = nn.Conv2d(4, 6, 3, stride=2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(pixels) + self.side(pixels))


def test_what_is_no_chain_is_described_at_every_pixel_by_shifts():
    network = _network(Branching, "last")
    image = smooth_noise(61, 45, 9)
    field = network.receptive_field("last")
    assert (field.size, field.stride, field.offset) == (9, 4, 2.0)
    found, region = whole(network, image, "last")
    assert (network.map_step("last", region), network.map_method("last")) == (1, "shifted images")
    assert region.left == region.top == 2
    assert region.right > 61 - 4 - 2
    for x, y in ((0, 0), (3, 1), (2, 2)):
        shifted = network.extract(np.ascontiguousarray(image[y:, x:]), ["last"])["last"].descriptors
        own = found[y::4, x::4]
        torch.testing.assert_close(own, shifted[: own.shape[0], : own.shape[1]], atol=1e-6, rtol=1e-5)
    points = np.array([[2.0, 2.0], [17.2, 9.9], [200.0, 30.0], [0.0, 44.0]])
    at = network.sample_at(image, points, ["last"], exact=True)["last"]
    pixels = np.clip(np.floor(points + 0.5).astype(int), [2, 2], [region.right - 1, region.bottom - 1]) - 2
    torch.testing.assert_close(at, found[pixels[:, 1], pixels[:, 0]])


def test_no_pixel_that_a_shift_describes_is_left_out():
    """Nor is any taken in that none does."""
    network = _network(Branching, "last")
    first = int(network.receptive_field("last").offset)
    for width in (61, 62, 63, 64):
        image = smooth_noise(width, 45, 9)
        reached = set()
        for x in range(4):
            columns = network.extract(np.ascontiguousarray(image[:, x:]), ["last"])["last"].descriptors.shape[1]
            reached |= {first + x + 4 * column for column in range(columns)}
        region = network.valid_region("last", (width, 45))
        assert set(range(region.left, region.right)) <= reached
        assert region.right not in reached


def test_where_shifts_are_too_many_pixels_share_the_nearest_ones_descriptor_and_it_is_said():
    network = _network(Branching, "last")
    image, region = smooth_noise(61, 45, 9), PixelBox(2, 2, 42, 30)
    assert by_shifts.step_px(16, region) == 2
    assert by_shifts.step_px(16, PixelBox(5, 5, 12, 12)) == 1
    assert by_shifts.step_px(14, region) == 2
    assert by_shifts.step_px(32, region) == 4
    exact, _ = whole(network, image, "last")
    tiles = by_shifts.Shifting(lambda part: network.extract(part, ["last"])["last"], 2, 4).iter_tiles(
        image, region, step=2
    )
    coarse = torch.cat([tile for _, tile in tiles])
    rows, columns = np.arange(28), np.arange(40)
    expected = exact[torch.from_numpy(rows // 2 * 2)][:, torch.from_numpy(columns // 2 * 2)]
    torch.testing.assert_close(coarse, expected)


@pytest.mark.gpu
def test_a_gpu_describes_the_same(alexnet, image, cuda):
    there, region = networks.open("alexnet", device=cuda), None if REAL else PixelBox(15, 15, 45, 35)
    own, _ = whole(alexnet, image, "conv5", region)
    found, _ = whole(there, image, "conv5", region)
    torch.testing.assert_close(found.cpu(), own, atol=1e-4, rtol=1e-4)
