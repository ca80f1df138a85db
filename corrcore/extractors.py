"""Any extractor by name, and several features of one image at once.

The layers of a network and SIFT are asked alike: a feature names its extractor, and extractors fulfil one contract
(`corrcore.features.Extractor`).
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float

from corrcore import networks
from corrcore.descriptors.sift import Sift
from corrcore.features import SIFT, Extractor, Feature, FeatureGrid, MapMethod, group_by_extractor
from corrcore.geometry import PixelBox, ReceptiveField
from corrcore.images import ImageLike, as_image


def open(name: str, *, device: torch.device | str | None = None) -> Extractor:  # noqa: A001 - as registries do
    """An extractor by name: SIFT, or a network of `corrcore.networks`. Raises as `networks.open` does."""
    return Sift(device) if name == SIFT else networks.open(name, device=device)


def named(text: str | Feature, *, network: str) -> Feature:
    """A feature as people write it, of a network by its name unless it says of which; networks are named in full.

    >>> named("layer3", network="resnet50"), named("resnet50:layer3", network="alexnet").extractor
    (Feature(extractor='torchvision:resnet50', layer='layer3'), 'torchvision:resnet50')
    """
    found = Feature.parse(text, network=network)
    return Feature(networks.full_name(found.extractor), found.layer)


def parse(features: Iterable[str | Feature], network: Extractor) -> tuple[Feature, ...]:
    """Features as people write them: layers of `network`, of another one by its name, and SIFT by its radius.

    Raises ValueError for what no extractor has, and for no feature at all.
    """
    found = tuple(named(each, network=network.name) for each in features)
    if not found:
        msg = f"give at least one feature: a layer of {network.name} such as {network.layers[-1]}, or sift20; got none."
        raise ValueError(msg)
    for feature in found:
        receptive_field(feature, network=network)
    return found


def extractor_of(feature: Feature, network: Extractor) -> Extractor:
    """The extractor a feature is of: `network`, else the one that its name opens, on the same device."""
    return network if feature.extractor == network.name else _opened(feature.extractor, str(network.device))


@functools.lru_cache(maxsize=4)
def _opened(name: str, device: str) -> Extractor:
    return open(name, device=device)


def receptive_field(feature: Feature, *, network: Extractor) -> ReceptiveField:
    """Size, stride and offset of a feature's cells."""
    return extractor_of(feature, network).receptive_field(feature.layer)


def extract(image: ImageLike, features: Sequence[Feature], *, network: Extractor) -> dict[Feature, FeatureGrid]:
    """Each feature on its own grid, one pass per extractor."""
    found: dict[Feature, FeatureGrid] = {}
    for group in group_by_extractor(features).values():
        grids = extractor_of(group[0], network).extract(image, [feature.layer for feature in group])
        found |= {feature: grids[feature.layer] for feature in group}
    return found


def sample_at(
    image: ImageLike,
    points: Float[np.ndarray, "points 2"],
    features: Sequence[Feature],
    *,
    network: Extractor,
    cells: int = 1,
    exact: bool = False,
) -> dict[Feature, Float[torch.Tensor, "points _channels"]]:
    """Each feature's descriptors of points, (x, y) in pixels: `Extractor.sample_at`, one pass per extractor."""
    found: dict[Feature, torch.Tensor] = {}
    for group in group_by_extractor(features).values():
        extractor = extractor_of(group[0], network)
        at = extractor.sample_at(image, points, [feature.layer for feature in group], cells=cells, exact=exact)
        found |= {feature: at[feature.layer] for feature in group}
    return found


def valid_region(feature: Feature, image_size: tuple[int, int], *, network: Extractor) -> PixelBox:
    """The pixels of an image of ``(width, height)`` that have a descriptor of their own."""
    return extractor_of(feature, network).valid_region(feature.layer, image_size)


def map_step(feature: Feature, region: PixelBox, *, network: Extractor) -> int:
    """How far apart the pixels are that `iter_tiles` describes in a region: `Extractor.map_step`."""
    return extractor_of(feature, network).map_step(feature.layer, region)


def map_method(feature: Feature, *, network: Extractor) -> MapMethod:
    """How `iter_tiles` gets descriptors between the cells of a grid: `Extractor.map_method`."""
    return extractor_of(feature, network).map_method(feature.layer)


def iter_tiles(
    image: ImageLike,
    feature: Feature,
    *,
    network: Extractor,
    region: PixelBox | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
    """Every pixel's descriptor, a part of `region` at a time: `Extractor.iter_tiles`."""
    yield from extractor_of(feature, network).iter_tiles(image, feature.layer, region=region, progress=progress)


def extract_region(
    image: ImageLike, feature: Feature, *, network: Extractor, region: PixelBox | None = None
) -> Float[torch.Tensor, "rows columns channels"]:
    """Every pixel's descriptor in one array: ``found[y - region.top, x - region.left]`` is that of (x, y).

    For small regions: all of 500 x 375 px take 166 MB in AlexNet's conv5. `iter_tiles` gives a part at a time.
    """
    image = as_image(image)
    whole = valid_region(feature, (image.shape[1], image.shape[0]), network=network) if region is None else region
    result: torch.Tensor | None = None
    for tile, descriptors in iter_tiles(image, feature, network=network, region=whole):
        if result is None:
            result = descriptors.new_empty(whole.height, whole.width, descriptors.shape[-1])
        rows = slice(tile.top - whole.top, tile.bottom - whole.top)
        result[rows, tile.left - whole.left : tile.right - whole.left] = descriptors
    if result is None:
        msg = "a region has tiles; none came."
        raise RuntimeError(msg)
    return result
