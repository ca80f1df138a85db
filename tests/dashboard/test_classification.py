"""The Classification page: computed at once for drawn animals, its table, curves, confusion and calls."""

import json

import pytest

from corrcore import experiments
from corrcore.datasets import toy
from dashboard.services import caches

from .conftest import settled

LOAD = toy.load
CONFUSION, CALLS = "Confusion matrix", "Right and wrong"


@pytest.fixture(scope="module")
def data():
    return LOAD(n_train=12, n_val=3)


@pytest.fixture(autouse=True)
def few_animals(data, cache_folder, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(toy, "load", lambda: data)
    monkeypatch.setattr(experiments, "NAMING", ("conv3", "sift20"))
    monkeypatch.setattr(experiments, "results_folder", lambda: tmp_path_factory.getbasetemp() / "classification")
    caches.dataset.clear()
    yield
    caches.dataset.clear()


@pytest.fixture
def at(open_page):
    return open_page("classification", seen="in a box of 250 px")


def result(data):
    folder = experiments.default_folder(data, "alexnet")
    return json.loads((folder / experiments.classification_file("toy cat", "small")).read_text())


def test_drawn_animals_are_computed_at_once_and_shown_beside_nothing_published(at, data):
    settled(at.run())
    table = at.dataframe[0].value
    found = result(data)["summary"]
    assert list(table.index) == ["conv3", "SIFT, radius 20 px"]
    assert list(table.columns) == ["toy cat", "toy cow"]
    assert table["toy cat"]["conv3"] == pytest.approx(found["conv3"]["accuracy"])
    assert table["toy cow"].isna().all()
    assert any("drawn, synthetic" in markdown.value for markdown in at.markdown)
    at.selectbox(key="category").set_value("toy cow")
    both = settled(at.run()).dataframe[0].value
    assert list(both["mean"]) == pytest.approx([both.loc[row, ["toy cat", "toy cow"]].mean() for row in both.index])
    at.selectbox(key="category").set_value("toy cat")
    settled(at.run())
    best = max(found.values(), key=lambda each: each["accuracy"])
    assert any(f"{best['accuracy']:.1f} %" in caption.value for caption in at.caption)


def test_curves_are_those_of_the_cross_validation(at, data):
    settled(at.run())
    layers, sift = (json.loads(chart.proto.spec)["data"] for chart in at.get("plotly_chart"))
    assert [trace["name"] for trace in layers] == ["conv3"]
    assert [trace["name"] for trace in sift] == ["SIFT, radius 20 px"]
    costs = result(data)["settings"]["costs"]
    assert len(layers[0]["x"]) == len(costs)


def test_the_confusion_matrix_is_of_the_chosen_feature(at):
    at.segmented_control(key="classification_section").set_value(CONFUSION)
    settled(at.run())
    first = json.loads(at.get("plotly_chart")[0].proto.spec)["data"][0]
    assert len(first["x"]) == 16
    other = next(name for name in ("conv3", "sift20") if name != at.selectbox(key="feature").value)
    at.selectbox(key="feature").set_value(other)
    settled(at.run())
    assert json.loads(at.get("plotly_chart")[0].proto.spec)["data"][0]["z"] != first["z"]


def test_calls_link_to_the_objects_responses(at, data):
    at.segmented_control(key="classification_section").set_value(CALLS)
    settled(at.run())
    texts = [markdown.value for markdown in at.markdown]
    links = [text for text in texts if "](responses?" in text]
    assert links
    assert any(text.startswith("**Wrong: ") for text in texts)
    assert all("object=toy-cat-val-" in link and "keypoint=" in link for link in links)
    title = {"conv3": "conv3", "sift20": "SIFT%2C+radius+20+px"}[at.selectbox(key="feature").value]
    assert all(f"features={title}&scale=box%2C+250+px" in link for link in links)
    assert all(", called " not in link or link.split("]")[0][1:] != link.rpartition("called ")[2] for link in links)


def test_results_of_other_photos_are_computed_anew(at, data, open_page):
    settled(at.run())
    folder = experiments.default_folder(data, "alexnet")
    file = folder / experiments.classification_file("toy cat", "small")
    kept = json.loads(file.read_text())
    expected = kept["summary"]["sift20"]["accuracy"]
    kept["settings"]["photos"] = "others"
    kept["summary"]["sift20"]["accuracy"] = 1.25
    file.write_text(json.dumps(kept))
    table = settled(open_page("classification", seen="in a box of 250 px").run()).dataframe[0].value
    assert table["toy cat"]["SIFT, radius 20 px"] == pytest.approx(expected)


def test_a_shared_server_computes_nothing(open_page, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("classification", seen="in the photo as it is")
    assert any(info.value.startswith("Nothing has been computed") for info in at.info)
    assert not [button for button in at.button if button.label == "Cancel"]
