"""A CUDA device where there is none: tensors that lie on the processor and behave as if they lay elsewhere.

Numbers are the processor's. What a device refuses is refused: operands of which some are there and some here, NumPy's
view of what is there, sampling from a generator that is here. Kernels, streams and memory are not pretended.
"""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

REAL = torch.cuda.is_available()  # then nothing is pretended
THERE = torch.device("cuda", 0)
_MOVES = {torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda, torch.Tensor.type_as}
# what takes places, or values to be copied, from anywhere
_MIXES = {torch.Tensor.__getitem__, torch.Tensor.__setitem__, torch.Tensor.copy_, torch.Tensor.data.__set__}
_TELLS = {torch.Tensor.device.__get__: THERE, torch.Tensor.is_cuda.__get__: True, torch.Tensor.is_cpu.__get__: False}


class Pretended(torch.Tensor):
    """A tensor that says that it is on a CUDA device."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls what a device has; raises what it raises."""
        kwargs = kwargs or {}
        if func in _TELLS:
            return _TELLS[func]
        if func is torch.Tensor.get_device:
            return THERE.index
        if func is torch._has_compatible_shallow_copy_type:  # asked when a module is moved
            return False
        if func in (torch.Tensor.numpy, torch.Tensor.__array__):
            msg = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first."
            raise TypeError(msg)
        if func in _MOVES:
            return _moved(func, args, kwargs)
        if func not in _MIXES:
            _check_together(func, (args, kwargs))
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **kwargs)
        return tree_map(_there, found)


class Pretending(TorchFunctionMode):
    """Makes what is asked for on a CUDA device, by those functions that have no tensor to tell it from.

    No tensor of more than `most_bytes` has room there.
    """

    def __init__(self, most_bytes: float = math.inf) -> None:
        super().__init__()
        self.most_bytes = most_bytes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls the function, and says where the outcome is."""
        kwargs = dict(kwargs or {})
        if func in _MOVES:
            return _moved(func, args, kwargs)
        if func is torch.as_tensor and isinstance(args[0], Pretended) and kwargs.get("device") is None:
            return Pretended.__torch_function__(torch.Tensor.to, (), (args[0], kwargs.get("dtype") or args[0].dtype))
        if _is_there(kwargs.get("device")):
            kwargs["device"] = torch.device("cpu")
            found = func(*args, **kwargs)
            if found.nbytes > self.most_bytes:
                msg = f"CUDA out of memory. Tried to allocate {found.nbytes} bytes."
                raise torch.OutOfMemoryError(msg)
            return _there(found)
        return func(*args, **kwargs)


def _moved(func: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """A tensor where it is asked for: there, here, or where it is."""
    tensor, given = args[0], [*args[1:], *kwargs.values()]
    there = isinstance(tensor, Pretended)
    for each in given:
        if isinstance(each, (str, torch.device)) or (isinstance(each, int) and not isinstance(each, bool)):
            there = _is_there(each)
        elif isinstance(each, torch.Tensor):
            there = isinstance(each, Pretended)
    there = (there or func is torch.Tensor.cuda) and func is not torch.Tensor.cpu
    rest = tuple(_here(each) for each in args[1:])
    options = {name: _here(each) for name, each in kwargs.items()}
    with torch._C.DisableTorchFunctionSubclass(), torch._C.DisableTorchFunction():
        held = _held(tensor)
        found = held if func is torch.Tensor.cuda else func(held, *rest, **options)
        if there != isinstance(tensor, Pretended) and found is held:
            found = found.clone()  # another device's memory is another
    return _there(found) if there else found


def _is_there(device: Any) -> bool:
    if isinstance(device, int):
        return True
    return device is not None and torch.device(device).type == "cuda"


def _here(argument: Any) -> Any:
    if isinstance(argument, (str, torch.device)):
        return torch.device("cpu") if _is_there(argument) else argument
    return _held(argument)


def _held(argument: Any) -> Any:
    return argument.as_subclass(torch.Tensor) if isinstance(argument, Pretended) else argument


def _there(outcome: Any) -> Any:
    return outcome.as_subclass(Pretended) if type(outcome) is torch.Tensor else outcome


def _check_together(func: Callable[..., Any], arguments: Any) -> None:
    """Raises RuntimeError where a tensor is here, but for single numbers."""
    for each in tree_leaves(arguments):
        if isinstance(each, torch.Tensor) and not isinstance(each, Pretended) and each.ndim:
            msg = f"{func.__name__}: expected all tensors to be on the same device, but found cuda:0 and cpu."
            raise RuntimeError(msg)
        if isinstance(each, torch.Generator):
            msg = "expected a 'cuda' device type for generator but found 'cpu'."
            raise RuntimeError(msg)  # noqa: TRY004 - as torch does


@contextlib.contextmanager
def pretended(most_bytes: float = math.inf) -> Iterator[torch.device]:
    """A CUDA device for what is run within, in all threads that begin there."""
    begin = threading.Thread.run

    def run(thread: threading.Thread) -> None:
        with Pretending(most_bytes):
            begin(thread)

    with (
        mock.patch.object(threading.Thread, "run", run),
        mock.patch.object(torch.cuda, "is_available", return_value=True),
        mock.patch.object(torch.cuda, "synchronize"),
        mock.patch.object(torch.cuda, "mem_get_info", return_value=(1 << 32, 1 << 33)),
        mock.patch.object(torch.cuda, "memory_reserved", return_value=0),
        mock.patch.object(torch.cuda, "memory_allocated", return_value=0),
        mock.patch.object(torch.cuda, "device_of", return_value=contextlib.nullcontext()),
        Pretending(most_bytes),
    ):
        yield torch.device("cuda")
