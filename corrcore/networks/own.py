"""One's own torch module as a network that every task takes."""

import copy
import os
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from corrcore.features import Roles
from corrcore.networks.module import ModuleNetwork
from corrcore.networks.module_spec import IMAGENET_MEAN, IMAGENET_STD, ModuleSpec
from corrcore.networks.weights import Weights


class _Copied:
    """Builds copies of a module; pickles with it."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self) -> nn.Module:
        return copy.deepcopy(self._module)


def from_module(
    module: nn.Module,
    *,
    layers: Mapping[str, str] | Sequence[str] | None = None,
    name: str = "",
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    roles: Roles | None = None,
    weights: Weights | str | os.PathLike | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    train_px: int | None = None,
) -> ModuleNetwork:
    """A torch module with its weights, as an extractor; the module itself stays as it is.

    `layers` are names of submodules whose outputs are grids of descriptors, by depth, or map names of one's own to
    them; by default they are found by rule. Pixels, RGB from 0 to 1, are normalised by `mean` and `std`. `name`, by
    default the class's, is what features and files call it. `weights` take the place of the module's, as
    `corrcore.networks.open` takes them. `train_px` is the side of the images that it was trained on, by default 224 or
    the next that its strides divide; where windows lie askew on these, cells stand where what they describe is
    (`ReceptiveField.balanced`).

    Raises ValueError for a module that takes no RGB images, for layers that it does not have, and for weights of
    another network.

    >>> from torch import nn
    >>> from corrcore import networks
    >>> windows = nn.Conv2d(3, 8, 4, stride=2, padding=1), nn.Conv2d(8, 16, 4, stride=2, padding=1)
    >>> mine = nn.Sequential(windows[0], nn.ReLU(), windows[1], nn.ReLU())
    >>> network = networks.from_module(mine, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="mine")
    >>> network.layers, network.receptive_field("3")
    (('1', '3'), ReceptiveField(size=10, stride=4, offset=1.5))
    """
    known = [path for path, _ in module.named_modules()]
    named = layers if layers is None or isinstance(layers, Mapping) else {path: path for path in layers}
    if named is not None and (absent := [path for path in named.values() if path not in known]):
        msg = f"layers must be names of submodules, such as {', '.join(known[1:4])}; got {', '.join(absent)}."
        raise ValueError(msg)
    called, build = name or type(module).__name__.lower(), _Copied(module)
    spec = ModuleSpec(called, build, named, roles, mean=mean, std=std, train_px=train_px)
    if weights is not None:
        return spec.open(weights=weights, device=device, dtype=dtype)
    return ModuleNetwork(spec, module.state_dict(), device=device, dtype=dtype)
