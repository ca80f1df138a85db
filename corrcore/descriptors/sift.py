"""Dense SIFT with VLFeat's conventions: histograms of gradient directions in 4 x 4 bins around points, at a fixed size.

The comparison features of Long, Zhang and Darrell (2014). A descriptor of radius r px has bins of r / 2 px. Pixels vote
with their gradient's magnitude, shared out linearly between the two nearest of 8 directions and bilinearly between bins
(so the outer bins' votes come from up to 2.5 bins away; nominally the support is 2r x 2r), weighted by a Gaussian of
sigma 2 bins around the point (Lowe 2004, Section 6). The 128 numbers are L2-normalised, clipped at 0.2 and normalised
again. Their order is VLFeat's: directions fastest, from +x towards +y (down), then bins by column, then by row. As in
VLFeat's `dsift`, the image is not smoothed first.

Weights are products of one for the column and one for the row, both for the Gaussian and the bilinear sharing, so a
descriptor is taken exactly by summing over rows first, once for all points of one height, and then over columns.

Where a support leaves the image, the border's gradients go on beyond it, as VLFeat has it. VLFeat describes only points
whose bins' centres are inside; here any point will do.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Num

from corrcore import concurrency, images
from corrcore.descriptors import on_cpu, on_torch
from corrcore.descriptors.taps import N_BINS, N_DIRECTIONS, Taps, VoteWindow
from corrcore.features import SIFT, FeatureGrid, Image, MapMethod, Roles, check_cells
from corrcore.geometry import CellGrid, PixelBox, ReceptiveField
from corrcore.images import ImageLike

N_CHANNELS = N_BINS * N_BINS * N_DIRECTIONS
VERSION = 1  # of what this module computes: results kept by another are not used

_LARGEST_LEVEL = 1_000_000  # squares of sums are still far from the limits of single precision
_PIXELS_AT_ONCE = 2**21  # of which gradients are in memory, 32 bytes each
_TILE_ROWS = 64  # 16 MB of descriptors, one per pixel, in an image of 500 px


class Sift:
    """SIFT as an extractor: a layer is a radius in pixels, as text, from 2 to 1000; `layers` are those on offer.

    Any point has a descriptor of its own, so `sample_at` gives the same whatever `cells` and `exact` are. Cells of
    its grids are as far apart as bins are wide.

    >>> import numpy as np
    >>> from corrcore.descriptors.sift import Sift
    >>> Sift(device="cpu").receptive_field("20")
    ReceptiveField(size=40, stride=10, offset=15.0)
    """

    name = SIFT
    layers = ("10", "20", "40", "80", "160")
    digest = hashlib.blake2b(f"sift {VERSION}".encode(), digest_size=16).hexdigest()
    anywhere = True
    global_layers: tuple[str, ...] = ()
    roles = Roles(
        reconstruction=("10", "20", "40"),
        transfer="20",
        classification=("10", "20", "40", "80", "160"),
        detection="16",
        retrieval="20",
        prior="40",
    )

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._device = _device(device)

    @property
    def device(self) -> torch.device:
        """Where descriptors are computed."""
        return self._device

    def receptive_field(self, layer: str) -> ReceptiveField:
        """The nominal support of a radius, and the grid of `extract`. Raises ValueError for no usable radius."""
        radius = _radius(layer)
        return ReceptiveField(_size(radius), _stride(radius), _offset(radius))

    def smallest_side(self, layer: str) -> int:
        """The shortest image side, in pixels, that holds a cell of `extract`."""
        return int(2 * self.receptive_field(layer).offset) + 1

    def extract(self, image: ImageLike, layers: Sequence[str]) -> dict[str, FeatureGrid]:
        """Grids that begin 1.5 bins from the border; see the function `extract`.

        Raises ValueError for what is no usable radius, and for an image that is too small for a cell.
        """
        image = images.as_image(image)
        return {layer: self._extract(image, layer) for layer in layers}

    def extract_batch(self, images: Sequence[ImageLike], layers: Sequence[str]) -> list[dict[str, FeatureGrid]]:
        """`extract` for several images of one size."""
        return [self.extract(image, layers) for image in images]

    def _extract(self, image: Image, layer: str) -> FeatureGrid:
        radius, smallest, (height, width) = _radius(layer), self.smallest_side(layer), image.shape[:2]
        if min(height, width) < smallest:
            msg = f"an image must be at least {smallest} x {smallest} px for sift{radius:g}; got {width} x {height} px."
            raise ValueError(msg)
        return extract(image, radius_px=radius, stride=_stride(radius), device=self.device)

    def sample_at(
        self,
        image: ImageLike,
        points: Float[np.ndarray, "points 2"],
        layers: Sequence[str],
        *,
        cells: int = 1,
        exact: bool = False,
    ) -> dict[str, Float[torch.Tensor, "points _channels"]]:
        """One descriptor exactly at each point, (x, y) in pixels, for any number of `cells`.

        Raises ValueError for what is no usable radius, for an even number of cells, and for several exact ones.
        """
        check_cells(cells, exact=exact)
        image, radii = images.as_image(image), {layer: _radius(layer) for layer in layers}
        return {layer: describe(image, points, radius_px=radius, device=self.device) for layer, radius in radii.items()}

    def valid_region(self, layer: str, image_size: tuple[int, int]) -> PixelBox:
        """The whole image. Raises ValueError for what is no usable radius."""
        _radius(layer)
        return PixelBox(0, 0, *image_size)

    def map_method(self, layer: str) -> MapMethod:  # noqa: ARG002
        """Always one pass: it describes any point."""
        return "one pass"

    def map_step(self, layer: str, region: PixelBox) -> int:  # noqa: ARG002
        """1: every pixel has its own."""
        return 1

    def iter_tiles(
        self,
        image: ImageLike,
        layer: str,
        *,
        region: PixelBox | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Iterator[tuple[PixelBox, Float[torch.Tensor, "rows columns channels"]]]:
        """A descriptor for every pixel of `region`, by default of the image, 64 rows at a time.

        Raises ValueError for what is no usable radius, and for a region that is empty or leaves the image.
        """
        image, radius = images.as_image(image), _radius(layer)
        there = PixelBox(0, 0, image.shape[1], image.shape[0])
        region = there if region is None else region
        if region.width < 1 or region.height < 1 or not region.inside(there[2:]):
            msg = f"region must lie within the image, {tuple(there)}; got {tuple(region)}."
            raise ValueError(msg)
        for top in range(region.top, region.bottom, _TILE_ROWS):
            part = PixelBox(region.left, top, region.right, min(top + _TILE_ROWS, region.bottom))
            if progress is not None:
                progress((top - region.top) / region.height)
            x, y = np.meshgrid(np.arange(part.left, part.right), np.arange(part.top, part.bottom))
            points = np.stack([x.reshape(-1), y.reshape(-1)], axis=-1).astype(float)
            found = describe(image, points, radius_px=radius, device=self.device)
            yield part, found.unflatten(0, (part.height, part.width))
        if progress is not None:
            progress(1.0)

    def global_descriptor(self, image: ImageLike, layer: str) -> Float[torch.Tensor, " channels"]:  # noqa: ARG002
        """Raises ValueError: SIFT describes the surroundings of points."""
        msg = f"sift has no description of a whole image, so none of layer {layer}; take a network's."
        raise ValueError(msg)


def describe(
    image: Num[np.ndarray, "height width *rgb"],
    points: Num[np.ndarray, "points 2"],
    *,
    radius_px: float,
    window: VoteWindow = "gaussian",
    min_contrast: float = 1e-3,
    device: torch.device | str | None = None,
    backend: Literal["cpu", "torch"] | None = None,
    points_at_once: int = 4096,
) -> Float[torch.Tensor, "points 128"]:
    """SIFT descriptors of one radius at any points, (x, y) in pixels; they need not be whole, nor inside the image.

    `image` is an RGB picture, which `images.grey` turns to grey, or grey already: levels from 0 to 255, of any type.
    `window` is that of the votes: "gaussian", or VLFeat's approximation "flat", in which all votes for a bin have their
    mean weight (for comparison: it is no faster here). Points of one height are described together, so grids are fast.

    A descriptor is a unit vector, or zero where there is nothing to describe: where the gradients' weighted sum over
    the (3 bins + 1 px)² between the outer bins' centres, VLFeat's `norm`, is no more than `min_contrast` grey levels
    per px². The default is some thirty times what rounding errors come to; `vl_phow` has 1.275 (0.005 of white).

    `device` computes them and holds the result; by default CUDA where there is one, else the CPU. The `backend` is
    compiled code on the CPU and torch's operations elsewhere, unless it is told. Weights of `points_at_once` are in
    memory. Raises ValueError for an image, points or options that are not as said.

    >>> import numpy as np
    >>> from corrcore.descriptors import sift
    >>> ramp = np.tile(np.arange(64, dtype=np.uint8), (64, 1))  # brighter to the right: all votes for direction 0
    >>> descriptor = sift.describe(ramp, np.array([[31.5, 31.5]]), radius_px=8, device="cpu")
    >>> descriptor.reshape(4, 4, 8)[1, 2]
    tensor([0.2527, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000, 0.0000])
    """
    _check_image(image)
    _check_points(points)
    _check_options(radius_px, window, min_contrast)
    device = _device(device)
    height, width = image.shape[:2]
    bin_px = radius_px / 2
    # From far out only the border is seen; whole pixels more are of no consequence.
    reach = np.ceil(3 * bin_px)
    pixels = np.floor(points.astype(np.float64))
    points = np.clip(pixels, -reach, np.array([width, height]) + reach) + (points - pixels)
    order = np.lexsort((points[:, 0], points[:, 1]))
    descriptors = torch.empty(len(points), N_CHANNELS, device=device)

    def work(some: Int[np.ndarray, " some"]) -> None:
        x, y = points[some].T
        columns, rows = (Taps.of(*axis, bin_px, window) for axis in ((x, width), (y, height)))
        # With one pixel more all round, for gradients; those of that pixel itself are of no consequence.
        left, top = max(columns.start - 1, 0), max(rows.start - 1, 0)
        grey = _grey(image[top : rows.stop + 1, left : columns.stop + 1])
        columns, rows = columns.shifted(-left), rows.shifted(-top)
        least = max(min_contrast * (3 * bin_px + 1) ** 2, 1e-10)  # squares of less than that might vanish
        fill(grey, columns, rows, least, some, descriptors)

    if backend == "cpu" or (backend is None and device.type == "cpu"):
        fill, n_threads, at_once = on_cpu.fill, torch.get_num_threads(), points_at_once
    else:
        fill, n_threads, at_once = on_torch.fill, 1, max(1, 2**26 // (32 * width))  # 256 MB as rows' sums
    n_parts = max(n_threads, -(-len(points) // at_once), height * width // _PIXELS_AT_ONCE)
    parts = [part for part in np.array_split(order, n_parts) if len(part)]
    concurrency.map_in_order(work, parts, lambda _: None, n_threads=n_threads)
    return descriptors


def extract(
    image: Num[np.ndarray, "height width *rgb"],
    *,
    radius_px: float = 20.0,
    stride: int = 16,
    offset: float | None = None,
    window: VoteWindow = "gaussian",
    min_contrast: float = 1e-3,
    device: torch.device | str | None = None,
) -> FeatureGrid:
    """SIFT on a regular grid that begins `offset` px from the left and from the top and ends no nearer to the others.

    By default that is VLFeat's grid, 1.5 bins (to half a pixel), with which the bins' centres are inside. The layer is
    called after the radius: "sift20". Options are those of `describe`; raises ValueError too if no cell fits.
    """
    _check_image(image)
    _check_options(radius_px, window, min_contrast)
    if stride < 1:
        msg = f"stride must be at least 1 px; got {stride}."
        raise ValueError(msg)
    offset = _offset(radius_px) if offset is None else float(offset)
    height, width = image.shape[:2]
    largest = (min(height, width) - 1) / 2
    if not 0 <= offset <= largest:
        msg = (
            f"offset (by default 0.75 radius_px) must be between 0 and {largest:g} px in an image of "
            f"{width} x {height} px; got {offset:g}."
        )
        raise ValueError(msg)
    rows, columns = (int((side - 1 - 2 * offset) // stride) + 1 for side in (height, width))
    cells = CellGrid(ReceptiveField(_size(radius_px), stride, offset), rows, columns, (width, height))
    return extract_on(image, cells, radius_px=radius_px, window=window, min_contrast=min_contrast, device=device)


def extract_on(
    image: Num[np.ndarray, "height width *rgb"],
    cells: CellGrid,
    *,
    radius_px: float = 20.0,
    window: VoteWindow = "gaussian",
    min_contrast: float = 1e-3,
    device: torch.device | str | None = None,
) -> FeatureGrid:
    """SIFT at the centres of another source's receptive fields, so that both can be compared (paper, Section 4).

    Options are those of `describe`; raises ValueError too if the cells are of an image of another size.
    """
    _check_image(image)
    size = image.shape[1], image.shape[0]
    if cells.image_size != size:
        msg = f"cells must be those of an image of {size[0]} x {size[1]} px, as this is; got {cells.image_size}."
        raise ValueError(msg)
    centres = cells.centres().reshape(-1, 2)
    found = describe(
        image, centres, radius_px=radius_px, window=window, min_contrast=min_contrast, device=device
    ).unflatten(0, (cells.rows, cells.columns))
    field = ReceptiveField(_size(radius_px), cells.receptive_field.stride, cells.receptive_field.offset)
    return FeatureGrid(found, field, size, f"sift{radius_px:g}")


def _radius(layer: str) -> float:
    """A layer's radius in pixels."""
    try:
        radius = float(layer)
    except ValueError:
        radius = float("nan")
    if not 2 <= radius <= 1000:
        msg = f"layer of sift must be a radius of 2 to 1000 px, such as 20; got {layer!r}."
        raise ValueError(msg)
    return radius


def _size(radius_px: float) -> int:
    return round(2 * radius_px)


def _stride(radius_px: float) -> int:
    return max(round(radius_px / 2), 1)


def _offset(radius_px: float) -> float:
    return round(1.5 * radius_px) / 2


def _device(device: torch.device | str | None) -> torch.device:
    device = torch.device(device) if device is not None else concurrency.default_device()
    if device.type not in ("cpu", "cuda"):
        msg = f"device must be cpu or a CUDA device; got {device}."
        raise ValueError(msg)
    return device


def _check_image(image: np.ndarray) -> None:
    rgb = image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
    grey = image.ndim == 2 and image.dtype.kind in "uif"
    if not (rgb or grey) or not image.size:
        msg = (
            "image must be a non-empty array, uint8 of shape (height, width, 3) or grey numbers of shape (height, "
            f"width); got {image.dtype} {image.shape}."
        )
        raise ValueError(msg)
    if image.dtype == np.uint8:
        return
    lowest, highest = image.min(), image.max()
    if not (lowest >= -_LARGEST_LEVEL and highest <= _LARGEST_LEVEL):
        msg = f"image must have finite grey levels, of a magnitude up to {_LARGEST_LEVEL:,}; got {lowest} to {highest}."
        raise ValueError(msg)


def _check_points(points: np.ndarray) -> None:
    if points.ndim != 2 or points.shape[1] != 2:
        msg = f"points must be an array of shape (points, 2), each (x, y) in pixels; got shape {points.shape}."
        raise ValueError(msg)
    if not np.isfinite(points).all():
        first = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        msg = f"points must be finite; got {points[first].tolist()} at {first}."
        raise ValueError(msg)


def _check_options(radius_px: float, window: str, min_contrast: float) -> None:
    if not 2 <= radius_px < float("inf"):
        msg = f"radius_px must be finite and at least 2 px (bins of 1 px); got {radius_px:g}."
        raise ValueError(msg)
    if window not in ("gaussian", "flat"):
        msg = f"window must be 'gaussian' or 'flat'; got {window!r}."
        raise ValueError(msg)
    if not 0 <= min_contrast < float("inf"):
        msg = f"min_contrast must be finite and at least 0 grey levels; got {min_contrast:g}."
        raise ValueError(msg)


def _grey(image: Num[np.ndarray, "height width *rgb"]) -> Float32[np.ndarray, "height width"]:
    return images.grey(image) if image.ndim == 3 else np.ascontiguousarray(image, np.float32)
