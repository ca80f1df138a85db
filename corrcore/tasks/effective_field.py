"""How much each pixel around a cell moves its descriptor: the effective receptive field of a layer, measured.

Luo, Li, Urtasun and Zemel (2016), "Understanding the effective receptive field in deep convolutional networks": the
absolute gradient of a unit by the pixels, averaged over images. The theoretical field says which pixels can matter,
this says which do; in deep networks it is much smaller, and nearly a Gaussian.

**Gradient of what.** A cell has many units, and one backward pass has one gradient. Luo et al. take that of the units'
sum (``units="sum"``). Units that pull a pixel both ways cancel in it, and in a transformer the sum over channels is a
direction of its own, which its norms remove; the sum is then none of what descriptors do. So by default units are
added with random signs, others for each photo: over many cells that is the root of the mean square over units, up to a
factor. Measured on photos of VOC2011, half of the gradient of AlexNet's conv5 lies within 35 px by signs and 36 px by
the sum (64 cells); of a ViT-S/14's third block, within 34 px and 77 px (16 cells, in a square of 336 px).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from corrcore import concurrency, images, store
from corrcore.concurrency import Progress
from corrcore.features import Image
from corrcore.geometry import CellGrid, PixelBox, ReceptiveField
from corrcore.images import ImageLike
from corrcore.networks import ModuleNetwork
from corrcore.patch_index import Photo
from corrcore.store import Cache

VERSION = 1  # of what this module computes: results kept by another are not used
N_CELLS = 4  # of each photo
LONGER_SIDE_PX = 500
HALF, TWO_SIGMA = 0.5, 0.9545
Units = Literal["signs", "sum"]
ABOUT = (
    "LAYER_map: the share of the mean absolute gradient of a cell by each pixel around it, with the cell's centre at "
    "LAYER_centre_px on both axes. LAYER_theoretical_px: the side of the theoretical field, infinite for the whole "
    "image. LAYER_radius_px: of the disc around the centre that holds half of the map. LAYER_beyond: the share of the "
    "gradient outside the map. LAYER_density: the share per pixel at the distances LAYER_radii_px from the centre. "
    "Pixels are those of the pictures that the network saw."
)


@dataclass(frozen=True)
class EffectiveField:
    """The effective receptive field of a layer, in pixels of the pictures that the network saw.

    `map` is the mean absolute gradient of cells by the pixels of a square around them, summed over colours, and adds up
    to 1; the square is placed as `corrcore.geometry` places squares, with the cell's centre at `centre_px` on both
    axes. `beyond` is the share of the whole gradient that lay outside the square. `n_cells` is of all photos together;
    `left_out` says by photo's name why some could not be used.
    """

    layer: str
    map: Float[np.ndarray, "side side"]
    receptive_field: ReceptiveField
    beyond: float
    n_photos: int
    n_cells: int
    left_out: Mapping[str, str]

    @property
    def side_px(self) -> int:
        """The side of the map."""
        return len(self.map)

    @property
    def centre_px(self) -> float:
        """Where on the map the cell's centre is, along both axes."""
        return _centre(self.receptive_field, self.side_px)

    @property
    def mass_px(self) -> tuple[float, float]:
        """How far right and below of the cell's centre the map's centre of mass lies, in pixels.

        About 0 where cells stand where what they describe is (`ReceptiveField.balanced`).
        """
        along = np.arange(self.side_px) - self.centre_px
        return float(self.map.sum(0) @ along), float(self.map.sum(1) @ along)

    @property
    def relative(self) -> Float[np.ndarray, "side side"]:
        """The map in multiples of what each pixel would have if all counted alike: comparable between layers."""
        return self.map * self.map.size

    @property
    def radius_px(self) -> float:
        """The radius of the disc that holds half of the map: `radius_of` 0.5.

        If all pixels of a window counted alike it would be 0.4 of the window's side (`even_radius`).
        """
        return self.radius_of(HALF)

    @property
    def luo_radius_px(self) -> float:
        """The radius by the measure of Luo et al. (2016): of a disc as large as all pixels with more than 4.55 % of the
        largest value.

        Of a Gaussian that is the disc that holds 95.45 % of it, ``radius_of(0.9545)``. Noise in the largest value
        matters much here, and little to the others.
        """
        return float(np.sqrt((self.map > (1 - TWO_SIGMA) * self.map.max()).sum() / np.pi))

    def radius_of(self, share: float) -> float:
        """The radius in pixels of the disc around the centre that holds a share of the map, from 0 to 1.

        Between the distances at which pixels lie it is interpolated. Raises ValueError for other shares.
        """
        if not 0 <= share <= 1:
            msg = f"share must be from 0 to 1; got {share}."
            raise ValueError(msg)
        distances, within = self._within()
        return float(np.interp(share, within, distances))

    def share_within(self, radius_px: float) -> float:
        """The share of the map whose pixels' centres are at most so far from the centre."""
        return float(self.map[self._distance() <= radius_px].sum())

    @property
    def share_in_patch(self) -> float:
        """The share within the cell's patch, the square one stride wide that stands for it."""
        field = self.receptive_field
        first = int(field.first_pixel(0, field.stride) - field.first_pixel(0, self.side_px))
        inside = slice(max(first, 0), max(first + field.stride, 0))
        return float(self.map[inside, inside].sum())

    def profile(self, ring_px: int = 4) -> tuple[Float[np.ndarray, " rings"], Float[np.ndarray, " rings"]]:
        """Radii in pixels and the share per pixel there: means over rings up to the inscribed circle."""
        ring = (self._distance() / ring_px).astype(int)
        n_rings = max(int(self.side_px / 2 // ring_px), 1)
        found = np.bincount(ring.ravel(), self.map.ravel(), n_rings)[:n_rings]
        count = np.bincount(ring.ravel(), minlength=n_rings)[:n_rings]
        return (np.arange(n_rings) + 0.5) * ring_px, found / np.maximum(count, 1)

    def _distance(self) -> Float[np.ndarray, "side side"]:
        across = np.arange(self.side_px) - self.centre_px
        return np.hypot(*np.meshgrid(across, across))

    def _within(self) -> tuple[Float[np.ndarray, " distances"], Float[np.ndarray, " distances"]]:
        """The distances at which there is something, and how much of the map is at most so far."""
        distances, number = np.unique(self._distance().round(9), return_inverse=True)
        there = np.bincount(number.ravel(), self.map.ravel())
        return distances[there > 0], there[there > 0].cumsum()


def even_radius(side_px: float, share: float = HALF) -> float:
    """What `EffectiveField.radius_of` would be if all pixels of a window counted alike, for shares up to 0.78.

    >>> round(even_radius(163), 1)
    65.0
    """
    return side_px * float(np.sqrt(share / np.pi))


def window_of(field: ReceptiveField, *, longer_side: int = LONGER_SIDE_PX) -> int:
    """The side of the square that is measured by default, in pixels: what holds the theoretical field, where that is no
    wider than three quarters of the photos' longer side; else those.
    """
    return min(field.around_px or longer_side, longer_side * 3 // 4)


def effective_field(
    network: ModuleNetwork,
    layer: str,
    photos: Sequence[Photo | ImageLike],
    *,
    n_cells: int = N_CELLS,
    window_px: int | None = None,
    longer_side: int = LONGER_SIDE_PX,
    units: Units = "signs",
    results: Cache | None = None,
    progress: Progress | None = None,
) -> EffectiveField:
    """Measures the effective receptive field of a layer over photos (see the module's text).

    Photos larger than `longer_side` pixels are shrunk to it, so that time and memory are bounded; networks that take
    one size only get the middle of each. Of each photo `n_cells` are taken, far apart and always the same ones, among
    those that see no padding and have a square of `window_px` pixels (by default `window_of` the field) inside. Where
    there are none, as for fields wider than the photo, they are from its middle, and every pixel is the mean over the
    cells that have it. Kept in `results` where that is given.

    Raises ValueError for an unknown layer, other numbers than from 1, and where no photo can be used.
    """
    field = network.receptive_field(layer)
    for name, value in (("n_cells", n_cells), ("window_px", window_px), ("longer_side", longer_side)):
        if value is not None and value < 1:
            msg = f"{name} must be at least 1; got {value}."
            raise ValueError(msg)
    side = window_px or window_of(field, longer_side=longer_side)
    key = ""
    if results is not None:
        key = _key(network, layer, photos, [n_cells, side, longer_side, units])
        if (kept := _kept(layer, field, results, key)) is not None:
            return kept
    total, left_out = _Total(np.zeros((side, side)), np.zeros((side, side), np.int64)), dict[str, str]()
    for number, photo in enumerate(photos):
        name = getattr(photo, "name", "") or f"photo {number + 1}"
        part = concurrency.part(progress, number / len(photos), 1 / len(photos))
        part(0, f"{layer}, {name}")
        try:
            image = _prepared(photo, network, longer_side)
            grid = network.extract(image, [layer])[layer]
        except (ValueError, OSError) as error:
            left_out[name] = str(error)
            continue
        rng = np.random.default_rng(number)
        cells = choose_cells(grid.cells, n_cells, side, rng)
        signs = rng.choice([-1.0, 1.0], grid.descriptors.shape[-1]) if units == "signs" else None
        for cell, gradient in zip(cells, network.pixel_gradients(image, layer, cells, weights=signs), strict=True):
            total.add(gradient, field, cell)
            part(0.99 * (total.n_cells % n_cells) / n_cells, f"{layer}, {name}")
        total.n_photos += 1
    if not total.n_photos:
        name, reason = next(iter(left_out.items()), ("", "there are none."))
        msg = f"no photo can be used to measure {layer}: {f'{name}: ' if name else ''}{reason}"
        raise ValueError(msg)
    found = total.field(layer, field, left_out)
    if results is not None:
        _keep(found, results, key)
    return found


def keep_field(
    found: EffectiveField,
    network: ModuleNetwork,
    photos: Sequence[Photo | ImageLike],
    *,
    n_cells: int = N_CELLS,
    window_px: int | None = None,
    longer_side: int = LONGER_SIDE_PX,
    units: Units = "signs",
    results: Cache,
) -> None:
    """Keeps what `effective_field` has found elsewhere, of the same photos in the same way, for `kept_field`."""
    side = window_px or window_of(found.receptive_field, longer_side=longer_side)
    _keep(found, results, _key(network, found.layer, photos, [n_cells, side, longer_side, units]))


def kept_field(
    network: ModuleNetwork,
    layer: str,
    photos: Sequence[Photo | ImageLike],
    *,
    n_cells: int = N_CELLS,
    window_px: int | None = None,
    longer_side: int = LONGER_SIDE_PX,
    units: Units = "signs",
    results: Cache,
) -> EffectiveField | None:
    """What `effective_field` has kept, if it has; nothing is computed."""
    field = network.receptive_field(layer)
    side = window_px or window_of(field, longer_side=longer_side)
    return _kept(layer, field, results, _key(network, layer, photos, [n_cells, side, longer_side, units]))


def as_arrays(found: Sequence[EffectiveField]) -> dict[str, np.ndarray]:
    """Fields as arrays by name, to be written to a file; `about` in it says what each array is."""
    arrays: dict[str, np.ndarray] = {"about": np.array(ABOUT)}
    for field in found:
        radii, density = field.profile()
        arrays[f"{field.layer}_map"] = field.map
        arrays[f"{field.layer}_centre_px"] = np.array(field.centre_px)
        arrays[f"{field.layer}_theoretical_px"] = np.array(field.receptive_field.size or np.inf)
        arrays[f"{field.layer}_radius_px"] = np.array(field.radius_px)
        arrays[f"{field.layer}_beyond"] = np.array(field.beyond)
        arrays[f"{field.layer}_radii_px"] = radii
        arrays[f"{field.layer}_density"] = density
    return arrays


def choose_cells(cells: CellGrid, n: int, side: int, rng: np.random.Generator) -> Int[np.ndarray, "chosen 2"]:
    """At most `n` cells, (row, column), far apart: one at random, then each as far from all others as can be.

    They are among those that see no padding and have a square of `side` pixels inside the image; where there is none,
    among those with the square inside; where there is none of these either, of the middle half of rows and columns.
    """
    places = np.stack(np.divmod(np.arange(len(cells)), cells.columns), axis=-1)
    for needed in (max(side, cells.receptive_field.around_px or 0), side):
        corners = cells.corners(needed)
        allowed = np.flatnonzero(((corners >= 0) & (corners + needed <= cells.image_size)).all(axis=1))
        if len(allowed):
            break
    else:
        middle = np.array([cells.rows - 1, cells.columns - 1]) / 2
        allowed = np.flatnonzero((abs(places - middle) <= np.maximum(middle / 2, 0.5)).all(axis=1))
    places = places[allowed]
    chosen = [int(rng.integers(len(places)))]
    nearest = np.full(len(places), np.inf)
    while len(chosen) < min(n, len(places)):
        nearest = np.minimum(nearest, np.hypot(*(places - places[chosen[-1]]).T))
        chosen.append(int(nearest.argmax()))
    return places[chosen]


@dataclass
class _Total:
    """Gradients added up around their cells, and how many cells have each pixel inside their photo."""

    total: Float[np.ndarray, "side side"]
    count: Int[np.ndarray, "side side"]
    whole: float = 0.0
    n_photos: int = 0
    n_cells: int = 0

    def add(
        self, gradient: Float[np.ndarray, "height width"], field: ReceptiveField, cell: Int[np.ndarray, "2"]
    ) -> None:
        """Adds the square around a cell."""
        row, column = map(int, cell)
        side = len(self.total)
        height, width = gradient.shape
        top, left = int(field.first_pixel(row, side)), int(field.first_pixel(column, side))
        box = PixelBox(left, top, left + side, top + side).clip((width, height))
        there = slice(box.top - top, box.bottom - top), slice(box.left - left, box.right - left)
        self.total[there] += gradient[box.top : box.bottom, box.left : box.right]
        self.count[there] += 1
        self.whole += float(gradient.sum())
        self.n_cells += 1

    def field(self, layer: str, field: ReceptiveField, left_out: Mapping[str, str]) -> EffectiveField:
        """The mean. Raises ValueError where there is none."""
        inside = float(self.total.sum())
        if not np.isfinite(self.whole) or not inside > 0:
            msg = f"gradients of {layer} must be finite and not all zero to have a field; they add up to {inside:g}."
            raise ValueError(msg)
        mean = self.total / np.maximum(self.count, 1)
        beyond = max(0.0, 1 - inside / self.whole)
        return EffectiveField(layer, mean / mean.sum(), field, beyond, self.n_photos, self.n_cells, left_out)


def _centre(field: ReceptiveField, side: int) -> float:
    return field.centre(0) - int(field.first_pixel(0, side))


def _prepared(photo: Photo | ImageLike, network: ModuleNetwork, longer_side: int) -> Image:
    """A photo as the network is to see it."""
    image = images.as_image(photo if isinstance(photo, ImageLike) else photo.load())
    if (only := network.image_size) is not None:
        height, width = image.shape[:2]
        scale = min(width / only[0], height / only[1])
        x, y = scale * only[0] / 2, scale * only[1] / 2
        across, down = (width - 1) / 2, (height - 1) / 2
        return images.crop_resized(image, (across - x, down - y, across + x, down + y), width=only[0], height=only[1])
    return images.shrink(image, longer_side=longer_side)


def _key(network: ModuleNetwork, layer: str, photos: Sequence[Photo | ImageLike], settings: Sequence[object]) -> str:
    return store.key(
        task="effective field",
        version=VERSION,
        network=network.digest,
        layer=layer,
        photos=[photo_stamp(photo) for photo in photos],
        settings=list(settings),
    )


def photo_stamp(photo: Photo | ImageLike) -> str:
    """What changes with a photo's content; empty for one that is not there."""
    if isinstance(photo, ImageLike):
        return images.digest(photo)
    try:
        if stamp := str(getattr(photo, "stamp", "")):
            return stamp
        return images.digest(photo.load())
    except OSError:  # it is not there, and will be left out
        return ""


def _keep(found: EffectiveField, results: Cache, key: str) -> None:
    about = {"beyond": found.beyond, "counts": [found.n_photos, found.n_cells], "left_out": found.left_out}
    results.put(key, {"map": found.map}, about)


def _kept(layer: str, field: ReceptiveField, results: Cache, key: str) -> EffectiveField | None:
    entry = results.get(key)
    if entry is None:
        return None
    about = entry.metadata
    n_photos, n_cells = about["counts"]
    return EffectiveField(layer, entry.arrays["map"], field, about["beyond"], n_photos, n_cells, about["left_out"])
