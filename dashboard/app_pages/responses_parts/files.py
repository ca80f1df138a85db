"""What the Responses page gives to take along: arrays that say where they lie on the photo, a figure, and Python."""

import io
import json

import numpy as np
import PIL.Image
import PIL.TiffImagePlugin

from corrcore import images
from corrcore.experiments import Responses
from dashboard import figures
from dashboard.app_pages.responses_parts.controls import Asked
from dashboard.app_pages.responses_parts.maps import Scores
from dashboard.app_pages.responses_parts.target import Seen
from dashboard.parts import exports, pickers
from dashboard.titles import keypoint_title

IMAGE_DESCRIPTION = 270  # TIFF's tag


def scores_npz(asked: Asked, seen: Seen, scores: Scores) -> bytes:
    """Scores by feature, row and column, NaN where there are none, and what lays them on the photo.

    `photo_edges_xyxy` are the outer edges of the scores' picture, in pixels of the photo: its pixel (0, 0) alone is
    (-0.5, -0.5, 0.5, 0.5). `highest_xy` and `keypoint_xy` are in pixels of the photo, too.
    """
    return exports.as_npz(
        {
            "scores": np.stack([*scores.own.values()]),
            "features": [feature.key for feature in scores.own],
            "network": asked.network.name,
            "keypoint": asked.keypoint,
            "photo": seen.title if seen.instance is None else seen.instance.photo.name,
            "photo_edges_xyxy": np.array(seen.transform.edges, float),
            "highest_xy": seen.transform.to_image(np.array([_highest(one) for one in scores.own.values()], float)),
            "keypoint_xy": seen.transform.to_image(seen.truth[asked.number]),
        }
    )


def scores_tiff(asked: Asked, seen: Seen, scores: Scores) -> bytes:
    """A page per feature; its description says in JSON what it is of, and where it lies on the photo as in the
    arrays.
    """
    edges, pages = [float(edge) for edge in seen.transform.edges], []
    for feature, values in scores.own.items():
        about = {
            "network": asked.network.name,
            "feature": feature.key,
            "keypoint": asked.keypoint,
            "photo_edges_xyxy": edges,
        }
        tags = PIL.TiffImagePlugin.ImageFileDirectory_v2()
        tags[IMAGE_DESCRIPTION] = json.dumps(about)
        page = PIL.Image.fromarray(values)
        page.encoderinfo = {"tiffinfo": tags}
        pages.append(page)
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:], **pages[0].encoderinfo)
    return file.getvalue()


def _highest(values: np.ndarray) -> tuple[int, int]:
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    return int(column), int(row)


def figure_png(asked: Asked, seen: Seen, scores: Scores) -> bytes:
    """The picture and the maps beside it."""
    columns = [figures.Column(seen.title, [seen.image])] + [
        figures.Column(
            f"{feature.title}, {-scores.limits[feature]:.2g} to {scores.limits[feature]:.2g}",
            [figures.score_overlay(seen.image, values, limit=scores.limits[feature], opacity=asked.opacity)],
        )
        for feature, values in scores.own.items()
    ]
    title = f"{keypoint_title(asked.keypoint)}, {asked.network.name}"
    return images.encode(figures.image_grid(columns, [title]), format="PNG")


def python_of_maps(asked: Asked, seen: Seen) -> str:
    """Trains the classifiers and makes the maps."""
    where, category, features = (
        pickers.python_dataset(asked.source),
        asked.category,
        [each.key for each in asked.features],
    )
    if seen.instance is None:
        longer = max(seen.image.shape[:2])
        target = f"""photo = decoding.decode({seen.title!r})
box = (-0.5, -0.5, photo.shape[1] - 0.5, photo.shape[0] - 0.5)
image, transform = classification.frame(photo, box, classification.CropProtocol(longer_side_px={longer}, margin=0))"""
    else:
        target = f"""target = next(one for one in data.visible_instances({category!r}, "val") if one.name == {seen.instance.name!r})
image, transform = classification.view(target, protocol)"""
    return f"""import numpy as np
from corrcore import datasets, {"decoding, " if seen.instance is None else ""}extractors, networks
from corrcore.experiments import PROTOCOLS
from corrcore.tasks import classification, responses

data, network, protocol = datasets.open_dataset({where}), networks.open({asked.network.name!r}), PROTOCOLS[{asked.protocol_name!r}]
train, names = data.visible_instances({category!r}, "train"), data.keypoint_names[{category!r}]
features = extractors.parse({features!r}, network)
classifiers = classification.train_classifiers(train, features, names, network=network, protocol=protocol)
{target}
for feature, classifier in classifiers.items():
    found = responses.response_map(image, classifier, network=network)
    x, y = transform.to_image(np.array(found.highest(classifier.names.index({asked.keypoint!r})), float))
    print(f"{{feature.title}} is highest at ({{x:.1f}}, {{y:.1f}}) px of the photo")
"""


def python_of_histogram(asked: Asked, experiment: Responses) -> str:
    """Runs the experiment."""
    features = tuple(each.key for each in experiment.feature_list)
    return f"""from corrcore.experiments import Responses, run

experiment = Responses(
    {pickers.python_dataset(asked.source)}, {experiment.category!r}, network={experiment.network!r}, features={features!r},
    keypoints={experiment.keypoints!r}, protocol={experiment.protocol!r}, side={experiment.side},
)
result = run(experiment)
for feature, found in result.summary.items():
    print(feature.title, found[{asked.keypoint!r}].median_px, "px")
"""
