"""Which parts of a module are its layers, by depth, and which of them tasks take: rules that know no names."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from torch import nn

from corrcore.features import Roles
from corrcore.geometry import ReceptiveField
from corrcore.networks.seen import Grid, Unknown
from corrcore.networks.trace import Traced

_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)
_TRUNK = 0.6  # a part with so much of the parameters is what layers are looked for in
_STAGE = 0.8  # a part whose blocks, all alike, have so much of its parameters is a stage and no block
_STRIDE_PX = 16  # AlexNet's: finer grids than that are early layers of deep networks
_DEPTH = 0.75  # of blocks of one stride, where transformers' features match best


def find_layers(module: nn.Module, traced: Mapping[str, Traced]) -> dict[str, str]:
    """The blocks of a module that give a grid of descriptors, by depth; the names of layers are the submodules' own.

    Containers are opened, and so is a part that has most of the parameters. Of a convolution, its norm and its
    activation one after another, the last one is the layer.
    """
    blocks = [(path, each) for path, each in _blocks(module, traced) if not isinstance(each, _NOTHING)]
    wanted = [path for path, _ in blocks]
    for (before, first), (after, second) in pairwise(blocks):
        if _continues(second) and not list(first.children()) and traced[before].shape == traced[after].shape:
            wanted.remove(before)
    return {path: path for path in wanted}


def _blocks(
    module: nn.Module, traced: Mapping[str, Traced], path: str = "", whole: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    whole = whole or _n_parameters(module)
    for name, each in module.named_children():
        inner = f"{path}.{name}" if path else name
        if _is_opened(each, whole):
            yield from _blocks(each, traced, inner, whole)
        elif _has_grid(traced.get(inner)):
            yield inner, each


def _is_opened(module: nn.Module, whole: int) -> bool:
    """Whether a part is not a block but has blocks: a container, most of the network, or a stage of like blocks."""
    children = list(module.children())
    if _is_container(module) or (children and _n_parameters(module) > _TRUNK * whole):
        return True
    return any(
        _is_container(each) and _alike(list(each.children())) and _n_parameters(each) > _STAGE * _n_parameters(module)
        for each in children
    )


def _is_container(module: nn.Module) -> bool:
    """Whether modules are run one after another, or only kept."""
    plain = type(module).forward in (nn.Sequential.forward, nn.ModuleList.forward)
    return isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)) and plain


def _alike(modules: list[nn.Module]) -> bool:
    return len(modules) > 1 and len({type(each) for each in modules}) == 1 and all(list(e.children()) for e in modules)


def _has_grid(found: Traced | None) -> bool:
    if found is None:
        return False
    if isinstance(found.seen, Unknown):
        return len(found.shape) in (3, 4)
    if not isinstance(found.seen, Grid) or found.seen.rows * found.seen.columns == 1:
        return False
    return found.seen.receptive_field != ReceptiveField.identity()


def _continues(module: nn.Module) -> bool:
    """Whether a module only goes on with what comes before: a norm or an activation."""
    return not list(module.children()) and not isinstance(module, (nn.Conv2d, nn.Linear, nn.MaxPool2d, nn.AvgPool2d))


def _n_parameters(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def roles_of(strides: Mapping[str, int]) -> Roles:
    """The layers that tasks take, by their strides in pixels, in order of depth.

    Objects are aligned, found and told apart by the deepest layer of a stride of 16 px or less; of a network that has
    one stride throughout, by the layer at three quarters of its depth.
    """
    layers = list(strides)
    fine = [layer for layer in layers if strides[layer] <= _STRIDE_PX] or layers[:1]
    coarsest = [layer for layer in fine if strides[layer] == strides[fine[-1]]]
    chosen = fine[-1] if len(fine) < len(layers) else coarsest[round(_DEPTH * (len(coarsest) - 1))]
    until = layers[: layers.index(chosen) + 1]
    return Roles(
        reconstruction=tuple(_spread(coarsest[: coarsest.index(chosen) + 1] if len(coarsest) > 2 else until, 3)),
        transfer=chosen,
        classification=tuple(_spread(layers, 5)),
        detection=chosen,
        retrieval=chosen,
        prior=chosen,
    )


def _spread(layers: Sequence[str], n: int) -> list[str]:
    """Some layers, as far apart in depth as there are, the last among them."""
    n = min(n, len(layers))
    return [layers[round((k + 1) * len(layers) / n) - 1] for k in range(n)]
