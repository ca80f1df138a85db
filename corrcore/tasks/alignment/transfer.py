"""Keypoints carried from similar objects to a target by aligning them: Long, Zhang and Darrell (2014), Section 4."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32, Int

from corrcore import concurrency
from corrcore.concurrency import Progress
from corrcore.crops import CropTransform
from corrcore.datasets.records import Instance
from corrcore.engines import mrf
from corrcore.engines.mrf import Method
from corrcore.features import Feature
from corrcore.tasks.alignment.align import Alignment, data_term, refined_displacement
from corrcore.tasks.alignment.describe import DescribedCrop
from corrcore.tasks.every_object import every_object

NEIGHBOURS = 25  # aligned to each object
TOP = 5  # of them vote on a keypoint

Order = Literal["deformation", "likeness"]


@dataclass(frozen=True, eq=False)
class NeighbourPool:
    """Objects among which similar ones are found.

    `describe` cuts out and describes one of them; whoever asks often gives one that remembers. `summaries` has a row
    per object, zeros where its photo cannot be read.
    """

    instances: Sequence[Instance]
    describe: Callable[[Instance], DescribedCrop]
    summaries: Float32[np.ndarray, "objects channels"]

    @classmethod
    def of(
        cls,
        instances: Sequence[Instance],
        describe: Callable[[Instance], DescribedCrop],
        *,
        progress: Progress | None = None,
    ) -> "NeighbourPool":
        """Describes all of them once. Raises what `every_object` does."""
        rows: dict[int, np.ndarray] = {}
        every_object(
            instances, lambda one: describe(one).summary, rows.__setitem__, noun="train object", progress=progress
        )
        nothing = np.zeros_like(next(iter(rows.values())))
        return cls(instances, describe, np.stack([rows.get(number, nothing) for number in range(len(instances))]))

    def nearest(
        self, target: Instance, crop: DescribedCrop, n: int = NEIGHBOURS, *, progress: Progress | None = None
    ) -> list[tuple[Instance, DescribedCrop]]:
        """The `n` objects most similar to a described target, most similar first; none of the target's own photo.

        Raises ValueError where there is no other photo, and what `every_object` does.
        """
        usable = np.flatnonzero(
            self.summaries.any(axis=1) & np.array([each.photo.name != target.photo.name for each in self.instances])
        )
        if not len(usable):
            msg = f"{target.name} needs neighbours in other photos of its category's train split; there are none."
            raise ValueError(msg)
        nearest = usable[nearest_summaries(crop.summary, self.summaries[usable], n)]
        chosen = [self.instances[number] for number in nearest]
        described: dict[int, DescribedCrop] = {}
        every_object(chosen, self.describe, described.__setitem__, noun="neighbour", progress=progress)
        return [(chosen[number], found) for number, found in described.items()]


def nearest_summaries(
    target: Float[np.ndarray, " channels"], others: Float[np.ndarray, "others channels"], n: int
) -> Int[np.ndarray, " nearest"]:
    """The `n` rows most similar to the target's, most similar first."""
    return np.argsort(-(others @ target), kind="stable")[:n]


def vote(
    candidates: Float[np.ndarray, "neighbours keypoints 2"],
    order: Int[np.ndarray, " neighbours"],
    *,
    top: int = 5,
) -> Float[np.ndarray, "keypoints 2"]:
    """Every keypoint's median, by coordinate, over the first `top` neighbours in `order` that show it; else NaN."""
    ordered = candidates[order]
    shown = ~np.isnan(ordered).any(axis=-1)
    used = shown & (np.cumsum(shown, axis=0) <= top)
    found = np.full(candidates.shape[1:], np.nan)
    some = used.any(axis=0)
    found[some] = np.nanmedian(np.where(used[..., None], ordered, np.nan)[:, some], axis=0)
    return found


@dataclass(frozen=True, eq=False)
class Neighbour:
    """An object aligned to another, and its keypoints, (x, y) in the other's photo."""

    instance: Instance
    crop: DescribedCrop
    alignment: Alignment
    keypoints: Float[np.ndarray, "keypoints 2"]


@dataclass(frozen=True, eq=False)
class Transfer:
    """Neighbours aligned to a target, in the order in which they vote, and the keypoints voted for, in its photo."""

    feature: Feature
    smoothness: float
    neighbours: tuple[Neighbour, ...]
    keypoints: Float[np.ndarray, "keypoints 2"]


@dataclass(frozen=True)
class TransferOptions:
    """How neighbours are aligned and vote.

    `position` is that of `data_term`. The `top` neighbours first in `order` that show a keypoint vote on it: the least
    deformed, which in the paper do better than those of least data term, or the most similar.
    """

    position: float = 0.0
    order: Order = "deformation"
    method: Method = "trw-s"
    iterations: int = 10
    gap: float = 1e-3
    top: int = TOP

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            msg = f"order must be one of {', '.join(get_args(Order))}; got {self.order!r}."
            raise ValueError(msg)


def transfer(
    target: DescribedCrop,
    neighbours: Sequence[tuple[Instance, DescribedCrop]],
    feature: Feature,
    *,
    smoothness: float = 0.1,
    options: TransferOptions = TransferOptions(),
    progress: Progress | None = None,
) -> Transfer:
    """Keypoints of the neighbours carried to the target by aligning them; the first in order vote by their median.

    Neighbours come as `NeighbourPool.nearest` finds them, the most similar first. Raises ValueError where there are
    none.
    """
    if not neighbours:
        msg = "a transfer needs at least one neighbour; got none."
        raise ValueError(msg)

    def report(share: float) -> None:
        if progress is not None:
            progress(share, f"{feature.title}: aligning {round(share * len(neighbours))} of {len(neighbours)}")

    grid = target.grids[feature]
    unaries = [data_term(source.grids[feature], grid, position=options.position) for _, source in neighbours]
    solutions = mrf.minimise_batch(
        unaries,
        smoothness=smoothness,
        method=options.method,
        iterations=options.iterations,
        gap=options.gap,
        progress=report,
        device=grid.descriptors.device,
    )
    found: list[Neighbour] = []
    for (instance, source), unary, solution in zip(neighbours, unaries, solutions, strict=True):
        displacement = refined_displacement(unary, solution, smoothness)
        aligned = Alignment(source.grids[feature].cells, grid.cells, solution, displacement)
        points = aligned.to_target(source.transform.to_crop(instance.keypoints))
        found.append(Neighbour(instance, source, aligned, target.transform.to_image(points)))
    if options.order == "deformation":
        found.sort(key=lambda neighbour: neighbour.alignment.deformation)
    points = np.stack([neighbour.keypoints for neighbour in found])
    return Transfer(feature, smoothness, tuple(found), vote(points, np.arange(len(found)), top=options.top))


@dataclass(frozen=True, eq=False)
class ObjectTransfer:
    """One object and the keypoints carried to it: by each feature, and unaligned, in pixels of its photo."""

    target: DescribedCrop
    neighbours: tuple[tuple[Instance, DescribedCrop], ...]
    transfers: Mapping[Feature, Transfer]
    unaligned: Float[np.ndarray, "keypoints 2"]


def transfer_to_object(
    instance: Instance,
    target: DescribedCrop,
    pool: NeighbourPool,
    smoothness: Mapping[Feature, float],
    *,
    options: TransferOptions = TransferOptions(),
    progress: Progress | None = None,
) -> ObjectTransfer:
    """Finds an object's neighbours in a pool, aligns them by each feature, and lets their keypoints vote.

    `target` is the object, described. `smoothness` has a value per feature. Unaligned, the boxes are laid on one
    another and the most similar neighbours vote. Raises ValueError as `NeighbourPool.nearest` does.
    """
    neighbours = pool.nearest(instance, target, progress=concurrency.part(progress, 0, 0.3))
    laid = np.stack([_laid_on(other, source, target) for other, source in neighbours])
    transfers = {
        feature: transfer(
            target,
            neighbours,
            feature,
            smoothness=value,
            options=options,
            progress=concurrency.part(progress, 0.3 + 0.7 * number / len(smoothness), 0.7 / len(smoothness)),
        )
        for number, (feature, value) in enumerate(smoothness.items())
    }
    unaligned = vote(laid, np.arange(len(neighbours)), top=options.top)
    return ObjectTransfer(target, tuple(neighbours), transfers, unaligned)


def _laid_on(other: Instance, source: DescribedCrop, target: DescribedCrop) -> Float[np.ndarray, "keypoints 2"]:
    """A neighbour's keypoints where they come to lie when its crop is stretched to the target's."""
    stretched = CropTransform(source.transform.edges, target.transform.size)
    return target.transform.to_image(stretched.to_crop(other.keypoints))
