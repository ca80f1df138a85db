"""Networks that turn an image into grids of descriptors, by name: an open registry.

>>> from corrcore import networks
>>> networks.names()
('alexnet', 'vgg16')
"""

from corrcore.networks import timm_, torchvision_  # noqa: F401 - register their networks
from corrcore.networks.module import ModuleNetwork, ModuleSpec
from corrcore.networks.own import from_module
from corrcore.networks.registry import (
    DEFAULT,
    NetworkSpec,
    aliases,
    families,
    family_names,
    names,
    open,
    register,
    register_family,
    spec,
    unregister,
)
from corrcore.networks.weights import WeightsDamagedError, WeightsNotFoundError

__all__ = [
    "DEFAULT",
    "ModuleNetwork",
    "ModuleSpec",
    "NetworkSpec",
    "WeightsDamagedError",
    "WeightsNotFoundError",
    "aliases",
    "families",
    "family_names",
    "from_module",
    "names",
    "open",
    "register",
    "register_family",
    "spec",
    "unregister",
]
