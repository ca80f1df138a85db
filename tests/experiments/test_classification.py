"""Table 3 against what its records say, counted here."""

from dataclasses import replace

import numpy as np
import pytest

from corrcore.datasets import toy
from corrcore.experiments import Classification, Context, run
from corrcore.experiments.tables import Row
from corrcore.features import Feature
from tests.experiments.conftest import CAT, Away, Gone, drawn_once, loads, with_split

CONV3, SIFT20 = Feature("alexnet", "conv3"), Feature("sift", "20")


def classification(**options):
    chosen = {"features": ("sift20",), "protocol": "small", "costs": (0.1, 10.0), "folds": 3} | options
    return Classification("toy", CAT, **chosen)


@pytest.fixture(scope="module")
def herd():
    return drawn_once(toy.load(n_train=9, n_val=3))


@pytest.fixture(scope="module")
def result(herd, alexnet):
    context = Context(opened_datasets={"toy": herd}, opened_networks={"alexnet": alexnet})
    return run(classification(features=("conv3", "sift20")), context=context)


def test_records_have_what_every_keypoint_is_called(herd, result):
    val = herd.visible_instances(CAT, "val")
    expected = [(cat.name, int(number)) for cat in val for number in np.flatnonzero(cat.visible)]
    assert set(result.summary.features) == {CONV3, SIFT20}
    for feature, found in result.summary.features.items():
        record = result.records[feature.key]
        assert list(zip(record.objects, record.keypoints, strict=True)) == expected
        right = record.labels == record.called
        assert found.accuracy.value == pytest.approx(100 * right.mean())
        assert found.accuracy.low <= found.accuracy.value <= found.accuracy.high
        assert found.confusion.sum() == found.keypoints == len(expected)
        assert np.trace(found.confusion) == right.sum()
        assert found.confusion[record.labels[0], record.called[0]] >= 1
        assert list(np.flatnonzero(np.isfinite(found.by_class))) == list(np.unique(record.labels))
        label = record.labels[0]
        assert found.by_class[label] == pytest.approx(100 * right[record.labels == label].mean())
        assert found.mean_of_classes == pytest.approx(np.nanmean(found.by_class))
        assert found.cost == (0.1, 10.0)[int(np.argmax(found.curve))]
        assert found.accuracy.value > 2 * 100 / 16  # of chance


def test_two_rows_are_compared_on_the_same_keypoints(result):
    table = result.summary.table
    right = {key: record.labels == record.called for key, record in result.records.items()}
    one, two = right["conv3"], right["sift20"]
    tested = table.mcnemar(Row(CONV3), Row(SIFT20))
    assert (tested.first_only, tested.second_only) == ((one > two).sum(), (two > one).sum())
    assert table.difference(Row(CONV3), Row(SIFT20)).value == pytest.approx(100 * (one.mean() - two.mean()))
    assert table.boxes is None


def test_keypoints_are_resampled_with_all_objects_of_their_photo(result):
    records = {
        key: replace(record, photos=("one and the same",) * len(record.photos))
        for key, record in result.records.items()
    }
    found = replace(result, records=records).summary.features[SIFT20].accuracy
    assert found.low == pytest.approx(found.value) == pytest.approx(found.high)
    assert result.summary.features[SIFT20].accuracy.low < found.value


def test_the_rows_of_text_have_the_numbers(result):
    rows = {row["row"]: row for row in result.experiment.summary_rows(result.summary)}
    for feature, found in result.summary.features.items():
        shown = f"{found.accuracy.value:.1f} [{found.accuracy.low:.1f}, {found.accuracy.high:.1f}]"
        assert rows[feature.key]["accuracy, %"] == shown


def test_a_finished_classification_describes_nothing_and_a_new_feature_only_itself(herd, open_as, store):
    first = run(classification(), context=open_as(herd), store=store)
    more = run(classification(features=("sift20", "sift10")), context=open_as(herd), store=store)
    assert more.to_json() != first.to_json()
    np.testing.assert_array_equal(more.records["sift20"].called, first.records["sift20"].called)
    before = loads(herd, "train") + loads(herd, "val")
    again = run(classification(features=("sift10",)), context=open_as(herd), store=store)
    assert loads(herd, "train") + loads(herd, "val") == before
    assert list(again.records) == ["sift20", "sift10"]  # no row is lost
    assert again.asked == 2
    [read] = store.scan().results.values()
    assert list(read.summary.features) == [SIFT20, Feature("sift", "10")]


def test_two_runs_that_ask_for_different_features_at_once_lose_neither(herd, open_as, store):
    context = open_as(herd)
    one, two = (classification(features=(each,), limit=5).resolved(context) for each in ("sift20", "sift10"))
    files = [store.open(each, context) for each in (one, two)]
    for file, each in zip(files, (one, two), strict=True):
        file.ask(list(each.samples(context)))
    found = store.load(one, context)
    assert (found.asked, found.finished) == (2, False)


def test_of_one_object_nothing_can_be_validated_and_that_is_read_again(herd, open_as, store):
    measured = run(classification(limit=1), context=open_as(herd), store=store)
    [read] = store.scan().results.values()
    for result in (measured, read):
        [found] = result.summary.features.values()
        assert np.isnan(found.curve).all()
        assert len(found.curve) == 2


def test_cross_validation_needs_two_folds(herd, open_as):
    with pytest.raises(ValueError, match="folds must be at least 2, .*; got 1"):
        run(classification(folds=1), context=open_as(herd))


def test_objects_whose_photo_is_gone_are_named(herd, open_as):
    train = [*herd.visible_instances(CAT, "train")]
    train[3] = replace(train[3], photo=Gone("gone.jpg", train[3].photo.pixels))
    result = run(classification(), context=open_as(with_split(herd, "train", train)))
    assert dict(result.records["sift20"].left_out) == {train[3].name: "the photo is gone"}
    assert result.summary.table.left_out == {train[3].name: "the photo is gone"}


@pytest.mark.parametrize("split", ["train", "val"])
def test_nothing_is_kept_while_a_photo_may_be_readable_another_time(herd, open_as, store, split):
    first, *others = herd.visible_instances(CAT, split)
    away = [replace(first, photo=Away(first.photo.name, first.photo.pixels)), *others]
    with pytest.raises(OSError, match="the disk is away"):
        run(classification(), context=open_as(with_split(herd, split, away)), store=store)
    assert not store.scan().results


@pytest.mark.parametrize("changed", ["an object", "a keypoint"])
def test_features_measured_on_different_keypoints_stand_in_no_table(result, changed):
    record = result.records["sift20"]
    some = slice(0, -1) if changed == "a keypoint" else np.array(record.objects) != record.objects[0]
    fewer = replace(
        record,
        objects=tuple(np.array(record.objects)[some].tolist()),
        photos=tuple(np.array(record.photos)[some].tolist()),
        keypoints=record.keypoints[some],
        labels=record.labels[some],
        called=record.called[some],
    )
    for order in (("conv3", "sift20"), ("sift20", "conv3")):
        records = {key: fewer if key == "sift20" else result.records[key] for key in order}
        with pytest.raises(ValueError, match="not measured on the same keypoints"):
            _ = replace(result, records=records).summary


def test_the_mean_over_categories_is_of_the_tables(result):
    """Of two categories, in one of which everything is right."""
    perfect = {key: replace(record, called=record.labels) for key, record in result.records.items()}
    summaries = [result.summary, replace(result, records=perfect).summary]
    rows = {row["row"]: row for row in Classification.mean_rows(summaries)}
    for feature, found in result.summary.features.items():
        assert rows[feature.key] == {
            "row": feature.key,
            "accuracy, %": f"{(found.accuracy.value + 100) / 2:.1f}",
            "categories": "2",
        }
