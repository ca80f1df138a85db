"""Hard negatives, mined round by round.

Of the hundreds of thousands of cells that are negatives, only those that detectors find hard are put together.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from corrcore.concurrency import Progress
from corrcore.engines import svm
from corrcore.engines.svm import LinearClassifier
from corrcore.store.arrays import load_arrays, save_arrays
from corrcore.tasks.detection.detectors import LEAST_OBJECTS, Detectors, MiningRound
from corrcore.tasks.detection.files import OF_LINEAR, linear_from
from corrcore.tasks.detection.pool import Pool
from corrcore.tasks.detection.spec import DetectorSpec, targets
from corrcore.tasks.detection.training_set import TrainingSet

MINING_BYTES = 2**30  # of cells put together at a time
_HARD = -1 + 1e-3  # a negative's score from which it is on the wrong side of the margin
_GROWTH = 3  # how many cells may be added to a pool, as a multiple of its own
_LOOSE = 30  # how much looser a round's tolerance is that a third of its pool or more will be added to


class HardNegativeMiner:
    """The training cells of some objects, from which detectors are trained without having them all in memory.

    Keypoints are trained in groups, one after another, so many together as `most_bytes` is expected to have room for,
    were their cells put together. A group's pool of cells begins with its positives and `first` cells of every object,
    at random; a round trains on it, scores all cells, and adds the negatives that came out hard, the hardest first.
    Where the pool is full, negatives that are not hard any more are dropped from it.

    `hard_share` is how many of all cells are expected to be hard for a keypoint. `convolved` is whether cells are
    passed by convolution and not put together; by default `Pool` decides. Raises ValueError where nothing can be
    trained.
    """

    def __init__(
        self,
        training: TrainingSet,
        spec: DetectorSpec,
        *,
        first: int = 30,
        most_bytes: int = MINING_BYTES,
        hard_share: float = 0.1,
        seed: int = 0,
        convolved: bool | None = None,
    ) -> None:
        self._convolved = convolved
        self.spec, self.names = spec, training.names
        self._descriptors = training.grids[spec.feature]
        cells = training.cells[spec.feature]
        every = np.stack([targets(cells, points, spec) for points in training.keypoints])
        shown = np.asarray(np.isfinite(training.keypoints).all(axis=-1)).sum(axis=0)
        usable = (shown >= LEAST_OBJECTS) & (every == 1).any(axis=(0, 1)) & (every == -1).any(axis=(0, 1))
        self.trained = tuple(np.flatnonzero(usable).tolist())
        if not self.trained:
            msg = (
                f"a detector needs {LEAST_OBJECTS} train objects that show its keypoint, and cells that do not see it; "
                f"of {len(training.objects)} objects no keypoint has both. "
                "Give more objects, or a feature of smaller receptive fields."
            )
            raise ValueError(msg)
        self._targets = every[..., list(self.trained)].reshape(-1, len(self.trained))
        n_features = self._descriptors.shape[-1] * spec.cells**2
        positives = (self._targets == 1).sum(axis=0)
        # However many objects: the positives of one keypoint, and as many negatives.
        self._most = min(max(most_bytes // (4 * n_features), 2 * int(positives.max())), len(self._targets))
        needed = np.maximum(2 * positives, hard_share * len(self._targets))
        needed = needed if self._most < len(self._targets) else np.zeros(len(needed))  # there is room for all cells
        self._groups: list[list[int]] = []
        for detector in range(len(needed)):
            if not self._groups or needed[[*self._groups[-1], detector]].sum() > self._most:
                self._groups.append([])
            self._groups[-1].append(detector)
        rng = np.random.default_rng(seed)
        per_object = len(self._targets) // len(self._descriptors)
        lots = [rng.permutation(per_object)[:first] + per_object * n for n in range(len(self._descriptors))]
        self._lots = rng.permutation(np.concatenate(lots))[: self._most // 2]
        self._cells: dict[int, Int[np.ndarray, " cells"]] = {}  # of the groups' pools, as they were last

    def fit(
        self,
        *,
        cost: float,
        start: LinearClassifier | None = None,
        most_rounds: int = 20,
        tolerance: float = 1e-3,
        kept: str | os.PathLike | None = None,
        key: str = "",
        progress: Progress | None = None,
    ) -> Detectors:
        """Trains detectors.

        `start` are some of another cost to begin with, and pools are those of the last call. `tolerance` is that of
        `svm.fit_targets`.

        With `kept`, a file, every round is written down there, and training of the same `key` that was stopped goes on
        from the last; the file goes when all is done. Ends after `most_rounds` rounds, and where there is no room for
        negatives that are hard: such detectors are not `finished`.
        """
        if most_rounds < 1:
            msg = f"most_rounds must be at least 1; got {most_rounds}."
            raise ValueError(msg)
        found, rounds, cells = _resumed(kept, key)
        current, own = (None, []) if cells is None else (found.pop(), rounds.pop())
        pool = Pool(self._descriptors, self.spec, self._most, convolved=self._convolved)
        for number in range(len(found), len(self._groups)):
            group = self._groups[number]
            here = self._targets[:, group]
            if cells is None:
                cells, current, own = self._first_cells(number), _part(start, group), []
            pool.start(cells)
            cells = None
            while current is None or len(own) < most_rounds:
                y = here[pool.cells].astype(np.float32)
                growing = not own or 3 * own[-1].hard > own[-1].cells
                allowed = tolerance * (_LOOSE if growing and len(own) < most_rounds - 1 else 1)
                current = svm.fit_targets(pool.samples, y, cost=cost, start=current, tolerance=allowed)
                weights = torch.from_numpy(current.weights).to(self._descriptors.device)
                scores = pool.scores_of_all(weights).cpu().numpy() + current.bias
                hard = ((here == -1) & (scores > _HARD)).any(axis=1)
                new = hard.copy()
                new[pool.cells] = False
                n_new = int(new.sum())
                own.append(MiningRound(len(pool.cells), int((y == 1).sum()), float(current.objective.sum()), n_new))
                if progress is not None:
                    share = len(own) / (len(own) + 3) if n_new else 1
                    progress((number + share) / len(self._groups), f"round {len(own)}")
                if n_new and not self._grow(pool, here, scores, hard, new):
                    break
                if len(own) > 1 and not pool.room and n_new > 0.9 * own[-2].hard:
                    break  # what is put in only pushes others out
                if not n_new and not growing:
                    break
                _write_down(kept, key, [*found, current], [*rounds, own], pool.cells)
            if (
                current.gap.max() > 0 and (current.gap > tolerance * current.objective).any()
            ):  # it ended in a loose round
                y = here[pool.cells].astype(np.float32)
                current = svm.fit_targets(pool.samples, y, cost=cost, start=current, tolerance=tolerance)
            self._cells[number] = pool.cells
            found.append(current)
            rounds.append(own)
            _write_down(kept, key, found, rounds, np.empty(0, int))
        if kept is not None:
            Path(kept).unlink(missing_ok=True)
        linear = _together(found, cost)
        return Detectors(self.spec, self.names, self.trained, linear, tuple(tuple(group) for group in rounds))

    def _first_cells(self, group: int) -> Int[np.ndarray, " cells"]:
        """What a group's pool was last; for the first time, its positives and some at random."""
        if group in self._cells:
            return self._cells[group]
        chosen = (self._targets[:, self._groups[group]] == 1).any(axis=1)
        chosen[self._lots] = True
        return np.flatnonzero(chosen)

    def _grow(self, pool: Pool, here: np.ndarray, scores: np.ndarray, hard: np.ndarray, new: np.ndarray) -> bool:
        """Adds the hardest of the new ones, at most as many as the pool has; whether there was room for any."""
        wanted = int(new.sum())
        if wanted > pool.room:
            wanted = min(wanted, _GROWTH * len(pool.cells))
        if pool.room < wanted:
            pool.keep(hard[pool.cells] | (here[pool.cells] == 1).any(axis=1))
        wanted = min(wanted, pool.room)
        if wanted == 0:
            return False
        candidates = np.flatnonzero(new)
        how_hard = np.where(here[candidates] == -1, scores[candidates], -np.inf).max(axis=1)
        pool.add(candidates[np.argpartition(-how_hard, wanted - 1)[:wanted]])
        return True


def _part(linear: LinearClassifier | None, detectors: list[int]) -> LinearClassifier | None:
    if linear is None:
        return None
    weights, bias, objective, gap = (getattr(linear, name)[detectors] for name in OF_LINEAR)
    return LinearClassifier(weights, bias, linear.cost, objective, gap)


def _together(parts: Sequence[LinearClassifier], cost: float) -> LinearClassifier:
    weights, bias, objective, gap = (np.concatenate([getattr(part, name) for part in parts]) for name in OF_LINEAR)
    return LinearClassifier(weights, bias, cost, objective, gap)


def _write_down(
    kept: str | os.PathLike | None,
    key: str,
    found: Sequence[LinearClassifier],
    rounds: Sequence[Sequence[MiningRound]],
    cells: Int[np.ndarray, " cells"],
) -> None:
    """Of a group that is done no cells."""
    if kept is None:
        return
    arrays = {f"{name}.{n}": getattr(part, name) for n, part in enumerate(found) for name in OF_LINEAR}
    about = {"key": key, "rounds": [[asdict(one) for one in group] for group in rounds], "cost": found[0].cost}
    save_arrays(Path(kept), arrays | {"cells": cells}, about)


def _resumed(
    kept: str | os.PathLike | None, key: str
) -> tuple[list[LinearClassifier], list[list[MiningRound]], Int[np.ndarray, " cells"] | None]:
    """What was written down of the same training: detectors, rounds, and the pool of the group that was at work; None
    where that was done.
    """
    if kept is None:
        return [], [], None
    try:
        arrays, about = load_arrays(Path(kept))
    except (OSError, ValueError):
        return [], [], None
    if about.get("key") != key:
        return [], [], None
    rounds = [[MiningRound(**one) for one in group] for group in about["rounds"]]
    found = [linear_from(arrays, about["cost"], f".{n}") for n in range(len(rounds))]
    return found, rounds, arrays["cells"] if len(arrays["cells"]) else None
