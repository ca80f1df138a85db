"""Networks that turn an image into grids of descriptors.

A network joins by one `Architecture` entry in `ARCHITECTURES`: how to build it, which of its modules are layers
worth asking, and what it expects as input. Receptive fields are derived from its graph, never typed in.
Images are not squeezed: the convolutional part runs on the whole picture at its own size.
"""

import dataclasses
import hashlib
import operator
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import fx, nn
from torch.nn import functional as F

from corrcore.concurrency import default_device
from corrcore.features import FeatureGrid
from corrcore.geometry import KernelSpec, ReceptiveField
from corrcore.images import ImageLike, as_image

Image = UInt8[np.ndarray, "_height _width 3"]  # names begin with _: images of one call differ in size


class _Traffic:
    """Networks may run side by side; but tracing one patches torch's modules for the whole process, so it goes alone.

    Whoever wants to trace waits for those that run; others that would begin to run wait for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._n_running = self._n_tracing = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._n_tracing == 0)
            self._n_running += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_running -= 1
                self._changed.notify_all()

    @contextmanager
    def tracing(self) -> Iterator[None]:
        with self._changed:
            self._n_tracing += 1
            try:
                self._changed.wait_for(lambda: self._n_running == 0)
                yield  # with the lock: one traces at a time
            finally:
                self._n_tracing -= 1
                self._changed.notify_all()


_TRAFFIC = _Traffic()

EMBEDDED_WEIGHTS = Path(__file__).parent / "embedded"


class WeightsNotFoundError(FileNotFoundError):
    """A network's weights are not on this machine. The text says where we looked and how to get them."""


@dataclass(frozen=True)
class Architecture:
    """What must be known of a network to ask its layers.

    `layers` and `vectors` map the name shown to people to the module whose output it is (with ``_1`` where it is a
    module's second output, ``_2`` its third): `layers` are grids, `vectors` (fully connected layers) describe a whole
    image squeezed to `vector_size` pixels a side.
    Pixels, 0-1 RGB, are normalised by `mean` and `std`. `embedded` names a file of ours with the weights of
    all `layers`; `checkpoint` is torchvision's download with everything.
    """

    name: str
    build: Callable[[], nn.Module]
    layers: Mapping[str, str]
    default_layers: tuple[str, ...]
    checkpoint: str
    vectors: Mapping[str, str] = dataclasses.field(default_factory=dict)
    vector_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    embedded: str | None = None


def _alexnet() -> nn.Module:
    """torchvision's AlexNet. Importing it from there takes as long as importing torch."""
    features = nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    )
    classifier = nn.Sequential(
        *(nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, 1000),
    )
    parts = {"features": features, "avgpool": nn.AdaptiveAvgPool2d(6), "flatten": nn.Flatten()}
    return nn.Sequential(OrderedDict(parts, classifier=classifier))


def _of_torchvision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision import models  # only where it is needed, see `_alexnet`

        return models.get_model(name, weights=None)

    return build


def _vgg16_layers() -> dict[str, str]:
    layers, index = {}, 0
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for convolution in range(1, convolutions + 1):
            layers[f"conv{block}_{convolution}"] = f"features.{index + 1}"
            index += 2
        layers[f"pool{block}"] = f"features.{index}"
        index += 1
    return layers


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="alexnet",
            build=_alexnet,
            layers={
                "conv1": "features.1",
                "pool1": "features.2",
                "conv2": "features.4",
                "pool2": "features.5",
                "conv3": "features.7",
                "conv4": "features.9",
                "conv5": "features.11",
                "pool5": "features.12",
            },
            default_layers=("conv3", "conv4", "conv5"),
            vectors={"fc6": "classifier.2", "fc7": "classifier.5"},
            checkpoint="alexnet-owt-7be5be79.pth",
            embedded="alexnet_conv.safetensors",
        ),
        Architecture(
            name="vgg16",
            build=_of_torchvision("vgg16"),
            layers=_vgg16_layers(),
            default_layers=("conv3_3", "conv4_3", "conv5_3"),
            vectors={"fc6": "classifier.1", "fc7": "classifier.4"},
            checkpoint="vgg16-397923af.pth",
        ),
    )
}


@dataclass(frozen=True)
class Step:
    """A module on the way to a layer, its window, and how many pixels lie between its neighbouring inputs."""

    module: nn.Module
    window: KernelSpec
    jump: int


class Backbone:
    """A network with its weights, on a device. Made by `load`.

    `digest` names what makes the layers' descriptors: weights, up to the last grid, and preprocessing. Results are
    cached under it. Safe to use from several threads.
    """

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, torch.Tensor],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.architecture = architecture
        self.name = architecture.name
        self.device = torch.device(device) if device is not None else default_device()
        self.dtype = dtype
        with torch.device("meta"):
            model = architecture.build()
        with _TRAFFIC.tracing():
            self._graph = fx.Tracer().trace(model.eval().requires_grad_(False))
        self._nodes = _nodes_by_name(self._graph)
        chains = _chains(self._graph, model, weights)
        chains = {name: chains[node] for name, node in self._nodes.items() if node in chains}
        feeding = [name for name in weights if chains.get(name.rpartition(".")[0]) is not None]
        self.digest = _digest(architecture, {name: weights[name] for name in feeding})
        model.load_state_dict(
            {name: self._placed(weight) for name, weight in weights.items()}, strict=False, assign=True
        )
        self._model = model
        self._extractors: dict[tuple[str, ...], nn.Module] = {}
        self.vectors = tuple(name for name, node in architecture.vectors.items() if node in chains)
        self._chains = {name: chain for name, node in architecture.layers.items() if (chain := chains.get(node))}
        self.layers = tuple(self._chains)
        if not self.layers:
            msg = (
                f"weights must be those of {self.name} under torchvision's names, such as {next(iter(model.state_dict()))}; "
                f"got {', '.join(list(weights)[:3]) or 'none'}."
            )
            raise ValueError(msg)
        scale = 1 / (255 * torch.tensor(architecture.std))
        shift = -torch.tensor(architecture.mean) / torch.tensor(architecture.std)
        self._scale, self._shift = (value.to(self.device, dtype).view(1, 3, 1, 1) for value in (scale, shift))

    def receptive_field(self, layer: str) -> ReceptiveField:
        """Size, stride and offset of a layer, derived from the network's graph."""
        return self._chain(layer).receptive_field

    def smallest_side(self, layer: str) -> int:
        """The shortest image side, in pixels, for which the layer has at least one cell."""
        needed = 1
        for window in reversed(self._chain(layer).windows):
            needed = (needed - 1) * window.stride + (window.size - 1) * window.dilation + 1 - 2 * window.padding
            needed = max(needed, 1)
        return needed

    def steps(self, layer: str) -> "list[Step]":
        """The modules an image goes through to a layer. Raises ValueError for a layer that branches lead to."""
        self._chain(layer)
        steps: list[Step] = []
        node = self._nodes[self.architecture.layers[layer]]
        modules = dict(self._model.named_modules())
        while node.op != "placeholder":
            module = modules.get(str(node.target)) if node.op == "call_module" else None
            if module is None or isinstance(module, nn.AvgPool2d) or len(node.all_input_nodes) != 1:
                msg = f"{layer} of {self.name} cannot be taken at every pixel: {node.name} is no step of a chain."
                raise ValueError(msg)
            steps.append(
                Step(module, _window(module) if isinstance(module, (nn.Conv2d, nn.MaxPool2d)) else KernelSpec(1), 1)
            )
            node = node.all_input_nodes[0]
        jump, placed = 1, []
        for step in reversed(steps):
            placed.append(dataclasses.replace(step, jump=jump))
            jump *= step.window.stride
        return placed

    def extract(self, image: ImageLike, layers: Sequence[str]) -> dict[str, FeatureGrid]:
        """The descriptors of an image (`as_image`) in each of `layers`, after the layer's ReLU."""
        return self.extract_batch([as_image(image)], layers)[0]

    def extract_batch(self, images: Sequence[ImageLike], layers: Sequence[str]) -> list[dict[str, FeatureGrid]]:
        """`extract` for several images of one size in one pass.

        Raises ValueError for an unknown layer, images of different sizes, or one too small for a layer.
        """
        images = [as_image(image, name=f"images[{number}]") for number, image in enumerate(images)]
        if not images:
            return []
        height, width = images[0].shape[:2]
        if any(image.shape != images[0].shape for image in images):
            sizes = sorted({f"{image.shape[1]} x {image.shape[0]}" for image in images})
            msg = f"images of one batch must have one size; got {', '.join(sizes)} px."
            raise ValueError(msg)
        for layer in layers:
            smallest = self.smallest_side(layer)
            if min(height, width) < smallest:
                msg = (
                    f"an image must be at least {smallest} x {smallest} px for {layer} of {self.name}; "
                    f"got {width} x {height} px. Use a larger picture or an earlier layer."
                )
                raise ValueError(msg)
        outputs = self._run(self.normalised(np.stack(images)), tuple(layers))
        grids = {layer: outputs[layer].permute(0, 2, 3, 1) for layer in layers}
        return [
            {
                layer: FeatureGrid(grid[i], self.receptive_field(layer), (width, height), layer)
                for layer, grid in grids.items()
            }
            for i in range(len(images))
        ]

    def vector(self, image: ImageLike, layer: str) -> Float[torch.Tensor, " channels"]:
        """A fully connected layer's description of the whole image, squeezed to the network's own input size."""
        image = as_image(image)
        if layer in self.architecture.vectors and layer not in self.vectors:
            raise WeightsNotFoundError(_how_to_get(self.architecture, f"{layer} of {self.name}"))
        if layer not in self.vectors:
            msg = f"vector layer of {self.name} must be one of {', '.join(self.vectors) or 'none'}; got {layer!r}."
            raise ValueError(msg)
        side = self.architecture.vector_size
        pixels = self.normalised(np.stack([image]))
        pixels = F.interpolate(pixels.float(), size=(side, side), mode="bilinear", antialias=True).to(self.dtype)
        return self._run(pixels, (layer,))[layer][0]

    def _chain(self, layer: str) -> "_Chain":
        try:
            return self._chains[layer]
        except KeyError:
            msg = f"layer of {self.name} must be one of {', '.join(self.layers)}; got {layer!r}."
            raise ValueError(msg) from None

    def normalised(
        self, images: UInt8[np.ndarray, "batch height width 3"]
    ) -> Float[torch.Tensor, "batch 3 height width"]:
        """Pixels as the network takes them, on its device."""
        # Height-width-channel pixels are channels_last as they lie: no copy is made to get there.
        pixels = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).to(self.dtype)
        return torch.addcmul(self._shift, pixels, self._scale)

    def _run(self, pixels: torch.Tensor, layers: tuple[str, ...]) -> dict[str, torch.Tensor]:
        extractor = self._extractor(layers)
        with _TRAFFIC.running(), torch.inference_mode():
            return extractor(pixels)

    def _extractor(self, layers: tuple[str, ...]) -> nn.Module:
        if layers not in self._extractors:
            graph, copied = fx.Graph(), {}
            graph.graph_copy(self._graph, copied)
            wanted = {**self.architecture.layers, **self.architecture.vectors}
            graph.output({layer: copied[self._nodes[wanted[layer]]] for layer in layers})
            extractor = fx.GraphModule(self._model, graph)
            extractor.graph.eliminate_dead_code()
            extractor.recompile()
            self._extractors[layers] = extractor
        return self._extractors[layers]

    def _placed(self, weight: torch.Tensor) -> torch.Tensor:
        layout = torch.channels_last if weight.ndim == 4 else torch.preserve_format
        dtype = self.dtype if weight.is_floating_point() else weight.dtype
        return weight.to(self.device, dtype, memory_format=layout)


def load(
    name: str = "alexnet",
    *,
    weights: Mapping[str, torch.Tensor] | str | os.PathLike | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Backbone:
    """A network of the registry, ready to describe images.

    `weights` may be a state dict or a ``.safetensors`` file under torchvision's names. By default torchvision's
    full checkpoint is used where it has been downloaded, else the convolutional weights embedded with this
    package (AlexNet). Nothing is ever fetched from the network.

    Raises ValueError for an unknown name and WeightsNotFoundError when there are no weights on this machine.

    >>> import numpy as np
    >>> from corrcore import networks
    >>> alexnet = networks.load("alexnet", device="cpu")
    >>> grids = alexnet.extract(np.zeros((240, 320, 3), np.uint8), ["conv3", "conv5"])
    >>> grids["conv5"].descriptors.shape, grids["conv5"].receptive_field
    (torch.Size([14, 19, 256]), ReceptiveField(size=163, stride=16, offset=15.0))
    """
    if name not in ARCHITECTURES:
        msg = f"backbone must be one of {', '.join(ARCHITECTURES)}; got {name!r}."
        raise ValueError(msg)
    architecture = ARCHITECTURES[name]
    if isinstance(weights, (str, os.PathLike)):
        weights = load_file(weights)
    weights = _find_weights(architecture) if weights is None else weights
    return Backbone(architecture, weights, device=device, dtype=dtype)


def _checkpoint(architecture: Architecture) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / architecture.checkpoint


def _find_weights(architecture: Architecture) -> Mapping[str, torch.Tensor]:
    checkpoint = _checkpoint(architecture)
    if checkpoint.is_file():
        return torch.load(checkpoint, map_location="cpu", weights_only=True)
    if architecture.embedded is not None:
        return load_file(EMBEDDED_WEIGHTS / architecture.embedded)
    raise WeightsNotFoundError(_how_to_get(architecture, f"the weights of {architecture.name}"))


def _how_to_get(architecture: Architecture, what: str) -> str:
    return (
        f"{what} need torchvision's checkpoint {_checkpoint(architecture)}, which is not there; get it on a machine "
        f"with a network by `python -c \"import torchvision; torchvision.models.get_model('{architecture.name}', "
        "weights='DEFAULT')\"`."
    )


def _digest(architecture: Architecture, weights: Mapping[str, torch.Tensor]) -> str:
    state = hashlib.blake2b(f"{architecture.name} {architecture.mean} {architecture.std}".encode(), digest_size=16)
    for name in sorted(weights):
        state.update(f"{name} {tuple(weights[name].shape)} {weights[name].dtype}".encode())
        state.update(weights[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


@dataclass(frozen=True)
class _Chain:
    """How a node sees the input: its receptive field, and the windows of one path to it."""

    receptive_field: ReceptiveField
    windows: tuple[KernelSpec, ...] = ()

    def through(self, window: KernelSpec) -> "_Chain":
        return _Chain(self.receptive_field.through(window), (*self.windows, window))


def _one(value: int | tuple[int, ...]) -> int:
    values = value if isinstance(value, tuple) else (value,)
    if len(set(values)) != 1:
        msg = f"windows must be square and padded evenly; got {values}."
        raise ValueError(msg)
    return values[0]


def _window(module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> KernelSpec:
    if isinstance(module.padding, str):
        msg = f"padding must be given in pixels, not as {module.padding!r}."
        raise TypeError(msg)
    if getattr(module, "ceil_mode", False):
        msg = "windows must not be rounded up (ceil_mode): the last one would leave its input."
        raise ValueError(msg)
    return KernelSpec(
        size=_one(module.kernel_size),
        stride=_one(module.stride),
        padding=_one(module.padding),
        dilation=1 if isinstance(module, nn.AvgPool2d) else _one(module.dilation),
    )


_POINTWISE = (nn.ReLU, nn.BatchNorm2d, nn.Dropout, nn.Identity, nn.LocalResponseNorm)
_JOINS = {torch.add, operator.add, operator.iadd, torch.cat}


def _nodes_by_name(graph: fx.Graph) -> dict[str, fx.Node]:
    """The outputs of modules, by the module's name; later outputs of one module with ``_1``, ``_2``, ..."""
    nodes: dict[str, fx.Node] = {}
    outputs: Counter[str] = Counter()
    for node in graph.nodes:
        if node.op == "call_module":
            before = outputs[str(node.target)]
            nodes[f"{node.target}_{before}" if before else str(node.target)] = node
            outputs[str(node.target)] += 1
    return nodes


def _chains(graph: fx.Graph, model: nn.Module, weights: Mapping[str, torch.Tensor]) -> dict[fx.Node, _Chain | None]:
    """What every node whose weights are known sees; None: the whole image."""
    modules = dict(model.named_modules())
    chains: dict[fx.Node, _Chain | None] = {}
    for node in graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        known = module is None or all(f"{node.target}.{name}" in weights for name, _ in module.named_parameters())
        if not known or any(source not in chains for source in node.all_input_nodes):
            continue
        inputs = [chains[source] for source in node.all_input_nodes]
        bounded = [chain for chain in inputs if chain is not None]
        chains[node] = None
        if node.op == "placeholder":
            chains[node] = _Chain(ReceptiveField.identity())
        elif not bounded or len(bounded) < len(inputs):
            continue
        elif isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            chains[node] = bounded[0].through(_window(module))
        elif isinstance(module, _POINTWISE):
            chains[node] = bounded[0]
        elif node.target in _JOINS:
            field = bounded[0].receptive_field
            for other in bounded[1:]:
                field = field.union(other.receptive_field)
            chains[node] = _Chain(field, bounded[0].windows)
    return chains
