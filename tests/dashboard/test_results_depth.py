"""The sweep over depth on the Results page: several networks in one figure."""

import csv
import io
import json
from contextlib import redirect_stdout
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


def kept(values, *, network="alexnet", digest=None, **settings):
    """A sweep's file with what was measured of each layer, as if of another network or by other weights."""
    context, store = Context(), ResultStore()
    sweep = Sweep("toy", CAT, "alexnet", tuple(values), **settings).resolved(context)
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
    if digest is not None:
        content = path.read_text().replace(context.network("alexnet").digest, digest)
        path.rename(path.with_name(f"{path.stem} by {digest}.jsonl")).write_text(content)


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
    assert any("Measured: AlexNet 3 layers of 8, other 3 layers." in each.value for each in at.caption)
    [text] = [make().decode() for name, make in offered.items() if name.endswith(".csv")]
    assert len(list(csv.DictReader(io.StringIO(text)))) == 6
    at.multiselect(key="swept_networks").set_value(["other"]).run()
    [rows] = [each.value for each in at.dataframe]
    assert set(rows["network"]) == {"other"}


def test_results_of_other_extent_have_an_entry_of_their_own(open_page):
    kept(VALUES)
    kept({"conv1": 1.0}, photos=30)
    kept({"conv1": 2.0}, objects=20)
    kept({"conv1": 3.0}, limit=10)
    kept({"conv1": 4.0}, limit=None)
    at = open_page("results", table="Sweep over depth")
    of = "Drawn animals · toy cat · "
    assert set(at.selectbox(key="swept").options) == {
        of + "at most 100 train objects, 30 transferred to, 60 photos searched",
        of + "at most 100 train objects, 30 transferred to, 30 photos searched",
        of + "at most 100 train objects, 20 transferred to, 60 photos searched",
        of + "at most 10 train objects, 10 transferred to, 60 photos searched",
        of + "all train objects, 30 transferred to, 60 photos searched",
    }


def test_weights_of_one_network_are_told_apart(open_page):
    kept({"conv1": 1.0}, digest="f" * 32)
    kept(VALUES)
    at = open_page("results", table="Sweep over depth")
    first, second = sorted(at.multiselect(key="swept_networks").value)
    assert (first[:17], second) == ("AlexNet, weights ", "AlexNet, weights ffffffff")
    assert len(at.dataframe[0].value) == 4


def test_what_nothing_tells_apart_has_the_files_name(open_page):
    kept(VALUES)
    [file] = ResultStore().folder.glob("*/sweep*.jsonl")
    file.with_name("sweep copied.jsonl").write_bytes(file.read_bytes())
    at = open_page("results", table="Sweep over depth")
    names = at.multiselect(key="swept_networks").value
    assert len(names) == 2
    assert len(at.dataframe[0].value) == 6


def test_the_lines_of_python_print_the_results_that_are_shown(open_page, offered):
    kept({"conv1": 91.0}, network="other")
    kept(VALUES)
    kept({"conv1": 92.0}, photos=30)
    at = open_page("results", table="Sweep over depth")
    [subject] = [each for each in at.selectbox(key="swept").options if each.endswith("60 photos searched")]
    at.selectbox(key="swept").set_value(subject).run()
    at.multiselect(key="swept_networks").set_value(["AlexNet"]).run()
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(offered["python"], "lines", "exec"), {})
    assert "70.0 [65.0, 75.0]" in printed.getvalue()
    assert "91.0" not in printed.getvalue()
    assert "92.0" not in printed.getvalue()


def test_the_table_has_the_rows_that_are_printed(open_page):
    kept(VALUES)
    at = open_page("results", table="Sweep over depth")
    [result] = ResultStore().scan().results.values()
    printed = result.experiment.summary_rows(result.summary)
    assert at.dataframe[0].value.to_dict("records") == [{"network": "AlexNet", **row} for row in printed]


def test_a_network_keeps_its_colour_where_another_is_not_chosen(open_page):
    def colours():
        figure = json.loads(at.get("plotly_chart")[0].proto.spec)
        return {trace["name"]: trace["line"]["color"] for trace in figure["data"] if "name" in trace}

    kept(VALUES, network="other")
    kept(VALUES)
    at = open_page("results", table="Sweep over depth")
    before = colours()
    assert len(set(before.values())) == 2
    at.multiselect(key="swept_networks").set_value(["other"]).run()
    assert colours() == {"other": before["other"]}


def test_other_objects_without_the_chosen_networks_have_all_of_theirs_drawn(open_page):
    kept(VALUES, network="other")
    kept({"conv1": 92.0}, photos=30)
    at = open_page("results", table="Sweep over depth")
    assert at.multiselect(key="swept_networks").value == ["AlexNet"]
    [subject] = [each for each in at.selectbox(key="swept").options if each.endswith("60 photos searched")]
    at.selectbox(key="swept").set_value(subject).run()
    assert not at.exception
    assert at.multiselect(key="swept_networks").value == ["other"]
    assert at.run().multiselect(key="swept_networks").value == ["other"]
    at.multiselect(key="swept_networks").set_value([]).run()
    assert at.info[0].value == "Choose a network to draw."


def test_the_page_claims_nothing_of_networks_and_says_what_intervals_are_over(open_page):
    kept({"conv1": 80.0, "conv3": 50.0, "conv5": 30.0})
    at = open_page("results", table="Sweep over depth")
    said = " ".join(each.value for each in [*at.markdown, *at.caption])
    assert "know best" not in said
    assert "agreement radii over seeds" in said
    assert "which has no interval" in said


def test_a_curve_leaves_out_what_is_infinite_and_stars_its_highest_point():
    values = [replace(NOTHING, value=value, low=value - 1, high=value + 1) for value in (3.0, 4.0, np.inf, 9.0)]
    curve = DepthCurve("it", ["a", "b", "c", "d"], [0.25, 0.5, 0.75, 1.0], values)
    figure = figures.depth_curves([curve], styles=figures.network_styles(["it"]), title="px")
    *bands, line = figure.data
    np.testing.assert_array_equal(line.y, [3.0, 4.0, np.nan, 9.0])
    assert list(line.marker.symbol) == ["circle", "circle", "circle", "star"]
    assert figures.highest_of(curve) == 3
    assert figures.highest_of(replace(curve, values=[replace(NOTHING, value=np.inf)] * 4)) is None
    assert [(list(band.x), list(band.y)) for band in bands] == [
        ([0.25, 0.5, 0.5, 0.25], [4.0, 5.0, 3.0, 2.0]),
        ([1.0, 1.0], [10.0, 8.0]),
    ]
    assert {band.mode for band in bands} == {"lines"}
    begun = replace(curve, whole=False)  # of which a layer that is not yet measured may be higher
    *_, line = figures.depth_curves([begun], styles=figures.network_styles(["it"]), title="px").data
    assert set(line.marker.symbol) == {"circle"}


def test_no_band_lies_over_another_networks_line():
    values = [replace(NOTHING, value=value, low=value - 1, high=value + 1) for value in (3.0, 4.0)]
    curves = [DepthCurve(name, ["a", "b"], [0.5, 1.0], values) for name in ("it", "other")]
    figure = figures.depth_curves(curves, styles=figures.network_styles(["it", "other"]), title="px")
    assert [trace.name for trace in figure.data] == [None, None, "it", "other"]


def test_no_two_of_many_networks_look_alike():
    styles = figures.network_styles([f"network {n}" for n in range(20)])
    assert len(set(styles.values())) == 20
    assert len({(each.colour, each.glyph) for each in styles.values()}) == 20


def test_sweeps_are_among_the_kinds():
    assert experiments.find("sweep") is Sweep
