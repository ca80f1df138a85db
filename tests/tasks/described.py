"""An extractor whose descriptors tell of content, of places, or of both, as much as it is told."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from corrcore.features import FeatureGrid, Roles
from corrcore.geometry import ReceptiveField

STRIDE = 16
CPU, ROLES = torch.device("cpu"), Roles(("only",), "only", ("only",), "only", "only", "only")


@dataclass(frozen=True)
class Described:
    """An extractor whose descriptors are the colours of cells, waves over the image that tell places, or both beside
    each other, each as it is weighed.
    """

    content: float
    place: float
    name: str = "described"
    image_size: tuple[int, int] | None = None
    anywhere: bool = False
    layers: tuple[str, ...] = ("only",)
    global_layers: tuple[str, ...] = ()
    device: torch.device = CPU
    roles: Roles = ROLES

    @property
    def digest(self):
        return f"{self.content} {self.place}"

    def smallest_side(self, layer):
        return STRIDE

    def receptive_field(self, layer):
        assert layer == "only"
        return ReceptiveField(STRIDE, STRIDE, (STRIDE - 1) / 2)

    def extract(self, image, layers):
        height, width = image.shape[:2]
        rows, columns = height // STRIDE, width // STRIDE
        cells = image[: rows * STRIDE, : columns * STRIDE].reshape(rows, STRIDE, columns, STRIDE, 3)
        colours = cells.mean(axis=(1, 3)) / 255 - 0.5
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        waves = [
            wave(k * np.pi * along) for along in (x / columns, y / rows) for k in (1, 2) for wave in (np.sin, np.cos)
        ]
        described = np.concatenate([self.content * colours, self.place * np.stack(waves, axis=-1)], axis=-1)
        descriptors = torch.from_numpy(described.astype(np.float32))
        field = self.receptive_field("only")
        return {layer: FeatureGrid(descriptors, field, (width, height), layer) for layer in layers}

    def extract_batch(self, images: Any, layers: Any) -> Any:
        return [self.extract(image, layers) for image in images]

    def _none(self, *given: Any, **named: Any) -> Any:
        raise NotImplementedError

    sample_at = valid_region = map_step = map_method = iter_tiles = global_descriptor = _none
