"""What a keypoint detector sees of an object, and which cells it learns from.

Long, Zhang and Darrell (2014), Section 6: the object's box is stretched to 500 x 500 px, and a linear SVM per keypoint
scores every square of 3 x 3 cells of conv5, or every descriptor of dense SIFT.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int8
from torch.nn import functional as F

from corrcore import extractors, images
from corrcore.crops import BoxXYXY, CropTransform
from corrcore.features import Extractor, Feature, FeatureGrid, Image
from corrcore.geometry import CellGrid

SIDE_PX = 500


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector sees, and which cells it learns from.

    It sees `cells` x `cells` cells of its feature together. Positive are the `nearest` cells to the keypoint, negative
    those whose receptive field, that of all the cells together, does not hold it. With `within_px` and `beyond_px`,
    positive are cells within so many pixels of the keypoint, negative those at least so many away. What lies between is
    neither, and where an object does not show a keypoint, nothing of it is either.
    """

    feature: Feature
    cells: int = 3
    nearest: int = 10
    within_px: float | None = None
    beyond_px: float | None = None

    def __post_init__(self) -> None:
        if self.cells < 1 or self.cells % 2 == 0 or self.nearest < 1:
            msg = f"cells must be an odd number from 1, and nearest at least 1; got {self.cells} and {self.nearest}."
            raise ValueError(msg)

    @classmethod
    def of(cls, feature: Feature, *, network: Extractor) -> "DetectorSpec":
        """The paper's: of a layer 3 x 3 cells; of SIFT one descriptor, positive within two of its four bins."""
        extractor = extractors.extractor_of(feature, network)
        if not extractor.anywhere:
            return cls(feature)
        size = extractor.receptive_field(feature.layer).window_px
        return cls(feature, cells=1, within_px=size / 2, beyond_px=float(size))

    @property
    def reach(self) -> int:
        """Cells seen on each side of the middle one."""
        return self.cells // 2


def crop_box(photo: Image, box: BoxXYXY) -> tuple[Image, CropTransform]:
    """What is in a box (edges, in pixels), stretched to 500 x 500 px, and where that lies in its photo.

    Raises ValueError for a box without area.
    """
    left, top, right, bottom = box
    if not (right > left and bottom > top):
        msg = f"box must have an area, its left and top edges first; got {[round(edge, 1) for edge in box]}."
        raise ValueError(msg)
    return images.crop_resized(photo, box, width=SIDE_PX, height=SIDE_PX), CropTransform(box, (SIDE_PX, SIDE_PX))


@dataclass(frozen=True, eq=False)
class ObjectFeatures:
    """An object as detectors and prior see it: descriptors by feature, and its summary, of unit length.

    All are in half precision, so that what is kept on disk is the same.
    """

    grids: Mapping[Feature, FeatureGrid]
    summary: Float32[np.ndarray, " channels"]


def describe(image: Image, features: Sequence[Feature], *, network: Extractor) -> ObjectFeatures:
    """Describes an object that `crop_box` made."""
    summary = Feature(network.name, network.roles.prior)
    grids = extractors.extract(image, list(dict.fromkeys([*features, summary])), network=network)
    whole = F.normalize(grids[summary].descriptors.flatten().float(), dim=0).half().float().cpu().numpy()
    halved = {
        feature: FeatureGrid(grid.descriptors.half(), grid.receptive_field, grid.image_size, feature.key)
        for feature, grid in ((feature, grids[feature]) for feature in features)
    }
    return ObjectFeatures(halved, whole)


def targets(
    cells: CellGrid, keypoints: Float[np.ndarray, "keypoints 2"], spec: DetectorSpec
) -> Int8[np.ndarray, "cells keypoints"]:
    """1 where a cell is positive for a keypoint, -1 where it is negative, 0 where it is neither (`DetectorSpec`)."""
    visible = np.asarray(np.isfinite(keypoints).all(axis=1))
    away = cells.centres().reshape(-1, 1, 2) - np.where(visible[:, None], keypoints, 0)
    distance = np.linalg.norm(away, axis=-1)
    found = np.zeros(distance.shape, np.int8)
    if spec.within_px is not None and spec.beyond_px is not None:
        found[distance >= spec.beyond_px] = -1
        found[distance <= spec.within_px] = 1
    else:
        half = (cells.receptive_field.window_px + 2 * spec.reach * cells.receptive_field.stride) / 2
        found[(np.abs(away) > half).any(axis=-1)] = -1
        nearest = np.argsort(distance, axis=0, kind="stable")[: spec.nearest]
        np.put_along_axis(found, nearest, np.int8(1), axis=0)
    found[:, ~visible] = 0
    return found


def cell_windows(
    descriptors: Float[torch.Tensor, "objects rows columns channels"],
    cells: Int[torch.Tensor, " chosen"],
    spec: DetectorSpec,
) -> Float[torch.Tensor, "chosen features"]:
    """What detectors see at some cells, by their numbers over all objects: of unit length.

    Beyond the grid its border is repeated.
    """
    _, rows, columns, _ = descriptors.shape
    number, inside = cells // (rows * columns), cells % (rows * columns)
    around = torch.arange(-spec.reach, spec.reach + 1, device=cells.device)
    row = ((inside // columns)[:, None] + around).clamp(0, rows - 1)
    column = ((inside % columns)[:, None] + around).clamp(0, columns - 1)
    seen = descriptors[number[:, None, None], row[:, :, None], column[:, None, :]]
    return F.normalize(seen.flatten(1).float(), dim=1)
