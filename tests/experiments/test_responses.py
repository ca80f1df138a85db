"""Figure 5 against response maps of whole pictures, and verdicts by hand."""

from dataclasses import replace

import numpy as np
import pytest

from corrcore.datasets import toy
from corrcore.experiments import Context, Responses, run
from corrcore.experiments.base import subsample
from corrcore.experiments.classification import PROTOCOLS
from corrcore.experiments.responses import MaximumRecord
from corrcore.features import Feature
from corrcore.tasks import classification, responses
from tests.experiments.conftest import CAT, Gone, StopError, drawn_once, loads, stop_at, with_split

CONV3, SIFT20 = Feature("alexnet", "conv3"), Feature("sift", "20")


def asked(**options):
    return Responses(
        "toy", CAT, **{"features": ("sift20",), "keypoints": ("Nose",), "protocol": "small", "cost": 1.0} | options
    )


@pytest.fixture(scope="module")
def herd():
    return drawn_once(toy.load(n_train=6, n_val=3))


@pytest.fixture(scope="module")
def result(herd, alexnet):
    context = Context(opened_datasets={"toy": herd}, opened_networks={"alexnet": alexnet})
    return run(asked(features=("sift20", "conv3"), keypoints=("Nose", "TailBase")), context=context)


def test_maxima_are_where_the_maps_are_highest(alexnet, herd, result):
    names, protocol = herd.keypoint_names[CAT], PROTOCOLS["small"]
    train, val = herd.visible_instances(CAT, "train"), herd.visible_instances(CAT, "val")
    found = classification.samples(train, [SIFT20], names, network=alexnet, protocol=protocol)
    classifier = classification.train(found, SIFT20, tuple(names), cost=1.0, protocol=protocol)
    n_compared = 0
    for cat in val:
        for keypoint, at in result.records[cat.name]["sift20"].items():
            image, transform = classification.view(cat, protocol)
            x, y = transform.to_crop(cat.keypoints)[names.index(keypoint)]
            column, row = round(x), round(y)
            whole = responses.response_map(image, classifier, network=alexnet)
            square = whole.scores[row - 10 : row + 11, column - 10 : column + 11, classifier.names.index(keypoint)]
            down, across = np.unravel_index(square.argmax(), (21, 21))
            assert list(at.maximum) == [across - 10, down - 10]
            np.testing.assert_allclose(at.place, [x - column, y - row], atol=1e-6)
            assert at.profile[0] == pytest.approx(square[10, 10], abs=1e-3)
            n_compared += 1
    assert n_compared


def test_the_summary_counts_all_maxima_and_knows_strides(result):
    for feature, stride in ((SIFT20, None), (CONV3, 16)):
        for keypoint, found in result.summary[feature].items():
            records = [each[feature.key][keypoint] for each in result.records.values() if keypoint in each[feature.key]]
            assert found.instances == len(records) == np.sum(found.counts)
            np.testing.assert_allclose(found.profile, np.mean([record.profile for record in records], axis=0))
            assert np.isnan(found.stride_median_px) == (stride is None)
            if stride is not None:
                assert found.stride_median_px == responses.stride_median_px(stride)
    assert all(found.finer is None for found in result.summary[SIFT20].values())


def test_a_result_that_is_read_has_the_summary_of_the_one_that_was_run(herd, open_as, store):
    run_now = run(asked(limit=2), context=open_as(herd), store=store)
    [read] = store.scan().results.values()
    assert read.experiment.summary_rows(read.summary) == run_now.experiment.summary_rows(run_now.summary) != []


@pytest.mark.parametrize(("distances", "verdict"), [((2,) * 8, "yes"), ((9,) * 8, "no"), ((1, 12) * 4, "open")])
def test_a_layer_is_finer_than_its_stride_where_the_interval_leaves_no_doubt(result, distances, verdict):
    zeros = np.zeros(21)
    records = {
        str(n): {"conv3": {"Nose": MaximumRecord(np.array([distance, 0]), np.zeros(2), zeros)}, "sift20": {}}
        for n, distance in enumerate(distances)
    }
    experiment = replace(result.experiment, side=41)
    summary = replace(result, experiment=experiment, records=records).summary
    assert summary[CONV3]["Nose"].finer == verdict
    assert summary[SIFT20]["Nose"] is None  # no object has room
    rows = {(row["feature"], row["keypoint"]): row for row in experiment.summary_rows(summary)}
    assert rows["sift20", "Nose"]["median, px (chance)"] == "none inside the square"


def test_responses_go_on_where_they_were_stopped_and_train_no_more_when_done(herd, open_as, store):
    with pytest.raises(StopError):
        run(asked(), context=open_as(herd), store=store, progress=stop_at("2 of"))
    before = len(loads(herd, "val"))
    resumed = run(asked(), context=open_as(herd), store=store)
    assert len(loads(herd, "val")) == before + resumed.asked - 2
    assert resumed.to_json() == run(asked(), context=open_as(herd)).to_json()
    before = loads(herd, "train") + loads(herd, "val")
    run(asked(), context=open_as(herd), store=store)
    assert loads(herd, "train") + loads(herd, "val") == before


def blind(herd, split, but=0):
    """The objects of a split, of which only the first `but` show their nose."""
    number = list(herd.keypoint_names[CAT]).index("Nose")
    changed = []
    for cat in herd.visible_instances(CAT, split):
        points, showing = cat.keypoints.copy(), sum(one.visible[number] for one in changed)
        points[number] = points[number] if showing < but else np.nan
        changed.append(replace(cat, keypoints=points))
    return with_split(herd, split, changed)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_keypoint_that_no_object_shows_is_named(herd, open_as, split):
    with pytest.raises(ValueError, match=f"visible in some {split} object of toy cat; none shows Nose"):
        run(asked(), context=open_as(blind(herd, split)))


def test_keypoints_are_the_first_three_that_both_splits_show(herd, open_as):
    names = herd.keypoint_names[CAT]
    resolved = asked(keypoints=()).resolved(open_as(herd))
    assert resolved.keypoints == names[:3]
    assert resolved.resolved(open_as(herd)) == resolved
    hidden = blind(blind(herd, "train"), "val")
    assert (
        asked(keypoints=()).resolved(open_as(hidden)).keypoints == tuple(name for name in names if name != "Nose")[:3]
    )


def test_a_keypoint_whose_photos_cannot_be_read_is_named(herd, open_as):
    data = blind(herd, "train", but=1)
    number = list(data.keypoint_names[CAT]).index("Nose")
    train = [
        replace(cat, photo=Gone(cat.photo.name, cat.photo.pixels)) if cat.visible[number] else cat
        for cat in data.visible_instances(CAT, "train")
    ]
    with pytest.raises(ValueError, match="no train object whose photo can be read shows Nose to "):
        run(asked(), context=open_as(with_split(data, "train", train)))


def test_a_limit_that_leaves_no_object_that_shows_the_keypoint_is_said(herd, open_as):
    data = blind(herd, "train", but=1)
    number = list(data.keypoint_names[CAT]).index("Nose")
    train = sorted(
        data.visible_instances(CAT, "train"), key=lambda cat: cat.visible[number]
    )  # the one that shows it comes last
    assert not subsample(train, 1)[0].visible[number]
    with pytest.raises(ValueError, match="none shows Nose"):
        run(asked(limit=1), context=open_as(with_split(data, "train", train)))


def test_what_no_classifier_can_be_trained_on_is_said_once_and_nothing_is_kept(herd, open_as, store):
    told, number = [], list(herd.keypoint_names[CAT]).index("Nose")
    train = [
        replace(cat, keypoints=np.where(np.arange(16)[:, None] == number, cat.keypoints, np.nan))
        for cat in herd.visible_instances(CAT, "train")
    ]
    context = open_as(with_split(herd, "train", train))
    with pytest.raises(ValueError, match="samples of at least 2 classes"):
        run(
            asked(),
            context=context,
            store=store,
            progress=lambda _, text: told.append(text),
        )
    assert len(told) == len(set(told))
    assert not list(store.folder.glob("*/*.jsonl"))


def test_an_object_whose_photo_changed_is_measured_anew_and_no_other(herd, open_as, store):
    first = run(asked(limit=2), context=open_as(herd), store=store)
    name, _ = first.records
    changed = [
        replace(cat, photo=replace(cat.photo, stamp="another", loads=[])) if cat.name == name else cat
        for cat in herd.visible_instances(CAT, "val")
    ]
    before = loads(herd, "val")
    data = with_split(herd, "val", changed)
    again = run(asked(limit=2), context=open_as(data), store=store)
    assert set(again.records) == set(first.records)
    [photo] = [cat.photo for cat in changed if cat.name == name]
    assert photo.loads
    assert loads(herd, "val") == before
