"""Real checkpoints beside the real photos, as they are, against the modules of the libraries that they are of."""

from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torchvision.transforms.functional import normalize

from corrcore import datasets, networks
from corrcore.decoding import decode
from corrcore.networks import ModuleSpec
from corrcore.networks.torchvision_ import build
from corrcore.tasks.effective_field import effective_field
from tests.conftest import smooth_noise

IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(scope="module")
def file_of(data_folder):
    """The path of a checkpoint, or a skip with the reason."""

    def path(name):
        found = data_folder.parent / "weights" / name
        if not found.is_file():
            pytest.skip(f"no {name} in {found.parent}")
        return found

    return path


def single(state):
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def pixels_of(image, mean, std):
    return normalize(torch.from_numpy(image).permute(2, 0, 1) / 255, mean, std)[None]


def assert_close(found, expected):
    """Up to rounding, which is relative to the greatest of the values that were summed."""
    expected = expected[: found.shape[0], : found.shape[1]]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * max(1.0, float(expected.abs().max())))


def test_vgg16_by_its_layers_names_in_half_precision(file_of):
    path, image = file_of("vgg16_torchvision_conv_fp16.npz"), smooth_noise(160, 128, 1)
    network = networks.open("vgg16", weights=path, device="cpu")
    reference = torchvision.models.vgg16().features.eval()
    with np.load(path) as arrays:
        convolutions = [each for each in reference if isinstance(each, torch.nn.Conv2d)]
        names = [name.removesuffix(".weight") for name in networks.spec("vgg16").layers if "conv" in name]
        for name, each in zip(names, convolutions, strict=True):
            each.weight.data = torch.from_numpy(arrays[f"{name}.weight"]).float()
            each.bias.data = torch.from_numpy(arrays[f"{name}.bias"]).float()
    with torch.inference_mode():
        expected = reference(pixels_of(image, *IMAGENET))[0].permute(1, 2, 0)
    assert_close(network.extract(image, ["pool5"])["pool5"].descriptors, expected)


def test_mobilenetv2_features_without_the_modules_prefix(file_of):
    path, image = file_of("mobilenetv2_features_torchvision_fp16.safetensors"), smooth_noise(192, 160, 2)
    network = networks.open("mobilenetv2", weights=path, device="cpu")
    reference = torchvision.models.mobilenet_v2().features.eval()
    reference.load_state_dict(single(load_file(path)))
    last = network.layers[-1]
    with torch.inference_mode():
        expected = reference(pixels_of(image, *IMAGENET))[0].permute(1, 2, 0)
    assert_close(network.extract(image, [last])[last].descriptors, expected)


def test_efficientnet_of_timm_with_its_head(file_of):
    timm = pytest.importorskip("timm")
    path, image = file_of("efficientnet_lite0_timm_fp16.safetensors"), smooth_noise(192, 160, 3)
    network = networks.open("efficientnet-lite0", weights=path, device="cpu")
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    reference.load_state_dict(single(load_file(path)))
    last = network.layers[-1]
    with torch.inference_mode():
        expected = reference.forward_features(pixels_of(image, [0.5] * 3, [0.5] * 3))[0].permute(1, 2, 0)
    assert_close(network.extract(image, [last])[last].descriptors, expected)


def test_vit_of_timm_with_the_position_embedding_of_a_large_image(file_of):
    timm = pytest.importorskip("timm")
    path, image = file_of("vit_s14_dinov2form_timm_fp16.safetensors"), smooth_noise(196, 154, 4)
    network = networks.open("dinov2-s", weights=path, device="cpu")
    reference = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True).eval()
    reference.load_state_dict(single(load_file(path)))
    with torch.inference_mode():
        tokens = reference.forward_features(pixels_of(image, *IMAGENET))[0, reference.num_prefix_tokens :]
    assert_close(network.extract(image, ["norm"])["norm"].descriptors, tokens.unflatten(0, (11, 14)))


def test_a_vits_real_position_embedding_of_another_size_is_built_for(file_of):
    """Cut down to 16 x 16 by timm's own function, as if the weights had learnt from images of 224 px."""
    timm = pytest.importorskip("timm")
    from timm.layers.pos_embed import resample_abs_pos_embed

    weights = single(load_file(file_of("vit_s14_dinov2form_timm_fp16.safetensors")))
    weights["pos_embed"] = resample_abs_pos_embed(weights["pos_embed"], [16, 16], num_prefix_tokens=1)
    image = smooth_noise(224, 224, 5)
    reference = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=224).eval()
    reference.load_state_dict(weights)
    network = networks.open("dinov2-s", weights=weights, device="cpu")
    with torch.inference_mode():
        tokens = reference.forward_features(pixels_of(image, *IMAGENET))[0, 1:]
    assert_close(network.extract(image, ["norm"])["norm"].descriptors, tokens.unflatten(0, (16, 16)))


def squeezenet_state(path):
    """Under torchvision's names, for RGB pixels."""
    fires = {
        f"fire{n}": f"features.{place}" for n, place in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True)
    }
    places = {"conv1": "features.0", "conv10": "classifier.1"} | fires
    state = {}
    with np.load(path) as arrays:
        for name in arrays.files:
            first, *rest = name.replace("/", ".").replace("squeeze1x1", "squeeze").split(".")
            state[".".join([places[first], *rest])] = torch.from_numpy(arrays[name])
    state["features.0.weight"] = state["features.0.weight"].flip(1)
    return state


def test_squeezenet_by_anothers_names_and_pixels_knows_a_cat(file_of, data_folder):
    """BGR from 0 to 255 minus a mean becomes a mean and a deviation; the truth is the module on such pixels."""
    bgr = torch.tensor([104.007, 116.669, 122.679]).view(3, 1, 1)
    mean = (122.679 / 255, 116.669 / 255, 104.007 / 255)
    state = squeezenet_state(file_of("squeezenet_v1.1_ndf_fp32.npz"))
    spec = ModuleSpec("mine", partial(build, "squeezenet1_1"), mean=mean, std=(1 / 255,) * 3)
    network = spec.open(weights=state, device="cpu")
    reference = torchvision.models.squeezenet1_1().eval()
    reference.load_state_dict({**state, "features.0.weight": state["features.0.weight"].flip(1)})
    last = network.layers[-1]
    data = datasets.open_dataset(str(data_folder / "VOC2011"))
    told = []
    for one in data.instances("cat", "val")[:12]:
        grid = network.extract(one.photo.load(), [last])[last].descriptors
        pixels = torch.from_numpy(one.photo.load()).permute(2, 0, 1).flip(0).float() - bgr
        with torch.inference_mode():
            expected = reference.classifier[:3](reference.features(pixels[None]))[0].permute(1, 2, 0)
        assert_close(grid, expected)
        told.append(int(grid.mean((0, 1)).argmax()))
    cats = sum(281 <= label <= 287 for label in told)  # ImageNet's tabby to lynx
    assert cats >= 4, told  # by chance 0.1


MOBILENET = "mobilenetv2", "mobilenetv2_features_torchvision_fp16.safetensors"
LITE0 = "efficientnet-lite0", "efficientnet_lite0_timm_fp16.safetensors"


@pytest.mark.parametrize(
    ("of", "layer", "askew"),
    [
        (MOBILENET, "features.0.2", 0.0),
        (MOBILENET, "features.18.2", -15.5),
        (LITE0, "blocks.1.1", 0.0),
        (LITE0, "blocks.4.2", 7.5),
    ],
    ids=str,
)
def test_cells_stand_nearer_to_where_their_gradients_are_than_windows_middles_do(
    file_of, data_folder, of, layer, askew
):
    name, file = of
    network = networks.open(name, weights=file_of(file), device="cpu")
    photos = sorted((data_folder / "VOC2011" / "JPEGImages").glob("*.jpg"))[::100][:4]
    found = effective_field(network, layer, [decode(photo) for photo in photos])
    field = network.receptive_field(layer)
    assert field.askew == askew
    other = askew or (field.stride - 1) / 2 - field.offset  # the windows' middles, or where balanced ones would be
    assert np.hypot(*found.mass_px) < np.hypot(*(np.array(found.mass_px) - other))
