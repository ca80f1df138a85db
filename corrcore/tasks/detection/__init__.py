"""Where each keypoint of a boxed object is: a detector per keypoint, and a prior from similar training objects.

Long, Zhang and Darrell (2014), Section 6.
"""

from corrcore.tasks.detection.detectors import LEAST_OBJECTS, VERSION, Detectors, MiningRound
from corrcore.tasks.detection.files import load_detectors, load_prior, save_detectors, save_prior
from corrcore.tasks.detection.fusion import FusionSearch, held_out_scores, pck_percent, select_fusion
from corrcore.tasks.detection.mining import HardNegativeMiner
from corrcore.tasks.detection.predict import PRIORS, KeypointMap, ObjectPrediction, TrainedDetectors, predict_object
from corrcore.tasks.detection.prior import (
    SIGMA_PX,
    Prior,
    PriorFusion,
    argmax_points,
    combined,
    log_detector,
    log_prior,
    median_places,
    predict,
)
from corrcore.tasks.detection.spec import SIDE_PX, DetectorSpec, ObjectFeatures, crop_box, describe, targets
from corrcore.tasks.detection.training_set import TrainingSet, describe_training_set

__all__ = [
    "LEAST_OBJECTS",
    "PRIORS",
    "SIDE_PX",
    "SIGMA_PX",
    "VERSION",
    "DetectorSpec",
    "Detectors",
    "FusionSearch",
    "HardNegativeMiner",
    "KeypointMap",
    "MiningRound",
    "ObjectFeatures",
    "ObjectPrediction",
    "Prior",
    "PriorFusion",
    "TrainedDetectors",
    "TrainingSet",
    "argmax_points",
    "combined",
    "crop_box",
    "describe",
    "describe_training_set",
    "held_out_scores",
    "load_detectors",
    "load_prior",
    "log_detector",
    "log_prior",
    "median_places",
    "pck_percent",
    "predict",
    "predict_object",
    "save_detectors",
    "save_prior",
    "select_fusion",
    "targets",
]
