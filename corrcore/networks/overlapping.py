"""A finer grid of a vision transformer, by overlapping patches: Amir, Gandelsman, Bagon and Dekel (2021), Section 3.

A transformer cuts an image into patches that lie side by side. Cut every `stride` pixels instead, they overlap, and
there is a descriptor every `stride` pixels after one pass with more tokens. Each token has the position that its patch
has: embeddings are interpolated between those of the patches side by side, so a patch of both grids enters the network
alike. Beyond that it is another function: all tokens see each other, and there are `(patch / stride)^2` as many as the
network has learnt from. Shifted images (`by_shifts`) ask the network for what it has learnt.

Which takes less work? What tokens cost by themselves is the same; attention, by the square of their number, is not.
DINOv2's ViT-S/14 up to its tenth block, seconds of one processor's time (`python tests/benchmarks/finer_grids.py`):

| image, px | stride, px | overlapping patches | shifted images |
|---|---|---|---|
| 140 | 7 | 0.16 | 4 passes, 0.19 |
| 224 | 7 | 0.50 | 4 passes, 0.44 |
| 392 | 7 | 2.5 | 4 passes, 1.5 |
| 448 | 7 | 4.1 | 4 passes, 2.1 |
| 224 | 2 | 26 | 49 passes, 5.5 |

So shifts are the rule for maps of every pixel: less work but for the smallest images, one pass's memory, and the
values that the network's own grid has. Those of overlapping patches at 392 px have a mean cosine of 0.98 to them.

What is a finer grid worth? Keypoints of cows matched by nearest neighbours, 448 px, all 640 test pairs of SPair-71k
(`corrcore evaluate pairs --data SPair-71k --categories cow --features blocks.9 --network dinov2-s@7`, and without
`@7`), PCK per point with 95 % intervals:

| grid | at 0.1, % | at 0.05, % |
|---|---|---|
| the network's own, every 14 px | 28.2 [23.8, 32.3] | 15.5 [12.4, 18.6] |
| overlapping patches, every 7 px | 32.4 [27.1, 37.4] | 19.1 [14.9, 23.3] |
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
