"""Layers at single-pixel stride: a descriptor for every pixel instead of one every 16.

A network with strides gives descriptors where its grid happens to lie. Shifted by a pixel, the image gives those one
pixel further. All shifts together share their work when no kernel skips anything, and the kernels that follow spread
their taps as far apart as was skipped before ("a trous"; Giusti et al. 2013; Long, Shelhamer and Darrell 2015, Section
3.1). Long, Zhang and Darrell (2014), Section 5, ask for it: a classifier's response at every pixel.

The descriptor of the pixel (x, y) is that of the cell whose receptive field is centred there (half a pixel to the right
and below, where such fields have no middle pixel). Where a field leaves the image there is padding, as in the network
itself: zeros around each layer's values, from where the image's last cell lies. So phase zero, every stride-th pixel
from the network's first cell on, is the network's own grid, border and all; other phases see as much padding as the
pixels' distances from the border make it. Only pixels for which the network, suitably shifted, would have a cell are
described: in AlexNet's conv5 all but the outermost 15 on every side (`valid_region`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn
from torch.nn import functional as F

from corrcore.features import Image
from corrcore.geometry import KernelSpec, PixelBox
from corrcore.precision import single_precision

VERSION = 1  # of what this module computes: results kept by another are not used
BUDGET = 2**30  # bytes of a layer's input and output; what torch needs to get from one to the other comes on top

Normalise = Callable[[UInt8[np.ndarray, "batch height width 3"]], Float[torch.Tensor, "batch 3 height width"]]


@dataclass(frozen=True)
class Step:
    """A module on the way to a layer, its kernel, and how many pixels lie between its neighbouring inputs."""

    module: nn.Module
    kernel: KernelSpec
    jump: int


_POINTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Tanh, nn.Identity),
    *(nn.Dropout, nn.Dropout2d, nn.BatchNorm2d, nn.LocalResponseNorm),
)


def steps_of(module: nn.Module, chain: Sequence[str] | None) -> list[Step]:
    """The submodules named, as steps; empty where one is no window that slides, or there is no chain."""
    steps: list[Step] = []
    jump = 1
    for name in chain or ():
        each = module.get_submodule(name)
        kernel = KernelSpec(1) if isinstance(each, _POINTWISE) else _kernel_of(each)
        if kernel is None:
            return []
        steps.append(Step(each, kernel, jump))
        jump *= kernel.stride
    return steps


def _kernel_of(module: nn.Module) -> KernelSpec | None:
    """The kernel of a square window; None for what cannot be applied at every pixel alike."""
    if type(module) is nn.Conv2d:
        if module.padding_mode != "zeros" or isinstance(module.padding, str):
            return None
    elif not isinstance(module, nn.MaxPool2d) or module.ceil_mode:
        return None
    each = [_one(value) for value in (module.kernel_size, module.stride, module.padding, module.dilation)]
    size, stride, padding, dilation = each
    if size is None or stride is None or padding is None or dilation is None:
        return None
    return KernelSpec(size, stride, padding, dilation)


def _one(value: Any) -> int | None:
    """What is alike along both axes."""
    if isinstance(value, int):
        return value
    return value[0] if len(set(value)) == 1 else None


class _Span(NamedTuple):
    """Positions `start` to `stop`, half-open, along one axis of a node, and how many are missing before and after."""

    start: int
    stop: int
    before: int
    after: int


def valid_region(steps: list[Step], first: int, image_size: tuple[int, int]) -> PixelBox:
    """The pixels of an image of ``(width, height)`` that have a descriptor; the network's first cell is at `first`."""
    width, height = (_lengths(steps, side)[-1] for side in image_size)
    return PixelBox(first, first, first + width, first + height)


def sample_at(
    image: Image, points: Float[np.ndarray, "points 2"], steps: list[Step], first: int, normalised: Normalise
) -> Float[torch.Tensor, "points channels"]:
    """The descriptors of the pixels that hold points, (x, y); of those that have none, of the nearest that has.

    The same as `iter_tiles` gives, without the pixels between: for few, far apart, much less work.
    """
    valid = valid_region(steps, first, (image.shape[1], image.shape[0]))
    found = []
    for x, y in np.floor((points if len(points) else np.zeros((1, 2))) + 0.5).astype(int).tolist():
        column = min(max(x, valid.left), valid.right - 1) - first
        row = min(max(y, valid.top), valid.bottom - 1) - first
        pixel = PixelBox(column, row, column + 1, row + 1)
        found.append(_evaluate(image, steps, normalised, pixel, strided=True)[0, 0])
    return torch.stack(found)[: len(points)]  # of no points it is known how long descriptors are


def iter_tiles(
    image: Image,
    steps: list[Step],
    first: int,
    normalised: Normalise,
    *,
    region: PixelBox,
    budget: int = BUDGET,
    progress: Callable[[float], None] | None = None,
) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
    """Parts of `region` and their descriptors, one after another, together all of it.

    Equal to the network's own, in phase zero, and to those of the shifted image in the other phases. Parts are so large
    that no layer's input and output come to more than `budget` bytes; three quarters of what is looked at are
    surroundings when parts are as small as a receptive field, so small budgets cost time.
    """
    size = image.shape[1], image.shape[0]
    parts = _divided(region, lambda part: _bytes(steps, size, _moved(part, -first)) <= budget)
    for done, part in enumerate(parts):
        if progress is not None:
            progress(done / len(parts))
        yield part, _evaluate(image, steps, normalised, _moved(part, -first))
    if progress is not None:
        progress(1.0)


def _moved(box: PixelBox, by: int) -> PixelBox:
    return PixelBox(*(edge + by for edge in box))


def _divided(region: PixelBox, fits: Callable[[PixelBox], bool]) -> list[PixelBox]:
    """Halves of halves, across the longer side, until each part fits."""
    if fits(region) or region.width * region.height == 1:
        return [region]
    left, top, right, bottom = region
    if region.width >= region.height:
        middle = (left + right) // 2
        halves = PixelBox(left, top, middle, bottom), PixelBox(middle, top, right, bottom)
    else:
        middle = (top + bottom) // 2
        halves = PixelBox(left, top, right, middle), PixelBox(left, middle, right, bottom)
    return [part for half in halves for part in _divided(half, fits)]


def _reach(step: Step) -> tuple[int, int]:
    """How far a step's kernel reaches to the left and to the right of a position of the same number, in pixels."""
    kernel = step.kernel
    before = kernel.padding * step.jump
    return before, (kernel.size - 1) * kernel.dilation * step.jump - before


def _lengths(steps: list[Step], side: int) -> list[int]:
    """How many positions each step's output has along an axis of `side` pixels, if nothing is skipped."""
    lengths = []
    for step in steps:
        before, after = _reach(step)
        side += before - after
        lengths.append(side)
    return lengths


def _spans(steps: list[Step], side: int, start: int, stop: int, *, strided: bool = False) -> list[_Span]:
    """What positions `start` to `stop` of the last step need, along an axis, of the input and of every step's output.

    `strided` is for a single position: of every node only those as far apart as the network has them, counted as such.
    """
    lengths = [side, *_lengths(steps, side)]
    spans = []
    for step, length in zip(reversed(steps), reversed(lengths[:-1]), strict=True):
        before, after = _reach(step)
        every = step.jump if strided else 1
        missing = [max(-(room // every), 0) for room in (start - before, length - stop - after)]
        spans.append(_Span(start, stop, *missing))
        start, stop = start - before + every * missing[0], stop + after - every * missing[1]
    return [_Span(start, stop, 0, 0), *spans[::-1]]


def _bytes(steps: list[Step], size: tuple[int, int], part: PixelBox) -> int:
    """Of the largest pair of a step's input and output."""
    across, down = _spans(steps, size[0], part.left, part.right), _spans(steps, size[1], part.top, part.bottom)
    channels = [3]
    for step in steps:
        channels.append(step.module.out_channels if isinstance(step.module, nn.Conv2d) else channels[-1])
    each = [4 * c * (x.stop - x.start) * (y.stop - y.start) for c, x, y in zip(channels, across, down, strict=True)]
    return max(before + after for before, after in pairwise(each))


def _evaluate(
    image: Image, steps: list[Step], normalised: Normalise, part: PixelBox, *, strided: bool = False
) -> Float[torch.Tensor, "rows columns channels"]:
    """The last step's output at the positions in `part`."""
    height, width = image.shape[:2]
    across = _spans(steps, width, part.left, part.right, strided=strided)
    down = _spans(steps, height, part.top, part.bottom, strided=strided)
    pixels = np.ascontiguousarray(image[down[0].start : down[0].stop, across[0].start : across[0].stop])
    values = normalised(pixels[None])
    with torch.inference_mode(), single_precision(values.device):
        for step, x, y in zip(steps, across[1:], down[1:], strict=True):
            values = _apply(values, step, (x.before, x.after, y.before, y.after), strided=strided)
    return values[0].permute(1, 2, 0)


def _apply(values: torch.Tensor, step: Step, margins: tuple[int, ...], *, strided: bool) -> torch.Tensor:
    """A step, padded by `margins` as F.pad has them: as the network has it, or with nothing skipped and so its taps
    apart by what was skipped before.
    """
    module, kernel = step.module, step.kernel
    apart, skip = (kernel.dilation, kernel.stride) if strided else (kernel.dilation * step.jump, 1)
    if isinstance(module, nn.Conv2d):
        if any(margins):
            values = F.pad(values, margins)
        return F.conv2d(values, module.weight, module.bias, stride=skip, dilation=apart, groups=module.groups)
    if isinstance(module, nn.MaxPool2d):
        if any(margins):
            values = F.pad(values, margins, value=-torch.inf)
        if strided:
            return F.max_pool2d(values, kernel.size, stride=skip, dilation=apart)
        for axis in (2, 3):  # the greatest of columns' greatest
            n = values.shape[axis] - (kernel.size - 1) * apart
            taps = [values.narrow(axis, tap * apart, n) for tap in range(kernel.size)]
            values = taps[0]
            for tap in taps[1:]:
                values = torch.maximum(values, tap)
        return values
    return module(values)
