import gc
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from corrcore import images, networks
from corrcore import patch_index as indexes
from tests.gpu.pretended import REAL, pretended

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes that share the cores, as their servers do
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("CORRCORE_JOB_PROCESSES", "0")  # what a test registers is known in its own process alone


def pytest_collection_finish() -> None:
    """What is imported by now stays: Streamlit has all memory searched for garbage after each run of a page."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class ArrayPhoto:
    """A photo that is in memory already."""

    name: str
    pixels: np.ndarray

    def load(self) -> np.ndarray:
        return self.pixels


def smooth_noise(width: int, height: int, seed: int) -> np.ndarray:
    """A picture with structure at several scales, different for every seed."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for side in (4, 12, 40):
        coarse = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        picture += images.resize_to(coarse, height=height, width=width)
    return np.rint(picture / 3).astype(np.uint8)


@pytest.fixture
def cuda():
    """A CUDA device: the first one that is here, or what pretends to be one."""
    if REAL:
        yield torch.device("cuda")
        return
    with pretended() as device:
        yield device


@pytest.fixture(scope="session")
def alexnet():
    return networks.open("alexnet", device="cpu")


@pytest.fixture(scope="session")
def vgg16_weights(data_folder, tmp_path_factory):
    """A folder with VGG16's convolutional weights, under the names its module has; CORRCORE_WEIGHTS names it."""
    source = data_folder.parent / "weights" / "vgg16_torchvision_conv_fp16.npz"
    if not source.is_file():
        pytest.skip(f"no weights of VGG16 in {source.parent}")
    folder, nodes = tmp_path_factory.mktemp("weights"), networks.spec("vgg16").layers
    weights = {}
    with np.load(source) as arrays:
        for name in arrays.files:
            layer, kind = name.split(".")
            block, number = nodes[layer].split(".")  # of the ReLU, which follows its convolution
            weights[f"{block}.{int(number) - 1}.{kind}"] = torch.from_numpy(arrays[name])
    save_file(weights, folder / "vgg16.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORRCORE_WEIGHTS", str(folder))
        yield folder


@pytest.fixture(scope="session")
def small_photos():
    """Six photos of odd and even sizes; the last is a little larger than two receptive fields of conv3."""
    sizes = [(120, 90), (97, 131), (150, 150), (64, 80), (131, 99), (260, 210)]
    return [ArrayPhoto(f"photo{n}.png", smooth_noise(*size, seed=n)) for n, size in enumerate(sizes)]


@pytest.fixture(scope="session")
def small_index(alexnet, small_photos, tmp_path_factory):
    """Those photos at two scales and mirrored: conv3 and conv5."""
    folder = tmp_path_factory.mktemp("indexes") / "small"
    return indexes.build(
        small_photos, folder, extractor=alexnet, layers=("conv3", "conv5"), scales=(1.0, 0.6), mirror=True
    )


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data; tests that need it are skipped without it."""
    folder = os.environ.get("CORRCORE_DATA")
    if not folder:
        pytest.skip("CORRCORE_DATA names no folder of real photos")
    return Path(folder)


@pytest.fixture(scope="session")
def machines():
    """A Ray cluster of two machines, joined; whoever kills one of them leaves two."""
    from tests.machines import running

    with running() as found:
        yield found


def relabelled(extractor, **attributes):
    """The same extractor with other attributes, such as the digest of other weights."""
    other = object.__new__(type("Relabelled", (type(extractor),), attributes))
    vars(other).update({name: value for name, value in vars(extractor).items() if name not in attributes})
    return other
