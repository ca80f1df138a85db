"""How predictions come about, in words."""

from corrcore import extractors
from corrcore.experiments.detectors import most_objects
from corrcore.tasks.detection import LEAST_OBJECTS, SIDE_PX, DetectorSpec, TrainedDetectors
from dashboard.app_pages.prediction_parts.controls import Weights
from dashboard.app_pages.prediction_parts.training import Learnt
from dashboard.parts import pickers

FORMULA = r"""
$$ f = s^{1-\eta}\, p^{\eta}, \qquad s = \frac{1}{1 + e^{-\text{score}}}, \quad p = e^{-\|x - x_0\|^2 / 2\sigma^2} $$
"""


def look_for(drawn: bool) -> str:
    """What to look for, which drawings show otherwise than photos."""
    seen = (
        "In drawings both find most of them, for another animal stands in nearly the same pose. Without it (*Prior "
        "from*: none) the network's detectors still find most, and SIFT's do not."
        if drawn
        else "The network's detectors find them where SIFT's cannot, and the prior helps both."
    )
    return (
        "Given an object's box, a detector of every keypoint scores every place in it, and the train objects "
        f"most like it say where to expect it. **Look for** eyes, noses and feet that land in place. {seen}"
    )


def text(learnt: Learnt) -> str:
    """The way from box to prediction."""
    own = DetectorSpec.of(learnt.own, network=learnt.network)
    field = extractors.receptive_field(learnt.own, network=learnt.network)
    side = field.window_px + 2 * own.reach * field.stride
    return (
        f"The box is stretched to {SIDE_PX} x {SIDE_PX} px. A linear support vector machine per keypoint scores "
        "every square of "
        f"{own.cells} x {own.cells} cells of {learnt.own.title}, which together see {side} x {side} px, or every "
        "dense SIFT "
        "descriptor with bins of 8 px, 8 px apart. It learns from the train objects' boxes: positive are the ten "
        "cells nearest to "
        "the keypoint (of SIFT those within 16 px), negative all whose receptive field does not hold it (of SIFT "
        "those 32 px "
        "away and more), mined round by round until no negative on the wrong side of the margin is left out. The "
        "prior is a "
        "Gaussian around the keypoint's place in the train object most alike, by the cosine of "
        f"{learnt.network.roles.prior}, "
        f"that shows it. The prediction is the cell where\n{FORMULA}\nis highest. A keypoint that fewer than "
        f"{LEAST_OBJECTS} train objects show has no detector: the prior alone places it. It is right within a tenth "
        "of the box's "
        f"sides, a circle of {SIDE_PX // 10} px in the stretched box. Long, Zhang and Darrell (2014), Section 6."
    )


def parameters(learnt: Learnt, weights: Weights) -> dict[str, object]:
    """What is in force, for the folded panel."""
    n_train = len(learnt.data.visible_instances(learnt.category, "train"))
    of = f"of {len(learnt.prior.objects)} of {n_train} train objects"
    at_most = "" if n_train <= most_objects(learnt.data) else f" (at most {most_objects(learnt.data)})"
    return {
        "data": f"{learnt.data.title}, {learnt.data.digest[:8]}",
        "network": f"{learnt.network.name}, weights {learnt.network.digest[:8]}",
        "prior": f"{pickers.PRIOR_TITLES[weights.priors]}, {of}{at_most}, by {learnt.network.roles.prior}",
        **{
            f"{feature.title}, weights": f"η = {fusion.eta:g}, σ = {fusion.sigma_px:g} px"
            for feature, fusion in weights.fusions.items()
            if fusion is not None
        },
        **{f"{feature.title}, training": _of_training(each) for feature, each in learnt.detectors.items()},
    }


def _of_training(trained: TrainedDetectors) -> str:
    """What is to be said of one feature's detectors."""
    detectors = trained.detectors
    cells = sum(group[-1].cells for group in detectors.rounds)
    return (
        f"cost {detectors.linear.cost:g}, {max(len(group) for group in detectors.rounds)} rounds of mining at most, "
        f"{cells:,} "
        f"cells in the end, objective {detectors.linear.objective.sum():.1f}, "
        + ("no hard negative left" if detectors.finished else "some hard negatives left out")
    )
