"""SIFT as an extractor."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from corrcore.concurrency import default_device
from corrcore.descriptors import sift
from corrcore.features import FeatureGrid, Image, Roles
from corrcore.geometry import CellGrid, PixelBox, ReceptiveField


class Sift:
    name = "sift"
    anywhere = True
    layers = ("10", "20", "40", "80", "160")
    global_layers: tuple[str, ...] = ()

    def __init__(self, *, device: torch.device | str | None = None) -> None:
        self.device = torch.device(device) if device is not None else default_device()
        self.digest = f"sift-{sift.VERSION}"

    @property
    def roles(self) -> Roles:
        msg = "SIFT has no roles; name a radius."
        raise ValueError(msg)

    def radius(self, layer: str) -> float:
        try:
            radius = float(layer)
        except ValueError:
            radius = float("nan")
        if not 2 <= radius <= 1000:
            msg = f"feature must be a layer, or sift with a radius of 2 to 1000 px such as sift20; got {'sift' + layer!r}."
            raise ValueError(msg)
        return radius

    def receptive_field(self, layer: str) -> ReceptiveField:
        radius = self.radius(layer)
        return ReceptiveField(size=round(2 * radius), stride=max(round(radius / 2), 1), offset=0.0)

    def smallest_side(self, layer: str) -> int:
        return 1

    def extract(self, image: Image, layers: Sequence[str]) -> dict[str, FeatureGrid]:
        return {
            layer: sift.extract(
                image,
                radius_px=self.radius(layer),
                stride=max(round(self.radius(layer) / 2), 1),
                device=self.device,
            )
            for layer in layers
        }

    def extract_batch(self, images: Sequence[Image], layers: Sequence[str]) -> list[dict[str, FeatureGrid]]:
        return [self.extract(image, layers) for image in images]

    def extract_on(self, image: Image, cells: CellGrid, layer: str) -> FeatureGrid:
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
        return {
            layer: sift.describe(image, points, radius_px=self.radius(layer), device=self.device) for layer in layers
        }

    def valid_region(self, layer: str, image_size: tuple[int, int]) -> PixelBox:
        return PixelBox(0, 0, *image_size)

    def iter_tiles(
        self,
        image: Image,
        layer: str,
        *,
        region: PixelBox | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
        there = PixelBox(0, 0, image.shape[1], image.shape[0])
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

    def global_descriptor(self, image: Image, layer: str) -> Float[torch.Tensor, " channels"]:
        msg = "SIFT describes no image as a whole; name a network's layer."
        raise ValueError(msg)
