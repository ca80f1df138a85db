"""Networks that turn an image into grids of descriptors, by name: an open registry.

>>> from corrcore import networks
>>> networks.names()
('alexnet', 'vgg16', 'caffenet')
"""

from corrcore.networks import torchvision_, timm_, caffe  # noqa: F401, I001 - register their networks, in this order
from corrcore.networks.module import ModuleNetwork
from corrcore.networks.module_spec import ModuleSpec
from corrcore.networks.own import from_module
from corrcore.networks.registry import (
    DEFAULT,
    NetworkSpec,
    aliases,
    families,
    family_names,
    full_name,
    names,
    open,
    register,
    register_family,
    spec,
    split_stride,
    title,
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
    "full_name",
    "names",
    "open",
    "register",
    "register_family",
    "spec",
    "split_stride",
    "title",
    "unregister",
]
