"""The networks there are, by name. Adding one is one `register` call; see `corrcore.networks.torchvision_` for two.

Whole libraries are families: `open("torchvision:resnet50")` asks the family for the network of that name.
"""

import numbers
import os
from collections.abc import Callable
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


@runtime_checkable
class FinerSpec(Protocol):
    """That of a network that may have a finer grid."""

    def finer(self, grid_stride: int) -> NetworkSpec:
        """That of the network with a cell every `grid_stride` pixels."""
        ...


DEFAULT = "alexnet"
"""The network that is asked unless another is named: its weights come along."""

_SPECS: dict[str, NetworkSpec] = {}
_FAMILIES: dict[str, tuple[Callable[[str], NetworkSpec], Callable[[], tuple[str, ...]]]] = {}
_ALIASES: dict[str, str] = {
    "resnet50": "torchvision:resnet50",
    "mobilenetv2": "torchvision:mobilenet_v2",
    "squeezenet": "torchvision:squeezenet1_1",
    "convnext-t": "torchvision:convnext_tiny",
    "efficientnet-lite0": "timm:tf_efficientnet_lite0.in1k",
    "dinov2-s": "timm:vit_small_patch14_dinov2.lvd142m",
    "dinov2-b": "timm:vit_base_patch14_dinov2.lvd142m",
    "dinov3-s": "timm:vit_small_patch16_dinov3.lvd1689m",
    "clip-b": "timm:vit_base_patch16_clip_224.openai",
}
"""Short names of networks that are often asked."""

_TITLES: dict[str, str] = {
    "alexnet": "AlexNet",
    "vgg16": "VGG16",
    "caffenet": "CaffeNet",
    "torchvision:resnet50": "ResNet-50",
    "torchvision:mobilenet_v2": "MobileNetV2",
    "torchvision:squeezenet1_1": "SqueezeNet 1.1",
    "torchvision:convnext_tiny": "ConvNeXt-T",
    "timm:tf_efficientnet_lite0.in1k": "EfficientNet-Lite0",
    "timm:vit_small_patch14_dinov2.lvd142m": "ViT-S/14 as in DINOv2",
    "timm:vit_base_patch14_dinov2.lvd142m": "ViT-B/14 as in DINOv2",
    "timm:vit_small_patch16_dinov3.lvd1689m": "ViT-S/16 as in DINOv3",
    "timm:vit_base_patch16_clip_224.openai": "ViT-B/16 as in CLIP",
}
"""What networks are called in print, by their full names: by architecture, since weights may be anybody's."""


def register(spec: NetworkSpec) -> None:
    """Adds a network. Raises ValueError for a name that is taken."""
    if spec.name in _SPECS:
        msg = f"a network's name must be new; {spec.name!r} is registered already."
        raise ValueError(msg)
    _SPECS[spec.name] = spec


def register_family(family: str, spec: Callable[[str], NetworkSpec], names: Callable[[], tuple[str, ...]]) -> None:
    """Adds all networks of a library: ``family:name`` is what `spec` makes of the name; `names` are those there are."""
    _FAMILIES[family] = spec, names


def families() -> tuple[str, ...]:
    """The libraries whose networks can be asked."""
    return tuple(_FAMILIES)


def family_names(family: str) -> tuple[str, ...]:
    """The networks of a library, in full. Raises ValueError for an unknown one."""
    if family not in _FAMILIES:
        msg = f"family must be one of {', '.join(_FAMILIES)}; got {family!r}."
        raise ValueError(msg)
    return tuple(f"{family}:{name}" for name in _FAMILIES[family][1]())


def aliases() -> dict[str, str]:
    """Short names of networks of libraries, and the full ones."""
    return dict(_ALIASES)


def full_name(name: str) -> str:
    """The name that a network goes by in features, files and results: that of a library in place of a short one.

    >>> full_name("resnet50"), full_name("alexnet")
    ('torchvision:resnet50', 'alexnet')
    """
    plain, stride = split_stride(name)
    full = plain if plain in _SPECS else _ALIASES.get(plain, plain)
    return full if stride is None else f"{full}@{stride}"


def split_stride(name: str) -> tuple[str, int | None]:
    """A network's name, and the stride of the finer grid that it is asked for.

    >>> split_stride("dinov2-s@7"), split_stride("alexnet")
    (('dinov2-s', 7), ('alexnet', None))
    """
    plain, at, stride = name.rpartition("@")
    return (plain, int(stride)) if at and name not in _SPECS and stride.isdecimal() else (name, None)


def title(name: str) -> str:
    """What a network is called in print; its name where that is not known.

    >>> title("dinov2-s"), title("torchvision:mobilenet_v2"), title("torchvision:resnet18")
    ('ViT-S/14 as in DINOv2', 'MobileNetV2', 'torchvision:resnet18')
    >>> title("dinov2-s@7")
    'ViT-S/14 as in DINOv2, every 7 px'
    """
    plain, stride = split_stride(full_name(name))
    return _TITLES.get(plain, plain) + ("" if stride is None else f", every {stride} px")


def unregister(name: str) -> None:
    """Removes a network that was registered."""
    del _SPECS[name]


def names() -> tuple[str, ...]:
    """The networks there are, in the order they were registered."""
    return tuple(_SPECS)


def spec(name: str) -> NetworkSpec:
    """What is registered under a name, or what a library has by it. Raises ValueError for an unknown one."""
    if name in _SPECS:
        return _SPECS[name]
    plain, stride = split_stride(name)
    if stride is not None:
        if split_stride(plain)[1] is not None:
            msg = f"network must name one grid, such as {split_stride(plain)[0]}@{stride}; got {name!r}."
            raise ValueError(msg)
        found = spec(plain)
        if not isinstance(found, FinerSpec):
            msg = f"{plain} has no grid of {stride} px: only vision transformers have finer ones."
            raise ValueError(msg)
        return found.finer(stride)
    family, colon, inner = full_name(name).partition(":")
    if colon and inner and family in _FAMILIES:
        return _FAMILIES[family][0](inner)
    meant = [f"{family}:{name}" for family, (_, known) in _FAMILIES.items() if name in known()]
    msg = (
        f"network must be one of {', '.join([*_SPECS, *_ALIASES])}, or a library's such as "
        f"{' or '.join(meant or (f'{family}:NAME' for family in _FAMILIES))}; got {name!r}."
    )
    raise ValueError(msg)


def open(  # noqa: A001 - registries open by name
    name: str = DEFAULT,
    *,
    weights: Weights | str | os.PathLike | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    grid_stride: int | None = None,
) -> Extractor:
    """A network by name, ready to describe images.

    With `grid_stride` a vision transformer has a cell every so many pixels, by overlapping patches
    (`corrcore.networks.overlapping`); "dinov2-s@7" is the name of such a network, wherever names are taken.

    `weights` may be a state dict or a file of any usual kind (`corrcore.networks.weights.read`), whose names may begin
    otherwise than the module's (`corrcore.networks.fitting`). By default they are looked for on this machine
    (`corrcore.networks.lookup`); nothing is ever downloaded here.

    Networks run in single precision on every device unless `dtype` asks for half, which takes half the memory; results
    of each are filed apart, by the digest. The error of `torch.float16` is small: of AlexNet, MobileNetV2 and DINOv2's
    ViT-S no cell of three layers has a cosine below 0.999 to single precision on four photos. That of `torch.bfloat16`
    is not: 0.948, in MobileNetV2 (`python tests/benchmarks/half_precision.py alexnet mobilenetv2 dinov2-s`, on a CPU).

    Raises ValueError for an unknown name, for another network's weights and for a `grid_stride` that is no positive
    whole number or that the network cannot have, WeightsNotFoundError where there are none on this machine, and
    WeightsDamagedError where they cannot be read.

    >>> import numpy as np
    >>> from corrcore import networks
    >>> alexnet = networks.open("alexnet", device="cpu")
    >>> grids = alexnet.extract(np.zeros((240, 320, 3), np.uint8), ["conv3", "conv5"])
    >>> grids["conv5"].descriptors.shape, grids["conv5"].receptive_field
    (torch.Size([14, 19, 256]), ReceptiveField(size=163, stride=16, offset=15.0))
    """
    if grid_stride is not None:
        whole = isinstance(grid_stride, numbers.Integral) and not isinstance(grid_stride, bool)
        if not whole or grid_stride < 1:
            msg = f"grid_stride must be a whole number of pixels from 1; got {grid_stride!r}."
            raise ValueError(msg)
        plain, named = split_stride(name)
        if named not in (None, grid_stride):
            msg = f"{name} names a grid of {named} px; got a grid_stride of {grid_stride}, too. Give one of them."
            raise ValueError(msg)
        name = f"{plain}@{grid_stride}"
    return spec(name).open(weights=weights, device=device, dtype=dtype)
