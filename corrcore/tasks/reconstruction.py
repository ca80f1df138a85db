"""An image rebuilt from the patches of its nearest neighbours, and how well those are localised.

Long, Zhang and Darrell (2014), Section 3, Figure 1: every descriptor of a layer owns the patch, one stride wide,
around its receptive-field centre. Replaced by the mean of the patches that its `k` nearest descriptors of other
photos own, patches keep object parts in place although receptive fields are many times larger.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch.nn import functional as F

from corrcore import images, store
from corrcore.geometry import CellGrid, PixelBox
from corrcore.networks import Backbone, Image
from corrcore.patch_index import PatchIndex, Progress
from corrcore.store import Cache

VERSION = 3  # of what this module computes: results kept by another are not used
UNCOVERED = 255  # grey level of a picture's rim that no cell's patch reaches
FLAT = 2.0  # grey levels of standard deviation under which a patch can be matched anywhere
RIM_PX = 8  # searched beyond the receptive field, so that its own rim is no end of the search
MATCHES_AT_ONCE = 32


@dataclass(frozen=True)
class Retrieval:
    """The nearest neighbours of every cell of an image, best first."""

    layer: str
    cells: CellGrid
    ids: Int[np.ndarray, "cells k"]
    similarities: Float[np.ndarray, "cells k"]


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

    Photos with exactly the image's pixels (`PatchIndex.photos_like`) are never used, nor are those in `exclude` (numbers
    of the index's photos), at any scale, mirrored or not. Raises ValueError where the index was made by another network,
    lacks the layer, or holds fewer than `k` other patches.
    """
    index.check_made_by(backbone)
    grid = backbone.extract(image, (layer,))[layer]
    found = index.search(layer, grid.flat(), k, exclude={*exclude, *index.photos_like(image)}, progress=progress)
    return Retrieval(layer, grid.cells, np.asarray(found.ids), np.asarray(found.similarities))


def rebuild(retrieval: Retrieval, index: PatchIndex, *, k: int) -> Image:
    """The image with every patch replaced by the mean of its `k` nearest neighbours' patches.

    As large as the image; the rim that no patch covers is white.
    """
    retrieved = retrieval.ids.shape[1]
    if not 1 <= k <= retrieved:
        msg = f"k must be between 1 and {retrieved} (neighbours that were retrieved); got {k}."
        raise ValueError(msg)
    ids = retrieval.ids[:, :k]
    patches = index.cut_patches(retrieval.layer, ids.reshape(-1))
    return _tile(patches.reshape(*ids.shape, *patches.shape[1:]).mean(axis=1), retrieval.cells)


def uniform(image: Image, cells: CellGrid, *, window: int = 99, k: int, rng: np.random.Generator) -> Image:
    """The baseline of Figure 1: what to expect of descriptors that keep no position within their receptive field.

    Every patch becomes the mean of `k` patches drawn uniformly from the `window` x `window` pixels around it in the
    same image (99: the size of conv3's receptive field), as far as they lie inside.
    """
    side = cells.receptive_field.stride
    start, last = cells.corners(window), np.maximum(np.array(cells.image_size) - side, 0)
    low, high = np.clip(start, 0, last), np.clip(start + window - side, 0, last)
    corners = rng.integers(low, high + 1, size=(k, *low.shape))
    patches, _ = images.extract_patches(image, corners.reshape(-1, 2), height=side, width=side)
    return _tile(patches.reshape(k, len(cells), side, side, 3).mean(axis=0), cells)


def _tile(patches: Float[np.ndarray, "cells side side 3"], cells: CellGrid) -> Image:
    side = cells.receptive_field.stride
    tiles = patches.reshape(cells.rows, cells.columns, side, side, 3).swapaxes(1, 2)
    mosaic = np.rint(tiles.reshape(cells.rows * side, cells.columns * side, 3)).astype(np.uint8)
    width, height = cells.image_size
    picture = np.full((height, width, 3), UNCOVERED, np.uint8)
    box, first = cells.covered, cells.receptive_field.patch_box(0, 0)
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


def fidelity(image: Image, rebuilt: Image, covered: PixelBox) -> Fidelity:
    """Peak signal-to-noise ratio and structural similarity of a rebuilt picture."""
    # Imported where it is used, since that takes a second that no first picture need wait for.
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    part = (slice(covered.top, covered.bottom), slice(covered.left, covered.right))
    first, second = image[part], rebuilt[part]
    window = min(7, min(first.shape[:2]) // 2 * 2 - 1)
    ssim: Any = structural_similarity(first, second, channel_axis=2, win_size=window) if window >= 3 else float("nan")
    if np.array_equal(first, second):
        return Fidelity(float("inf"), float(ssim))
    return Fidelity(float(peak_signal_noise_ratio(first, second)), float(ssim))


@dataclass(frozen=True)
class Localisation:
    """Where retrieved patches match best within the receptive field they were retrieved for.

    `offsets` are (x, y) pixels from where the original patch is to where the retrieved patch matches best; each was
    chosen among all whole offsets from `lowest` to `highest` in both directions.
    """

    layer: str
    offsets: Int[np.ndarray, "matches 2"]
    lowest: int
    highest: int

    def _distances(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the matches, and of all places there are."""
        across = np.arange(self.lowest, self.highest + 1)
        return np.hypot(*self.offsets.T), np.hypot(*np.meshgrid(across, across)).ravel()

    @property
    def score(self) -> float:
        """The probability that a patch matches closer to its place than a place drawn uniformly lies.

        One half where all places of the receptive field are equally likely, 1 for perfect localisation, 0 for matches
        at its rim; NaN without matches. Ties count half.
        """
        shares = self._closer()
        return float(shares.mean()) if len(shares) else float("nan")

    @property
    def score_error(self) -> float:
        """The standard error of the score, as if matches were independent; NaN with fewer than two."""
        shares = self._closer()
        return float(shares.std(ddof=1) / np.sqrt(len(shares))) if len(shares) > 1 else float("nan")

    def _closer(self) -> Float[np.ndarray, " matches"]:
        """The share of places that lie further off than each match."""
        near, places = self._distances()
        places = np.sort(places)
        closer = len(places) - np.searchsorted(places, near, side="right")
        ties = np.searchsorted(places, near, side="right") - np.searchsorted(places, near, side="left")
        return (closer + ties / 2) / len(places)

    def share_within(self, distance_px: float) -> tuple[float, float]:
        """The share of matches at most that far from their place (NaN without any), and of all places."""
        near, places = self._distances()
        share = float((near <= distance_px).mean()) if len(near) else float("nan")
        return share, float((places <= distance_px).mean())


def localise(
    image: Image,
    retrieval: Retrieval,
    index: PatchIndex,
    *,
    rng: np.random.Generator,
    side: int | None = None,
    max_cells: int = 256,
) -> Localisation:
    """Measures whether retrieved patches are *placed* right within the receptive field, not only alike.

    For each cell, the square of `side` pixels around its nearest neighbour's patch is looked for in the cell's own
    receptive field, at every whole-pixel place, by normalised cross-correlation of grey levels (brightness and contrast
    do not count); the offset of the best place from the cell's own patch is recorded. By default the square is three
    strides wide, the patch with its surroundings, since a patch alone matches in many places.

    To a descriptor that knows what is in its receptive field but not where, all shifts of the content that keep the
    square inside are alike. The best place is then uniform over the receptive field, and every number is compared with
    exactly that (`Localisation.score` is 0.5). Real photos put what they show in the middle more often than at the rim,
    which lifts even descriptors without any order a little: a few hundredths above 0.5 say nothing. The measure sees
    only what shows in grey levels: a layer whose neighbours have the same part in the same place but look different
    scores lower than it localises.

    Smooth pictures match best at the rim of whatever is searched; so 8 px more are searched on every side, and matches
    outside the receptive field dropped. Only cells and neighbours whose receptive field lies inside their pictures count, for padding betrays position;
    squares of nearly one grey level, which match anywhere, are left out. At most `max_cells` cells, drawn by `rng`, are
    measured.
    """
    field = retrieval.cells.receptive_field
    side = side or min(3 * field.stride, field.size // 2)
    middle = int(field.first_pixel(0, side) - field.first_pixel(0, field.size))
    lowest, highest = -middle, field.size - side - middle
    searched = field.size + 2 * RIM_PX
    corners = retrieval.cells.corners(field.size) - RIM_PX
    cells = np.flatnonzero(((corners >= 0) & (corners + searched <= retrieval.cells.image_size)).all(axis=1))
    if len(cells) > max_cells:
        cells = np.sort(rng.choice(cells, max_cells, replace=False))
    offsets = [np.empty((0, 2), np.int64)]
    for start in range(0, len(cells), MATCHES_AT_ONCE):
        part = cells[start : start + MATCHES_AT_ONCE]
        neighbours, valid = index.cut_receptive_fields(retrieval.layer, retrieval.ids[part, 0])
        whole = valid.all(axis=(1, 2))
        part, neighbours = part[whole], neighbours[whole]
        if len(part):
            windows, _ = images.extract_patches(image, corners[part], height=searched, width=searched)
            squares = images.grey(neighbours[:, middle : middle + side, middle : middle + side])
            best, matchable = _best_match(images.grey(windows), squares)
            found = best[matchable] - RIM_PX - middle
            offsets.append(found[((found >= lowest) & (found <= highest)).all(axis=1)])
    return Localisation(retrieval.layer, np.concatenate(offsets), lowest, highest)


@dataclass(frozen=True)
class Reconstruction:
    """What one layer makes of an image: its neighbours, and how well they are localised. `rebuild` makes pictures."""

    retrieval: Retrieval
    localisation: Localisation


def reconstruct(
    image: Image,
    layer: str,
    *,
    backbone: Backbone,
    index: PatchIndex,
    k: int = 5,
    exclude: Collection[int] = (),
    seed: int = 0,
    results: Cache | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """`retrieve` and `localise` in one, kept in `results` where that is given: a second look costs nothing."""
    excluded = sorted({*exclude, *index.photos_like(image)})
    key = store.key(
        task="reconstruct",
        version=VERSION,
        image=images.digest(image),
        backbone=backbone.digest,
        precision=str(backbone.dtype),
        index=index.digest,
        layer=layer,
        k=k,
        exclude=excluded,
        seed=seed,
    )
    kept = results.get(key) if results is not None else None
    if kept is None:
        retrieval = retrieve(image, layer, backbone=backbone, index=index, k=k, exclude=excluded, progress=progress)
        localisation = localise(image, retrieval, index, rng=np.random.default_rng(seed))
        if results is not None:
            arrays = {
                "ids": retrieval.ids,
                "similarities": retrieval.similarities,
                "offsets": localisation.offsets,
            }
            numbers = {"rows": retrieval.cells.rows, "columns": retrieval.cells.columns}
            results.put(key, arrays, numbers | {"lowest": localisation.lowest, "highest": localisation.highest})
        return Reconstruction(retrieval, localisation)
    size = (image.shape[1], image.shape[0])
    cells = CellGrid(index.field(layer), kept.metadata["rows"], kept.metadata["columns"], size)
    return Reconstruction(
        Retrieval(layer, cells, kept.arrays["ids"], kept.arrays["similarities"]),
        Localisation(layer, kept.arrays["offsets"], kept.metadata["lowest"], kept.metadata["highest"]),
    )


def _best_match(
    windows: Float[np.ndarray, "n window window"], patches: Float[np.ndarray, "n side side"]
) -> tuple[Int[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """The (x, y) place of best normalised cross-correlation of each patch in its window; whether there is one.

    Numerators by the Fourier transform, means and variances of every place by running sums.
    """
    side = patches.shape[-1]
    places = windows.shape[-1] - side + 1
    size = [next(n for n in count(windows.shape[-1]) if _is_fast(n))] * 2  # wraps around beyond the places that count
    window, patch = torch.from_numpy(windows - windows.mean()), torch.from_numpy(patches)
    centred = patch - patch.mean(dim=(1, 2), keepdim=True)
    spectrum = torch.fft.rfft2(window, s=size) * torch.fft.rfft2(centred, s=size).conj()
    products = torch.fft.irfft2(spectrum, s=size)[..., :places, :places]
    means, squares = _box_means(window, side), _box_means(window**2, side)
    variance = squares - means**2
    scale = torch.where(variance > FLAT**2, variance.clamp_min(FLAT**2).rsqrt(), torch.nan)
    best, where = (products * scale).nan_to_num(-torch.inf).flatten(1).max(dim=1)
    matchable = torch.isfinite(best) & (centred.square().mean(dim=(1, 2)) > FLAT**2)
    place = torch.stack([where % places, torch.div(where, places, rounding_mode="floor")], dim=-1)
    return place.numpy(), matchable.numpy()


def _is_fast(n: int) -> bool:
    """Whether a Fourier transform of this length is quick: it has no prime factor above 5."""
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


def _box_means(values: Float[torch.Tensor, "n window window"], side: int) -> Float[torch.Tensor, "n places places"]:
    """The mean over every square of `side`, by running sums."""
    sums = F.pad(values.double(), (1, 0, 1, 0)).cumsum(1).cumsum(2)
    boxes = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    return (boxes / side**2).float()
