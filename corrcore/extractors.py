"""Descriptors by the name of what makes them: a layer of a network, such as conv4, or SIFT with a radius, such as sift20."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from corrcore.descriptors import sift
from corrcore.geometry import PixelBox
from corrcore.images import ImageLike, as_image
from corrcore.networks import Backbone, every_pixel

SIFT = "sift"  # begins the name of SIFT descriptors; their radius in pixels follows
_ROWS = 64  # of SIFT descriptors, one a pixel, at a time: 16 MB in an image of 500 px


def sift_radius(feature: str) -> float | None:
    """The radius in pixels of a feature such as "sift20"; None for a layer. Raises ValueError for a radius below 2."""
    if not feature.startswith(SIFT):
        return None
    try:
        radius = float(feature.removeprefix(SIFT))
    except ValueError:
        radius = math.nan
    if not 2 <= radius <= 1000:
        msg = f"feature must be a layer, or sift with a radius of 2 to 1000 px such as sift20; got {feature!r}."
        raise ValueError(msg)
    return radius


def check(features: Sequence[str], backbone: Backbone) -> None:
    """Raises ValueError for what is neither a layer of the network nor SIFT of a usable radius, and for nothing."""
    if not features:
        msg = (
            f"give at least one feature: a layer of {backbone.name} such as {backbone.layers[-1]}, or sift20; got none."
        )
        raise ValueError(msg)
    for feature in features:
        if sift_radius(feature) is None:
            backbone.receptive_field(feature)


def sample_at(
    image: ImageLike,
    points: Float[np.ndarray, "points 2"],
    features: Sequence[str],
    *,
    backbone: Backbone,
    cells: int = 1,
    exact: bool = False,
) -> dict[str, Float[torch.Tensor, "points _channels"]]:
    """Descriptors of points, (x, y) in pixels: SIFT exactly there, of a layer the cell whose receptive field is nearest.

    With `cells` an odd number above 1, the square of so many by so many cells around it, row by row, end to end; beyond the
    grid its border is repeated. With `exact`, layers' descriptors are those of the pixels that hold the points
    (`every_pixel.sample_at`). Raises ValueError for an unknown feature, for an image too small for a layer, and for several cells
    of exact ones.
    """
    check(features, backbone)
    image = as_image(image)
    if cells < 1 or cells % 2 == 0:
        msg = f"cells must be an odd number from 1; got {cells}."
        raise ValueError(msg)
    if exact and cells > 1:
        msg = f"several cells together have the layer's own places; got cells = {cells} with exact."
        raise ValueError(msg)
    layers = [feature for feature in features if sift_radius(feature) is None]
    grids = backbone.extract(image, layers) if layers and not exact else {}
    found: dict[str, torch.Tensor] = {}
    for feature in features:
        radius = sift_radius(feature)
        if radius is not None:
            found[feature] = sift.describe(image, points, radius_px=radius, device=backbone.device)
            continue
        if exact:
            found[feature] = every_pixel.sample_at(image, points, feature, backbone=backbone)
            continue
        grid = grids[feature]
        diagonal = grid.receptive_field.stride * (np.arange(cells) - cells // 2)
        rows, columns = grid.cells.nearest_cells(points[:, None] + diagonal[:, None])
        found[feature] = grid.descriptors[rows[:, :, None], columns[:, None, :]].flatten(1)
    return found


def valid_region(feature: str, image_size: tuple[int, int], *, backbone: Backbone) -> PixelBox:
    """The pixels of an image of ``(width, height)`` that have a descriptor of their own: for SIFT, all. See `dense`."""
    if sift_radius(feature) is None:
        return every_pixel.valid_region(feature, image_size, backbone=backbone)
    return PixelBox(0, 0, *image_size)


def iter_tiles(
    image: ImageLike,
    feature: str,
    *,
    backbone: Backbone,
    region: PixelBox | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
    """Every pixel's descriptor, a part of `region` at a time (`every_pixel.iter_tiles`). Raises as that does."""
    image, radius = as_image(image), sift_radius(feature)
    if radius is None:
        yield from every_pixel.iter_tiles(image, feature, backbone=backbone, region=region, progress=progress)
        return
    there = valid_region(feature, (image.shape[1], image.shape[0]), backbone=backbone)
    region = there if region is None else region
    if region.width < 1 or region.height < 1 or not there.contains(region):
        msg = f"region must lie within the image, {tuple(there)}; got {tuple(region)}."
        raise ValueError(msg)
    for top in range(region.top, region.bottom, _ROWS):
        part = PixelBox(region.left, top, region.right, min(top + _ROWS, region.bottom))
        if progress is not None:
            progress((top - region.top) / region.height)
        x, y = np.meshgrid(np.arange(part.left, part.right), np.arange(part.top, part.bottom))
        points = np.stack([x.reshape(-1), y.reshape(-1)], axis=-1).astype(float)
        found = sift.describe(image, points, radius_px=radius, device=backbone.device)
        yield part, found.unflatten(0, (part.height, part.width))
    if progress is not None:
        progress(1.0)
