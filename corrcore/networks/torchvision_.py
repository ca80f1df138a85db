"""Networks of torchvision: AlexNet, whose convolutional weights come along, and VGG16."""

import functools
from collections import OrderedDict

from torch import nn

from corrcore.features import Roles
from corrcore.networks.convolutional import ConvolutionalSpec
from corrcore.networks.registry import register
from corrcore.networks.weights import EMBEDDED


def _alexnet() -> nn.Module:
    """The graph of torchvision's AlexNet; to import it from there takes as long as to import torch."""
    features = nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )
    classifier = nn.Sequential(
        *(nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, 1000),
    )
    parts = {"features": features, "avgpool": nn.AdaptiveAvgPool2d(6), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts, classifier=classifier))


def _of_torchvision(name: str) -> nn.Module:
    from torchvision import models  # only where it is needed, see `_alexnet`

    return models.get_model(name, weights=None)


def _vgg16_layers() -> dict[str, str]:
    layers, index = {}, 0
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for convolution in range(1, convolutions + 1):
            layers[f"conv{block}_{convolution}"] = f"features.{index + 1}"
            index += 2
        layers[f"pool{block}"] = f"features.{index}"
        index += 1
    return layers


register(
    ConvolutionalSpec(
        name="alexnet",
        build=_alexnet,
        layers={
            "conv1": "features.1",
            "pool1": "features.2",
            "conv2": "features.4",
            "pool2": "features.5",
            "conv3": "features.7",
            "conv4": "features.9",
            "conv5": "features.11",
            "pool5": "features.12",
        },
        roles=Roles(
            reconstruction=("conv3", "conv4", "conv5"),
            transfer="conv4",
            classification=("conv1", "conv2", "conv3", "conv4", "conv5"),
            detection="conv5",
            retrieval="conv5",
            prior="pool5",
        ),
        global_layers={"fc6": "classifier.2", "fc7": "classifier.5"},
        checkpoint="alexnet-owt-7be5be79.pth",
        embedded=EMBEDDED / "alexnet_conv.safetensors",
    )
)

register(
    ConvolutionalSpec(
        name="vgg16",
        build=functools.partial(_of_torchvision, "vgg16"),
        layers=_vgg16_layers(),
        roles=Roles(
            reconstruction=("conv3_3", "conv4_3", "conv5_3"),
            transfer="conv5_3",
            classification=("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"),
            detection="conv5_3",
            retrieval="conv5_3",
            prior="pool5",
        ),
        global_layers={"fc6": "classifier.1", "fc7": "classifier.4"},
        checkpoint="vgg16-397923af.pth",
    )
)
