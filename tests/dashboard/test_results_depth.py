"""The sweep over depth on the Results page: several networks in one figure."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from corrcore import experiments
from corrcore.experiments import Context, LayerRecord, ResultStore, Sweep
from corrcore.experiments.results import Outcome
from corrcore.experiments.sweep import MEASURES, NOTHING
from dashboard import figures
from dashboard.figures import DepthCurve

CAT, VALUES = "toy cat", {"conv1": 40.0, "conv3": 70.0, "conv5": 60.0}


@pytest.fixture(autouse=True)
def own_cache(cache_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))


def record(number, value):
    found = replace(NOTHING, value=value, low=value - 5, high=value + 5, samples=9)
    measures = dict.fromkeys(MEASURES, NOTHING) | {"classification": found}
    return LayerRecord((number + 1) / 3, 16, 0.1, measures)


def kept(values, *, network="alexnet"):
    """A sweep's file with what was measured of each layer, as if of another network."""
    context, store = Context(), ResultStore()
    sweep = Sweep("toy", CAT, "alexnet", tuple(values)).resolved(context)
    path = store.path(sweep, context)
    file = store.open(sweep, context)
    file.ask(list(values))
    for number, (layer, value) in enumerate(values.items()):
        file.add(layer, str(sweep.feature_list[number]), Outcome(record(number, value)))
    if network != "alexnet":
        text = path.read_text().replace('"alexnet"', json.dumps(network)).replace("alexnet:", f"{network}:")
        other = path.parent.with_name(path.parent.name.replace("alexnet", network))
        other.mkdir()
        (other / path.name).write_text(text)
        path.unlink()


def test_without_a_sweep_the_page_says_how_to_make_one(open_page):
    at = open_page("results", table="Sweep over depth")
    assert "corrcore evaluate sweep" in " ".join(each.value for each in [*at.markdown, *at.info, *at.caption, *at.code])


def test_networks_stand_side_by_side_with_all_their_layers(open_page, offered):
    kept({"conv1": 30.0, "conv3": 50.0, "conv5": 80.0}, network="other")
    kept(VALUES)
    at = open_page("results", table="Sweep over depth")
    assert not at.exception
    assert sorted(at.multiselect(key="swept_networks").value) == ["AlexNet", "other"]
    [rows] = [each.value for each in at.dataframe]
    lines = rows.to_dict("records")
    assert [(line["network"], line["layer"]) for line in lines if line["best for"] == "classification"] == [
        ("AlexNet", "conv3"),
        ("other", "conv5"),
    ]
    assert lines[1][MEASURES["classification"]] == "70.0 [65.0, 75.0]"
    [text] = [make().decode() for name, make in offered.items() if name.endswith(".csv")]
    assert len(list(csv.DictReader(io.StringIO(text)))) == 6
    at.multiselect(key="swept_networks").set_value(["other"]).run()
    [rows] = [each.value for each in at.dataframe]
    assert set(rows["network"]) == {"other"}


def test_a_curve_leaves_out_what_is_infinite_and_stars_its_highest_point():
    values = [replace(NOTHING, value=value, low=value - 1, high=value + 1) for value in (3.0, np.inf, 9.0)]
    curve = DepthCurve("it", ["a", "b", "c"], [0.3, 0.6, 1.0], values)
    figure = figures.depth_curves([curve], colours=figures.network_colours(["it"]), title="px")
    band, line = figure.data
    np.testing.assert_array_equal(line.y, [3.0, np.nan, 9.0])
    assert list(line.marker.symbol) == ["circle", "circle", "star"]
    assert list(band.y) == [4.0, 10.0, 8.0, 2.0]


def test_sweeps_are_among_the_kinds():
    assert experiments.find("sweep") is Sweep
