"""CaffeNet, the paper's network: its graph as Caffe has it, in plain torch modules under Caffe's names.

The network of Caffe's model zoo, ``bvlc_reference_caffenet``: AlexNet (Krizhevsky, Sutskever and Hinton, 2012) with
each pooling before its normalisation. Its weights are read by `corrcore.networks.caffemodel`.

Caffe's network takes pixels in the order BGR, from 0 to 255, minus a mean. This one takes RGB, as all others do: for
pixels from 0 to 1, ``(rgb - MEAN) / STD`` is what Caffe computes, but for the order of channels. The order is put right
in conv1's weights as they are read.
"""

from collections import OrderedDict

import torch
from torch import nn

from corrcore.networks.module_spec import ModuleSpec
from corrcore.networks.registry import register
from corrcore.networks.torchvision_ import ALEXNET_ROLES

BGR_MEAN = (104.00698793, 116.66876762, 122.67891434)
"""The mean of ILSVRC 2012's training photos as Caffe publishes it: blue, green, red, from 0 to 255."""

MEAN = (BGR_MEAN[2] / 255, BGR_MEAN[1] / 255, BGR_MEAN[0] / 255)
"""What is subtracted from RGB pixels from 0 to 1: one value per channel, so that images may have any size.

Caffe's own tools subtract a mean image of 256 x 256 pixels, which fits no other size; this is its mean over all pixels.
"""

STD = (1 / 255, 1 / 255, 1 / 255)
"""What the difference is divided by, which takes pixels back to Caffe's range of 255."""

LAYERS = {
    "conv1": "relu1",
    "pool1": "pool1",
    "norm1": "norm1",
    "conv2": "relu2",
    "pool2": "pool2",
    "norm2": "norm2",
    "conv3": "relu3",
    "conv4": "relu4",
    "conv5": "relu5",
    "pool5": "pool5",
}
"""Layers that are grids, by depth: the name shown to people, and the module whose output it is."""

GLOBAL_LAYERS = {"fc6": "relu6", "fc7": "relu7"}
"""Layers that describe a whole image of `GLOBAL_SIZE` pixels a side, likewise."""

GLOBAL_SIZE = 227
"""The side, in pixels, of the images that the fully connected layers take."""


def build_caffenet() -> nn.Module:
    """CaffeNet with torch's random weights; its modules have Caffe's names, from ``conv1`` to ``fc8``.

    It takes ``(batch, 3, height, width)`` pixels normalised by `MEAN` and `STD`, at any size up to ``pool5`` and at
    `GLOBAL_SIZE` from ``fc6`` on, and gives ``(batch, 1000)`` scores, before the softmax.

    >>> import torch
    >>> with torch.device("meta"):
    ...     build_caffenet()[:-8](torch.empty(1, 3, 227, 227)).shape  # up to pool5
    torch.Size([1, 256, 6, 6])
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 96, 11, stride=4),
            relu1=nn.ReLU(),
            pool1=_pooling(),
            norm1=_Normalisation(),
            conv2=nn.Conv2d(96, 256, 5, padding=2, groups=2),
            relu2=nn.ReLU(),
            pool2=_pooling(),
            norm2=_Normalisation(),
            conv3=nn.Conv2d(256, 384, 3, padding=1),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(384, 384, 3, padding=1, groups=2),
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(384, 256, 3, padding=1, groups=2),
            relu5=nn.ReLU(),
            pool5=_pooling(),
            flatten=nn.Flatten(),
            fc6=nn.Linear(256 * 6 * 6, 4096),
            relu6=nn.ReLU(),
            drop6=nn.Dropout(),
            fc7=nn.Linear(4096, 4096),
            relu7=nn.ReLU(),
            drop7=nn.Dropout(),
            fc8=nn.Linear(4096, 1000),
        )
    )


def _pooling() -> nn.Module:
    """Overlapping windows of 3 x 3 with a stride of 2; the last one may reach beyond the border.

    Caffe and torch both round the number of windows up. They differ only over a last window that begins beyond the
    image, which Caffe keeps where there is no padding; but none does where the stride is no longer than the window.
    """
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


class _Normalisation(nn.LocalResponseNorm):
    """Caffe's local response normalisation across channels; it divides alpha by the size, as torch does.

    In single precision at least, for squares of what it is given are beyond half precision.
    """

    def __init__(self) -> None:
        super().__init__(5, alpha=1e-4, beta=0.75, k=1.0)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch calls it that
        """Normalised values, as precise as what is given."""
        wide = input.float() if input.dtype.itemsize < 4 else input
        return super().forward(wide).to(input.dtype)


register(
    ModuleSpec(
        name="caffenet",
        build=build_caffenet,
        layers=LAYERS,
        roles=ALEXNET_ROLES,
        global_layers=GLOBAL_LAYERS,
        global_size=GLOBAL_SIZE,
        mean=MEAN,
        std=STD,
    )
)
