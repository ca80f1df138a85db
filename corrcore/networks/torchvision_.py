"""Networks of torchvision: AlexNet, whose convolutional weights come along, VGG16, and all others by their names."""

import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from corrcore.features import Roles
from corrcore.networks.module_spec import IMAGENET_MEAN, IMAGENET_STD, ModuleSpec
from corrcore.networks.registry import register, register_family
from corrcore.networks.weights import EMBEDDED, Weights

FAMILY = "torchvision"

ALEXNET_ROLES = Roles(
    reconstruction=("conv3", "conv4", "conv5"),
    transfer="conv4",
    classification=("conv1", "conv2", "conv3", "conv4", "conv5"),
    detection="conv5",
    retrieval="conv5",
    prior="pool5",
)
"""The layers that tasks take by default of AlexNet, and of networks whose layers are called as its."""


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


def build(name: str, *, side: int | None = None) -> nn.Module:
    """A classification network of torchvision without its weights; a vision transformer for images of `side` pixels.

    Raises ValueError for an unknown name.
    """
    from torchvision import models  # only where it is needed, see `_alexnet`

    _check(name)
    inception = name in ("googlenet", "inception_v3")
    options: dict[str, Any] = {"init_weights": False, "aux_logits": False} if inception else {}
    if side is not None:
        options["image_size"] = side
    module = models.get_model(name, weights=None, **options)
    return _AnySize(module) if isinstance(module, models.VisionTransformer) else module


def _check(name: str) -> None:
    if name not in (known := names()):
        msg = f"torchvision's networks are {', '.join(known)}; got {name!r}."
        raise ValueError(msg)


class _AnySize(nn.Module):
    """torchvision's vision transformer for images of any multiple of its patch: the position embedding is resized."""

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.conv_proj, self.encoder = transformer.conv_proj, transformer.encoder
        self.class_token = transformer.class_token

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """All tokens, the class token first."""
        tokens = self._pos_embed(self.conv_proj(image).permute(0, 2, 3, 1))
        return self.encoder.ln(self.encoder.layers(self.encoder.dropout(tokens)))

    def _pos_embed(self, patches: torch.Tensor) -> torch.Tensor:
        """The tokens of patches, (batch, rows, columns, channels): named and called as timm's."""
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches.flatten(1, 2)], dim=1)
        return tokens + self._positions(patches.shape[1], patches.shape[2])

    def _positions(self, rows: int, columns: int) -> torch.Tensor:
        position = self.encoder.pos_embedding
        side = round((position.shape[1] - 1) ** 0.5)
        if rows == columns == side:
            return position
        grid = position[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        resized = F.interpolate(grid, size=(rows, columns), mode="bicubic", antialias=True)
        return torch.cat([position[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def fetch(name: str) -> None:
    """Downloads the first of the weights that torchvision has of a network to torch's folder, unless they are there."""
    from torchvision import models

    next(iter(models.get_model_weights(name))).get_state_dict(progress=True, check_hash=True)


def _adapt(name: str, module: nn.Module, weights: Weights) -> Iterator[tuple[Callable[[], nn.Module], Weights]]:
    """A vision transformer's weights that have learnt from images of another size: it is built for that one."""
    position = weights.get("encoder.pos_embedding")
    if isinstance(module, _AnySize) and position is not None and position.ndim == 3:
        side = math.isqrt(position.shape[1] - 1)
        if side > 0 and side * side == position.shape[1] - 1:
            patch = module.conv_proj.kernel_size[0]
            yield functools.partial(build, name, side=side * patch), weights


def spec(name: str) -> ModuleSpec:
    """Any classification network of torchvision by its name there: layers by depth, pixels as its weights want them.

    Raises ValueError for an unknown name.
    """
    from torchvision import models

    _check(name)
    known: list[Any] = list(models.get_model_weights(name))
    best = known[0] if known else None
    about = _pixels_of(best)
    return ModuleSpec(
        name=f"{FAMILY}:{name}",
        build=functools.partial(build, name),
        mean=about.get("mean", IMAGENET_MEAN),
        std=about.get("std", IMAGENET_STD),
        checkpoint=best.url.rpartition("/")[2] if best is not None else "",
        fetch=functools.partial(fetch, name) if best is not None else None,
        adapt=functools.partial(_adapt, name),
        train_px=next(iter(vars(best.transforms()).get("crop_size", ())), None) if best is not None else None,
        others=tuple(each.url.rpartition("/")[2] for each in known[1:] if _pixels_of(each) == about),
    )


def _pixels_of(weights: Any) -> Mapping[str, Any]:
    """How weights want pixels normalised."""
    found = vars(weights.transforms()) if weights is not None else {}
    return {key: tuple(found[key]) for key in ("mean", "std") if key in found}


def names() -> tuple[str, ...]:
    """The names that `spec` takes."""
    from torchvision import models

    return tuple(models.list_models(module=models))


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
    ModuleSpec(
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
        roles=ALEXNET_ROLES,
        global_layers={"fc6": "classifier.2", "fc7": "classifier.5"},
        checkpoint="alexnet-owt-7be5be79.pth",
        fetch=functools.partial(fetch, "alexnet"),
        embedded=EMBEDDED / "alexnet_conv.safetensors",
    )
)

register(
    ModuleSpec(
        name="vgg16",
        build=functools.partial(build, "vgg16"),
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
        fetch=functools.partial(fetch, "vgg16"),
    )
)

register_family(FAMILY, spec, names)
