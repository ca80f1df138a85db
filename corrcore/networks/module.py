"""Any torch module as an extractor: its parts become layers, and where their cells lie is found by following a run.

Images are not squeezed: the module runs on the whole picture at its own size. Where windows lie differently on images
of different sizes, or a module takes multiples of a patch only, pictures are extended to the right and below by their
last pixels; cells whose centre lies beyond the picture are left out.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch.nn import functional as F

from corrcore.concurrency import default_device, travelling
from corrcore.features import FeatureGrid, Image, MapMethod, check_cells
from corrcore.geometry import PixelBox, ReceptiveField
from corrcore.images import ImageLike, as_image
from corrcore.networks import by_shifts, every_pixel
from corrcore.networks.by_shifts import Shifting
from corrcore.networks.every_pixel import Step, steps_of
from corrcore.networks.fitting import buffers_of, built
from corrcore.networks.gradients import iter_gradients, weighted
from corrcore.networks.layers import find_layers, roles_of
from corrcore.networks.lookup import how_to_get
from corrcore.networks.module_geometry import LayerGeometry, ModuleGeometry
from corrcore.networks.module_spec import ModuleSpec
from corrcore.networks.overlapping import patch_px
from corrcore.networks.placing import place
from corrcore.networks.taps import Taps
from corrcore.networks.weights import Weights, WeightsNotFoundError, digest

BATCH_BYTES = 2**30  # of what a batch's layers hold at a time: VGG16's of eight photos of 500 x 375 px


class ModuleNetwork:
    """A torch module with its weights, on a device: an `Extractor`.

    `digest` names what makes the layers' descriptors: the weights up to the last grid, which submodules the layers are
    and where their cells lie, preprocessing and precision. Results are filed under it. `measured` are the layers whose
    receptive fields have no derivation and were measured. Safe to use from several threads. Pickles where its spec's
    `build` does.
    """

    anywhere = False

    def __init__(
        self,
        spec: ModuleSpec,
        weights: Weights,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec, self.name = spec, spec.name
        self.device = torch.device(device) if device is not None else default_device()
        self.dtype = dtype
        model, self._empty = built(spec.builder, weights)
        patch = None if spec.grid_stride is None else patch_px(self._empty)
        self._geometry = ModuleGeometry.of(self._empty, multiple=patch, train_px=spec.train_px)
        paths = dict(spec.layers) if spec.layers is not None else find_layers(model, self._geometry.traced)
        modules = dict(model.named_modules())
        if absent := [path for path in [*paths.values(), *spec.global_layers.values()] if path not in modules]:
            msg = (
                f"layers of {self.name} must be submodules of it, such as {list(modules)[1]}; got {', '.join(absent)}."
            )
            raise ValueError(msg)
        known = {name: path for name, path in paths.items() if self._has_weights(path, weights)}
        self.global_layers = tuple(
            name for name, path in spec.global_layers.items() if self._has_weights(path, weights)
        )
        if not known:
            msg = (
                f"weights must be those of {self.name} under its module's names, "
                f"such as {next(iter(model.state_dict()))}; got {', '.join(list(weights)[:3]) or 'none'}."
            )
            raise ValueError(msg)
        self._model = place(model, weights, self.device, dtype)
        self._layers = self._geometry.layers(known, self._model, self._empty)
        if missing := [path for name, path in known.items() if name not in self._layers and spec.layers is not None]:
            msg = f"{', '.join(missing)} of {self.name} must give a grid of cells whose places are known; take others."
            raise ValueError(msg)
        if not self._layers:
            msg = f"{self.name} has no layer that gives a grid of cells whose places are known; take another network."
            raise ValueError(msg)
        self.layers = tuple(self._layers)
        self.measured = frozenset(name for name, each in self._layers.items() if each.measured)
        self.roles = spec.roles or roles_of({name: each.receptive_field.stride for name, each in self._layers.items()})
        feeding = frozenset().union(*(each.parameters for each in self._layers.values()))
        lying = {name: (each.path, each.receptive_field) for name, each in self._layers.items()}
        self.digest = digest(
            f"{spec.name} {spec.mean} {spec.std} {dtype} {lying}",
            {name: weights[name] for name in weights if name in feeding or name in buffers_of(model, feeding)},
        )
        self._taps = Taps(
            self._model, overwritten={path for path, each in self._geometry.traced.items() if each.overwritten}
        )
        scale = 1 / (255 * torch.tensor(spec.std))
        shift = -torch.tensor(spec.mean) / torch.tensor(spec.std)
        self._scale, self._shift = (value.to(self.device, dtype).view(1, 3, 1, 1) for value in (scale, shift))

    def __reduce__(self) -> tuple[Any, ...]:
        weights = {name: value.cpu() for name, value in self._model.state_dict().items() if not value.is_meta}
        return _unpickled, (self.spec, weights, travelling(self.device), self.dtype, self.digest)

    def _has_weights(self, path: str, weights: Weights) -> bool:
        found = self._geometry.traced.get(path)
        return found is not None and found.parameters <= weights.keys()

    def receptive_field(self, layer: str) -> ReceptiveField:
        """Size, stride and offset of a layer's cells; their size is None where they see the whole image."""
        return self._layer(layer).receptive_field

    @property
    def image_size(self) -> tuple[int, int] | None:
        """The one size of images that the network takes, (width, height) in pixels; None where it takes others too."""
        fixed = self._geometry.fixed
        return None if fixed is None else (fixed[1], fixed[0])

    @property
    def n_bytes(self) -> int:
        """Of the weights that are in memory."""
        return sum(value.nbytes for value in self._model.state_dict().values() if not value.is_meta)

    def smallest_side(self, layer: str) -> int:
        """The shortest image side, in pixels, for which the layer has at least one cell."""
        return self._smallest(self._layer(layer).path)

    def _smallest(self, path: str) -> int:
        known = self._smallest_known
        if path not in known:
            unit = self._geometry.multiple
            low, high = 0, -(-min(self._geometry.size) // unit)
            while high - low > 1:  # too small for `low`, large enough for `high`
                middle = (low + high) // 2
                low, high = (low, middle) if self._geometry.takes(self._empty, path, middle * unit) else (middle, high)
            centre = next(each for each in self._layers.values() if each.path == path).receptive_field.offset
            known[path] = max((high - 1) * unit + 1, int(np.ceil(centre + 0.5)))
        return known[path]

    @cached_property
    def _smallest_known(self) -> dict[str, int]:
        return {}

    def _beyond_last_px(self, layer: str) -> int:
        known = self._beyond_known
        if layer not in known:
            known[layer] = self._geometry.beyond_last_px(self._empty, self._layer(layer))
        return known[layer]

    @cached_property
    def _beyond_known(self) -> dict[str, int]:
        return {}

    def extract(self, image: ImageLike, layers: Sequence[str]) -> dict[str, FeatureGrid]:
        """The descriptors of an RGB image in each of `layers`."""
        return self.extract_batch([as_image(image)], layers)[0]

    def extract_batch(self, images: Sequence[ImageLike], layers: Sequence[str]) -> list[dict[str, FeatureGrid]]:
        """`extract` for several images of one size, as many in a pass as `BATCH_BYTES` hold.

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
        paths = list(dict.fromkeys(self._layer(layer).path for layer in layers))
        most = self._geometry.batch_size(paths, (height, width), BATCH_BYTES // self.dtype.itemsize)
        found: list[dict[str, FeatureGrid]] = [{} for _ in images]
        for first in range(0, len(images), most):
            pixels = self._extended(self.normalised(np.stack(images[first : first + most])))
            outputs = self._taps.run(pixels, paths)
            for layer in layers:
                here = self._layer(layer)
                grids = here.grids(outputs[here.path], (pixels.shape[2], pixels.shape[3]), (height, width))
                for number, descriptors in enumerate(grids, start=first):
                    found[number][layer] = FeatureGrid(descriptors, here.receptive_field, (width, height), layer)
        return found

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

        `cells` and `exact` are those of `Extractor.sample_at`; exact descriptors are those of `every_pixel`, or of the
        shifted image where the network is no chain of windows.
        """
        image = as_image(image)
        check_cells(cells, exact=exact)
        if not exact:
            return {layer: nearest_cells(grid, points, cells) for layer, grid in self.extract(image, layers).items()}
        found = {}
        for layer in layers:
            valid = self.valid_region(layer, (image.shape[1], image.shape[0]))
            if steps := self._steps(layer):
                first = self._first_pixel(layer)
                found[layer] = every_pixel.sample_at(image, points, steps, first, self.normalised)
            else:
                found[layer] = self._shifting(layer).sample_at(image, points, valid)
        return found

    def valid_region(self, layer: str, image_size: tuple[int, int]) -> PixelBox:
        """The pixels of an image of ``(width, height)`` that have a descriptor of their own.

        Raises ValueError for an unknown layer and an image too small for it.
        """
        self._check_size(layer, image_size)
        first = self._first_pixel(layer)
        if steps := self._steps(layer):
            found = every_pixel.valid_region(steps, first, image_size)
            return PixelBox(first, first, min(found.right, image_size[0]), min(found.bottom, image_size[1]))
        left = self._beyond_last_px(layer)
        right, bottom = (max(side - left, first + 1) for side in image_size)
        return PixelBox(first, first, right, bottom)

    def map_step(self, layer: str, region: PixelBox) -> int:
        """How far apart the pixels are that `iter_tiles` describes in a region: see `Extractor.map_step`."""
        return 1 if self._steps(layer) else by_shifts.step_px(self.receptive_field(layer).stride, region)

    def map_method(self, layer: str) -> MapMethod:
        """How `iter_tiles` gets descriptors between the cells of a layer's grid."""
        return "one pass" if self._steps(layer) else "shifted images"

    def iter_tiles(
        self,
        image: ImageLike,
        layer: str,
        *,
        region: PixelBox | None = None,
        budget: int = every_pixel.BUDGET,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
        """A descriptor for every pixel of `region`, a part at a time: exactly, as `every_pixel` has it, where the
        network is a chain of windows, else by shifting the image (`by_shifts`), by `map_step` pixels each time.
        """
        image = as_image(image)
        valid = self.valid_region(layer, (image.shape[1], image.shape[0]))
        region = valid if region is None else region
        if region.width < 1 or region.height < 1 or not valid.contains(region):
            msg = f"region must lie within the pixels that {layer} describes, {tuple(valid)}; got {tuple(region)}."
            raise ValueError(msg)
        first, steps = self._first_pixel(layer), self._steps(layer)
        if not steps:
            step = self.map_step(layer, region)
            yield from self._shifting(layer).iter_tiles(image, region, step=step, progress=progress)
            return
        yield from every_pixel.iter_tiles(
            image, steps, first, self.normalised, region=region, budget=budget, progress=progress
        )

    def pixel_gradients(
        self,
        image: ImageLike,
        layer: str,
        cells: Int[np.ndarray, "cells 2"],
        *,
        weights: Float[np.ndarray, " channels"] | None = None,
    ) -> Iterator[Float[np.ndarray, "height width"]]:
        """How much each pixel moves a cell's numbers, for each of `cells`, (row, column): the gradient of their sum.

        Absolute values per grey level, summed over colours. With `weights`, one per channel, of the weighted sum.
        Raises ValueError for an unknown layer, an image too small for it, and other numbers of weights.
        """
        image, here = as_image(image), self._layer(layer)
        size = image.shape[:2]
        self._check_size(layer, (size[1], size[0]))

        def sums(pixels: torch.Tensor) -> Iterator[torch.Tensor]:
            extended = self._extended(pixels)
            output = self._taps.run(extended, [here.path], inference=False)[here.path]
            found = weighted(here.grids(output, (extended.shape[2], extended.shape[3]), size)[0], weights)
            for row, column in cells:
                yield found[int(row), int(column)]

        per_grey_level = self._scale[0].double().cpu().numpy()
        for gradient in iter_gradients(self.normalised(image[None]), sums):
            yield np.abs(per_grey_level * gradient).sum(0)

    def _shifting(self, layer: str) -> Shifting:
        def describe(image: Image) -> FeatureGrid:
            return self.extract(image, [layer])[layer]

        return Shifting(describe, self._first_pixel(layer), self.receptive_field(layer).stride)

    def global_descriptor(self, image: ImageLike, layer: str) -> Float[torch.Tensor, " channels"]:
        """A fully connected layer's description of the whole image, squeezed to the network's own input size.

        Raises WeightsNotFoundError where the layer's weights are not here, and ValueError for an unknown layer.
        """
        picture = as_image(image)
        if layer in self.spec.global_layers and layer not in self.global_layers:
            raise WeightsNotFoundError(how_to_get(f"the weights of {layer} of {self.name}", self.spec.sources))
        if layer not in self.global_layers:
            msg = (
                f"global layer of {self.name} must be one of {', '.join(self.global_layers) or 'none'}; got {layer!r}."
            )
            raise ValueError(msg)
        side = self.spec.global_size
        pixels = self.normalised(picture[None])
        pixels = F.interpolate(pixels.float(), size=(side, side), mode="bilinear", antialias=True).to(self.dtype)
        path = self.spec.global_layers[layer]
        return self._taps.run(pixels, [path])[path][0]

    def _first_pixel(self, layer: str) -> int:
        """The pixel that the first cell's receptive field is centred on, or the one before its centre."""
        return int(np.floor(self.receptive_field(layer).offset))

    def _check_size(self, layer: str, image_size: tuple[int, int]) -> None:
        """Raises ValueError for images that the network does not take."""
        fixed, smallest = self._geometry.fixed, self.smallest_side(layer)
        if fixed is not None and image_size != fixed[::-1]:
            msg = (
                f"{self.name} takes only images of {fixed[1]} x {fixed[0]} px; got {image_size[0]} x {image_size[1]} "
                "px. Resize the picture, or take another network."
            )
            raise ValueError(msg)
        if min(image_size) < smallest:
            msg = (
                f"an image must be at least {smallest} x {smallest} px for {layer} of {self.name}; "
                f"got {image_size[0]} x {image_size[1]} px. Use a larger picture or an earlier layer."
            )
            raise ValueError(msg)

    def _steps(self, layer: str) -> list[Step]:
        """The windows an image goes through to a layer; empty where it goes through anything else."""
        return steps_of(self._model, self._layer(layer).chain)

    def _layer(self, layer: str) -> LayerGeometry:
        try:
            return self._layers[layer]
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

    def _extended(self, pixels: torch.Tensor) -> torch.Tensor:
        """With the last column and row repeated, to multiples of what the network needs."""
        right, below = (-side % self._geometry.multiple for side in (pixels.shape[3], pixels.shape[2]))
        return F.pad(pixels, (0, right, 0, below), mode="replicate") if right or below else pixels


def _unpickled(
    spec: ModuleSpec, weights: Weights, device: str | None, dtype: torch.dtype, digest: str
) -> ModuleNetwork:
    network = ModuleNetwork(spec, weights, device=device, dtype=dtype)
    network.digest = digest  # which is that of the weights as they were given, not as they were placed
    return network


def nearest_cells(
    grid: FeatureGrid, points: Float[np.ndarray, "points 2"], cells: int
) -> Float[torch.Tensor, "points channels"]:
    """The descriptors of the square of `cells` x `cells` cells around each point, end to end; borders are repeated."""
    diagonal = grid.receptive_field.stride * (np.arange(cells) - cells // 2)
    rows, columns = grid.cells.nearest_cells(points[:, None] + diagonal[:, None])
    return grid.descriptors[rows[:, :, None], columns[:, None, :]].flatten(1)
