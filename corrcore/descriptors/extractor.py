"""SIFT as an extractor."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from corrcore.concurrency import default_device
from corrcore.descriptors import sift
from corrcore.features import Extractor, FeatureGrid, Image, Roles
from corrcore.geometry import CellGrid, PixelBox, ReceptiveField


class NoRolesError(ValueError, AttributeError):
    """SIFT has no layers that tasks take unless they are told otherwise."""


class Sift(Extractor):
    """SIFT: a layer is a radius in pixels, as text. Cells are as far apart as bins are wide, from 1.5 bins on."""

    name = "sift"
    anywhere = True
    layers = ("10", "20", "40", "80", "160")
    global_layers = ()
    digest = f"sift-{sift.VERSION}"

    def __init__(self, *, device: torch.device | str | None = None) -> None:
        self._device = torch.device(device) if device is not None else default_device()

    @property
    def device(self) -> torch.device:
        """Where descriptors are computed."""
        return self._device

    @property
    def roles(self) -> Roles:
        """Raises ValueError: which radius suits a task is for the caller to say."""
        msg = "sift has no layers for roles; name a radius, such as sift20."
        raise NoRolesError(msg)

    def radius(self, layer: str) -> float:
        """The radius of a layer in pixels. Raises ValueError for what is none."""
        try:
            radius = float(layer)
        except ValueError:
            radius = float("nan")
        if not 2 <= radius <= 1000:
            msg = f"layer of sift must be a radius of 2 to 1000 px, such as 20; got {layer!r}."
            raise ValueError(msg)
        return radius

    def receptive_field(self, layer: str) -> ReceptiveField:
        """The nominal support of a radius, and the grid of `extract`."""
        radius = self.radius(layer)
        return ReceptiveField(round(2 * radius), max(round(radius / 2), 1), round(1.5 * radius) / 2)

    def smallest_side(self, layer: str) -> int:
        """The shortest image side, in pixels, that holds a cell."""
        return int(2 * self.receptive_field(layer).offset) + 1

    def extract(self, image: Image, layers: Sequence[str]) -> dict[str, FeatureGrid]:
        """The grid of each radius."""
        return {layer: self._extract(image, layer) for layer in layers}

    def _extract(self, image: Image, layer: str) -> FeatureGrid:
        side, (height, width) = self.smallest_side(layer), image.shape[:2]
        if min(height, width) < side:
            msg = f"an image must be at least {side} x {side} px for sift{layer}; got {width} x {height} px."
            raise ValueError(msg)
        stride = self.receptive_field(layer).stride
        return sift.extract(image, radius_px=self.radius(layer), stride=stride, device=self.device)

    def extract_batch(self, images: Sequence[Image], layers: Sequence[str]) -> list[dict[str, FeatureGrid]]:
        """`extract` for several images."""
        return [self.extract(image, layers) for image in images]

    def extract_on(self, image: Image, cells: CellGrid, layer: str) -> FeatureGrid:
        """Descriptors at another extractor's cells."""
        return sift.extract_on(image, cells, radius_px=self.radius(layer), device=self.device)

    def sample_at(
        self,
        image: Image,
        points: Float[np.ndarray, "points 2"],
        layers: Sequence[str],
        *,
        cells: int = 1,
        exact: bool = False,
    ) -> dict[str, Float[torch.Tensor, "points _channels"]]:
        """One descriptor exactly at each point, for any number of `cells`."""
        if cells < 1 or cells % 2 == 0:
            msg = f"cells must be an odd number from 1; got {cells}."
            raise ValueError(msg)
        if exact and cells > 1:
            msg = f"cells must be 1 where descriptors are exact; got {cells}."
            raise ValueError(msg)
        return {
            layer: sift.describe(image, points, radius_px=self.radius(layer), device=self.device) for layer in layers
        }

    def valid_region(self, layer: str, image_size: tuple[int, int]) -> PixelBox:
        """The whole image."""
        self.radius(layer)
        return PixelBox(0, 0, *image_size)

    def iter_tiles(
        self,
        image: Image,
        layer: str,
        *,
        region: PixelBox | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
        """A descriptor for every pixel of `region`, 64 rows at a time."""
        there = self.valid_region(layer, (image.shape[1], image.shape[0]))
        region = there if region is None else region
        if region.width < 1 or region.height < 1 or not there.contains(region):
            msg = f"region must lie within the image, {tuple(there)}; got {tuple(region)}."
            raise ValueError(msg)
        for top in range(region.top, region.bottom, 64):
            part = PixelBox(region.left, top, region.right, min(top + 64, region.bottom))
            if progress is not None:
                progress((top - region.top) / region.height)
            x, y = np.meshgrid(np.arange(part.left, part.right), np.arange(part.top, part.bottom))
            points = np.stack([x.reshape(-1), y.reshape(-1)], axis=-1).astype(float)
            found = sift.describe(image, points, radius_px=self.radius(layer), device=self.device)
            yield part, found.unflatten(0, (part.height, part.width))
        if progress is not None:
            progress(1.0)

    def global_descriptor(self, image: Image, layer: str) -> Float[torch.Tensor, " channels"]:  # noqa: ARG002
        """Raises ValueError: SIFT describes the surroundings of points."""
        msg = f"sift has no description of a whole image, so none of layer {layer}; take a network's."
        raise ValueError(msg)
