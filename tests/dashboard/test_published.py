"""The paper's numbers were copied by hand: their means are those in print, to rounding."""

import numpy as np
import pytest

from corrcore.experiments import published

CATEGORIES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
MEANS = {
    "transfer": {"conv4": 24.9, "sift20": 24.7, "NN": 19.9},
    "classification": {
        "sift10": 45,
        "sift20": 50,
        "sift40": 51,
        "sift80": 48,
        "sift160": 44,
        "conv1": 20,
        "conv2": 47,
        "conv3": 54,
        "conv4": 56,
        "conv5": 54,
    },
    "prediction": {"sift16": 15.7, "sift16+prior": 28.4, "conv5": 33.3},
}


@pytest.mark.parametrize(("table", "row"), [(table, row) for table, rows in MEANS.items() for row in rows])
def test_rows_have_the_mean_that_is_printed_with_them(table, row):
    numbers = [published.number(table, row, category) for category in CATEGORIES]
    digit = 0.5 if table == "classification" else 0.05
    assert np.mean(numbers) == pytest.approx(MEANS[table][row], abs=digit + 0.001)


def test_single_numbers_are_those_of_their_category():
    assert published.transfer("conv4", "cat") == "19.6"
    assert published.classification("conv5", "horse") == 49
    assert [published.prediction("conv5+prior", each) for each in ("cat", "cow", "horse")] == [34.2, 41.1, 46.8]
    assert published.receptive_field("conv3") == (99, 16)


def test_what_is_not_in_print_has_no_number():
    assert published.transfer("conv4", "toy cat") == ""
    assert published.classification("fc7", "cat") is None
    assert published.prediction("prior", "cat") is None
    assert published.transfer_means(0.1) == {}
