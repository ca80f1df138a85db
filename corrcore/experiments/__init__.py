"""Tasks over many photos: experiments as frozen dataclasses, run, kept and read again.

    run(Transfer("VOC2011", "cat", network="vgg16"), store=ResultStore())

Each follows from its dataclass: settings, the name of its file, its command, its panel and its table.
`registry` has all of them.
"""

from corrcore.experiments.base import Experiment, ObjectExperiment, Result, dataset_folder, to_jsonable
from corrcore.experiments.classification import PROTOCOLS, Classification, ClassificationSummary, FeatureAccuracy
from corrcore.experiments.classifiers import ClassifierTraining, TrainedOn
from corrcore.experiments.confidence import Confidence, ConfidenceTraining, Judged, JudgedFeature, MatchRecord
from corrcore.experiments.context import Context, default_store
from corrcore.experiments.detectors import DetectorTraining
from corrcore.experiments.executors import Executor, RayActors, Threads
from corrcore.experiments.over_index import AgreementRadius, Localisation
from corrcore.experiments.pairs import PairRecord, Pairs
from corrcore.experiments.prediction import Prediction
from corrcore.experiments.registry import find, kinds, register, unregister
from corrcore.experiments.responses import KeypointResponse, Responses
from corrcore.experiments.results import OlderResultError, ResultStore, Stored
from corrcore.experiments.run import run
from corrcore.experiments.sweep import LayerRecord, Sweep, best_layers
from corrcore.experiments.tables import ALPHAS, UNALIGNED, KeypointRecord, KeypointTable, Row
from corrcore.experiments.transfer import SmoothnessSearch, Transfer, best_smoothness

__all__ = [
    "ALPHAS",
    "PROTOCOLS",
    "UNALIGNED",
    "AgreementRadius",
    "Classification",
    "ClassificationSummary",
    "ClassifierTraining",
    "Confidence",
    "ConfidenceTraining",
    "Context",
    "DetectorTraining",
    "Executor",
    "Experiment",
    "FeatureAccuracy",
    "Judged",
    "JudgedFeature",
    "KeypointRecord",
    "KeypointResponse",
    "KeypointTable",
    "LayerRecord",
    "Localisation",
    "MatchRecord",
    "ObjectExperiment",
    "OlderResultError",
    "PairRecord",
    "Pairs",
    "Prediction",
    "RayActors",
    "Responses",
    "Result",
    "ResultStore",
    "Row",
    "SmoothnessSearch",
    "Stored",
    "Sweep",
    "Threads",
    "TrainedOn",
    "Transfer",
    "best_layers",
    "best_smoothness",
    "dataset_folder",
    "default_store",
    "find",
    "kinds",
    "register",
    "run",
    "to_jsonable",
    "unregister",
]
