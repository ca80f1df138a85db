"""What the Alignment page gives to take along: pictures, arrays, keypoints and Python."""

import csv
import io
from collections.abc import Mapping

import numpy as np

from corrcore import images
from corrcore.datasets.records import Instance
from corrcore.features import Extractor, Feature
from corrcore.tasks.alignment import AlignedPair, ObjectTransfer
from dashboard import figures
from dashboard.app_pages.alignment_parts.controls import Choice
from dashboard.parts import exports, pickers

FRAME = (
    "Points are (x, y) in pixels of the upright photos, pixel centres at whole numbers; arrays are [row, column] "
    "of cells. *_target_px[row, column] is where the source's *_source_px[row, column] lies in the target. "
    "*_displacement_cells are (dx, dy) in cells. *_similarity is of the target's cells, at *_similarity_px, to "
    "`point_px` of the source."
)


def pair_arrays(pair: AlignedPair, feature: Feature, name: str) -> dict[str, np.ndarray]:
    """The displacement of one pair by one feature, under names that begin with `name`."""
    found, points = pair.alignments[feature], pair.source_points(feature)
    return {
        f"{name}_displacement_cells": found.displacement,
        f"{name}_source_px": points,
        f"{name}_target_px": pair.to_target(feature, points),
        f"{name}_energy_and_bound": found.solution.history,
        f"{name}_energy": np.array(found.solution.energy),
    }


def point_arrays(pair: AlignedPair, point: np.ndarray) -> dict[str, np.ndarray]:
    """Where a point of the source lands by each feature, and how like it the target's cells are."""
    content = {"point_px": point}
    for feature in pair.alignments:
        content |= {
            f"{feature.key}_lands_px": pair.to_target(feature, point),
            f"{feature.key}_similarity": pair.similarity(feature, point),
            f"{feature.key}_similarity_px": pair.target_points(feature),
        }
    return content


def pair_file(pair: AlignedPair, names: tuple[str, str], point: np.ndarray) -> bytes:
    """Two photos' alignment as NPZ."""
    content = {"source": np.array(names[0]), "target": np.array(names[1])}
    for feature in pair.alignments:
        content |= pair_arrays(pair, feature, feature.key)
    return exports.as_npz({"frame": FRAME} | content | point_arrays(pair, point))


def neighbours_file(
    found: ObjectTransfer, n: int, pair: AlignedPair, names: tuple[str, str], point: np.ndarray
) -> bytes:
    """The alignments of the first `n` neighbours of each feature, and the point of the chosen pair, as NPZ."""
    content = {"source_of_point": np.array(names[0]), "target": np.array(names[1])}
    for feature, transfer in found.transfers.items():
        for neighbour in transfer.neighbours[:n]:
            one = AlignedPair(neighbour.crop, found.target, {feature: neighbour.alignment})
            content |= pair_arrays(one, feature, f"{feature.key}_{neighbour.instance.name}")
    return exports.as_npz({"frame": FRAME} | content | point_arrays(pair, point))


def keypoints_file(found: ObjectTransfer, instance: Instance, names: tuple[str, ...]) -> bytes:
    """Predicted and true keypoints, in pixels of the photo, as CSV."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["object", "photo", "keypoint", "row", "x_px", "y_px", "true_x_px", "true_y_px"])
    for feature, transfer in found.transfers.items():
        for name, point, true in zip(names, transfer.keypoints, instance.keypoints, strict=True):
            numbers = ["" if np.isnan(value) else f"{value:.2f}" for value in (*point, *true)]
            table.writerow([instance.name, instance.photo.name, name, feature.key, *numbers])
    return text.getvalue().encode()


def photos_sheet(pair: AlignedPair, warped: Mapping[Feature, np.ndarray]) -> bytes:
    """Source, target, and the source warped by each feature, as one PNG."""
    columns = [figures.Column("source", [pair.source.image]), figures.Column("target", [pair.target.image])]
    columns += [figures.Column(f"warped by {feature.title}", [picture]) for feature, picture in warped.items()]
    return images.encode(figures.image_grid(columns, [""]), format="PNG")


def python_of_object(source: str, category: str, instance: Instance, network: Extractor, choice: Choice) -> str:
    """The call that makes the figure."""
    return f"""from corrcore import datasets, extractors, networks
from corrcore.tasks import alignment

data, network = datasets.open_dataset({pickers.python_dataset(source)}), networks.open({network.name!r})
features = extractors.parse({[str(each) for each in choice.each]}, network)
target = next(one for one in data.visible_instances({category!r}, "val") if one.name == {instance.name!r})

def describe(one):
    return alignment.describe_object(one, features, network=network).halved()

pool = alignment.NeighbourPool.of(data.visible_instances({category!r}, "train"), describe)
options = alignment.TransferOptions(method={choice.options.method!r}, iterations={choice.options.iterations})
smoothness = dict.fromkeys(features, {choice.smoothness})
found = alignment.transfer_to_object(target, describe(target), pool, smoothness, options=options)
for feature, transfer in found.transfers.items():
    print(feature, transfer.keypoints - target.keypoints)  # in pixels of the photo
"""


def python_of_photos(names: tuple[str, str], network: Extractor, choice: Choice, point: np.ndarray) -> str:
    """The call that aligns two photos by all features."""
    return f"""import numpy as np

from corrcore import decoding, extractors, networks
from corrcore.tasks import alignment

network = networks.open({network.name!r})
features = extractors.parse({[str(each) for each in choice.each]}, network)
source, target = (decoding.decode(name) for name in ({names[0]!r}, {names[1]!r}))
options = alignment.TransferOptions(method={choice.options.method!r}, iterations={choice.options.iterations})
pair = alignment.align_photos(source, target, features, network=network, smoothness={choice.smoothness}, options=options)
for feature, found in pair.alignments.items():
    picture, visible = alignment.warp(pair.source, pair.target, found)
    print(feature, pair.to_target(feature, np.array({[round(each, 2) for each in point.tolist()]})))  # in pixels of the photos
"""
