"""The sweep over depth against the tasks that it asks of every layer."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from corrcore import networks, patch_index
from corrcore.experiments import LayerRecord, ResultStore, SmoothnessSearch, Sweep, best_layers, best_smoothness, run
from corrcore.experiments.sweep import MEASURES, NOTHING, measure_text
from corrcore.features import Feature
from corrcore.metrics import Estimate
from corrcore.tasks import classification, reconstruction
from corrcore.tasks.effective_field import effective_field
from tests.experiments.conftest import CAT

CONV1, CONV3 = Feature("alexnet", "conv1"), Feature("alexnet", "conv3")


def sweep(*layers, **options):
    chosen = {"objects": 2, "photos": 2, "limit": None} | options
    return Sweep("toy", CAT, "alexnet", layers, **chosen)


@pytest.fixture
def found(cats, open_as, tmp_path):
    context = open_as(cats)
    return run(sweep("conv3", "conv1"), context=context, store=ResultStore(tmp_path)), context, cats


@pytest.mark.slow
def test_numbers_are_those_of_the_tasks(found, alexnet, tmp_path):
    result, context, cats = found
    assert list(result.summary) == [CONV1, CONV3]  # by depth
    record, train = result.summary[CONV3], cats.visible_instances(CAT, "train")
    assert (record.depth, record.stride_px) == (5 / 8, 16)
    samples = classification.samples(train, [CONV3], cats.keypoint_names[CAT], network=alexnet)
    _, curve = classification.best_cost(samples, CONV3, [one.photo.name for one in train])
    accuracy = record.measures["classification"]
    assert accuracy.value == pytest.approx(100 * max(curve))
    assert accuracy.low <= accuracy.value <= accuracy.high
    search = run(SmoothnessSearch("toy", CAT, "alexnet", (CONV3,), n_objects=2), context=context)
    assert record.smoothness == best_smoothness(search)[CONV3]
    table = search.summary
    assert record.measures["transfer"].value == max(table.accuracy(row, alpha=0.1).value for row in table.rows)
    radius = record.measures["effective"]
    assert radius.samples == 2
    assert 10 < radius.value < effective_field(alexnet, "conv5", [train[0].photo]).radius_px


@pytest.mark.slow
def test_localisation_is_that_of_patches_retrieved_among_other_photos(found, alexnet, tmp_path):
    result, _, cats = found
    train = list({one.photo.name: one.photo for one in cats.visible_instances(CAT, "train")}.values())
    order = np.random.default_rng(0).permutation(len(train))
    lot = [train[n] for n in order]
    index = patch_index.build(lot[:2], tmp_path / "few", extractor=alexnet, layers=["conv3"])
    scores = []
    for number, photo in enumerate(lot[2:]):
        image = photo.load()
        retrieval = reconstruction.retrieve(image, "conv3", extractor=alexnet, index=index, k=1)
        localisation = retrieval.localise(image, index, rng=np.random.default_rng(number))
        scores.append(localisation.score)
    assert result.summary[CONV3].measures["localisation"].value == pytest.approx(np.nanmean(scores))


@pytest.mark.slow
def test_layers_that_were_measured_stay_and_others_join_them(found, tmp_path):
    result, context, _ = found
    more = run(sweep("conv2"), context=context, store=ResultStore(tmp_path))
    assert [feature.layer for feature in more.summary] == ["conv1", "conv2", "conv3"]
    for feature, record in result.summary.items():
        for name, each in record.measures.items():
            other = more.summary[feature].measures[name]
            np.testing.assert_array_equal([each.value, each.low, each.high], [other.value, other.low, other.high])


def test_all_layers_but_those_of_the_finest_grids_are_swept_unless_others_are_asked_for(alexnet):
    assert [feature.layer for feature in Sweep.usual_features(alexnet)] == list(alexnet.layers)
    module = nn.Sequential(nn.Conv2d(3, 2, 2, stride=2), nn.ReLU(), nn.Conv2d(2, 2, 4, stride=4))
    fine = networks.from_module(module, device="cpu")
    assert len(fine.layers) == 2
    assert Sweep.usual_features(fine) == (Feature(fine.name, fine.layers[1]),)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": ("sift20",)}, "layers of alexnet; got sift20"),
        ({"objects": 1}, "objects must be at least 2; got 1"),
        ({"photos": 0}, "photos must be at least 2; got 0"),
    ],
    ids=str,
)
def test_what_cannot_be_swept_is_refused(cats, open_as, options, words):
    with pytest.raises(ValueError, match=words):
        run(replace(sweep("conv3"), **options), context=open_as(cats))


def layer(**values):
    measures = dict.fromkeys(MEASURES, NOTHING)
    return LayerRecord(0.5, 16, 0.1, measures | {name: replace(NOTHING, value=each) for name, each in values.items()})


def test_the_best_layer_is_the_first_of_the_highest_and_none_where_nothing_was_found():
    summary = {
        CONV1: layer(classification=50.0, effective=90.0),
        CONV3: layer(classification=60.0),
        Feature("alexnet", "conv5"): layer(classification=60.0),
    }
    assert best_layers(summary) == {"classification": CONV3}
    rows = sweep().summary_rows(summary)
    assert [row["best for"] for row in rows] == ["", "classification", ""]


def test_numbers_in_words():
    assert measure_text("transfer", NOTHING) == "none"
    assert measure_text("localisation", Estimate(0.701, 0.689, 0.712, np.empty(0), 3)) == "0.70 [0.69, 0.71]"
    assert measure_text("agreement", Estimate(np.inf, 30.0, np.inf, np.empty(0), 3)) == "does not fall [30 or more]"
    assert measure_text("effective", replace(NOTHING, value=24.6)) == "25"
