"""The Results page: files of results written by hand, in which every number is known."""

import csv
import io
import json
import os
import re
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from corrcore import datasets, decoding, experiments, networks
from corrcore.datasets import DatasetSpec, toy
from corrcore.experiments import Classification, Context, KeypointRecord, Pairs, Prediction, Row, Transfer
from corrcore.experiments.classification import ClassificationRecord
from corrcore.experiments.pairs import PairRecord
from corrcore.experiments.results import Outcome
from corrcore.tasks import classification
from dashboard import figures
from dashboard.app_pages.results_parts.charts import group_words, groups_of
from dashboard.services import caches
from dashboard.services.kept_networks import kept_networks
from tests.conftest import relabelled

TRANSFER, CLASSIFICATION, PREDICTION = "2 Transfer", "3 Classification", "4 Prediction"
COMPARED, CURVE, DIFFICULT = "Two rows compared", "PCK against alpha", "Accuracy by size and visibility"
FIRST = 0.07  # of the box's longer side, off the truth: right at 0.1, wrong at 0.05
FEW = "few"


@dataclass(frozen=True)
class Flat:
    """A grey picture, for what is not looked at."""

    name: str
    stamp: str = "grey"

    def load(self):
        return np.full((375, 500, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def animals():
    """Drawn animals' annotations under the names of the paper's data set and of two of its categories."""
    drawn = toy.load(n_train=1, n_val=12)
    splits = {
        (each, split): [
            replace(one, category=each, photo=Flat(one.photo.name)) for one in drawn.splits[f"toy {each}", split]
        ]
        for each in ("cat", "cow")
        for split in ("train", "val")
    }
    names = {each: drawn.keypoint_names[f"toy {each}"] for each in ("cat", "cow")}
    return replace(drawn, name="voc2011", keypoint_names=names, splits=splits)


@pytest.fixture(autouse=True)
def data(animals, cache_folder, monkeypatch, tmp_path):
    """Those animals on offer; results in a folder of their own."""
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    datasets.register(DatasetSpec(FEW, "Few animals", True, lambda: animals))
    caches.dataset.clear()
    yield animals
    datasets.unregister(FEW)
    caches.dataset.clear()


@pytest.fixture
def write(alexnet, data):
    """``write(experiment, records)`` leaves records in the store, as a run of an experiment does."""

    def write(experiment, records, *, of=data, network=alexnet, notes=None, skipped=None, asked=()):
        opened = {network.name: network}
        context = Context(opened_datasets={experiment.dataset: of}, opened_networks=opened)
        experiment = experiment.resolved(context)
        store = experiments.ResultStore()
        store.forget(experiment, context)
        file = store.open(experiment, context)
        file.ask([*records, *(skipped or {}), *asked])
        file.note(notes or {})
        for name, record in records.items():
            file.add(name, "", Outcome(record))
        for name, reason in (skipped or {}).items():
            file.add(name, "", Outcome(skipped=reason))
        return store.path(experiment, context)

    return write


def moved(one, right):
    """Keypoints that are off by `FIRST` where right, by half a box elsewhere."""
    return one.keypoints + np.where(right, FIRST, 0.5)[:, None] * max(one.size) * np.array([1, 0])


@pytest.fixture
def places(data, write):
    """Leaves a result in which row r has keypoint k of object n right where ``rows[r](n, k)``."""

    def places(category, rows, *, kind=Transfer, some=None, of=data, source=FEW, truth=None, **others):
        written = {name: others.pop(name) for name in ("notes", "skipped", "asked", "network") if name in others}
        instances = of.visible_instances(category, "val")[:some]
        keypoints = np.arange(len(of.keypoint_names[category]))
        named = {"network": written["network"].name} if "network" in written else {}
        records = {
            one.name: KeypointRecord(
                one.box,
                one.keypoints if truth is None else truth(n, one.keypoints),
                (),
                {row: moved(one, rule(n, keypoints)) for row, rule in rows.items()},
            )
            for n, one in enumerate(instances)
        }
        return write(kind(source, category, **named, **others), records, of=of, **written)

    return places


@pytest.fixture
def names(data, write):
    """Leaves a result in which row r names keypoint k of object n rightly where ``rows[r](n, k)``."""

    def names(category, rows, *, some=None, **others):
        instances = data.visible_instances(category, "val")[:some]
        samples = [(n, k) for n, one in enumerate(instances) for k in np.flatnonzero(one.visible).tolist()]
        objects = tuple(instances[n].name for n, _ in samples)
        photos = tuple(instances[n].photo.name for n, _ in samples)
        protocol = experiments.PROTOCOLS[others.get("protocol", "box")]
        n_classes = len(classification.class_names(data.keypoint_names[category], protocol))
        labels = np.array([k % n_classes for _, k in samples])
        records = {
            row: ClassificationRecord(
                1.0,
                (0.0,),
                {},
                objects,
                photos,
                np.array([k for _, k in samples]),
                labels,
                np.array([label + (not rule(n, np.array(k))) for label, (n, k) in zip(labels, samples, strict=True)])
                % n_classes,
            )
            for row, rule in rows.items()
        }
        return write(Classification(FEW, category, **others), records)

    return names


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
def cat(places):
    return places("cat", {"NN": never, "conv4": always, "sift20": even})


def with_header(file, change):
    """Changes a file's header."""
    header, *lines = file.read_text().splitlines()
    content = json.loads(header)
    change(content)
    file.write_text("\n".join([json.dumps(content), *lines, ""]))


def table(at):
    """The first table: numbers by row and (category, kind), of whose names what is invisible is taken away."""
    found = at.dataframe[0].value
    found.columns = [(category, kind.rstrip("\u200b")) for category, kind in found.columns]
    return found


def texts(elements):
    return [element.value for element in elements]


def row(key):
    return Row.parse(key, network="alexnet")


def choose_cell(at, number, kind, experiment="transfer"):
    at.session_state[f"cells {experiment}"] = {"selection": {"rows": [], "columns": [], "cells": [[number, kind]]}}
    return at.run()


def linked(at):
    """The query of the link to the view."""
    [code] = [each.value for each in at.code if each.language != "python" and "table=" in each.value]
    return {name: values if len(values) > 1 else values[0] for name, values in parse_qs(urlsplit(code).query).items()}


def files_of(at):
    """The panel of files that are not shown."""
    return [each for each in at.expander if each.label.startswith("Files")]


def printed_by(lines):
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(lines, "lines", "exec"), {})
    return printed.getvalue()


def test_numbers_stand_beside_the_papers_with_intervals_and_differences(cat, open_page):
    at = open_page("results")
    assert at.segmented_control(key="table").value == TRANSFER
    found = table(at)
    assert list(found.index) == ["NN, not aligned", "conv4", "SIFT, radius 20 px"]  # as in the file
    assert list(found["cat", "ours"]) == pytest.approx([0, 100, 50])
    assert list(found["cat", "paper"]) == [11.1, 19.6, 16.0]
    assert list(found["cat", "diff."]) == pytest.approx([-11.1, 80.4, 34.0])
    assert list(found["cat", "95 %"]) == ["[0.0, 0.0]", "[100.0, 100.0]", "[50.0, 50.0]"]
    assert [text for text in texts(at.markdown) if text.startswith("**PCK")] == [
        "**PCK at α = 0.1, per keypoint type, %** · AlexNet · **drawn, synthetic**"
    ]
    assert any("the longer side of the object's box" in text for text in texts(at.caption))
    assert any(text.startswith("In drawings, which are easy to align") for text in texts(at.markdown))


def test_the_mean_is_over_the_categories_that_are_here_and_not_over_one(cat, places, open_page):
    assert not any(column == "mean" for column, _ in table(open_page("results")).columns)
    places("cow", {"NN": never, "conv4": even})
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


def test_another_data_sets_cat_has_no_published_numbers_beside_it(data, places, open_page, offered):
    other = replace(data, name="few")
    places("cat", {"NN": never, "conv4": always}, of=other, source="others")
    datasets.register(DatasetSpec("others", "Other animals", False, lambda: other))
    try:
        at = open_page("results", data="others")
        at.segmented_control(key="alpha").set_value("α = 0.05")
        stricter = at.run()
        assert not any("Published" in text for text in texts(stricter.caption))
        found = table(open_page("results", data="others"))
    finally:
        datasets.unregister("others")
    assert list(found.columns) == [("cat", "ours"), ("cat", "95 %")]
    [content] = [make().decode() for name, make in offered.items() if name.endswith(".csv")]
    assert {line["published"] for line in csv.DictReader(io.StringIO(content))} == {""}


def test_per_image_every_object_counts_the_same(data, places, open_page):
    def first_shows_one(n, keypoints):
        return np.where(np.arange(len(keypoints))[:, None] + [0, 0] > 0, np.nan, 100.0) if n == 0 else keypoints

    def early_but_the_first(n, k):
        return np.full(np.shape(k), 0 < n < 3)

    places("cat", {"NN": never, "conv4": early_but_the_first}, truth=first_shows_one)
    at = open_page("results")
    at.segmented_control(key="average").set_value("per image")
    found = table(at.run())
    assert found["cat", "ours"]["conv4"] == pytest.approx(100 * 2 / 12)
    assert ("cat", "paper") not in found


def test_another_table_is_shown_with_its_own_numbers(cat, names, open_page):
    names("cat", {"conv3": always, "sift20": even})
    names("cat", {"conv3": even, "sift20": never}, protocol="sideless")
    at = open_page("results")
    at.segmented_control(key="table").set_value(CLASSIFICATION)
    found = table(at.run())
    assert list(found.index) == ["conv3", "SIFT, radius 20 px"]
    assert found["cat", "ours"]["conv3"] == 100
    assert found["cat", "paper"]["conv3"] == 52
    at.selectbox(key="seen").set_value("in a box of 500 px, left and right alike")
    assert table(at.run())["cat", "ours"]["SIFT, radius 20 px"] == 0
    assert not at.exception


def test_table_4_is_read_as_table_2_is(places, open_page):
    rows = {"sift16": never, "sift16+prior": early, "conv5": even, "conv5+prior": always, "prior": never}
    places("cow", rows, kind=Prediction)
    at = open_page("results", table=PREDICTION)
    found = table(at)
    assert list(found.index) == ["SIFT, radius 16 px", "SIFT, radius 16 px + prior", "conv5", "conv5 + prior", "prior"]
    assert found["cow", "paper"]["conv5 + prior"] == 41.1
    assert np.isnan(found["cow", "paper"]["prior"])
    assert any("stretched to a square" in text for text in texts(at.caption))


def test_receptive_fields_of_all_networks_stand_beside_the_papers(alexnet, open_page, offered):
    @dataclass(frozen=True)
    class Again:
        name: str = "again"

        def open(self, **_):
            return alexnet

    networks.register(Again())
    try:
        at = open_page("results", table="1 Receptive fields")
    finally:
        networks.unregister("again")
    found = at.dataframe[0].value.set_index("layer")
    own = found.loc[found["network"] == "alexnet"].dropna()
    assert len(own) == 6
    assert (own["size, px"] == own["paper's size"]).all()
    assert (own["stride, px"] == own["paper's stride"]).all()
    again = found.loc[found["network"] == "again"]
    assert len(again) == len(alexnet.layers)
    assert again["paper's size"].isna().all()  # of another network nothing is in print
    assert "ReceptiveField(size=163" in printed_by(offered["python"])


def test_a_network_without_weights_is_named_with_the_reason(open_page, monkeypatch, tmp_path):
    monkeypatch.delenv("CORRCORE_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    kept_networks().clear()
    at = open_page("results", table="1 Receptive fields")
    [missing] = [each for each in at.expander if each.label.startswith("Networks")]
    assert "vgg16" in missing.label
    assert any("CORRCORE_WEIGHTS" in text.replace("\\", "") for text in texts(missing.caption))


def test_a_table_of_vgg16_has_its_layers_and_nothing_in_print_beside_it(places, open_page, vgg16_weights):
    kept_networks().clear()
    vgg16 = caches.network("vgg16")
    layer = vgg16.roles.transfer
    places("cat", {"NN": never, layer: early, "sift20": even}, network=vgg16)
    at = open_page("results", results_section="By category")
    titles = ["NN, not aligned", layer, "SIFT, radius 20 px"]
    assert list(table(at).index) == titles
    assert [each.title for each in at.multiselect(key="rows").value] == titles
    assert ("cat", "paper") not in table(at)
    assert any("· VGG16" in text for text in texts(at.markdown))
    at = choose_cell(at, 1, "ours")
    [link] = [text for text in texts(at.markdown) if "on the Alignment page](" in text]
    assert f"network=vgg16&upper={layer}" in link
    assert not any("own settings" in text for text in texts(at.caption))


def test_two_rows_are_compared_by_the_objects_they_share(cat, data, open_page):
    at = open_page("results", results_section=COMPARED)
    assert (at.selectbox(key="first").value, at.selectbox(key="second").value) == (
        row("conv4").title,
        row("sift20").title,
    )
    line = at.dataframe[1].value.iloc[0]
    assert len(at.dataframe[1].value) == 1  # no mean of one
    assert line["difference"] == "+50.0 [+50.0, +50.0]"
    assert line["which says"] == "conv4 is better"
    assert line["p, bootstrap"] == line["p, McNemar"] == "< 0.001"
    visible = sum(int(one.visible[1::2].sum()) for one in data.visible_instances("cat", "val"))
    assert (line["only the first right"], line["only the second right"]) == (str(visible), "0")
    at.selectbox(key="second").set_value(row("NN").title)
    assert at.run().dataframe[1].value.iloc[0]["difference"].startswith("+100.0")
    at.selectbox(key="second").set_value(row("conv4").title)
    assert "the same row" in at.run().info[0].value


def test_rows_of_which_each_is_better_at_times_do_not_differ(places, open_page):
    places("cat", {"conv4": lambda n, k: early(n % 6, k), "sift20": lambda n, k: early((n + 3) % 6, k)})
    line = open_page("results").dataframe[1].value.iloc[0]
    assert line["which says"] == "no difference can be told"


def test_a_cell_opens_the_page_and_the_objects_it_is_made_of(data, places, open_page):
    for each in ("cat", "cow"):
        places(each, {"NN": never, "conv4": early})
    at = choose_cell(open_page("results"), 1, "ours\u200b")
    assert not at.exception
    found = texts(at.markdown)
    assert any(text.startswith("**conv4, cow: ") for text in found)
    [link] = [text for text in found if "on the Alignment page](alignment?" in text]
    assert "data=few&category=cow&network=alexnet&upper=conv4" in link
    objects = [text for text in found if " right](alignment?" in text and "object=" in text]
    assert len(objects) == 12
    best = [one.name for one in data.visible_instances("cow", "val")[:3]]
    assert all(any(f"object={name}&" in text for text in objects[-6:]) for name in best)
    at = choose_cell(at, 1, "ours\u200b\u200b")
    assert any("The mean of 2 categories" in text for text in texts(at.markdown))


@pytest.mark.parametrize(
    ("key", "prior"),
    [
        ("conv5", "none"),
        ("conv5+prior", "the object most alike"),
        ("conv5+5 priors", "the 5 most alike"),
        ("5 priors", None),
    ],
)
def test_a_cell_of_table_4_opens_the_page_with_the_rows_own_prior(places, open_page, key, prior):
    places("cow", {key: early}, kind=Prediction)
    at = choose_cell(open_page("results", table=PREDICTION), 0, "ours", "prediction")
    [*links] = [link for text in texts(at.markdown) for link in re.findall(r"\]\((prediction\?.*?)\)", text)]
    assert len(links) == 13
    assert {parse_qs(urlsplit(link).query).get("prior", [None])[0] for link in links} == {prior}
    if prior is None:
        assert any("not 5 priors alone" in text for text in texts(at.caption))
    else:
        assert not any("own settings" in text for text in texts(at.caption))


def test_a_cell_says_in_what_the_page_differs_from_it(places, open_page):
    notes = {"smoothness": {"conv4": 0.3}}
    places("cat", {"conv4": early}, order="likeness", position=0.01, notes=notes)
    at = choose_cell(open_page("results", alpha="α = 0.05", average="per image"), 0, "ours")
    [said] = [text.replace("\\", "") for text in texts(at.caption) if "own settings" in text]
    assert "right within α = 0.1, not 0.05; averages per keypoint type, not per image" in said
    assert "position 0.0, not 0.01; order deformation, not likeness" in said
    [link] = [text for text in texts(at.markdown) if "on the Alignment page](alignment?" in text]
    assert "upper=conv4&smoothness=0.3&iterations=10" in link


def test_a_cell_of_other_costs_than_the_pages_says_so(places, open_page):
    places("cat", {"conv5": early}, kind=Prediction, costs=(0.5, 1.0))
    at = choose_cell(open_page("results", table=PREDICTION), 0, "ours", "prediction")
    assert any("costs tried 0.1, not 0.5 1.0" in text for text in texts(at.caption))


def test_a_cell_measured_as_the_page_does_has_nothing_to_say(cat, open_page):
    at = choose_cell(open_page("results"), 1, "ours")
    assert any("on the Alignment page](" in text for text in texts(at.markdown))
    assert not any("own settings" in text for text in texts(at.caption))


def test_the_link_says_what_is_shown_even_where_it_is_the_default(cat, open_page):
    at = open_page("results")
    assert linked(at) == {
        "table": TRANSFER,
        "data": FEW,
        "network": "AlexNet",
        "how": "as usual",
        "alpha": "α = 0.1",
        "average": "per keypoint type",
        "results_section": COMPARED,
        "first": "conv4",
        "second": "SIFT, radius 20 px",
    }
    at.selectbox(key="second").set_value(row("NN").title)
    assert linked(at.run())["second"] == "NN, not aligned"
    at.segmented_control(key="results_section").set_value(CURVE)
    query = linked(at.run())
    assert query["rows"] == ["NN, not aligned", "conv4", "SIFT, radius 20 px"]
    assert query["category"] == "cat"


def test_a_link_shows_its_view_where_there_are_other_results(cat, places, names, open_page):
    query = linked(open_page("results"))
    places("cat", {"sift20": always, "NN": even, "conv4": never})
    names("cat", {"conv3": always})
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


def test_two_rows_begin_with_those_in_print_of_the_same_prior(places, open_page):
    rows = {"sift16": early, "sift16+prior": never, "sift16+5 priors": even}
    rows |= {"conv5": even, "conv5+prior": even, "conv5+5 priors": always}
    places("cow", rows, kind=Prediction)
    at = open_page("results", table=PREDICTION)
    assert at.selectbox(key="first").value in (row("conv5").title, row("conv5+prior").title)
    rows["conv5"] = never
    places("cow", rows, kind=Prediction, costs=(0.5,))
    at = open_page("results", table=PREDICTION, how="costs tried 0.5")
    chosen = at.selectbox(key="first").value, at.selectbox(key="second").value
    assert chosen == (row("conv5+prior").title, row("sift16+prior").title)


def test_charts_draw_the_rows_that_are_chosen_those_in_print_to_begin_with(places, open_page):
    places("cow", {"prior": never, "conv5": even, "conv5+prior": always}, kind=Prediction)
    at = open_page("results", table=PREDICTION, results_section="By category")

    def drawn():
        traces = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
        return [trace["name"] for trace in traces if trace["type"] == "bar"]

    assert drawn() == ["conv5", "conv5 + prior"]
    at.multiselect(key="rows").set_value([row("prior"), row("conv5")])
    at.run()
    assert drawn() == ["prior", "conv5"]
    at.multiselect(key="rows").set_value([])
    assert not at.run().get("plotly_chart")
    assert any("Choose a row" in text for text in texts(at.info))


def test_rows_that_no_category_shares_are_compared_nowhere(names, open_page):
    names("cat", {"conv3": always})
    names("cow", {"sift20": even})
    at = open_page("results", table=CLASSIFICATION)
    assert not at.exception
    assert any("No category has both rows" in text for text in texts(at.info))


def test_charts_of_another_table_begin_with_its_own_rows(places, open_page):
    places("cow", {"NN": never, "conv4": even, "sift20": even})
    places("cow", {"conv5": even, "conv5+prior": always}, kind=Prediction)
    at = open_page("results", results_section="By category")
    assert at.multiselect(key="rows").value == [row("NN"), row("conv4"), row("sift20")]
    at.segmented_control(key="table").set_value(PREDICTION)
    assert at.run().multiselect(key="rows").value == [row("conv5"), row("conv5+prior")]


def test_rows_that_the_category_does_not_have_are_said_to_be_missing(places, open_page):
    places("cat", {"conv4": even})
    places("cow", {"sift20": even})
    at = open_page("results", results_section=CURVE, category="cow", rows="conv4")
    assert any("None of these rows was measured for cow" in text for text in texts(at.info))


def test_a_cell_of_one_table_is_not_opened_in_another(places, open_page):
    places("cat", {"conv5": even})
    places("cat", {"conv5": even}, kind=Prediction)
    at = choose_cell(open_page("results"), 0, "ours")
    assert at.query_params["cell"] == "conv5,cat"
    at.segmented_control(key="table").set_value(PREDICTION)
    at.run()
    assert not any(text.startswith("**conv5, cat") for text in texts(at.markdown))
    assert "cell" not in at.query_params


def test_features_that_a_page_does_not_offer_are_not_asked_of_it(places, open_page):
    places("cat", {"conv4": even, "sift80": even})
    at = choose_cell(open_page("results"), 1, "ours")
    link = next(text for text in texts(at.markdown) if text.startswith("[Open cat"))
    assert "upper" not in link
    assert any("other features than SIFT, radius 80 px" in text for text in texts(at.caption))


def test_visitors_are_told_that_a_table_is_not_there_and_offered_no_command(open_page, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("results", table=PREDICTION, data=FEW)
    assert not any("at the press of a button" in text for text in texts(at.markdown))
    assert any("has not been computed for this data set yet; this server is shared" in text for text in texts(at.info))
    assert not at.code


def test_what_the_paper_has_otherwise_is_said(places, open_page):
    file = places("cat", {"conv4": even})
    assert any(
        "Neighbours are found by conv5, pooled to 6 x 6 here" in each for each in texts(open_page("results").caption)
    )
    with_header(file, lambda header: header["provenance"].update(neighbours_by="fc7"))
    assert not any("Neighbours are found by" in each for each in texts(open_page("results").caption))


def test_left_and_right_alike_is_a_press_away(names, open_page):
    names("cat", {"conv3": always})
    assert not open_page("results", table=CLASSIFICATION).button
    names("cat", {"conv3": even}, protocol="sideless")
    at = open_page("results", table=CLASSIFICATION)
    at.button(key="alike").click()
    at.run()
    assert at.selectbox(key="seen").value == "in a box of 500 px, left and right alike"
    assert table(at)["cat", "ours"]["conv3"] < 100
    assert not at.button


def test_where_table_4_is_missing_training_and_the_data_sets_path_are_named(data, open_page, tmp_path):
    photos = replace(data, digest="feed", synthetic=False)
    folder = tmp_path / "VOC 2011"
    datasets.register(DatasetSpec("VOC 2011", "Photos", False, lambda: photos, folder))
    try:
        at = open_page("results", table=PREDICTION, data="VOC 2011")
    finally:
        datasets.unregister("VOC 2011")
    assert any(
        "Detectors of every keypoint are trained first, which takes minutes" in each for each in texts(at.markdown)
    )
    assert at.code[0].value == f"corrcore evaluate prediction --data '{folder}'"


def test_differences_do_not_warn_of_what_is_above_print(cat, open_page):
    styled = open_page("results").dataframe[0].proto.arrow_data.styler.styles
    assert "33, 102, 172" in styled  # above: blue
    assert "200, 100, 0" in styled  # below: orange


def test_exports_say_how_they_were_measured(data, places, open_page, offered, monkeypatch):
    places("cat", {"conv4": lambda n, k: (n + k) % 3 == 0}, order="likeness")
    drawn = []
    original = figures.table_picture
    monkeypatch.setattr(figures, "table_picture", lambda title, *rest: [drawn.append(title), original(title, *rest)][1])
    open_page("results")
    exported = [name for name in offered if name != "python"]
    assert {name.rpartition(".")[0] for name in exported} == {
        "table 2 transfer, alpha 0.1 per keypoint type, order likeness"
    }
    files = {name.rpartition(".")[2]: offered[name]() for name in exported}
    [line] = csv.DictReader(io.StringIO(files["csv"].decode()))
    assert (line["data"], line["network"], line["how"]) == (data.title, "alexnet", "order likeness")
    digits = [len(line[name].partition(".")[2]) for name in ("value", "low", "high", "published", "difference")]
    assert digits == [1] * 5
    assert drawn[0].endswith("alexnet · order likeness")
    assert json.loads(files["json"])["how"] == line["how"]


def test_published_numbers_have_the_papers_digits(names, open_page, offered):
    names("cat", {"conv3": always})
    names("cow", {"conv3": always})
    open_page("results", table=CLASSIFICATION)
    [content] = [make() for name, make in offered.items() if name.endswith(".csv")]
    assert [line["published"] for line in csv.DictReader(io.StringIO(content.decode()))] == ["52", "45", "48.5"]


def test_the_curve_rises_and_passes_through_the_table(places, open_page):
    places("cat", {"NN": never, "conv4": early})
    at = open_page("results", results_section=CURVE)
    traces = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    line = next(trace for trace in traces if trace.get("name") == "conv4")
    shown = dict(zip(line["x"], line["y"], strict=True))
    assert shown[0.1] == pytest.approx(table(at)["cat", "ours"]["conv4"])
    assert shown[0.06] == 0
    assert shown[0.08] == shown[0.2] > 0


def test_groups_of_objects_make_up_all_of_them_and_are_called_what_they_are(cat, names, open_page):
    at = open_page("results", results_section=DIFFICULT)
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    assert len(charts) == 2
    said = [text for text in texts(at.caption) if text.startswith(("Quarters", "Groups", "One group"))]
    for chart, words in zip(charts, said, strict=True):
        labels = chart["layout"]["xaxis"]["ticktext"]
        sizes = [int(label.split("<br>")[1].split()[0]) for label in labels]
        assert sum(sizes) == 12
        uneven = max(sizes) - min(sizes) > 1 or len(sizes) != 4
        assert words.startswith("Groups of " if uneven else "Quarters")
    names("cat", {"conv3": always, "sift20": even})
    at = open_page("results", table=CLASSIFICATION, results_section=DIFFICULT)
    assert len(at.get("plotly_chart")) == 1
    assert any("Sizes of boxes are not in the results" in text for text in texts(at.caption))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (range(9), "Quarters of the objects."),
        ([0] * 8 + [1] * 8 + [2] * 3 + [3] * 5, "Groups of 8, 8, 3 and 5 objects: split at the quartiles"),
        ([0] * 5 + [1] * 4, "Groups of 5 and 4 objects"),
        ([7] * 5, "One group of 5 objects"),
    ],
)
def test_groups_are_quarters_only_where_they_are_of_one_size(values, words):
    groups = groups_of(np.array(values, float))
    assert sum(groups).tolist() == [1] * len(values)
    assert group_words(groups).startswith(words)


def test_a_quick_look_says_everywhere_that_it_is_a_part_and_gives_way_to_more(places, open_page, offered):
    places("cat", {"conv4": always, "sift20": even}, some=4, limit=4)
    at = open_page("results", results_section="By category")
    part = "cat (4 of 12)"
    assert table(at)[part, "ours"]["conv4"] == 100
    assert any("cat 4 of 12. A quick look, limited to 4" in text for text in texts(at.caption))
    assert part in at.get("plotly_chart")[0].proto.spec
    files = {name.rpartition(".")[2]: make() for name, make in offered.items() if name not in ("python",)}
    line = next(csv.DictReader(io.StringIO(files["csv"].decode())))
    assert (line["objects"], line["of"]) == ("4", "12")
    assert part in files["tex"].decode()
    assert json.loads(files["json"])["results"]["cat"]["objects"] == "4 of 12"
    places("cat", {"conv4": never, "sift20": even})
    at = open_page("results")
    assert table(at)["cat", "ours"]["conv4"] == 0
    assert any("Val objects: cat 12. Colours" in text for text in texts(at.caption))
    [files] = files_of(at)
    assert files.label == "Files that are not shown: 1 of fewer objects than those shown"
    assert "limit 4" in files.caption[0].value


def test_a_run_that_was_stopped_is_a_part_too(data, places, open_page):
    rest = [one.name for one in data.visible_instances("cat", "val")[5:]]
    places("cat", {"conv4": always}, some=5, asked=rest)
    at = open_page("results")
    assert table(at)["cat (5 of 12)", "ours"]["conv4"] == 100
    assert any("Some are still being measured, or were stopped." in text for text in texts(at.caption))


def test_a_mean_over_parts_says_so(places, open_page):
    places("cat", {"conv4": always, "sift20": even}, some=4, limit=4)
    places("cow", {"conv4": always, "sift20": even})
    at = open_page("results")
    found = table(at)
    assert found["mean (1 in part)", "ours"]["conv4"] == 100
    assert found["mean (1 in part)", "paper"]["conv4"] == pytest.approx((19.6 + 25.4) / 2)
    assert list(at.dataframe[1].value["category"]) == ["cat (4 of 12)", "cow", "mean (1 in part)"]


def test_table_3_of_some_objects_is_a_part_too(names, open_page):
    names("cat", {"conv3": always}, some=3, limit=3)
    assert ("cat (3 of 12)", "ours") in table(open_page("results", table=CLASSIFICATION)).columns


def test_results_measured_otherwise_are_another_table(cat, places, open_page, offered):
    places("cat", {"conv4": even}, order="likeness")
    at = open_page("results")
    assert table(at)["cat", "ours"]["conv4"] == 100
    assert len(printed_by(offered["python"]).splitlines()) == 4
    options = list(at.selectbox(key="how").options)
    assert options == ["as usual", "order likeness"]
    at.selectbox(key="how").set_value("order likeness")
    assert table(at.run())["cat", "ours"]["conv4"] == pytest.approx(50)
    lines = printed_by(offered["python"])  # of the files shown and no others
    assert [line for line in lines.splitlines() if "conv4" in line] == ["  conv4           50.0 [50.0, 50.0]"]


def test_results_of_other_features_are_another_table(cat, places, open_page):
    places("cat", {"conv3": even}, features=("conv3",))
    at = open_page("results")
    assert len(at.selectbox(key="how").options) == 2
    at = open_page("results", how="as usual, conv3")
    assert list(table(at).index) == ["conv3"]


def test_results_of_other_networks_and_weights_are_other_tables(cat, places, alexnet, open_page):
    other = places("cat", {"conv4": even}, network=relabelled(alexnet, name="cousin"))
    assert "cousin" in other.parent.name
    at = open_page("results")
    assert list(at.selectbox(key="network").options) == ["AlexNet", "cousin"]
    at.selectbox(key="network").set_value("cousin")
    found = table(at.run())
    assert found["cat", "ours"]["conv4"] == pytest.approx(50)
    assert ("cat", "paper") not in found
    with_header(cat, lambda header: header["provenance"]["extractors"].update(alexnet="0123456789"))
    places("cat", {"conv4": never}, limit=12)
    options = open_page("results").selectbox(key="network").options
    assert len([each for each in options if each.startswith("AlexNet, weights ")]) == 2


@pytest.mark.parametrize("asked", ["cousin", "alexnet", "AlexNet", "AlexNet · embedded"])
def test_a_link_names_the_network_of_a_table_as_other_pages_do(two, open_page, asked):
    at = open_page("results", network=asked)
    assert at.selectbox(key="network").value == ("cousin" if asked == "cousin" else "AlexNet")
    assert not at.warning


def test_objects_that_could_not_be_measured_are_named(places, open_page):
    places("cat", {"conv4": always}, some=11, skipped={"toy-cat-val-011": "the photo is damaged."})
    at = open_page("results")
    [panel] = [each for each in at.expander if "left out" in each.label]
    assert "toy\\-cat" in panel.caption[0].value or "toy-cat" in panel.caption[0].value
    assert "the photo is damaged" in panel.caption[0].value


def test_what_cannot_be_read_or_is_older_is_said_and_left_out(cat, data, places, open_page):
    (cat.parent / "broken.jsonl").write_text('{"settings": 3}\n')
    (cat.parent / "transfer cow.jsonl").write_text("torn")
    old = places("cow", {"conv4": always}, order="likeness")
    with_header(old, lambda header: header["settings"].update(versions=[0, 0, 0]))
    other = places("cow", {"conv4": always}, of=replace(data, digest="other"))
    assert other.parent != old.parent
    at = open_page("results")
    assert [category for category, kind in table(at).columns if kind == "ours"] == ["cat"]
    [files] = files_of(at)
    assert (
        files.label == "Files that are not shown: 1 of an older version, 1 of other annotations, 2 that cannot be read"
    )
    said = " ".join(texts(files.caption)).replace("\\", "")
    assert f"older version of the code: {old.parent.name}/{old.name}. Run the command again" in said
    assert "`corrcore evaluate transfer --data few`" in said
    assert f"other annotations than the data set has now: {other.parent.name}/transfer cow.jsonl" in said
    assert "broken.jsonl is left out: " in said
    assert "transfer cow.jsonl is left out: " in said


def test_older_files_of_another_table_or_data_set_are_not_counted(cat, data, places, open_page):
    for content in (data, replace(data, name="another", digest="other")):
        old = places("cow", {"conv4": always}, kind=Prediction, of=content)
        with_header(old, lambda header: header["settings"].update(versions=[0]))
    assert not files_of(open_page("results"))
    [files] = files_of(open_page("results", table=PREDICTION, data=FEW))
    assert files.label == "Files that are not shown: 1 of an older version"


def test_a_result_in_which_nothing_could_be_measured_is_named_with_the_reason(cat, places, open_page):
    places("cow", {}, some=0, skipped={"toy-cow-val-000": "the photo is damaged."})
    at = open_page("results")
    assert [category for category, kind in table(at).columns if kind == "ours"] == ["cat"]
    [files] = files_of(at)
    assert files.label == "Files that are not shown: 1 with nothing to show"
    assert "the photo is damaged" in files.caption[0].value


def test_a_file_that_is_written_anew_is_read_anew(cat, places, open_page):
    at = open_page("results")
    file = places("cat", {"NN": never, "conv4": never})
    stamp = file.stat().st_mtime_ns + 10**9  # clocks of some file systems are coarse
    os.utime(file, ns=(stamp, stamp))
    assert table(at.run())["cat", "ours"]["conv4"] == 0


@pytest.mark.parametrize(
    ("title", "command", "page"),
    [
        (TRANSFER, "corrcore evaluate transfer --data few", "](alignment?"),
        (CLASSIFICATION, "corrcore evaluate classification --data few", "](classification?"),
        (PREDICTION, "corrcore evaluate prediction --data few", "](prediction?"),
    ],
)
def test_where_nothing_is_computed_the_command_and_the_page_are_named(open_page, title, command, page):
    at = open_page("results", table=title, data=FEW)
    assert at.code[0].value == command
    assert any(page in text for text in texts(at.markdown))
    assert not at.dataframe


def test_without_results_table_1_is_shown_first(open_page):
    assert open_page("results").segmented_control(key="table").value == "1 Receptive fields"


def test_results_of_a_data_set_that_is_not_here_are_shown_without_its_objects(data, places, open_page):
    gone = replace(data, digest="feedbeef00")
    places("cat", {"NN": never, "conv4": early}, of=gone, source="/gone/voc2011")
    at = open_page("results")
    assert at.selectbox(key="data").value == "voc2011 feedbeef"
    assert table(at)["cat", "paper"]["conv4"] == 19.6
    at = choose_cell(at, 0, "ours")
    assert any("not on this machine" in text for text in texts(at.caption))
    assert not any("](alignment?" in text for text in texts(at.markdown))
    assert not any("drawn, synthetic" in text or "In drawings" in text for text in texts(at.markdown))


def test_a_link_to_what_is_not_there_is_said(cat, open_page):
    at = open_page("results", table="5 Sense of humour")
    assert any("does not exist here" in text for text in texts(at.warning))
    assert at.segmented_control(key="table").value == TRANSFER


def test_exports_hold_the_table(cat, places, open_page, offered):
    places("cow", {"NN": never, "conv4": even})
    open_page("results")
    files = {name: make() for name, make in offered.items() if name != "python"}
    assert {name.rpartition(".")[2] for name in files} == {"csv", "tex", "json", "png"}
    name = "table 2 transfer, alpha 0.1 per keypoint type, as usual"
    lines = list(csv.DictReader(io.StringIO(files[f"{name}.csv"].decode())))
    [line] = [each for each in lines if (each["row"], each["category"]) == ("sift20", "cat")]
    assert (float(line["value"]), float(line["published"]), float(line["difference"])) == (50, 16, 34)
    assert len(lines) == 3 + 2 + 2  # the mean has no row that one category lacks
    content = json.loads(files[f"{name}.json"].decode(), parse_constant=pytest.fail)
    assert [str(each["value"]) for each in content["numbers"]] == [each["value"] for each in lines]
    assert content["results"]["cow"]["settings"]["category"] == "cow"
    assert "longer side of the object's box" in content["definition"]
    latex = files[f"{name}.tex"].decode().splitlines()
    rows = [each for each in latex if each.endswith(r"\\")]
    assert latex[0].startswith("% Table 2.")
    assert latex[0].endswith("· alexnet · as usual")
    assert latex[1] == r"\begin{tabular}{lrrr}"
    assert [each.count("&") for each in rows] == [3] * 4
    assert rows[2].startswith("conv4 & 100.0 [100.0, 100.0] (19.6) & 50.0")
    assert decoding.decode(files[f"{name}.png"]).shape[1] > 400


def test_the_lines_of_python_print_the_same_numbers(cat, open_page, offered):
    open_page("results")
    assert "conv4          100.0 [100.0, 100.0]" in printed_by(offered["python"])


def test_bars_have_the_papers_numbers_over_them(cat, open_page):
    at = open_page("results", results_section="By category")
    traces = json.loads(at.get("plotly_chart")[0].proto.spec)["data"]
    bars = [trace for trace in traces if trace["type"] == "bar"]
    assert [trace["name"] for trace in bars] == ["NN, not aligned", "conv4", "SIFT, radius 20 px"]
    paper = [trace for trace in traces if trace["type"] == "scatter"]
    assert [trace["y"] for trace in paper] == [[11.1], [19.6], [16.0]]


# Networks side by side

SIDE_BY_SIDE = {"view": "Networks side by side"}


@pytest.fixture
def cousin(alexnet):
    """Another network, of which nothing is in print."""
    return relabelled(alexnet, name="cousin")


@pytest.fixture
def third(alexnet):
    return relabelled(alexnet, name="third")


@pytest.fixture
def two(cat, places, cousin):
    """AlexNet's results, and those of a network whose layer is better; SIFT and NN are alike."""
    places("cat", {"NN": never, "conv3": always, "sift20": even}, network=cousin)


def rows_of(at):
    return list(at.dataframe[0].value[["network", "row"]].itertuples(index=False, name=None))


def dots_of(at):
    """The chart's traces by name."""
    figure = json.loads(at.get("plotly_chart")[0].proto.spec)
    return {trace["name"]: trace for trace in figure["data"]}


def test_networks_stand_side_by_side_alexnet_first_and_what_is_alike_stands_once(two, open_page):
    at = open_page("results", **SIDE_BY_SIDE)
    assert at.multiselect(key="networks").value == ["AlexNet", "cousin"]
    own, alike = [("AlexNet", "conv4"), ("cousin", "conv3")], [("", "NN, not aligned"), ("", "SIFT, radius 20 px")]
    assert rows_of(at) == own + alike
    found = at.dataframe[0].value
    assert found["ours"].tolist() == pytest.approx([100, 100, 0, 50])
    assert found["95 %"][0] == "[100.0, 100.0]"
    assert found["objects"].tolist() == [12] * 4


def test_what_differs_by_network_stands_by_each(cat, places, cousin, open_page):
    places("cat", {"NN": never, "conv3": always, "sift20": early}, network=cousin)
    at = open_page("results", **SIDE_BY_SIDE)
    assert [each for each in rows_of(at) if "SIFT" in each[1]] == [
        ("AlexNet", "SIFT, radius 20 px"),
        ("cousin", "SIFT, radius 20 px"),
    ]
    assert ("", "NN, not aligned") in rows_of(at)


def test_the_chart_has_intervals_colours_by_depth_and_published_numbers_of_the_papers_network_alone(
    cat, places, cousin, open_page, alexnet
):
    places("cat", {"conv4": early, "conv5": early}, network=cousin)
    dots = dots_of(open_page("results", **SIDE_BY_SIDE))
    assert {name for name in dots if "published" in name and "SIFT" not in name} == {
        "AlexNet · NN, not aligned, published",
        "AlexNet · conv4, published",
    }
    assert dots["AlexNet · conv4"]["marker"]["color"] == figures.feature_colour(row("conv4").feature, alexnet.layers)
    assert dots["cousin · conv5"]["error_x"]["array"][0] > 5
    assert dots["cousin · conv5"]["error_x"]["arrayminus"][0] > 5


def test_the_networks_that_are_shown_are_chosen_and_in_the_link(two, open_page):
    assert linked(open_page("results", **SIDE_BY_SIDE))["networks"] == ["AlexNet", "cousin"]
    at = open_page("results", **SIDE_BY_SIDE, networks="cousin")
    assert {network for network, _ in rows_of(at)} == {"cousin"}
    query = linked(at)
    assert (query["view"], query["networks"], query["category"]) == ("Networks side by side", "cousin", "cat")
    at.multiselect(key="networks").set_value([]).run()
    assert [each.value for each in at.info] == ["Choose a network."]
    at = open_page("results", **SIDE_BY_SIDE, networks="nonet")
    assert any("nonet" in text for text in texts(at.warning))
    assert {"AlexNet", "cousin"} <= {network for network, _ in rows_of(at)}


def test_a_network_that_lacks_a_category_is_named_and_comes_back_with_the_next(two, places, open_page):
    places("cow", {"conv4": even})
    at = open_page("results", **SIDE_BY_SIDE)
    assert at.selectbox(key="category").value == "cat"
    at.selectbox(key="category").set_value("cow").run()
    assert not at.exception
    assert rows_of(at) == [("AlexNet", "conv4")]
    assert any("Not measured for cow: cousin." in text for text in texts(at.caption))
    at.selectbox(key="category").set_value("cat").run()
    assert not at.exception
    assert ("AlexNet", "conv4") in rows_of(at)


def test_networks_of_different_objects_are_said_to_be(cat, places, cousin, open_page):
    places("cat", {"conv4": even}, some=5, network=cousin)
    at = open_page("results", **SIDE_BY_SIDE)
    assert any("**Not of the same val objects**: AlexNet 12, cousin 5" in text for text in texts(at.caption))


def test_networks_of_as_many_but_other_objects_are_said_to_be(data, places, write, cousin, open_page):
    rows = {"conv4": even}
    places("cat", rows, some=11)
    file = places("cat", rows, some=12, network=cousin)
    first = data.visible_instances("cat", "val")[0].name
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if json.loads(line).get("name") != first))
    at = open_page("results", **SIDE_BY_SIDE)
    assert any("**Not of the same val objects**: AlexNet 11, cousin 11, 10 in common" in t for t in texts(at.caption))


def test_networks_meet_where_one_was_measured_in_parts(data, places, cousin, open_page, offered):
    places("cat", {"NN": never, "conv5": even}, features=("conv5",))
    places("cat", {"NN": never, "conv4": always}, features=("conv4",))
    places("cat", {"NN": never, "conv3": even}, network=cousin)
    at = open_page("results", **SIDE_BY_SIDE)
    assert at.multiselect(key="networks").value == ["AlexNet", "cousin"]
    assert rows_of(at) == [("AlexNet", "conv4"), ("AlexNet", "conv5"), ("cousin", "conv3"), ("", "NN, not aligned")]
    assert at.dataframe[0].value["ours"].tolist() == pytest.approx([100, 50, 50, 0])
    assert not any("Not measured" in text or "Not of the same" in text for text in texts(at.caption))
    assert {"conv3", "conv4", "conv5"} <= set(printed_by(offered["python"]).split())
    [content] = [json.loads(make()) for name, make in offered.items() if name.endswith("json")]
    assert len(content["networks"]) == 3
    at.segmented_control(key="view").set_value("One network")
    assert not at.run().exception


def test_a_row_that_two_results_of_a_network_have_is_of_the_most_objects(data, places, cousin, open_page):
    places("cat", {"conv4": always, "conv5": even}, some=5, features=("conv4", "conv5"), limit=5)
    places("cat", {"conv4": never}, features=("conv4",))
    places("cat", {"conv3": even}, network=cousin)
    at = open_page("results", **SIDE_BY_SIDE)
    assert rows_of(at) == [("AlexNet", "conv4"), ("AlexNet", "conv5"), ("cousin", "conv3")]
    assert at.dataframe[0].value["objects"].tolist() == [12, 5, 12]
    assert any("AlexNet 12 and 5, cousin 12, 5 in common" in text for text in texts(at.caption))


def test_two_networks_are_compared_object_by_object(cat, places, cousin, open_page):
    """AlexNet's conv4 is right about all; of the cousin's 8 objects its conv3 is right about every second keypoint."""
    places("cat", {"conv3": even, "sift20": never}, some=8, network=cousin)
    at = open_page("results", **SIDE_BY_SIDE)
    assert at.selectbox(key="first").value == "AlexNet · conv4"
    assert at.selectbox(key="second").value == "cousin · conv3"
    [line] = at.dataframe[1].value.to_dict("records")
    assert (line["difference"].split()[0], line["which says"]) == ("+50.0", "AlexNet · conv4 is better")
    assert (int(line["only the first right"]) > 0, line["only the second right"]) == (True, "0")
    assert any("On the 8 objects that both were measured on." in text for text in texts(at.caption))
    assert float(line["p, bootstrap"].strip("< ")) < 0.05
    assert linked(at)["first"] == "AlexNet · conv4"
    assert linked(at)["second"] == "cousin · conv3"
    at.selectbox(key="first").set_value("cousin · SIFT, radius 20 px").run()
    [line] = at.dataframe[1].value.to_dict("records")
    assert (line["difference"].split()[0], line["which says"]) == ("-50.0", "cousin · conv3 is better")
    at.selectbox(key="first").set_value("cousin · conv3").run()
    assert any("the same row" in each.value for each in at.info)


def test_quick_looks_are_not_chosen_to_begin_with_beside_whole_results(two, places, third, open_page):
    places("cat", {"conv4": even}, network=third, some=5, limit=5)
    at = open_page("results", **SIDE_BY_SIDE)
    assert at.multiselect(key="networks").value == ["AlexNet", "cousin"]
    assert list(at.multiselect(key="networks").options) == ["AlexNet", "cousin", "third"]
    assert any("Quick looks only, so not chosen to begin with: third." in text for text in texts(at.caption))


def test_a_network_that_was_measured_otherwise_is_named(two, places, third, open_page):
    places("cat", {"conv4": even}, network=third, iterations=7)
    at = open_page("results", **SIDE_BY_SIDE)
    assert at.multiselect(key="networks").value == ["AlexNet", "cousin"]
    assert "Not measured as usual: third." in texts(at.caption)
    assert "iterations 7" in at.selectbox(key="how").options


def test_what_is_taken_along_is_what_stands_side_by_side(two, open_page, offered):
    open_page("results", **SIDE_BY_SIDE)
    files = {name.rpartition(".")[2]: make() for name, make in offered.items() if name != "python"}
    lines = list(csv.DictReader(io.StringIO(files["csv"].decode())))
    assert [(line["network"], line["row"], line["value"]) for line in lines] == [
        ("alexnet", "conv4", "100.0"),
        ("cousin", "conv3", "100.0"),
        ("", "NN", "0.0"),
        ("", "sift20", "50.0"),
    ]
    assert set(json.loads(files["json"])["networks"]) == {"AlexNet", "cousin"}
    assert len(json.loads(files["json"])["numbers"]) == 4
    assert r"cousin · conv3 & 100.0 [100.0, 100.0] \\" in files["tex"].decode()
    assert decoding.decode(files["png"]).shape[0] > 4 * 48
    printed = printed_by(offered["python"])
    assert "conv3" in printed
    assert "conv4" in printed


@pytest.fixture
def pairs(data, write):
    """Leaves the result of pairs in which a feature has keypoint k right where ``rule(k)``, in the target's box."""

    def pairs(network, key, rule):
        records = {}
        for pair in data.pairs("cat", "val")[:6]:
            truth = np.where(pair.shared[:, None], pair.target.keypoints, np.nan)
            off = np.where(rule(np.arange(len(truth))), 0.0, 0.5)[:, None] * max(pair.target.size) * np.array([1, 0])
            photos = pair.source.photo.name, pair.target.photo.name
            records[pair.name] = PairRecord(pair.target.box, truth, (pair.source.name,), {key: truth + off}, photos)
        return write(Pairs(FEW, "cat", network=network.name), records, network=network)

    return pairs


def test_matched_pairs_of_networks_stand_side_by_side_too(cat, pairs, alexnet, cousin, open_page, offered):
    pairs(alexnet, "conv4", lambda k: k < 0)
    assert "view" not in [each.key for each in open_page("results", table="Matched pairs").get("button_group")]
    pairs(cousin, "conv3", lambda k: k >= 0)
    at = open_page("results", table="Matched pairs", **SIDE_BY_SIDE)
    assert rows_of(at) == [("AlexNet", "conv4"), ("cousin", "conv3")]
    assert at.dataframe[0].value["ours"].tolist() == pytest.approx([0, 100])
    assert at.dataframe[0].value["pairs"].tolist() == [6, 6]
    assert list(at.segmented_control(key="average").options) == ["per point", "per image"]
    assert any("**PCK at α = 0.1, per point, %** · cat" in text for text in texts(at.markdown))
    assert "6 objects" in printed_by(offered["python"])
    at.segmented_control(key="table").set_value(TRANSFER)
    assert not at.run().exception
    at.segmented_control(key="table").set_value("Matched pairs")
    assert not at.run().exception


def test_a_table_and_matched_pairs_of_networks_have_averages_of_their_own(two, pairs, alexnet, cousin, open_page):
    for network in (alexnet, cousin):
        pairs(network, "conv4", lambda k: k > 3)
    at = open_page("results", table=TRANSFER, **SIDE_BY_SIDE)
    assert at.segmented_control(key="average").value == "per keypoint type"
    at.segmented_control(key="table").set_value("Matched pairs").run()
    assert not at.exception
    assert at.segmented_control(key="view").value == "Networks side by side"
    assert at.segmented_control(key="average").value == "per point"


def test_one_network_has_no_others_to_stand_beside(cat, open_page):
    at = open_page("results")
    assert "view" not in [each.key for each in at.get("button_group")]
    assert at.selectbox(key="network").options == ["AlexNet"]


def test_matched_pairs_say_how_often_left_is_taken_for_right(pairs, alexnet, open_page):
    pairs(alexnet, "conv4", lambda k: k >= 0)
    line = open_page("results", table="Matched pairs").dataframe[0].value.iloc[0]
    assert line["twin taken at 0.1, %"] == "0.0 [0.0, 0.0]"
    assert line["of places at either (chance 50), %"] == "0.0 [0.0, 0.0]"
