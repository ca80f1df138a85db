"""An image rebuilt from the patches of its nearest neighbours, and how well those are localised.

Long, Zhang and Darrell (2014), Section 3, Figure 1: every descriptor of a layer owns the patch, one stride wide,
around its receptive-field centre. Replaced by the mean of the patches that its `k` nearest descriptors of other
photos own, patches keep object parts in place although receptive fields are many times larger.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn import functional as F

from corrcore import images
from corrcore.backbones import Backbone, Image
from corrcore.geometry import Box, ReceptiveField
from corrcore.index import PatchIndex, Progress

UNCOVERED = 255  # grey level of a picture's rim that no cell's patch reaches
FLAT = 2.0  # grey levels of standard deviation under which a patch can be matched anywhere
MATCHES_AT_ONCE = 32


@dataclass(frozen=True)
class Retrieval:
    """The nearest neighbours of every cell of an image, best first. Cells are numbered row by row."""

    layer: str
    field: ReceptiveField
    rows: int
    columns: int
    image_size: tuple[int, int]
    ids: Int[np.ndarray, "cells k"]
    similarities: Float[np.ndarray, "cells k"]

    @property
    def k(self) -> int:
        return self.ids.shape[1]

    @property
    def covered(self) -> Box:
        """The part of the image that the cells' patches cover."""
        first, last = self.field.patch_box(0, 0), self.field.patch_box(self.rows - 1, self.columns - 1)
        return Box(first.left, first.top, last.right, last.bottom).clip(self.image_size)

    def cell_at(self, x: float, y: float) -> int:
        """The number of the cell whose patch holds a pixel."""
        row, column = (
            min(max(int(np.floor(self.field.cell(pixel) + 0.5)), 0), count - 1)
            for pixel, count in ((y, self.rows), (x, self.columns))
        )
        return row * self.columns + column


def retrieve(
    image: Image,
    layer: str,
    *,
    backbone: Backbone,
    index: PatchIndex,
    k: int = 5,
    exclude: Collection[int] = (),
    progress: Progress | None = None,
) -> Retrieval:
    """The `k` nearest patches in the index for every cell of an image.

    Photos with exactly the image's pixels are never used, nor are those in `exclude` (numbers of the index's photos),
    at any scale, mirrored or not. Raises ValueError where the index was made by another network, lacks the layer, or
    holds fewer than `k` other patches.
    """
    if index.backbone_digest != backbone.digest:
        msg = (
            f"index {index.name} was made by {index.backbone} with weights {index.backbone_digest[:8]}; "
            f"got {backbone.name} with {backbone.digest[:8]}. Choose that network, or build an index with this one."
        )
        raise ValueError(msg)
    grid = backbone.extract(image, (layer,))[layer]
    found = index.search(layer, grid.flat(), k, exclude={*exclude, *index.photos_like(image)}, progress=progress)
    return Retrieval(
        layer,
        grid.field,
        grid.rows,
        grid.columns,
        grid.image_size,
        np.asarray(found.ids),
        np.asarray(found.similarities),
    )


def rebuild(retrieval: Retrieval, index: PatchIndex, *, k: int) -> Image:
    """The image with every patch replaced by the mean of its `k` nearest neighbours' patches.

    As large as the image; the rim outside `Retrieval.covered` is white.
    """
    if not 1 <= k <= retrieval.k:
        msg = f"k must be between 1 and {retrieval.k} (neighbours that were retrieved); got {k}."
        raise ValueError(msg)
    ids = retrieval.ids[:, :k]
    patches = index.cut_patches(retrieval.layer, ids.reshape(-1))
    means = patches.reshape(*ids.shape, *patches.shape[1:]).mean(axis=1)
    return _tile(means, retrieval)


def uniform(image: Image, retrieval: Retrieval, *, window: int = 99, k: int, rng: np.random.Generator) -> Image:
    """The baseline of Figure 1: what to expect of descriptors that keep no position within their receptive field.

    Every patch becomes the mean of `k` patches drawn uniformly from the `window` x `window` pixels around it in the
    same image (99: the size of conv3's receptive field), as far as they lie inside.
    """
    side = retrieval.field.stride
    cells = np.arange(retrieval.rows * retrieval.columns)
    lows, highs = [], []
    for cell, length in zip(np.divmod(cells, retrieval.columns)[::-1], retrieval.image_size, strict=True):
        start = retrieval.field.first_pixel(cell, window)
        lows.append(np.clip(start, 0, max(length - side, 0)))
        highs.append(np.clip(start + window - side, 0, max(length - side, 0)))
    corners = np.stack(
        [rng.integers(low, high + 1, size=(k, len(cells))) for low, high in zip(lows, highs, strict=True)], -1
    )
    patches, _ = images.gather(image, corners.reshape(-1, 2), height=side, width=side)
    means = patches.reshape(k, len(cells), side, side, 3).mean(axis=0)
    return _tile(means, retrieval)


def _tile(patches: Float[np.ndarray, "cells side side 3"], retrieval: Retrieval) -> Image:
    side = retrieval.field.stride
    tiles = patches.reshape(retrieval.rows, retrieval.columns, side, side, 3).swapaxes(1, 2)
    mosaic = np.rint(tiles.reshape(retrieval.rows * side, retrieval.columns * side, 3)).astype(np.uint8)
    width, height = retrieval.image_size
    picture = np.full((height, width, 3), UNCOVERED, np.uint8)
    box, first = retrieval.covered, retrieval.field.patch_box(0, 0)
    inside = mosaic[box.top - first.top : box.bottom - first.top, box.left - first.left : box.right - first.left]
    picture[box.top : box.bottom, box.left : box.right] = inside
    return picture


@dataclass(frozen=True)
class Fidelity:
    """How close a rebuilt picture comes to its original, pixel by pixel, on what its patches cover.

    Both reward the image's own colours more than the right parts in the right place: see `localise` for those.
    """

    psnr_db: float
    ssim: float


def fidelity(image: Image, rebuilt: Image, covered: Box) -> Fidelity:
    """Peak signal-to-noise ratio and structural similarity of a rebuilt picture."""
    first, second = (
        picture[covered.top : covered.bottom, covered.left : covered.right] for picture in (image, rebuilt)
    )
    window = min(7, min(first.shape[:2]) // 2 * 2 - 1)
    ssim = structural_similarity(first, second, channel_axis=2, win_size=window) if window >= 3 else float("nan")
    if np.array_equal(first, second):
        return Fidelity(float("inf"), float(ssim))
    return Fidelity(float(peak_signal_noise_ratio(first, second)), float(ssim))


@dataclass(frozen=True)
class Localisation:
    """Where retrieved patches match best within the receptive field they were retrieved for.

    `offsets` are (x, y) pixels from where the original patch is to where the retrieved patch matches best;
    `chance_offsets` the same for patches taken from a random place of the same neighbours' receptive fields.
    """

    layer: str
    offsets: Int[np.ndarray, "matches 2"]
    chance_offsets: Int[np.ndarray, "chance_matches 2"]
    reach_px: int

    @property
    def score(self) -> float:
        """The probability that a retrieved patch matches closer to its place than one from a random place does.

        One half by construction for descriptors that keep no position within their receptive field, 1 for perfect
        localisation; NaN without matches.
        """
        near, far = (np.hypot(*offsets.T) for offsets in (self.offsets, self.chance_offsets))
        if not len(near) or not len(far):
            return float("nan")
        far = np.sort(far)
        closer = len(far) - np.searchsorted(far, near, side="right")
        ties = np.searchsorted(far, near, side="right") - np.searchsorted(far, near, side="left")
        return float((closer + ties / 2).mean() / len(far))

    def share_within(self, distance_px: float) -> tuple[float, float]:
        """The share of matches at most that far from their place: of retrieved patches, and by chance."""
        near, chance = (
            float((np.hypot(*offsets.T) <= distance_px).mean()) if len(offsets) else float("nan")
            for offsets in (self.offsets, self.chance_offsets)
        )
        return near, chance


def localise(
    image: Image,
    retrieval: Retrieval,
    index: PatchIndex,
    *,
    rng: np.random.Generator,
    max_cells: int = 256,
) -> Localisation:
    """Measures whether retrieved patches are *placed* right within the receptive field, not only alike.

    For each cell, the patch its nearest neighbour owns is looked for in the cell's own receptive field, at every
    whole-pixel place, by normalised cross-correlation of grey levels (brightness and contrast do not count); the
    offset of the best place from the cell's own patch is recorded. The same is done with a patch drawn uniformly from
    the neighbour's whole receptive field. A descriptor that knew what is in its receptive field but not where could
    not prefer the middle: it would retrieve the neighbour's content at any shift as readily, so middle and random
    patch would be exchangeable and both sets of offsets have one distribution, whatever the photos look like. The
    comparison (`Localisation.score`) is therefore at chance by construction where position is lost.

    Only cells and neighbours whose receptive field lies inside their pictures count, for padding betrays position;
    patches of nearly one grey level, which match anywhere, are left out on either side. At most `max_cells` cells,
    drawn by `rng`, are measured.
    """
    field = retrieval.field
    cells = np.arange(len(retrieval.ids))
    rows, columns = np.divmod(cells, retrieval.columns)
    top_left = np.stack([field.first_pixel(columns, field.size), field.first_pixel(rows, field.size)], axis=-1)
    inside = ((top_left >= 0) & (top_left + field.size <= np.array(retrieval.image_size))).all(axis=1)
    cells = cells[inside]
    if len(cells) > max_cells:
        cells = np.sort(rng.choice(cells, max_cells, replace=False))
    offsets, chance_offsets = [], []
    reach = field.size - field.stride
    middle = int(field.first_pixel(0, field.stride) - field.first_pixel(0, field.size))
    for start in range(0, len(cells), MATCHES_AT_ONCE):
        part = cells[start : start + MATCHES_AT_ONCE]
        neighbours, valid = index.cut_fields(retrieval.layer, retrieval.ids[part, 0])
        whole = valid.all(axis=(1, 2))
        part, neighbours = part[whole], _grey(neighbours[whole])
        if not len(part):
            continue
        windows = _grey(images.gather(image, top_left[part], height=field.size, width=field.size)[0])
        places = rng.integers(0, reach + 1, size=(len(part), 2))
        centred = np.full_like(places, middle)
        for chosen, found in ((centred, offsets), (places, chance_offsets)):
            patches = np.stack(
                [
                    crop[y : y + field.stride, x : x + field.stride]
                    for crop, (x, y) in zip(neighbours, chosen, strict=True)
                ]
            )
            best, matchable = _best_match(windows, patches)
            found.append(best[matchable] - middle)
    empty = np.empty((0, 2), np.int64)
    return Localisation(
        retrieval.layer, np.concatenate([empty, *offsets]), np.concatenate([empty, *chance_offsets]), reach - middle
    )


def _grey(crops: UInt8[np.ndarray, "n side side 3"]) -> Float[np.ndarray, "n side side"]:
    return crops.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _best_match(
    windows: Float[np.ndarray, "n window window"], patches: Float[np.ndarray, "n side side"]
) -> tuple[Int[np.ndarray, "n 2"], np.ndarray]:
    """The (x, y) place of best normalised cross-correlation of each patch in its window; whether there is one.

    Numerators by the Fourier transform, means and variances of every place by running sums.
    """
    n, side = patches.shape[:2]
    window = torch.from_numpy(windows).double()
    patch = torch.from_numpy(patches).double()
    window = window - window.mean(dim=(1, 2), keepdim=True)
    centred = patch - patch.mean(dim=(1, 2), keepdim=True)
    places = window.shape[1] - side + 1
    size = window.shape[1:]
    spectrum = torch.fft.rfft2(window) * torch.fft.rfft2(centred, s=size).conj()
    products = torch.fft.irfft2(spectrum, s=size)[:, :places, :places]
    sums, squares = (F.avg_pool2d(values[:, None], side, stride=1)[:, 0] for values in (window, window**2))
    variance = (squares - sums**2).clamp_min(0)
    correlation = torch.where(variance > FLAT**2, products / variance.clamp_min(FLAT**2).sqrt(), -torch.inf)
    best, where = correlation.reshape(n, -1).max(dim=1)
    matchable = torch.isfinite(best) & (centred.square().mean(dim=(1, 2)) > FLAT**2)
    y, x = torch.div(where, places, rounding_mode="floor"), where % places
    return torch.stack([x, y], dim=1).numpy(), matchable.numpy()
