"""Receptive fields that are derived, against what input gradients reach, for networks of every kind."""

import functools

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from corrcore import networks
from corrcore.geometry import ReceptiveField
from corrcore.networks import ModuleNetwork, ModuleSpec
from corrcore.networks.layers import roles_of

timm = pytest.importorskip("timm", reason="networks of timm need timm")

REGISTRY = [*networks.names(), *networks.aliases().values()]
OF_OTHER_KINDS = [
    *("torchvision:shufflenet_v2_x0_5", "timm:dla34"),  # channels that are shuffled, trees of branches
    *("torchvision:efficientnet_b0", "torchvision:vit_b_16", "timm:eca_resnet33ts", "timm:pvt_v2_b0"),  # whole images
]
SIZE = 131, 96  # odd and even


@functools.lru_cache(maxsize=2)
def opened(name: str) -> ModuleNetwork:
    """A network with random weights, in double precision."""
    spec = networks.spec(name)
    assert isinstance(spec, ModuleSpec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ModuleNetwork(spec, dict(spec.build().state_dict()), device="cpu", dtype=torch.float64)
    _let_all_through(network._model)
    return network


def _let_all_through(module: nn.Module) -> None:
    """Makes windows positive averages, and maxima averages, so that nothing stops or cancels a gradient.

    What begins at zero, such as the scales of branches, lets nothing through either.
    """
    for value in module.parameters(recurse=False):
        if not value.any():
            value.data.fill_(0.5)
    for name, each in module.named_children():
        if isinstance(each, nn.Conv2d):
            each.weight.data = each.weight.abs() / each.weight.abs().sum((1, 2, 3), keepdim=True)
        elif isinstance(each, nn.MaxPool2d):
            kept = each.kernel_size, each.stride, each.padding, each.ceil_mode
            setattr(module, name, nn.AvgPool2d(*kept))  # type: ignore[arg-type]
        elif isinstance(each, nn.ReLU6):
            setattr(module, name, nn.Identity())
        else:
            _let_all_through(each)


def reached(network: ModuleNetwork, layer: str, size: tuple[int, int], places) -> list[tuple[np.ndarray, tuple]]:
    """Which rows and columns of an image of ``(width, height)`` a layer's cells have gradients by, and the cells."""
    image = torch.rand(1, 3, size[1], size[0], dtype=torch.float64, requires_grad=True)
    found = []
    with torch.enable_grad():
        pixels = network._extended(image)
        here = network._layer(layer)
        output = network._taps.run(pixels, [here.path], inference=False)[here.path]
        [grid] = here.grids(output, tuple(pixels.shape[2:]), size[::-1])
        rows, columns = grid.shape[:2]
        weights = torch.rand(grid.shape[2], dtype=torch.float64)
        for down, across in places:
            cell = round(down * (rows - 1)), round(across * (columns - 1))
            (gradient,) = torch.autograd.grad((grid[cell] * weights).sum(), image, retain_graph=True)
            found.append(((gradient[0] != 0).any(0).numpy(), cell))
    return found


def sides(field: ReceptiveField, cell: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """The first pixel, and the one behind the last, that a cell sees along y and x of an image."""
    both = []
    for index, length in zip(cell, size[::-1], strict=True):
        if field.size is None:
            both.append((0, length))
            continue
        first = int(field.window.first_pixel(index, field.size))
        both.append((max(first, 0), min(first + field.size, length)))
    return both


@pytest.mark.slow
@pytest.mark.parametrize("name", [*REGISTRY, *OF_OTHER_KINDS])
def test_fields_of_every_kind_of_network_are_what_gradients_reach(name):
    network, size = opened(name), SIZE
    assert not network.measured
    layers = [network.layers[n * (len(network.layers) - 1) // 3] for n in (1, 2, 3)]
    for layer in dict.fromkeys(layers):
        field = network.receptive_field(layer)
        for seen, cell in reached(network, layer, size, [(0, 0), (0.5, 0.5), (1, 1)]):
            for axis, (first, stop) in enumerate(sides(field, cell, size)):
                there = np.flatnonzero(seen.any(axis=1 - axis))
                # A stride that does not divide the side leaves the last pixels out.
                missing = field.stride - 1 if stop == size[1 - axis] else 0
                assert there[0] == first, (layer, cell, axis)
                assert stop - missing <= there[-1] + 1 <= stop, (layer, cell, axis)


@pytest.mark.slow
def test_measured_fields_that_fill_a_small_image_are_measured_on_a_larger_one():
    """A merge of two by two patches sees no more than its windows, whatever image it is measured on."""
    torch.manual_seed(0)
    swin = torchvision.models.SwinTransformer([4, 4], 8, [2, 2], [1, 2], [7, 7])
    for weight in swin.parameters():
        weight.data *= 10 if weight.ndim == 2 else 1  # else attention adds next to nothing to what it is added to
    network = networks.from_module(swin, device="cpu", dtype=torch.float64)
    sizes = [network.receptive_field(layer).size for layer in ("features.1.1", "features.2", "features.3.0")]
    assert set(network.measured) >= {"features.1.1", "features.2", "features.3.0"}
    assert None not in sizes
    assert sizes == sorted(sizes)
    assert sizes[-1] >= 96  # the side of the small image, which it fills


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm:mobilevit_xxs"])
def test_what_cannot_be_derived_is_measured_and_says_so(name):
    network = opened(name)
    assert network.measured
    for layer in (*network.measured, network.roles.transfer):
        field = network.receptive_field(layer)
        assert field.offset == (field.stride - 1) / 2
    grid = network.extract(np.zeros((131, 97, 3), np.uint8), [network.roles.transfer])[network.roles.transfer]
    assert grid.cells.rows >= 131 // grid.receptive_field.stride


def test_roles_go_by_depth_and_stride():
    assert roles_of({"a": 4, "b": 8, "c": 16, "d": 16, "e": 32}).transfer == "d"
    blocks = {f"blocks.{n}": 14 for n in range(12)}
    roles = roles_of(blocks)
    assert (roles.transfer, roles.reconstruction[-1]) == ("blocks.8", "blocks.8")
    assert roles_of({"only": 32}).transfer == "only"
    assert len(roles_of(blocks).classification) == 5


class Same(nn.Module):
    """TensorFlow's "SAME" padding, written out."""

    def __init__(self, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, kernel, stride, dilation=dilation)
        self.reach = (kernel - 1) * dilation + 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stride = self.conv.stride[0]
        rows, columns = (max((-(-n // stride) - 1) * stride + self.reach - n, 0) for n in x.shape[2:])
        return self.conv(nn.functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)))


class Split(nn.Module):
    """Two paths that are added or joined; the second is longer."""

    def __init__(self, first: nn.Module, second: nn.Module, joined: bool) -> None:
        super().__init__()
        self.first, self.second, self.joined = first, second, joined
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = self.first(x), self.second(x)
        return self.last(torch.cat([one, two], 1)) if self.joined else one + two


@st.composite
def graphs(draw) -> nn.Module:
    """Small networks of windows of every kind, and branches."""
    kernel = st.sampled_from([1, 2, 3, 5])
    steps: list[nn.Module] = [nn.Conv2d(3, 4, 1)]
    for _ in range(draw(st.integers(1, 4))):
        k, s, d = draw(kernel), draw(st.sampled_from([1, 2])), draw(st.sampled_from([1, 2]))
        kind = draw(st.sampled_from(["conv", "pool", "same", "depthwise", "split", "norm"]))
        padding = draw(st.integers(0, k // 2))
        if kind == "conv":
            steps.append(nn.Conv2d(4, 4, k, s, padding, dilation=d))
        elif kind == "pool":
            steps.append(nn.AvgPool2d(k, s, padding, ceil_mode=draw(st.booleans())))
        elif kind == "same":
            steps.append(Same(k, s, d))
        elif kind == "depthwise":
            steps.append(nn.Conv2d(4, 4, 3, s, 1, groups=4, padding_mode=draw(st.sampled_from(["zeros", "reflect"]))))
        elif kind == "norm":
            steps += [nn.BatchNorm2d(4), nn.ReLU()]
        else:
            long = nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 4, 5, s, 2))
            steps.append(Split(nn.Conv2d(4, 4, 1, s), long, draw(st.booleans())))
    return nn.Sequential(*steps)


@settings(max_examples=20, deadline=None)
@given(graph=graphs(), width=st.integers(64, 80), height=st.integers(64, 80))
def test_fields_of_random_graphs_are_what_gradients_reach(graph, width, height):
    last = str(len(graph) - 1)
    network = networks.from_module(graph, layers=[last], dtype=torch.float64, device="cpu")
    _let_all_through(network._model)
    field = network.receptive_field(last)
    for seen, cell in reached(network, last, (width, height), [(0, 0), (0.5, 0.5), (1, 1)]):
        for axis, (first, stop) in enumerate(sides(field, cell, (width, height))):
            there = np.flatnonzero(seen.any(axis=1 - axis))
            if not len(there):
                continue  # a cell of padding alone
            missing = field.stride - 1 if stop == (height, width)[axis] else 0
            assert first <= there[0] <= first + _unread(graph), (field, cell)
            assert stop - missing - _unread(graph) <= there[-1] + 1 <= stop, (field, cell)


def _unread(graph: nn.Module) -> int:
    """Pixels that windows smaller than their stride, or spread out, may skip, at most."""
    strides, skipped = 1, 0
    for each in graph.modules():
        if isinstance(each, (nn.Conv2d, nn.AvgPool2d)):
            kernel, stride = (
                value if isinstance(value, int) else value[0] for value in (each.kernel_size, each.stride)
            )
            if kernel < stride or getattr(each, "dilation", (1, 1))[0] > 1:
                skipped += strides * 2
            strides *= stride
    return skipped


@pytest.mark.parametrize("size", [(131, 96), (160, 193)], ids=str)
def test_descriptors_are_the_librarys_own_forward(size):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    module = torchvision.models.resnet18().eval()
    network = ModuleNetwork(networks.spec("torchvision:resnet18"), module.state_dict(), device="cpu")
    pixels = network.normalised(image[None])
    with torch.inference_mode():
        value = module.maxpool(module.relu(module.bn1(module.conv1(pixels))))
        value = module.layer2(module.layer1(value))
    found = network.extract(image, ["layer2.1"])["layer2.1"].descriptors
    torch.testing.assert_close(found, value[0].permute(1, 2, 0)[: found.shape[0], : found.shape[1]])


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3", "tf_efficientnet_lite0"])
def test_descriptors_are_those_of_timms_forward_intermediates(name):
    spec = networks.spec(f"timm:{name}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = spec.build().eval()
    network = ModuleNetwork(spec, dict(module.state_dict()), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    with torch.inference_mode():
        found = module.forward_intermediates(network.normalised(image[None]), intermediates_only=True)
    names = [each["module"] for each in module.feature_info]
    for layer, expected in zip(names, found, strict=True):
        last = next(own for own in reversed(network.layers) if own == layer or own.startswith(f"{layer}."))
        grid = network.extract(image, [last])[last]
        torch.testing.assert_close(grid.descriptors, expected[0].permute(1, 2, 0), atol=1e-4, rtol=1e-4)


def test_images_are_extended_to_the_right_and_below_and_the_grid_does_not_move():
    network = opened("timm:vit_small_patch14_dinov2")
    image = np.random.default_rng(0).integers(0, 256, (112, 140, 3), dtype=np.uint8)
    layer = network.roles.transfer
    whole, cut = (network.extract(each, [layer])[layer] for each in (image, image[:101, :129]))
    assert whole.receptive_field == cut.receptive_field == ReceptiveField(None, 14, 6.5)
    assert (whole.descriptors.shape[:2], cut.descriptors.shape[:2]) == ((8, 10), (7, 9))
    assert cut.cells.centres().max() <= 128.5
