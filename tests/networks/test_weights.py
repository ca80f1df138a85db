"""Where weights come from, and what is said of those that are missing or damaged."""

import json
import os
import pickle
from hashlib import sha256

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from corrcore import networks
from corrcore.networks import WeightsDamagedError, WeightsNotFoundError
from corrcore.networks.weights import EMBEDDED, read
from tests.conftest import smooth_noise

pytestmark = pytest.mark.usefixtures("no_weights_here")

ALEXNET, VGG16 = "alexnet-owt-7be5be79.pth", "vgg16-397923af.pth"


@pytest.fixture
def image():
    return smooth_noise(70, 64, 1)


@pytest.fixture
def embedded() -> dict[str, torch.Tensor]:
    return load_file(EMBEDDED / "alexnet_conv.safetensors")


def conv5(network, image):
    return network.extract(image, ["conv5"])["conv5"].descriptors


def test_missing_weights_say_how_to_get_them(image):
    with pytest.raises(
        WeightsNotFoundError,
        match=r"weights of vgg16 \(vgg16-397923af.pth\) are not .* network fetch vgg16` .*put vgg16.saf",
    ):
        networks.open("vgg16")
    with pytest.raises(
        WeightsNotFoundError, match=r"fc7 of alexnet \(alexnet-owt-7be5be79.pth\) are not .* network fetch alexnet`"
    ):
        networks.open("alexnet", device="cpu").global_descriptor(image, "fc7")


def test_weights_from_a_file_are_used_and_change_the_digest(embedded, image, tmp_path):
    embedded["features.10.bias"] = embedded["features.10.bias"] + 1
    save_file(embedded, tmp_path / "other.safetensors")
    plain = networks.open("alexnet", device="cpu")
    other = networks.open("alexnet", weights=tmp_path / "other.safetensors", device="cpu")
    assert other.digest != plain.digest
    assert not torch.equal(conv5(other, image), conv5(plain, image))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"there is no file of weights .*nowhere.safetensors; give"):
        networks.open("alexnet", weights=tmp_path / "nowhere.safetensors")


def test_the_folder_of_weights_comes_before_checkpoints_and_embedded_ones(
    embedded, image, no_weights_here, tmp_path, monkeypatch
):
    plain = networks.open("alexnet", device="cpu")
    torch.save(torchvision.models.alexnet().state_dict(), no_weights_here / ALEXNET)
    downloaded = networks.open("alexnet", device="cpu")
    doubled = {name: (value * 2).half() for name, value in embedded.items()}
    save_file(doubled, tmp_path / "alexnet.safetensors")
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path))
    own = networks.open("alexnet", device="cpu")
    assert len({plain.digest, downloaded.digest, own.digest}) == 3
    by_hand = networks.open("alexnet", weights={name: value.float() for name, value in doubled.items()}, device="cpu")
    assert own.digest == by_hand.digest
    torch.testing.assert_close(conv5(own, image), conv5(by_hand, image))


def test_a_folder_without_the_networks_weights_changes_nothing(tmp_path, monkeypatch):
    plain = networks.open("alexnet", device="cpu").digest
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path))
    assert networks.open("alexnet", device="cpu").digest == plain


SPOILT = {
    "cut short": lambda whole: whole[: len(whole) // 2],
    "begun": lambda whole: whole[:100],
    "empty": lambda whole: b"",
    "a page": lambda whole: b"<!DOCTYPE html><title>503</title>",
    "zeros": lambda whole: bytes(4096),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "it.pth"
    torch.save({"features.0.weight": torch.ones(64, 3, 11, 11), "features.0.bias": torch.ones(64)}, path)
    return path.read_bytes()


@pytest.mark.parametrize("spoil", SPOILT)
def test_a_damaged_checkpoint_is_said_and_embedded_weights_are_used(checkpoint, no_weights_here, image, spoil):
    plain = networks.open("alexnet", device="cpu")
    path = no_weights_here / ALEXNET
    path.write_bytes(SPOILT[spoil](checkpoint))
    told = f"the weights in {path} cannot be read, .* delete the file and get it again. Until then the embedded"
    with pytest.warns(RuntimeWarning, match=told):
        network = networks.open("alexnet", device="cpu")
    assert network.digest == plain.digest
    torch.testing.assert_close(conv5(network, image), conv5(plain, image))


@pytest.mark.parametrize("spoil", SPOILT)
def test_damaged_weights_without_others_are_one_sentence(checkpoint, no_weights_here, spoil):
    path = no_weights_here / VGG16
    path.write_bytes(SPOILT[spoil](checkpoint))
    with pytest.raises(WeightsDamagedError) as caught:
        networks.open("vgg16")
    assert str(caught.value) == (
        f"the weights in {path} cannot be read, they are damaged or cut short; delete the file and get it again."
    )


@pytest.mark.parametrize("spoil", SPOILT)
def test_ones_own_damaged_weights_are_never_replaced(embedded, tmp_path, monkeypatch, spoil):
    path = tmp_path / "alexnet.safetensors"
    save_file(embedded, path)
    path.write_bytes(SPOILT[spoil](path.read_bytes()))
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsDamagedError, match=r"alexnet.safetensors cannot be read, .* delete the file"):
        networks.open("alexnet")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_checkpoint_that_may_not_be_read_is_said_so(checkpoint, no_weights_here):
    path = no_weights_here / ALEXNET
    path.write_bytes(checkpoint)
    path.chmod(0)
    with pytest.warns(RuntimeWarning, match=f"the weights in {path} may not be read by this user; make .* embedded"):
        networks.open("alexnet", device="cpu")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.ones(3)], ids=["list", "numbers", "tensor"])
def test_a_checkpoint_without_tensors_by_name_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "it.pth")
    with pytest.raises(WeightsDamagedError, match=r"it.pth holds no weights by name; give a file of a network's state"):
        read(tmp_path / "it.pth")


def test_weights_under_other_names_are_refused(embedded):
    with pytest.raises(ValueError, match=r"such as features.0.weight \(64 x 3 x 11 x 11\), .*; got features.0.biases"):
        networks.open("alexnet", weights={f"{name}es": value for name, value in embedded.items()})
    with pytest.raises(ValueError, match="got none"):
        networks.open("alexnet", weights={})


def test_weights_of_another_shape_are_refused(embedded):
    embedded["features.3.weight"] = torch.zeros(256, 48, 5, 5)
    with pytest.raises(ValueError, match=r"^[^\n]*features.3.weight of alexnet must be 192 x 64 x 5 x 5; got 256 x 48"):
        networks.open("alexnet", weights=embedded)


def test_embedded_weights_match_their_recorded_digest():
    record = json.loads((EMBEDDED / "alexnet_conv.json").read_text())
    data = (EMBEDDED / record["file"]).read_bytes()
    assert sha256(data).hexdigest() == record["sha256"]
    assert "BSD-3" in record["licence"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_that_travelled_is_the_same_without_any_file(image, dtype, tmp_path, monkeypatch):
    """A worker may have other weights, or none: it gets those of the network it was sent."""
    network = networks.open("alexnet", device="cpu", dtype=dtype)
    sent = pickle.dumps(network)
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path))
    (tmp_path / "alexnet.safetensors").write_bytes(b"broken")
    arrived = pickle.loads(sent)
    assert (arrived.digest, arrived.layers, arrived.dtype) == (network.digest, network.layers, dtype)
    assert arrived.digest == pickle.loads(pickle.dumps(arrived)).digest
    np.testing.assert_array_equal(conv5(arrived, image).float(), conv5(network, image).float())
