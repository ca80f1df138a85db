"""The networks there are, by name. Adding one is one `register` call; see `corrcore.networks.torchvision_` for two."""

import os
from typing import Protocol, runtime_checkable

import torch

from corrcore.features import Extractor
from corrcore.networks.weights import Weights


@runtime_checkable
class NetworkSpec(Protocol):
    """What the registry holds: a name, and how the network of that name is opened."""

    @property
    def name(self) -> str:
        """What it is called on the command line, in files and on pages."""
        ...

    def open(
        self,
        *,
        weights: Weights | str | os.PathLike | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Extractor:
        """The network, ready to describe images."""
        ...


DEFAULT = "alexnet"
"""The network that is asked unless another is named: its weights come along."""

_SPECS: dict[str, NetworkSpec] = {}


def register(spec: NetworkSpec) -> None:
    """Adds a network. Raises ValueError for a name that is taken."""
    if spec.name in _SPECS:
        msg = f"a network's name must be new; {spec.name!r} is registered already."
        raise ValueError(msg)
    _SPECS[spec.name] = spec


def unregister(name: str) -> None:
    """Removes a network that was registered."""
    del _SPECS[name]


def names() -> tuple[str, ...]:
    """The networks there are, in the order they were registered."""
    return tuple(_SPECS)


def spec(name: str) -> NetworkSpec:
    """What is registered under a name. Raises ValueError for an unknown one."""
    if name not in _SPECS:
        msg = f"network must be one of {', '.join(_SPECS)}; got {name!r}."
        raise ValueError(msg)
    return _SPECS[name]


def open(  # noqa: A001 - registries open by name
    name: str = DEFAULT,
    *,
    weights: Weights | str | os.PathLike | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Extractor:
    """A network by name, ready to describe images.

    `weights` may be a state dict or a ``.safetensors`` file under the module's own names. By default they are looked
    for on this machine (`corrcore.networks.weights.find`); nothing is ever fetched from elsewhere.

    Raises ValueError for an unknown name and WeightsNotFoundError where there are no weights on this machine.

    >>> import numpy as np
    >>> from corrcore import networks
    >>> alexnet = networks.open("alexnet", device="cpu")
    >>> grids = alexnet.extract(np.zeros((240, 320, 3), np.uint8), ["conv3", "conv5"])
    >>> grids["conv5"].descriptors.shape, grids["conv5"].receptive_field
    (torch.Size([14, 19, 256]), ReceptiveField(size=163, stride=16, offset=15.0))
    """
    return spec(name).open(weights=weights, device=device, dtype=dtype)
