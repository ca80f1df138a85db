"""Where is each keypoint of a boxed object? A detector a keypoint, and a prior from the training objects most alike.

Long, Zhang and Darrell (2014), Section 6: the object's box is stretched to 500 x 500 px, and a linear SVM a keypoint scores
every square of 3 x 3 cells of conv5, or every descriptor of dense SIFT. Of the hundreds of thousands of cells that are
negatives, only those that detectors find hard are put together, round by round (`mine`). The prior is a Gaussian around
the keypoint's place in the training object most alike, and the prediction is the candidate cell of highest

    log f = (1 - eta) log s + eta log p        s = 1 / (1 + exp(-score)),   p = exp(-||x - place||² / (2 sigma²))

An SVM's score may be negative, where the paper's product of powers means nothing: the logistic function makes it positive
here. With several places p is the mean of their Gaussians.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch.nn import functional as F

from corrcore import concurrency, decoding, extractors, images
from corrcore.crops import CropTransform
from corrcore.datasets.records import Instance
from corrcore.descriptors import sift
from corrcore.engines import svm
from corrcore.engines.svm import LinearClassifier
from corrcore.features import FeatureGrid
from corrcore.geometry import CellGrid, PixelBox
from corrcore.metrics import keypoint_errors, pck
from corrcore.networks import Backbone, Image, every_pixel

VERSION = 1  # of what this module computes: results kept by another are not used
SIDE_PX = 500
SIGMA_PX = 22.0
LEAST_OBJECTS = 5  # that show a keypoint: with fewer it has no detector
MINING_BYTES = 2**30  # of cells put together at a time
_HARD = -1 + 1e-3  # a negative's score from which it is on the wrong side of the margin
_HARD_SHARE = 0.1  # of all cells, how many are expected to be hard for a keypoint
_SCORED = 16  # objects at a time
_GROWTH = 3  # how many cells may be added to a pool, as a multiple of its own
_LOOSE = 30  # how much looser a round's tolerance is that a third of its pool or more will be added to

Progress = Callable[[float, str], None]
BoxXYXY = tuple[float, float, float, float]


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector sees, and which cells it learns from.

    Of a layer `cells` x `cells` cells together; positive are the `nearest` ones to the keypoint, negative those whose
    receptive field, that of all the cells together, does not hold it. SIFT, such as "sift16", is taken every half radius, the
    side of its bins: positive are descriptors within 2 bins of the keypoint, negative those at least 4 bins away. What lies
    between is neither, and where an object does not show a keypoint, nothing of it is either.
    """

    feature: str = "conv5"
    cells: int = 3
    nearest: int = 10

    def __post_init__(self) -> None:
        if self.cells < 1 or self.cells % 2 == 0 or self.nearest < 1:
            msg = f"cells must be an odd number from 1, and nearest at least 1; got {self.cells} and {self.nearest}."
            raise ValueError(msg)

    @property
    def bin_px(self) -> float | None:
        """The side of SIFT's bins; None for layers."""
        radius = extractors.sift_radius(self.feature)
        return None if radius is None else radius / 2

    @property
    def reach(self) -> int:
        """Cells seen on each side of the middle one."""
        return 0 if self.bin_px is not None else self.cells // 2


def crop_box(photo: Image, box: BoxXYXY) -> tuple[Image, CropTransform]:
    """What is in a box (edges, in pixels), stretched to 500 x 500 px, and where that lies in its photo.

    Raises ValueError for a box without area.
    """
    left, top, right, bottom = box
    if not (right > left and bottom > top):
        msg = f"box must have an area, its left and top edges first; got {[round(edge, 1) for edge in box]}."
        raise ValueError(msg)
    return images.crop_resized(photo, box, width=SIDE_PX, height=SIDE_PX), CropTransform(box, (SIDE_PX, SIDE_PX))


@dataclass(frozen=True, eq=False)
class ObjectFeatures:
    """An object as detectors and prior see it: descriptors by feature, and its summary, of unit length; all in half precision,
    so that what is kept on disk is the same.
    """

    grids: Mapping[str, FeatureGrid]
    summary: Float32[np.ndarray, " channels"]


def describe(image: Image, schemes: Sequence[DetectorSpec], *, backbone: Backbone) -> ObjectFeatures:
    """Describes an object that `frame` made. Raises ValueError for an unknown feature."""
    summary = summary_layer(backbone)
    layers = dict.fromkeys([*(scheme.feature for scheme in schemes if scheme.bin_px is None), summary])
    grids = backbone.extract(image, list(layers))
    whole = F.normalize(grids[summary].descriptors.flatten().float(), dim=0).half().float().cpu().numpy()
    for scheme in schemes:
        if scheme.bin_px is not None:
            grids[scheme.feature] = sift.extract(
                image, radius_px=2 * scheme.bin_px, stride=max(round(scheme.bin_px), 1), device=backbone.device
            )
    return ObjectFeatures(
        {
            name: FeatureGrid(grid.descriptors.half(), grid.receptive_field, grid.image_size, name)
            for name, grid in ((scheme.feature, grids[scheme.feature]) for scheme in schemes)
        },
        whole,
    )


def summary_layer(backbone: Backbone) -> str:
    """What objects alike are found by: pool5, or the network's last usual layer where it has no layer of that name."""
    return "pool5" if "pool5" in backbone.layers else backbone.architecture.default_layers[-1]


@dataclass(frozen=True, eq=False)
class Prior:
    """Where keypoints are in training objects, to be asked by likeness: descriptions of unit length, and places in pixels of
    the stretched objects, NaN where not visible. `objects` and `photos` are names.
    """

    summaries: Float[np.ndarray, "objects channels"]
    keypoints: Float[np.ndarray, "objects keypoints 2"]
    objects: tuple[str, ...]
    photos: tuple[str, ...]

    def nearest(
        self, summary: Float[np.ndarray, " channels"], *, k: int = 1, photo: str | None = None
    ) -> Int[np.ndarray, "k keypoints"]:
        """For each keypoint the `k` objects most alike that show it, most alike first; -1 where there are no more.

        Those in the `photo` of this name, the object's own, are left out. Raises ValueError for `k` below 1.
        """
        if k < 1:
            msg = f"k must be at least 1; got {k}."
            raise ValueError(msg)
        order = np.argsort(-(self.summaries @ summary), kind="stable")
        order = order[[self.photos[n] != photo for n in order]]
        shown = np.asarray(np.isfinite(self.keypoints[order]).all(axis=-1))
        found = np.full((k, self.keypoints.shape[1]), -1)
        for keypoint in range(self.keypoints.shape[1]):
            some = order[shown[:, keypoint]][:k]
            found[: len(some), keypoint] = some
        return found

    def places(self, objects: Int[np.ndarray, "k keypoints"]) -> Float[np.ndarray, "k keypoints 2"]:
        """Where the objects that `nearest` found have the keypoints; NaN for -1."""
        at = self.keypoints[objects, np.arange(objects.shape[1])]
        return np.where((objects >= 0)[..., None], at, np.nan)


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Training objects, described: one array a feature, 0.5 MB an object for conv5, 0.8 for SIFT, and 0.2 for the summary.

    `keypoints` are in pixels of the stretched objects, NaN where not visible. `left_out` are objects whose photo cannot
    be read, by name, with the reason; `unread` if for one that may be read another time.
    """

    grids: Mapping[str, torch.Tensor]  # objects, rows, columns, channels
    cells: Mapping[str, CellGrid]
    summaries: Float32[np.ndarray, "objects channels"]
    keypoints: Float[np.ndarray, "objects keypoints 2"]
    objects: tuple[str, ...]
    photos: tuple[str, ...]
    names: tuple[str, ...]
    left_out: Mapping[str, str]
    unread: bool = False

    @property
    def prior(self) -> Prior:
        return Prior(self.summaries, self.keypoints, self.objects, self.photos)

    def some(self, chosen: Int[np.ndarray, " chosen"]) -> "TrainingSet":
        """The same of some objects, by their numbers."""
        return TrainingSet(
            {name: grids[torch.from_numpy(chosen).to(grids.device)] for name, grids in self.grids.items()},
            self.cells,
            self.summaries[chosen],
            self.keypoints[chosen],
            tuple(self.objects[n] for n in chosen),
            tuple(self.photos[n] for n in chosen),
            self.names,
            self.left_out,
            self.unread,
        )


def describe_training_set(
    instances: Sequence[Instance],
    names: Sequence[str],
    schemes: Sequence[DetectorSpec],
    *,
    backbone: Backbone,
    progress: Progress | None = None,
) -> TrainingSet:
    """Describes objects for training and for priors. `names` are their keypoints'.

    Raises ValueError for an unknown feature, and where no object can be described.
    """
    if schemes:  # with none it is for the prior alone
        extractors.check([scheme.feature for scheme in schemes], backbone)
    left_out: dict[str, str] = {}
    unread = False
    kept: list[Instance] = []
    keypoints: list[np.ndarray] = []
    grids: dict[str, torch.Tensor] = {}  # one array a feature from the first object on: never twice in memory
    cells: dict[str, CellGrid] = {}
    summaries = np.empty((0, 0), np.float32)
    done = 0

    def work(instance: Instance) -> tuple[Instance, CropTransform, ObjectFeatures] | None:
        nonlocal unread
        try:
            image, placement = crop_box(instance.photo.load(), instance.box)
            return instance, placement, describe(image, schemes, backbone=backbone)
        except (decoding.ImageError, ValueError) as error:
            left_out[instance.name] = str(error)
        except OSError as error:  # which may pass
            left_out[instance.name], unread = str(error), True
        return None

    def keep(one: tuple[Instance, CropTransform, ObjectFeatures] | None) -> None:
        nonlocal done, summaries
        done += 1
        if one is not None:
            instance, placement, subject = one
            if not kept:
                summaries = np.empty((len(instances), len(subject.summary)), np.float32)
                for name, grid in subject.grids.items():
                    grids[name] = grid.descriptors.new_empty(len(instances), *grid.descriptors.shape)
                    cells[name] = grid.cells
            for name, grid in subject.grids.items():
                grids[name][len(kept)] = grid.descriptors
            summaries[len(kept)] = subject.summary
            keypoints.append(placement.to_crop(instance.keypoints))
            kept.append(instance)
        if progress is not None:
            progress(done / len(instances), f"describing train objects: {done} of {len(instances)}")

    concurrency.map_in_order(work, instances, keep)
    if not kept:
        reason = next(iter(left_out.values()), "there are none")
        msg = f"none of {len(instances)} train objects could be described; the first: {reason}"
        raise ValueError(msg)
    return TrainingSet(
        {name: grid[: len(kept)] for name, grid in grids.items()},
        cells,
        summaries[: len(kept)],
        np.stack(keypoints),
        tuple(instance.name for instance in kept),
        tuple(instance.photo.name for instance in kept),
        tuple(names),
        dict(sorted(left_out.items())),
        unread,
    )


def targets(
    cells: CellGrid, keypoints: Float[np.ndarray, "keypoints 2"], scheme: DetectorSpec
) -> Int8[np.ndarray, "cells keypoints"]:
    """1 where a cell is positive for a keypoint, -1 where it is negative, 0 where it is neither (`DetectorSpec`)."""
    visible = np.asarray(np.isfinite(keypoints).all(axis=1))
    away = cells.centres().reshape(-1, 1, 2) - np.where(visible[:, None], keypoints, 0)
    distance = np.linalg.norm(away, axis=-1)
    found = np.zeros(distance.shape, np.int8)
    if scheme.bin_px is not None:
        found[distance >= 4 * scheme.bin_px] = -1
        found[distance <= 2 * scheme.bin_px] = 1
    else:
        half = (cells.receptive_field.size + 2 * scheme.reach * cells.receptive_field.stride) / 2
        found[(np.abs(away) > half).any(axis=-1)] = -1
        nearest = np.argsort(distance, axis=0, kind="stable")[: scheme.nearest]
        np.put_along_axis(found, nearest, np.int8(1), axis=0)
    found[:, ~visible] = 0
    return found


def windows(
    descriptors: Float[torch.Tensor, "rows columns channels"], cells: Int[np.ndarray, " chosen"], scheme: DetectorSpec
) -> Float[torch.Tensor, "chosen features"]:
    """What detectors see at some cells, by their numbers, row by row: of unit length; beyond the grid its border is repeated."""
    rows, columns, _ = descriptors.shape
    row, column = np.divmod(cells, columns)
    around = np.arange(-scheme.reach, scheme.reach + 1)
    row, column = np.clip(row[:, None] + around, 0, rows - 1), np.clip(column[:, None] + around, 0, columns - 1)
    return F.normalize(descriptors[row[:, :, None], column[:, None, :]].flatten(1).float(), dim=1)


@dataclass(frozen=True)
class MiningRound:
    """One round of mining: the cells trained on, their positives, the sum of all objectives, and how many negatives that
    were not among the cells came out hard.
    """

    cells: int
    positives: int
    objective: float
    hard: int


@dataclass(frozen=True, eq=False)
class Detectors:
    """A linear classifier for each keypoint that enough training objects show (`LEAST_OBJECTS`).

    `names` are of all keypoints, `trained` the numbers of those with a detector, in the classifier's order. `rounds` are
    those of every group of keypoints that were mined for together; mining is `finished` if the last round of each found
    no hard negative that was new, so that the detectors are what training on all cells would give.
    """

    scheme: DetectorSpec
    names: tuple[str, ...]
    trained: tuple[int, ...]
    linear: LinearClassifier
    rounds: tuple[tuple[MiningRound, ...], ...]

    @property
    def finished(self) -> bool:
        return all(group[-1].hard == 0 for group in self.rounds)

    def scores(
        self, descriptors: Float[torch.Tensor, "rows columns channels"]
    ) -> Float32[np.ndarray, "rows columns keypoints"]:
        """Every cell's score by every keypoint's detector; NaN for keypoints without one."""
        own = _scores(descriptors[None], torch.from_numpy(self.linear.weights), self.scheme)[0]
        found = np.full((*own.shape[:2], len(self.names)), np.nan, np.float32)
        found[..., list(self.trained)] = own.cpu().numpy() + self.linear.bias
        return found

    def refine_to_pixels(
        self, image: Image, points: Float[np.ndarray, "keypoints 2"], *, backbone: Backbone
    ) -> Float[np.ndarray, "keypoints 2"]:
        """Where within half a stride of `points`, cells' centres, each keypoint's score is highest, pixel by pixel.

        The layer is evaluated at every pixel (`dense`), its 3 x 3 cells a stride apart as ever. The paper names the stride as
        what limits its predictions. NaN stays; SIFT and keypoints without a detector are as they were.
        """
        result = points.copy()
        feature, reach = self.scheme.feature, self.scheme.reach
        if self.scheme.bin_px is not None:
            return result
        field = backbone.receptive_field(feature)
        stride, half = field.stride, field.stride // 2
        fraction = field.offset % 1  # cells' centres may lie between pixels: they are those of the pixels before
        there = every_pixel.valid_region(feature, (image.shape[1], image.shape[0]), backbone=backbone)
        for detector, keypoint in enumerate(self.trained):
            if not np.isfinite(points[keypoint]).all():
                continue
            x, y = np.floor(points[keypoint] - fraction + 0.5).astype(int)
            columns = np.arange(max(x - half, there.left), min(x + half + 1, there.right))
            rows = np.arange(max(y - half, there.top), min(y + half + 1, there.bottom))
            wide = PixelBox(
                max(int(columns[0]) - reach * stride, there.left),
                max(int(rows[0]) - reach * stride, there.top),
                min(int(columns[-1]) + reach * stride + 1, there.right),
                min(int(rows[-1]) + reach * stride + 1, there.bottom),
            )
            found = every_pixel.extract(image, feature, backbone=backbone, region=wide).descriptors
            weights = torch.from_numpy(self.linear.weights[detector]).to(found)
            kernel = weights.view(2 * reach + 1, 2 * reach + 1, -1)
            score, length = (torch.zeros(len(rows), len(columns), device=found.device) for _ in range(2))
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    at_y = _steps(rows, down, stride, there.top, there.bottom) - wide.top
                    at_x = _steps(columns, right, stride, there.left, there.right) - wide.left
                    cells = found[torch.from_numpy(at_y)][:, torch.from_numpy(at_x)]
                    score += cells @ kernel[down + reach, right + reach]
                    length += cells.square().sum(-1)
            best = int((score / length.sqrt().clamp(min=1e-12)).argmax())
            row, column = divmod(best, len(columns))
            result[keypoint] = columns[column] + fraction, rows[row] + fraction
        return result


def _steps(pixels: Int[np.ndarray, " n"], steps: int, stride: int, start: int, stop: int) -> Int[np.ndarray, " n"]:
    """Pixels so many strides on; where there are fewer the last of them, as the grid's border is repeated."""
    room = (stop - 1 - pixels) // stride if steps > 0 else (pixels - start) // stride
    return pixels + np.sign(steps) * stride * np.minimum(abs(steps), room)


def _scores(
    descriptors: Float[torch.Tensor, "objects rows columns channels"],
    weights: Float[torch.Tensor, "detectors features"],
    scheme: DetectorSpec,
) -> Float[torch.Tensor, "objects rows columns detectors"]:
    """Without the bias. By a convolution over the grid: what a detector sees is never put together."""
    if not scheme.reach:
        return F.normalize(descriptors.float(), dim=-1) @ weights.to(descriptors.device).float().T
    side = 2 * scheme.reach + 1
    values = F.pad(descriptors.float().permute(0, 3, 1, 2), (scheme.reach,) * 4, mode="replicate")
    kernels = weights.to(values).view(len(weights), side, side, -1).permute(0, 3, 1, 2)
    lengths = F.avg_pool2d(values.square().sum(1, keepdim=True), side, stride=1, divisor_override=1).sqrt()
    return (F.conv2d(values, kernels) / lengths.clamp(min=1e-12)).permute(0, 2, 3, 1)


class _Pool:
    """Cells put together, by their numbers over all objects; their descriptors lie in one array, which never moves."""

    def __init__(self, descriptors: torch.Tensor, scheme: DetectorSpec, most: int) -> None:
        self._descriptors, self._scheme = descriptors, scheme
        n_features = descriptors.shape[-1] * (2 * scheme.reach + 1) ** 2
        self._rows = torch.empty(most, n_features, device=descriptors.device)
        self.cells = np.empty(0, int)

    @property
    def rows(self) -> torch.Tensor:
        return self._rows[: len(self.cells)]

    @property
    def room(self) -> int:
        return len(self._rows) - len(self.cells)

    def start(self, cells: Int[np.ndarray, " cells"]) -> None:
        self.cells = np.empty(0, int)
        self.add(cells)

    def add(self, cells: Int[np.ndarray, " some"]) -> None:
        """More cells, of which none is there yet."""
        n_cells = self._descriptors.shape[1] * self._descriptors.shape[2]
        number, inside = np.divmod(cells, n_cells)
        order = np.argsort(number, kind="stable")
        ends = np.searchsorted(number[order], np.arange(len(self._descriptors) + 1))
        for one, (start, stop) in enumerate(pairwise(ends)):
            if stop > start:
                some = order[start:stop]
                own = windows(self._descriptors[one], inside[some], self._scheme)
                self._rows[torch.from_numpy(len(self.cells) + some).to(own.device)] = own
        self.cells = np.concatenate([self.cells, cells])

    def keep(self, kept: Bool[np.ndarray, " cells"]) -> None:
        self.start(self.cells[kept])


class HardNegativeMiner:
    """The training cells of some objects, from which detectors are trained without having them all in memory.

    Keypoints are trained in groups, one after another, so many together as `most_bytes` is expected to have room for. A
    group's pool of cells begins with its positives and `first` cells of every object by lot; a round trains on it, scores all
    cells, and adds the negatives that came out hard, the hardest first. Where the pool is full, negatives that are not hard
    any more are dropped from it.

    Raises ValueError where nothing can be trained.
    """

    def __init__(
        self,
        gathered: TrainingSet,
        scheme: DetectorSpec,
        *,
        first: int = 30,
        most_bytes: int = MINING_BYTES,
        seed: int = 0,
    ) -> None:
        self.scheme, self.names = scheme, gathered.names
        self._descriptors = gathered.grids[scheme.feature]
        cells = gathered.cells[scheme.feature]
        every = np.stack([targets(cells, points, scheme) for points in gathered.keypoints])
        shown = np.asarray(np.isfinite(gathered.keypoints).all(axis=-1)).sum(axis=0)
        usable = (shown >= LEAST_OBJECTS) & (every == 1).any(axis=(0, 1)) & (every == -1).any(axis=(0, 1))
        self.trained = tuple(np.flatnonzero(usable).tolist())
        if not self.trained:
            msg = (
                f"a detector needs {LEAST_OBJECTS} train objects that show its keypoint, and cells that do not see it; "
                f"of {len(gathered.objects)} objects no keypoint has both. Give more objects, or a feature of smaller receptive fields."
            )
            raise ValueError(msg)
        self._targets = every[..., list(self.trained)].reshape(-1, len(self.trained))
        n_features = self._descriptors.shape[-1] * (2 * scheme.reach + 1) ** 2
        positives = (self._targets == 1).sum(axis=0)
        # However many objects: the positives of one keypoint, and as many negatives.
        self._most = min(max(most_bytes // (4 * n_features), 2 * int(positives.max())), len(self._targets))
        needed = np.maximum(2 * positives, _HARD_SHARE * len(self._targets))
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
        """Trains detectors. `start` are some of another cost to begin with, and pools are those of the last call; `tolerance` is
        that of `svm.fit_targets`.

        With `kept`, a file, every round is written down there, and training of the same `key` that was stopped goes on from
        the last; the file goes when all is done. Ends after `most_rounds` rounds, and where there is no room for negatives
        that are hard: such detectors are not `finished`.
        """
        if most_rounds < 1:
            msg = f"most_rounds must be at least 1; got {most_rounds}."
            raise ValueError(msg)
        found, rounds, cells = _resumed(kept, key)
        current = found.pop() if found else None
        own = rounds.pop() if rounds else []
        pool = _Pool(self._descriptors, self.scheme, self._most)
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
                current = svm.fit_targets(pool.rows, y, cost=cost, start=current, tolerance=allowed)
                scores = self._all_scores(current)
                hard = ((here == -1) & (scores > _HARD)).any(axis=1)
                new = hard.copy()
                new[pool.cells] = False
                n_new = int(new.sum())
                own.append(MiningRound(len(pool.cells), int((y == 1).sum()), float(current.objective.sum()), n_new))
                if progress is not None:
                    share = len(own) / (len(own) + 3) if n_new else 1
                    text = f"round {len(own)}, {n_new:,} more hard negatives"
                    progress((number + share) / len(self._groups), text)
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
                current = svm.fit_targets(pool.rows, y, cost=cost, start=current, tolerance=tolerance)
            self._cells[number] = pool.cells
            found.append(current)
            rounds.append(own)
        if kept is not None:
            Path(kept).unlink(missing_ok=True)
        linear = _together(found, cost)
        return Detectors(self.scheme, self.names, self.trained, linear, tuple(tuple(group) for group in rounds))

    def _first_cells(self, group: int) -> Int[np.ndarray, " cells"]:
        """What a group's pool was last; for the first time, its positives and some by lot."""
        if group in self._cells:
            return self._cells[group]
        chosen = (self._targets[:, self._groups[group]] == 1).any(axis=1)
        chosen[self._lots] = True
        return np.flatnonzero(chosen)

    def _grow(self, pool: _Pool, here: np.ndarray, scores: np.ndarray, hard: np.ndarray, new: np.ndarray) -> bool:
        """Adds the hardest of the new ones, as many as there are in the pool at most; whether there was room for any."""
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

    def _all_scores(self, linear: LinearClassifier) -> Float32[np.ndarray, "cells detectors"]:
        weights = torch.from_numpy(linear.weights)
        parts = [_scores(some, weights, self.scheme).flatten(0, 2) for some in self._descriptors.split(_SCORED)]
        return torch.cat(parts).cpu().numpy() + linear.bias


def _part(linear: LinearClassifier | None, detectors: list[int]) -> LinearClassifier | None:
    if linear is None:
        return None
    weights, bias, objective, gap = (getattr(linear, name)[detectors] for name in _OF_LINEAR)
    return LinearClassifier(weights, bias, linear.cost, objective, gap)


def _together(parts: Sequence[LinearClassifier], cost: float) -> LinearClassifier:
    weights, bias, objective, gap = (np.concatenate([getattr(part, name) for part in parts]) for name in _OF_LINEAR)
    return LinearClassifier(weights, bias, cost, objective, gap)


def _write_down(
    kept: str | os.PathLike | None,
    key: str,
    found: Sequence[LinearClassifier],
    rounds: Sequence[Sequence[MiningRound]],
    cells: Int[np.ndarray, " cells"],
) -> None:
    if kept is None:
        return
    arrays = {f"{name}.{n}": getattr(part, name) for n, part in enumerate(found) for name in _OF_LINEAR}
    about = {"key": key, "rounds": [[asdict(one) for one in group] for group in rounds], "cost": found[0].cost}
    _save(Path(kept), arrays | {"cells": cells}, about)


def _resumed(
    kept: str | os.PathLike | None, key: str
) -> tuple[list[LinearClassifier], list[list[MiningRound]], Int[np.ndarray, " cells"] | None]:
    """What was written down of the same training: detectors, rounds, and the pool of the group that was at work."""
    if kept is None:
        return [], [], None
    try:
        arrays, about = _load(Path(kept))
    except (OSError, ValueError, SafetensorError):
        return [], [], None
    if about.get("key") != key:
        return [], [], None
    rounds = [[MiningRound(**one) for one in group] for group in about["rounds"]]
    found = [_linear(arrays, about["cost"], f".{n}") for n in range(len(rounds))]
    return found, rounds, arrays["cells"]


_OF_LINEAR = ("weights", "bias", "objective", "gap")


def _linear(arrays: Mapping[str, np.ndarray], cost: float, suffix: str = "") -> LinearClassifier:
    weights, bias, objective, gap = (arrays[name + suffix] for name in _OF_LINEAR)
    return LinearClassifier(weights, bias, cost, objective, gap)


def save(path: str | os.PathLike, detectors: Detectors, about: Mapping[str, Any]) -> None:
    """Writes detectors to one safetensors file, with a manifest in its header, where what there is to say `about` them goes too."""
    manifest = {
        "version": VERSION,
        "scheme": asdict(detectors.scheme),
        "names": detectors.names,
        "trained": detectors.trained,
        "cost": detectors.linear.cost,
        "rounds": [[asdict(one) for one in group] for group in detectors.rounds],
        "about": dict(about),
    }
    _save(Path(path), {name: getattr(detectors.linear, name) for name in _OF_LINEAR}, manifest)


def load(path: str | os.PathLike) -> tuple[Detectors, dict[str, Any]]:
    """Detectors that `save` wrote, and what it was told about them.

    Raises FileNotFoundError where there is no such file, and ValueError for one that holds no detectors of this version.
    """
    try:
        arrays, manifest = _load(Path(path))
        if manifest["version"] != VERSION:
            msg = f"{path} holds detectors of version {manifest['version']}, not {VERSION}; train them again."
            raise ValueError(msg)
        detectors = Detectors(
            DetectorSpec(**manifest["scheme"]),
            tuple(manifest["names"]),
            tuple(manifest["trained"]),
            _linear(arrays, manifest["cost"]),
            tuple(tuple(MiningRound(**one) for one in group) for group in manifest["rounds"]),
        )
        about = manifest["about"]
    except (SafetensorError, KeyError, TypeError) as error:
        msg = f"{path} holds no detectors that can be read; delete it and train them again."
        raise ValueError(msg) from error
    return detectors, about


def save_prior(path: str | os.PathLike, prior: Prior, about: Mapping[str, Any]) -> None:
    """Writes a prior as `save` writes detectors; descriptions in half precision, 0.1 MB an object."""
    arrays = {"summaries": prior.summaries.astype(np.float16), "keypoints": prior.keypoints}
    manifest = {"version": VERSION, "objects": prior.objects, "photos": prior.photos, "about": dict(about)}
    _save(Path(path), arrays, manifest)


def load_prior(path: str | os.PathLike) -> tuple[Prior, dict[str, Any]]:
    """A prior that `save_prior` wrote, and what it was told about it. Raises as `load` does."""
    try:
        arrays, manifest = _load(Path(path))
        if manifest["version"] != VERSION:
            msg = f"{path} holds a prior of version {manifest['version']}, not {VERSION}; delete it."
            raise ValueError(msg)
        summaries = arrays["summaries"].astype(np.float32)
        prior = Prior(summaries, arrays["keypoints"], tuple(manifest["objects"]), tuple(manifest["photos"]))
        about = manifest["about"]
    except (SafetensorError, KeyError, TypeError) as error:
        msg = f"{path} holds no prior that can be read; delete it."
        raise ValueError(msg) from error
    return prior, about


def _save(path: Path, arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.writing")
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        text = json.dumps({**manifest, "digest": _digest(whole)})
        save_file(whole, temporary, metadata={"corrcore": text})
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Raises ValueError for arrays that are not those that were written."""
    with safe_open(path, framework="numpy") as file:
        manifest = json.loads((file.metadata() or {}).get("corrcore", "{}"))
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if manifest.get("digest") != _digest(arrays):
        msg = f"{path} is damaged or none of ours; delete it, and it is made again."
        raise ValueError(msg)
    return arrays, manifest


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        state.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        state.update(np.ascontiguousarray(arrays[name]).data)
    return state.hexdigest()


def median_places(places: Float[np.ndarray, "k keypoints 2"]) -> Float[np.ndarray, "keypoints 2"]:
    """The median of each coordinate over the places there are; NaN where there are none."""
    found = np.full(places.shape[1:], np.nan)
    for keypoint, some in enumerate(places.transpose(1, 0, 2)):
        there = some[np.isfinite(some).all(axis=1)]
        if len(there):
            found[keypoint] = np.median(there, axis=0)
    return found


def log_prior(
    centres: Float[np.ndarray, "rows columns 2"],
    places: Float[np.ndarray, "k keypoints 2"],
    *,
    sigma_px: float = SIGMA_PX,
) -> Float[np.ndarray, "rows columns keypoints"]:
    """log p: of the mean of Gaussians around the places, each 1 at its middle. Zero everywhere for keypoints without a place."""
    if not sigma_px > 0:
        msg = f"sigma_px must be positive; got {sigma_px}."
        raise ValueError(msg)
    known = np.asarray(np.isfinite(places).all(axis=-1))
    away = centres[:, :, None, None] - np.where(known[..., None], places, 0)
    exponents = np.where(known, -np.square(away).sum(axis=-1) / (2 * sigma_px**2), -np.inf)
    n = known.sum(axis=0)
    total = np.logaddexp.reduce(exponents, axis=2) - np.log(np.maximum(n, 1))
    return np.where(n > 0, total, 0.0)


def log_detector(scores: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """log s, s being the logistic function of a detector's score."""
    with np.errstate(invalid="ignore"):  # where there is no detector
        return -np.logaddexp(0, -scores.astype(float))


def combined(
    scores: Float[np.ndarray, "rows columns keypoints"],
    prior: Float[np.ndarray, "rows columns keypoints"] | None = None,
    *,
    eta: float = 0.1,
) -> Float[np.ndarray, "rows columns keypoints"]:
    """log f = (1 - eta) log s + eta log p. Without a `prior` log s alone; without a detector, where scores are NaN, the
    prior alone.

    Raises ValueError for an `eta` that is not between 0 and 1.
    """
    if not 0 <= eta <= 1:
        msg = f"eta must be between 0 and 1; got {eta}."
        raise ValueError(msg)
    own = log_detector(scores)
    if prior is None:
        return own
    return np.where(np.isnan(own), prior, (1 - eta) * np.nan_to_num(own) + eta * prior)


def argmax_points(
    values: Float[np.ndarray, "rows columns keypoints"], centres: Float[np.ndarray, "rows columns 2"]
) -> Float[np.ndarray, "keypoints 2"]:
    """Where each keypoint's value is highest; NaN where there are none, or nothing but one value everywhere."""
    flat = values.reshape(-1, values.shape[-1])
    found = centres.reshape(-1, 2)[np.nan_to_num(flat, nan=-np.inf).argmax(axis=0)].astype(float)
    nothing = np.isnan(flat).all(axis=0) | (np.ptp(np.nan_to_num(flat), axis=0) == 0)
    found[nothing] = np.nan
    return found


@dataclass(frozen=True)
class PriorFusion:
    """How much the prior counts: `eta` of Gaussians of `sigma_px` around the places in `neighbours` objects."""

    neighbours: int = 1
    sigma_px: float = SIGMA_PX
    eta: float = 0.1


def predict(
    scores: Float[np.ndarray, "rows columns keypoints"],
    centres: Float[np.ndarray, "rows columns 2"],
    places: Float[np.ndarray, "k keypoints 2"],
    weighing: PriorFusion,
) -> Float[np.ndarray, "keypoints 2"]:
    """The candidate cell's centre of highest log f, for each keypoint; `places` are those of `Prior.places`.

    NaN for keypoints that have neither a detector nor a place.
    """
    prior = log_prior(centres, places[: weighing.neighbours], sigma_px=weighing.sigma_px)
    return argmax_points(combined(scores, prior, eta=weighing.eta), centres)


def held_out_scores(
    gathered: TrainingSet,
    scheme: DetectorSpec,
    *,
    costs: Sequence[float],
    n_folds: int = 3,
    most_rounds: int = 20,
    most_bytes: int = MINING_BYTES,
    progress: Progress | None = None,
) -> list[Float32[np.ndarray, "objects rows columns keypoints"]]:
    """For each of `costs` every training object's scores by detectors that were trained without its fold.

    Folds share no photo. A keypoint that has no detector without a fold has no score in it, NaN, and so has none where too
    few objects are left to train anything.
    """
    rng = np.random.default_rng(0)
    fold_of = {name: n % n_folds for n, name in enumerate(rng.permutation(sorted(set(gathered.photos))))}
    folds = np.array([fold_of[photo] for photo in gathered.photos])
    grids = gathered.grids[scheme.feature]
    scores = [np.full((*grids.shape[:3], len(gathered.names)), np.nan, np.float32) for _ in costs]
    for fold in range(n_folds):
        try:
            mining = HardNegativeMiner(gathered.some(np.flatnonzero(folds != fold)), scheme, most_bytes=most_bytes)
        except ValueError:  # too few objects
            continue
        start: LinearClassifier | None = None
        for step, number in enumerate(np.argsort(costs)):

            def report(share: float, text: str, fold: int = fold, step: int = step, number: int = int(number)) -> None:
                if progress is not None:
                    progress((fold + (step + share) / len(costs)) / n_folds, f"cost {costs[number]:g}: {text}")

            found = mining.fit(
                cost=costs[number], start=start, most_rounds=most_rounds, tolerance=1e-2, progress=report
            )
            start = found.linear
            for one in np.flatnonzero(folds == fold):
                scores[number][one] = found.scores(grids[one])
    return scores


@dataclass(frozen=True)
class FusionSearch:
    """The weighing that cross validation chose, its PCK in percent, and that of all it tried, by sigma and eta."""

    weighing: PriorFusion
    pck: float
    by_eta: Mapping[float, Mapping[float, float]]


def accuracy(
    predicted: Float[np.ndarray, "objects keypoints 2"],
    truth: Float[np.ndarray, "objects keypoints 2"],
    *,
    alpha: float = 0.1,
) -> float:
    """PCK in percent, points being in pixels of the stretched objects: the mean over keypoints that any object shows."""
    boxes = np.tile([-0.5, -0.5, SIDE_PX - 0.5, SIDE_PX - 0.5], (len(truth), 1))
    return pck(keypoint_errors(predicted, truth, boxes), alpha=alpha, rng=np.random.default_rng(0), n_resamples=1).mean


def select_fusion(
    scores: Float32[np.ndarray, "objects rows columns keypoints"],
    centres: Float[np.ndarray, "rows columns 2"],
    places: Float[np.ndarray, "objects k keypoints 2"],
    truth: Float[np.ndarray, "objects keypoints 2"],
    *,
    etas: Sequence[float],
    sigmas_px: Sequence[float] = (SIGMA_PX,),
) -> FusionSearch:
    """The weighing of highest PCK among those tried, the least eta of several; `scores` are of detectors that did not see
    the objects (`held_out_scores`), and `places` of training objects in other photos.
    """
    found: dict[float, dict[float, float]] = {sigma: {} for sigma in sigmas_px}
    for sigma in sigmas_px:
        predicted: dict[float, list[np.ndarray]] = {eta: [] for eta in etas}
        for one, at in zip(scores, places, strict=True):
            prior = log_prior(centres, at, sigma_px=sigma)
            for eta in etas:
                predicted[eta].append(argmax_points(combined(one, prior, eta=eta), centres))
        for eta in etas:
            found[sigma][eta] = accuracy(np.stack(predicted[eta]), truth)
    best = max(((sigma, eta) for sigma in sigmas_px for eta in etas), key=lambda at: (found[at[0]][at[1]], -at[1]))
    return FusionSearch(PriorFusion(places.shape[1], *best), found[best[0]][best[1]], found)
