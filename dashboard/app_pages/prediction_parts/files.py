"""What the Prediction page gives to take along: pictures, keypoints, scores and Python."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from corrcore import images
from dashboard import figures
from dashboard.app_pages.prediction_parts.controls import Weights
from dashboard.app_pages.prediction_parts.seen import Seen
from dashboard.app_pages.prediction_parts.training import Learnt
from dashboard.parts import exports, pickers

FRAME = (
    "Points are (x, y) in pixels of the upright photo, pixel centres at whole numbers; `box` has its left, top, "
    "right and bottom "
    "edge. *_scores[row, column, keypoint] is the score at *_cells_px[row, column]. prior_px[k, keypoint] is where "
    "the k-th "
    "train object most alike has the keypoint."
)


def sheet_file(sheet: Sequence[Seen], weights: Weights) -> bytes:
    """Figure 6 as one PNG."""
    drawn = [seen.pictures(weights) for seen in sheet]
    titles = ["annotated" if feature is None else weights.title(feature) for feature in drawn[0]]
    columns = [figures.Column(seen.title, list(each.values())) for seen, each in zip(sheet, drawn, strict=True)]
    return images.encode(figures.image_grid(columns, titles), format="PNG")


def points_file(sheet: Sequence[Seen], weights: Weights, names: tuple[str, ...]) -> bytes:
    """Predicted and true keypoints of the objects shown, in pixels of their photos, as CSV."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["object", "keypoint", "row", "eta", "sigma_px", "x_px", "y_px", "true_x_px", "true_y_px", "right"])
    for seen in sheet:
        for feature, fusion in weights.fusions.items():
            points = seen.found.keypoints(feature, fusion)
            for name, point, true, right in zip(names, points, seen.truth, seen.right(points), strict=True):
                numbers = ["" if np.isnan(value) else f"{value:.2f}" for value in (*point, *true)]
                said = "" if np.isnan(true).any() else int(right)
                counts = ["", ""] if fusion is None else [fusion.eta, fusion.sigma_px]
                table.writerow([seen.title, name, weights.row(feature).key, *counts, *numbers, said])
    return text.getvalue().encode()


def maps_file(seen: Seen, names: tuple[str, ...]) -> bytes:
    """Scores of every cell, where the cells lie in the photo, and the prior's places, as NPZ."""
    found = seen.found
    content = {"frame": np.array(FRAME), "box": np.array(seen.box), "keypoints": np.array(names)}
    content |= {"prior_px": found.transform.to_image(found.places), "truth_px": seen.truth}
    for feature, scores in found.scores.items():
        content |= {f"{feature.key}_scores": scores, f"{feature.key}_cells_px": found.cell_points(feature)}
    return exports.as_npz(content)


def python_lines(learnt: Learnt, target: str, weights: Weights) -> str:
    """The call that predicts; `target` are the lines that set the photo, the box and the photo's name in the
    data set.
    """
    where = pickers.python_dataset(learnt.source)
    fusions = [repr(fusion) for fusion in weights.fusions.values()]
    return f"""from corrcore import datasets, decoding, networks
from corrcore.experiments import Context, DetectorTraining, default_store
from corrcore.tasks import detection
from corrcore.tasks.detection import PriorFusion

data, network = datasets.open_dataset({where}), networks.open({learnt.network.name!r})
training = DetectorTraining({where}, {learnt.category!r}, network={learnt.network.name!r})
trained, prior = training.train(Context(store=default_store()))
{target}
found = detection.predict_object(photo, box, trained, prior, network=network, own_photo=own_photo)
for feature, fusion in zip(trained, [{", ".join(fusions)}]):
    print(feature, found.keypoints(feature, fusion))  # in pixels of the photo
"""
