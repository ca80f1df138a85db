"""Convolutional networks: a module's graph becomes layers, its kernels become receptive fields.

Receptive fields are derived from the graph, never typed in. Images are not squeezed: the convolutional part runs on the
whole picture at its own size.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import fx, nn
from torch.nn import functional as F

from corrcore.concurrency import default_device
from corrcore.features import FeatureGrid, Image, Roles, check_cells
from corrcore.geometry import KernelSpec, PixelBox, ReceptiveField
from corrcore.images import ImageLike, as_image
from corrcore.networks import every_pixel
from corrcore.networks.every_pixel import Step
from corrcore.networks.graph import Chain, chains_of, kernel_of, nodes_by_name
from corrcore.networks.weights import Weights, WeightsNotFoundError, digest, find, how_to_get, read


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


@dataclass(frozen=True)
class ConvolutionalSpec:
    """What must be known of a convolutional network to ask its layers.

    `layers` and `global_layers` map the name shown to people to the module whose output it is (with ``_1`` where it is
    a module's second output, ``_2`` its third): `layers` are grids, by depth; `global_layers` (fully connected ones)
    describe a whole image squeezed to `global_size` pixels a side. Pixels, 0-1 RGB, are normalised by `mean` and `std`.
    `embedded` is a file with the weights of all `layers`; `checkpoint` is torchvision's download with everything.
    """

    name: str
    build: Callable[[], nn.Module]
    layers: Mapping[str, str]
    roles: Roles
    checkpoint: str = ""
    embedded: Path | None = None
    global_layers: Mapping[str, str] = field(default_factory=dict)
    global_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def open(
        self,
        *,
        weights: Weights | str | os.PathLike | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "ConvolutionalNetwork":
        """The network with `weights`, by default those `corrcore.networks.weights.find` finds on this machine."""
        if weights is None:
            weights = find(self.name, checkpoint=self.checkpoint, embedded=self.embedded)
        elif isinstance(weights, (str, os.PathLike)):
            weights = read(Path(weights))
        return ConvolutionalNetwork(self, weights, device=device, dtype=dtype)


class ConvolutionalNetwork:
    """A convolutional network with its weights, on a device: an `Extractor`.

    `digest` names what makes the layers' descriptors: weights, up to the last grid, preprocessing and precision.
    Results are filed under it. Safe to use from several threads. Pickles where its spec's `build` does.
    """

    anywhere = False

    def __init__(
        self,
        spec: ConvolutionalSpec,
        weights: Weights,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.roles = spec.roles
        self.device = torch.device(device) if device is not None else default_device()
        self.dtype = dtype
        with torch.device("meta"):
            model = spec.build()
        with _TRAFFIC.tracing():
            self._graph = fx.Tracer().trace(model.eval().requires_grad_(False))
        self._nodes = nodes_by_name(self._graph)
        chains = chains_of(self._graph, model, weights)
        chains = {name: chains[node] for name, node in self._nodes.items() if node in chains}
        feeding = [name for name in weights if chains.get(name.rpartition(".")[0]) is not None]
        self.digest = digest(
            f"{spec.name} {spec.mean} {spec.std}" + ("" if dtype == torch.float32 else f" {dtype}"),
            {name: weights[name] for name in feeding},
        )
        _check_shapes(spec.name, model, weights)
        model.load_state_dict(
            {name: self._placed(weight) for name, weight in weights.items()}, strict=False, assign=True
        )
        self._model = model
        self._extractors: dict[tuple[str, ...], nn.Module] = {}
        self.global_layers = tuple(name for name, node in spec.global_layers.items() if node in chains)
        self._chains = {name: chain for name, node in spec.layers.items() if (chain := chains.get(node))}
        self.layers = tuple(self._chains)
        if not self.layers:
            msg = (
                f"weights must be those of {self.name} under torchvision's names, "
                f"such as {next(iter(model.state_dict()))}; got {', '.join(list(weights)[:3]) or 'none'}."
            )
            raise ValueError(msg)
        scale = 1 / (255 * torch.tensor(spec.std))
        shift = -torch.tensor(spec.mean) / torch.tensor(spec.std)
        self._scale, self._shift = (value.to(self.device, dtype).view(1, 3, 1, 1) for value in (scale, shift))

    def __reduce__(self) -> tuple[Any, ...]:
        weights = {name: value.cpu() for name, value in self._model.state_dict().items() if not value.is_meta}
        return _unpickled, (self.spec, weights, str(self.device), self.dtype, self.digest)

    def receptive_field(self, layer: str) -> ReceptiveField:
        """Size, stride and offset of a layer, derived from the network's graph."""
        return self._chain(layer).receptive_field

    def smallest_side(self, layer: str) -> int:
        """The shortest image side, in pixels, for which the layer has at least one cell."""
        needed = 1
        for kernel in reversed(self._chain(layer).kernels):
            needed = (needed - 1) * kernel.stride + (kernel.size - 1) * kernel.dilation + 1 - 2 * kernel.padding
            needed = max(needed, 1)
        return needed

    def extract(self, image: ImageLike, layers: Sequence[str]) -> dict[str, FeatureGrid]:
        """The descriptors of an RGB image in each of `layers`, after the layer's ReLU."""
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
            self._check_size(layer, (width, height))
        outputs = self._run(self.normalised(np.stack(images)), tuple(layers))
        grids = {layer: outputs[layer].permute(0, 2, 3, 1) for layer in layers}
        return [
            {
                layer: FeatureGrid(grid[i], self.receptive_field(layer), (width, height), layer)
                for layer, grid in grids.items()
            }
            for i in range(len(images))
        ]

    def sample_at(
        self,
        image: ImageLike,
        points: Float[np.ndarray, "points 2"],
        layers: Sequence[str],
        *,
        cells: int = 1,
        exact: bool = False,
    ) -> dict[str, Float[torch.Tensor, "points _channels"]]:
        """The descriptors of points, (x, y) in pixels: those of the cells whose receptive fields are nearest.

        `cells` and `exact` are those of `Extractor.sample_at`; exact descriptors are those of `every_pixel`.
        """
        image = as_image(image)
        check_cells(cells, exact=exact)
        if exact:
            return {
                layer: every_pixel.sample_at(
                    image, points, self._steps(layer), self._first_pixel(layer), self.normalised
                )
                for layer in layers
                if self._check_size(layer, image)
            }
        return {layer: nearest_cells(grid, points, cells) for layer, grid in self.extract(image, layers).items()}

    def valid_region(self, layer: str, image_size: tuple[int, int]) -> PixelBox:
        """The pixels of an image of ``(width, height)`` that have a descriptor of their own: see `every_pixel`.

        Raises ValueError for an unknown layer, one behind branches, and an image too small for it.
        """
        self._check_size(layer, image_size)
        return every_pixel.valid_region(self._steps(layer), self._first_pixel(layer), image_size)

    def iter_tiles(
        self,
        image: ImageLike,
        layer: str,
        *,
        region: PixelBox | None = None,
        budget: int = every_pixel.BUDGET,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
        """A descriptor for every pixel of `region`, a part at a time, exactly: see `every_pixel.iter_tiles`."""
        image = as_image(image)
        valid = self.valid_region(layer, (image.shape[1], image.shape[0]))
        region = valid if region is None else region
        if region.width < 1 or region.height < 1 or not valid.contains(region):
            msg = f"region must lie within the pixels that {layer} describes, {tuple(valid)}; got {tuple(region)}."
            raise ValueError(msg)
        yield from every_pixel.iter_tiles(
            image,
            self._steps(layer),
            self._first_pixel(layer),
            self.normalised,
            region=region,
            budget=budget,
            progress=progress,
        )

    def global_descriptor(self, image: ImageLike, layer: str) -> Float[torch.Tensor, " channels"]:
        """A fully connected layer's description of the whole image, squeezed to the network's own input size.

        Raises WeightsNotFoundError where the layer's weights are not here, and ValueError for an unknown layer.
        """
        picture = as_image(image)
        if layer in self.spec.global_layers and layer not in self.global_layers:
            raise WeightsNotFoundError(how_to_get(self.name, f"{layer} of {self.name}", self.spec.checkpoint))
        if layer not in self.global_layers:
            msg = (
                f"global layer of {self.name} must be one of {', '.join(self.global_layers) or 'none'}; got {layer!r}."
            )
            raise ValueError(msg)
        side = self.spec.global_size
        pixels = self.normalised(picture[None])
        pixels = F.interpolate(pixels.float(), size=(side, side), mode="bilinear", antialias=True).to(self.dtype)
        return self._run(pixels, (layer,))[layer][0]

    def _first_pixel(self, layer: str) -> int:
        """The pixel that the first cell's receptive field is centred on, or the one before its centre."""
        return int(np.floor(self.receptive_field(layer).offset))

    def _check_size(self, layer: str, image: Image | tuple[int, int]) -> bool:
        """Raises ValueError for an image too small for a layer."""
        width, height = image if isinstance(image, tuple) else (image.shape[1], image.shape[0])
        smallest = self.smallest_side(layer)
        if min(width, height) < smallest:
            msg = (
                f"an image must be at least {smallest} x {smallest} px for {layer} of {self.name}; "
                f"got {width} x {height} px. Use a larger picture or an earlier layer."
            )
            raise ValueError(msg)
        return True

    def _steps(self, layer: str) -> list[Step]:
        """The modules an image goes through to a layer. Raises ValueError for a layer that branches lead to."""
        self._chain(layer)
        steps: list[Step] = []
        node = self._nodes[self.spec.layers[layer]]
        modules = dict(self._model.named_modules())
        while node.op != "placeholder":
            module = modules.get(str(node.target)) if node.op == "call_module" else None
            if module is None or isinstance(module, nn.AvgPool2d) or len(node.all_input_nodes) != 1:
                msg = f"{layer} of {self.name} cannot be taken at every pixel: {node.name} is no step of a chain."
                raise ValueError(msg)
            kernel = kernel_of(module) if isinstance(module, (nn.Conv2d, nn.MaxPool2d)) else KernelSpec(1)
            steps.append(Step(module, kernel, 1))
            node = node.all_input_nodes[0]
        jump, placed = 1, []
        for step in reversed(steps):
            placed.append(replace(step, jump=jump))
            jump *= step.kernel.stride
        return placed

    def _chain(self, layer: str) -> Chain:
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
            wanted = {**self.spec.layers, **self.spec.global_layers}
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


def _unpickled(
    spec: ConvolutionalSpec, weights: Weights, device: str, dtype: torch.dtype, digest: str
) -> ConvolutionalNetwork:
    network = ConvolutionalNetwork(spec, weights, device=device, dtype=dtype)
    network.digest = digest  # which is that of the weights as they were given, not as they were placed
    return network


def _check_shapes(network: str, model: nn.Module, weights: Weights) -> None:
    """Raises ValueError for weights that are those of another network, though some of their names are known."""
    for name, expected in model.state_dict().items():
        if name in weights and weights[name].shape != expected.shape:
            needed, got = (" x ".join(map(str, each.shape)) or "one number" for each in (expected, weights[name]))
            msg = f"{name} of {network} must be {needed}; got {got}. Give weights of this network."
            raise ValueError(msg)


def nearest_cells(
    grid: FeatureGrid, points: Float[np.ndarray, "points 2"], cells: int
) -> Float[torch.Tensor, "points channels"]:
    """The descriptors of the square of `cells` x `cells` cells around each point, end to end; borders are repeated."""
    diagonal = grid.receptive_field.stride * (np.arange(cells) - cells // 2)
    rows, columns = grid.cells.nearest_cells(points[:, None] + diagonal[:, None])
    return grid.descriptors[rows[:, :, None], columns[:, None, :]].flatten(1)
