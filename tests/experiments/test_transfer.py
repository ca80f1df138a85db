"""Table 2 against the parts it is made of, which have tests of their own."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from corrcore import decoding
from corrcore.experiments import Context, ResultStore, SmoothnessSearch, Transfer, best_smoothness, run
from corrcore.features import Feature
from corrcore.metrics import keypoint_errors, pck
from corrcore.tasks import alignment
from corrcore.tasks.alignment import TransferOptions
from tests.experiments.conftest import CAT, Drawn, StopError, loads, stop_at, with_split

SIFT20, CONV3 = Feature("sift", "20"), Feature("alexnet", "conv3")


def transfer(**options):
    chosen = {"features": ("sift20",), "smoothness": 0.1, "iterations": 3} | options
    return Transfer("toy", CAT, **chosen)


def test_records_have_what_every_row_predicts_of_val_objects(alexnet, cats, open_as):
    result = run(transfer(features=("conv3", "sift20")), context=open_as(cats))
    assert result.notes == {"smoothness": {"conv3": 0.1, "sift20": 0.1}}
    val, train = cats.instances(CAT, "val"), cats.instances(CAT, "train")
    summaries = np.stack([alignment.describe_object(one, (), network=alexnet).summary for one in train])
    assert list(result.records) == [cat.name for cat in val]
    for cat in val:
        record = result.records[cat.name]
        assert record.box == cat.box
        np.testing.assert_array_equal(record.truth, cat.keypoints)
        assert list(record.predicted) == ["NN", "conv3", "sift20"]
        likeness = summaries @ alignment.describe_object(cat, (), network=alexnet).summary
        assert record.neighbours == tuple(train[n].name for n in np.argsort(-likeness))


def test_unaligned_keypoints_are_the_median_of_boxes_laid_on_one_another(cats, open_as):
    result = run(transfer(), context=open_as(cats))
    train = {cat.name: cat for cat in cats.instances(CAT, "train")}
    for cat in cats.instances(CAT, "val"):
        record = result.records[cat.name]
        laid = []
        for name in record.neighbours:
            other = train[name]
            share = (other.keypoints - other.box[:2]) / other.size  # of the box, whatever its margin
            laid.append(share * cat.size + cat.box[:2])
        for number, found in enumerate(record.predicted["NN"]):
            shown = [points[number] for points in laid if np.isfinite(points[number]).all()][:5]
            expected = np.median(shown, axis=0) if shown else [np.nan, np.nan]
            np.testing.assert_allclose(found, expected, atol=0.006)


@pytest.mark.parametrize("options", [{}, {"position": 0.05, "order": "likeness"}], ids=["usual", "kept in place"])
def test_a_row_predicts_what_its_aligned_neighbours_vote_for(alexnet, cats, open_as, options):
    result = run(transfer(smoothness=0.03, limit=1, **options), context=open_as(cats))
    [(name, record)] = result.records.items()
    target = next(cat for cat in cats.instances(CAT, "val") if cat.name == name)
    train = {cat.name: cat for cat in cats.instances(CAT, "train")}
    pairs = [
        (train[name], alignment.describe_object(train[name], (SIFT20,), network=alexnet).halved())
        for name in record.neighbours
    ]
    own = alignment.describe_object(target, (SIFT20,), network=alexnet)
    expected = alignment.transfer(own, pairs, SIFT20, smoothness=0.03, options=TransferOptions(iterations=3, **options))
    np.testing.assert_allclose(record.predicted["sift20"], expected.keypoints, atol=0.006)


def test_the_summary_is_pck_of_the_records(cats, open_as):
    """One of the objects is made too small to be reported among the large ones."""
    small, large = cats.instances(CAT, "val")
    left, top, *_ = small.box
    small = replace(small, box=(left, top, left + 59, top + 59), keypoints=small.keypoints / 10 + (left, top))
    result = run(transfer(), context=open_as(with_split(cats, "val", [small, large])))
    table = result.summary
    for part, objects in (("all", [small, large]), ("large", [large])):
        some = table.part(part)
        assert [name for name, taken in zip(table.objects, some, strict=True) if taken] == [one.name for one in objects]
        chosen = [result.records[one.name] for one in objects]
        truth, boxes = (np.array([getattr(record, name) for record in chosen]) for name in ("truth", "box"))
        for row in table.rows:
            errors = keypoint_errors(np.array([record.predicted[row.key] for record in chosen]), truth, boxes)
            for alpha in (0.1, 0.05, 0.025):
                expected = pck(errors, alpha=alpha, rng=np.random.default_rng(0))
                found = table.accuracy(row, alpha=alpha, some=some)
                assert (found.value, found.low, found.high) == (expected.mean, expected.low, expected.high)
    rows = result.experiment.summary_rows(table)
    assert [(row["objects"], row["row"]) for row in rows] == [
        (objects, row) for objects in ("2 all", "1 large") for row in ("NN", "sift20")
    ]


def test_objects_that_show_little_are_not_among_the_large_ones(cats, open_as):
    val = [
        replace(cat, keypoints=np.where(np.cumsum(cat.visible)[:, None] <= shown, cat.keypoints, np.nan))
        for cat, shown in zip(cats.instances(CAT, "val"), (4, 5), strict=True)
    ]
    table = run(transfer(iterations=1), context=open_as(with_split(cats, "val", val))).summary
    assert list(table.part("large")) == [False, True]
    alone = run(transfer(iterations=1), context=open_as(with_split(cats, "val", val[:1])))
    assert {row["objects"] for row in alone.experiment.summary_rows(alone.summary)} == {"1 all"}


def test_objects_without_a_visible_keypoint_are_neither_neighbours_nor_measured(cats, open_as):
    splits = {}
    for key, animals in cats.splits.items():
        hidden = replace(animals[0], name=f"hidden {key[1]}", keypoints=np.full_like(animals[0].keypoints, np.nan))
        splits[key] = [hidden, *animals]
    result = run(transfer(iterations=1), context=open_as(replace(cats, splits=splits)))
    assert list(result.records) == [cat.name for cat in cats.instances(CAT, "val")]
    assert all("hidden train" not in record.neighbours for record in result.records.values())


def test_photos_that_cannot_be_read_are_neither_neighbours_nor_measured(cats, open_as):
    @dataclass(frozen=True)
    class Broken(Drawn):
        def load(self):
            msg = f"'{self.name}' is cut off."
            raise decoding.ImageError(msg)

    splits = {}
    for key, animals in cats.splits.items():
        broken = Broken(f"broken {key[1]}", animals[0].photo.pixels)
        splits[key] = [replace(animals[0], name=broken.name, photo=broken), *animals]
    result = run(transfer(iterations=1), context=open_as(replace(cats, splits=splits)))
    assert result.skipped == {"broken val": "'broken val' is cut off."}
    assert result.summary.left_out == result.skipped
    assert "broken val" not in result.summary.objects
    assert (len(result.records), result.finished) == (2, True)
    for record in result.records.values():
        assert sorted(record.neighbours) == sorted(cat.name for cat in cats.instances(CAT, "train"))


def test_an_object_alone_in_its_category_is_said_to_have_no_neighbours(cats, open_as):
    train = cats.instances(CAT, "train")
    alone = replace(cats, splits={(CAT, "train"): train[:1], (CAT, "val"): train[-1:]})
    with pytest.raises(ValueError, match="again needs neighbours in other photos of its category's train split"):
        run(transfer(), context=open_as(alone))


def test_an_unknown_feature_is_refused_before_anything_is_drawn(cats, open_as):
    with pytest.raises(ValueError, match="layer of alexnet must be one of .*; got 'conv9'"):
        run(transfer(features=("conv9",)), context=open_as(cats))
    assert not loads(cats, "train") + loads(cats, "val")


# --- Stopped and gone on with ----------------------------------------------------------------------------------------


def test_a_stopped_transfer_measures_only_what_is_left(cats, open_as, store):
    context = open_as(cats)
    with pytest.raises(StopError):
        run(transfer(), context=context, store=store, progress=stop_at("1 of 2"))
    partial = store.load(transfer().resolved(context), context)
    assert (len(partial.records), partial.asked, partial.finished) == (1, 2, False)
    first, second = (cat.photo.name for cat in cats.instances(CAT, "val"))
    assert loads(cats, "val") == [first]
    resumed = run(transfer(), context=open_as(cats), store=store)
    assert loads(cats, "val") == [first, second]
    assert resumed.finished
    assert resumed.to_json() == run(transfer(), context=open_as(cats)).to_json()


def test_a_finished_transfer_describes_nothing(cats, open_as, store):
    experiment = transfer(smoothness=None, limit=1)
    once = run(experiment, context=open_as(cats), store=store)
    before = loads(cats, "train"), loads(cats, "val")
    told = []
    again = run(experiment, context=open_as(cats), store=store, progress=lambda *each: told.append(each))
    assert again.to_json() == once.to_json()
    assert (loads(cats, "train"), loads(cats, "val")) == before
    assert [done for done, _ in told] == [0, 1]


@pytest.mark.parametrize(
    "other",
    [{"smoothness": 0.2}, {"iterations": 2}, {"position": 0.01}, {"order": "likeness"}, {"features": ()}],
    ids=lambda other: next(iter(other)),
)
def test_other_settings_have_a_file_of_their_own(cats, open_as, store, other):
    context = open_as(cats)
    paths = {store.path(each.resolved(context), context) for each in (transfer(), transfer(**other))}
    assert len(paths) == 2


# --- The limit -------------------------------------------------------------------------------------------------------


def test_a_limit_takes_objects_of_the_whole_split_that_a_larger_one_takes_too(cats, open_as, store):
    val = [replace(cat, name=f"val {n}") for n, cat in enumerate(cats.instances(CAT, "train"))]
    context = open_as(with_split(cats, "val", val))
    results = [run(transfer(limit=limit, iterations=1), context=context, store=store) for limit in (2, 3, None)]
    names = [list(result.records) for result in results]
    assert [len(each) for each in names] == [result.asked for result in results] == [2, 3, 6]
    assert sorted(names[0]) != ["val 0", "val 1"]
    assert names[1][:2] == names[0]
    assert sorted(names[2]) == [cat.name for cat in val]
    paths = sorted(path.name for path in store.scan().results)
    assert paths == [
        f"transfer toy cat, features sift20{limit}, iterations 1, smoothness 0.1.jsonl"
        for limit in ("", ", limit 2", ", limit 3")
    ]


def test_a_limit_is_of_the_search_too_and_leaves_enough_neighbours(cats, open_as, store):
    result = run(transfer(smoothness=None, limit=1, iterations=1), context=open_as(cats), store=store)
    [record] = result.records.values()
    assert len(record.neighbours) == 6  # of at least 50 train objects, as there are
    [path] = store.folder.glob("*/smoothness*")
    assert (store.read(path).asked, "limit 1" in path.name) == (1, True)


# --- The smoothness --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(drawn, alexnet, tmp_path_factory):
    store = ResultStore(tmp_path_factory.mktemp("searched"))
    context = Context(opened_datasets={"toy": drawn}, opened_networks={"alexnet": alexnet})
    search = SmoothnessSearch("toy", CAT, features=("conv3", "sift20"), iterations=3, smoothnesses=(0.02, 3.0))
    return run(search, context=context, store=store)


def test_smoothness_is_searched_on_train_objects_without_their_own_photos(drawn, searched):
    train = {cat.name: cat for cat in drawn.instances(CAT, "train")}
    assert set(searched.records) == set(train)
    for name, record in searched.records.items():
        elsewhere = {other for other, cat in train.items() if cat.photo.name != train[name].photo.name}
        assert sorted(record.neighbours) == sorted(elsewhere)
    assert len(searched.records["again"].neighbours) == 4


def test_the_smoothness_chosen_is_that_of_highest_pck(searched, drawn):
    truth = np.array([record.truth for record in searched.records.values()])
    boxes = np.array([record.box for record in searched.records.values()])
    for feature, chosen in best_smoothness(searched).items():
        scores = {}
        for value in (0.02, 3.0):
            predicted = np.array([record.predicted[f"{feature.key} {value}"] for record in searched.records.values()])
            errors = keypoint_errors(predicted, truth, boxes)
            scores[value] = pck(errors, alpha=0.1, rng=np.random.default_rng(0)).mean
        assert scores[0.02] != scores[3.0]
        assert chosen == max(scores, key=scores.get)


def test_of_smoothnesses_that_do_equally_well_the_least_is_chosen(searched):
    """No truth at all is missed by everybody alike."""
    records = {
        name: replace(record, truth=np.where(np.isfinite(record.truth), -1e6, np.nan))
        for name, record in searched.records.items()
    }
    for values in ((0.02, 3.0), (3.0, 0.02)):
        equal = replace(searched, records=records, experiment=replace(searched.experiment, smoothnesses=values))
        assert set(best_smoothness(equal).values()) == {0.02}


def test_a_transfer_takes_the_smoothness_that_its_search_finds_and_tells_of_it(cats, open_as, store):
    told = []
    experiment = transfer(smoothness=None, limit=2, iterations=1)
    result = run(experiment, context=open_as(cats), store=store, progress=lambda _, text: told.append(text))
    [path] = store.folder.glob("*/smoothness*")
    [(feature, value)] = best_smoothness(store.read(path)).items()
    assert result.notes == {"smoothness": {feature.key: value}}
    assert result.experiment.note_lines(result.notes) == [f"sift20: smoothness {value:g}"]
    stages = list(dict.fromkeys(text.split(":")[0] for text in told))
    assert stages == [
        "opening data, network and results",
        "describing train objects",
        "choosing the smoothness",
        "1 of 2",
        "2 of 2",
    ]
    assert path not in store.scan().results  # it is a part of another


def test_a_stopped_search_for_the_smoothness_goes_on(cats, open_as, store):
    experiment = transfer(smoothness=None, limit=3, iterations=1)
    with pytest.raises(StopError):
        run(experiment, context=open_as(cats), store=store, progress=stop_at("choosing the smoothness: 2 of"))
    [path] = store.folder.glob("*/smoothness*")
    kept = store.read(path)
    assert (len(kept.records), kept.asked) == (2, 3)
    resumed = run(experiment, context=open_as(cats), store=store)
    assert resumed.to_json() == run(experiment, context=open_as(cats)).to_json()


def test_where_nothing_can_be_written_the_search_says_nothing_more(cats, open_as, unwritable, recwarn):
    experiment = transfer(smoothness=None, limit=1, iterations=1)
    result = run(experiment, context=open_as(cats), store=ResultStore(unwritable))
    assert result.finished
    assert len(recwarn) == 1
