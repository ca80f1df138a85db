"""Which tables there are, by the registry of experiments, and what is to be said of those of the paper."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from corrcore import experiments
from corrcore.experiments import Classification, Experiment, Pairs, Prediction, Transfer
from corrcore.tasks.detection import PRIORS

FIELDS = "1 Receptive fields"
Kind = type[Experiment[Any, Any, Any, Any]]
SECTIONS = {  # of the pages that show these tables' objects
    "transfer": "Accuracy (Table 2)",
    "classification": "Right and wrong",
    "prediction": "Accuracy (Table 4)",
}

NORMALISER = (
    "Measured by the side of the image, which is larger than the boxes in it, more keypoints would count as right: "
    "such "
    "numbers do not compare with these."
)
PCK = {"PCK": "the percentage of keypoints that are right, at an α that says how near that is"}
ROWS = {
    "conv1, conv2, …": "layers of the network, by whose descriptors keypoints are found",
    "SIFT, radius": "dense SIFT, whose four by four bins reach so many pixels from the middle",
}


@dataclass(frozen=True)
class TableText:
    """What is said of a table: when a keypoint counts as `right` ({} is α), how that is meant, what its words mean,
    and what drawings show.
    """

    right: str
    explained: str = ""
    words: Mapping[str, str] = field(default_factory=lambda: ROWS)
    drawn: str = ""

    def definition(self, alpha: float | None) -> str:
        """What counts as right at an alpha; at every one where none is given."""
        return " ".join(filter(None, (self.right.format("α" if alpha is None else alpha), self.explained)))


_TEXTS: Mapping[type, TableText] = {
    Transfer: TableText(
        "A keypoint counts as right when it lies within {} of the longer side of the object's box.",
        NORMALISER,
        {
            **PCK,
            **ROWS,
            "NN": "keypoints of the nearest neighbours, their boxes laid on the object's with no alignment",
        },
        "In drawings, which are easy to align, layers and SIFT alike find nearly all keypoints.",
    ),
    Classification: TableText(
        "A keypoint counts as right when its own classifier, of all those of its category, has the highest score.",
        "Accuracy is over all visible keypoints of the val objects.",
        drawn="In drawings, which are less varied than photos, SIFT does as well as the best layer, or better.",
    ),
    Prediction: TableText(
        "A keypoint counts as right when it lies within {} of the sides of the box, which is stretched to a square.",
        "The square is the paper's 500 x 500 px, in which distances along the box's shorter side are longer. "
        + NORMALISER,
        {
            **PCK,
            **ROWS,
            "+ prior": "detectors, weighed with where the most similar train object has the keypoint",
            f"+ {PRIORS} priors": f"the same, with the places in the {PRIORS} most similar",
            "prior": "that place alone, with no detector",
            f"{PRIORS} priors": f"the median of the {PRIORS} places, with no detector",
        },
        "In drawings both find most keypoints with a prior; without one the layer finds most, and SIFT does not.",
    ),
    Pairs: TableText(
        "A keypoint of one photo counts as right when it is found within {} of the longer side of the object's box in "
        "the other.",
    ),
}
_OTHER = TableText("A keypoint counts as right when its error is at most {}.", words={**PCK, **ROWS})


def titles() -> dict[str, Kind]:
    """The experiments by what they are called where one is chosen: the paper's tables first, then all others."""
    found: dict[str, Kind] = {}
    for kind in sorted(experiments.kinds(), key=lambda kind: (not kind.number, kind.number)):
        title = f"{kind.number} {kind.kind.capitalize()}" if kind.number else kind.title.partition(" (")[0]
        found[title if title not in found else f"{title}, {kind.kind}"] = kind
    return found


def look_for(kind: Kind | None) -> str:
    """What to look for in an experiment's table, in the receptive fields where none is given."""
    if kind is None:
        return (
            "**Look for** fields that become as large as the objects they lie on: their size alone does not tell "
            "how finely "
            "a layer knows where things are."
        )
    if not kind.number:
        return ""
    return (
        "**Look for** whether rows of layers are higher than those of SIFT, and by more than chance: choose two rows to "
        "compare; of one network, click a cell to see the objects behind it."
    )


def title_of(kind: Kind) -> str:
    """What an experiment is called where one is chosen."""
    return next(title for title, each in titles().items() if each is kind)


def name_of(kind: Kind) -> str:
    """A table's name in files and captions."""
    return f"Table {kind.number}" if kind.number else kind.kind.capitalize()


def text_of(kind: Kind) -> TableText:
    """What is said of an experiment's table."""
    return _TEXTS.get(kind, _OTHER)
