"""What the nodes of a traced module see of its input: the kernels along the way, and the receptive fields they make."""

import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx, nn

from corrcore.geometry import KernelSpec, ReceptiveField


@dataclass(frozen=True)
class Chain:
    """How a node sees the input: its receptive field, and the kernels of one path to it."""

    receptive_field: ReceptiveField
    kernels: tuple[KernelSpec, ...] = ()

    def through(self, kernel: KernelSpec) -> "Chain":
        """What a node sees behind one more kernel."""
        return Chain(self.receptive_field.through(kernel), (*self.kernels, kernel))


def _one(value: int | tuple[int, ...]) -> int:
    values = value if isinstance(value, tuple) else (value,)
    if len(set(values)) != 1:
        msg = f"kernels must be square and padded evenly; got {values}."
        raise ValueError(msg)
    return values[0]


def kernel_of(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> KernelSpec:
    """The kernel of a module. Raises ValueError and TypeError for those that are not square, even and whole."""
    if isinstance(module.padding, str):
        msg = f"padding must be given in pixels, not as {module.padding!r}."
        raise TypeError(msg)
    if getattr(module, "ceil_mode", False):
        msg = "kernels must not be rounded up (ceil_mode): the last one would leave its input."
        raise ValueError(msg)
    return KernelSpec(
        size=_one(module.kernel_size),
        stride=_one(module.stride),
        padding=_one(module.padding),
        dilation=1 if isinstance(module, nn.AvgPool2d) else _one(module.dilation),
    )


_POINTWISE = (nn.ReLU, nn.BatchNorm2d, nn.Dropout, nn.Identity, nn.LocalResponseNorm)
_JOINS = {torch.add, operator.add, operator.iadd, torch.cat}


def nodes_by_name(graph: fx.Graph) -> dict[str, fx.Node]:
    """The outputs of modules, by the module's name; later outputs of one module with ``_1``, ``_2``, ..."""
    nodes: dict[str, fx.Node] = {}
    outputs: Counter[str] = Counter()
    for node in graph.nodes:
        if node.op == "call_module":
            before = outputs[str(node.target)]
            nodes[f"{node.target}_{before}" if before else str(node.target)] = node
            outputs[str(node.target)] += 1
    return nodes


def chains_of(graph: fx.Graph, model: nn.Module, weights: Mapping[str, torch.Tensor]) -> dict[fx.Node, Chain | None]:
    """What every node whose weights are known sees; None: the whole image."""
    modules = dict(model.named_modules())
    chains: dict[fx.Node, Chain | None] = {}
    for node in graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        known = module is None or all(f"{node.target}.{name}" in weights for name, _ in module.named_parameters())
        if not known or any(source not in chains for source in node.all_input_nodes):
            continue
        inputs = [chains[source] for source in node.all_input_nodes]
        bounded = [chain for chain in inputs if chain is not None]
        chains[node] = None
        if node.op == "placeholder":
            chains[node] = Chain(ReceptiveField.identity())
        elif not bounded or len(bounded) < len(inputs):
            continue
        elif isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            chains[node] = bounded[0].through(kernel_of(module))
        elif isinstance(module, _POINTWISE):
            chains[node] = bounded[0]
        elif node.target in _JOINS:
            field = bounded[0].receptive_field
            for other in bounded[1:]:
                field = field.union(other.receptive_field)
            chains[node] = Chain(field, bounded[0].kernels)
    return chains
