"""The Results page: files of results written by hand, in which every number is known."""

import csv
import io
import json
import os
import re
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from corrcore import decoding, experiments
from corrcore.datasets import toy
from corrcore.experiments import published
from dashboard import figures
from dashboard.services import caches

LOAD = toy.load
TRANSFER, CLASSIFICATION, PREDICTION = "2 Transfer", "3 Classification", "4 Prediction"
COMPARED, CURVE, DIFFICULT = "Two rows compared", "PCK against alpha", "Accuracy by size and visibility"
FIRST = 0.07  # of the box's longer side, off the truth: right at 0.1, wrong at 0.05


@pytest.fixture(scope="module")
def animals():
    return LOAD(n_train=1, n_val=12)


@pytest.fixture(autouse=True)
def data(animals, cache_folder, monkeypatch, tmp_path):
    """Drawn animals under the names of categories with published numbers; results in a folder of their own."""
    named = replace(
        animals,
        keypoint_names={each: animals.keypoint_names[f"toy {each}"] for each in ("cat", "cow")},
        splits={
            (each, split): animals.splits[f"toy {each}", split] for each in ("cat", "cow") for split in ("train", "val")
        },
    )
    monkeypatch.setattr(toy, "load", lambda: named)
    monkeypatch.setattr(experiments, "results_folder", lambda: tmp_path)

    caches.dataset.clear()
    yield named
    caches.dataset.clear()


def settings(data, experiment, category, **others):
    return {
        "experiment": experiment,
        "version": experiments.VERSIONS[experiment],
        "data": data.name,
        "data_digest": data.digest,
        "category": category,
        "keypoints": list(data.keypoint_names[category]),
        "backbone": "alexnet",
        "backbone_digest": "0123456789abcdef",
        **others,
    }


def write(data, name, content):
    file = experiments.default_folder(data, "alexnet") / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(experiments._plain(content)))
    return file


def moved(one, right):
    """Keypoints that are off by `FIRST` where right, by half a box elsewhere."""
    return one.keypoints + np.where(right, FIRST, 0.5)[:, None] * max(one.size) * np.array([1, 0])


def places(data, category, rows, *, experiment="transfer", name="", some=None, **others):
    """A file in which row r has keypoint k of object n right where ``rows[r](n, k)``."""
    instances = data.shown(category, "val")[:some]
    keypoints = np.arange(len(data.keypoint_names[category]))
    records = {}
    for n, one in enumerate(instances):
        predicted = {row: moved(one, rule(n, keypoints)).tolist() for row, rule in rows.items()}
        measured = {"box": list(one.box), "truth": one.keypoints.tolist(), "neighbours": [], "predicted": predicted}
        records[one.name] = {"stamp": "", "measured": measured}
    summary = {"all": {"objects": len(instances), "rows": {row: {} for row in rows}}}
    content = {"settings": settings(data, experiment, category, **others), "records": records, "summary": summary}
    return write(data, name or f"{experiment} {category}.json", content)


def names(data, category, rows, *, protocol="box"):
    """A file in which row r names keypoint k of object n rightly where ``rows[r](n, k)``."""
    instances = data.shown(category, "val")
    samples = [(n, k) for n, one in enumerate(instances) for k in np.flatnonzero(one.visible).tolist()]
    labels = [k for _, k in samples]
    records = {}
    for row, rule in rows.items():
        measured = {
            "objects": [instances[n].name for n, _ in samples],
            "photos": [instances[n].photo.name for n, _ in samples],
            "keypoints": labels,
            "labels": labels,
            "called": [k if rule(n, np.array(k)) else k + 1 for n, k in samples],
            "left_out": {},
        }
        records[row] = {"stamp": "", "measured": measured}
    how = {"protocol": asdict(experiments.PROTOCOLS[protocol]), "costs": [1.0], "folds": 5}
    content = {"settings": settings(data, "classification", category, **how), "records": records}
    content["summary"] = {row: {} for row in rows}
    return write(data, experiments.classification_file(category, protocol), content)


def always(n, k):
    return np.full(np.shape(k), True)


def never(n, k):
    return ~always(n, k)


def even(n, k):
    """Every other keypoint type, of every object."""
    return k % 2 == 0


def early(n, k):
    """Whole objects: the first three."""
    return np.full(np.shape(k), n < 3)


@pytest.fixture
def cat(data):
    places(data, "cat", {"NN": never, "conv4": always, "sift20": even})


def table(at):
    """The first table: numbers by row and (category, kind), of whose names what is invisible is taken away."""
    found = at.dataframe[0].value
    found.columns = [(category, kind.rstrip("\u200b")) for category, kind in found.columns]
    return found


def texts(elements):
    return [element.value for element in elements]


def test_numbers_stand_beside_the_papers_with_intervals_and_differences(cat, open_page):
    at = open_page("results")
    assert at.segmented_control(key="table").value == TRANSFER
    found = table(at)
    assert list(found.index) == ["NN, not aligned", "conv4", "SIFT, radius 20 px"]  # as in the file
    assert list(found["cat", "ours"]) == pytest.approx([0, 100, 50])
    assert list(found["cat", "paper"]) == [11.1, 19.6, 16.0]
    assert list(found["cat", "diff."]) == pytest.approx([-11.1, 80.4, 34.0])
    assert list(found["cat", "95 %"]) == ["[0.0, 0.0]", "[100.0, 100.0]", "[50.0, 50.0]"]
    assert ("mean", "ours") not in found
    assert "**PCK at α = 0.1, per keypoint type, %** · **drawn, synthetic**" in texts(at.markdown)
    assert any("the longer side of the object's box" in text for text in texts(at.caption))


def test_the_mean_is_over_the_categories_that_are_here(cat, data, open_page):
    places(data, "cow", {"NN": never, "conv4": even})
    found = table(open_page("results"))
    assert list(found["mean", "ours"])[:2] == pytest.approx([0, 75])
    assert np.isnan(found["mean", "ours"]["SIFT, radius 20 px"])  # which one category does not have
    assert found["mean", "paper"]["conv4"] == pytest.approx((19.6 + 25.4) / 2)


def test_a_stricter_alpha_counts_less_and_has_no_published_numbers_but_means(cat, open_page):
    at = open_page("results")
    at.segmented_control(key="alpha").set_value("α = 0.05")
    found = table(at.run())
    assert list(found["cat", "ours"]) == [0, 0, 0]
    assert ("cat", "paper") not in found
    assert any("conv4 11.8" in text for text in texts(at.caption))


def test_per_image_every_object_counts_the_same(data, open_page):
    file = places(data, "cat", {"NN": never, "conv4": early})
    content = json.loads(file.read_text())
    first = next(iter(content["records"].values()))["measured"]
    first["truth"][1:] = [[None, None]] * (len(first["truth"]) - 1)  # it shows one keypoint only
    file.write_text(json.dumps(content))
    at = open_page("results")
    assert table(at)["cat", "ours"]["conv4"] < 25
    at.segmented_control(key="average").set_value("per image")
    found = table(at.run())
    assert found["cat", "ours"]["conv4"] == pytest.approx(100 * 3 / 12)
    assert ("cat", "paper") not in found


def test_another_table_is_shown_with_its_own_numbers(cat, data, open_page):
    names(data, "cat", {"conv3": always, "sift20": even})
    names(data, "cat", {"conv3": even, "sift20": never}, protocol="sideless")
    at = open_page("results")
    at.segmented_control(key="table").set_value(CLASSIFICATION)
    found = table(at.run())
    assert list(found.index) == ["conv3", "SIFT, radius 20 px"]
    assert found["cat", "ours"]["conv3"] == 100
    assert found["cat", "paper"]["conv3"] == 52
    at.selectbox(key="seen").set_value("in a box of 500 px, left and right alike")
    assert table(at.run())["cat", "ours"]["SIFT, radius 20 px"] == 0
    assert not at.exception


def test_table_4_is_read_as_table_2_is(data, open_page):
    rows = {"sift16": never, "sift16+prior": early, "conv5": even, "conv5+prior": always, "prior": never}
    places(data, "cow", rows, experiment="prediction")
    at = open_page("results", table=PREDICTION)
    found = table(at)
    assert list(found.index) == ["SIFT, radius 16 px", "SIFT, radius 16 px + prior", "conv5", "conv5 + prior", "prior"]
    assert found["cow", "paper"]["conv5 + prior"] == 41.1
    assert np.isnan(found["cow", "paper"]["prior"])
    assert any("stretched to a square" in text for text in texts(at.caption))


def test_receptive_fields_stand_beside_the_papers(open_page):
    at = open_page("results", table="1 Receptive fields")
    found = at.dataframe[0].value.set_index("layer")
    own = found.loc[found["paper's size"].notna()]
    assert len(own) == 6
    assert (own["size, px"] == own["paper's size"]).all()
    assert (own["stride, px"] == own["paper's stride"]).all()


def test_two_rows_are_compared_by_the_objects_they_share(cat, open_page):
    at = open_page("results", results_section=COMPARED)
    assert (at.selectbox(key="first").value, at.selectbox(key="second").value) == ("conv4", "sift20")
    line = at.dataframe[1].value.iloc[0]
    assert line["difference"] == "+50.0 [+50.0, +50.0]"
    assert line["which says"] == "conv4 is better"
    assert line["p, bootstrap"] == line["p, McNemar"] == "< 0.001"
    visible = sum(int(one.visible[1::2].sum()) for one in caches.dataset("toy").shown("cat", "val"))
    assert (line["only the first right"], line["only the second right"]) == (str(visible), "0")
    at.selectbox(key="second").set_value("NN")
    assert at.run().dataframe[1].value.iloc[0]["difference"].startswith("+100.0")
    at.selectbox(key="second").set_value("conv4")
    assert "the same row" in at.run().info[0].value


def test_rows_of_which_each_is_better_at_times_do_not_differ(data, open_page):
    places(data, "cat", {"conv4": lambda n, k: early(n % 6, k), "sift20": lambda n, k: early((n + 3) % 6, k)})
    line = open_page("results").dataframe[1].value.iloc[0]
    assert line["which says"] == "no difference can be told"


def choose_cell(at, row, kind):
    at.session_state["cells transfer"] = {"selection": {"rows": [], "columns": [], "cells": [[row, kind]]}}
    return at.run()


def test_a_cell_opens_the_page_and_the_objects_it_is_made_of(data, open_page):
    for each in ("cat", "cow"):
        places(data, each, {"NN": never, "conv4": early})
    at = choose_cell(open_page("results"), 1, "ours\u200b")
    assert not at.exception
    found = texts(at.markdown)
    assert any(text.startswith("**conv4, cow: ") for text in found)
    [link] = [text for text in found if "on the Alignment page](alignment?" in text]
    assert "data=Drawn+animals&category=cow&upper=conv4" in link
    objects = [text for text in found if " right](alignment?" in text and "object=" in text]
    assert len(objects) == 12
    best = [one.name for one in data.shown("cow", "val")[:3]]
    assert all(any(f"object={name}&" in text for text in objects[-6:]) for name in best)
    at = choose_cell(at, 1, "ours\u200b\u200b")
    assert any("The mean of 2 categories" in text for text in texts(at.markdown))


@pytest.mark.parametrize(
    ("row", "prior"),
    [
        ("conv5", "none"),
        ("conv5+prior", "the object most alike"),
        ("conv5+5 priors", "the 5 most alike"),
        ("5 priors", None),
    ],
)
def test_a_cell_of_table_4_opens_the_page_with_the_rows_own_prior(data, open_page, row, prior):
    places(data, "cow", {row: early}, experiment="prediction")
    at = open_page("results", table=PREDICTION)
    at.session_state["cells prediction"] = {"selection": {"rows": [], "columns": [], "cells": [[0, "ours"]]}}
    [*links] = [link for text in texts(at.run().markdown) for link in re.findall(r"\]\((prediction\?.*?)\)", text)]
    assert len(links) == 13
    assert {parse_qs(urlsplit(link).query).get("prior", [None])[0] for link in links} == {prior}
    if prior is None:
        assert any("not 5 priors alone" in text for text in texts(at.caption))
    else:
        assert not any("own settings" in text for text in texts(at.caption))


def test_a_cell_says_in_what_the_page_differs_from_it(data, open_page):
    places(data, "cat", {"conv4": early}, order="likeness", position=0.01, smoothness={"conv4": 0.3}, iterations=10)
    at = choose_cell(open_page("results", alpha="α = 0.05", average="per image"), 0, "ours")
    [said] = [text.replace("\\", "") for text in texts(at.caption) if "own settings" in text]
    assert "right within α = 0.1, not 0.05; averages per keypoint type, not per image" in said
    assert "position 0.0, not 0.01; order deformation, not likeness" in said
    [link] = [text for text in texts(at.markdown) if "on the Alignment page](alignment?" in text]
    assert "upper=conv4&smoothness=0.3&iterations=10" in link


def test_a_cell_measured_as_the_page_does_has_nothing_to_say(cat, open_page):
    at = choose_cell(open_page("results"), 1, "ours")
    assert any("on the Alignment page](" in text for text in texts(at.markdown))
    assert not any("own settings" in text for text in texts(at.caption))


def linked(at):
    """The query of the link to the view."""
    [code] = [each.value for each in at.code if each.language != "python" and "table=" in each.value]
    return {name: values if len(values) > 1 else values[0] for name, values in parse_qs(urlsplit(code).query).items()}


def test_the_link_says_what_is_shown_even_where_it_is_the_default(cat, data, open_page):
    at = open_page("results")
    assert linked(at) == {
        "table": TRANSFER,
        "data": "Drawn animals",
        "backbone": "alexnet",
        "how": "as in the paper",
        "alpha": "α = 0.1",
        "average": "per keypoint type",
        "results_section": COMPARED,
        "first": "conv4",
        "second": "SIFT, radius 20 px",
    }
    at.selectbox(key="second").set_value("NN")
    assert linked(at.run())["second"] == "NN, not aligned"
    at.segmented_control(key="results_section").set_value(CURVE)
    query = linked(at.run())
    assert query["rows"] == ["NN, not aligned", "conv4", "SIFT, radius 20 px"]
    assert query["category"] == "cat"


def test_a_link_shows_its_view_where_there_are_other_results(cat, data, open_page):
    query = linked(open_page("results"))
    places(data, "cat", {"sift20": always, "NN": even, "conv4": never})
    names(data, "cat", {"conv3": always})
    at = open_page("results", **query)
    assert linked(at) == query
    assert not at.warning


def test_a_clicked_cell_is_in_the_link_and_opened_by_it(cat, open_page):
    at = choose_cell(open_page("results"), 1, "ours")
    assert at.query_params["cell"] == "conv4,cat"
    assert linked(at)["cell"] == "conv4,cat"
    at = open_page("results", cell="sift20,cat")
    assert any(text.startswith("**SIFT, radius 20 px, cat: 50.0") for text in texts(at.markdown))
    at = choose_cell(at, 1, "ours")
    assert any(text.startswith("**conv4, cat: 100.0") for text in texts(at.markdown))
    at.session_state["cells transfer"] = {"selection": {"rows": [], "columns": [], "cells": []}}
    at.run()
    assert "cell" not in at.query_params
    assert not any(text.startswith("**SIFT, radius 20 px, cat") for text in texts(at.markdown))


def test_a_link_to_a_cell_that_is_not_there_opens_none(cat, open_page):
    at = open_page("results", cell="conv9,dog")
    assert not any("Open " in text for text in texts(at.markdown))
    assert "cell" not in at.query_params


def test_two_rows_begin_with_those_in_print_of_the_same_prior(data, open_page):
    rows = {"sift16": early, "sift16+prior": never, "sift16+5 priors": even}
    rows |= {"conv5": even, "conv5+prior": even, "conv5+5 priors": always}
    places(data, "cow", rows, experiment="prediction")
    at = open_page("results", table=PREDICTION)
    assert at.selectbox(key="first").value in ("conv5", "conv5+prior")
    rows["conv5"] = never
    places(data, "cow", rows, experiment="prediction")
    at = open_page("results", table=PREDICTION)
    assert (at.selectbox(key="first").value, at.selectbox(key="second").value) == ("conv5+prior", "sift16+prior")


def test_charts_draw_the_rows_that_are_chosen_those_in_print_to_begin_with(data, open_page):
    places(data, "cow", {"prior": never, "conv5": even, "conv5+prior": always}, experiment="prediction")
    at = open_page("results", table=PREDICTION, results_section="By category")

    def drawn():
        traces = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
        return [trace["name"] for trace in traces if trace["type"] == "bar"]

    assert drawn() == ["conv5", "conv5 + prior"]
    at.multiselect(key="rows").set_value(["prior", "conv5"])
    at.run()
    assert drawn() == ["prior", "conv5"]
    at.multiselect(key="rows").set_value([])
    assert not at.run().get("plotly_chart")
    assert any("Choose a row" in text for text in texts(at.info))


def test_rows_that_no_category_shares_are_compared_nowhere(data, open_page):
    names(data, "cat", {"conv3": always})
    names(data, "cow", {"sift20": even})
    at = open_page("results", table=CLASSIFICATION)
    assert not at.exception
    assert any("No category has both rows" in text for text in texts(at.info))


def test_charts_of_another_table_begin_with_its_own_rows(data, open_page):
    places(data, "cow", {"NN": never, "conv4": even, "sift20": even})
    places(data, "cow", {"conv5": even, "conv5+prior": always}, experiment="prediction")
    at = open_page("results", results_section="By category")
    assert at.multiselect(key="rows").value == ["NN", "conv4", "sift20"]
    at.segmented_control(key="table").set_value(PREDICTION)
    assert at.run().multiselect(key="rows").value == ["conv5", "conv5+prior"]


def test_rows_that_the_category_does_not_have_are_said_to_be_missing(data, open_page):
    places(data, "cat", {"conv4": even})
    places(data, "cow", {"sift20": even})
    at = open_page("results", results_section=CURVE, category="cow", rows="conv4")
    assert any("None of these rows was measured for cow" in text for text in texts(at.info))


def test_a_cell_of_one_table_is_not_opened_in_another(data, open_page):
    places(data, "cat", {"conv5": even})
    places(data, "cat", {"conv5": even}, experiment="prediction")
    at = choose_cell(open_page("results"), 0, "ours")
    assert at.query_params["cell"] == "conv5,cat"
    at.segmented_control(key="table").set_value(PREDICTION)
    at.run()
    assert not any(text.startswith("**conv5, cat") for text in texts(at.markdown))
    assert "cell" not in at.query_params


def test_features_that_a_page_does_not_offer_are_not_asked_of_it(data, open_page):
    places(data, "cat", {"conv4": even, "sift80": even})
    at = choose_cell(open_page("results"), 1, "ours")
    link = next(text for text in texts(at.markdown) if text.startswith("[Open cat"))
    assert "upper" not in link
    assert any("other features than SIFT, radius 80 px" in text for text in texts(at.caption))


def test_nothing_in_the_differences_is_no_fault(data, open_page):
    places(data, "cat", {"conv4": always})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "number", lambda *_: 100.0)
        assert not open_page("results").exception


def test_a_server_on_which_nothing_is_computed_offers_the_command_alone(data, open_page, monkeypatch):
    monkeypatch.setattr(caches, "read_only", lambda: True)
    at = open_page("results", table=PREDICTION)
    assert not any("at the press of a button" in text for text in texts(at.markdown))
    assert at.code[0].value == "corrcore evaluate prediction --data toy"


def test_what_the_paper_has_otherwise_is_said(data, open_page):
    places(data, "cat", {"conv4": even}, neighbours_by="conv5, pooled to 6 x 6 (no weights)")
    assert any(
        "Neighbours are found by conv5, pooled to 6 x 6 here" in each for each in texts(open_page("results").caption)
    )
    places(data, "cat", {"conv4": even}, neighbours_by="fc7")
    assert not any("Neighbours are found by" in each for each in texts(open_page("results").caption))


def test_left_and_right_alike_is_a_press_away(data, open_page):
    names(data, "cat", {"conv3": always})
    assert not open_page("results", table=CLASSIFICATION).button
    names(data, "cat", {"conv3": even}, protocol="sideless")
    at = open_page("results", table=CLASSIFICATION)
    at.button(key="alike").click()
    at.run()
    assert at.selectbox(key="seen").value == "in a box of 500 px, left and right alike"
    assert table(at)["cat", "ours"]["conv3"] < 100
    assert not at.button


def test_where_table_4_is_missing_training_and_the_data_sets_path_are_named(data, open_page, monkeypatch, tmp_path):
    named = replace(data, name="voc", digest="feed", synthetic=False)
    monkeypatch.setattr(caches, "dataset_names", lambda: ["toy", "VOC 2011"])
    with monkeypatch.context() as patch:  # the fixture clears what is put aside here
        patch.setattr(caches, "dataset", lambda _: named)
        at = open_page("results", table=PREDICTION, data="VOC 2011")
        patch.setenv("CORRCORE_DATA", str(tmp_path))  # which opening a page takes away
        at.run()
    assert any(
        "Detectors of every keypoint are trained first, which takes minutes" in each for each in texts(at.markdown)
    )
    assert at.code[0].value == f"corrcore evaluate prediction --data '{tmp_path}/VOC 2011'"


def test_differences_do_not_warn_of_what_is_above_print(cat, open_page):
    styled = open_page("results").dataframe[0].proto.arrow_data.styler.styles
    assert "33, 102, 172" in styled  # above: blue
    assert "200, 100, 0" in styled  # below: orange


def test_exports_say_how_they_were_measured(data, open_page, offered, monkeypatch):
    places(data, "cat", {"conv4": lambda n, k: (n + k) % 3 == 0}, order="likeness")
    drawn = []
    original = figures.table_picture
    monkeypatch.setattr(figures, "table_picture", lambda title, *rest: [drawn.append(title), original(title, *rest)][1])
    open_page("results")
    names = [name for name in offered if name != "python"]
    assert {name.rpartition(".")[0] for name in names} == {
        "table 2 transfer, alpha 0.1 per keypoint type, kept in place order likeness"
    }
    files = {name.rpartition(".")[2]: offered[name]() for name in names}
    [line] = csv.DictReader(io.StringIO(files["csv"].decode()))
    assert (line["data"], line["network"], line["how"]) == (data.title, "alexnet", "kept in place: order likeness")
    assert [len(line[name].partition(".")[2]) for name in ("value", "low", "high", "published", "difference")] == [
        1
    ] * 5
    assert drawn[0].endswith("alexnet · kept in place: order likeness")
    assert json.loads(files["json"])["how"] == line["how"]


def test_published_numbers_have_the_papers_digits(data, open_page, offered):
    names(data, "cat", {"conv3": always})
    names(data, "cow", {"conv3": always})
    open_page("results", table=CLASSIFICATION)
    [content] = [make() for name, make in offered.items() if name.endswith(".csv")]
    assert [line["published"] for line in csv.DictReader(io.StringIO(content.decode()))] == ["52", "45", "48.5"]


def test_of_drawn_objects_nothing_is_validated_and_nothing_of_it_said(data, open_page):
    places(data, "cow", {"conv5": even}, experiment="prediction", folds=0, costs=[0.1])
    places(data, "cat", {"conv5": even}, experiment="prediction", folds=0, costs=[0.1], validated=200)
    at = open_page("results", table=PREDICTION)
    assert [category for category, kind in table(at).columns if kind == "ours"] == ["cat", "cow", "mean"]
    assert "nothing chosen, weights as set" in at.table[0].value.to_numpy().ravel().tolist()
    assert "validated" not in at.table[0].value.to_numpy().ravel().tolist()


def test_the_curve_rises_and_passes_through_the_table(data, open_page):
    places(data, "cat", {"NN": never, "conv4": early})
    at = open_page("results", results_section=CURVE)
    lines = {
        trace["name"]: trace for trace in json.loads(at.get("plotly_chart")[0].proto.spec)["data"] if "name" in trace
    }
    line = lines["conv4"]
    shown = dict(zip(line["x"], line["y"], strict=True))
    assert shown[0.1] == pytest.approx(table(at)["cat", "ours"]["conv4"])
    assert shown[0.06] == 0
    assert shown[0.08] == shown[0.2] > 0


def test_quarters_of_the_objects_make_up_all_of_them(cat, data, open_page):
    at = open_page("results", results_section=DIFFICULT)
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    assert len(charts) == 2
    for chart in charts:
        labels = chart["layout"]["xaxis"]["ticktext"]
        assert sum(int(label.split("<br>")[1].split()[0]) for label in labels) == 12
    names(data, "cat", {"conv3": always, "sift20": even})
    at = open_page("results", table=CLASSIFICATION, results_section=DIFFICULT)
    assert len(at.get("plotly_chart")) == 1
    assert any("Sizes of boxes are not in the results" in text for text in texts(at.caption))


def test_a_quick_look_gives_way_to_more_objects_and_alone_says_that_it_is_one(data, open_page):
    places(data, "cat", {"conv4": always}, some=4, name="transfer cat of 4.json")
    at = open_page("results")
    assert any("cat 4 of 12" in text for text in texts(at.caption))
    places(data, "cat", {"conv4": never})
    at = open_page("results")
    assert table(at)["cat", "ours"]["conv4"] == 0
    assert any("cat 12." in text for text in texts(at.caption))


def test_results_measured_otherwise_are_another_table(cat, data, open_page):
    places(data, "cat", {"conv4": even}, name="transfer cat again.json", order="likeness")
    at = open_page("results")
    assert table(at)["cat", "ours"]["conv4"] == 100
    assert list(at.selectbox(key="how").options) == ["as in the paper", "kept in place: order likeness"]
    at.selectbox(key="how").set_value("kept in place: order likeness")
    assert table(at.run())["cat", "ours"]["conv4"] == pytest.approx(50)


def test_what_cannot_be_read_or_is_older_is_said_and_left_out(cat, data, open_page):
    write(data, "broken.json", {"settings": 3})
    file = places(data, "cow", {"conv4": always})
    file.write_text(file.read_text()[:-200])
    old = places(data, "cow", {"conv4": always}, name="old.json")
    old.write_text(old.read_text().replace(json.dumps(experiments.VERSIONS["transfer"]), "[0, 0, 0]"))
    other = places(replace(data, digest="other"), "cow", {"conv4": always})
    assert other.parent != old.parent
    at = open_page("results")
    assert [category for category, kind in table(at).columns if kind == "ours"] == ["cat"]
    [files] = [each for each in at.expander if each.label.startswith("Files")]
    assert (
        files.label == "Files that are not shown: 1 of an older version, 1 of other annotations, 2 that cannot be read"
    )
    said = " ".join(texts(files.caption))
    assert (
        "older version of the code: old.json. Run the command again to renew them: `corrcore evaluate transfer" in said
    )
    assert "other annotations than the data set has now: transfer cow.json" in said
    assert "broken.json is left out: it is not as results are written" in said.replace("\\", "")
    assert "transfer cow.json is left out: it is no JSON" in said.replace("\\", "")


def test_older_files_of_another_table_or_data_set_are_not_counted(cat, data, open_page):
    for number, content in enumerate((data, replace(data, name="voc2011", digest="other"))):
        old = places(content, "cow", {"conv4": always}, experiment="prediction", name=f"prediction {number}.json")
        old.write_text(old.read_text().replace(json.dumps(experiments.VERSIONS["prediction"]), "[0]"))
    at = open_page("results")
    assert not [each for each in at.expander if each.label.startswith("Files")]
    at = open_page("results", table=PREDICTION)
    [files] = [each for each in at.expander if each.label.startswith("Files")]
    assert "prediction 0.json" in files.caption[0].value
    assert "prediction 1.json" not in files.caption[0].value


def test_files_that_are_no_tables_are_named_beside_their_own(cat, data, open_page):
    folder = experiments.default_folder(data, "alexnet")
    search = {"settings": settings(data, "transfer", "cat", validation=30), "records": {}}
    write(data, "transfer cat.smoothness.json", search)
    for suffix in ("choice", "mining"):
        (folder / f"prediction cat conv5.{suffix}").write_text("{}")
    [files] = [each for each in open_page("results").expander if each.label.startswith("Files")]
    assert files.label == "Files that are not shown: 1 that are no tables"
    assert texts(files.caption) == [
        "transfer cat.smoothness.json: the search for the smoothness of the table beside it."
    ]
    [files] = [each for each in open_page("results", table=PREDICTION).expander if each.label.startswith("Files")]
    assert all("the command goes on from it" in text for text in texts(files.caption))
    assert len(files.caption) == 2


def test_a_file_that_is_written_anew_is_read_anew(cat, data, open_page):
    at = open_page("results")
    file = places(data, "cat", {"NN": never, "conv4": never})
    stamp = file.stat().st_mtime_ns + 10**9  # clocks of some file systems are coarse
    os.utime(file, ns=(stamp, stamp))
    assert table(at.run())["cat", "ours"]["conv4"] == 0


@pytest.mark.parametrize(
    ("title", "command", "page"),
    [
        (TRANSFER, "corrcore evaluate transfer --data toy", "](alignment?"),
        (CLASSIFICATION, "corrcore evaluate classification --data toy", "](classification?"),
        (PREDICTION, "corrcore evaluate prediction --data toy", "](prediction?"),
    ],
)
def test_where_nothing_is_computed_the_command_and_the_page_are_named(open_page, title, command, page):
    at = open_page("results", table=title)
    assert at.code[0].value == command
    assert any(page in text for text in texts(at.markdown))
    assert not at.dataframe


def test_without_results_table_1_is_shown_first(open_page):
    assert open_page("results").segmented_control(key="table").value == "1 Receptive fields"


def test_results_of_a_data_set_that_is_not_here_are_shown_without_its_objects(data, open_page):
    gone = replace(data, name="voc2011", digest="feedbeef00")
    places(gone, "cat", {"NN": never, "conv4": early})
    at = open_page("results")
    assert at.selectbox(key="data").value == "voc2011 feedbeef"
    assert table(at)["cat", "paper"]["conv4"] == 19.6
    at = choose_cell(at, 0, "ours")
    assert any("not on this machine" in text for text in texts(at.caption))
    assert not any("](alignment?" in text for text in texts(at.markdown))
    assert not any("drawn, synthetic" in text for text in texts(at.markdown))


def test_a_link_to_what_is_not_there_is_said(cat, open_page):
    at = open_page("results", table="5 Sense of humour")
    assert any("does not exist here" in text for text in texts(at.warning))
    assert at.segmented_control(key="table").value == TRANSFER


def test_exports_hold_the_table(cat, data, open_page, offered):
    places(data, "cow", {"NN": never, "conv4": even})
    open_page("results")
    files = {name: make() for name, make in offered.items() if name != "python"}
    assert {name.rpartition(".")[2] for name in files} == {"csv", "tex", "json", "png"}
    name = "table 2 transfer, alpha 0.1 per keypoint type, as in the paper"
    lines = list(csv.DictReader(io.StringIO(files[f"{name}.csv"].decode())))
    [line] = [each for each in lines if (each["row"], each["category"]) == ("sift20", "cat")]
    assert (float(line["value"]), float(line["published"]), float(line["difference"])) == (50, 16, 34)
    assert len(lines) == 3 + 2 + 2  # the mean has no row that one category lacks
    content = json.loads(files[f"{name}.json"].decode(), parse_constant=pytest.fail)
    assert [str(each["value"]) for each in content["numbers"]] == [each["value"] for each in lines]
    assert content["settings"]["cow"]["category"] == "cow"
    assert "longer side of the object's box" in content["definition"]
    latex = files[f"{name}.tex"].decode().splitlines()
    rows = [each for each in latex if each.endswith(r"\\")]
    assert latex[0].startswith("% Table 2.")
    assert latex[0].endswith("· alexnet · as in the paper")
    assert latex[1] == r"\begin{tabular}{lrrr}"
    assert [row.count("&") for row in rows] == [3] * 4
    assert rows[2].startswith("conv4 & 100.0 [100.0, 100.0] (19.6) & 50.0")
    assert decoding.decode(files[f"{name}.png"]).shape[1] > 400


def test_latex_escapes_what_it_would_act_on(data, open_page, offered):
    renamed = replace(
        data,
        keypoint_names={"a_cat 100%": data.keypoint_names["cat"]},
        splits={("a_cat 100%", split): data.splits["cat", split] for split in ("train", "val")},
    )
    places(renamed, "a_cat 100%", {"conv4": always})
    open_page("results")
    text = offered["table 2 transfer, alpha 0.1 per keypoint type, as in the paper.tex"]().decode()
    assert r"a\_cat 100\%" in text


def test_the_lines_of_python_print_the_same_numbers(cat, open_page, offered):
    open_page("results")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(offered["python"], "lines", "exec"), {})
    assert "conv4          100.0 [100.0, 100.0]" in printed.getvalue()


def test_the_lines_of_python_are_of_the_files_shown_and_no_others(cat, data, open_page, offered):
    places(data, "cat", {"conv4": even}, name="transfer cat kept.json", order="likeness")
    open_page("results", how="kept in place: order likeness")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(offered["python"], "lines", "exec"), {})
    assert [line for line in printed.getvalue().splitlines() if "conv4" in line] == [
        "  conv4           50.0 [50.0, 50.0]"
    ]


def test_bars_have_the_papers_numbers_over_them(cat, open_page):
    at = open_page("results", results_section="By category")
    traces = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    bars = [trace for trace in traces if trace["type"] == "bar"]
    assert [trace["name"] for trace in bars] == ["NN, not aligned", "conv4", "SIFT, radius 20 px"]
    paper = [trace for trace in traces if trace["type"] == "scatter"]
    assert [trace["y"] for trace in paper] == [[11.1], [19.6], [16.0]]
