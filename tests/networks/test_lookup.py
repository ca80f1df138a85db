"""In which order weights are looked for, and what is said where there are none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from corrcore import networks
from corrcore.networks import WeightsNotFoundError
from corrcore.networks.lookup import Sources, download, find, locate, stems
from corrcore.networks.weights import EMBEDDED

TIMM = "timm:vit_small_patch14_dinov2.lvd142m"


@pytest.fixture
def own_folder(tmp_path, monkeypatch, no_weights_here):
    """The folder of weights, empty."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("torchvision:resnet50", ["torchvision-resnet50", "resnet50"]),
        (
            TIMM,
            [
                *("timm-vit_small_patch14_dinov2.lvd142m", "vit_small_patch14_dinov2.lvd142m"),
                *("timm-vit_small_patch14_dinov2", "vit_small_patch14_dinov2", "dinov2-s"),
            ],
        ),
        ("torchvision:mobilenet_v2", ["torchvision-mobilenet_v2", "mobilenet_v2", "mobilenetv2"]),
        ("vgg16", ["vgg16"]),
    ],
)
def test_files_in_the_folder_come_first_by_their_names(own_folder, no_weights_here, name, files):
    sources = Sources(name, checkpoint="it.pth", embedded=EMBEDDED / "alexnet_conv.safetensors")
    assert stems(name) == files
    assert locate(sources) == sources.embedded
    (no_weights_here / "it.pth").touch()
    assert locate(sources) == no_weights_here / "it.pth"
    for stem in reversed(files):
        for suffix in (".caffemodel", ".npz", ".bin", ".pt", ".pth", ".safetensors"):
            (own_folder / f"{stem}{suffix}").touch()
            assert locate(sources) == own_folder / f"{stem}{suffix}"


def test_other_files_in_the_folder_are_none_of_a_networks(own_folder):
    for name in ("resnet50.txt", "resnet500.pth", "timm-resnet50.pth"):
        (own_folder / name).touch()
    assert locate(Sources("torchvision:resnet50")) is None


def test_weights_given_come_before_all_others(own_folder, alexnet):
    (own_folder / "alexnet.pth").write_bytes(b"broken")
    assert networks.open("alexnet", weights=EMBEDDED / "alexnet_conv.safetensors").digest == alexnet.digest


def test_an_alias_and_the_name_in_full_find_the_same_file(own_folder):
    from torchvision import models

    torch.save({"state_dict": models.squeezenet1_1().state_dict()}, own_folder / "squeezenet.pth")
    found = networks.open("squeezenet", device="cpu")
    assert found.name == "torchvision:squeezenet1_1"
    assert networks.open("torchvision:squeezenet1_1", device="cpu").digest == found.digest


def test_what_the_hugging_face_hub_has_downloaded_is_found_without_a_network(tmp_path):
    """In a process of its own: the hub's library reads the folder's place when it is imported."""
    snapshot = tmp_path / "hub" / "models--timm--test_vit.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    refs = snapshot.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    save_file({"a": torch.ones(1)}, snapshot / "model.safetensors")
    pytest.importorskip("huggingface_hub")
    code = """
from corrcore.networks.lookup import Sources, locate
print(locate(Sources("timm:test_vit.r160_in1k", hub=("timm/test_vit.r160_in1k", "model.safetensors", "other.bin"))))
print(locate(Sources("timm:test_vit.r160_in1k", hub=("timm/test_vit.r160_in1k", "other.bin"))))
"""
    environment = {"HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout.split() == [str(snapshot / "model.safetensors"), "None"], done.stderr


def test_weights_of_a_later_recipe_do_where_the_first_are_not_here(own_folder, no_weights_here):
    from torchvision.models import ResNet50_Weights

    first, second = (each.url.rpartition("/")[2] for each in ResNet50_Weights)
    sources = networks.spec("resnet50").sources
    assert locate(sources) is None
    (no_weights_here / second).touch()
    assert locate(sources) == no_weights_here / second
    (no_weights_here / first).touch()
    assert locate(sources) == no_weights_here / first


def test_weights_that_want_other_pixels_are_not_taken_for_the_first(own_folder, no_weights_here):
    from torchvision.models import VGG16_Weights

    features = VGG16_Weights.IMAGENET1K_FEATURES.url.rpartition("/")[2]
    (no_weights_here / features).touch()
    assert locate(networks.spec("torchvision:vgg16").sources) is None


def test_what_is_missing_is_one_sentence_with_both_remedies(own_folder):
    with pytest.raises(WeightsNotFoundError) as caught:
        networks.open("resnet50")
    assert str(caught.value) == (
        "the weights of torchvision:resnet50 (resnet50-0676ba61.pth) are not on this machine; `corrcore network fetch "
        "torchvision:resnet50` downloads them, or put torchvision-resnet50.safetensors (or .pth) in the folder "
        f"CORRCORE_WEIGHTS ({own_folder})."
    )
    with pytest.raises(WeightsNotFoundError, match=r"^the weights of mine are not on this machine; give a file of wei"):
        find(Sources("mine"))


def test_a_download_says_where_it_is_and_why_it_failed(own_folder, no_weights_here):
    sources = Sources("vgg16", checkpoint="it.pth", fetched=True)
    (own_folder / "vgg16.pth").touch()
    assert download(sources, (no_weights_here / "it.pth").touch) == no_weights_here / "it.pth"

    def fails():
        raise RuntimeError("no route to host.\nsome more")

    with pytest.raises(WeightsNotFoundError) as caught:
        download(sources, fails)
    assert str(caught.value) == (
        "the weights of vgg16 could not be downloaded (no route to host); try again later, or put vgg16.safetensors in "
        "the folder CORRCORE_WEIGHTS."
    )
    with pytest.raises(WeightsNotFoundError, match="downloaded to where they are not looked for"):
        download(Sources("vgg16", checkpoint="another.pth"), lambda: None)


def test_caffes_file_in_the_folder_is_caffenets_with_the_mean_beside_it(own_folder):
    pytest.importorskip("google.protobuf")
    import numpy as np

    from corrcore.networks.caffemodel import read_caffemodel, read_mean
    from tests.networks import caffe_files

    path = caffe_files.write(own_folder / "caffenet.caffemodel", caffe_files.random_weights())
    network = networks.open("caffenet", device="cpu")
    assert network.digest == networks.open("caffenet", weights=read_caffemodel(path), device="cpu").digest
    np.save(own_folder / "caffenet.npy", np.array([90.0, 100.0, 110.0]))
    mean = read_mean(own_folder / "caffenet.npy")
    shifted = networks.open("caffenet", device="cpu")
    assert shifted.digest == networks.open("caffenet", weights=read_caffemodel(path, mean=mean), device="cpu").digest
    assert shifted.digest != network.digest


def test_what_is_on_no_page_costs_no_library(tmp_path):
    code = (
        "import sys\n"
        "from corrcore import networks\n"
        "from corrcore.networks.overview import weights_here\n"
        "print([name for name in networks.aliases() if weights_here(name)], 'timm' in sys.modules)\n"
    )
    (tmp_path / "weights").mkdir()
    nowhere = {"TORCH_HOME": str(tmp_path), "HF_HOME": str(tmp_path), "CORRCORE_WEIGHTS": str(tmp_path / "weights")}

    def said() -> str:
        found = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **nowhere}, capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    assert said() == "[] False"
    (tmp_path / "weights" / "mobilenet_v2.safetensors").touch()
    assert said() == "['mobilenetv2'] False"
