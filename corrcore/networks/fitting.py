"""Checkpoints as people have them, put under the names that a network's module has.

The names in a file begin otherwise than the module's: "state_dict.module.backbone.layer1.0.conv1.weight" is its
"layer1.0.conv1.weight", or "0.0.weight" its "features.0.0.weight". One change of what names begin with is looked for:
the one under which most of the module's names have a tensor of their shape.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from corrcore.networks.module_geometry import on_meta
from corrcore.networks.weights import Weights

Shape = tuple[int, ...]

_PREFERRED = ("ema", "teacher", "encoder_q", "model", "module", "student")  # of copies that fit alike, as they are used
_STATISTICS = ("running_mean", "running_var")
_TRIED = 12  # changes of what names begin with, the most frequent ones
_LEAST = 0.5  # of the names in a file, or of the module's, which the others have


@dataclass(frozen=True)
class Expected:
    """What a module's weights are called and how large they are. `head` is its last part that has weights; `also` are
    other names of weights, and the module's.
    """

    name: str
    shapes: Mapping[str, Shape]
    head: frozenset[str]
    also: Mapping[str, str]

    @classmethod
    def of(cls, name: str, module: nn.Module, layers: Mapping[str, str] | None = None) -> "Expected":
        """Of a module, and of layers as people are shown them, by the submodules whose outputs they are."""
        shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        owners = [path for path, each in module.named_modules() if list(each.parameters(recurse=False))]
        last = f"{owners[-1]}." if len(owners) > 1 else None
        return cls(
            name,
            shapes,
            frozenset(key for key in shapes if last and key.startswith(last)),
            _by_layers(module, layers or {}, shapes),
        )


def _by_layers(module: nn.Module, layers: Mapping[str, str], shapes: Mapping[str, Shape]) -> dict[str, str]:
    """Names of weights by the layers they lead to, such as conv1.weight, and the module's names for them."""
    owner, owners = "", {}
    for path, each in module.named_modules():
        if list(each.parameters(recurse=False)):
            owner = path
        owners[path] = owner
    also, taken = {}, set()
    for layer, path in layers.items():
        for kind in ("weight", "bias"):
            key = f"{owners.get(path, '')}.{kind}"
            if key in shapes and key not in taken:
                also[f"{layer}.{kind}"] = key
                taken.add(key)
    return also


@dataclass(frozen=True)
class Fit:
    """How a file's weights fit a module.

    `given` are those of the file's tensors, of which there are `n` in all, that begin alike, under the module's names;
    those that the module has no use for among them.
    """

    expected: Expected
    given: Weights
    n: int

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        """Those that the module has, of its shapes."""
        shapes = self.expected.shapes
        return {name: value for name, value in self.given.items() if shapes.get(name) == tuple(value.shape)}

    @cached_property
    def mismatched(self) -> tuple[str, ...]:
        """The module's names of which the file has a tensor of another shape; a head may be another's."""
        shapes = self.expected.shapes
        wrong = [name for name, value in self.given.items() if name in shapes and shapes[name] != tuple(value.shape)]
        return tuple(name for name in wrong if name not in self.expected.head)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """The statistics of norms whose other numbers are there: the module would go on with none."""
        parts = {name.rpartition(".")[0] for name in self.given if name in self.expected.shapes}
        return tuple(
            name
            for name in self.expected.shapes
            if name.endswith(_STATISTICS) and name.rpartition(".")[0] in parts and name not in self.given
        )

    @cached_property
    def surplus(self) -> tuple[str, ...]:
        """The file's names of blocks that would go on where the module's end: it is of a deeper network."""
        shapes = self.expected.shapes
        numbered = set(map(_block, shapes)) - {"", *map(_block, self.expected.head)}
        return tuple(name for name in self.given if name not in shapes and _block(name) in numbered)

    @property
    def enough(self) -> bool:
        """Whether most of what the file has, or of what the module needs, is there."""
        return len(self.weights) > 0 and len(self.weights) >= _LEAST * min(self.n, len(self.expected.shapes))

    @cached_property
    def named(self) -> int:
        """How many of the module's names the file has, of whatever shape."""
        return len(self.given.keys() & self.expected.shapes.keys())

    @property
    def ok(self) -> bool:
        """Whether the file is of this network."""
        return self.enough and not (self.mismatched or self.missing or self.surplus)

    @property
    def whole(self) -> bool:
        """Whether nothing lacks but the head."""
        lacking = self.expected.shapes.keys() - self.weights.keys() - self.expected.head
        return self.ok and all(name.endswith("num_batches_tracked") for name in lacking)

    def wrong(self) -> str:
        """What does not fit, the first of it, as a part of a sentence."""
        network = self.expected.name
        if self.mismatched and (self.enough or self.named >= _LEAST * min(self.n, len(self.expected.shapes))):
            name = self.mismatched[0]
            shape, other = self.expected.shapes[name], tuple(self.given[name].shape)
            more = f", and {len(self.mismatched) - 1} more differ" if len(self.mismatched) > 1 else ""
            return f"{name} of {network} must be {_by(shape)}; got {_by(other)}{more}"
        if not self.enough:
            known = [f"{name} ({_by(shape)})" for name, shape in self.expected.shapes.items()][:2]
            got = [f"{name} ({_by(tuple(value.shape))})" for name, value in self.given.items() if value.ndim][:2]
            return (
                f"the weights must be those of {network} under its module's names, such as {', '.join(known)}; got "
                f"{', '.join(got) or 'none'}"
            )
        if self.missing:
            return f"{network} needs the statistics {self.missing[0]}, which the weights lack"
        return f"{network} has no {self.surplus[0]}, which the weights have"


def fit(weights: Weights, expected: Expected) -> Fit:
    """A file's weights under a module's names; see `Fit.ok` for whether they are its weights at all."""
    fits = [Fit(expected, weights, len(weights))]
    if weights.keys() <= expected.shapes.keys() or fits[0].whole:  # as most are: nothing has to be looked for
        return fits[0]
    fits += [_changed(weights, change, expected) for change in _changes(weights, expected.shapes)]
    if expected.also:
        ends = {name: ".".join(name.split(".")[-2:]) for name in weights}
        also = {expected.also.get(ends[name], name): value for name, value in weights.items()}
        fits.append(Fit(expected, also, len(weights)))
    best = max(fits, key=lambda one: len(one.weights))
    if best.enough:
        return best
    alike = [_changed(weights, change, expected) for change in _changes(weights, expected.shapes, shaped=False)]
    return max([fits[0], *alike], key=lambda one: one.named)  # to say which shapes are others


def _changes(weights: Weights, shapes: Mapping[str, Shape], *, shaped: bool = True) -> list[tuple[str, str]]:
    """What names in a file begin with, and what they would have to, by how many they give a module's name and shape.

    If not `shaped`, names alone count.
    """

    def key(name: str, shape: Shape) -> tuple[str, Shape | int]:
        return (name.rpartition(".")[2], shape) if shaped else (".".join(name.split(".")[-2:]), len(shape))

    alike: dict[tuple[str, Shape | int], list[str]] = defaultdict(list)
    for name, shape in shapes.items():
        alike[key(name, shape)].append(name)
    votes: Counter[tuple[str, str]] = Counter()
    for name, value in weights.items():
        for known in alike[key(name, tuple(value.shape))]:
            votes[_change(name, known)] += 1
    votes.pop(("", ""), None)
    return sorted(votes, key=lambda change: (-votes[change], _rank(change[0]), len(change[0]), change))[:_TRIED]


def _change(name: str, known: str) -> tuple[str, str]:
    """What two names begin with before they are alike."""
    ours, theirs = name.split("."), known.split(".")
    while ours and theirs and ours[-1] == theirs[-1]:
        ours.pop()
        theirs.pop()
    return "".join(f"{part}." for part in ours), "".join(f"{part}." for part in theirs)


def _rank(beginning: str) -> int:
    parts = beginning.split(".")
    found = [n for n, word in enumerate(_PREFERRED) if any(word in part for part in parts)]
    return found[0] if found else len(_PREFERRED)


def _changed(weights: Weights, change: tuple[str, str], expected: Expected) -> Fit:
    """The tensors whose names begin with what is changed."""
    old, new = change
    given = {new + name.removeprefix(old): value for name, value in weights.items() if name.startswith(old)}
    return Fit(expected, given, len(weights))


def _block(name: str) -> str:
    """What a name has before the first number in it, the number of a block among others."""
    parts = name.split(".")
    return next((".".join(parts[:n]) + "." for n, part in enumerate(parts) if n and part.isdecimal()), "")


def _by(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "one number"


Build = Callable[[], nn.Module]

Adapt = Callable[[nn.Module, Weights], Iterable[tuple[Build, Weights]]]
"""Other ways to take weights that do not fit a module (given without content): what builds another, and its weights."""


def fitted(
    weights: Weights, name: str, build: Build, *, layers: Mapping[str, str] | None = None, adapt: Adapt | None = None
) -> tuple[Fit, Build]:
    """The best fit of a file's weights, and what builds the module that they fit: see `Adapt`."""
    module = empty_module(build)
    best = fit(weights, Expected.of(name, module, layers)), build
    if best[0].whole or adapt is None:
        return best
    for other, adapted in adapt(module, best[0].given if best[0].enough else weights):
        found = fit(adapted, Expected.of(name, empty_module(other), layers))
        if found.ok and (not best[0].ok or len(found.weights) > len(best[0].weights)):
            best = found, other
    return best


def empty_module(build: Build) -> nn.Module:
    """A module without content, in single precision whatever it comes in: images without content are."""
    try:
        with torch.device("meta"):
            return build().eval().requires_grad_(False).float()
    except NotImplementedError:  # it computes with what it has just made
        return on_meta(build().eval()).float()


def built(build: Build, weights: Weights) -> tuple[nn.Module, nn.Module]:
    """The module, without content where all of that comes with the weights, and a copy that has none."""
    empty = empty_module(build)
    lacking = any(name not in weights and "num_batches" not in name for name, _ in empty.named_buffers())
    return (build().eval().requires_grad_(False) if lacking else on_meta(empty)), empty


def buffers_of(model: nn.Module, parameters: Set[str]) -> set[str]:
    """The buffers of modules whose parameters are used, such as the statistics of norms."""
    owners = {name.rpartition(".")[0] for name in parameters}
    return {name for name, _ in model.named_buffers() if name.rpartition(".")[0] in owners}
