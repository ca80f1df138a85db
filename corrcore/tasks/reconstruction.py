"""An image rebuilt from the patches of its nearest neighbours.

Long, Zhang and Darrell (2014), Section 3, Figure 1: every descriptor of a layer owns the patch, one stride wide,
around its receptive-field centre. Replaced by the mean of the patches that its `k` nearest descriptors of other
photos own, patches keep object parts in place although receptive fields are many times larger.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from corrcore import images, store
from corrcore.concurrency import Progress
from corrcore.features import Extractor, Image
from corrcore.geometry import CellGrid, PixelBox
from corrcore.patch_index import PatchIndex
from corrcore.store import Cache
from corrcore.tasks.localisation import Localisation, localise

VERSION = 3  # of what this module computes: results kept by another are not used
UNCOVERED = 255  # grey level of a picture's rim that no cell's patch reaches


@dataclass(frozen=True)
class Retrieval:
    """The nearest neighbours of every cell of an image, best first."""

    layer: str
    cells: CellGrid
    ids: Int[np.ndarray, "cells k"]
    similarities: Float[np.ndarray, "cells k"]

    def localise(
        self, image: Image, index: PatchIndex, *, rng: np.random.Generator, max_cells: int = 256
    ) -> Localisation:
        """How well the nearest neighbours' patches sit in their places: `corrcore.tasks.localisation.localise`."""
        return localise(image, self.cells, self.ids[:, 0], self.layer, index, rng=rng, max_cells=max_cells)


def retrieve(
    image: Image,
    layer: str,
    *,
    extractor: Extractor,
    index: PatchIndex,
    k: int = 5,
    exclude: Collection[int] = (),
    near: bool = True,
    progress: Progress | None = None,
) -> Retrieval:
    """The `k` nearest patches in the index for every cell of an image.

    The image itself is never used, nor are photos in `exclude` (numbers of the index's photos), at any scale,
    mirrored or not; with `near`, nor are its enlarged or recompressed copies (`PatchIndex.photos_like`). Raises
    ValueError where the index was made by another network, lacks the layer, or holds fewer than `k` other patches.
    """
    index.check_made_by(extractor)
    grid = extractor.extract(image, (layer,))[layer]
    excluded = {*exclude, *index.photos_like(image, near=near)}
    found = index.search(layer, grid.flat(), k, exclude=excluded, progress=progress)
    cells = replace(grid.cells, receptive_field=index.receptive_field(layer))  # whose window may be another
    return Retrieval(layer, cells, np.asarray(found.ids), np.asarray(found.similarities))


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
class Reconstruction:
    """What one layer makes of an image: its neighbours, and how well they are localised. `rebuild` makes pictures."""

    retrieval: Retrieval
    localisation: Localisation


def reconstruct(
    image: Image,
    layer: str,
    *,
    extractor: Extractor,
    index: PatchIndex,
    k: int = 5,
    exclude: Collection[int] = (),
    near: bool = True,
    seed: int = 0,
    results: Cache | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """`retrieve` and `localise` in one, kept in `results` where that is given: a second look costs nothing."""
    excluded = sorted({*exclude, *index.photos_like(image, near=near)})
    key = store.key(
        task="reconstruct",
        version=VERSION,
        image=images.digest(image),
        extractor=extractor.digest,
        index=index.digest,
        layer=layer,
        window_px=index.receptive_field(layer).window_px,
        k=k,
        exclude=excluded,
        seed=seed,
    )
    kept = results.get(key) if results is not None else None
    if kept is None:
        retrieval = retrieve(
            image, layer, extractor=extractor, index=index, k=k, exclude=excluded, near=near, progress=progress
        )
        localisation = retrieval.localise(image, index, rng=np.random.default_rng(seed))
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
    cells = CellGrid(index.receptive_field(layer), kept.metadata["rows"], kept.metadata["columns"], size)
    return Reconstruction(
        Retrieval(layer, cells, kept.arrays["ids"], kept.arrays["similarities"]),
        Localisation(layer, kept.arrays["offsets"], kept.metadata["lowest"], kept.metadata["highest"]),
    )
