"""Results of experiments that the Results page has no line for: registered here, or by anybody."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from corrcore import datasets, experiments
from corrcore.datasets import DatasetSpec, toy
from corrcore.experiments import Context, ObjectExperiment, Pairs, Responses, Result, ResultStore, Transfer, run
from dashboard.services import caches

CAT = "toy cat"


@dataclass(frozen=True)
class Sizes(ObjectExperiment[Any, float, float, float]):
    """How large the boxes of a category's val objects are.

    It is measured by their sides.
    """

    power: float = 1.0

    kind: ClassVar[str] = "sizes"
    title: ClassVar[str] = "Sizes of boxes"

    def resolved(self, context):
        return self

    def provenance(self, context: Context) -> Mapping[str, Any]:
        data = context.dataset(self.dataset)
        return {"data": data.name, "data_digest": data.digest}

    def samples(self, context: Context) -> Mapping[str, Any]:
        return {one.name: one for one in self.instances(context, "val")}

    def prepare(self, context: Context) -> float:
        return self.power

    def notes(self, state: float) -> Mapping[str, Any]:
        return {"power": state}

    def note_lines(self, notes: Mapping[str, Any]) -> Sequence[str]:
        return [f"areas to the power of {notes['power']:g}"]

    def measure(self, sample: Any, state: float) -> float:
        if sample.name.endswith("001") and state == 3:
            msg = "this one has no size."
            raise ValueError(msg)
        width, height = sample.size
        return float(width * height) ** state

    def read_record(self, plain: Any) -> float:
        return float(plain)

    def summarise(self, result: Result) -> float:
        return sum(result.records.values()) / len(result.records)

    def summary_rows(self, summary: float) -> Sequence[Mapping[str, str]]:
        return [{"of": "boxes", "area": f"{summary:.0f}"}, {"of": "circles", "area": "none", "why": "not asked"}]


@dataclass(frozen=True)
class Mirrored(Transfer):
    """Transfer to mirrored objects, which nobody has measured before."""

    kind: ClassVar[str] = "mirrored"
    title: ClassVar[str] = "Mirrored transfer"
    number: ClassVar[str] = ""


@pytest.fixture(autouse=True)
def few(cache_folder, monkeypatch, tmp_path):
    """Six drawn cats and cows, results in a folder of their own, and two experiments that are registered."""
    data = replace(toy.load(n_train=2, n_val=6), name="few")
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    datasets.register(DatasetSpec("few", "Few animals", True, lambda: data))
    for kind in (Sizes, Mirrored):
        experiments.register(kind)
    caches.dataset.clear()
    yield data
    for kind in (Sizes, Mirrored):
        experiments.unregister(kind.kind)
    datasets.unregister("few")
    caches.dataset.clear()


def measured(experiment):
    return run(experiment, context=Context(), store=ResultStore())


def texts(elements):
    return [element.value for element in elements]


def test_an_experiment_that_is_registered_is_on_the_page(few, open_page, offered):
    measured(Sizes("few", CAT))
    at = open_page("results")
    assert at.segmented_control(key="table").value == "Sizes of boxes"
    assert "**Sizes of boxes**" in texts(at.markdown)
    area = np.mean([np.prod(one.size) for one in few.visible_instances(CAT, "val")])
    [rows] = [each.value for each in at.dataframe]
    assert rows.to_dict("records") == [
        {"of": "boxes", "area": f"{area:.0f}", "why": ""},
        {"of": "circles", "area": "none", "why": "not asked"},
    ]
    assert any(text.startswith("Of 6 samples;") for text in texts(at.caption))
    assert "areas to the power of 1" in texts(at.caption)
    assert any("It is measured by their sides." in text for text in texts(at.markdown))


def test_its_exports_hold_the_same_and_say_of_what_they_are(few, open_page, offered):
    result = measured(Sizes("few", CAT, limit=2))
    at = open_page("results")
    assert any(text.startswith("Of 2 of 6 objects;") for text in texts(at.caption))
    [text] = [make().decode() for name, make in offered.items() if name == "sizes toy cat, limit 2.csv"]
    first = next(csv.DictReader(io.StringIO(text)))
    assert first["area"] == f"{result.summary:.0f}"
    assert (first["result"], first["measured"]) == ("few · toy cat · alexnet · as usual", "2 of 6 objects")
    [content] = [json.loads(make()) for name, make in offered.items() if name.endswith(".json")]
    assert content["measured"] == "2 of 6 objects"
    assert content["records"] == dict(result.records)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(offered["python"], "lines", "exec"), {})
    assert f"{result.summary:.0f}" in printed.getvalue()


def test_one_of_several_is_chosen_and_the_link_says_which(open_page):
    for experiment in (Sizes("few", CAT), Sizes("few", "toy cow"), Sizes("few", CAT, power=2.0)):
        measured(experiment)
    at = open_page("results")
    options = list(at.selectbox(key="result").options)
    assert sorted(options) == [
        "few · toy cat · alexnet · as usual",
        "few · toy cat · alexnet · power 2.0",
        "few · toy cow · alexnet · as usual",
    ]
    chosen = "few · toy cat · alexnet · power 2.0"
    at.selectbox(key="result").set_value(chosen)
    at.run()
    assert "areas to the power of 2" in texts(at.caption)
    [link] = [each.value for each in at.code if each.language != "python"]
    query = {name: value for name, [value] in parse_qs(urlsplit(link).query).items()}
    assert query == {"table": "Sizes of boxes", "result": chosen}
    assert "areas to the power of 2" in texts(open_page("results", **query).caption)


def test_what_could_not_be_measured_is_named(open_page):
    measured(Sizes("few", CAT, power=3.0))
    at = open_page("results")
    assert any(text.startswith("Of 5 of 6 samples;") for text in texts(at.caption))
    [panel] = [each for each in at.expander if "left out" in each.label]
    assert "this one has no size" in panel.caption[0].value


def test_older_and_damaged_files_of_it_are_named_whether_or_not_there_is_another(open_page):
    measured(Sizes("few", CAT))
    [file] = Path(os.environ["CORRCORE_CACHE"], "experiments").glob("*/*.jsonl")
    file.with_name("sizes toy cow.jsonl").write_text("torn")
    header, *lines = file.read_text().splitlines()
    older = header.replace('"versions":[', '"versions":[0,')
    assert older != header
    file.write_text("\n".join([older, *lines, ""]))
    at = open_page("results", table="Sizes of boxes")
    [panel] = [each for each in at.expander if each.label.startswith("Files")]
    assert panel.label == "Files that are not shown: 1 of an older version, 1 that cannot be read"
    assert at.subheader[0].value == "Sizes of boxes has not been computed yet"


def test_where_nothing_is_computed_the_command_is_named(open_page):
    """Of every experiment that is registered."""
    for kind in experiments.kinds():
        if kind.number:
            continue
        at = open_page("results", table=kind.title.partition(" (")[0])
        assert at.code[0].value == f"corrcore evaluate {kind.kind} --help"
        assert not at.dataframe


def test_one_of_which_nothing_can_be_shown_is_named(open_page, monkeypatch):
    measured(Sizes("few", CAT))
    monkeypatch.setattr(Sizes, "summary_rows", lambda self, summary: [])
    at = open_page("results", table="Sizes of boxes")
    [panel] = [each for each in at.expander if each.label.startswith("Files")]
    assert panel.label == "Files that are not shown: 1 with nothing to show"
    assert not at.dataframe


def test_responses_of_a_keypoint_are_read_with_their_features(few, alexnet, open_page):
    """No list of kinds has them: what is on the page is the summary that was measured."""
    experiment = Responses("few", CAT, features=("sift10",), keypoints=("Nose",), cost=1.0, side=3, protocol="small")
    result = run(experiment, context=Context(opened_networks={"alexnet": alexnet}), store=ResultStore())
    at = open_page("results")
    assert at.segmented_control(key="table").value == "Response maxima"
    assert "Nose · in a box of 250 px" in at.selectbox(key="result").value
    expected = result.experiment.summary_rows(result.summary)
    assert [line["feature"] for line in at.dataframe[0].value.to_dict("records")] == ["sift10"]
    assert at.dataframe[0].value.to_dict("records") == [dict(line) for line in expected]


def test_matched_pairs_are_read_with_both_averages_and_taken_along(few, alexnet, open_page, offered):
    """Nobody's table of the paper: counted in pairs, whatever the number of val objects."""
    context = Context(opened_networks={"alexnet": alexnet})
    result = run(Pairs("few", CAT, limit=3), context=context, store=ResultStore())
    at = open_page("results")
    assert at.segmented_control(key="table").value == "Matched pairs"
    [rows] = [each.value.to_dict("records") for each in at.dataframe]
    assert rows == [dict(line) for line in result.experiment.summary_rows(result.summary)]
    assert {"PCK at 0.1 per point, %", "PCK at 0.1 per image, %"} <= set(rows[0])
    assert any(text.startswith("Of 3 pairs, as many as the limit of 3 allows;") for text in texts(at.caption))
    assert {name.rpartition(".")[2] for name in offered if name != "python"} == {"csv", "json"}


def test_one_whose_result_is_a_table_of_keypoints_has_the_whole_view(few, open_page, offered):
    """Aligned in earnest: SIFT alone, of two objects."""
    experiment = Mirrored("few", CAT, features=("sift20",), limit=2, smoothness=0.1, iterations=1)
    result = measured(experiment)
    at = open_page("results")
    assert at.segmented_control(key="table").value == "Mirrored transfer"
    found = at.dataframe[0].value
    assert list(found.index) == ["NN, not aligned", "SIFT, radius 20 px"]
    row = result.summary.rows[1]
    assert found.iloc[1, 0] == pytest.approx(result.summary.accuracy(row, alpha=0.1).value)
    assert found.columns[0][0] == "toy cat (2 of 6)"
    at.session_state["cells mirrored"] = {"selection": {"rows": [], "columns": [], "cells": [[1, "ours"]]}}
    assert "**Objects of which it has least right**" in texts(at.run().markdown)
    assert {name.rpartition(".")[2] for name in offered if name != "python"} == {"csv", "tex", "json", "png"}
