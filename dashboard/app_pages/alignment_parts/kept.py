"""What was carried to an object as it is kept on disk: all but the pictures and their descriptors."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from corrcore import concurrency
from corrcore.datasets.records import Instance
from corrcore.engines.mrf import Solution
from corrcore.features import Feature
from corrcore.store import Entry
from corrcore.tasks.alignment import Alignment, DescribedCrop, Neighbour, ObjectTransfer, Transfer


def as_arrays(found: ObjectTransfer, n: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The neighbours that are among the first `n` of any feature, aligned by every feature, and all keypoints."""
    transfers = list(found.transfers.values())
    shown = {one.instance.name for transfer in transfers for one in transfer.neighbours[:n]}
    arrays: dict[str, np.ndarray] = {"unaligned": found.unaligned}
    about = []
    for number, transfer in enumerate(transfers):
        kept = [one for one in transfer.neighbours if one.instance.name in shown]
        arrays |= {
            f"{number} keypoints": transfer.keypoints,
            f"{number} carried": np.stack([one.keypoints for one in kept]),
            f"{number} displacements": np.stack([one.alignment.displacement for one in kept]),
            f"{number} labels": np.stack([one.alignment.solution.labels for one in kept]).astype(np.uint16),
        }
        solutions = []
        for place, one in enumerate(kept):
            solution = one.alignment.solution
            arrays[f"{number} history {place}"] = solution.history
            solutions.append([solution.data, solution.smoothness, solution.lower_bound])
        arrays[f"{number} solutions"] = np.array(solutions)
        about.append([one.instance.name for one in kept])
    return arrays, {"neighbours": about, "among": len(found.neighbours)}


def from_entry(
    entry: Entry,
    target: DescribedCrop,
    train: Sequence[Instance],
    describe: Callable[[Instance], DescribedCrop],
    smoothness: Mapping[Feature, float],
) -> ObjectTransfer:
    """The same, with the crops of `target` and of the neighbours that are kept, which `describe` makes."""
    by_name = {one.name: one for one in train}
    names: Sequence[Sequence[str]] = entry.metadata["neighbours"]
    each, described = list(dict.fromkeys(name for some in names for name in some)), list[DescribedCrop]()
    concurrency.map_in_order(lambda name: describe(by_name[name]), each, described.append)
    crops = dict(zip(each, described, strict=True))
    transfers = {}
    for number, (feature, value) in enumerate(smoothness.items()):
        neighbours = []
        for place, name in enumerate(names[number]):
            data, smooth, bound = entry.arrays[f"{number} solutions"][place].tolist()
            labels = entry.arrays[f"{number} labels"][place].astype(int)
            solution = Solution(labels, data, smooth, bound, entry.arrays[f"{number} history {place}"])
            cells = crops[name].grids[feature].cells, target.grids[feature].cells
            aligned = Alignment(*cells, solution, entry.arrays[f"{number} displacements"][place])
            neighbours.append(Neighbour(by_name[name], crops[name], aligned, entry.arrays[f"{number} carried"][place]))
        transfers[feature] = Transfer(feature, value, tuple(neighbours), entry.arrays[f"{number} keypoints"])
    there = tuple((by_name[name], crop) for name, crop in crops.items())
    return ObjectTransfer(target, there, transfers, entry.arrays["unaligned"])
