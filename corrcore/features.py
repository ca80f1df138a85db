"""What extractors make and tasks take: descriptors on a grid, and the contract between the two.

An extractor turns an image into grids of descriptors: a convolutional network, a transformer, SIFT. Every task takes
any of them, and names what it wants by a `Feature`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8

from corrcore.geometry import CellGrid, PixelBox, ReceptiveField
from corrcore.images import ImageLike

Image = UInt8[np.ndarray, "_height _width 3"]  # names begin with _: images of one call differ in size

SIFT = "sift"

MapMethod = Literal["one pass", "shifted images"]
"""How a descriptor for every pixel is had: all in one pass over the image, or by a pass for each shift of it."""


@dataclass(frozen=True)
class Feature:
    """One kind of descriptor: the layer of an extractor. SIFT's layers are its radii in pixels.

    >>> Feature.parse("conv4", network="alexnet"), Feature.parse("vgg16:conv4_3", network="alexnet")
    (Feature(extractor='alexnet', layer='conv4'), Feature(extractor='vgg16', layer='conv4_3'))
    >>> Feature.parse("sift20", network="alexnet").title, Feature("alexnet", "conv4").title
    ('SIFT, radius 20 px', 'conv4')
    """

    extractor: str
    layer: str

    @classmethod
    def parse(cls, text: "str | Feature", *, network: str) -> "Feature":
        """A feature as people write it: "conv4" of `network`, "vgg16:conv4_3" of another, "sift20" of radius 20 px.

        Whether the extractor has such a layer is for it to say. Raises ValueError for a name without a part.
        """
        if isinstance(text, Feature):
            return text
        if radius := re.fullmatch(rf"{SIFT}:?([0-9]+\.?[0-9]*)", text):
            return cls(SIFT, f"{float(radius[1]):g}")
        extractor, colon, layer = text.rpartition(":")
        if not layer or (colon and not extractor):
            msg = (
                f"a feature must be a layer or a radius of SIFT, such as conv4, vgg16:conv4_3 or sift20; got {text!r}."
            )
            raise ValueError(msg)
        return cls(extractor, layer) if colon else cls(network, text)

    @property
    def key(self) -> str:
        """The name where the network is understood: in tables, files and arrays that say which network they are of."""
        return f"{SIFT}{self.layer}" if self.is_sift else self.layer

    @property
    def is_sift(self) -> bool:
        """Whether it is the hand-made peer that networks are compared with: for titles and colours alone.

        What an extractor can do is asked of the extractor (`Extractor.anywhere`).
        """
        return self.extractor == SIFT

    @property
    def title(self) -> str:
        """The name on pages and in tables."""
        return f"SIFT, radius {self.layer} px" if self.is_sift else self.layer

    def __str__(self) -> str:
        """The name in full, which `parse` reads whatever network is understood."""
        return self.key if self.is_sift else f"{self.extractor}:{self.layer}"


@dataclass(frozen=True)
class FeatureGrid:
    """Descriptors on a regular grid over an image.

    ``image_size`` is ``(width, height)`` in pixels of the image that was described; `layer` names their source.
    """

    descriptors: Float[torch.Tensor, "rows columns channels"]
    receptive_field: ReceptiveField
    image_size: tuple[int, int]
    layer: str

    @property
    def cells(self) -> CellGrid:
        """Where the descriptors lie in the image."""
        rows, columns, _ = self.descriptors.shape
        return CellGrid(self.receptive_field, rows, columns, self.image_size)

    def flat(self) -> Float[torch.Tensor, "cells channels"]:
        """The descriptors row by row."""
        return self.descriptors.flatten(0, 1)


@dataclass(frozen=True)
class Roles:
    """The layers of a network that tasks take unless they are told otherwise.

    `reconstruction` are a few, shown side by side; `transfer` aligns objects; `classification` are compared where
    keypoints are told apart; `detection` finds keypoints in a box; `retrieval` finds similar objects where there are no
    weights of fully connected layers; `prior` finds the objects that a detector's prior comes from.
    """

    reconstruction: tuple[str, ...]
    transfer: str
    classification: tuple[str, ...]
    detection: str
    retrieval: str
    prior: str


@runtime_checkable
class Extractor(Protocol):
    """Whatever turns an image into grids of descriptors. It takes what `corrcore.images.as_image` does.

    A point has the descriptor of the nearest cell, unless the extractor describes points `anywhere` or is asked for
    `exact` ones.
    """

    @property
    def name(self) -> str:
        """What features, files and pages call it."""
        ...

    @property
    def digest(self) -> str:
        """A name for all that makes its descriptors: equal digests, equal descriptors."""
        ...

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that have a grid of descriptors, by depth."""
        ...

    @property
    def global_layers(self) -> tuple[str, ...]:
        """Those that describe an image as a whole, by depth."""
        ...

    @property
    def anywhere(self) -> bool:
        """Whether it describes any point exactly; if not, its descriptors lie on a grid of its own."""
        ...

    @property
    def device(self) -> torch.device:
        """Where descriptors are computed."""
        ...

    @property
    def roles(self) -> Roles:
        """The layers tasks take unless they are told otherwise; raises ValueError for extractors that have none."""
        ...

    def receptive_field(self, layer: str) -> ReceptiveField:
        """Size, stride and offset of a layer. Raises ValueError for an unknown one."""
        ...

    def smallest_side(self, layer: str) -> int:
        """The shortest image side, in pixels, for which the layer has at least one cell."""
        ...

    def extract(self, image: ImageLike, layers: Sequence[str]) -> dict[str, FeatureGrid]:
        """The descriptors of an RGB image on the grid of each of `layers`."""
        ...

    def extract_batch(self, images: Sequence[ImageLike], layers: Sequence[str]) -> list[dict[str, FeatureGrid]]:
        """`extract` for several images of one size."""
        ...

    def sample_at(
        self,
        image: ImageLike,
        points: Float[np.ndarray, "points 2"],
        layers: Sequence[str],
        *,
        cells: int = 1,
        exact: bool = False,
    ) -> dict[str, Float[torch.Tensor, "points _channels"]]:
        """The descriptors of points, (x, y) in pixels.

        With `cells` an odd number above 1, the square of so many by so many cells around the point, row by row, end to
        end; beyond the grid its border is repeated. Extractors that describe points `anywhere` have no cells, and give
        one descriptor for any number. With `exact`, descriptors are those of the pixels that hold the points. Raises
        ValueError for an unknown layer, an image too small for one, and several cells of exact ones.
        """
        ...

    def valid_region(self, layer: str, image_size: tuple[int, int]) -> PixelBox:
        """The pixels of an image of ``(width, height)`` that have a descriptor of their own."""
        ...

    def map_step(self, layer: str, region: PixelBox) -> int:
        """How far apart the pixels are, in pixels, that `iter_tiles` describes in a region.

        1 where every pixel has a descriptor of its own; else those between have the nearest one's, as all would take
        too long.
        """
        ...

    def map_method(self, layer: str) -> MapMethod:
        """How `iter_tiles` gets descriptors between the cells of a layer's grid."""
        ...

    def iter_tiles(
        self,
        image: ImageLike,
        layer: str,
        *,
        region: PixelBox | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
        """A descriptor for every pixel of `region`, by default of the valid region, a part at a time: see `map_step`.

        Raises ValueError for a region that is empty or leaves the valid one.
        """
        ...

    def global_descriptor(self, image: ImageLike, layer: str) -> Float[torch.Tensor, " channels"]:
        """One description of a whole image. Raises ValueError where the extractor has no such layer."""
        ...


def check_cells(cells: int, *, exact: bool) -> None:
    """Raises ValueError for numbers of cells that `Extractor.sample_at` does not take."""
    if cells < 1 or cells % 2 == 0:
        msg = f"cells must be an odd number from 1; got {cells}."
        raise ValueError(msg)
    if exact and cells > 1:
        msg = f"cells must be 1 where descriptors are exact, as several together have places of their own; got {cells}."
        raise ValueError(msg)


def group_by_extractor(features: Sequence[Feature]) -> Mapping[str, list[Feature]]:
    """Features of each extractor together, so that one pass serves all layers of a network."""
    groups: dict[str, list[Feature]] = {}
    for feature in features:
        groups.setdefault(feature.extractor, []).append(feature)
    return groups
