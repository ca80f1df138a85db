"""Numbers printed in Long, Zhang and Darrell (2014), to stand beside ours: receptive fields (Table 1), PCK of transferred
keypoints (Table 2), accuracy of keypoint classification (Table 3) and PCK of predicted keypoints (Table 4), in percent.

Rows have a number per category, in the order of their names; their means are those in print, to rounding. `applies` has the
rule for what may stand beside them.
"""

from typing import Literal

Numbered = Literal["transfer", "classification", "prediction"]

_CATEGORIES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

_TRANSFER = {
    "conv4": "28.2 34.1 20.4 17.1 50.6 36.7 20.9 19.6 15.7 25.4 12.7 18.7 25.9 23.1 21.4 40.2 21.1 14.5 18.3 33.3",
    "sift20": "27.6 30.8 19.9 17.5 49.4 36.4 20.7 16.0 16.1 25.0 16.1 16.3 27.7 28.3 20.2 36.4 20.5 17.2 19.9 32.9",
    "NN": "18.3 24.8 14.5 15.4 48.1 27.6 16.0 11.1 12.0 16.8 15.7 12.7 20.2 18.5 18.7 33.4 14.0 15.5 14.6 30.0",
}

_CLASSIFICATION = {
    "sift10": "36 42 36 32 67 64 40 37 33 37 60 34 39 38 29 63 37 42 64 75",
    "sift20": "37 50 39 35 74 67 47 40 36 43 68 38 42 48 33 70 44 52 68 77",
    "sift40": "35 54 37 41 76 68 47 37 39 40 69 36 42 49 32 69 39 52 74 78",
    "sift80": "33 43 37 42 75 66 42 30 43 36 70 31 36 51 27 70 35 49 69 77",
    "sift160": "27 36 34 38 72 59 35 25 39 30 67 27 32 46 25 70 29 48 66 76",
    "conv1": "16 14 15 19 20 29 15 22 16 17 29 17 14 16 15 33 18 12 27 29",
    "conv2": "37 43 40 35 69 63 38 44 35 40 61 38 40 44 34 65 39 41 63 72",
    "conv3": "42 50 46 41 76 69 46 52 39 45 64 47 48 52 40 74 46 50 71 77",
    "conv4": "44 53 49 42 78 70 45 55 41 48 68 50 51 53 41 76 49 52 73 76",
    "conv5": "44 51 49 41 77 68 44 53 39 45 63 50 49 52 39 73 47 47 71 75",
}

_PREDICTION = {
    "sift16": "17.9 16.5 15.3 15.6 25.7 21.7 22.0 12.6 11.3 7.6 6.5 12.5 18.3 15.1 15.9 21.3 14.7 15.1 9.2 19.9",
    "sift16+prior": "33.5 36.9 22.7 23.1 44.0 42.6 39.3 22.1 18.5 23.5 11.2 20.6 32.2 33.9 26.7 30.6 25.7 26.5 21.9 32.4",
    "conv5": "38.5 37.6 29.6 25.3 54.5 52.1 28.6 31.5 8.9 30.5 24.1 23.7 35.8 29.9 39.3 38.2 30.5 24.5 41.5 42.0",
    "conv5+prior": "50.9 48.8 35.1 32.5 66.1 62.0 45.7 34.2 21.4 41.1 27.2 29.3 46.8 45.6 47.1 42.5 38.8 37.6 50.7 45.6",
}

_TRANSFER_MEANS = {
    0.05: {"conv4": 11.8, "sift20": 10.9, "NN": 7.8},
    0.025: {"conv4": 4.08, "sift20": 3.55, "NN": 2.35},
}

# size and stride, px
_RECEPTIVE_FIELDS = {
    "conv1": (11, 4),
    "conv2": (51, 8),
    "conv3": (99, 16),
    "conv4": (131, 16),
    "conv5": (163, 16),
    "pool5": (195, 32),
}

_TABLES = {"transfer": _TRANSFER, "classification": _CLASSIFICATION, "prediction": _PREDICTION}

TRANSFER_ROWS = tuple(_TRANSFER)
DIGITS = {"transfer": 1, "classification": 0, "prediction": 1}  # in print


NETWORK = "alexnet"  # the Caffe reference model is one
DATASET = "voc2011"


def applies(*, dataset: str, network: str) -> bool:
    """Whether the paper's tables are of this data set and network; all numbers below are asked for by this rule.

    They are of PASCAL VOC 2011 and of the Caffe reference model, an AlexNet.

    >>> applies(dataset="voc2011", network="alexnet"), applies(dataset="toy", network="alexnet")
    (True, False)
    """
    return dataset.casefold() == DATASET and network == NETWORK


def number(table: Numbered, row: str, category: str, *, dataset: str, network: str) -> float | None:
    """A cell of Table 2 at alpha 0.1, of Table 3, or of Table 4 at alpha 0.1; None for what is not in print.

    `row` is the key of a row, `dataset` the name of the data set that ours is of.
    """
    if not has_row(table, row, dataset=dataset, network=network) or category not in _CATEGORIES:
        return None
    return float(_TABLES[table][row].split()[_CATEGORIES.index(category)])


def text(table: Numbered, row: str, category: str, *, dataset: str, network: str) -> str:
    """The same with as many digits as are in print; empty for what is not."""
    found = number(table, row, category, dataset=dataset, network=network)
    return "" if found is None else f"{found:.{DIGITS[table]}f}"


def has_row(table: Numbered, row: str, *, dataset: str, network: str) -> bool:
    """Whether a row is in print."""
    return row in _TABLES[table] and applies(dataset=dataset, network=network)


def transfer_means(alpha: float, *, dataset: str, network: str) -> dict[str, float]:
    """Table 2's means over all categories at the stricter alphas, by row; its categories are in print at 0.1 only."""
    return dict(_TRANSFER_MEANS.get(alpha, {})) if applies(dataset=dataset, network=network) else {}


def receptive_field(layer: str, *, network: str) -> tuple[int, int] | None:
    """Size and stride in pixels of a layer of the Caffe reference model; None for others. Table 1 has no offsets."""
    return _RECEPTIVE_FIELDS.get(layer) if network == NETWORK else None
