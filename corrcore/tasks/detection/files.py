"""The files that detectors and priors are kept in: safetensors with a manifest."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from corrcore.engines.svm import LinearClassifier
from corrcore.features import Feature
from corrcore.store.arrays import load_arrays, save_arrays
from corrcore.tasks.detection.detectors import VERSION, Detectors, MiningRound
from corrcore.tasks.detection.prior import Prior
from corrcore.tasks.detection.spec import DetectorSpec

OF_LINEAR = ("weights", "bias", "objective", "gap")


def linear_from(arrays: Mapping[str, np.ndarray], cost: float, suffix: str = "") -> LinearClassifier:
    """The classifier whose arrays are named with a suffix."""
    weights, bias, objective, gap = (arrays[name + suffix] for name in OF_LINEAR)
    return LinearClassifier(weights, bias, cost, objective, gap)


def spec_from(plain: Mapping[str, Any]) -> DetectorSpec:
    """A spec from what `asdict` made of it."""
    return DetectorSpec(**{**plain, "feature": Feature(**plain["feature"])})


def save_detectors(path: str | os.PathLike, detectors: Detectors, about: Mapping[str, Any]) -> None:
    """Writes detectors to one safetensors file; a manifest in its header has what there is to say `about` them."""
    manifest = {
        "version": VERSION,
        "spec": asdict(detectors.spec),
        "names": detectors.names,
        "trained": detectors.trained,
        "cost": detectors.linear.cost,
        "rounds": [[asdict(one) for one in group] for group in detectors.rounds],
        "about": dict(about),
    }
    save_arrays(Path(path), {name: getattr(detectors.linear, name) for name in OF_LINEAR}, manifest)


def load_detectors(path: str | os.PathLike) -> tuple[Detectors, dict[str, Any]]:
    """Detectors that `save_detectors` wrote, and what it was told about them.

    Raises FileNotFoundError where there is no such file, and ValueError for one that holds no detectors of this
    version.
    """
    try:
        arrays, manifest = load_arrays(Path(path))
        if manifest["version"] != VERSION:
            msg = f"{path} holds detectors of version {manifest['version']}, not {VERSION}; train them again."
            raise ValueError(msg)
        detectors = Detectors(
            spec_from(manifest["spec"]),
            tuple(manifest["names"]),
            tuple(manifest["trained"]),
            linear_from(arrays, manifest["cost"]),
            tuple(tuple(MiningRound(**one) for one in group) for group in manifest["rounds"]),
        )
        about = manifest["about"]
    except (KeyError, TypeError) as error:
        msg = f"{path} holds no detectors that can be read; delete it and train them again."
        raise ValueError(msg) from error
    return detectors, about


def save_prior(path: str | os.PathLike, prior: Prior, about: Mapping[str, Any]) -> None:
    """Writes a prior as `save_detectors` writes detectors; descriptions in half precision, 0.1 MB per object."""
    arrays = {"summaries": prior.summaries.astype(np.float16), "keypoints": prior.keypoints}
    manifest = {"version": VERSION, "objects": prior.objects, "photos": prior.photos, "about": dict(about)}
    save_arrays(Path(path), arrays, manifest)


def load_prior(path: str | os.PathLike) -> tuple[Prior, dict[str, Any]]:
    """A prior that `save_prior` wrote, and what it was told about it. Raises as `load_detectors` does."""
    try:
        arrays, manifest = load_arrays(Path(path))
        if manifest["version"] != VERSION:
            msg = f"{path} holds a prior of version {manifest['version']}, not {VERSION}; delete it."
            raise ValueError(msg)
        summaries = arrays["summaries"].astype(np.float32)
        prior = Prior(summaries, arrays["keypoints"], tuple(manifest["objects"]), tuple(manifest["photos"]))
        about = manifest["about"]
    except (KeyError, TypeError) as error:
        msg = f"{path} holds no prior that can be read; delete it."
        raise ValueError(msg) from error
    return prior, about
