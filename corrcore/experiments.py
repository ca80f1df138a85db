"""A task over many photos or seeds: the figures of a table, with everything needed to get them again.

Every experiment writes one JSON file: its settings, one record a photo or seed, and the summary. Records are kept as
they come, so that an experiment that was stopped goes on where it was; a file with other settings is never mixed.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corrcore import averaging, images, reconstruction
from corrcore.backbones import Backbone
from corrcore.index import LONGER_SIDE_PX, PatchIndex, Photo, Progress
from corrcore.metrics import bootstrap_interval

WITHIN_PX = (4, 8, 16)


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
        "version": reconstruction.VERSION,
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
            rng = np.random.default_rng([seed, *photo.name.encode()])
            found = reconstruction.localise(image, retrieval, index, rng=rng, max_cells=max_cells)
            rebuilt = reconstruction.rebuild(retrieval, index, k=1)
            close = reconstruction.fidelity(image, rebuilt, retrieval.cells.covered)
            record[layer] = {"matches": len(found.offsets), "score": found.score}
            for distance in WITHIN_PX:
                shares = found.share_within(distance)
                record[layer][f"within_{distance}_px"], record[layer][f"chance_within_{distance}_px"] = shares
            record[layer] |= {"psnr_db": close.psnr_db, "ssim": close.ssim}
        return record

    return _run({photo.name: photo for photo in photos}, measure, settings, np.mean, out, progress)


def effective_radius(
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
        "experiment": "effective_radius",
        "version": averaging.VERSION,
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
                "effective_radius_px": profile.effective_radius_px,
                "agreement_at_centre": float(profile.agreement[0]),
                "agreement_at_rim": float(profile.agreement[-1]),
            }
        return record

    return _run({str(number): number for number in range(n_seeds)}, measure, settings, np.median, out, progress)


def is_complete(path: str | os.PathLike) -> bool:
    """Whether an experiment's file is there with its summary, not only with a part of its records."""
    try:
        return "summary" in json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return False


def _run(
    samples: dict[str, Any],
    measure: Callable[[Any], dict[str, Any]],
    settings: dict[str, Any],
    statistic: Callable[..., np.ndarray],
    out: str | os.PathLike | None,
    progress: Progress | None,
) -> dict[str, Any]:
    """Measures every sample that `out` does not have yet, and sums up those asked for."""
    if not samples:
        msg = "there is nothing to measure; give at least one photo or seed."
        raise ValueError(msg)
    path = None if out is None else Path(out)
    records: dict[str, Any] = {}
    if path is not None and path.exists():
        kept = json.loads(path.read_text())
        if kept["settings"] != settings:
            msg = f"{path} holds an experiment with other settings; give another file with --out or delete it."
            raise ValueError(msg)
        records = kept["records"]
    for done, (name, sample) in enumerate(samples.items()):
        stamp = str(getattr(sample, "stamp", ""))
        if records.get(name, {}).get("stamp") != stamp:
            try:
                measured = measure(sample)
            except (images.ImageError, ValueError, OSError) as error:
                records[name] = {"stamp": stamp, "skipped": str(error)}
            else:
                records[name] = {"stamp": stamp, "layers": _plain(measured)}
            if path is not None:
                _write(path, {"settings": settings, "records": records})
        if progress is not None:
            progress((done + 1) / len(samples), f"{done + 1} of {len(samples)}: {name}")
    measured = [records[name]["layers"] for name in samples if "layers" in records[name]]
    if not measured:
        reason = records[next(iter(samples))]["skipped"]
        msg = f"none of {len(samples)} samples could be measured; the first: {reason}"
        raise ValueError(msg)
    result = {"settings": settings, "summary": _summary(measured, statistic), "records": records}
    if path is not None:
        _write(path, result)
    return result


def _summary(records: list[dict[str, Any]], statistic: Callable[..., np.ndarray]) -> dict[str, Any]:
    """A layer's statistics over the samples that have the number, with their bootstrap intervals."""
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


def _plain(value: Any) -> Any:
    """Numbers as JSON has them: NaN as null, infinities in words."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value


def _number(value: float | str | None) -> float:
    return float("nan") if value is None else float(value)


def _write(path: Path, result: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.writing")
    temporary.write_text(json.dumps(result, indent=1, allow_nan=False))
    temporary.replace(path)
