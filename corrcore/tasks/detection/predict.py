"""Where one boxed object has its keypoints, by detectors, a prior and their product."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from corrcore.crops import BoxXYXY, CropTransform
from corrcore.features import Extractor, Feature, Image
from corrcore.geometry import CellGrid
from corrcore.tasks.detection.detectors import Detectors
from corrcore.tasks.detection.prior import (
    Prior,
    PriorFusion,
    argmax_points,
    combined,
    log_prior,
    median_places,
    predict,
)
from corrcore.tasks.detection.spec import crop_box, describe

PRIORS = 5  # training objects whose places make the wider prior


@dataclass(frozen=True, eq=False)
class TrainedDetectors:
    """Detectors of one feature, and how the prior counts beside them: by the number of objects it comes from.

    `about` has how they were chosen, and the time that took.
    """

    detectors: Detectors
    fusions: Mapping[int, PriorFusion]
    about: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class KeypointMap:
    """What is said of a keypoint in every cell, and the point of the photo where it is highest.

    `values` are NaN without a detector; `highest` is None there, and for what is the same everywhere.
    """

    values: Float[np.ndarray, "rows columns"]
    highest: Float[np.ndarray, "2"] | None


@dataclass(frozen=True, eq=False)
class ObjectPrediction:
    """A boxed object as detectors and prior see it: stretched to a square, `transform` tells from where.

    `scores` are every cell's by feature, NaN for keypoints without a detector. `neighbours` are the training objects
    most alike that show a keypoint, by their numbers in the prior, and `places` where they have it, in stretched
    pixels.
    """

    image: Image
    transform: CropTransform
    scores: Mapping[Feature, Float32[np.ndarray, "_rows _columns keypoints"]]
    cells: Mapping[Feature, CellGrid]
    neighbours: Int[np.ndarray, "k keypoints"]
    places: Float[np.ndarray, "k keypoints 2"]

    def stretched_keypoints(self, feature: Feature, fusion: PriorFusion | None) -> Float[np.ndarray, "keypoints 2"]:
        """Predicted keypoints in pixels of the stretched object; without a fusion by the detectors alone."""
        centres = self.cells[feature].centres()
        if fusion is None:
            return argmax_points(combined(self.scores[feature]), centres)
        return predict(self.scores[feature], centres, self.places, fusion)

    def keypoints(self, feature: Feature, fusion: PriorFusion | None = None) -> Float[np.ndarray, "keypoints 2"]:
        """Predicted keypoints in pixels of the photo; without a fusion by the detectors alone."""
        return self.transform.to_image(self.stretched_keypoints(feature, fusion))

    def cell_points(self, feature: Feature) -> Float[np.ndarray, "rows columns 2"]:
        """The centres of a feature's cells in pixels of the photo."""
        return self.transform.to_image(self.cells[feature].centres())

    def maps(
        self, feature: Feature, keypoint: int, fusion: PriorFusion | None = None
    ) -> tuple[KeypointMap, KeypointMap, KeypointMap]:
        """A keypoint's detector, its prior, and their product as a share of its highest value, by the
        keypoint's number.

        Without a fusion the product is the detector's alone.
        """
        centres, own = self.cells[feature].centres(), self.scores[feature][..., keypoint : keypoint + 1]
        shown = fusion or PriorFusion()
        places = self.places[: shown.neighbours, keypoint : keypoint + 1]
        prior = log_prior(centres, places, sigma_px=shown.sigma_px)
        product = combined(own) if fusion is None else combined(own, prior, eta=fusion.eta)

        def of(values: np.ndarray, shown: np.ndarray) -> KeypointMap:
            at = argmax_points(values, centres)[0]
            return KeypointMap(shown[..., 0], None if np.isnan(at).any() else self.transform.to_image(at))

        return of(own, own), of(prior, np.exp(prior)), of(product, np.exp(product - product.max()))

    def prior_keypoints(self, k: int = 1) -> Float[np.ndarray, "keypoints 2"]:
        """Keypoints by the prior alone, in pixels of the photo: the median of `k` objects' places."""
        return self.transform.to_image(self.places[0] if k == 1 else median_places(self.places[:k]))


def predict_object(
    photo: Image,
    box: BoxXYXY,
    trained: Mapping[Feature, TrainedDetectors],
    prior: Prior,
    *,
    network: Extractor,
    own_photo: str | None = None,
) -> ObjectPrediction:
    """Describes the object in a box and scores every place in it by each feature's detectors.

    Objects in the photo named `own_photo` are no neighbours. Raises ValueError for a box without area.
    """
    image, transform = crop_box(photo, box)
    features = describe(image, list(trained), network=network)
    neighbours = prior.nearest(features.summary, k=PRIORS, photo=own_photo)
    return ObjectPrediction(
        image,
        transform,
        {feature: each.detectors.scores(features.grids[feature].descriptors) for feature, each in trained.items()},
        {feature: features.grids[feature].cells for feature in trained},
        neighbours,
        prior.places(neighbours),
    )
