"""What a classifier says of every pixel: response maps, and where around a keypoint they are highest.

Long, Zhang and Darrell (2014), Section 5: the score of a keypoint's classifier at single-pixel stride
(`Extractor.iter_tiles`), and where it is highest within 21 x 21 px around the true place, over all test instances
(Figure 5). Maxima on the rectangle's boundary are left out, for there the score still rises beyond. That leaves only
places near the keypoint, so every number has to be compared with chance: a pixel of the rectangle's inside drawn at
random. A rectangle of 21 px has little room to be far from the keypoint; a larger one (`WIDE_PX`) tells layers apart
that the small one does not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from corrcore import extractors
from corrcore.features import Extractor, Feature, Image, MapMethod
from corrcore.geometry import PixelBox
from corrcore.metrics import bootstrap_interval
from corrcore.tasks.classification import KeypointClassifier, scaled

VERSION = 2  # of what this module computes: results kept by another are not used
SIDE_PX, WIDE_PX = 21, 81
RADII_PX = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class ResponseMap:
    """``scores[y - region.top, x - region.left, c]`` is what class c's classifier says of the pixel (x, y).

    Only every `step`-th pixel was described; those between have the nearest one's scores (`Extractor.map_step`).
    `method` is how (`Extractor.map_method`).
    """

    scores: Float32[np.ndarray, "rows columns classes"]
    region: PixelBox
    step: int = 1
    method: MapMethod = "one pass"

    @property
    def how(self) -> str:
        """How scores between the cells of a layer's grid were had, in words.

        >>> ResponseMap(np.zeros((8, 8, 1), np.float32), PixelBox(0, 0, 8, 8), 2, "shifted images").how
        'a score every 2 px, by shifted images'
        """
        return f"a score every {'pixel' if self.step == 1 else f'{self.step} px'}, " + (
            "in one pass" if self.method == "one pass" else f"by {self.method}"
        )

    def highest(self, number: int) -> tuple[int, int]:
        """The pixel (x, y) where a class's score is highest; the first, row by row, of several."""
        row, column = np.unravel_index(self.scores[..., number].argmax(), self.scores.shape[:2])
        return self.region.left + int(column), self.region.top + int(row)


def response_map(
    image: Image,
    classifier: KeypointClassifier,
    *,
    network: Extractor,
    region: PixelBox | None = None,
    progress: Callable[[float], None] | None = None,
) -> ResponseMap:
    """Every class's score at every pixel of `region`, by default at all that have a descriptor.

    `image` is what the classifier's protocol shows (`classification.frame`). Descriptors of large images come and go a
    tile at a time (`Extractor.iter_tiles`), scores stay: four bytes per pixel and class. Raises ValueError as that
    does, and for a classifier of several cells together.
    """
    if classifier.protocol.cells != 1:
        cells = classifier.protocol.cells
        msg = f"a response map needs a classifier of single cells; got one of {cells} x {cells}."
        raise ValueError(msg)
    size = image.shape[1], image.shape[0]
    region = extractors.valid_region(classifier.feature, size, network=network) if region is None else region
    scores = np.empty((region.height, region.width, len(classifier.names)), np.float32)
    for part, found in extractors.iter_tiles(
        image, classifier.feature, network=network, region=region, progress=progress
    ):
        rows = slice(part.top - region.top, part.bottom - region.top)
        columns = slice(part.left - region.left, part.right - region.left)
        scores[rows, columns] = classifier.linear.scores(scaled(found.float().cpu().numpy(), classifier.protocol))
    step = extractors.map_step(classifier.feature, region, network=network)
    return ResponseMap(scores, region, step, extractors.map_method(classifier.feature, network=network))


def around(point: Float[np.ndarray, "2"], side: int = SIDE_PX) -> PixelBox:
    """The square of an odd number of pixels whose middle one holds a point."""
    x, y = (int(np.floor(each + 0.5)) for each in point)
    return PixelBox(x - side // 2, y - side // 2, x + side // 2 + 1, y + side // 2 + 1)


def inside(square: PixelBox, feature: Feature, image_size: tuple[int, int], *, network: Extractor) -> bool:
    """Whether every pixel of a square has a descriptor."""
    return extractors.valid_region(feature, image_size, network=network).contains(square)


def profile(
    found: ResponseMap, number: int, point: Float[np.ndarray, "2"], *, reach: int
) -> Float[np.ndarray, " distances"]:
    """A class's mean score at 0, 1, ... `reach` pixels (rounded) from a point; NaN where the map has none."""
    x, y = np.meshgrid(
        np.arange(found.region.left, found.region.right) - point[0],
        np.arange(found.region.top, found.region.bottom) - point[1],
    )
    away = np.rint(np.hypot(x, y)).astype(int).reshape(-1)
    near = away <= reach
    sums = np.bincount(away[near], found.scores[..., number].reshape(-1)[near], minlength=reach + 1)
    pixels = np.bincount(away[near], minlength=reach + 1)
    return np.divide(sums, pixels, out=np.full(reach + 1, np.nan), where=pixels > 0)


def stride_median_px(stride: int) -> float:
    """The median distance from a square's middle of places uniform in it, its side a layer's stride.

    So far off a keypoint is at best, if all that is known of it is which cell it lies in: "finer than its stride" is
    nearer.
    """
    return stride / math.sqrt(2 * math.pi)


@dataclass(frozen=True, eq=False)
class ArgmaxHistogram:
    """How often a keypoint's score is highest at each pixel of a square around its true place.

    ``counts[row, column]`` are of maxima; those on the square's boundary are left out of everything else.
    `distances_px` are from the true place, and `chance_px` those of all inner pixels from the true places.
    """

    counts: Float[np.ndarray, "side side"]
    on_boundary: Bool[np.ndarray, " instances"]
    distances_px: Float[np.ndarray, " maxima"]
    chance_px: Float[np.ndarray, " places"]

    @property
    def boundary_share(self) -> float:
        """The share of maxima on the square's boundary."""
        return float(self.on_boundary.mean())

    def share_within(self, radius_px: float) -> tuple[float, float]:
        """Of maxima, and of places drawn at random."""
        return float((self.distances_px <= radius_px).mean()), float((self.chance_px <= radius_px).mean())

    def median_px(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """The median distance with its 95 % bootstrap interval over instances.

        NaN where there are too few: between the least and the greatest of five lies the true median in 94 % only.
        """
        if len(self.distances_px) < 6:
            return (float(np.median(self.distances_px)) if len(self.distances_px) else np.nan), np.nan, np.nan
        low, high = bootstrap_interval(self.distances_px, rng=rng, statistic=np.median)
        return float(np.median(self.distances_px)), low, high

    @property
    def chance_median_px(self) -> float:
        """The median distance of places drawn at random."""
        return float(np.median(self.chance_px))


def histogram(
    maxima: Int[np.ndarray, "instances 2"], places: Float[np.ndarray, "instances 2"], *, side: int = SIDE_PX
) -> ArgmaxHistogram:
    """`maxima` are where one keypoint's score is highest in squares around its true places (`around`), and `places` are
    these; both (x, y) in pixels from the square's middle pixel, so places are between -0.5 and 0.5.

    Raises ValueError for no maxima, and for squares without a middle or an inside.
    """
    if len(maxima) == 0 or side % 2 == 0 or side < 3:
        got = f"{len(maxima)} in squares of {side}"
        msg = f"a histogram needs at least one maximum, in squares of an odd side from 3; got {got}."
        raise ValueError(msg)
    half = side // 2
    counts = np.zeros((side, side))
    np.add.at(counts, (maxima[:, 1] + half, maxima[:, 0] + half), 1)
    edge = (np.abs(maxima) == half).any(axis=1)
    inner = np.stack(np.meshgrid(*[np.arange(1 - half, half)] * 2), axis=-1).reshape(-1, 2)
    return ArgmaxHistogram(
        counts,
        edge,
        np.linalg.norm(maxima - places, axis=1)[~edge],
        np.linalg.norm(inner - places[:, None], axis=-1)[~edge].reshape(-1),
    )
