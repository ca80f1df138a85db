"""Outputs of a module's submodules, taken while the module runs."""

import threading
from collections.abc import Sequence, Set
from typing import Any

import torch
from torch import nn

from corrcore.precision import single_precision


def first_tensor(output: Any) -> torch.Tensor | None:
    """A module's output where it is a tensor, else the first one in a tuple, list or mapping."""
    if isinstance(output, torch.Tensor):
        return output
    inner = output.values() if isinstance(output, dict) else output if isinstance(output, (tuple, list)) else ()
    return next((tensor for each in inner if (tensor := first_tensor(each)) is not None), None)


class _DoneError(Exception):
    """All that was asked for is there: the rest of the module need not run."""


class Taps:
    """Runs a module as far as it takes to have some submodules' outputs; several threads may at once.

    Outputs that the module later writes into (`overwritten`) are copied.
    """

    def __init__(self, module: nn.Module, *, overwritten: Set[str] = frozenset()) -> None:
        self._module, self._overwritten = module, overwritten
        self._local = threading.local()
        self._tapped: set[str] = set()
        self._lock = threading.Lock()

    def run(self, pixels: torch.Tensor, paths: Sequence[str], *, inference: bool = True) -> dict[str, torch.Tensor]:
        """The first tensor that each of the submodules gives, by name; the whole module's by "".

        Without `inference` gradients can be taken. Raises KeyError for a submodule that is not run.
        """
        with self._lock:
            for path in set(paths) - self._tapped:
                self._tap(path)
        found: dict[str, torch.Tensor] = {}
        self._local.wanted, self._local.found = set(paths), found
        try:
            with torch.inference_mode(inference), single_precision(pixels.device):
                self._module(pixels)
        except _DoneError:
            pass
        finally:
            self._local.wanted = set()
        return {path: found[path] for path in paths}

    def _tap(self, path: str) -> None:
        def hook(_: nn.Module, __: object, output: object) -> None:
            if path not in getattr(self._local, "wanted", ()) or path in self._local.found:
                return
            tensor = first_tensor(output)
            if tensor is None:
                return
            self._local.found[path] = tensor.clone() if path in self._overwritten else tensor
            if len(self._local.found) == len(self._local.wanted):
                raise _DoneError

        self._module.get_submodule(path).register_forward_hook(hook)
        self._tapped.add(path)
