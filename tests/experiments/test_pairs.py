"""Pairs of photos: PCK counted by hand, and pairs of drawn animals measured in earnest."""

from dataclasses import replace

import numpy as np
import pytest

from corrcore.datasets import toy
from corrcore.datasets.records import Instance, InstancePair, KeypointDataset
from corrcore.experiments import Context, PairRecord, Pairs, Result, ResultStore, run
from corrcore.experiments.base import to_jsonable
from corrcore.experiments.pairs import DescribedOnce
from corrcore.features import Feature
from corrcore.tasks import positional_subspace
from corrcore.tasks.matching import MatchOptions, describe, match
from tests.conftest import smooth_noise
from tests.experiments.conftest import Drawn

CONV3, CONV4 = Feature("alexnet", "conv3"), Feature("alexnet", "conv4")
HIDDEN = [np.nan, np.nan]


# --- PCK by hand -----------------------------------------------------------------------------------------------------


def record(source, target, side, truth, predicted):
    """A pair whose target's box leads from pixel 0 to pixel `side`, and is half as high."""
    points = {"conv4": np.array(predicted, float)}
    return PairRecord((-0.5, -0.5, side + 0.5, side / 2), np.array(truth, float), (source,), points, (source, target))


@pytest.fixture
def by_hand():
    """Points within 10, 5 and 20 px of 100, 50 and 200 px count as right at 0.1."""
    records = {
        "1": record("a", "b", 100, [[10, 10], [50, 20], HIDDEN], [[20, 10], [53, 24], HIDDEN]),  # 10 and 5 off
        "2": record("b", "a", 50, [[10, 10], HIDDEN, HIDDEN], [[13, 15], HIDDEN, HIDDEN]),  # 5.8 off
        "3": record("c", "a", 200, [[0, 0], [9, 9], [100, 50]], [[0, 20.1], [19, 9], [100, 50]]),  # 20.1, 10 and 0
    }
    return Result(Pairs("toy", "toy cat"), {"keypoints": ["0", "1", "2"]}, records, {}, 3, {})


def test_pck_per_point_and_per_image_are_as_counted_by_hand(by_hand):
    """At 0.1 right are 2 of 2, 0 of 1, 2 of 3; at 0.05 they are 1 of 2, 0 of 1, 2 of 3."""
    table = by_hand.summary
    (row,) = table.rows
    found = {
        (alpha, over): table.accuracy(row, alpha=alpha, over=over).value
        for alpha in (0.1, 0.05)
        for over in ("micro", "per_image")
    }
    assert found == pytest.approx(
        {
            (0.1, "micro"): 100 * 4 / 6,
            (0.1, "per_image"): 100 * (1 + 0 + 2 / 3) / 3,
            (0.05, "micro"): 100 * 3 / 6,
            (0.05, "per_image"): 100 * (1 / 2 + 0 + 2 / 3) / 3,
        }
    )


def test_rows_have_both_averages_at_both_alphas_with_counts(by_hand):
    (row,) = by_hand.experiment.summary_rows(by_hand.summary)
    assert (row["row"], row["pairs"], row["points"]) == ("conv4", "3", "6")
    assert {name: cell.split()[0] for name, cell in row.items() if "PCK" in name} == {
        "PCK at 0.1 per point, %": "66.7",
        "PCK at 0.05 per point, %": "50.0",
        "PCK at 0.1 per image, %": "55.6",
        "PCK at 0.05 per image, %": "38.9",
    }
    (mean,) = Pairs.mean_rows([by_hand.summary] * 2)
    assert (mean["PCK at 0.1 per point, %"], mean["categories"]) == ("66.7", "2")


def test_a_brute_force_count_of_many_points_agrees():
    rng = np.random.default_rng(0)
    records, right, shares, n = {}, 0, [], 0
    for number in range(40):
        side = int(rng.integers(40, 300))
        truth, shown = rng.uniform(0, side / 2, (5, 2)), rng.uniform(size=5) < 0.7
        shown[0] = True
        predicted = truth + rng.normal(0, 0.1 * side, (5, 2))
        hits = [
            (x - u) ** 2 + (y - v) ** 2 <= (0.1 * side) ** 2
            for (x, y), (u, v), there in zip(truth, predicted, shown, strict=True)
            if there
        ]
        right, n = right + sum(hits), n + len(hits)
        shares.append(sum(hits) / len(hits))
        truth[~shown] = np.nan
        records[str(number)] = record(f"s{number % 7}", f"t{number % 5}", side, truth, predicted)
    result = Result(Pairs("toy", "toy cat"), {"keypoints": list("01234")}, records, {}, 40, {})
    (row,) = result.summary.rows
    assert result.summary.accuracy(row, over="micro").value == pytest.approx(100 * right / n)
    assert result.summary.accuracy(row, over="per_image").value == pytest.approx(100 * np.mean(shares))


def test_intervals_are_over_photos(by_hand):
    """Twelve pairs of two photos among others tell less than twelve pairs of photos of their own."""
    good = record("a", "b", 100, [[10, 10]], [[10, 10]])
    bad = record("c", "d", 100, [[10, 10]], [[90, 40]])
    few, many = {}, {}
    for n in range(24):
        kind = good if n % 2 else bad
        few[str(n)], many[str(n)] = kind, replace(kind, photos=(f"s{n}", f"t{n}"))
    width = {}
    for name, records in (("few", few), ("many", many)):
        result = replace(by_hand, records=records, provenance={"keypoints": ["0"]}, asked=24)
        found = result.summary.accuracy(result.summary.rows[0])
        width[name] = found.high - found.low
    assert width["few"] == 100 > width["many"] > 20


# --- Left or right ---------------------------------------------------------------------------------------------------

EARS = ["L_Ear", "Nose", "R_Ear"]


def test_taken_twins_are_as_counted_by_hand():
    """Of six ears one is taken for the other, one for it though nearer to itself, two are right, two are elsewhere."""
    records = {
        "1": record("a", "b", 100, [[20, 20], [30, 30], [40, 20]], [[41, 20], [40, 20], [40, 21]]),
        "2": record("b", "c", 100, [[20, 20], HIDDEN, [28, 20]], [[23, 20], HIDDEN, [28, 40]]),  # both at 10 px
        "3": record("c", "a", 100, [[20, 20], [30, 30], HIDDEN], [[20, 20], [30, 30], HIDDEN]),  # shows one ear alone
        "4": record("d", "a", 100, [[20, 20], HIDDEN, [40, 20]], [[30.5, 20], HIDDEN, [90, 20]]),  # of the twin 9.5
    }
    result = Result(Pairs("toy", "toy cat"), {"keypoints": EARS}, records, {}, 4, {})
    table = result.summary
    found = table.twins_taken(table.rows[0])
    assert found is not None
    assert found.of_either is not None
    assert (found.n, found.taken.value, found.right.value) == pytest.approx((6, 100 * 2 / 6, 100 * 2 / 6))
    assert found.of_either.value == pytest.approx(50)
    (row,) = result.experiment.summary_rows(table)
    assert row["twin taken at 0.1, %"].split()[0] == "33.3"
    assert row["of places at either (chance 50), %"].split()[0] == "50.0"
    (mean,) = Pairs.mean_rows([table] * 2)
    assert mean["twin taken at 0.1, %"] == "33.3"


def test_a_brute_force_count_of_taken_twins_agrees():
    rng = np.random.default_rng(1)
    records, taken, right, n = {}, 0, 0, 0
    for number in range(60):
        truth = rng.uniform(0, 25, (4, 2))
        predicted = truth[rng.integers(0, 4, 4)] + rng.normal(0, 6, (4, 2))
        truth[rng.uniform(size=4) < 0.2] = np.nan
        truth[3] = 5, 5
        for k, twin in ((0, 1), (1, 0)):
            if np.isnan(truth[[k, twin]]).any():
                continue
            own, other = (np.hypot(*(predicted[k] - truth[at])) for at in (k, twin))
            n += 1
            taken += other <= 10 and other < own
            right += own <= 10 and not other < own
        records[str(number)] = record(f"s{number % 9}", f"t{number % 8}", 100, truth, predicted)
    names = ["left_eye", "right_eye", "L_Ear", "nose"]  # an ear without its twin
    table = Result(Pairs("toy", "toy cat"), {"keypoints": names}, records, {}, 60, {}).summary
    found = table.twins_taken(table.rows[0])
    assert found is not None
    assert found.of_either is not None
    assert (found.n, found.taken.value, found.right.value) == pytest.approx((n, 100 * taken / n, 100 * right / n))
    assert found.of_either.value == pytest.approx(100 * taken / (taken + right))
    assert found.taken.low < found.taken.value < found.taken.high


def test_keypoints_without_sides_have_no_twins(by_hand):
    table = by_hand.summary
    assert table.twins_taken(table.rows[0]) is None
    assert not any("twin" in heading for heading in by_hand.experiment.summary_rows(table)[0])


# --- Pairs of a data set ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def animals():
    return toy.load(n_train=2, n_val=3)


@pytest.fixture
def context(animals, alexnet):
    return Context(opened_datasets={"toy": animals}, opened_networks={"alexnet": alexnet})


def test_without_a_list_pairs_are_all_that_share_a_keypoint(animals):
    val = animals.instances("toy cat", "val")
    found = [(pair.source.name, pair.target.name) for pair in animals.pairs("toy cat", "val")]
    assert found == [(a.name, b.name) for a in val for b in val if a is not b and (a.visible & b.visible).any()]
    twice = replace(animals, splits={("toy cat", "val"): [val[0], replace(val[0], name="another"), val[1]]})
    assert {pair.source.name for pair in twice.pairs("toy cat", "val") if pair.target.name == "another"} == {
        val[1].name  # none with itself, in one photo
    }


def test_a_list_is_taken_as_it_is(animals):
    first, second, _ = animals.instances("toy cat", "val")
    listed = replace(animals, listed_pairs={("toy cat", "val"): [InstancePair("only", first, second)]})
    assert [pair.name for pair in listed.pairs("toy cat", "val")] == ["only"]
    assert not listed.pairs("toy cow", "val")
    with pytest.raises(ValueError, match="split of toy cat in toy must be one of train, val; got 'test'"):
        listed.pairs("toy cat", "test")


def test_split_and_extent_are_as_usual_unless_given(context, animals):
    found = Pairs("toy", "toy cat").resolved(context)
    assert (found.split, found.extent, found.feature_list) == ("val", "photo", (CONV4,))
    assert Pairs("toy", "toy cat", method="mrf").resolved(context).extent == "box"
    tested = replace(animals, splits={**animals.splits, ("toy cat", "test"): animals.instances("toy cat", "val")})
    at = Context(opened_datasets={"toy": tested}, opened_networks=context.opened_networks)
    assert Pairs("toy", "toy cat").resolved(at).split == "test"
    with pytest.raises(ValueError, match="split of toy cat in toy must be one of train, val; got 'test'"):
        Pairs("toy", "toy cat", split="test").resolved(context)
    with pytest.raises(ValueError, match="refine is for method nn"):
        Pairs("toy", "toy cat", method="mrf", refine=True).resolved(context)


@pytest.fixture
def shifted(alexnet):
    """One picture through three windows; keypoints are the same places, some hidden, and boxes are known."""
    scene, names = smooth_noise(520, 460, seed=3), ("0", "1", "2")
    places = np.array([[220.0, 200.0], [300.0, 190.0], [250.0, 240.0]])
    objects = []
    for number, corner in enumerate([(96, 96), (128, 80), (112, 112)]):
        photo = Drawn(f"{number}.png", scene[corner[1] : corner[1] + 256, corner[0] : corner[0] + 320])
        keypoints = places - corner
        keypoints[number] = np.nan
        objects.append(Instance(f"window {number}", "scene", photo, (59.5, 59.5, 260.5, 200.5), keypoints))
    data = KeypointDataset("scenes", "Scenes", "1", True, {"scene": names}, {("scene", "test"): objects}, {})
    return Context(opened_datasets={"scenes": data}, opened_networks={"alexnet": alexnet})


def test_shifts_of_whole_cells_are_found_and_hidden_keypoints_left_out(shifted):
    result = run(Pairs("scenes", "scene", longer_side=320), context=shifted)
    assert len(result.records) == 6
    table = result.summary
    assert table.accuracy(table.rows[0]).value == 100  # within 20 px, and a cell is right within 8
    assert int(table.visible.sum()) == 6  # each pair shows one of three
    for found in result.records.values():
        assert (np.isnan(found.predicted["conv4"]) == np.isnan(found.truth)).all()


def test_places_are_those_without_position_where_it_is_taken_out(shifted, alexnet, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    result = run(Pairs("scenes", "scene", longer_side=320, without_position=6), context=shifted)
    assert result.experiment.settings()["without_position"] == 6
    assert result.provenance["positional_subspace"] == positional_subspace.VERSION
    assert "positional_subspace" not in Pairs("scenes", "scene").resolved(shifted).provenance(shifted)
    pair = next(iter(shifted.dataset("scenes").pairs("scene", "test")))
    options = MatchOptions(longer_side=320, without_position=6)
    source, target = (
        describe(each.photo.load(), [CONV4], network=alexnet, options=options)[CONV4]
        for each in (pair.source, pair.target)
    )
    expected = match(source, target, pair.source.keypoints[pair.shared], options=options)
    np.testing.assert_allclose(result.records[pair.name].predicted["conv4"][pair.shared], expected, atol=0.01)
    with pytest.raises(ValueError, match="without_position must be 0 to 64 directions"):
        Pairs("scenes", "scene", without_position=65).resolved(shifted)


def test_results_are_kept_and_read_again(shifted, tmp_path):
    store = ResultStore(tmp_path / "results")
    experiment = Pairs("scenes", "scene", longer_side=320, features=("conv3", "conv4"), limit=3)
    first = run(experiment, context=shifted, store=store)
    again = store.load(experiment.resolved(shifted), shifted)
    assert again is not None
    assert len(again.records) == 3
    assert to_jsonable(again.records) == to_jsonable(first.records)
    assert again.experiment.summary_rows(again.summary) == first.experiment.summary_rows(first.summary)


def test_a_photo_is_described_once_and_few_are_kept(shifted, alexnet):
    first, second, third = shifted.dataset("scenes").instances("scene", "test")
    described = DescribedOnce((CONV3, CONV4), alexnet, MatchOptions(longer_side=320))
    found = described(first)
    assert described(first) is found
    size = described.n_bytes
    two = DescribedOnce((CONV3, CONV4), alexnet, MatchOptions(longer_side=320), limit_bytes=2 * size)
    kept = two(first), two(second)
    assert two(first) is kept[0]
    two(third)  # in the place of the second, which was asked for longest ago
    assert two.n_bytes == 2 * size
    assert two(first) is kept[0]
    assert two(second) is not kept[1]
    small = DescribedOnce((CONV4,), alexnet, MatchOptions(longer_side=320), limit_bytes=1)
    assert small(first) is small(first)  # what was asked for last is kept whatever its size


# --- Real data -------------------------------------------------------------------------------------------------------


def test_real_cows_are_matched_far_above_chance(data_folder, alexnet):
    folder = data_folder / "SPair-71k"
    if not folder.is_dir():
        pytest.skip("CORRCORE_DATA holds no SPair-71k")
    context = Context(opened_networks={"alexnet": alexnet})
    result = run(Pairs(str(folder), "cow", split="val", limit=60), context=context)
    found = result.summary.accuracy(result.summary.rows[0])
    assert found.value > 10  # the same place of the photo has 4
