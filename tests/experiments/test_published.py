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
PAPER = {"dataset": "voc2011", "network": "alexnet"}


@pytest.mark.parametrize(("table", "row"), [(table, row) for table, rows in MEANS.items() for row in rows])
def test_rows_have_the_mean_that_is_printed_with_them(table, row):
    numbers = [published.number(table, row, category, **PAPER) for category in CATEGORIES]
    digit = 0.5 if table == "classification" else 0.05
    assert np.mean(numbers) == pytest.approx(MEANS[table][row], abs=digit + 0.001)


def test_single_numbers_are_those_of_their_category_with_the_digits_in_print():
    assert published.text("transfer", "conv4", "cat", **PAPER) == "19.6"
    assert published.text("classification", "conv5", "horse", **PAPER) == "49"
    row = [published.number("prediction", "conv5+prior", each, **PAPER) for each in ("cat", "cow", "horse")]
    assert row == [34.2, 41.1, 46.8]
    assert published.receptive_field("conv3", network="alexnet") == (99, 16)


@pytest.mark.parametrize(
    ("table", "row", "category"),
    [("transfer", "conv4", "toy cat"), ("classification", "fc7", "cat"), ("prediction", "prior", "cat")],
)
def test_what_is_not_in_print_has_no_number(table, row, category):
    assert published.number(table, row, category, **PAPER) is None
    assert published.text(table, row, category, **PAPER) == ""


def test_a_row_of_one_table_is_none_of_another():
    assert published.has_row("classification", "conv3", **PAPER)
    assert published.number("transfer", "conv3", "cat", **PAPER) is None
    assert published.number("prediction", "NN", "cat", **PAPER) is None


@pytest.mark.parametrize(
    "of", [PAPER | {"dataset": "toy"}, PAPER | {"dataset": "voc2012"}, PAPER | {"network": "vgg16"}], ids=str
)
@pytest.mark.parametrize("table", MEANS)
def test_another_data_set_or_network_has_no_numbers(table, of):
    row = next(iter(MEANS[table]))
    assert published.number(table, row, "cat", **PAPER) is not None
    assert published.number(table, row, "cat", **of) is None
    assert published.text(table, row, "cat", **of) == ""
    assert not published.has_row(table, row, **of)
    assert published.transfer_means(0.05, **of) == {}


def test_means_at_stricter_alphas_stand_in_print_but_at_the_usual_one_categories_do():
    assert published.transfer_means(0.05, **PAPER)["conv4"] == 11.8
    assert published.transfer_means(0.1, **PAPER) == {}


def test_receptive_fields_of_another_network_are_not_in_print():
    assert published.receptive_field("conv3", network="vgg16") is None
    assert published.receptive_field("conv9", network="alexnet") is None


def test_the_name_is_the_one_that_the_data_sets_reader_gives(data_folder):
    from corrcore import datasets

    data = datasets.open_dataset(data_folder / "VOC2011")
    assert published.applies(dataset=data.name, network="alexnet")
