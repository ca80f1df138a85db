"""The directions of a layer's descriptors that say where a cell stands, not what it shows; and descriptors without.

Zero padding, position embeddings and whatever else differs between the places of an image leave a trace in descriptors.
Images without content show it alone: what their descriptors have in common at a place, over uniform colours and smooth
noise, is of the place. Its principal components span the positional subspace, which INSID3 (2026) projects out of the
features of a DINO.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch.nn import functional as F

from corrcore import images, store
from corrcore.features import Extractor, FeatureGrid, Image
from corrcore.store import Cache

VERSION = 1  # of what this module computes: results kept by another are not used
N_IMAGES = 12  # without content
COARSE = 6  # random colours along each side of smooth noise
MOST_COMPONENTS = 64
_DARKEST, _BRIGHTEST = 64, 192
_LEAST = 1e-7  # of the variance of unit vectors: less is rounding
_REMEMBERED = 32

Size = tuple[int, int]
_lock = threading.Lock()  # of both
_subspaces: OrderedDict[str, "PositionalSubspace"] = OrderedDict()  # the least recently used first
_making: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class PositionalSubspace:
    """Orthonormal directions of descriptors of unit length, by how much of the variance over places is along each."""

    axes: Float32[np.ndarray, "components channels"]
    variances: Float[np.ndarray, " components"]

    def without(self, grid: FeatureGrid, n: int) -> FeatureGrid:
        """A grid whose descriptors have nothing along the first `n` directions, or all where there are fewer; of unit
        length.
        """
        unit = F.normalize(grid.descriptors.float(), dim=-1)
        axes = torch.tensor(self.axes[:n]).to(unit)  # a copy, as what comes from disk cannot be written
        return replace(grid, descriptors=F.normalize(unit - (unit @ axes.T) @ axes, dim=-1))


class VarianceInCommon:
    """What grids of one size have in common at each place: the covariance, over places, of the mean of ever more.

    Only products of different grids count. So what is not in common adds nothing on average, however few there are.
    """

    def __init__(self) -> None:
        self._sum: torch.Tensor | None = None
        self._own: torch.Tensor | None = None
        self._n = 0

    def add(self, grid: FeatureGrid) -> None:
        """One more."""
        own = centred(grid)
        products = (own.T @ own).double()
        self._sum = own if self._sum is None else self._sum + own
        self._own = products if self._own is None else self._own + products
        self._n += 1

    def subspace(self, most: int = MOST_COMPONENTS) -> PositionalSubspace:
        """The principal components that stand out: above twice what lies below zero, where nothing but chance is."""
        if self._sum is None or self._own is None or self._n < 2:
            msg = f"what grids have in common needs at least 2 of them; got {self._n}."
            raise ValueError(msg)
        cells, n = len(self._sum), self._n
        covariance = ((self._sum.T @ self._sum).double() - self._own) / (n * (n - 1) * cells)
        values, vectors = np.linalg.eigh(covariance.cpu().numpy())
        kept = np.flatnonzero(values > max(_LEAST, -2 * values[0]))[::-1][:most]
        return PositionalSubspace(np.ascontiguousarray(vectors[:, kept].T, np.float32), values[kept])


def centred(grid: FeatureGrid) -> Float[torch.Tensor, "cells channels"]:
    """Descriptors of unit length less their mean over the image."""
    unit = F.normalize(grid.flat().float(), dim=-1)
    return unit - unit.mean(dim=0)


def without_content(size: Size, n: int = N_IMAGES) -> Iterator[Image]:
    """Images of ``(width, height)`` that show nothing: by turns of one colour, and of smooth noise.

    Noise is cut at random out of more of it, for between random colours it is smoother than at them, and these would
    lie at the same places in all images.
    """
    width, height = size
    for number in range(n):
        rng = np.random.default_rng(number)
        if not is_noise(number):
            yield np.broadcast_to(_colours(rng, 1), (height, width, 3)).copy()
            continue
        right, down = max(width // COARSE, 1), max(height // COARSE, 1)  # from colour to colour
        whole = images.resize_to(_colours(rng, COARSE + 3), height=height + 3 * down, width=width + 3 * right)
        top, left = down + int(rng.integers(down + 1)), right + int(rng.integers(right + 1))
        yield np.ascontiguousarray(whole[top : top + height, left : left + width])


def is_noise(number: int) -> bool:
    """Whether an image of `without_content`, counted from 0, is smooth noise, and not of one colour."""
    return number % 2 == 1


def _colours(rng: np.random.Generator, n: int) -> Image:
    return rng.integers(_DARKEST, _BRIGHTEST, (n, n, 3), dtype=np.uint8)


def positional_subspace(
    extractor: Extractor, layer: str, size: Size, *, results: Cache | None = None
) -> PositionalSubspace:
    """The positional subspace of a layer for images of ``(width, height)`` pixels, or of the one size a network takes.

    It is worked out once for all threads, kept in memory and in `results`, where that is given. Raises ValueError for
    an unknown layer, and for images that are too small for it.
    """
    size = size_for(extractor, size)
    key = subspace_key(extractor, layer, size)
    if (found := _remembered(key)) is not None:
        return found
    with _lock:
        making = _making.setdefault(key, threading.Lock())
    with making:
        found = _remembered(key)  # what another thread has made meanwhile
        if found is None:
            found = _read_or_made(extractor, layer, size, results, key)
            with _lock:
                _subspaces[key] = found
                while len(_subspaces) > _REMEMBERED:
                    _subspaces.popitem(last=False)
    return found


def _remembered(key: str) -> PositionalSubspace | None:
    with _lock:
        if key not in _subspaces:
            return None
        _subspaces.move_to_end(key)
        return _subspaces[key]


def _read_or_made(extractor: Extractor, layer: str, size: Size, results: Cache | None, key: str) -> PositionalSubspace:
    found = None if results is None else kept_subspace(results, key)
    if found is None:
        common = VarianceInCommon()
        for image in without_content(size):
            common.add(extractor.extract(image, [layer])[layer])
        found = common.subspace()
        if results is not None:
            keep_subspace(found, results, key)
    return found


def size_for(extractor: Extractor, size: Size) -> Size:
    """The size, or the only one that a network takes."""
    only: Sequence[int] | None = getattr(extractor, "image_size", None)
    return size if only is None else (only[0], only[1])


def subspace_key(extractor: Extractor, layer: str, size: Size) -> str:
    """What a subspace is kept under."""
    return store.key(
        task="positional subspace", version=VERSION, network=extractor.digest, layer=layer, size=size, n=N_IMAGES
    )


def keep_subspace(found: PositionalSubspace, results: Cache, key: str) -> None:
    """Keeps a subspace on disk."""
    results.put(key, {"axes": found.axes, "variances": found.variances}, {})


def kept_subspace(results: Cache, key: str) -> PositionalSubspace | None:
    """The subspace that is kept; None where none is."""
    entry = results.get(key)
    return None if entry is None else PositionalSubspace(entry.arrays["axes"], entry.arrays["variances"])
