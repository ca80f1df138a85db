"""A finer grid of a vision transformer, by overlapping patches: Amir, Gandelsman, Bagon and Dekel (2021), Section 3.

A transformer cuts an image into patches that lie side by side. Cut every `stride` pixels instead, they overlap, and
there is a descriptor every `stride` pixels after one pass with more tokens. Each token has the position that its patch
has: embeddings are interpolated between those of the patches side by side, so a patch of both grids enters the network
alike. Beyond that it is another function: all tokens see each other, and there are `(patch / stride)^2` as many as the
network has learnt from. Shifted images (`by_shifts`) ask the network for what it has learnt.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

_ROTARY = "RotaryEmbeddingDinoV3"  # whose angles grow with the share of the image, so that differences are all there is


def overlapped(build: Callable[[], nn.Module], stride: int, *, name: str) -> nn.Module:
    """What `build` makes, with its patches cut every `stride` pixels.

    Raises ValueError for a module, called `name`, that is no transformer of patches side by side with a position each,
    and for a stride that does not divide the patch.
    """
    module: Any = build()
    patches = _patches_of(module)
    if len(patches) != 1 or not callable(getattr(module, "_pos_embed", None)) or not _has_known_positions(module):
        msg = f"a grid of {stride} px by overlapping patches needs a vision transformer with an embedding of positions "
        msg += f"for images of any size; {name} is none."
        raise ValueError(msg)
    patch = patch_px(module)
    divisors = [each for each in range(patch - 1, 0, -1) if patch % each == 0]
    if stride not in divisors:
        msg = f"the grid's stride must be one of {', '.join(map(str, divisors))} px, as {name} has patches of {patch} "
        msg += f"px; got {stride}."
        raise ValueError(msg)
    patches[0].stride = (stride, stride)
    module._pos_embed = functools.partial(_positioned, module, patch // stride)
    return module


def patch_px(module: nn.Module) -> int:
    """The side of a transformer's patches."""
    return int(_patches_of(module)[0].kernel_size[0])


def _patches_of(module: nn.Module) -> list[nn.Conv2d]:
    """The convolutions that cut square patches, side by side unless they overlap already."""
    found = [each for each in module.modules() if isinstance(each, nn.Conv2d)]
    return [each for each in found if 1 < each.kernel_size[0] == each.kernel_size[1] and each.padding == (0, 0)]


def _has_known_positions(module: Any) -> bool:
    rotary = getattr(module, "rope", None)
    return getattr(module, "dynamic_img_size", True) and (rotary is None or type(rotary).__name__ == _ROTARY)


def _positioned(module: Any, times: int, patches: torch.Tensor) -> Any:
    """The tokens of patches, (batch, rows, columns, channels), `times` as close as the module has learnt them."""
    plain = functools.partial(type(module)._pos_embed, module)
    rows, columns = patches.shape[1:3]
    sparse = [(side - 1) // times + 1 for side in (rows, columns)]
    found = plain(_nothing(patches, sparse))
    tokens = found[0] if isinstance(found, tuple) else found
    before = tokens.shape[1] - sparse[0] * sparse[1]  # of the class, and registers
    known = tokens[:, before:].transpose(1, 2).unflatten(2, sparse).float()
    between = F.interpolate(known, size=(rows, columns), mode="bicubic", align_corners=True)
    placed = patches.flatten(1, 2) + between.flatten(2).transpose(1, 2).to(patches.dtype)
    tokens = torch.cat([tokens[:, :before].expand(len(patches), -1, -1), placed], dim=1)
    if not isinstance(found, tuple):
        return tokens
    rotary = plain(_nothing(patches, [side * times for side in sparse]))[1]
    if rotary is not None:
        rotary = rotary.unflatten(0, [side * times for side in sparse])[:rows, :columns].flatten(0, 1)
    return tokens, rotary


def _nothing(patches: torch.Tensor, sides: list[int]) -> torch.Tensor:
    return torch.zeros(1, *sides, patches.shape[3], device=patches.device, dtype=patches.dtype)
