"""Objects cut out of their photos and described, so that they can be aligned and similar ones found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional as F

from corrcore import extractors, images
from corrcore.crops import BoxXYXY, CropTransform
from corrcore.datasets.records import Instance
from corrcore.features import Extractor, Feature, FeatureGrid, Image
from corrcore.geometry import CellGrid, ReceptiveField

SUMMARY_CELLS = 6  # per side: as many as AlexNet's first fully connected layer takes


@dataclass(frozen=True)
class CropSpec:
    """How objects are cut out to be aligned.

    The box is widened by `margin` of its sides on every side. The longer side has `n_cells` cells; the other as many if
    `square`, which squeezes the object, else as many as keep its proportions. Cells see at least `context_px` of the
    photo around the crop, and a network's padding only beyond.
    """

    n_cells: int = 18
    margin: float = 0.1
    square: bool = True
    context_px: int = 0


CROP_SPEC = CropSpec()


@dataclass(frozen=True, eq=False)
class DescribedCrop:
    """An object cut out of its photo and described.

    `image` is the crop, `grids` its descriptors by feature, at the same points and of unit length (zero where SIFT
    finds no contrast). `summary` is what similar objects are found by, of unit length.
    """

    image: Image
    transform: CropTransform
    grids: Mapping[Feature, FeatureGrid]
    summary: Float[np.ndarray, " channels"]

    def halved(self) -> "DescribedCrop":
        """The same with descriptors in half precision, to keep many in memory."""
        grids = {feature: replace(grid, descriptors=grid.descriptors.half()) for feature, grid in self.grids.items()}
        return replace(self, grids=grids)


def describe(
    photo: Image, box: BoxXYXY, features: Sequence[Feature], *, network: Extractor, crop: CropSpec = CROP_SPEC
) -> DescribedCrop:
    """Cuts the object in `box` out of a photo and describes it by `features`.

    All features are taken at the same points, the receptive-field centres of the layers asked for, else of the
    network's layer for transfer.

    The summary is that of the network's last fully connected layer of the crop, where there are weights for it. Else it
    is the retrieval layer's greatest values in 6 x 6 parts of the crop, about what a fully connected layer is given:
    means over the whole object forget its pose, and find neighbours whose keypoints are half as often in place.

    Raises ValueError for a box without area or outside the photo, an unknown feature, and layers whose cells differ.
    """
    _check_box(photo, box)
    gridded = [feature for feature in features if not extractors.extractor_of(feature, network).anywhere]
    fields = {each: extractors.receptive_field(each, network=network) for each in gridded}
    field = next(iter(fields.values()), network.receptive_field(network.roles.transfer))
    if any(
        (other.stride, other.offset % other.stride) != (field.stride, field.offset % field.stride)
        for other in fields.values()
    ):
        listed = ", ".join(feature.key for feature in gridded)
        msg = f"layers to compare must have one stride, and centres at the same pixels; got {listed}."
        raise ValueError(msg)
    transform = _crop_transform(box, crop, field.stride)
    least = max((round((other.offset - field.offset) / field.stride) for other in fields.values()), default=0)
    surroundings, first = _with_surroundings(photo, transform, field, crop.context_px, least)
    by_summary = _summary_feature(network)
    wanted = gridded if by_summary is None else list(dict.fromkeys([*gridded, by_summary]))
    found = extractors.extract(surroundings, wanted, network=network)
    size = surroundings.shape[1], surroundings.shape[0]
    columns, rows = transform.size[0] // field.stride, transform.size[1] // field.stride
    centres = ReceptiveField(field.size, field.stride, field.offset + first * field.stride)
    grids = {}
    for feature in features:
        if feature in fields:
            start = first + round((field.offset - fields[feature].offset) / field.stride)
            descriptors = found[feature].descriptors[start : start + rows, start : start + columns]
        else:
            points = CellGrid(centres, rows, columns, size).centres().reshape(-1, 2)
            at = extractors.sample_at(surroundings, points, [feature], network=network)[feature]
            descriptors = at.unflatten(0, (rows, columns))
        extent = extractors.receptive_field(feature, network=network).size
        own = ReceptiveField(extent, field.stride, (field.stride - 1) / 2)
        grids[feature] = FeatureGrid(F.normalize(descriptors.float(), dim=-1), own, transform.size, feature.key)
    image = images.crop_resized(photo, transform.edges, width=transform.size[0], height=transform.size[1])
    if by_summary is None:
        whole = network.global_descriptor(image, network.global_layers[-1])
    else:
        inner = _within(found[by_summary], size[0] - transform.size[0], size[1] - transform.size[1])
        whole = F.adaptive_max_pool2d(inner.permute(2, 0, 1), SUMMARY_CELLS).flatten()
    return DescribedCrop(image, transform, grids, F.normalize(whole.float(), dim=0).cpu().numpy())


def describe_object(
    instance: Instance, features: Sequence[Feature], *, network: Extractor, crop: CropSpec = CROP_SPEC
) -> DescribedCrop:
    """`describe` for an object of a data set. Raises what loading its photo does, too."""
    return describe(instance.photo.load(), instance.box, features, network=network, crop=crop)


def _summary_feature(network: Extractor) -> Feature | None:
    """What `DescribedCrop.summary` is pooled from; None where a fully connected layer gives it."""
    return None if network.global_layers else Feature(network.name, network.roles.retrieval)


def summary_source(network: Extractor) -> str:
    """What `DescribedCrop.summary` is of, in words."""
    if network.global_layers:
        return network.global_layers[-1]
    return f"{network.roles.retrieval}, pooled to 6 x 6 (no weights for fully connected layers here)"


def _check_box(photo: Image, box: BoxXYXY) -> None:
    left, top, right, bottom = box
    height, width = photo.shape[:2]
    seen = min(right, width - 0.5) - max(left, -0.5), min(bottom, height - 0.5) - max(top, -0.5)
    if not min(seen) > 1 - 1e-6:
        msg = (
            f"box must cover at least a pixel of the photo of {width} x {height} px; got {[round(e, 1) for e in box]}."
        )
        raise ValueError(msg)


def _crop_transform(box: BoxXYXY, crop: CropSpec, stride: int) -> CropTransform:
    """The widened box; where it is not square, it is widened further to whole cells of its own proportions."""
    n_cells = crop.n_cells
    if n_cells < 2:
        msg = f"n_cells must be at least 2; got {n_cells}."
        raise ValueError(msg)
    left, top, right, bottom = box
    middle = np.array([left + right, top + bottom]) / 2
    sides = np.array([right - left, bottom - top]) * (1 + 2 * crop.margin)
    cells = np.array([n_cells, n_cells])
    if not crop.square:
        cells = np.maximum(np.ceil(n_cells * sides / sides.max() - 1e-9), 2)
        sides = cells * (sides / cells).max()
    start, stop = middle - sides / 2, middle + sides / 2
    columns, rows = cells.astype(int)
    return CropTransform((*start.tolist(), *stop.tolist()), (int(columns) * stride, int(rows) * stride))


def _with_surroundings(
    photo: Image, transform: CropTransform, field: ReceptiveField, context_px: int, least: int
) -> tuple[Image, int]:
    """The crop with its surroundings at the same scale, and the number of cells before its first.

    As wide as it takes for that cell's centre to be in the middle of the first stride of the crop. At least `least`
    cells: without padding the first cell's centre is far from the edge.
    """
    first = max(least, math.ceil((context_px - field.offset + (field.stride - 1) / 2) / field.stride))
    before = field.offset + first * field.stride - (field.stride - 1) / 2
    margins = [before / scale for scale in transform.scale]
    left, top, right, bottom = transform.edges
    edges = (left - margins[0], top - margins[1], right + margins[0], bottom + margins[1])
    width, height = (round(side + 2 * before) for side in transform.size)
    return images.crop_resized(photo, edges, width=width, height=height), first


def _within(grid: FeatureGrid, margin_x: int, margin_y: int) -> Float[torch.Tensor, "rows columns channels"]:
    """The descriptors whose centres lie inside margins, given in pixels for both sides together."""
    width, height = grid.image_size
    inside = (
        np.abs(grid.cells.centres() - (np.array([width, height]) - 1) / 2)
        < np.array([width - margin_x, height - margin_y]) / 2
    )
    rows, columns = inside[:, 0, 1], inside[0, :, 0]
    return grid.descriptors[torch.from_numpy(rows)][:, torch.from_numpy(columns)]
