"""Networks of timm, by their names there: ``timm:vit_small_patch14_dinov2.lvd142m``. An extra: ``corrcore[timm]``."""

import functools
from typing import Any

from torch import nn

from corrcore.networks.module import ModuleSpec
from corrcore.networks.registry import register_family

FAMILY = "timm"
_ANY_SIZE = (
    {"dynamic_img_size": True},
    {"strict_img_size": False, "dynamic_mask": True},
    {"strict_img_size": False},
    {},
)


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        msg = "networks of timm need the package timm; install it with `pip install 'corrcore[timm]'`."
        raise ValueError(msg) from error
    return timm


def build(name: str) -> nn.Module:
    """A network of timm without its weights and its head, for images of any size where it can be.

    Raises ValueError for an unknown name, and where timm is not installed.
    """
    timm = _timm()
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        msg = f"timm has no network named {architecture!r}; `corrcore network list --family timm` lists them."
        raise ValueError(msg)
    for options in _ANY_SIZE[:-1]:
        try:
            return timm.create_model(name, pretrained=False, num_classes=0, **options)
        except TypeError:  # not all networks know of it
            continue
    return timm.create_model(name, pretrained=False, num_classes=0)


def spec(name: str) -> ModuleSpec:
    """Any network of timm by its name there: layers by depth, pixels as its weights want them.

    Raises ValueError for an unknown name, and where timm is not installed.
    """
    timm = _timm()
    if not timm.is_model(name.partition(".")[0]):
        build(name)
    found = timm.get_pretrained_cfg(name)
    about = found.to_dict() if found is not None else {}
    return ModuleSpec(
        name=f"{FAMILY}:{name}",
        build=functools.partial(build, name),
        mean=tuple(about.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(about.get("std", (0.229, 0.224, 0.225))),
    )


def names() -> tuple[str, ...]:
    """The names that `spec` takes; none where timm is not installed."""
    try:
        return tuple(_timm().list_models(pretrained=True))
    except ValueError:
        return ()


register_family(FAMILY, spec, names)
