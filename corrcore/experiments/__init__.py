"""A task over many photos or seeds: the figures of a table, with everything needed to get them again.

Every experiment writes one JSON file: its settings, one record a photo or seed, and the summary. Records are kept as
they come, so that an experiment that was stopped goes on where it was; a file with other settings is never mixed.
"""

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from corrcore import concurrency, decoding, extractors, images, store
from corrcore.crops import CropTransform
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.descriptors import sift
from corrcore.engines import mrf, svm
from corrcore.metrics import (
    Average,
    Estimate,
    McNemar,
    accuracy,
    bootstrap_counts,
    bootstrap_interval,
    difference,
    keypoint_errors,
    mcnemar,
    pck,
)
from corrcore.networks import Backbone, every_pixel
from corrcore.patch_index import LONGER_SIDE_PX, PatchIndex, Photo, Progress
from corrcore.tasks import alignment, averaging, classification, detection, reconstruction, responses
from corrcore.tasks.alignment import CropSpec, DescribedCrop, Order
from corrcore.tasks.classification import CropProtocol, KeypointClassifier, Samples
from corrcore.tasks.detection import Detectors, DetectorSpec, HardNegativeMiner, Prior, PriorFusion, TrainingSet

FORMAT = 2  # of the records: files of another are not continued
WITHIN_PX = (4, 8, 16)
VERSIONS = {  # of what makes the tables: files of others are not shown
    "transfer": [alignment.VERSION, mrf.VERSION, FORMAT],
    "classification": [classification.VERSION, svm.VERSION, every_pixel.VERSION, sift.VERSION, FORMAT],
    "prediction": [detection.VERSION, svm.VERSION, sift.VERSION, FORMAT, every_pixel.VERSION],
}


def localisation(
    photos: Sequence[Photo],
    *,
    backbone: Backbone,
    index: PatchIndex,
    layers: Sequence[str] | None = None,
    max_cells: int = 256,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How well each layer localises within its receptive fields (`reconstruction.localise`), over photos.

    The summary has, a layer, the mean over photos with its 95 % bootstrap interval of: the score (chance 0.5), and the
    share of best matches within 4, 8 and 16 px, with the share by chance; also PSNR and SSIM at k = 1. Photos that
    cannot be used are recorded with the reason and left out of the summary.
    """
    layers = tuple(layers or index.layers)
    settings = {
        "experiment": "localisation",
        "version": [reconstruction.VERSION, FORMAT],
        "index_digest": index.digest,
        "backbone": backbone.name,
        "backbone_digest": backbone.digest,
        "precision": str(backbone.dtype),
        "layers": list(layers),
        "max_cells": max_cells,
        "seed": seed,
    }

    def measure(photo: Photo) -> dict[str, Any]:
        image = photo.load()
        same = index.photos_like(image)
        if max(image.shape[:2]) > LONGER_SIDE_PX:
            image = images.resize(image, longer_side=LONGER_SIDE_PX)
        record: dict[str, Any] = {}
        for layer in layers:
            retrieval = reconstruction.retrieve(image, layer, backbone=backbone, index=index, k=1, exclude=same)
            rng = np.random.default_rng([seed, *os.fsencode(photo.name)])
            found = reconstruction.localise(image, retrieval, index, rng=rng, max_cells=max_cells)
            rebuilt = reconstruction.rebuild(retrieval, index, k=1)
            close = reconstruction.fidelity(image, rebuilt, retrieval.cells.covered)
            record[layer] = {"matches": len(found.offsets), "score": found.score}
            for distance in WITHIN_PX:
                shares = found.share_within(distance)
                record[layer][f"within_{distance}_px"], record[layer][f"chance_within_{distance}_px"] = shares
            record[layer] |= {"psnr_db": close.psnr_db, "ssim": close.ssim}
        return record

    return _run({photo.name: photo for photo in photos}, measure, settings, _statistics(np.mean), out, progress)


def agreement_radius(
    n_seeds: int,
    *,
    index: PatchIndex,
    layers: Sequence[str] | None = None,
    k: int = averaging.PROFILE_K,
    seed: int = 0,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The effective radius of each layer (`averaging.agreement`), over random seed descriptors of the index.

    A seed's own photo is left out of its neighbours, whose agreement would else be that of copies. The summary has
    medians with 95 % bootstrap intervals: a radius counts as infinite where agreement does not fall, and seeds whose
    neighbours do not agree at the centre have none (`samples` counts the others).
    """
    layers = tuple(layers or index.layers)
    settings = {
        "experiment": "agreement_radius",
        "version": [averaging.VERSION, FORMAT],
        "index_digest": index.digest,
        "layers": list(layers),
        "k": k,
        "seed": seed,
    }

    def measure(number: int) -> dict[str, Any]:
        record: dict[str, Any] = {}
        for layer in layers:
            rng = np.random.default_rng([seed, number])
            chosen = rng.integers(0, index.n_patches(layer), size=1)
            photo = int(index.photo_of[index.locate(layer, chosen).pictures[0]])
            descriptor = index.descriptors(layer, chosen)[0]
            averages = averaging.average(descriptor, layer, index=index, ks=(k,), exclude=(photo,))
            profile = averaging.agreement(averages.ids, layer, index=index, rng=rng)
            record[layer] = {
                "id": int(chosen[0]),
                "agreement_radius_px": profile.agreement_radius_px,
                "agreement_at_centre": float(profile.agreement[0]),
                "agreement_at_rim": float(profile.agreement[-1]),
            }
        return record

    samples = {str(number): number for number in range(n_seeds)}
    return _run(samples, measure, settings, _statistics(np.median), out, progress)


ALPHAS = (0.1, 0.05, 0.025)
SMOOTHNESSES = (0.03, 0.1, 0.3)
NEIGHBOURS, TOP = 25, 5
LARGE_PX = 60  # shorter side of the box, of objects that are reported for themselves
WELL_SHOWN = 5  # keypoints that such objects show
UNALIGNED = "NN"


def transfer(
    dataset: KeypointDataset,
    category: str,
    *,
    backbone: Backbone,
    features: Sequence[str] = ("conv4", "sift20"),
    smoothness: Mapping[str, float] | None = None,
    position: float = 0.0,
    order: Order = "deformation",
    crop: CropSpec = alignment.CROP_SPEC,
    iterations: int = 10,
    n_validation: int = 30,
    limit: int | None = None,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Keypoints of a category's val objects, transferred from their neighbours among the train objects: Table 2.

    The 25 neighbours most alike (`alignment.DescribedCrop.summary`), of other photos, are aligned to each object that shows a
    keypoint by each of `features`; ordered by how little they are deformed, the first five that show a keypoint vote on it
    by the median of their coordinates. The row "NN" has the same neighbours in the order of their likeness, unaligned:
    boxes laid on one another. `smoothness` of each feature is what does best, of 0.03, 0.1 and 0.3, on `n_validation` train
    objects (PCK at 0.1), unless given. `position` and `order` are those of `alignment.transfer`.

    The summary has, for all objects and for those that are large and show five keypoints or more, a row a feature: PCK at
    alpha 0.1, 0.05 and 0.025 with its 95 % interval, and by keypoint. With `out`, the search for the smoothness lies in a
    file beside it, and both go on where they were stopped. Progress comes in three stages, which its text names.
    """
    features = tuple(features)
    if features:  # with none, boxes laid on one another are all that is measured
        extractors.check(features, backbone)
    train, val = (dataset.visible_instances(category, split) for split in ("train", "val"))
    asked = _some(val, limit)
    settings = {
        "experiment": "transfer",
        "version": VERSIONS["transfer"],
        "data": dataset.name,
        "data_digest": dataset.digest,
        "category": category,
        "keypoints": list(dataset.keypoint_names[category]),
        "backbone": backbone.name,
        "backbone_digest": backbone.digest,
        "neighbours_by": alignment.summary_source(backbone),
        "neighbours": NEIGHBOURS,
        "voting": TOP,
        "crop": asdict(crop),
        "position": position,
        "order": order,
        "iterations": iterations,
    }
    options = {"position": position, "order": order, "iterations": iterations, "top": TOP}
    pool = _Pool(train, features, backbone, crop, progress)
    if smoothness is None:
        smoothness = _best_smoothness(pool, features, settings, options, n_validation, out, progress)
    elif missing := [feature for feature in features if feature not in smoothness]:
        msg = f"smoothness must have a value for every feature; it has none for {', '.join(missing)}."
        raise ValueError(msg)
    chosen = {feature: smoothness[feature] for feature in features}
    rows = {feature: (feature, chosen[feature]) for feature in features}

    def measure(instance: Instance) -> dict[str, Any]:
        return _transferred(instance, pool, rows, options)

    samples = {instance.name: instance for instance in asked}
    return _run(samples, measure, settings | {"smoothness": chosen}, _accuracies, out, progress)


def _some(instances: list[Instance], limit: int | None) -> list[Instance]:
    """All, or with a limit so many of the whole list, which a higher limit has too."""
    spread = np.random.default_rng(0).permutation(len(instances))
    return [instances[n] for n in spread[:limit]] if limit else instances


class _Pool:
    """The train objects, described when the first neighbour is asked for: a finished experiment needs none."""

    def __init__(
        self,
        instances: Sequence[Instance],
        features: Sequence[str],
        backbone: Backbone,
        crop: CropSpec,
        progress: Progress | None,
    ) -> None:
        self.instances = instances
        self._features, self._backbone, self._crop, self._progress = features, backbone, crop, progress

    def describe(self, instance: Instance) -> DescribedCrop:
        return alignment.subject(instance, self._features, backbone=self._backbone, crop=self._crop)

    @cached_property
    def described(self) -> list[tuple[Instance, DescribedCrop]]:
        """Those whose photos can be read."""
        found: list[tuple[Instance, DescribedCrop]] = []
        done = count(1)

        def describe(instance: Instance) -> tuple[Instance, DescribedCrop] | None:
            try:
                return instance, self.describe(instance).halved()
            except (decoding.ImageError, OSError):
                return None

        def keep(one: tuple[Instance, DescribedCrop] | None) -> None:
            if one is not None:
                found.append(one)
            n = next(done)
            if self._progress is not None:
                text = f"describing train objects: {n} of {len(self.instances)}"
                self._progress(n / len(self.instances), text)

        concurrency.map_in_order(describe, self.instances, keep)
        return found

    def neighbours(self, instance: Instance, subject: DescribedCrop) -> list[tuple[Instance, DescribedCrop]]:
        """Those most alike, most alike first; none of the instance's own photo."""
        others = [pair for pair in self.described if pair[0].photo.name != instance.photo.name]
        if not others:
            msg = f"{instance.name} needs neighbours in other photos of its category's train split; there are none."
            raise ValueError(msg)
        summaries = np.stack([other.summary for _, other in others])
        return [others[n] for n in alignment.nearest(subject.summary, summaries, NEIGHBOURS)]


def _transferred(
    instance: Instance, pool: _Pool, rows: Mapping[str, tuple[str, float]], options: dict[str, Any]
) -> dict[str, Any]:
    """What every row predicts for one object; `rows` give a feature and its smoothness, `options` the others' values."""
    target = pool.describe(instance)
    neighbours = pool.neighbours(instance, target)
    unaligned = np.stack([_laid_on(other, source, target) for other, source in neighbours])
    predicted = {UNALIGNED: alignment.vote(unaligned, np.arange(len(neighbours)), top=TOP)}
    for row, (feature, smoothness) in rows.items():
        found = alignment.transfer(target, neighbours, feature, smoothness=smoothness, **options)
        predicted[row] = found.keypoints
    return {
        "box": list(instance.box),
        "truth": instance.keypoints.tolist(),
        "neighbours": [other.name for other, _ in neighbours],
        "predicted": {row: np.round(points, 2).tolist() for row, points in predicted.items()},
    }


def _laid_on(other: Instance, source: DescribedCrop, target: DescribedCrop) -> np.ndarray:
    """A neighbour's keypoints where they come to lie when its cut-out is stretched to the target's."""
    stretched = CropTransform(source.placement.edges, target.placement.size)
    return target.placement.to_image(stretched.to_crop(other.keypoints))


def _best_smoothness(
    pool: _Pool,
    features: Sequence[str],
    settings: dict[str, Any],
    options: dict[str, Any],
    n_validation: int,
    out: str | os.PathLike | None,
    progress: Progress | None,
) -> dict[str, float]:
    """Each feature's smoothness of highest PCK on train objects, whose own photos are left out of their neighbours."""
    rows = {f"{feature} {value}": (feature, value) for feature in features for value in SMOOTHNESSES}
    picked = np.random.default_rng(1).permutation(len(pool.instances))[:n_validation]
    samples = {pool.instances[n].name: pool.instances[n] for n in picked}
    path = None if out is None else _beside(out)

    def measure(instance: Instance) -> dict[str, Any]:
        return _transferred(instance, pool, rows, options)

    def report(share: float, text: str) -> None:
        if progress is not None:
            progress(share, f"choosing the smoothness: {text}")

    found = _run(samples, measure, settings | {"rows": rows, "validation": n_validation}, _accuracies, path, report)
    scores = found["summary"]["all"]["rows"]
    return {
        feature: max(SMOOTHNESSES, key=lambda value: scores[f"{feature} {value}"]["0.1"]["mean"])
        for feature in features
    }


def _accuracies(records: list[dict[str, Any]], *, stretched: bool = False) -> dict[str, Any]:
    """PCK of every row over all objects, and over those that are large and show much of themselves."""
    truth, boxes = (np.array([record[name] for record in records], dtype=float) for name in ("truth", "box"))
    shorter = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    many = (~np.isnan(truth).any(axis=-1)).sum(axis=1) >= WELL_SHOWN
    summary: dict[str, Any] = {}
    for name, some in {"all": np.full(len(records), True), "large": (shorter >= LARGE_PX) & many}.items():
        if not some.any():
            continue
        rows = {}
        for row in records[0]["predicted"]:
            predicted = np.array([record["predicted"][row] for record in records], dtype=float)
            errors = keypoint_errors(predicted[some], truth[some], boxes[some], stretched=stretched)
            rows[row] = {}
            for alpha in ALPHAS:
                found = pck(errors, alpha=alpha, rng=np.random.default_rng(0))
                rows[row][str(alpha)] = {"mean": found.mean, "low": found.low, "high": found.high}
                rows[row][str(alpha)]["by_keypoint"] = found.by_keypoint.tolist()
        summary[name] = {"objects": int(some.sum()), "rows": rows}
    return _plain(summary)


PROTOCOLS: dict[str, CropProtocol] = {
    "box": classification.PROTOCOL,
    "photo": CropProtocol(longer_side_px=None),
    "small": CropProtocol(longer_side_px=250),
    "raw": CropProtocol(unit_length=False),
    "three": CropProtocol(cells=3),
    "sideless": CropProtocol(sides=False),
    "exact": CropProtocol(exact=True),
    "exact-photo": CropProtocol(longer_side_px=None, exact=True),
}
NAMING = ("conv1", "conv2", "conv3", "conv4", "conv5", "sift10", "sift20", "sift40", "sift80", "sift160")


def classify(
    dataset: KeypointDataset,
    category: str,
    *,
    backbone: Backbone,
    features: Sequence[str] = NAMING,
    protocol: CropProtocol = classification.PROTOCOL,
    costs: Sequence[float] | None = None,
    n_folds: int = 5,
    limit: int | None = None,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """How often each feature's classifier names the keypoints of a category's val objects rightly: Table 3 and Figure 4.

    For every feature classifiers are trained on the train objects' visible keypoints at the best of `costs`: that of highest
    accuracy in `n_folds`-fold cross validation on train, whose folds share no photo. The summary has, by feature: accuracy
    over keypoints with its 95 % interval over photos, accuracy by class and its mean over classes, the cross validation's
    curve, the cost, and the confusion matrix (true classes in rows). The records have what every val keypoint was called, and
    the objects left out, with the reason.
    With `limit`, so many objects of each split. With `out`, features already measured are not measured again, and all that the
    file has are summed up.
    """
    features = tuple(features)
    extractors.check(features, backbone)
    names = classification.class_names(dataset.keypoint_names[category], protocol)
    splits = _both_splits(dataset, category, limit)
    costs = classification.usual_costs(protocol) if costs is None else tuple(costs)
    settings = classification_settings(
        dataset, category, backbone=backbone, protocol=protocol, costs=costs, n_folds=n_folds, limit=limit
    )

    @functools.cache
    def described() -> tuple[Samples, Samples]:
        def report(start: float, split: str) -> Progress:
            def to(share: float, text: str) -> None:
                if progress is not None:
                    progress(start + share / 2, f"{split}: {text}")

            return to

        train, val = (
            classification.samples(
                splits[split],
                features,
                dataset.keypoint_names[category],
                backbone=backbone,
                protocol=protocol,
                progress=report(start, split),
            )
            for start, split in ((0, "train"), (0.5, "val"))
        )
        return train, val

    def measure(feature: str) -> dict[str, Any]:
        train, val = described()
        photos = [one.photo.name for one in splits["train"]]
        cost, curve = classification.best_cost(
            train, feature, photos, costs=costs, n_folds=n_folds, device=backbone.device
        )
        classifier = classification.train(train, feature, names, cost=cost, protocol=protocol)
        called = np.array([names.index(name) for name in classifier.names])[
            classifier.linear.predict(val.features[feature])
        ]
        return {
            "feature": feature,
            "cost": cost,
            "curve": curve,
            "left_out": {
                splits[split][n].name: why
                for split, some in (("train", train), ("val", val))
                for n, why in some.left_out.items()
            },
            "objects": [splits["val"][n].name for n in val.objects],
            "photos": [splits["val"][n].photo.name for n in val.objects],
            "keypoints": val.keypoints.tolist(),
            "labels": val.labels.tolist(),
            "called": called.tolist(),
        }

    def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
        return {record["feature"]: _named(record, len(names)) for record in records}

    kept = (None if out is None else _kept(out)) or {"settings": None}
    before = kept["records"] if kept["settings"] == _plain(settings) else {}
    every = {
        feature: feature for feature in (*before, *features) if feature in features or "measured" in before[feature]
    }
    return _run(every, measure, settings, summarise, out, progress, prepare=described)


def classification_settings(
    dataset: KeypointDataset,
    category: str,
    *,
    backbone: Backbone,
    protocol: CropProtocol = classification.PROTOCOL,
    costs: Sequence[float] | None = None,
    n_folds: int = 5,
    limit: int | None = None,
) -> dict[str, Any]:
    """What `classify` writes beside its results: those of other settings are others."""
    splits = _both_splits(dataset, category, limit)
    names = classification.class_names(dataset.keypoint_names[category], protocol)
    return {
        "experiment": "classification",
        "version": VERSIONS["classification"],
        **_described(dataset, category, splits, backbone),
        "protocol": asdict(protocol),
        "classes": list(names),
        "costs": list(classification.usual_costs(protocol) if costs is None else costs),
        "folds": n_folds,
    }


def _both_splits(dataset: KeypointDataset, category: str, limit: int | None) -> dict[str, list[Instance]]:
    return {split: _some(dataset.visible_instances(category, split), limit) for split in ("train", "val")}


def _described(
    dataset: KeypointDataset,
    category: str,
    splits: Mapping[str, Sequence[Instance]],
    backbone: Backbone,
) -> dict[str, Any]:
    """The part of settings that says which objects are seen, and by which network."""
    return {
        "data": dataset.name,
        "data_digest": dataset.digest,
        "photos": store.key(stamps=[[one.name, str(one.photo.stamp)] for split in splits.values() for one in split]),
        "objects": {split: len(some) for split, some in splits.items()},
        "category": category,
        "keypoints": list(dataset.keypoint_names[category]),
        "backbone": backbone.name,
        "backbone_digest": backbone.digest,
    }


RESPONDING = ("conv3", "conv4", "conv5", "sift20", "sift40")


def respond(
    dataset: KeypointDataset,
    category: str,
    keypoints: Sequence[str],
    *,
    backbone: Backbone,
    features: Sequence[str] = RESPONDING,
    protocol: CropProtocol = classification.PROTOCOL,
    side_px: int = responses.SIDE_PX,
    cost: float | None = None,
    limit: int | None = None,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Where around `keypoints` of a category's val objects their classifiers' scores are highest: Figure 5.

    Classifiers are trained on all keypoints of the train objects, at `cost` or that of best cross validation. Pixels are those
    of what the protocol shows, and looked at are squares of `side_px`. Keypoints so near the border that not all of theirs
    have a descriptor are left out. The summary has, by feature and keypoint: the histogram, the share of maxima on the
    boundary, shares within 1, 2, 4 and 8 px and the median distance, with what chance would give, for layers what their stride
    alone would (`responses.stride_median_px`) and whether they are finer ("yes" or "no" where the interval leaves no doubt, else
    "open"), and the mean score by distance. Resumes as the others do.
    """
    features = tuple(features)
    extractors.check(features, backbone)
    if side_px < 3 or side_px % 2 == 0:
        msg = f"side_px must be odd, so that a pixel is in the middle, and at least 3; got {side_px}."
        raise ValueError(msg)
    known = list(dataset.keypoint_names[category])
    if absent := [name for name in keypoints if name not in known]:
        msg = f"keypoints of {category} must be among {', '.join(known)}; got {', '.join(absent)}."
        raise ValueError(msg)
    names = classification.class_names(known, protocol)
    train, val = (dataset.visible_instances(category, split) for split in ("train", "val"))
    numbers = [known.index(name) for name in keypoints]
    for split, some in (("train", train), ("val", val)):
        if unseen := [
            name for name, n in zip(keypoints, numbers, strict=True) if not any(one.visible[n] for one in some)
        ]:
            msg = f"keypoints must be visible in some {split} object of {category}; none shows {', '.join(unseen)}."
            raise ValueError(msg)
    asked = _some([one for one in val if one.visible[numbers].any()], limit)
    settings = response_settings(
        dataset,
        category,
        keypoints,
        backbone=backbone,
        features=features,
        protocol=protocol,
        side_px=side_px,
        cost=cost,
    )

    @functools.cache
    def classifiers() -> dict[str, KeypointClassifier]:
        found = classification.samples(train, features, known, backbone=backbone, protocol=protocol, progress=progress)
        photos = [one.photo.name for one in train]
        costs = classification.usual_costs(protocol)

        def best(feature: str) -> float:
            return classification.best_cost(found, feature, photos, costs=costs, device=backbone.device)[0]

        return {
            feature: classification.train(
                found, feature, names, cost=best(feature) if cost is None else cost, protocol=protocol
            )
            for feature in features
        }

    def measure(instance: Instance) -> dict[str, Any]:
        image, placement = classification.view(instance, protocol)
        size = image.shape[1], image.shape[0]
        points = placement.to_crop(instance.keypoints)
        record: dict[str, Any] = {feature: {} for feature in features}
        for feature, classifier in classifiers().items():
            for name, number in zip(keypoints, numbers, strict=True):
                square = responses.around(points[number], side_px) if instance.visible[number] else None
                if square is None or not responses.inside(square, feature, size, backbone=backbone):
                    continue
                found = responses.response_map(image, classifier, backbone=backbone, region=square)
                own = classifier.names.index(classification.class_of(name, protocol))
                middle = np.array([square.left, square.top]) + side_px // 2
                profile = responses.profile(found, own, middle.astype(float), reach=side_px // 2)
                record[feature][name] = {
                    "maximum": [int(each) for each in np.array(found.highest(own)) - middle],
                    "place": (points[number] - middle).tolist(),
                    "profile": np.round(profile, 4).tolist(),
                }
        return record

    def placed(feature: str, some: list[dict[str, Any]]) -> dict[str, Any] | None:
        stride = None if extractors.sift_radius(feature) else backbone.receptive_field(feature).stride
        return _placed(some, side_px, stride)

    def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            feature: {
                name: placed(feature, [r[feature][name] for r in records if name in r[feature]]) for name in keypoints
            }
            for feature in features
        }

    return _run({one.name: one for one in asked}, measure, settings, summarise, out, progress, prepare=classifiers)


def response_settings(
    dataset: KeypointDataset,
    category: str,
    keypoints: Sequence[str],
    *,
    backbone: Backbone,
    features: Sequence[str] = RESPONDING,
    protocol: CropProtocol = classification.PROTOCOL,
    side_px: int = responses.SIDE_PX,
    cost: float | None = None,
) -> dict[str, Any]:
    """What `respond` writes beside its results: those of other settings are others."""
    return {
        "experiment": "responses",
        "version": [responses.VERSION, classification.VERSION, svm.VERSION, every_pixel.VERSION, sift.VERSION, FORMAT],
        **_described(dataset, category, {"train": dataset.visible_instances(category, "train")}, backbone),
        "protocol": asdict(protocol),
        "asked": list(keypoints),
        "features": list(features),
        "cost": cost,
        "side_px": side_px,
    }


def _placed(records: list[dict[str, Any]], side_px: int, stride: int | None) -> dict[str, Any] | None:
    if not records:
        return None
    maxima, places, profiles = (
        np.array([record[name] for record in records]) for name in ("maximum", "place", "profile")
    )
    found = responses.histogram(maxima, places, side=side_px)
    middle, low, high = found.median_px(np.random.default_rng(0))
    inside = len(found.distances_px) > 0
    by_stride = float("nan") if stride is None else responses.stride_median_px(stride)
    finer = None
    if stride is not None and np.isfinite(low):
        finer = "yes" if high < by_stride else "no" if low > by_stride else "open"
    return _plain(
        {
            "instances": len(records),
            "boundary_share": found.boundary_share,
            "median_px": middle,
            "low": low,
            "high": high,
            "chance_median_px": found.chance_median_px if inside else float("nan"),
            "stride_median_px": by_stride,
            "finer_than_stride": finer,
            "within": {str(r): list(found.share_within(r)) for r in responses.RADII_PX} if inside else {},
            "counts": found.counts.tolist(),
            "profile": profiles.mean(axis=0).tolist(),
        }
    )


def classification_file(category: str, protocol: str, limit: int | None = None) -> str:
    """Where a table's results lie; those of a quick look at some objects beside them."""
    about = [category, *([] if protocol == "box" else [protocol]), *([] if limit is None else [f"of {limit}"])]
    return f"classification {' '.join(about)}.json"


def _named(record: dict[str, Any], n_classes: int) -> dict[str, Any]:
    labels, called = np.array(record["labels"]), np.array(record["called"])
    confusion = np.zeros((n_classes, n_classes), int)
    np.add.at(confusion, (labels, called), 1)
    shown = confusion.sum(axis=1)
    by_class = [100 * confusion[n, n] / shown[n] if shown[n] else float("nan") for n in range(n_classes)]
    _, photos = np.unique(record["photos"], return_inverse=True)
    hits, of = np.bincount(photos, labels == called), np.bincount(photos)
    times = bootstrap_counts(len(of), 2000, np.random.default_rng(0))
    low, high = np.quantile(100 * (times @ hits) / (times @ of), [0.025, 0.975])
    return _plain(
        {
            "accuracy": 100 * float((labels == called).mean()),
            "low": float(low),
            "high": float(high),
            "mean_of_classes": float(np.nanmean(by_class)),
            "by_class": by_class,
            "keypoints": len(labels),
            "cost": record["cost"],
            "curve": record["curve"],
            "confusion": confusion.tolist(),
        }
    )


DETECTING = ("sift16", "conv5")
DETECTOR_COSTS = (0.01, 0.1, 1.0)
_DRAWN_COSTS, _DRAWN_OBJECTS = (0.1,), 24  # drawn objects are there to try things on: at once, and with nothing chosen
ETAS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
SIGMAS_PX = (detection.SIGMA_PX, 30.0, 45.0, 60.0, 90.0)  # the paper's, and those tried for several places
PRIORS = 5
_FOLDS, _VALIDATED = 2, 200  # of cross validation; train objects it takes at most, by lot
_MOST_OBJECTS = 2000  # that detectors learn from, by lot: 3 GB
_ONE, _SEVERAL = "+prior", f"+{PRIORS} priors"  # after a feature's name, make rows


@dataclass(frozen=True, eq=False)
class Trained:
    """Detectors of one feature, and how the prior is weighed against them: with one neighbour's place, and with several.

    `about` has how they were chosen, and the time that took.
    """

    detectors: Detectors
    weighings: Mapping[str, PriorFusion]
    about: Mapping[str, Any]


def detectors(
    dataset: KeypointDataset,
    category: str,
    *,
    backbone: Backbone,
    features: Sequence[str] = DETECTING,
    costs: Sequence[float] | None = None,
    limit: int | None = None,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Trained], Prior]:
    """Keypoint detectors by feature, trained on a category's train objects, and the prior of these (`prediction`).

    The cost, among `costs`, eta and, for several neighbours, sigma are those of highest PCK in cross validation on at most
    200 train objects, in two halves that share no photo; the paper's sigma is kept for one neighbour. Where there are too few
    objects to train on half of them, and of drawn objects, of which a few are taken, nothing is chosen. At most 2000 objects
    are learnt from, by lot; `limit` are fewer.

    With `out`, a folder, detectors are kept there, and are not trained again while data, photos, weights and code are the
    same; training that was stopped goes on from its last round. They are not kept where a photo could not be read for a
    reason that may pass.

    Raises ValueError for an unknown category or feature, and where nothing can be trained.
    """
    train = _detected(dataset, category, limit)
    known: dict[str, Trained] = {}
    settings = {
        feature: _plain(detector_settings(dataset, category, feature, backbone=backbone, costs=costs, limit=limit))
        for feature in features
    }
    files = {
        feature: None if out is None else Path(out) / f"{_prediction_name(category, limit)} {feature}.safetensors"
        for feature in features
    }
    for feature, file in files.items():
        if (found := _known_detectors(file, settings[feature])) is not None:
            known[feature] = found
    missing = [DetectorSpec(feature) for feature in features if feature not in known]
    kept_prior = None if out is None else Path(out) / f"{_prediction_name(category, limit)} prior.safetensors"
    objects = _prior_settings(settings[features[0]])
    prior = _known_prior(kept_prior, objects)
    if not missing and prior is not None:
        return {feature: known[feature] for feature in features}, prior

    def part(start: float, share: float, what: str = "") -> Progress:
        def report(done: float, text: str) -> None:
            if progress is not None:
                progress(start + share * done, what + text)

        return report

    describing = 0.1 if missing else 1.0
    names = dataset.keypoint_names[category]
    gathered = detection.describe_training_set(train, names, missing, backbone=backbone, progress=part(0, describing))
    if kept_prior is not None and not gathered.unread:
        detection.save_prior(kept_prior, gathered.prior, {"settings": objects})
    for number, scheme in enumerate(missing):
        share = (1 - describing) / len(missing)
        report = part(describing + number * share, share, f"{scheme.feature}: ")
        file = files[scheme.feature]
        known[scheme.feature] = _train_detectors(gathered, scheme, settings[scheme.feature], file, report)
    return {feature: known[feature] for feature in features}, gathered.prior


def detector_settings(
    dataset: KeypointDataset,
    category: str,
    feature: str,
    *,
    backbone: Backbone,
    costs: Sequence[float] | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """What is written beside the detectors of one feature: those of other settings are others."""
    train = _detected(dataset, category, limit)
    return {
        "experiment": "detectors",
        "version": [detection.VERSION, svm.VERSION, sift.VERSION, FORMAT],
        **_described(dataset, category, {"train": train}, backbone),
        "scheme": asdict(DetectorSpec(feature)),
        "precision": str(backbone.dtype),
        "side_px": detection.SIDE_PX,
        "neighbours_by": detection.summary_layer(backbone),
        "costs": list(costs or (_DRAWN_COSTS if dataset.synthetic else DETECTOR_COSTS)),
        "etas": list(ETAS),
        "sigmas_px": list(SIGMAS_PX),
        "folds": 0 if dataset.synthetic else _FOLDS,
        "validated": _VALIDATED,
    }


def known_detectors(
    dataset: KeypointDataset,
    category: str,
    *,
    backbone: Backbone,
    features: Sequence[str] = DETECTING,
    out: str | os.PathLike,
) -> tuple[dict[str, Trained], Prior] | None:
    """What `detectors` has kept in `out`; None where something is missing for the photos, weights and code as they are."""
    settings = {
        feature: _plain(detector_settings(dataset, category, feature, backbone=backbone)) for feature in features
    }
    name = Path(out) / _prediction_name(category, None)
    known = {
        feature: _known_detectors(Path(f"{name} {feature}.safetensors"), settings[feature]) for feature in features
    }
    prior = _known_prior(Path(f"{name} prior.safetensors"), _prior_settings(settings[features[0]]))
    found = {feature: each for feature, each in known.items() if each is not None}
    return (found, prior) if prior is not None and len(found) == len(known) else None


def _prior_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """What of detectors' settings its prior depends on."""
    return {
        name: value
        for name, value in settings.items()
        if name not in ("scheme", "costs", "etas", "sigmas_px", "folds", "validated")
    }


def _known_prior(file: Path | None, settings: dict[str, Any]) -> Prior | None:
    try:
        found, about = detection.load_prior(file or "")
    except (OSError, ValueError):
        return None
    return found if about.get("settings") == settings else None


def _detected(dataset: KeypointDataset, category: str, limit: int | None) -> list[Instance]:
    """The train objects that detectors learn from."""
    usual = _DRAWN_OBJECTS if dataset.synthetic else _MOST_OBJECTS
    return _some(dataset.visible_instances(category, "train"), usual if limit is None else limit)


def learnt_from(dataset: KeypointDataset, category: str) -> int:
    """How many train objects detectors learn from, unless they are limited."""
    return len(_detected(dataset, category, None))


def _known_detectors(file: Path | None, settings: dict[str, Any]) -> Trained | None:
    try:
        found, about = detection.load(file or "")
    except (OSError, ValueError):
        return None
    if about.pop("settings", None) != settings:
        return None
    return Trained(found, {name: PriorFusion(**each) for name, each in about["weighings"].items()}, about)


def _train_detectors(
    gathered: TrainingSet,
    scheme: DetectorSpec,
    settings: dict[str, Any],
    file: Path | None,
    progress: Progress,
) -> Trained:
    key = store.key(settings=settings, objects=list(gathered.objects))
    beside = None if file is None else file.with_suffix(".choice")
    about = (None if beside is None else _kept(beside)) or {}
    if about.get("key") != key:
        about = {
            "key": key,
            **_chosen(
                gathered, scheme, settings, lambda share, text: progress(0.6 * share, f"cross validation, {text}")
            ),
        }
        if beside is not None:
            _write(beside, about)
    begun = time.monotonic()
    found = HardNegativeMiner(gathered, scheme).fit(
        cost=about["cost"],
        kept=None if file is None else file.with_suffix(".mining"),
        key=key,
        progress=lambda share, text: progress(0.6 + 0.4 * share, f"training, {text}"),
    )
    about = _plain(
        {name: value for name, value in about.items() if name != "key"}
        | {"seconds": round(about["seconds"] + time.monotonic() - begun, 1), "left_out": dict(gathered.left_out)}
    )
    if file is not None and beside is not None:
        if not gathered.unread:
            detection.save(file, found, about | {"settings": settings})
        beside.unlink(missing_ok=True)
    return Trained(found, {name: PriorFusion(**each) for name, each in about["weighings"].items()}, about)


def _chosen(
    gathered: TrainingSet, scheme: DetectorSpec, settings: Mapping[str, Any], progress: Progress
) -> dict[str, Any]:
    """The cost of detectors that are best alone, and how the prior is weighed against these; with all that was tried."""
    begun = time.monotonic()
    costs, folds = settings["costs"], settings["folds"]
    one, several = PriorFusion(1, detection.SIGMA_PX, 0.05), PriorFusion(PRIORS, 40.0, 0.1)
    usual = {
        "cost": costs[len(costs) // 2],
        "weighings": {_ONE: asdict(one), _SEVERAL: asdict(several)},
        "seconds": 0.0,
    }
    if not folds:
        return usual
    prior = gathered.prior
    lot = np.random.default_rng(0).permutation(len(gathered.objects))[: settings["validated"]]
    gathered = gathered.some(np.sort(lot))
    centres = gathered.cells[scheme.feature].centres()
    scores = detection.held_out_scores(gathered, scheme, costs=costs, n_folds=folds, progress=progress)
    there = np.flatnonzero(~np.isnan(scores[0]).all(axis=(1, 2, 3)))
    if len(there) == 0:  # too few objects to train on half of them
        return usual
    scores, gathered = [some[there] for some in scores], gathered.some(there)
    alone = [
        detection.accuracy(
            np.stack([detection.argmax_points(detection.combined(one), centres) for one in some]), gathered.keypoints
        )
        for some in scores
    ]
    best = max(range(len(costs)), key=lambda n: (alone[n], -costs[n]))
    places = np.stack(
        [
            prior.places(prior.nearest(summary, k=PRIORS, photo=photo))
            for summary, photo in zip(gathered.summaries, gathered.photos, strict=True)
        ]
    )
    of_one = detection.select_fusion(scores[best], centres, places[:, :1], gathered.keypoints, etas=ETAS)
    of_several = detection.select_fusion(
        scores[best], centres, places, gathered.keypoints, etas=ETAS, sigmas_px=SIGMAS_PX
    )
    return {
        "cost": costs[best],
        "pck_by_cost": dict(zip(map(str, costs), alone, strict=True)),
        "weighings": {_ONE: asdict(of_one.weighing), _SEVERAL: asdict(of_several.weighing)},
        "pck_by_eta": {
            name: {str(sigma): {str(eta): pck for eta, pck in of.items()} for sigma, of in choice.by_eta.items()}
            for name, choice in ((_ONE, of_one), (_SEVERAL, of_several))
        },
        "seconds": time.monotonic() - begun,
    }


def predict(
    dataset: KeypointDataset,
    category: str,
    *,
    backbone: Backbone,
    features: Sequence[str] = DETECTING,
    costs: Sequence[float] | None = None,
    fine: bool = False,
    limit: int | None = None,
    out: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Where each feature's detectors see the keypoints of a category's val objects, whose boxes are given: Table 4.

    Rows are by feature: detectors alone ("conv5"), with the prior of the object most alike ("conv5+prior") and of the five
    most alike ("conv5+5 priors"); with `fine` also these two at the best pixel around the best cell
    (`Detectors.refine_to_pixels`), some seconds an object. "prior" has the place in the object most alike as it is, "5 priors" the
    median of five. PCK is taken in the boxes stretched to squares, as the paper has it.

    The summary is that of `transfer`, with what `detectors` says of the training. `limit` is of objects of each split.
    `out` is a JSON file, beside which the detectors are kept; all goes on where it was stopped.
    """
    features = tuple(features)
    extractors.check(features, backbone)
    settings = prediction_settings(
        dataset, category, backbone=backbone, features=features, costs=costs, fine=fine, limit=limit
    )
    folder = None if out is None else Path(out).parent
    schemes = [DetectorSpec(feature) for feature in features]

    @functools.cache
    def trained() -> tuple[dict[str, Trained], Prior]:
        return detectors(
            dataset,
            category,
            backbone=backbone,
            features=features,
            costs=costs,
            limit=limit,
            out=folder,
            progress=progress,
        )

    def measure(instance: Instance) -> dict[str, Any]:
        found, prior = trained()
        image, placement = detection.crop_box(instance.photo.load(), instance.box)
        subject = detection.describe(image, schemes, backbone=backbone)
        nearest = prior.nearest(subject.summary, k=PRIORS, photo=instance.photo.name)
        places = prior.places(nearest)
        predicted = {"prior": places[0], f"{PRIORS} priors": detection.median_places(places)}
        for feature, each in found.items():
            grid = subject.grids[feature]
            centres = grid.cells.centres()
            scores = each.detectors.scores(grid.descriptors)
            predicted[feature] = detection.argmax_points(detection.combined(scores), centres)
            for name, weighing in each.weighings.items():
                predicted[feature + name] = detection.predict(scores, centres, places, weighing)
            if fine and extractors.sift_radius(feature) is None:
                shown = instance.visible[:, None]
                coarse = {feature + name: np.where(shown, predicted[feature + name], np.nan) for name in each.weighings}
                finer = _finer(each.detectors, image, coarse, backbone)
                predicted |= {f"{row}, fine": points for row, points in finer.items()}
        return {
            "box": list(instance.box),
            "truth": instance.keypoints.tolist(),
            "neighbours": [prior.objects[n] if n >= 0 else None for n in nearest[0]],
            "predicted": {row: np.round(placement.to_image(points), 2).tolist() for row, points in predicted.items()},
        }

    def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
        if trained.cache_info().currsize:
            training = {feature: each.about for feature, each in trained()[0].items()}
        else:  # all was measured before, and so it was said
            training = ((None if out is None else _kept(out)) or {}).get("summary", {}).get("training", {})
        return _accuracies(records, stretched=True) | {"training": training}

    samples = {one.name: one for one in _some(dataset.visible_instances(category, "val"), limit)}
    return _run(samples, measure, settings, summarise, out, progress, prepare=trained)


def _finer(
    detectors: Detectors, image: np.ndarray, coarse: Mapping[str, np.ndarray], backbone: Backbone
) -> dict[str, np.ndarray]:
    """`Detectors.refine_to_pixels` of several rows' points; once where rows agree, as they often do."""
    known: dict[tuple[int, bytes], np.ndarray] = {}
    for points in coarse.values():
        for keypoint, point in enumerate(points):
            if (keypoint, point.tobytes()) not in known:
                alone = np.full_like(points, np.nan)
                alone[keypoint] = point
                known[keypoint, point.tobytes()] = detectors.refine_to_pixels(image, alone, backbone=backbone)[keypoint]
    return {
        row: np.stack([known[keypoint, point.tobytes()] for keypoint, point in enumerate(points)])
        for row, points in coarse.items()
    }


def prediction_settings(
    dataset: KeypointDataset,
    category: str,
    *,
    backbone: Backbone,
    features: Sequence[str] = DETECTING,
    costs: Sequence[float] | None = None,
    fine: bool = False,
    limit: int | None = None,
) -> dict[str, Any]:
    """What `predict` writes beside its results: those of other settings are others."""
    training = detector_settings(dataset, category, features[0], backbone=backbone, costs=costs, limit=limit)
    return training | {
        "experiment": "prediction",
        "version": VERSIONS["prediction"],
        **_described(
            dataset,
            category,
            {
                "train": _detected(dataset, category, limit),
                "val": _some(dataset.visible_instances(category, "val"), limit),
            },
            backbone,
        ),
        "scheme": [asdict(DetectorSpec(feature)) for feature in features],
        "fine": fine,
    }


def prediction_file(category: str, limit: int | None = None, *, fine: bool = False) -> str:
    """Where a table's results lie; those of a quick look at some objects, and with finer places, beside them."""
    return f"{_prediction_name(category, limit)}{' fine' if fine else ''}.json"


def _prediction_name(category: str, limit: int | None) -> str:
    return f"prediction {category}" + ("" if limit is None else f" of {limit}")


def results_folder() -> Path:
    """Where results lie unless another place is asked for."""
    return store.default_folder() / "experiments"


def default_folder(dataset: KeypointDataset, backbone: str) -> Path:
    """The folder of a data set's results, which another state of its annotations does not share."""
    return results_folder() / f"{dataset.name} {dataset.digest[:8]} {backbone}"


def forget(path: str | os.PathLike) -> None:
    """Deletes an experiment's file, and that of the search for its smoothness."""
    for each in (Path(path), _beside(path)):
        each.unlink(missing_ok=True)


def forget_others(path: str | os.PathLike, settings: Mapping[str, Any]) -> None:
    """Deletes an experiment's file if it has other settings, or cannot be read: it could not be gone on with."""
    if (_kept(path) or {}).get("settings") != _plain(dict(settings)):
        forget(path)


def _beside(path: str | os.PathLike) -> Path:
    return Path(path).with_suffix(".smoothness.json")


def read(path: str | os.PathLike, settings: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """An experiment's file; None where it is not there, has other `settings` than these, or no summary yet but only a part
    of its records.
    """
    kept = _kept(path)
    if kept is None or "summary" not in kept:
        return None
    return kept if settings is None or kept["settings"] == _plain(dict(settings)) else None


def _kept(path: str | os.PathLike) -> dict[str, Any] | None:
    """What an experiment has written so far; None where no file can be read."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return None


def is_complete(path: str | os.PathLike) -> bool:
    return read(path) is not None


def _run(
    samples: dict[str, Any],
    measure: Callable[[Any], dict[str, Any]],
    settings: dict[str, Any],
    summarise: Callable[[list[dict[str, Any]]], dict[str, Any]],
    out: str | os.PathLike | None,
    progress: Progress | None,
    *,
    prepare: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Measures every sample that `out` does not have yet, and sums up those asked for.

    `prepare` makes what all of them need, once there is one to measure; its errors are the experiment's, not a sample's. What
    another version of the code has measured of the same is measured anew.
    """
    if not samples:
        msg = "there is nothing to measure; give at least one photo or seed."
        raise ValueError(msg)
    path = None if out is None else Path(out)
    settings = _plain(settings)  # as they are read again
    records: dict[str, Any] = {}
    if path is not None and path.exists():
        kept = json.loads(path.read_text())
        if _is_older(kept["settings"], settings):
            kept = {"settings": settings, "records": {}}
        if kept["settings"] != settings:
            msg = f"{path} holds an experiment with other settings; give another file with --out or delete it."
            raise ValueError(msg)
        records = kept["records"]
    for done, (name, sample) in enumerate(samples.items()):
        stamp = str(getattr(getattr(sample, "photo", sample), "stamp", ""))
        if records.get(name, {}).get("stamp") != stamp:
            if prepare is not None:
                prepare()
                prepare = None
            try:
                measured = measure(sample)
            except (decoding.ImageError, ValueError) as error:
                records[name] = {"stamp": stamp, "skipped": str(error)}
            except OSError as error:  # which may pass: it is tried again next time
                records[name] = {"stamp": None, "skipped": str(error)}
            else:
                records[name] = {"stamp": stamp, "measured": _plain(measured)}
            if path is not None:
                _write(path, {"settings": settings, "records": records})
        if progress is not None:
            progress((done + 1) / len(samples), f"{done + 1} of {len(samples)}: {name}")
    measured = [records[name]["measured"] for name in samples if "measured" in records[name]]
    if not measured:
        reason = records[next(iter(samples))]["skipped"]
        msg = f"none of {len(samples)} samples could be measured; the first: {reason}"
        raise ValueError(msg)
    result = {"settings": settings, "summary": summarise(measured), "records": records}
    if path is not None:
        _write(path, result)
    return result


def _is_older(kept: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether another version of the code has measured the same: what it found does not count any more."""
    same = ("experiment", *_IDENTITY)
    return kept.get("version") != settings["version"] and all(
        key in settings and kept.get(key) == settings[key] for key in same
    )


def _statistics(statistic: Callable[..., np.ndarray]) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Sums up a layer's numbers over the samples that have them, with their bootstrap intervals."""

    def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
        summary: dict[str, Any] = {}
        for layer in records[0]:
            summary[layer] = {}
            for name in (name for name in records[0][layer] if name != "id"):
                values = np.array([_number(record[layer][name]) for record in records])
                values = values[~np.isnan(values)]
                middle = float(statistic(values)) if len(values) else float("nan")
                low = high = float("nan")
                if len(values) > 1:
                    low, high = bootstrap_interval(values, rng=np.random.default_rng(0), statistic=statistic)
                summary[layer][name] = _plain(
                    {statistic.__name__: middle, "low": low, "high": high, "samples": len(values)}
                )
        return summary

    return summarise


def _plain(value: Any) -> Any:
    """Numbers as JSON has them: NaN as null, infinities in words."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value


def _number(value: float | str | None) -> float:
    return float("nan") if value is None else float(value)


def _write(path: Path, result: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.writing")
    temporary.write_text(json.dumps(result, indent=1, allow_nan=False))
    temporary.replace(path)


_UNFINISHED = (".choice", ".mining")  # of detectors whose training was stopped
_IDENTITY = ("data", "data_digest", "category", "backbone", "backbone_digest")
# What is measured, and on what; the other settings of a table say how.
_WHAT = (
    *("experiment", "version", "data", "data_digest", "photos", "objects", "category", "keypoints", "classes"),
    *("backbone", "backbone_digest", "smoothness"),
)


class OlderResultError(ValueError):
    """A file of results that an earlier version of the code has computed; `about` has what they are of."""

    def __init__(self, message: str, about: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.about = dict(about)


@dataclass(frozen=True, eq=False)
class Table:
    """A category's column of Table 2, 3 or 4: which keypoints of which objects every row has right.

    `errors` are those of `metrics.keypoint_errors`, in Table 4 in the box stretched to a square; where keypoints are only named,
    in Table 3, they are 0 where right and infinite where wrong. NaN is what an object does not show. `photos` numbers those
    whose objects are resampled together: in Table 3 photos, else every object for itself. `boxes` are not known in Table 3.
    `left_out` are objects that could not be measured, with the reason.
    """

    path: Path
    settings: Mapping[str, Any]
    rows: tuple[str, ...]
    keypoints: tuple[str, ...]
    objects: tuple[str, ...]
    photos: Int[np.ndarray, " objects"]
    boxes: Float[np.ndarray, "objects 4"] | None
    errors: Float[np.ndarray, "rows objects keypoints"]
    left_out: Mapping[str, str]

    @property
    def experiment(self) -> str:
        return self.settings["experiment"]

    @property
    def category(self) -> str:
        return self.settings["category"]

    @property
    def how(self) -> dict[str, Any]:
        """The settings that say how it was measured; categories that agree in them make one table."""
        without = (*_WHAT, "validated") if self.settings.get("folds") == 0 else _WHAT  # where nothing was validated
        return {name: value for name, value in self.settings.items() if name not in without}

    @property
    def shown(self) -> Bool[np.ndarray, "objects keypoints"]:
        return ~np.isnan(self.errors[0])

    def right(self, row: str, *, alpha: float = 0.1) -> Bool[np.ndarray, "objects keypoints"]:
        """Whether each keypoint's error is at most `alpha`; in Table 3 whether it is called by its name."""
        return np.nan_to_num(self.errors[self.rows.index(row)], nan=np.inf) <= alpha

    def accuracy(
        self,
        row: str,
        *,
        alpha: float = 0.1,
        over: Average | None = None,
        some: Bool[np.ndarray, " objects"] | None = None,
    ) -> Estimate:
        """The percentage a row has right, with its 95 % interval, of all objects or `some`: what the file's summary has.

        Averages are those of `metrics.accuracy`; unless given, over keypoint types, in Table 3 over keypoints.
        """
        chosen = np.full(len(self.objects), True) if some is None else some
        return accuracy(
            self.right(row, alpha=alpha)[chosen], self.shown[chosen], self._times(chosen, 1000), over=over or self._over
        )

    def difference(self, first: str, second: str, *, alpha: float = 0.1, over: Average | None = None) -> Estimate:
        """By how many points one row exceeds another (`metrics.difference`), averaged as `accuracy` does."""
        found = difference(
            self.right(first, alpha=alpha),
            self.right(second, alpha=alpha),
            self.shown,
            self._times(np.full(len(self.objects), True), 2000),
            over=over or self._over,
        )
        return replace(found, samples=len(np.unique(self.photos)))

    def mcnemar(self, first: str, second: str, *, alpha: float = 0.1) -> McNemar:
        """Keypoints that only one of two rows has right."""
        return mcnemar(self.right(first, alpha=alpha)[self.shown], self.right(second, alpha=alpha)[self.shown])

    @property
    def _over(self) -> Average:
        return "keypoints" if self.experiment == "classification" else "types"

    def _times(self, some: Bool[np.ndarray, " objects"], n_resamples: int) -> Float[np.ndarray, "resamples some"]:
        photos = np.unique(self.photos[some], return_inverse=True)[1]
        n = 2000 if self.experiment == "classification" else n_resamples
        return _drawn(len(np.unique(photos)), n)[:, photos].astype(float)


@functools.lru_cache(maxsize=64)  # for the rows of twenty categories; drawing takes longer than all the rest
def _drawn(n: int, n_resamples: int) -> np.ndarray:
    """Resamples as they are in the summaries of files."""
    return bootstrap_counts(n, n_resamples, np.random.default_rng(0)).astype(np.uint16)


@dataclass(frozen=True)
class Tables:
    """What a folder of results has: tables, the files of an older version, with what they are of, those that cannot be read,
    with the reason, and those that are no tables, such as searches for a smoothness and training that was stopped.
    """

    tables: tuple[Table, ...]
    older: Mapping[Path, Mapping[str, Any]]
    unreadable: Mapping[Path, str]
    others: tuple[Path, ...] = ()


def tables(folder: str | os.PathLike | None = None, *, read: Callable[[Path], Table | None] | None = None) -> Tables:
    """All tables there are in a folder's folders, by default those of `results_folder`, in the order of their files.

    What a file holds is told by its settings, not by its name. `read` is what reads a file, `read_table` unless given: whoever
    asks often keeps what was read.
    """
    found, older, unreadable = [], {}, {}
    there = Path(folder or results_folder())
    others = [path for suffix in _UNFINISHED for path in there.glob(f"*/*{suffix}")]
    for path in sorted(there.glob("*/*.json")):
        try:
            table = (read or read_table)(path)
        except OlderResultError as error:
            older[path] = error.about
        except (OSError, ValueError) as error:
            unreadable[path] = str(error)
        else:
            if table is None:
                others.append(path)
            else:
                found.append(table)
    return Tables(tuple(found), older, unreadable, tuple(sorted(others)))


def read_table(path: str | os.PathLike) -> Table | None:
    """The table in a file of results; None for results that are no table, such as the search for a smoothness.

    Raises OlderResultError for one of an older version, and ValueError for what is no such file or has no summary yet.
    """
    path = Path(path)
    try:
        kept = json.loads(path.read_text())
    except ValueError as error:
        msg = f"it is no JSON: {error}."
        raise ValueError(msg) from error
    try:
        settings, records = kept["settings"], kept["records"]
        if settings["experiment"] not in VERSIONS or "validation" in settings:
            return None
        if settings["version"] != VERSIONS[settings["experiment"]]:
            msg = f"it is of version {settings['version']}, the current one is {VERSIONS[settings['experiment']]}."
            raise OlderResultError(msg, {name: settings.get(name) for name in ("experiment", *_IDENTITY)})
        if "summary" not in kept:
            msg = f"it is not finished: {len(records)} measured so far."
            raise ValueError(msg)
        if missing := [name for name in _IDENTITY if not isinstance(settings.get(name), str)]:
            msg = f"its settings do not say {', '.join(missing)}."
            raise ValueError(msg)
        return (_of_names if settings["experiment"] == "classification" else _of_places)(path, settings, kept)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        msg = f"it is not as results are written: {type(error).__name__}, {error}."
        raise ValueError(msg) from error


def _of_places(path: Path, settings: dict[str, Any], kept: dict[str, Any]) -> Table:
    """Predicted places of keypoints."""
    rows = tuple(kept["summary"]["all"]["rows"])
    records = {
        name: one["measured"]
        for name, one in kept["records"].items()
        if "measured" in one and not np.isnan(np.array(one["measured"]["truth"], dtype=float)).any(axis=1).all()
    }
    truth, boxes = (np.array([one[key] for one in records.values()], dtype=float) for key in ("truth", "box"))
    predicted = [np.array([one["predicted"][row] for one in records.values()], dtype=float) for row in rows]
    expected = (len(records), len(settings["keypoints"]), 2)
    if (
        not records
        or not rows
        or boxes.shape != (len(records), 4)
        or any(p.shape != expected for p in (truth, *predicted))
    ):
        msg = "its records are not of so many keypoints and boxes as its settings say."
        raise ValueError(msg)
    stretched = settings["experiment"] == "prediction"
    errors = [keypoint_errors(points, truth, boxes, stretched=stretched) for points in predicted]
    return Table(
        path,
        settings,
        rows,
        tuple(settings["keypoints"]),
        tuple(records),
        np.arange(len(records)),
        boxes,
        np.stack(errors),
        {name: one["skipped"] for name, one in kept["records"].items() if "skipped" in one},
    )


def _of_names(path: Path, settings: dict[str, Any], kept: dict[str, Any]) -> Table:
    """What keypoints were called."""
    rows = tuple(kept["summary"])
    measured = [kept["records"][row]["measured"] for row in rows]
    photo_of = dict(zip(measured[0]["objects"], measured[0]["photos"], strict=True))
    objects = tuple(photo_of)
    number = {name: n for n, name in enumerate(objects)}
    errors = np.full((len(rows), len(objects), len(settings["keypoints"])), np.nan)
    for row, one in zip(errors, measured, strict=True):
        right = np.array(one["labels"]) == np.array(one["called"])
        row[[number[name] for name in one["objects"]], one["keypoints"]] = np.where(right, 0, np.inf)
    if (np.isnan(errors) != np.isnan(errors[0])).any():
        msg = "its rows are not of the same keypoints."
        raise ValueError(msg)
    photos = np.unique([photo_of[name] for name in objects], return_inverse=True)[1]
    return Table(
        path,
        settings,
        rows,
        tuple(settings["keypoints"]),
        objects,
        photos,
        None,
        errors,
        dict(measured[0]["left_out"]),
    )
