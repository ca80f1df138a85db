"""Confidences learnt and judged: on pairs made up so that the truth is known, and on drawn animals in earnest."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from corrcore.datasets import toy
from corrcore.experiments import Confidence, ConfidenceTraining, MatchRecord, Pairs, Result, ResultStore, run
from corrcore.experiments.base import to_jsonable
from corrcore.features import Feature
from corrcore.tasks import matching
from corrcore.tasks.confidence import Calibration
from corrcore.tasks.matching import MatchOptions
from tests.experiments.conftest import CAT

CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")


# --- Made up ---------------------------------------------------------------------------------------------------------


def made_up(n_pairs: int, seed: int, *, points: int = 12, shift: float = 0.0) -> dict[str, MatchRecord]:
    """Pairs of 40 photos whose points are shown seven times of ten, and else right as often as a margin says."""
    rng = np.random.default_rng(seed)
    records = {}
    for number in range(n_pairs):
        first, second = rng.choice(40, 2, replace=False)
        margin, cycle = rng.uniform(0, 0.3, points), rng.exponential(0.1, points)
        similarity, mutual = rng.uniform(0.3, 0.9, points), rng.uniform(size=points) < 0.5
        found = np.stack([similarity, margin, cycle, mutual, np.full(points, np.nan)], axis=-1)
        shown = rng.uniform(size=points) < 0.7
        right = rng.uniform(size=points) < 1 / (1 + np.exp(shift - 8 * np.sqrt(margin) + 3 + mutual))
        errors = np.where(shown, np.where(right, 0.05, 0.3), np.nan)
        records[str(number)] = MatchRecord((f"{first}", f"{second}"), {"conv4": found}, {"conv4": errors})
    return records


@pytest.fixture
def result(alexnet):
    """What is learnt of some pairs, judged on others."""

    def judge(learnt: dict[str, MatchRecord], judged: dict[str, MatchRecord]) -> Result:
        asked = Confidence("toy", (CAT,), features=(CONV4,), learn_from=(CAT,))
        provenance = {"data": "made up", "data_digest": "0"}
        training = Result(asked.training, provenance, learnt, {}, len(learnt), {})
        calibrations = asked.training.calibrations(training, alexnet)
        notes = {"calibrations": [each.to_plain() for each in calibrations.values()]}
        return Result(asked, provenance, judged, {}, len(judged), notes)

    return judge


def test_what_is_right_as_often_as_it_was_is_well_calibrated(result):
    """Also where three of ten points are not shown, which are never right."""
    [judged] = result(made_up(500, 0), made_up(500, 1)).summary.features.values()
    assert judged.bins.expected_error < 3
    inside = [
        each.low <= mean <= each.high for mean, each in zip(judged.bins.confidences, judged.bins.right, strict=True)
    ]
    assert sum(inside) >= 7
    assert judged.risk.low < judged.risk.value < judged.risk.high < 100 * (~judged.right).mean()
    assert 0.45 < judged.apart.low < judged.apart.high < 0.55  # nothing tells what is not shown


def test_what_is_right_less_often_is_not(result):
    """Held-out pairs that are harder: more confidence than there is reason for, in every bin but those near zero."""
    [judged] = result(made_up(500, 0), made_up(500, 1, shift=2)).summary.features.values()
    assert judged.bins.expected_error > 8
    assert judged.bins.right[-1].high < judged.bins.confidences[-1]


def test_right_are_shown_points_within_a_tenth(result):
    found = result(made_up(200, 0), made_up(30, 1))
    errors = np.concatenate([each.errors["conv4"] for each in found.records.values()])
    [judged] = found.summary.features.values()
    assert judged.right.tolist() == [bool(each <= 0.1) for each in errors]  # NaN is not
    np.testing.assert_array_equal(judged.shown, np.isfinite(errors))
    assert judged.apart.value == pytest.approx(roc_auc_score(~judged.shown, -judged.confidences))
    [row] = found.experiment.summary_rows(found.summary)
    learnt = judged.calibration.learnt_from.right
    assert float(row["ECE, constant"]) == pytest.approx(100 * abs(learnt - judged.right.mean()), abs=0.051)
    assert float(row["AURC, constant"]) == pytest.approx(100 - 100 * judged.right.mean(), abs=0.051)
    assert (row["pairs"], row["points"], row["not shown"]) == ("30", "360", str((~judged.shown).sum()))


def test_where_all_points_are_shown_nothing_is_told_apart(result):
    shown = {
        name: replace(each, errors={"conv4": np.nan_to_num(each.errors["conv4"], nan=0.3)})
        for name, each in made_up(30, 1).items()
    }
    found = result(made_up(200, 0), shown)
    assert found.experiment.summary_rows(found.summary)[0]["AUC, not shown"] == "none"


# --- Drawn animals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"refine": True}, {"method": "mrf"}], ids=["nn", "mrf"])
def test_drawn_cats_are_learnt_from_and_judged(cats, open_as, alexnet, store, how):
    context = open_as(cats)
    asked = Confidence("toy", (CAT,), features=("conv4", "sift20"), limit=12, **how)
    found = run(asked, context=context, store=store)
    assert found.finished
    assert list(found.summary.features) == [CONV4, SIFT20]
    calibration = found.summary.features[CONV4].calibration
    assert calibration.learnt_from.split == "train"
    assert calibration.learnt_from.pairs == 12
    assert calibration.is_for(CONV4, network=alexnet, options=asked.options)
    [lines] = found.experiment.note_lines(found.notes)
    assert " points of 12 pairs of " in lines
    again = ResultStore(store.folder).load(found.experiment, context)
    assert again is not None
    assert to_jsonable(again.records) == to_jsonable(found.records)
    assert [each.calibration for each in again.summary.features.values()] == [
        each.calibration for each in found.summary.features.values()
    ]


@pytest.mark.parametrize("taken_out", [0, 6])
def test_evidence_and_errors_are_those_of_matches(cats, open_as, alexnet, taken_out, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    context = open_as(cats)
    options = MatchOptions(longer_side=320, refine=True, without_position=taken_out)
    how = {"longer_side": 320, "refine": True, "without_position": taken_out}
    found = run(Confidence("toy", (CAT,), features=("conv4",), limit=2, **how), context=context)
    [learnt] = [each.calibration for each in found.summary.features.values()]
    assert learnt.is_for(CONV4, network=alexnet, options=options)
    assert ("positional_subspace" in found.provenance) == bool(taken_out)
    for name, pair in found.experiment.samples(context).items():
        source, target = (
            matching.describe(each.photo.load(), [CONV4], network=alexnet, options=options)[CONV4]
            for each in (pair.source, pair.target)
        )
        points = pair.source.keypoints[pair.source.visible]
        matches = matching.match_points(source, target, points, options=options)
        record = found.records[name]
        np.testing.assert_allclose(record.evidence["conv4"][:, 0], matches.similarities, atol=1e-5)
        np.testing.assert_allclose(record.evidence["conv4"][:, 1], matches.margins, atol=1e-5)
        apart = np.linalg.norm(matches.places - pair.target.keypoints[pair.source.visible], axis=1)
        np.testing.assert_allclose(record.errors["conv4"], apart / (max(pair.target.size) - 1), atol=1e-5)


def test_what_was_learnt_once_serves_several_judgments(cats, open_as, store):
    context = open_as(cats)
    asked = Confidence("toy", (CAT,), features=("conv4",), limit=6)
    run(asked, context=context, store=store)
    training = store.load(asked.resolved(context).training.resolved(context), context)
    assert training is not None
    assert len(training.records) == 6
    assert all(result.experiment.kind == "confidence" for result in store.scan().results.values())


def test_other_train_photos_are_another_provenance(cats, open_as):
    context = open_as(cats)
    asked = Confidence("toy", (CAT,), features=("conv4",)).resolved(context)
    before = asked.provenance(context)
    changed = [replace(one, photo=replace(one.photo, stamp="new")) for one in cats.instances(CAT, "train")]
    other = open_as(replace(cats, splits={**cats.splits, (CAT, "train"): changed}))
    assert asked.provenance(other)["learnt_from"] != before["learnt_from"]


def test_categories_can_be_held_out(open_as):
    data = toy.load(n_train=2, n_val=2)
    asked = Confidence("toy", ("toy cow",), learn_from=(CAT,)).resolved(open_as(data))
    assert (asked.categories, asked.training.categories) == (("toy cow",), (CAT,))
    assert {pair.source.category for pair in asked.training.samples(open_as(data)).values()} == {CAT}
    assert {pair.source.category for pair in asked.samples(open_as(data)).values()} == {"toy cow"}


def test_all_options_of_matching_can_be_asked_for():
    how = {"extent": "box", "longer_side": 300, "smoothness": 0.1, "position": 0.01, "iterations": 3}
    asked = Confidence("toy", (CAT,), method="mrf", without_position=8, **how)
    assert asked.options == asked.training.options == MatchOptions("mrf", without_position=8, **how)
    assert Pairs("toy", CAT, method="mrf", without_position=8, **how).options == asked.options
    assert Confidence("toy").options == MatchOptions()


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (Confidence("toy", ("toy dog",)), "must be one of toy cat"),
        (Confidence("toy", (CAT,), learn_from=("toy dog",)), "must be one of toy cat"),
        (Confidence("toy", (CAT,), limit=0), "limit must be at least 1 pair"),
        (Confidence("toy", (CAT,), method="mrf", refine=True), "refine is for method nn"),
        (Confidence("toy", (CAT,), features=("conv4", "conv4")), "conv4 stands twice"),
    ],
)
def test_what_does_not_fit_is_refused(cats, open_as, asked, text):
    with pytest.raises(ValueError, match=text):
        asked.resolved(open_as(cats))


def test_calibrations_of_a_result_are_as_they_were_learnt(cats, open_as, alexnet, store):
    context = open_as(cats)
    training = ConfidenceTraining("toy", (CAT,), features=("conv4",), limit=8).resolved(context)
    learnt = training.calibrations(run(training, context=context, store=store), alexnet)
    found = run(Confidence("toy", (CAT,), features=("conv4",), limit=8), context=context, store=store)
    assert [Calibration.from_plain(each) for each in found.notes["calibrations"]] == list(learnt.values())
