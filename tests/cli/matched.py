"""Two photos of one scene with points, what the task finds of them, and files of keypoints."""

import json

import numpy as np
import pytest

from corrcore import images
from corrcore.features import Feature
from corrcore.tasks import matching
from corrcore.tasks.matching import MatchOptions
from tests.conftest import smooth_noise

CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")
POINTS = {"nose": (120.0, 100.0), "left eye": (200.5, 90.25), "tail": (150.0, 140.0)}
QUICK = ("--longer-side", 160)  # a few cells


def window(left, top):
    return smooth_noise(520, 460, seed=3)[top : top + 256, left : left + 320]


def save(path, pixels):
    path.write_bytes(images.encode(pixels, format="PNG"))
    return path


def coco(photo, points):
    """A file of keypoints of a photo; those at None are hidden."""
    flat = [value for place in points.values() for value in ((*place, 2) if place else (0, 0, 0))]
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "another.png"}, {"id": 2, "file_name": photo}],
            "annotations": [{"id": 1, "image_id": 2, "category_id": 1, "keypoints": flat}],
            "categories": [{"id": 1, "name": "it", "keypoints": list(points)}],
        }
    )


def expected(alexnet, points, features=(CONV4, SIFT20), **options):
    """What the task finds of that pair."""
    how = MatchOptions(longer_side=160, **options)
    described = [
        matching.describe(photo, features, network=alexnet, options=how) for photo in (window(96, 96), window(128, 80))
    ]
    at = np.array(points, float)
    return {
        feature: matching.match_points(described[0][feature], described[1][feature], at, options=how)
        for feature in features
    }


def check_records(records, found, names):
    """Lines of JSON have every number of the task."""
    assert [(each["point"], each["feature"]) for each in records] == [
        (name, str(feature)) for name in names for feature in found
    ]
    for number, record in enumerate(records):
        matches, point = found[list(found)[number % len(found)]], number // len(found)
        assert record["place"] == pytest.approx(matches.places[point], abs=5e-4)
        assert record["runner_up"] == pytest.approx(matches.runners_up[point], abs=5e-4)
        assert record["similarity"] == pytest.approx(matches.similarities[point], abs=5e-7)
        assert record["runner_up_similarity"] == pytest.approx(matches.runner_up_similarities[point], abs=5e-7)
        assert record["margin"] == pytest.approx(matches.margins[point], abs=5e-7)
        assert record["cycle_error"] == pytest.approx(matches.cycle_errors[point], abs=5e-4)
        assert record["mutual"] is bool(matches.mutual[point])
