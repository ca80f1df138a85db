"""Confidences on the Results page: charts and a table of what was judged."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest

from corrcore.experiments import Confidence, Context, MatchRecord, Result, ResultStore
from corrcore.experiments.results import Outcome
from corrcore.tasks.confidence import EVIDENCE

TABLE = "Confidence of matches"
CAT, COW = "toy cat", "toy cow"


@pytest.fixture(autouse=True)
def own_cache(cache_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))


def made_up(features, seed):
    """Pairs of twenty photos whose matches are right as often as their margins say."""
    rng = np.random.default_rng(seed)
    records = {}
    for number in range(60):
        first, second = rng.choice(20, 2, replace=False)
        evidence, errors = {}, {}
        for feature in features:
            margin, cycle = rng.uniform(0, 0.3, 8), rng.exponential(0.1, 8)
            columns = rng.uniform(0.3, 0.9, 8), margin, cycle, rng.uniform(size=8) < 0.5, np.full(8, np.nan)
            evidence[feature] = np.stack(columns, axis=-1)
            right = rng.uniform(size=8) < 3 * margin
            errors[feature] = np.where(rng.uniform(size=8) < 0.2, np.nan, np.where(right, 0.05, 0.3))
        records[f"pair {number}"] = MatchRecord((f"{first}", f"{second}"), evidence, errors)
    return records


def kept(alexnet, features=("conv4", "sift20"), *, learnt=True, of=None, missing=(), **settings):
    """A result's file; `missing` are kinds of evidence that what is judged has none of."""
    context, store = Context(opened_networks={"alexnet": alexnet}), ResultStore()
    asked = Confidence("toy", (CAT,), features=features, **settings).resolved(context)
    file = store.open(asked, context)
    records = made_up(features, 1)
    for record in records.values():
        for found in record.evidence.values():
            found[:, [EVIDENCE.index(kind) for kind in missing]] = np.nan
    file.ask(list(records))
    training = Result(asked.training, asked.provenance(context), made_up(features, 0), {}, 60, {})
    calibrations = asked.training.resolved(context).calibrations(training, alexnet)
    if learnt:
        file.note({"calibrations": [each.to_plain() for each in calibrations.values()]})
    for name, record in list(records.items())[:of]:
        file.add(name, "", Outcome(record))
    return file.result()


def test_without_a_result_the_page_says_how_to_make_one(open_page):
    at = open_page("results", table=TABLE)
    assert at.code[0].value == "corrcore evaluate confidence --help"


def test_charts_and_numbers_are_of_every_feature(open_page, alexnet):
    result = kept(alexnet)
    at = open_page("results", table=TABLE)
    assert not at.exception
    [rows] = [each.value for each in at.dataframe]
    assert rows.to_dict("records") == list(result.experiment.summary_rows(result.summary))
    assert len(at.get("plotly_chart")) == 3
    assert at.multiselect(key="judged_features").value == ["conv4", "SIFT, radius 20 px"]
    said = " ".join(each.value for each in at.caption)
    assert "Of 60 pairs of 20 photos, at all keypoints" in said
    assert "Learnt on 480 points of 60 pairs of 20 train photos of toy cat." in said


def test_what_is_being_measured_is_said_to_be(open_page, alexnet):
    kept(alexnet, of=40, limit=60)
    at = open_page("results", table=TABLE)
    said = " ".join(each.value for each in at.caption)
    assert "Of 40 of 60 pairs of 20 photos (at most 60 of each category)" in said
    assert "Some are still being measured" in said


def test_without_features_there_are_no_charts(open_page, alexnet):
    kept(alexnet)
    at = open_page("results", table=TABLE)
    at.multiselect(key="judged_features").set_value([]).run()
    assert not at.exception
    assert not at.get("plotly_chart")
    assert "Choose a feature to draw." in [each.value for each in at.info]
    assert at.dataframe


def test_results_are_told_apart_by_what_they_learnt_from(open_page, alexnet):
    kept(alexnet)
    kept(alexnet, learn_from=(COW,))
    kept(alexnet, features=("conv5",), refine=True)
    at = open_page("results", table=TABLE)
    titles = at.selectbox(key="judged").options
    assert len(set(titles)) == 3
    [held_out] = [each for each in titles if "toy cat (learnt on toy cow)" in each]
    [refined] = [each for each in titles if each.endswith("refine")]
    at.selectbox(key="judged").set_value(held_out).run()
    assert "photos of toy cow." in " ".join(each.value for each in at.caption)
    at.selectbox(key="judged").set_value(refined).run()
    assert not at.exception
    assert at.multiselect(key="judged_features").value == ["conv5"]


def test_what_has_learnt_nothing_yet_is_left_out_with_the_reason(open_page, alexnet):
    kept(alexnet, learnt=False)
    at = open_page("results", table=TABLE)
    assert not at.dataframe
    assert "no confidence has been learnt and judged yet" in " ".join(each.value for each in at.caption)


def test_one_bad_result_leaves_the_page_and_the_others(open_page, alexnet):
    """Matches that have no runner-up have no confidence, so nothing can be judged."""
    kept(alexnet, ("conv4",), missing=("margin",))
    kept(alexnet, ("conv4",), refine=True)
    at = open_page("results", table=TABLE)
    refined, bad = sorted(at.selectbox(key="judged").options, key=lambda title: not title.endswith("refine"))
    at.selectbox(key="judged").set_value(bad).run()
    assert not at.exception
    assert not at.dataframe
    told = " ".join(each.value for each in (*at.caption, *at.markdown))
    assert "has a runner-up, so none has a confidence" in told
    at.selectbox(key="judged").set_value(refined).run()
    assert not at.exception
    assert len(at.dataframe) == 1


def test_the_python_that_is_shown_prints_the_rows(open_page, alexnet):
    result = kept(alexnet)
    at = open_page("results", table=TABLE)
    [python] = [each.value for each in at.code if "ResultStore" in each.value]
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(python, {})
    rows = [json.loads(line.replace("'", '"')) for line in printed.getvalue().splitlines()]
    assert rows == list(result.experiment.summary_rows(result.summary))
