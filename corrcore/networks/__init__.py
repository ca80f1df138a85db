"""Networks that turn an image into grids of descriptors, by name: an open registry.

>>> from corrcore import networks
>>> networks.names()
('alexnet', 'vgg16')
"""

from corrcore.networks import torchvision_  # noqa: F401 - registers its networks
from corrcore.networks.convolutional import ConvolutionalNetwork, ConvolutionalSpec
from corrcore.networks.registry import DEFAULT, NetworkSpec, names, open, register, spec, unregister  # noqa: A004
from corrcore.networks.weights import WeightsDamagedError, WeightsNotFoundError

__all__ = [
    "DEFAULT",
    "ConvolutionalNetwork",
    "ConvolutionalSpec",
    "NetworkSpec",
    "WeightsDamagedError",
    "WeightsNotFoundError",
    "names",
    "open",
    "register",
    "spec",
    "unregister",
]
