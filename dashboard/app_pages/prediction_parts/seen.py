"""An object as it is shown: pictures around what detectors and prior say of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corrcore import images
from corrcore.crops import BoxXYXY, CropTransform
from corrcore.features import Feature
from corrcore.metrics import keypoint_errors
from corrcore.tasks import detection
from corrcore.tasks.detection import ObjectPrediction
from dashboard import figures
from dashboard.app_pages.prediction_parts.controls import Weights
from dashboard.app_pages.prediction_parts.training import Learnt

ALPHA = 0.1  # of each side of the box: what counts as right
MARGIN = 0.08  # of the box's longer side, shown around it
PICTURE_PX, MAP_PX = 260, 420  # longer sides
BEYOND = 170  # the grey of what lies beyond the photo


@dataclass(frozen=True, eq=False)
class Seen:
    """An object, what was predicted of it, and its pictures.

    `picture` is a square around the box, `inside` the box alone, both at the photo's proportions; `placed` and
    `inside_at` tell where they lie in the photo. `truth` are its keypoints, in the photo's pixels.
    """

    title: str
    truth: np.ndarray
    found: ObjectPrediction
    picture: np.ndarray
    placed: CropTransform
    inside: np.ndarray
    inside_at: CropTransform

    @property
    def box(self) -> BoxXYXY:
        """The object's box, in pixels of the photo."""
        return self.found.transform.edges

    @property
    def annotated(self) -> bool:
        """Whether any of its keypoints is known."""
        return bool(np.isfinite(self.truth).any())

    def right(self, points: np.ndarray) -> np.ndarray:
        """Which keypoints are; False where the object does not show one."""
        errors = keypoint_errors(points[None], self.truth[None], np.array([self.box]), stretched=True)[0]
        return np.nan_to_num(errors, nan=np.inf) <= ALPHA

    def pictures(self, weights: Weights) -> dict[Feature | None, np.ndarray]:
        """The object with its true keypoints, under None, where there are any, and with the predictions by each
        feature.
        """
        truth = self.placed.to_crop(self.truth)
        corners = self.placed.to_crop(np.array([self.box[:2], self.box[2:]]))
        framed = figures.draw_frame(self.picture, corners)
        x, y = ALPHA * np.diff(corners, axis=0)[0]
        found: dict[Feature | None, np.ndarray] = {}
        compared: dict[str, Any] = {}
        if self.annotated:
            found[None] = figures.draw_keypoints(framed, truth)
            compared = {"truth": truth, "radii_px": (float(x), float(y))}
        for feature, fusion in weights.fusions.items():
            points = self.placed.to_crop(self.found.keypoints(feature, fusion))
            found[feature] = figures.draw_keypoints(framed, points, **compared)
        return found


@dataclass(frozen=True, eq=False)
class Shown:
    """What a mode of the page shows: the object looked at, those beside it, and the lines of Python that name it."""

    seen: Seen
    sheet: Sequence[Seen]
    python: str


def see(title: str, photo: np.ndarray, box: BoxXYXY, truth: np.ndarray, learnt: Learnt, own: str | None = None) -> Seen:
    """`own` is the name of a photo whose objects are no neighbours."""
    found = detection.predict_object(photo, box, learnt.detectors, learnt.prior, network=learnt.network, own_photo=own)
    left, top, right, bottom = box
    x, y, half = (left + right) / 2, (top + bottom) / 2, (0.5 + MARGIN) * max(right - left, bottom - top)
    picture, placed = cut(photo, (x - half, y - half, x + half, y + half), PICTURE_PX)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    at = placed.to_image(np.stack([columns, rows], axis=-1).astype(float))
    outside = ((at < -0.5) | (at >= [photo.shape[1] - 0.5, photo.shape[0] - 0.5])).any(axis=-1, keepdims=True)
    picture = np.where(outside, np.uint8(BEYOND), picture)
    return Seen(title, truth, found, picture, placed, *cut(photo, box, MAP_PX))


def cut(photo: np.ndarray, edges: BoxXYXY, longer_px: int) -> tuple[np.ndarray, CropTransform]:
    """A part of a photo at its own proportions, its longer side so long."""
    sides = np.array([edges[2] - edges[0], edges[3] - edges[1]])
    width, height = np.maximum(np.rint(longer_px * sides / sides.max()).astype(int), 8).tolist()
    return images.crop_resized(photo, edges, width=width, height=height), CropTransform(edges, (width, height))
