"""Networks of timm, by their names there: ``timm:vit_small_patch14_dinov2.lvd142m``. An extra: ``corrcore[timm]``."""

import functools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from corrcore.networks.module_spec import ModuleSpec
from corrcore.networks.registry import register_family
from corrcore.networks.weights import Weights

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


def build(name: str, *, side: int | None = None) -> nn.Module:
    """A network of timm without its weights and its head, for images of any size where it can be.

    With `side` its position embedding is that of images of so many pixels.

    Raises ValueError for an unknown name, and where timm is not installed.
    """
    timm = _timm()
    architecture = name.partition(".")[0]
    _check(timm, architecture)
    given = {"num_classes": 0} if side is None else {"num_classes": 0, "img_size": side}
    for options in _ANY_SIZE[:-1]:
        try:
            return timm.create_model(name, pretrained=False, **given, **options)
        except TypeError:  # not all networks know of it
            continue
    return timm.create_model(name, pretrained=False, **given)


def _check(timm: Any, architecture: str) -> None:
    if not timm.is_model(architecture):
        msg = f"timm has no network named {architecture!r}; `corrcore network list --family timm` lists them."
        raise ValueError(msg)


def fetch(name: str) -> None:
    """Downloads a network's weights by timm, to the Hugging Face hub's own cache, unless they are there."""
    _timm().create_model(name, pretrained=True)


def _adapt(name: str, module: nn.Module, weights: Weights) -> Iterator[tuple[Callable[[], nn.Module], Weights]]:
    """A transformer built for the images its weights have learnt from; other names and shapes as timm converts them."""
    plain = functools.partial(build, name)
    side = _side_of(module, weights.get("pos_embed"))
    if side is not None:
        yield functools.partial(build, name, side=side), weights
    convert = getattr(sys.modules[type(module).__module__], "checkpoint_filter_fn", None)
    if convert is not None:
        try:
            converted = convert(dict(weights), module)
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            return  # it is for checkpoints that it knows
        yield plain, converted


def _side_of(module: Any, position: torch.Tensor | None) -> int | None:
    """The side, in pixels, of the images that a position embedding is for; None where that is not to be known."""
    own: torch.Tensor | None = getattr(module, "pos_embed", None)
    patches: Any = getattr(module, "patch_embed", None)
    if own is None or position is None or not hasattr(patches, "num_patches") or own.ndim != 3 or position.ndim != 3:
        return None
    n = position.shape[1] - (own.shape[1] - patches.num_patches)  # besides those of the class and of registers
    side = math.isqrt(n) if n > 0 else 0
    return side * patches.patch_size[0] if side and side * side == n else None


def spec(name: str) -> ModuleSpec:
    """Any network of timm by its name there: layers by depth, pixels as its weights want them.

    Raises ValueError for an unknown name, and where timm is not installed.
    """
    timm = _timm()
    architecture = name.partition(".")[0]
    _check(timm, architecture)
    try:
        found = timm.get_pretrained_cfg(name)
    except RuntimeError:
        known = [each for each in timm.list_pretrained(f"{architecture}.*") if each.partition(".")[0] == architecture]
        msg = f"timm's weights of {architecture} must be one of {', '.join(known) or 'none'}; got {name!r}."
        raise ValueError(msg) from None
    about = found.to_dict() if found is not None else {}
    repository, file = about.get("hf_hub_id") or "", about.get("hf_hub_filename") or ""
    files = ("model.safetensors", "pytorch_model.bin") if not file else (file.replace(".bin", ".safetensors"), file)
    return ModuleSpec(
        name=f"{FAMILY}:{name}",
        build=functools.partial(build, name),
        mean=tuple(about.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(about.get("std", (0.229, 0.224, 0.225))),
        checkpoint=(about.get("url") or "").rpartition("/")[2],
        hub=(repository, *files) if repository else (),
        fetch=functools.partial(fetch, name) if repository or about.get("url") else None,
        adapt=functools.partial(_adapt, name),
        train_px=(about.get("input_size") or (None,))[-1],
    )


def names() -> tuple[str, ...]:
    """The names that `spec` takes; none where timm is not installed."""
    try:
        return tuple(_timm().list_models(pretrained=True))
    except ValueError:
        return ()


register_family(FAMILY, spec, names)
