"""Linear support vector machines, all classes at once."""

from corrcore.engines.svm.samples import Rows, Samples
from corrcore.engines.svm.train import (
    VERSION,
    LinearClassifier,
    cross_validate,
    fit,
    fit_targets,
    one_against_all,
)

__all__ = ["VERSION", "LinearClassifier", "Rows", "Samples", "cross_validate", "fit", "fit_targets", "one_against_all"]
