"""Shapes of what operations give, against torch's own answers."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from corrcore.networks import without_content
from corrcore.networks.without_content import WithoutContent


def image(*shape):
    return torch.empty(*shape, device="meta")


def kernels(*shape):
    return torch.empty(*shape, device="meta")


OPERATIONS = {
    "convolution": lambda: F.conv2d(image(2, 3, 31, 40), kernels(8, 3, 5, 3), stride=2, padding=1),
    "by axis": lambda: F.conv2d(
        image(1, 4, 31, 40), kernels(6, 4, 3, 5), stride=(2, 3), padding=(0, 4), dilation=(3, 2)
    ),
    "in groups": lambda: F.conv2d(image(1, 4, 9, 9), kernels(6, 2, 3, 3), groups=2),
    "along a line": lambda: F.conv1d(image(1, 4, 9), kernels(6, 4, 3)),
    "of one image": lambda: F.conv2d(image(3, 9, 9), kernels(6, 3, 3, 3)),
    "transposed": lambda: F.conv_transpose2d(image(1, 4, 9, 9), kernels(4, 6, 3, 3), stride=2),
    "pooling": lambda: F.max_pool2d(image(2, 3, 31, 40), 3, 2),
    "pooling, padded": lambda: F.max_pool2d(image(2, 3, 31, 40), (3, 2), padding=1, dilation=(2, 1)),
    "pooling by its own side": lambda: F.max_pool2d(image(3, 31, 40), (2, 5)),
    "pooling beyond the border": lambda: F.max_pool2d(image(1, 3, 32, 33), 3, 2, ceil_mode=True),
    "pooling's places": lambda: F.max_pool2d(image(1, 3, 32, 33), 2, return_indices=True)[1],
    "half precision": lambda: F.conv2d(image(1, 3, 9, 9).half(), kernels(6, 3, 3, 3).half()),
    "relu": lambda: F.relu(image(2, 3, 4)),
    "relu in place": lambda: F.relu_(image(2, 3, 4)),
    "average": lambda: F.adaptive_avg_pool2d(image(2, 3, 31, 40), (6, 5)),
    "linear": lambda: F.linear(image(2, 12), kernels(5, 12), kernels(5)),
    "what torch answers": lambda: F.gelu(image(2, 3, 4)) + 1,
    "one number for both axes": lambda: F.conv2d(image(1, 3, 9, 9), kernels(6, 3, 3, 3), stride=[2], padding=[1]),
    "a share of the bias": lambda: torch.addmm(kernels(5), image(2, 12), kernels(12, 5), beta=0.5),
    "channels last": lambda: F.relu(F.conv2d(image(1, 3, 9, 9), kernels(6, 3, 3, 3)).permute(0, 2, 3, 1)),
    "pooling, channels last": lambda: F.max_pool2d(image(1, 9, 9, 4).permute(0, 3, 1, 2), 2),
    "convolution, channels last": lambda: F.conv2d(image(1, 9, 9, 3).permute(0, 3, 1, 2), kernels(6, 3, 3, 3)),
    "average of one image": lambda: F.adaptive_avg_pool2d(image(3, 31, 40), 6),
}
REFUSED = {
    "a window larger than the image": lambda: F.conv2d(image(1, 3, 4, 40), kernels(8, 3, 5, 5)),
    "a padded window": lambda: F.conv2d(image(1, 3, 2, 2), kernels(8, 3, 7, 7), padding=2),
    "pooling what is smaller": lambda: F.max_pool2d(image(1, 3, 2, 2), 3, 2),
    "pooling, padded by more than half": lambda: F.max_pool2d(image(1, 3, 9, 9), 2, padding=2),
    "pooling in steps of none": lambda: F.max_pool2d(image(1, 3, 9, 9), 2, stride=0),
    "pooling lines": lambda: F.max_pool2d(image(3, 9), 2),
    "pooling volumes": lambda: F.max_pool2d(image(1, 3, 9, 9, 9), 2),
    "pooling no channels": lambda: F.max_pool2d(image(1, 0, 9, 9), 2),
    "average of volumes": lambda: F.adaptive_avg_pool2d(image(1, 3, 9, 9, 9), 6),
    "a bias of another length": lambda: torch.addmm(kernels(4), image(2, 12), kernels(12, 5)),
    "other channels": lambda: F.conv2d(image(1, 4, 9, 9), kernels(8, 3, 5, 5)),
    "other features": lambda: F.linear(image(2, 11), kernels(5, 12), kernels(5)),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_shapes_are_torchs(operation):
    with torch.no_grad():
        there = OPERATIONS[operation]()
        with WithoutContent():
            found = OPERATIONS[operation]()
    assert found.is_meta
    assert (found.shape, found.dtype, found.stride()) == (there.shape, there.dtype, there.stride())


@pytest.mark.parametrize("operation", REFUSED)
def test_what_torch_refuses_is_refused(operation):
    with torch.no_grad():
        with pytest.raises((RuntimeError, IndexError)):
            REFUSED[operation]()
        with WithoutContent(), pytest.raises((RuntimeError, IndexError)):
            REFUSED[operation]()


def test_content_is_computed_with():
    image, weight = torch.rand(1, 3, 9, 9), torch.rand(4, 3, 3, 3)
    with torch.no_grad(), WithoutContent():
        found = F.conv2d(image, weight)
    assert torch.equal(found, F.conv2d(image, weight))


def test_a_submodules_output_and_what_is_not_reached():
    with torch.device("meta"):
        module = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 18, 5))
    assert without_content.output_of(module, "1", (31, 40)).shape == (1, 8, 14, 18)
    assert without_content.output_of(module, "", (31, 40)).shape == (1, 5)
    with pytest.raises(RuntimeError):
        without_content.output_of(module, "3", (31, 41))


def test_a_plain_network_is_opened_and_run_without_torchs_compiler():
    """Which takes a second and much memory to import, of every command and of every server."""
    lines = """
import sys
import numpy as np
from corrcore import networks
network = networks.open("alexnet", device="cpu")
network.extract(np.zeros((200, 300, 3), np.uint8), network.layers)
print(*(name for name in ("torch._dynamo", "torch._inductor", "sympy", "torchvision") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
