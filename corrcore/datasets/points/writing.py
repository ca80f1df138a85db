"""Points of photos as COCO's keypoints, to be written."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from corrcore.datasets.points.named import DIGITS, NamedPoints, rounded


@dataclass(frozen=True, eq=False)
class AnnotatedPhoto:
    """A photo's name and its ``(width, height)`` in px, with points by the name of the feature that found them.

    `confidences` are by feature the probabilities that its points are right, NaN where one is not known.
    """

    name: str
    size: tuple[int, int]
    points: Mapping[str, NamedPoints]
    confidences: Mapping[str, Float[np.ndarray, " points"]] = field(default_factory=dict)


def to_coco(photos: Sequence[AnnotatedPhoto], *, category: str = "", at_least: float | None = None) -> str:
    """COCO's keypoints as JSON: an image per photo, an annotation per feature, which its ``feature`` names.

    Points have v = 2; with `at_least` those of a lower confidence, or of none, are hidden (v = 0, at 0, 0), and an
    annotation without any other is left out. Where confidences are known, an annotation's ``confidences`` has each
    point's, null where it is not, and its ``score`` is the mean of those that are not hidden. A box is the smallest
    that holds the points' pixels. Photos whose points are named alike share a category: it is called `category` where
    that is given, else by its number.
    """
    categories: dict[tuple[str, ...], int] = {}
    images, annotations = [], []
    for number, photo in enumerate(photos, start=1):
        width, height = photo.size
        images.append({"id": number, "file_name": photo.name, "width": width, "height": height})
        for feature, points in photo.points.items():
            confidences = photo.confidences.get(feature, np.full(len(points), np.nan))
            seen = np.ones(len(points), bool) if at_least is None else confidences >= at_least
            of = categories.setdefault(points.names, len(categories) + 1)
            if at_least is not None and not seen.any():
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": of,
                    "feature": feature,
                    **_keypoints(points, seen),
                    **_scores(confidences, seen),
                    "iscrowd": 0,
                }
            )
    named = [
        {"id": number, "name": category or f"points {number}", "keypoints": list(names), "skeleton": []}
        for names, number in categories.items()
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": named}) + "\n"


def _keypoints(points: NamedPoints, seen: Bool[np.ndarray, " points"]) -> dict[str, Any]:
    """What an annotation says of its points; those that are not `seen` are hidden."""
    places = np.array([rounded(place) for place in points.places]).reshape(-1, 2)
    box = places[seen]
    sides = np.ptp(box, axis=0) + 1  # a point's pixel is 1 px wide
    triples = [(x, y, 2) if shown else (0, 0, 0) for (x, y), shown in zip(places.tolist(), seen, strict=True)]
    return {
        "keypoints": [value for triple in triples for value in triple],
        "num_keypoints": int(seen.sum()),
        "bbox": [*rounded(box.min(axis=0)), *rounded(sides)],
        "area": round(float(np.prod(sides)), DIGITS),
    }


def _scores(confidences: Float[np.ndarray, " points"], seen: Bool[np.ndarray, " points"]) -> dict[str, Any]:
    """What an annotation says of its points' confidences: nothing where none is known."""
    known = ~np.isnan(confidences)
    if not (known & seen).any():
        return {}
    each = [None if math.isnan(value) else round(float(value), DIGITS) for value in confidences]
    return {"confidences": each, "score": round(float(confidences[known & seen].mean()), DIGITS)}
