"""Layers of convolutional networks: receptive fields against gradients, descriptors against torchvision's modules."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import nn

from corrcore import networks
from corrcore.features import Roles
from corrcore.geometry import ReceptiveField
from corrcore.networks import ModuleNetwork, ModuleSpec
from corrcore.networks.weights import EMBEDDED

pytestmark = pytest.mark.usefixtures("no_weights_here")

ALEXNET_TABLE_1 = {
    "conv1": (11, 4),
    "conv2": (51, 8),
    "conv3": (99, 16),
    "conv4": (131, 16),
    "conv5": (163, 16),
    "pool5": (195, 32),
}


def photo(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def embedded() -> dict[str, torch.Tensor]:
    return load_file(EMBEDDED / "alexnet_conv.safetensors")


def without_weights(spec: ModuleSpec) -> ModuleNetwork:
    """Of all grids, whatever they hold."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in spec.build().state_dict().items()}
    weights = {name: torch.zeros(shape) for name, shape in shapes.items() if not name.startswith("classifier")}
    return ModuleNetwork(spec, weights, device="cpu")


def roles_of(layer: str) -> Roles:
    """One layer for everything."""
    return Roles((layer,), layer, (layer,), layer, layer, layer)


def thin(model: nn.Module) -> nn.Module:
    """The same windows with one positive channel, averaging for max pooling and no non-linearity.

    Nothing then stops or cancels a gradient, so its support is exactly what is path-connected.
    """
    for name, module in model.named_children():
        if isinstance(module, nn.Conv2d):
            kernel, stride, padding = module.kernel_size, module.stride, module.padding
            module = nn.Conv2d(1, 1, kernel, stride, padding, bias=False, dtype=torch.float64)  # type: ignore[arg-type]
            nn.init.ones_(module.weight)
            setattr(model, name, module)
        elif isinstance(module, nn.MaxPool2d):
            setattr(model, name, nn.AvgPool2d(module.kernel_size, module.stride, module.padding))
        elif isinstance(module, (nn.ReLU, nn.BatchNorm2d)):
            setattr(model, name, nn.Identity())
        else:
            thin(module)
    return model


def assert_support(cells: torch.Tensor, cell: tuple[int, int], pixels: torch.Tensor, field: ReceptiveField):
    """The cell's gradient reaches every pixel of its field box in the image and no other.

    At the right and bottom border the last pixels may feed no window (a stride that does not divide the length).
    """
    (gradient,) = torch.autograd.grad(cells[(0, 0, *cell)], pixels, retain_graph=True)
    y, x = torch.nonzero(gradient[0, 0], as_tuple=True)
    height, width = pixels.shape[2:]
    box = field.receptive_field_box(*cell)
    clipped = box.clip((width, height))
    assert len(x) == (x.max() - x.min() + 1) * (y.max() - y.min() + 1)
    assert (int(x.min()), int(y.min())) == (clipped.left, clipped.top)
    for last, end, length in ((int(x.max()), box.right, width), (int(y.max()), box.bottom, height)):
        if end <= length:
            assert last == end - 1
        else:
            assert length - field.stride < last + 1 <= length


@pytest.mark.parametrize("layer", ALEXNET_TABLE_1)
def test_alexnet_receptive_fields_are_the_papers_table_1(alexnet, layer):
    field = alexnet.receptive_field(layer)
    assert (field.size, field.stride) == ALEXNET_TABLE_1[layer]


@pytest.mark.parametrize("size", [(260, 227), (239, 300)], ids=str)
@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_receptive_field_of_every_layer_is_the_support_of_the_input_gradient(name, size):
    spec = networks.spec(name)
    network = without_weights(spec)
    width, height = size
    pixels = torch.ones(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    outputs, value = {}, pixels
    for number, module in enumerate(thin(spec.build().features)):
        value = outputs[f"features.{number}"] = module(value)
    for layer, node in spec.layers.items():
        rows, columns = outputs[node].shape[2:]
        for cell in {(0, 0), (rows // 2, columns // 2), (rows - 1, columns - 1), (0, columns // 3)}:
            assert_support(outputs[node], cell, pixels, network.receptive_field(layer))


def test_receptive_field_through_residual_branches_is_the_support_of_the_input_gradient():
    model = torchvision.models.resnet18()
    spec = ModuleSpec("resnet", torchvision.models.resnet18, {"block": "layer2.0"}, roles_of("block"))
    field = ModuleNetwork(spec, model.state_dict(), device="cpu").receptive_field("block")
    model = thin(model)
    pixels = torch.ones(1, 1, 180, 181, dtype=torch.float64, requires_grad=True)
    cells = model.layer2[0](model.layer1(model.maxpool(model.conv1(pixels))))
    assert_support(cells, (11, 10), pixels, field)


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (97, 64)], ids=str)
def test_descriptors_equal_torchvisions_module_on_the_same_weights(alexnet, size):
    image = photo(*size)
    reference = torchvision.models.alexnet().features.eval()
    weights = embedded()
    reference.load_state_dict({name.removeprefix("features."): value for name, value in weights.items()})
    value = torchvision.transforms.functional.normalize(
        torch.from_numpy(image).permute(2, 0, 1) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )[None]
    grids = alexnet.extract(image, alexnet.layers)
    with torch.inference_mode():
        for number, module in enumerate(reference):
            value = module(value)
            nodes = networks.spec("alexnet").layers
            for layer in (name for name, node in nodes.items() if node == f"features.{number}"):
                expected = value[0].permute(1, 2, 0)
                torch.testing.assert_close(grids[layer].descriptors, expected, rtol=1e-4, atol=1e-4)
                assert grids[layer].image_size == size


def test_a_batch_gives_what_single_images_give(alexnet):
    images = [photo(120, 90, seed) for seed in range(3)]
    batch = alexnet.extract_batch(images, ("conv2", "conv5"))
    for image, grids in zip(images, batch, strict=True):
        for layer, grid in alexnet.extract(image, ("conv2", "conv5")).items():
            torch.testing.assert_close(grids[layer].descriptors, grid.descriptors, rtol=1e-4, atol=1e-5)


def test_batches_run_so_many_at_a_time_as_a_budget_holds(monkeypatch):
    network, images = networks.open("alexnet", device="cpu"), [photo(120, 90, seed) for seed in range(5)]
    whole = network.extract_batch(images, ("conv2", "conv5"))
    ran = []
    network._model.register_forward_pre_hook(lambda _, arguments: ran.append(len(arguments[0])))
    # conv1 has 64 x 21 x 29 numbers, of four bytes, and its input and output are there together; conv2 and conv5 stay.
    each = 4 * (2 * 64 * 21 * 29 + 192 * 10 * 14 + 256 * 4 * 6)
    for budget, expected in ((5 * each, [5]), (2.6 * each, [2, 2, 1]), (1, [1] * 5)):
        ran.clear()
        monkeypatch.setattr("corrcore.networks.module.BATCH_BYTES", int(1.15 * budget))
        found = network.extract_batch(images, ("conv2", "conv5"))
        assert ran == expected
        for grids, expected_grids in zip(found, whole, strict=True):
            for layer, grid in grids.items():
                torch.testing.assert_close(grid.descriptors, expected_grids[layer].descriptors, rtol=1e-4, atol=1e-5)


def test_half_the_bytes_a_number_twice_the_images():
    sizes = []
    for dtype in (torch.float32, torch.bfloat16):
        network = networks.open("alexnet", device="cpu", dtype=dtype)
        sizes.append(network._geometry.batch_size(["features.11"], (500, 500), 2**30 // network.dtype.itemsize))
    assert sizes[1] // 2 == sizes[0] > 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float32])
def test_a_module_in_any_precision_is_a_network(dtype):
    module = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3)).to(dtype)
    found = networks.from_module(module, device="cpu", name="mine")
    assert (found.receptive_field("3").size, found.receptive_field("3").stride) == (7, 2)
    assert module[0].weight.dtype == dtype
    assert found.extract(photo(31, 30), ["3"])["3"].descriptors.dtype == torch.float32
    double = networks.from_module(module, device="cpu", name="mine", dtype=torch.float64)
    assert double.extract(photo(31, 30), ["3"])["3"].descriptors.dtype == torch.float64
    with pytest.raises(ValueError, match="an embedding of positions"):
        ModuleSpec("mine", lambda: module).finer(2).open(weights=module.state_dict())


def test_bfloat16_stays_close_to_float32(alexnet):
    half = networks.open("alexnet", device="cpu", dtype=torch.bfloat16)
    image = photo(160, 120)
    exact = alexnet.extract(image, ("conv5",))["conv5"].flat()
    rough = half.extract(image, ("conv5",))["conv5"].flat()
    assert rough.dtype == torch.bfloat16
    assert torch.cosine_similarity(exact, rough.float()).min() > 0.99


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_cuda_gives_what_the_cpu_gives(alexnet, cuda, dtype):
    image = photo(500, 375)
    expected = alexnet.extract(image, ("conv3", "conv5"))
    got = networks.open("alexnet", device=cuda, dtype=dtype).extract(image, ("conv3", "conv5"))
    for layer, grid in got.items():
        found, own = grid.flat().cpu(), expected[layer].flat()
        assert found.dtype == dtype
        away = (found.float() - own).norm(dim=1)  # cells of zeros have no direction
        relative, absolute = (1e-4, 1e-4) if dtype == torch.float32 else (5e-3, 2e-2)
        assert (away <= relative * own.norm(dim=1) + absolute).all()


def test_smallest_side_is_the_least_that_works(alexnet):
    for layer in ("conv1", "conv3", "pool5"):
        side = alexnet.smallest_side(layer)
        assert alexnet.extract(photo(side, side), (layer,))[layer].descriptors.shape[:2] == (1, 1)
        until = int(networks.spec("alexnet").layers[layer].removeprefix("features.")) + 1
        with pytest.raises(RuntimeError, match=r"[Ss]ize|[Kk]ernel"):  # torch's own
            torchvision.models.alexnet().features[:until](torch.zeros(1, 3, side, side - 1))
        with pytest.raises(
            ValueError, match=f"at least {side} x {side} px for {layer} of alexnet; got {side} x {side - 1}"
        ):
            alexnet.extract(photo(side, side - 1), (layer,))


def test_images_of_different_sizes_are_refused_as_one_batch(alexnet):
    with pytest.raises(ValueError, match="must have one size; got 100 x 80, 80 x 100 px"):
        alexnet.extract_batch([photo(100, 80), photo(80, 100)], ("conv1",))


def test_an_unknown_layer_is_named_with_the_known_ones(alexnet):
    with pytest.raises(ValueError, match=r"layer of alexnet must be one of conv1, pool1, .* got 'conv9'"):
        alexnet.receptive_field("conv9")


def test_a_downloaded_checkpoint_gives_the_fully_connected_layers(no_weights_here):
    model = torchvision.models.alexnet().eval()
    torch.save(model.state_dict(), no_weights_here / "alexnet-owt-7be5be79.pth")
    image = photo(224, 224)
    network = networks.open("alexnet", device="cpu")
    value = torchvision.transforms.functional.normalize(
        torch.from_numpy(image).permute(2, 0, 1) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )[None]
    with torch.inference_mode():
        expected = model.classifier[:6](model.avgpool(model.features(value)).flatten(1))[0]
    torch.testing.assert_close(network.global_descriptor(image, "fc7"), expected, rtol=1e-3, atol=1e-4)


def test_partial_weights_offer_only_the_layers_they_feed():
    weights = embedded()
    first = {name: value for name, value in weights.items() if name.startswith(("features.0.", "features.3."))}
    assert ModuleNetwork(networks.spec("alexnet"), first, device="cpu").layers == (
        "conv1",
        "pool1",
        "conv2",
        "pool2",
    )


def test_a_downloaded_checkpoint_keeps_the_digest(alexnet):
    """Fully connected layers say nothing about the grids: indexes stay usable when they arrive."""
    weights = torchvision.models.alexnet().state_dict() | embedded()
    assert ModuleNetwork(networks.spec("alexnet"), weights, device="cpu").digest == alexnet.digest


def test_threads_may_ask_for_different_layers_at_once():
    network = networks.open("alexnet", device="cpu")
    image = photo(64, 64)
    asked = [tuple(layers) for n in (1, 2) for layers in itertools.combinations(network.layers, n)]
    expected = network.extract(image, network.layers)
    with ThreadPoolExecutor(4) as pool:
        for grids in pool.map(lambda layers: network.extract(image, layers), asked):
            for layer, grid in grids.items():
                torch.testing.assert_close(grid.descriptors, expected[layer].descriptors)


def test_a_network_is_traced_while_others_run():
    network, image = networks.open("alexnet", device="cpu"), photo(64, 64)
    expected = network.extract(image, ["conv5"])["conv5"].descriptors
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(networks.open, "alexnet", device="cpu") for _ in range(12)]
        ran = [pool.submit(network.extract, image, ["conv5"]) for _ in range(60)]
        assert {task.result().digest for task in made} == {network.digest}
        for task in ran:
            torch.testing.assert_close(task.result()["conv5"].descriptors, expected)


@pytest.mark.parametrize(
    ("name", "layer", "offset"),
    [
        ("torchvision:mobilenet_v2", "features.3", 0.0),  # windows of 19 px, five strides
        ("torchvision:mobilenet_v2", "features.8", 7.5),  # as the deepest of its stride
        ("torchvision:mobilenet_v2", "features.18.2", 15.5),
        ("torchvision:inception_v3", "Mixed_7c", 37.0),  # in the middle of the 299 px that it was trained on
    ],
)
def test_cells_of_deep_layers_stand_in_the_middle_of_what_a_network_was_trained_on(name, layer, offset):
    network = without_weights(networks.spec(name))
    assert network.receptive_field(layer).offset == offset


def test_what_windows_leave_over_on_images_of_no_multiple_of_their_stride_moves_no_cell():
    patches = networks.from_module(nn.Sequential(nn.Conv2d(3, 2, 12, stride=12), nn.Conv2d(2, 2, 9, padding=4)))
    field = patches.receptive_field(patches.layers[-1])
    assert (field.offset, field.askew) == (5.5, 0.0)


@pytest.mark.parametrize(("train_px", "offset"), [(None, 7.5), (224, 7.5), (225, 0.0), (17 * 16 + 1, 0.0)])
def test_ones_own_module_is_told_by_the_images_it_was_trained_on(train_px, offset):
    """On odd sides four windows of three, two apart, are in the middle."""
    halved = [nn.Conv2d(3 if n == 0 else 2, 2, 3, stride=2, padding=1) for n in range(4)]
    wide = nn.Conv2d(2, 2, 9, padding=4)
    network = networks.from_module(nn.Sequential(*halved, wide), layers=["4"], train_px=train_px)
    assert network.receptive_field("4").offset == offset
