"""Rows' grammar, and tables against PCK counted by hand."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from corrcore.experiments import KeypointRecord, KeypointTable, Result, Row, Transfer
from corrcore.experiments.tables import UNALIGNED, mean_rows, pck_rows, table_of_places
from corrcore.features import Feature

CONV5, SIFT20 = Feature("alexnet", "conv5"), Feature("sift", "20")
ROWS = [
    Row(feature, priors, refined)
    for feature, priors, refined in product((None, CONV5, SIFT20), (0, 1, 2, 5, 25), (False, True))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_is_read_as_it_is_written(row):
    assert Row.parse(row.key, network="alexnet") == row


def test_no_two_rows_have_one_key_or_title():
    assert len({row.key for row in ROWS}) == len({row.title for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    ("row", "key", "title"),
    [
        (UNALIGNED, "NN", "NN, not aligned"),
        (Row(CONV5), "conv5", "conv5"),
        (Row(SIFT20, 1), "sift20+prior", "SIFT, radius 20 px + prior"),
        (Row(CONV5, 5, refined=True), "conv5+5 priors, refined", "conv5 + 5 priors, refined"),
        (Row(None, 1), "prior", "prior"),
    ],
)
def test_rows_are_named_as_in_files_and_on_pages(row, key, title):
    assert (row.key, row.title) == (key, title)


def test_the_network_is_understood_and_another_is_named():
    assert Row.parse("conv4_3+prior", network="vgg16") == Row(Feature("vgg16", "conv4_3"), 1)
    assert Row.parse("vgg16:conv4_3", network="alexnet") == Row(Feature("vgg16", "conv4_3"))


@pytest.mark.parametrize("key", ["", "+prior", "conv5+", "conv5+sift20+prior", ", refined"])
def test_what_is_no_row_is_refused(key):
    with pytest.raises(ValueError, match="a row must be a feature, a prior, both as conv5\\+prior, or NN; got"):
        Row.parse(key, network="alexnet")


def record(box, truth, **predicted):
    return KeypointRecord(
        box, np.array(truth, float), (), {row: np.array(points, float) for row, points in predicted.items()}
    )


def result_of(records, keypoints=("a", "b"), **options):
    provenance = {"keypoints": list(keypoints)}
    found = {"experiment": Transfer("toy", "cat"), "skipped": {}, "asked": len(records), "notes": {}} | options
    return Result(provenance=provenance, records=records, **found)


NOWHERE = [np.nan, np.nan]


def test_errors_are_by_the_longer_side_or_in_the_stretched_box():
    """A box of 200 by 100 px: 18 px to the right are 0.09 of the longer side, downwards 0.18 of the shorter."""
    one = record((0, 0, 200, 100), [[50, 50]] * 2, conv5=[[68, 50], [50, 68]])
    found = {stretched: table_of_places(result_of({"it": one}), stretched=stretched) for stretched in (False, True)}
    np.testing.assert_allclose(found[False].errors[0, 0], [0.09, 0.09])
    np.testing.assert_allclose(found[True].errors[0, 0], [0.09, 0.18])
    row = Row(CONV5)
    assert found[False].accuracy(row, alpha=0.1).value == 100
    assert found[True].accuracy(row, alpha=0.1).value == 50
    assert list(found[True].by_keypoint(row, alpha=0.1)) == [100, 0]


@pytest.fixture
def table():
    """Keypoint a: NN has it right in one of two objects, conv5 in both; keypoint b is shown by the first alone."""
    box = (0.0, 0.0, 100.0, 100.0)
    records = {
        "first": record(box, [[50, 50], [20, 20]], NN=[[50, 50], [90, 90]], conv5=[[52, 50], [20, 21]]),
        "second": record(box, [[30, 30], NOWHERE], NN=[[80, 30], [0, 0]], conv5=[[30, 30], [0, 0]]),
        "hidden": record(box, [NOWHERE, NOWHERE], NN=[[1, 1], [1, 1]], conv5=[[1, 1], [1, 1]]),
    }
    return table_of_places(result_of(records, skipped={"broken": "it is cut off."}), stretched=False)


def test_accuracy_is_averaged_over_keypoint_types(table):
    assert table.objects == ("first", "second")  # what shows nothing is no object of the table
    np.testing.assert_array_equal(table.visible, [[True, True], [True, False]])
    assert table.accuracy(UNALIGNED).value == (50 + 0) / 2
    assert table.accuracy(UNALIGNED, over="micro").value == pytest.approx(100 / 3)
    assert table.accuracy(Row(CONV5)).value == 100
    assert table.accuracy(UNALIGNED, some=np.array([False, True])).value == 0
    assert table.difference(Row(CONV5), UNALIGNED).value == 75
    compared = table.mcnemar(Row(CONV5), UNALIGNED)
    assert (compared.first_only, compared.second_only) == (2, 0)
    assert table.left_out == {"broken": "it is cut off."}


def test_rows_of_two_tables_are_compared_on_the_objects_that_both_have(table):
    """Whatever their order; in the other table conv5 is never right, and "third" would turn the result around."""
    other = replace(
        table,
        objects=("third", "second", "first"),
        photos=np.arange(3),
        boxes=np.repeat(table.boxes[:1], 3, axis=0),
        errors=np.array([[[0, 0], [0, np.nan], [0, 0.5]], [[0, 0], [9, np.nan], [9, 9]]]),
    )
    assert table.difference(Row(CONV5), Row(CONV5), of=other).value == 100
    assert table.difference(Row(CONV5), UNALIGNED, of=other).value == 50  # keypoint b of the first
    tested = table.mcnemar(Row(CONV5), UNALIGNED, of=other)
    assert (tested.first_only, tested.second_only) == (1, 0)
    assert table.difference(Row(CONV5), UNALIGNED, of=table).value == 75
    with pytest.raises(ValueError, match="must have objects in common; got 2 and 3 others"):
        table.difference(UNALIGNED, UNALIGNED, of=replace(other, objects=("x", "y", "z")))
    hidden = np.where([[[True, True], [False, True], [True, False]]], other.errors, np.nan)
    hidden[:, 2] = [[np.nan, 0.5], [np.nan, 9]]
    part = replace(other, errors=hidden)
    assert table.mcnemar(Row(CONV5), UNALIGNED, of=part).first_only == 1  # of keypoints that both show
    assert table.difference(Row(CONV5), UNALIGNED, of=part).samples == 1  # the second shows none in common
    with pytest.raises(ValueError, match="must be of the same keypoints; got a, b and b, a"):
        table.difference(UNALIGNED, UNALIGNED, of=replace(other, keypoints=("b", "a")))


def test_across_tables_intervals_are_those_of_one_table_with_both_rows():
    """Several objects of a photo are drawn together, and pairs by both of their photos."""
    rng = np.random.default_rng(0)
    errors = rng.choice([0.0, 1.0], (2, 30, 4))
    names = tuple(f"o{n}" for n in range(30))
    for partners in (None, rng.integers(10, 22, 30)):
        whole = KeypointTable(
            Transfer("toy", "toy cat"),
            {},
            (UNALIGNED, Row(CONV5)),
            ("a", "b", "c", "d"),
            names,
            rng.integers(0, 10, 30),
            None,
            errors,
            {},
            "micro",
            partners=partners,
        )
        one, two = (replace(whole, rows=whole.rows[n : n + 1], errors=errors[n : n + 1]) for n in (0, 1))
        expected, found = whole.difference(Row(CONV5), UNALIGNED), two.difference(Row(CONV5), UNALIGNED, of=one)
        np.testing.assert_array_equal(found.resampled, expected.resampled)
        assert (found.value, found.samples) == (expected.value, expected.samples)
        assert two.mcnemar(Row(CONV5), UNALIGNED, of=one) == whole.mcnemar(Row(CONV5), UNALIGNED)


def test_rows_of_text_have_the_numbers_of_the_table(table):
    rows = pck_rows(table)
    assert [(row["objects"], row["row"]) for row in rows] == [("2 all", "NN"), ("2 all", "conv5")]  # none is large
    found = table.accuracy(UNALIGNED, alpha=0.1)
    assert rows[0]["PCK at 0.1, %"] == f"25.0 [{found.low:.1f}, {found.high:.1f}]"


def test_the_mean_over_categories_is_of_rows_that_all_have(table):
    other = replace(table, rows=(UNALIGNED, Row(SIFT20)), errors=np.zeros_like(table.errors))
    assert mean_rows([table, other], {"PCK": 0.1}) == [{"row": "NN", "PCK": "62.5", "categories": "2"}]


def test_records_of_other_keypoints_are_no_table():
    one = record((0, 0, 10, 10), [[5, 5]] * 3, NN=[[5, 5]] * 3)
    with pytest.raises(ValueError, match="not of so many keypoints as its data set has"):
        table_of_places(result_of({"it": one}), stretched=False)


def test_objects_that_show_nothing_are_no_table():
    one = record((0, 0, 10, 10), [NOWHERE] * 2, NN=[[5, 5]] * 2)
    with pytest.raises(ValueError, match="no object that was measured shows a keypoint"):
        table_of_places(result_of({"it": one}), stretched=False)
