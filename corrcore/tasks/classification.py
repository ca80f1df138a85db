"""Which keypoint is it? Descriptors taken at keypoints, and linear classifiers that name them.

Long, Zhang and Darrell (2014), Section 5: given a photo and the place of a keypoint, say which keypoint of its category
that is, from the descriptor there alone (Table 3). What the paper leaves open, the scale objects are seen at and how
descriptors are scaled, is a `CropProtocol` here, and belongs to every number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int

from corrcore import concurrency, extractors, images
from corrcore.concurrency import Progress
from corrcore.crops import CropTransform
from corrcore.datasets.records import Instance
from corrcore.engines import svm
from corrcore.engines.svm import LinearClassifier
from corrcore.features import Extractor, Feature, Image
from corrcore.tasks.every_object import every_object

VERSION = 1  # of what this module computes: results kept by another are not used
COSTS = tuple(float(f"1e{power}") for power in range(-4, 3))
RAW_COSTS = tuple(float(f"1e{power}") for power in range(-8, -1))  # of descriptors as they are, which are longer


@dataclass(frozen=True)
class CropProtocol:
    """How objects are seen and described, and what is told apart.

    The box, widened by `margin` of its sides on every side, is scaled so that its longer side has `longer_side_px`
    pixels; None is the whole photo at its own scale. `cells` are those of `extractors.sample_at`. With `unit_length`
    descriptors are divided by their length; without, they are as they are. Without `sides` the left and the right one
    of a pair are the same keypoint. `exact` takes layers at the keypoint's own pixel (`Extractor.sample_at`), not at
    the nearest cell.
    """

    longer_side_px: int | None = 500
    margin: float = 0.3
    cells: int = 1
    unit_length: bool = True
    sides: bool = True
    exact: bool = False


PROTOCOL = CropProtocol()


@dataclass(frozen=True, eq=False)
class Samples:
    """Descriptors at the visible keypoints of objects, by feature; each sample's class, keypoint and object by number.

    `left_out` are objects without samples, by number, with the reason.
    """

    features: Mapping[Feature, Float32[np.ndarray, "samples _channels"]]
    labels: Int[np.ndarray, " samples"]
    keypoints: Int[np.ndarray, " samples"]
    objects: Int[np.ndarray, " samples"]
    left_out: Mapping[int, str]


@dataclass(frozen=True, eq=False)
class KeypointClassifier:
    """Names keypoints by one feature; `names` are of its classes."""

    feature: Feature
    names: tuple[str, ...]
    protocol: CropProtocol
    linear: LinearClassifier


def class_names(keypoint_names: Sequence[str], protocol: CropProtocol) -> tuple[str, ...]:
    """What is told apart: the keypoints, or without `sides` what is left of their names when L and R are gone."""
    return tuple(dict.fromkeys(class_of(name, protocol) for name in keypoint_names))


def class_of(name: str, protocol: CropProtocol) -> str:
    """The class of a keypoint by name."""
    return name if protocol.sides or name[:2] not in ("L_", "R_") else name[2:]


def view(instance: Instance, protocol: CropProtocol) -> tuple[Image, CropTransform]:
    """The object as the protocol shows it, and where that lies in its photo. Raises what loading the photo does."""
    photo = instance.photo.load()
    return frame(photo, instance.box, protocol)


def frame(photo: Image, box: tuple[float, float, float, float], protocol: CropProtocol) -> tuple[Image, CropTransform]:
    """The part of a photo in which the protocol shows what is in `box`, edges in pixels, at its scale."""
    height, width = photo.shape[:2]
    if protocol.longer_side_px is None:
        return photo, CropTransform((-0.5, -0.5, width - 0.5, height - 0.5), (width, height))
    left, top, right, bottom = box
    x, y = protocol.margin * (right - left), protocol.margin * (bottom - top)
    edges = (left - x, top - y, right + x, bottom + y)
    sides = np.array([edges[2] - edges[0], edges[3] - edges[1]])
    columns, rows = np.maximum(np.rint(sides * protocol.longer_side_px / sides.max()).astype(int), 1).tolist()
    return images.crop_resized(photo, edges, width=columns, height=rows), CropTransform(edges, (columns, rows))


def samples(
    instances: Sequence[Instance],
    features: Sequence[Feature],
    keypoint_names: Sequence[str],
    *,
    network: Extractor,
    protocol: CropProtocol = PROTOCOL,
    progress: Callable[[float, str], None] | None = None,
) -> Samples:
    """Every visible keypoint of the objects, described.

    Objects whose photo is none, or too small, are left out. Raises what `every_object` does.
    """
    names = class_names(keypoint_names, protocol)
    classes = np.array([names.index(class_of(name, protocol)) for name in keypoint_names])
    found: dict[Feature, list[np.ndarray]] = {feature: [] for feature in features}
    keypoints: list[np.ndarray] = []
    objects: list[np.ndarray] = []

    def describe(instance: Instance) -> dict[Feature, np.ndarray]:
        image, transform = view(instance, protocol)
        points = transform.to_crop(instance.keypoints[instance.visible])
        at = extractors.sample_at(image, points, features, network=network, cells=protocol.cells, exact=protocol.exact)
        return {feature: scaled(values.float().cpu().numpy(), protocol) for feature, values in at.items()}

    def keep(number: int, described: dict[Feature, np.ndarray]) -> None:
        keypoints.append(np.flatnonzero(instances[number].visible))
        objects.append(np.full(len(keypoints[-1]), number))
        for feature, values in described.items():
            found[feature].append(values)

    left_out = every_object(instances, describe, keep, progress=progress)
    all_keypoints = np.concatenate(keypoints)
    return Samples(
        {feature: np.concatenate(values) for feature, values in found.items()},
        classes[all_keypoints],
        all_keypoints,
        np.concatenate(objects),
        left_out,
    )


def scaled(
    descriptors: Float[np.ndarray, "*shape channels"], protocol: CropProtocol
) -> Float32[np.ndarray, "*shape channels"]:
    """Descriptors as the protocol has classifiers see them; zero ones stay so."""
    values = torch.from_numpy(descriptors.astype(np.float32, copy=False))
    return (F.normalize(values, dim=-1) if protocol.unit_length else values).numpy()


def folds(
    samples: Samples, photos: Sequence[str], n_folds: int, rng: np.random.Generator
) -> Int[np.ndarray, " samples"]:
    """A fold for every sample, the same for all of one photo; `photos` are the objects' photos by name."""
    of_photo = {name: fold for fold, name in enumerate(rng.permutation(np.unique(photos)))}
    return np.array([of_photo[photos[number]] % n_folds for number in samples.objects])


def usual_costs(protocol: CropProtocol) -> tuple[float, ...]:
    """The costs tried, for descriptors as the protocol scales them."""
    return COSTS if protocol.unit_length else RAW_COSTS


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """How often keypoints of photos that were not learnt from are named rightly: by cost, and of each at the best.

    `objects` are those that samples are of, by number.
    """

    cost: float
    curve: tuple[float, ...]
    right: Bool[np.ndarray, " samples"]
    objects: Int[np.ndarray, " samples"]


def cross_validated(
    samples: Samples,
    feature: Feature,
    photos: Sequence[str],
    *,
    costs: Sequence[float] = COSTS,
    n_folds: int = 5,
    device: torch.device | str | None = None,
) -> CrossValidation | None:
    """Cross validation at each of `costs`, the best being the least of several of highest accuracy.

    `photos` are the objects' photos by name; folds share none. Classes that only one fold has are left out of it; None
    where fewer than two are left, so that nothing can be validated.
    """
    of = folds(samples, photos, n_folds, np.random.default_rng(0))
    in_folds = {int(label): len(np.unique(of[samples.labels == label])) for label in np.unique(samples.labels)}
    usable = np.isin(samples.labels, [label for label, n in in_folds.items() if n > 1])
    if len(np.unique(samples.labels[usable])) < 2 or len(np.unique(of[usable])) < 2:
        return None
    labels = np.unique(samples.labels[usable], return_inverse=True)[1]
    there = np.unique(of[usable], return_inverse=True)[1]
    right = svm.cross_validate(samples.features[feature][usable], labels, there, costs=costs, device=device)
    curve = right.mean(axis=1).tolist()
    best = max(range(len(costs)), key=lambda n: (curve[n], -costs[n]))
    return CrossValidation(costs[best], tuple(curve), right[best], samples.objects[usable])


def best_cost(
    samples: Samples,
    feature: Feature,
    photos: Sequence[str],
    *,
    costs: Sequence[float] = COSTS,
    n_folds: int = 5,
    device: torch.device | str | None = None,
) -> tuple[float, list[float]]:
    """The cost that `cross_validated` finds best, and the accuracies of all; where it finds none, the middle cost and
    NaN.
    """
    found = cross_validated(samples, feature, photos, costs=costs, n_folds=n_folds, device=device)
    if found is None:
        return sorted(costs)[len(costs) // 2], [float("nan")] * len(costs)
    return found.cost, list(found.curve)


def train(
    samples: Samples,
    feature: Feature,
    names: tuple[str, ...],
    *,
    cost: float,
    protocol: CropProtocol = PROTOCOL,
    device: torch.device | str | None = None,
    progress: Callable[[float], None] | None = None,
) -> KeypointClassifier:
    """The classifier of one feature; classes that no sample has get none of their own, and are never named.

    Raises ValueError as `svm.fit` does.
    """
    there = np.unique(samples.labels)
    labels = np.searchsorted(there, samples.labels)
    linear = svm.fit(samples.features[feature], labels, cost=cost, device=device, progress=progress)
    return KeypointClassifier(feature, tuple(names[number] for number in there), protocol, linear)


def train_classifiers(
    instances: Sequence[Instance],
    features: Sequence[Feature],
    keypoint_names: Sequence[str],
    *,
    network: Extractor,
    protocol: CropProtocol = PROTOCOL,
    cost: float | Mapping[Feature, float] | None = None,
    progress: Progress | None = None,
) -> dict[Feature, KeypointClassifier]:
    """Classifiers of each feature, trained on all visible keypoints of the objects: `samples`, `best_cost` and `train`.

    `cost` is one for all or one per feature; by default it is the best in cross validation. Raises ValueError where no
    object can be described, and as `svm.fit` does.
    """
    found = samples(
        instances,
        features,
        keypoint_names,
        network=network,
        protocol=protocol,
        progress=concurrency.part(progress, 0.0, 0.8),
    )
    names, photos = class_names(keypoint_names, protocol), [one.photo.name for one in instances]
    classifiers: dict[Feature, KeypointClassifier] = {}
    for number, feature in enumerate(features):
        if progress is not None:
            progress(0.8 + 0.2 * number / len(features), f"training classifiers of {feature.title}")
        chosen = cost[feature] if isinstance(cost, Mapping) else cost
        if chosen is None:
            chosen, _ = best_cost(found, feature, photos, costs=usual_costs(protocol), device=network.device)
        classifiers[feature] = train(found, feature, names, cost=chosen, protocol=protocol, device=network.device)
    return classifiers
