"""What the tensors inside any torch module see of its input, followed operation by operation.

The module runs once on tensors without content, while each of torch's basic operations says what becomes of a cell's
receptive field: windows (convolutions, pooling, padding) widen it, branches that meet are united, and what mixes all
places (attention, averages over the image, norms over it) makes it the whole image, while stride and offset stay exact.
So nothing is known of architectures here, and a module may be written in any way. What has no rule is an `Unknown`, and
whoever asks has to measure.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from corrcore.geometry import ReceptiveField
from corrcore.networks.rules import follow
from corrcore.networks.seen import Call, Grid, Seen, flat
from corrcore.networks.taps import first_tensor
from corrcore.networks.without_content import WithoutContent


@dataclass(frozen=True)
class Traced:
    """What a submodule's first output sees, and its shape.

    `parameters` are those of modules entered up to there, by name. `chain` are the modules that an image goes through
    to it one after another, by name; None where anything else is on the way. `overwritten` is whether later operations
    write into the output.
    """

    seen: Seen | None
    shape: tuple[int, ...]
    parameters: frozenset[str]
    chain: tuple[str, ...] | None
    overwritten: bool = False


def trace(module: nn.Module, size: tuple[int, int]) -> dict[str, Traced]:
    """Runs a module on an image of ``(height, width)`` pixels, and says what its submodules' outputs see, by name.

    The module should be on the device "meta", where nothing is computed. Where it raises on the way, as classifiers do
    that take images of one size only, what comes before is there. Raises ValueError where nothing does.
    """
    device = next((each.device for each in module.parameters()), torch.device("cpu"))
    image = torch.empty(1, 3, *size, device=device)
    pixel = ReceptiveField.identity()
    error: Exception | None = None
    with _Follower() as follower, _recorded(module, follower, image) as found, torch.no_grad():
        follower.put(image, Grid(*size, pixel, pixel, 2, 3))
        try:
            module(image)
        except Exception as raised:
            error = raised
    if not found:
        msg = f"it takes no images of {size[1]} x {size[0]} px ({error})"
        raise ValueError(msg) from error
    for path, (tensor, traced) in found.items():
        if follower.overwritten.get(id(tensor), 0) > follower.when[path]:
            found[path] = tensor, replace(traced, overwritten=True)
    return {path: traced for path, (_, traced) in found.items()}


@contextmanager
def _recorded(
    module: nn.Module, follower: "_Follower", image: torch.Tensor
) -> Iterator[dict[str, tuple[torch.Tensor, Traced]]]:
    """Keeps what is known of submodules' outputs as they come."""
    found: dict[str, tuple[torch.Tensor, Traced]] = {}
    used: dict[str, None] = {}
    entered: dict[str, tuple[str, ...] | None] = {}
    chains: dict[int, tuple[int, tuple[str, ...]]] = {id(image): (0, ())}  # of what modules alone have made, and when

    def chain_of(tensor: int) -> tuple[str, ...] | None:
        made, chain = chains.get(tensor, (0, None))
        return None if follower.overwritten.get(tensor, 0) > made else chain

    def before(path: str, leaf: bool) -> Callable[..., None]:
        def hook(each: nn.Module, arguments: Any) -> None:
            used.update({f"{path}.{name}" if path else name: None for name, _ in each.named_parameters(recurse=False)})
            if leaf and arguments:
                entered[path] = chain_of(id(arguments[0]))

        return hook

    def after(path: str, leaf: bool) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            tensor = first_tensor(output)
            if tensor is None:
                return
            if leaf:
                chain = entered.get(path)
                chains.pop(id(tensor), None)
                if chain is not None:
                    chains[id(tensor)] = follower.clock, (*chain, path)
            if path not in found:
                found[path] = (
                    tensor,
                    Traced(follower.seen(tensor), tuple(tensor.shape), frozenset(used), chain_of(id(tensor))),
                )
                follower.when[path] = follower.clock

        return hook

    with ExitStack() as stack:
        for path, each in module.named_modules():
            leaf = not list(each.children())
            stack.callback(each.register_forward_pre_hook(before(path, leaf)).remove)
            stack.callback(each.register_forward_hook(after(path, leaf)).remove)
        yield found


class _Follower(WithoutContent):
    """Keeps what each tensor sees, and all tensors, so that none takes another's place in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[int, Seen] = {}
        self._kept: list[torch.Tensor] = []
        self.clock = 0
        self.when: dict[str, int] = {}
        self.overwritten: dict[int, int] = {}

    def put(self, tensor: torch.Tensor, seen: Seen | None) -> None:
        """Says what a tensor sees."""
        self._kept.append(tensor)
        if seen is None:
            self._seen.pop(id(tensor), None)
        else:
            self._seen[id(tensor)] = seen

    def seen(self, tensor: Any) -> Seen | None:
        """What a tensor sees; None where it does not depend on the image."""
        return self._seen.get(id(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation, and follows it."""
        self.clock += 1
        out = super().__torch_dispatch__(func, types, args, kwargs)
        outputs = [out] if isinstance(out, torch.Tensor) else [o for o in flat(out) if isinstance(o, torch.Tensor)]
        call = Call(func, args, kwargs or {}, outputs, self.seen)
        if outputs and call.seen:
            name = func.overloadpacket.__name__
            if name.endswith("_"):
                self.overwritten[id(outputs[0])] = self.clock
            for output, seen in zip(outputs, follow(name, call), strict=False):
                self.put(output, seen)
        else:
            for output in outputs:
                self.put(output, None)
        return out
