"""What a descriptor stands for: the average of its nearest neighbours' receptive fields.

Long, Zhang and Darrell (2014), Section 3.1, Figure 2: averages of whole receptive fields are sharp at the centre
and blur outwards, so similar descriptors mean similar receptive-field *centres*. `agreement` puts a number to it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from corrcore import images, store
from corrcore.concurrency import Progress
from corrcore.patch_index import PatchIndex
from corrcore.store import Cache

VERSION = 4  # of what this module computes: results kept by another are not used
PROFILE_K = 50  # neighbours whose agreement is measured
N_RANDOM = 200  # receptive fields that say what no agreement is
LEAST_AGREEMENT = 0.1  # under which there is none to speak of
RING_PX = 4  # width of the rings over which agreement is averaged


@dataclass(frozen=True)
class FieldAverage:
    """The mean of `k` receptive fields, grey levels 0-255, and how many of them had each pixel inside their picture.

    A notebook shows it by `expand_contrast`.
    """

    k: int
    mean: Float[np.ndarray, "size size 3"]
    count: Int[np.ndarray, "size size"]

    def _repr_png_(self) -> bytes:
        return images.encode(expand_contrast(self.mean, self.count), format="PNG")


@dataclass(frozen=True)
class Averages:
    """The neighbours of a seed descriptor, best first, and the averages of their receptive fields.

    A notebook shows these side by side.
    """

    layer: str
    ids: Int[np.ndarray, " k"]
    similarities: Float[np.ndarray, " k"]
    averages: tuple[FieldAverage, ...]

    def _repr_png_(self) -> bytes:
        pictures = [expand_contrast(each.mean, each.count) for each in self.averages]
        return images.encode(images.in_a_row(pictures), format="PNG")


def average(
    descriptor: Float[torch.Tensor, " channels"],
    layer: str,
    *,
    index: PatchIndex,
    ks: Sequence[int] = (5, 50, 500),
    exclude: Collection[int] = (),
    progress: Progress | None = None,
) -> Averages:
    """Averages the receptive fields of the nearest neighbours of one seed descriptor.

    A neighbour whose receptive field crosses its picture's border counts only with the pixels inside: every pixel is
    the mean over the neighbours that have it (`FieldAverage.count`), black where none has. Photos numbered in
    `exclude` are not considered. Raises ValueError where the index holds fewer than ``max(ks)`` patches.
    """
    found = index.search(layer, descriptor[None], max(ks), exclude=exclude, progress=progress)
    ids, similarities = np.asarray(found.ids)[0], np.asarray(found.similarities)[0]
    size = index.receptive_field(layer).window_px
    total = np.zeros((size, size, 3))
    count = np.zeros((size, size), np.int64)
    averages, done = [], 0
    for k in sorted(ks):
        crops, valid = index.cut_receptive_fields(layer, ids[done:k])
        total = total + crops.sum(axis=0, dtype=np.int64)
        count = count + valid.sum(axis=0)
        mean = (total / np.maximum(count, 1)[..., None]).astype(np.float32)
        averages.append(FieldAverage(k, mean, count))
        done = k
    return Averages(layer, ids, similarities, tuple(averages))


def expand_contrast(
    mean: Float[np.ndarray, "size size 3"], count: Int[np.ndarray, "size size"]
) -> UInt8[np.ndarray, "size size 3"]:
    """An average made visible: its 1st to 99th percentile over all channels stretched to black and white.

    One range for the three channels keeps hues. Pixels that no neighbour has stay black.
    """
    seen = mean[count > 0]
    low, high = np.percentile(seen, [1, 99]) if seen.size else (0.0, 255.0)
    stretched = np.clip((mean - low) / max(high - low, 1e-9), 0, 1) * 255
    return np.where(count[..., None] > 0, np.rint(stretched), 0).astype(np.uint8)


@dataclass(frozen=True)
class Agreement:
    """How alike the aligned receptive fields of a seed's neighbours are, by distance from the centre.

    `agreement` is 1 where all neighbours show the same and 0 where they differ as much as random receptive fields do.
    """

    radii_px: Float[np.ndarray, " rings"]
    agreement: Float[np.ndarray, " rings"]
    size_px: int

    @property
    def agreement_radius_px(self) -> float:
        """Where agreement has lost half of what it loses between the centre and the rim.

        What neighbours share all over, rim included, such as light and colour, tells nothing of where things are.
        Infinite if agreement does not fall; NaN if neighbours do not even agree at the centre. Agreement that falls
        evenly gives half the distance to the rim: compare with that.
        """
        if not self.agreement[0] >= LEAST_AGREEMENT:
            return float("nan")
        if self.agreement[0] - self.agreement[-1] < LEAST_AGREEMENT:
            return float("inf")
        return crossing(self.radii_px, self.agreement, self.half)

    @property
    def half(self) -> float:
        """Agreement halfway between the centre's and the rim's."""
        return float(self.agreement[0] + self.agreement[-1]) / 2


def crossing(radii: Float[np.ndarray, " rings"], values: Float[np.ndarray, " rings"], level: float) -> float:
    """The first radius at which a profile that begins above a level falls to it, between rings by interpolation."""
    below = np.flatnonzero(values <= level)
    if not len(below):
        return float("inf")
    outer = below[0]
    inner = outer - 1
    share = (values[inner] - level) / (values[inner] - values[outer])
    return float(radii[inner] + share * (radii[outer] - radii[inner]))


def agreement(
    ids: Int[np.ndarray, " k"], layer: str, *, index: PatchIndex, rng: np.random.Generator, n_random: int = N_RANDOM
) -> Agreement:
    """The radial profile of ``1 - variance of aligned receptive fields / variance of random receptive fields``.

    Variances are over receptive fields, pixel by pixel, with only pixels inside their pictures, averaged over rings of
    4 px up to the inscribed circle and over colour channels. Random receptive fields are drawn from the same layer.
    """
    size = index.receptive_field(layer).window_px
    n_patches = index.n_patches(layer)
    drawn = np.sort(rng.choice(n_patches, min(n_random, n_patches), replace=False))
    aligned, random = (_variance(*index.cut_receptive_fields(layer, chosen)) for chosen in (ids, drawn))
    across = np.arange(size) - (size - 1) / 2
    ring = (np.hypot(*np.meshgrid(across, across)) / RING_PX).astype(int)
    n_rings = int(size / 2 // RING_PX)
    both = np.isfinite(aligned) & np.isfinite(random)
    ratio = [
        aligned[chosen].mean() / max(random[chosen].mean(), 1e-9)
        if (chosen := both & (ring == number)).any()
        else np.nan
        for number in range(n_rings)
    ]
    return Agreement((np.arange(n_rings) + 0.5) * RING_PX, 1 - np.array(ratio), size)


@dataclass(frozen=True)
class Study:
    """What one seed descriptor stands for: its neighbours' averages, and how far from the centre they agree."""

    averages: Averages
    agreement: Agreement


def study(
    descriptor: Float[torch.Tensor, " channels"],
    layer: str,
    *,
    index: PatchIndex,
    ks: Sequence[int] = (5, 50, 500),
    profile_k: int = PROFILE_K,
    exclude: Collection[int] = (),
    seed: int = 0,
    results: Cache | None = None,
    progress: Progress | None = None,
) -> Study:
    """`average`, and `agreement` of the `profile_k` nearest, kept in `results` where that is given."""
    key = store.key(
        task="averaging",
        version=VERSION,
        descriptor=descriptor.float().cpu().numpy(),
        index=index.digest,
        layer=layer,
        window_px=index.receptive_field(layer).window_px,
        ks=list(ks),
        profile_k=profile_k,
        exclude=sorted(exclude),
        seed=seed,
    )
    kept = results.get(key) if results is not None else None
    if kept is None:
        averages = average(descriptor, layer, index=index, ks=ks, exclude=exclude, progress=progress)
        profile = agreement(averages.ids[:profile_k], layer, index=index, rng=np.random.default_rng(seed))
        if results is not None:
            arrays = {"ids": averages.ids, "similarities": averages.similarities}
            arrays |= {f"mean_{each.k}": each.mean for each in averages.averages}
            arrays |= {f"count_{each.k}": each.count for each in averages.averages}
            arrays |= {"radii_px": profile.radii_px, "agreement": profile.agreement}
            results.put(key, arrays, {})
        return Study(averages, profile)
    found = kept.arrays
    means = tuple(FieldAverage(k, found[f"mean_{k}"], found[f"count_{k}"]) for k in sorted(ks))
    return Study(
        Averages(layer, found["ids"], found["similarities"], means),
        Agreement(found["radii_px"], found["agreement"], index.receptive_field(layer).window_px),
    )


def _variance(
    crops: UInt8[np.ndarray, "n size size 3"], valid: Bool[np.ndarray, "n size size"]
) -> Float[np.ndarray, "size size"]:
    """Unbiased variance over crops of each pixel, averaged over channels; NaN where fewer than two crops have it."""
    count = valid.sum(axis=0)[..., None]
    values = crops.astype(np.float32)
    mean = values.sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
    squares = np.where(valid[..., None], (values - mean.astype(np.float32)) ** 2, 0).sum(axis=0, dtype=np.float64)
    return np.where(count > 1, squares / np.maximum(count - 1, 1), np.nan).mean(axis=-1)
