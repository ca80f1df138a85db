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

from dataclasses import dataclass
from typing import Literal, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Num

from corrcore import concurrency, images
from corrcore.compiled import kernel
from corrcore.features import FeatureGrid
from corrcore.geometry import CellGrid, ReceptiveField

VoteWindow = Literal["gaussian", "flat"]

N_BINS, N_DIRECTIONS = 4, 8
N_CHANNELS = N_BINS * N_BINS * N_DIRECTIONS
_SIGMA_BINS = 2.0  # VLFeat's default `windowSize`
VERSION = 1  # of what this module computes: results kept by another are not used
_LARGEST = 0.2

_LARGEST_LEVEL = 1_000_000  # squares of sums are still far from the limits of single precision

# What is in memory at a time: gradients of about so many pixels (32 bytes each), and weights of so many points.
_PIXELS_AT_ONCE = 2**21
_POINTS_AT_ONCE = 4096


def describe(
    image: Num[np.ndarray, "height width *rgb"],
    points: Num[np.ndarray, "points 2"],
    *,
    radius_px: float,
    window: VoteWindow = "gaussian",
    min_contrast: float = 1e-3,
    device: torch.device | str | None = None,
) -> Float[torch.Tensor, "points 128"]:
    """SIFT descriptors of one radius at any points, (x, y) in pixels; they need not be whole, nor inside the image.

    `image` is an RGB picture, which `images.grey` turns to grey, or grey already: levels from 0 to 255, of any type.
    `window` is that of the votes: "gaussian", or VLFeat's approximation "flat", in which all votes for a bin have their
    mean weight (for comparison: it is no faster here). Points of one height are described together, so grids are fast.

    A descriptor is a unit vector, or zero where there is nothing to describe: where the gradients' weighted sum over
    the (3 bins + 1 px)² between the outer bins' centres, VLFeat's `norm`, is no more than `min_contrast` grey levels per
    px². The default is some thirty times what rounding errors come to; `vl_phow` has 1.275 (0.005 of white).

    `device` computes them and holds the result; by default CUDA where there is one, else the CPU. Raises ValueError for
    an image, points or options that are not as said.

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
        columns, rows = (_Taps.of(*axis, bin_px, window) for axis in ((x, width), (y, height)))
        # With one pixel more all round, for gradients; those of that pixel itself are of no consequence.
        left, top = max(columns.start - 1, 0), max(rows.start - 1, 0)
        grey = _grey(image[top : rows.stop + 1, left : columns.stop + 1])
        columns, rows = columns.shifted(-left), rows.shifted(-top)
        least = max(min_contrast * (3 * bin_px + 1) ** 2, 1e-10)  # squares of less than that might vanish
        fill(grey, columns, rows, least, some, descriptors)

    if device.type == "cpu":
        fill, n_threads, at_once = _fill, torch.get_num_threads(), _POINTS_AT_ONCE
    else:
        fill, n_threads, at_once = _fill_by_torch, 1, max(1, 2**26 // (32 * width))  # 256 MB as rows' sums
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
    offset = round(1.5 * radius_px) / 2 if offset is None else float(offset)
    height, width = image.shape[:2]
    largest = (min(height, width) - 1) / 2
    if not 0 <= offset <= largest:
        msg = f"offset (by default 0.75 radius_px) must be between 0 and {largest:g} px in an image of {width} x {height} px; got {offset:g}."
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


def _size(radius_px: float) -> int:
    return round(2 * radius_px)


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
            "image must be a non-empty array, uint8 of shape (height, width, 3) or grey numbers of shape (height, width);"
            f" got {image.dtype} {image.shape}."
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


@dataclass(frozen=True)
class _Taps:
    """How the bins around centres weigh pixels along one axis: bin b of centre i those from ``first[i, b]`` on.

    Equal centres are one. ``centre_of`` tells which centre a point has.
    """

    first: Int[np.ndarray, "centres 4"]
    weights: Float32[np.ndarray, "centres 4 taps"]
    centre_of: Int[np.ndarray, " points"]

    @classmethod
    def of(cls, positions: Float[np.ndarray, " points"], length: int, bin_px: float, window: VoteWindow) -> "_Taps":
        """The weights of pixels beyond the image, 0 to `length` - 1, are added to the border's, which goes on there."""
        centres, centre_of = np.unique(positions, return_inverse=True)
        from_centre = (np.arange(N_BINS) - (N_BINS - 1) / 2) * bin_px
        middles = centres[:, None] + from_centre
        start = np.floor(middles - bin_px).astype(np.int64) + 1
        pixels = start[:, :, None] + np.arange(int(np.ceil(2 * bin_px)))
        weights = np.maximum(1 - np.abs(pixels - middles[:, :, None]) / bin_px, 0)
        if window == "gaussian":
            weights *= _gaussian((pixels - centres[:, None, None]) / bin_px)
        else:  # the mean over the pixels of a bin that is centred on one
            reach = int(np.ceil(bin_px)) - 1
            within = np.arange(-reach, reach + 1)
            weights *= _gaussian((from_centre[:, None] + within) / bin_px).mean(axis=1)[:, None]

        n_taps = min(pixels.shape[2], length)
        first = start.clip(0, length - n_taps)
        slots = pixels.clip(0, length - 1) - first[:, :, None]
        slots += n_taps * np.arange(first.size).reshape(*first.shape, 1)
        folded = np.bincount(slots.ravel(), weights.ravel(), minlength=first.size * n_taps)
        return cls(first, folded.reshape(*first.shape, n_taps).astype(np.float32), centre_of)

    @property
    def start(self) -> int:
        return int(self.first.min())

    @property
    def stop(self) -> int:
        return int(self.first.max()) + self.weights.shape[2]

    def shifted(self, pixels: int) -> "_Taps":
        return _Taps(self.first + pixels, self.weights, self.centre_of)

    def dense(self, length: int, device: torch.device) -> Float[torch.Tensor, "centres 4 length"]:
        """The weights of all pixels, nearly all of them zero."""
        first = torch.from_numpy(self.first).to(device)
        weights = torch.from_numpy(self.weights).to(device)
        places = first[:, :, None] + torch.arange(weights.shape[2], device=device)
        return weights.new_zeros(*first.shape, length).scatter_(2, places, weights)


def _gaussian(distance_bins: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.exp(-0.5 * (distance_bins / _SIGMA_BINS) ** 2)


# --- On the CPU -------------------------------------------------------------------------------------------------------


def _fill(
    grey: Float32[np.ndarray, "height width"],
    columns: _Taps,
    rows: _Taps,
    least: float,
    places: Int[np.ndarray, " points"],
    descriptors: Float[torch.Tensor, "all_points 128"],
) -> None:
    """Fills in the points' descriptors at their `places`. Points come in order of their y, then x.

    Those of one y are a run, unless so far apart that what is between them would be summed in vain.
    """
    votes = np.empty((*grey.shape, N_DIRECTIONS), np.float32)
    _fill_votes(grey, votes)
    left = columns.first[columns.centre_of, 0]
    far = np.diff(left) > 3 * columns.weights.shape[2]
    begins = np.flatnonzero(np.concatenate([[True], (np.diff(rows.centre_of) != 0) | far, [True]]))
    weighing = (rows.first, rows.weights, rows.centre_of, columns.first, columns.weights, columns.centre_of)
    _fill_descriptors(votes, *weighing, begins, least, places, descriptors.numpy())


@kernel(fastmath={"nsz", "contract"})
@no_type_check
def _fill_votes(grey, votes):
    """What each pixel votes for each direction: its gradient's magnitude, between the two nearest ones.

    One of these is along an axis, the other diagonal, and the angle between the gradient and the axis is the arctangent
    of its shorter part over its longer: no more of a circle is needed. The border's gradient is that to its neighbour.
    """
    height, width = grey.shape
    straight, diagonal = np.empty(width, np.float32), np.empty(width, np.float32)
    at_straight, at_diagonal = np.empty(width, np.int32), np.empty(width, np.int32)
    across = np.zeros(width, np.float32)
    half = np.float32(0.5)
    for y in range(height):
        row, above, below = grey[y], grey[max(y - 1, 0)], grey[min(y + 1, height - 1)]
        down = half if 0 < y < height - 1 else np.float32(1)
        if width > 1:
            across[0], across[width - 1] = row[1] - row[0], row[width - 1] - row[width - 2]
        for x in range(1, width - 1):
            across[x] = half * (row[x + 1] - row[x - 1])
        for x in range(width):
            dx, dy = across[x], down * (below[x] - above[x])
            wide, high = abs(dx), abs(dy)
            tangent = min(wide, high) / max(max(wide, high), np.float32(1e-30))
            # 4 / pi times the arctangent, from 0 to 1, within 4e-7
            square = tangent * tangent
            share = np.float32(0.00867277939)
            share = share * square + np.float32(-0.0427853772)
            share = share * square + np.float32(0.101378975)
            share = share * square + np.float32(-0.16849154)
            share = share * square + np.float32(0.25220077)
            share = share * square + np.float32(-0.424209885)
            share = share * square + np.float32(1.27323459)
            share = min(share * tangent, np.float32(1))
            magnitude = np.sqrt(dx * dx + dy * dy)
            straight[x], diagonal[x] = magnitude * (np.float32(1) - share), magnitude * share
            along_x, along_y = (0 if dx > 0 else 4), (2 if dy > 0 else 6)
            at_straight[x] = along_x if wide >= high else along_y
            right, left = (1 if dy > 0 else 7), (3 if dy > 0 else 5)
            at_diagonal[x] = right if dx > 0 else left
        votes[y] = 0
        for x in range(width):
            votes[y, x, at_straight[x]] = straight[x]
            votes[y, x, at_diagonal[x]] = diagonal[x]


@kernel(fastmath={"nsz", "contract"})
@no_type_check
def _fill_descriptors(
    votes, row_first, row_weights, row_of, column_first, column_weights, column_of, begins, least, places, descriptors
):
    """Sums votes over rows once for a run of points, then over columns for each, and normalises.

    Four rows or columns at a time, for sums are then read and written a quarter as often.
    """
    width, n_row_taps, n_column_taps = votes.shape[1], row_weights.shape[2], column_weights.shape[2]
    across = votes.reshape(votes.shape[0], -1)
    one_bin = np.empty(8 * width, np.float32)
    by_column = np.empty((width, 32), np.float32)
    sums = np.empty(32, np.float32)
    histogram = np.empty((4, 4, 8), np.float32)
    flat = histogram.reshape(-1)
    for run in range(len(begins) - 1):
        begin, end = begins[run], begins[run + 1]
        left = column_first[column_of[begin], 0]
        right = column_first[column_of[end - 1], 3] + n_column_taps
        row = row_of[begin]
        for row_bin in range(4):
            total, weights, first = one_bin[8 * left : 8 * right], row_weights[row, row_bin], row_first[row, row_bin]
            total[:] = 0
            for tap in range(0, n_row_taps - 3, 4):
                w0, w1, w2, w3 = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
                v0 = across[first + tap, 8 * left : 8 * right]
                v1 = across[first + tap + 1, 8 * left : 8 * right]
                v2 = across[first + tap + 2, 8 * left : 8 * right]
                v3 = across[first + tap + 3, 8 * left : 8 * right]
                for i in range(len(total)):
                    total[i] += w0 * v0[i] + w1 * v1[i] + w2 * v2[i] + w3 * v3[i]
            for tap in range(n_row_taps - n_row_taps % 4, n_row_taps):
                w0, v0 = weights[tap], across[first + tap, 8 * left : 8 * right]
                for i in range(len(total)):
                    total[i] += w0 * v0[i]
            for x in range(left, right):
                for direction in range(8):
                    by_column[x, 8 * row_bin + direction] = one_bin[8 * x + direction]

        for point in range(begin, end):
            column = column_of[point]
            for column_bin in range(4):
                weights, first = column_weights[column, column_bin], column_first[column, column_bin]
                sums[:] = 0
                for tap in range(0, n_column_taps - 3, 4):
                    w0, w1, w2, w3 = weights[tap], weights[tap + 1], weights[tap + 2], weights[tap + 3]
                    v0, v1 = by_column[first + tap], by_column[first + tap + 1]
                    v2, v3 = by_column[first + tap + 2], by_column[first + tap + 3]
                    for i in range(32):
                        sums[i] += w0 * v0[i] + w1 * v1[i] + w2 * v2[i] + w3 * v3[i]
                for tap in range(n_column_taps - n_column_taps % 4, n_column_taps):
                    w0, v0 = weights[tap], by_column[first + tap]
                    for i in range(32):
                        sums[i] += w0 * v0[i]
                for row_bin in range(4):
                    for direction in range(8):
                        histogram[row_bin, column_bin, direction] = sums[8 * row_bin + direction]

            mass = squares = clipped_squares = np.float32(0)
            for i in range(128):
                mass += flat[i]
                squares += flat[i] * flat[i]
            found = descriptors[places[point]]
            if not mass > least:
                found[:] = 0
                continue
            scale = np.float32(1) / np.sqrt(squares)
            for i in range(128):
                found[i] = min(flat[i] * scale, np.float32(0.2))
                clipped_squares += found[i] * found[i]
            scale = np.float32(1) / np.sqrt(clipped_squares)
            for i in range(128):
                found[i] *= scale


# --- On a GPU ---------------------------------------------------------------------------------------------------------


def _fill_by_torch(
    grey: Float32[np.ndarray, "height width"],
    columns: _Taps,
    rows: _Taps,
    least: float,
    places: Int[np.ndarray, " points"],
    descriptors: Float[torch.Tensor, "all_points 128"],
) -> None:
    """The same as `_fill`. Multiplying by many zeros is what a GPU does fastest."""
    device = descriptors.device
    votes = _votes_by_torch(torch.from_numpy(grey).to(device))
    by_row = torch.einsum("rby,oyx->rbox", rows.dense(grey.shape[0], device), votes).flatten(1, 2)
    row_of, column_of, at = (torch.from_numpy(a).to(device) for a in (rows.centre_of, columns.centre_of, places))
    sums = by_row[row_of] @ columns.dense(grey.shape[1], device)[column_of].mT
    sums = sums.unflatten(1, (N_BINS, N_DIRECTIONS)).mT.flatten(1)
    unit = torch.nn.functional.normalize(torch.nn.functional.normalize(sums).clamp_max(_LARGEST))
    descriptors[at] = unit * (sums.sum(dim=1, keepdim=True) > least)


def _votes_by_torch(grey: Float[torch.Tensor, "height width"]) -> Float[torch.Tensor, "8 height width"]:
    """What each pixel votes for each direction; as in `_fill_votes`."""
    dy, dx = (torch.gradient(grey, dim=axis)[0] if grey.shape[axis] > 1 else torch.zeros_like(grey) for axis in (0, 1))
    wide, high = dx.abs(), dy.abs()
    share = torch.atan(torch.minimum(wide, high) / torch.maximum(wide, high).clamp_min(1e-30)) * (4 / torch.pi)
    magnitude = torch.sqrt(dx * dx + dy * dy)
    straight = torch.where(wide >= high, torch.where(dx > 0, 0, 4), torch.where(dy > 0, 2, 6))
    diagonal = torch.where(dx > 0, torch.where(dy > 0, 1, 7), torch.where(dy > 0, 3, 5))
    votes = grey.new_zeros(N_DIRECTIONS, *grey.shape)
    votes.scatter_(0, straight[None], (magnitude * (1 - share))[None])
    return votes.scatter_(0, diagonal[None], (magnitude * share)[None])
