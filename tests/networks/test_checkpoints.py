"""Checkpoints as people have them: each is opened like the module it was made of, or refused in one sentence."""

import argparse

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from corrcore import networks
from corrcore.networks import WeightsDamagedError
from corrcore.networks.weights import read
from tests.conftest import smooth_noise

pytestmark = pytest.mark.usefixtures("no_weights_here")

NAME, DEEPEST = "squeezenet", "features.12"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return torchvision.models.squeezenet1_1().eval()


@pytest.fixture(scope="module")
def state(model):
    return model.state_dict()


@pytest.fixture
def saved(tmp_path):
    """Writes a checkpoint as torch does; its path."""

    def save(content):
        torch.save(content, tmp_path / "checkpoint.pth")
        return tmp_path / "checkpoint.pth"

    return save


def as_torchvision_has_it(features: nn.Module, image: np.ndarray) -> torch.Tensor:
    pixels = torchvision.transforms.functional.normalize(
        torch.from_numpy(image).permute(2, 0, 1) / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    with torch.inference_mode():
        return features(pixels[None])[0].permute(1, 2, 0)


def assert_is(model: nn.Module, weights, **tolerance) -> None:
    """The network that is opened with the weights describes an image as the module does."""
    image = smooth_noise(90, 70, 2)
    network = networks.open(NAME, weights=weights, device="cpu")
    found = network.extract(image, [DEEPEST])[DEEPEST].descriptors
    expected = as_torchvision_has_it(model.features, image)
    torch.testing.assert_close(found, expected[: found.shape[0], : found.shape[1]], **(tolerance or {}))


def prefixed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


@pytest.mark.parametrize(
    ("within", "prefix"),
    [
        *[
            ("state_dict", "module."),
            ("state_dict", "model."),
            ("model", "_orig_mod."),
            ("teacher", "module.backbone."),
        ],
        *[("student", "backbone."), ("model_ema", "module."), ("module", ""), ("net.weights", "encoder.")],
    ],
)
def test_nested_and_prefixed_checkpoints_are_opened(model, state, saved, within, prefix):
    content = prefixed(state, prefix)
    for word in reversed(within.split(".")):
        content = {word: content, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(64, 3, 3, 3)}}}}
    assert_is(model, saved(content))


def test_a_prefix_that_a_file_lacks_is_added(model, saved):
    assert_is(model, saved(model.features.state_dict()))
    assert_is(model, saved(prefixed(model.features.state_dict(), "backbone.")))


def test_heads_may_be_absent_or_of_another_task(model, state, saved):
    headless = {name: value for name, value in state.items() if not name.startswith("classifier")}
    assert_is(model, saved(headless))
    other = {"classifier.1.weight": torch.ones(10, 512, 1, 1), "classifier.1.bias": torch.ones(10)}
    assert_is(model, saved({**state, **other}))
    assert_is(model, saved({**headless, "head.mlp.0.weight": torch.ones(3, 3)}))
    assert_is(model, saved({**headless, "classifier.1.0.weight": torch.ones(7, 512)}))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_single(model, state, saved, kind):
    path = saved({name: value.to(kind) for name, value in state.items()})
    assert {value.dtype for value in read(path).values()} == {torch.float32}
    assert_is(model, path, rtol=0.05, atol=0.05)
    rounded = {name: value.to(kind).float() for name, value in state.items()}
    assert networks.open(NAME, weights=path).digest == networks.open(NAME, weights=rounded).digest


def test_files_of_other_kinds_say_the_same(model, state, tmp_path):
    save_file(state, tmp_path / "it.safetensors")
    torch.save(state, tmp_path / "it.bin")
    np.savez(tmp_path / "it.npz", **{name.replace(".", "/"): value.numpy() for name, value in state.items()})
    digests = {networks.open(NAME, weights=tmp_path / f"it.{kind}").digest for kind in ("safetensors", "bin", "npz")}
    assert digests == {networks.open(NAME, weights=state).digest}
    assert_is(model, tmp_path / "it.npz")


@pytest.mark.parametrize(
    "copies", [("teacher", "student"), ("model_ema", "model"), ("encoder_q", "encoder_k")], ids=str
)
def test_of_two_copies_that_which_is_used_is_taken(model, state, saved, copies):
    other = {name: value + 1 for name, value in state.items()}
    used, trained = copies
    assert_is(model, saved({used: prefixed(state, "backbone."), trained: prefixed(other, "backbone.")}))
    assert_is(model, saved({trained: other, used: state}))
    assert_is(model, saved({**prefixed(other, f"module.{trained}."), **prefixed(state, f"module.{used}.")}))


def test_names_of_layers_are_names_of_their_weights(alexnet):
    """As the networks' own layers are called: conv1.weight, which is features.0.weight of the module."""
    given = {f"conv{n + 1}.{kind}": (n, kind) for n in range(5) for kind in ("weight", "bias")}
    embedded = read(networks.spec("alexnet").embedded)
    convolutions = [f"features.{n}" for n in (0, 3, 6, 8, 10)]
    weights = {name: embedded[f"{convolutions[n]}.{kind}"] for name, (n, kind) in given.items()}
    assert networks.open("alexnet", weights=weights, device="cpu").digest == alexnet.digest


def test_ones_own_module_takes_a_checkpoint_too(model, saved):
    with torch.random.fork_rng(devices=[]):
        own = torchvision.models.squeezenet1_1().features.eval()
    network = networks.from_module(own, weights=saved({"state_dict": prefixed(model.state_dict(), "module.")}))
    image = smooth_noise(80, 70, 4)
    found = network.extract(image, ["12"])["12"].descriptors
    expected = as_torchvision_has_it(model.features, image)[: found.shape[0], : found.shape[1]]
    torch.testing.assert_close(found, expected)


# --- What is refused -------------------------------------------------------------------------------------------------


def refusal(name, weights) -> str:
    with pytest.raises(ValueError) as caught:
        networks.open(name, weights=weights, device="cpu")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def zeros(name, **options):
    """A state of a network of torchvision, which takes no memory until it is written."""
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in getattr(torchvision.models, name)(**options).state_dict().items()}
    return {key: torch.zeros(shape) for key, shape in shapes.items()}


def test_another_networks_weights_are_told_by_their_shapes(saved):
    told = refusal("resnet50", saved({"state_dict": prefixed(zeros("resnet18"), "module.")}))
    assert (
        "checkpoint.pth: layer1.0.conv1.weight of torchvision:resnet50 must be 64 x 64 x 1 x 1; got 64 x 64 x 3 x 3, "
        in told
    )
    assert told.endswith("the weights fit torchvision:resnet18.")


def test_another_networks_weights_are_told_by_their_names(state, saved):
    told = refusal("resnet50", saved(state))
    assert (
        "must be those of torchvision:resnet50 under its module's names, such as conv1.weight (64 x 3 x 7 x 7)" in told
    )
    assert told.endswith("the weights fit torchvision:squeezenet1_1.")
    assert refusal("resnet50", {"some.weight": torch.ones(3)}).endswith(
        "got some.weight (3). Give weights of this network."
    )


def test_a_deeper_networks_weights_are_refused_though_all_names_are_there():
    told = refusal("torchvision:resnet18", zeros("resnet34"))
    assert told == (
        "torchvision:resnet18 has no layer1.2.conv1.weight, which the weights have; "
        "the weights fit torchvision:resnet34."
    )


def test_norms_without_statistics_are_refused():
    weights = {name: value for name, value in zeros("resnet18").items() if not name.endswith("running_var")}
    told = refusal("torchvision:resnet18", weights)
    assert "torchvision:resnet18 needs the statistics bn1.running_var, which the weights lack" in told


def test_options_of_a_script_are_no_fault_and_other_objects_are_named(model, state, saved, tmp_path):
    assert_is(model, saved({"model": state, "args": argparse.Namespace(lr=0.1)}))
    torch.save(model, tmp_path / "whole.pth")
    with pytest.raises(
        WeightsDamagedError, match=r"whole.pth holds Python objects \(torchvision.models.squeezenet.Squ"
    ):
        networks.open(NAME, weights=tmp_path / "whole.pth")


def test_programs_of_torchscript_are_named(tmp_path):
    with pytest.warns((DeprecationWarning, FutureWarning), match="torch.jit"):
        torch.jit.script(nn.ReLU()).save(tmp_path / "it.pt")
    with pytest.raises(WeightsDamagedError, match=r"it.pt is a program of TorchScript; save its state_dict"):
        networks.open(NAME, weights=tmp_path / "it.pt")


def test_arrays_of_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "it.npz", a=np.array([print], object))
    with pytest.raises(WeightsDamagedError, match="it.npz cannot be read"):
        read(tmp_path / "it.npz")


# --- Transformers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [128, 192])
def test_a_transformer_of_timm_is_built_for_the_size_its_weights_have_learnt_from(side):
    """Against timm's own module of that size, which need not resize its position embedding on such images."""
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        reference = timm.create_model("test_vit", img_size=side, num_classes=0).eval()
    image = smooth_noise(side, side, 5)
    network = networks.open("timm:test_vit", weights=prefixed(reference.state_dict(), "state_dict."), device="cpu")
    last = network.layers[-1]
    found = network.extract(image, [last])[last].descriptors
    with torch.inference_mode():
        expected = reference.forward_features(network.normalised(image[None]))[0, reference.num_prefix_tokens :]
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=1e-4, atol=1e-5)


def test_a_transformer_of_torchvision_is_built_for_the_size_its_weights_have_learnt_from():
    weights = zeros("vit_b_32", image_size=96)
    network = networks.open("torchvision:vit_b_32", weights=weights, device="cpu")
    assert network.spec.build().encoder.pos_embedding.shape == (1, 10, 768)
    weights["encoder.pos_embedding"] = torch.zeros(1, 12, 768)
    assert "must be 1 x 50 x 768; got 1 x 12 x 768" in refusal("torchvision:vit_b_32", weights)


@pytest.mark.slow
def test_checkpoints_that_timm_converts_are_converted():
    """DINOv2 as its authors publish it: registers have another name, and the class token a place."""
    timm = pytest.importorskip("timm")
    name = "vit_small_patch14_reg4_dinov2"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        reference = timm.create_model(name, num_classes=0, dynamic_img_size=True).eval()
    weights = reference.state_dict()
    published = {**weights, "register_tokens": weights["reg_token"], "mask_token": torch.zeros(1, 384)}
    published["pos_embed"] = torch.cat([torch.zeros(1, 1, 384), weights["pos_embed"]], dim=1)
    del published["reg_token"]
    image = smooth_noise(140, 112, 5)
    network = networks.open(f"timm:{name}", weights=prefixed(published, "teacher.backbone."), device="cpu")
    assert network.digest == networks.open(f"timm:{name}", weights=weights, device="cpu").digest
    last = network.layers[-1]
    with torch.inference_mode():
        expected = reference.forward_features(network.normalised(image[None]))[0, reference.num_prefix_tokens :]
    found = network.extract(image, [last])[last].descriptors
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=1e-3, atol=1e-4)
