"""Operations on tensors without content, which are on the device "meta": of these shapes are asked alone.

Torch answers with its compiler's code, which takes a second and 80 MB of memory to import. What plain convolutional
networks are made of is answered here, so that to open one of them does without; all else is torch's to answer.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from corrcore.networks.taps import Taps

_ATEN = torch.ops.aten
_Shape = tuple[int, ...]


class WithoutContent(TorchDispatchMode):
    """Within, operations on tensors without content are answered from shapes."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks: whether to import its compiler only to keep it off here."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What one of torch's basic operations gives."""
        del types
        return _answer(func, args, kwargs or {})


def _answer(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    first = args[0] if args else None
    if not isinstance(first, torch.Tensor) or not first.is_meta:
        return func(*args, **kwargs)
    if func is _ATEN.relu_.default:
        return first
    if func is _ATEN.relu.default:
        return like(first)
    plain = func in _SHAPES and not kwargs and first.is_contiguous()
    shape = _SHAPES[func](*args) if plain else None
    if shape is None:  # torch's to answer, or to refuse
        return func(*args, **kwargs)
    found = first.new_empty(shape)
    return (found, first.new_empty(shape, dtype=torch.int64)) if func is _POOLING else found


def output_of(module: nn.Module, path: str, size: tuple[int, int]) -> torch.Tensor:
    """What a submodule gives for an image of ``(height, width)`` pixels, from a module without content.

    Raises what the module does, and KeyError for a submodule that is not run.
    """
    device = next((each.device for each in module.parameters()), torch.device("cpu"))
    image = torch.empty(1, 3, *size, device=device)
    with WithoutContent(), torch.no_grad():
        return Taps(module).run(image, [path], inference=False)[path]  # inference is not put as basic operations


def like(tensor: torch.Tensor) -> torch.Tensor:
    """One of the same shape, layout and precision, without content."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _convolution(
    image: torch.Tensor,
    weight: torch.Tensor,
    _: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    __: Sequence[int],
    groups: int,
) -> _Shape | None:
    plain = not transposed and image.ndim == weight.ndim == 4 and image.dtype == weight.dtype
    if not plain or image.shape[1] != groups * weight.shape[1] or not 2 == len(stride) == len(padding) == len(dilation):
        return None
    return _sides((*image.shape[:1], *weight.shape[:1]), image, weight.shape[2:], stride, padding, dilation)


def _pooling(
    image: torch.Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> _Shape | None:
    kernel, stride, padding, dilation = (
        each if len(each) == 2 else (*each, *each) for each in (kernel, stride or kernel, padding, dilation)
    )
    if image.ndim not in (3, 4) or ceil_mode or any(2 * pad > side for pad, side in zip(padding, kernel, strict=True)):
        return None
    return _sides(tuple(image.shape[:-2]), image, kernel, stride, padding, dilation)


def _sides(before: _Shape, image: torch.Tensor, *windows: Sequence[int]) -> _Shape | None:
    """The shape where windows of a kernel, stride, padding and dilation pass an image.

    Raises RuntimeError, as torch does, where there is no room for one.
    """
    if min(*before, *(number for each in (windows[0], windows[1], windows[3]) for number in each)) < 1:
        return None
    sides = []
    for side, kernel, stride, padding, dilation in zip(image.shape[-2:], *windows, strict=True):
        room = side + 2 * padding - dilation * (kernel - 1) - 1
        if room < 0:
            msg = f"a window of {kernel} does not fit into {side}"
            raise RuntimeError(msg)
        sides.append(room // stride + 1)
    return *before, *sides


def _average(image: torch.Tensor, size: Sequence[int]) -> _Shape | None:
    return (*image.shape[:-2], *size) if image.ndim in (3, 4) and min(*image.shape, *size) > 0 else None


def _linear(bias: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor) -> _Shape | None:
    fits = rows.ndim == weight.ndim == 2 and rows.shape[1] == weight.shape[0] and bias.shape == weight.shape[1:]
    return (rows.shape[0], weight.shape[1]) if fits and bias.dtype == rows.dtype == weight.dtype else None


_POOLING = _ATEN.max_pool2d_with_indices.default
_SHAPES: dict[Any, Callable[..., _Shape | None]] = {
    _ATEN.convolution.default: _convolution,
    _POOLING: _pooling,
    _ATEN._adaptive_avg_pool2d.default: _average,
    _ATEN.addmm.default: _linear,
}
