"""The Classification page: computed at once for drawn animals, its table, curves, confusion and calls."""

import base64
import io
import json

import numpy as np
import pytest

from corrcore import datasets, networks
from corrcore.datasets import DatasetSpec, toy
from corrcore.experiments import Classification, Context, ResultStore
from corrcore.features import SIFT, Feature
from dashboard import links
from dashboard.services import caches

from .conftest import settled

CAT, COW = "toy cat", "toy cow"
SEEN, PROTOCOL = "in a box of 250 px", "small"
CONFUSION, CALLS = "Confusion matrix", "Right and wrong"
CONV3, SIFT20 = Feature("alexnet", "conv3"), Feature(SIFT, "20")
ROWS = [*(f"conv{n}" for n in range(1, 6)), *(f"SIFT, radius {radius} px" for radius in (10, 20, 40, 80, 160))]


@pytest.fixture(scope="module")
def few():
    """A data set of few drawn animals, on offer as "few"."""
    data = toy.load(n_train=6, n_val=2)
    datasets.register(DatasetSpec("few", "Few drawn animals", True, lambda: data))
    yield data
    datasets.unregister("few")
    caches.dataset.clear()


@pytest.fixture
def at(few, open_page):
    return open_page("classification", data="few", seen=SEEN)


def kept(few, category=CAT, network="alexnet"):
    """The file of a category's result, and what is in it, read by the package alone."""
    context = Context(opened_datasets={"few": few})
    experiment = Classification("few", category, network=network, protocol=PROTOCOL).resolved(context)
    store = ResultStore()
    return store.path(experiment, context), store.load(experiment, context)


def chart(at, number=0):
    return json.loads(at.get("plotly_chart")[number].proto.spec)["data"]


def numbers(values):
    """A chart's values, which plotly may have packed."""
    if not isinstance(values, dict):
        return np.array(values)
    flat = np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"]))
    return flat.reshape([int(side) for side in values["shape"].split(",")]) if "shape" in values else flat


def test_drawn_animals_are_computed_at_once_and_shown_beside_nothing_published(at, few):
    table = at.dataframe[0].value
    assert list(table.index) == ROWS
    assert list(table.columns) == [CAT, COW]  # nothing is in print of drawings
    found = kept(few)[1].summary.features
    assert list(table[CAT]) == pytest.approx([each.accuracy.value for each in found.values()])
    assert table[COW].isna().all()
    texts = [markdown.value for markdown in at.markdown]
    assert any("layers of AlexNet" in text and "drawn, synthetic" in text for text in texts)
    best = max(found, key=lambda feature: found[feature].accuracy.value)
    said = f"AlexNet: {best.title} does best, {found[best].accuracy.value:.1f} %"
    assert any(said in caption.value for caption in at.caption)


def test_the_mean_is_there_once_all_categories_are(at):
    at.selectbox(key="category").set_value(COW)
    table = settled(at.run()).dataframe[0].value
    assert list(table["mean"]) == pytest.approx([table.loc[row, [CAT, COW]].mean() for row in table.index])


def test_curves_are_those_of_the_cross_validation(at, few):
    found = kept(few)[1]
    for number, some in enumerate((ROWS[:5], ROWS[5:])):
        curves = chart(at, number)
        assert [trace["name"] for trace in curves] == some
        for trace in curves:
            record = next(
                one
                for key, one in found.records.items()
                if Feature.parse(key, network="alexnet").title == trace["name"]
            )
            np.testing.assert_allclose(numbers(trace["y"]), 100 * np.array(record.curve))


def test_the_confusion_matrix_is_of_the_chosen_feature(at, few):
    at.segmented_control(key="classification_section").set_value(CONFUSION)
    settled(at.run())
    for feature in (CONV3, SIFT20):
        at.selectbox(key="feature").set_value(feature)
        settled(at.run())
        counts = kept(few)[1].summary.features[feature].confusion
        np.testing.assert_array_equal(numbers(chart(at)[0]["customdata"]), counts)


@pytest.mark.parametrize("name", ["sift40", "SIFT, radius 40 px"])
def test_a_link_names_the_feature_by_its_key_or_as_addresses_have_it(few, open_page, name):
    at = open_page("classification", data="few", seen=SEEN, classification_section=CONFUSION, feature=name)
    assert at.selectbox(key="feature").value == Feature(SIFT, "40")
    assert not at.warning


def test_calls_link_to_the_objects_responses(at, few):
    at.segmented_control(key="classification_section").set_value(CALLS)
    settled(at.run())
    texts = [markdown.value for markdown in at.markdown]
    opened = [(text.split("]")[0][1:], text) for text in texts if "](responses?" in text]
    assert opened
    feature = at.selectbox(key="feature").value
    right = kept(few)[1].records[feature.key]
    n_wrong = int((right.labels != right.called).sum())
    assert any(text.startswith(f"**Wrong: {n_wrong} of {len(right.labels)}") for text in texts)
    for keypoint, text in opened:
        route = links.parse(text.partition("](")[2].partition(")")[0])
        assert (route.data, route.category, route.network, route.scale) == ("few", CAT, "alexnet", "box, 250 px")
        assert (route.features, route.keypoint) == ((feature.key,), keypoint)
        assert route.object in [one.name for one in few.instances(CAT, "val")]
        assert not text.endswith(f", called {keypoint}")


def test_a_result_grows_by_what_the_page_misses(few, open_page):
    path, before = kept(few)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"name":"sift20"' not in line))
    settled(open_page("classification", data="few", seen=SEEN))
    after = kept(few)[1]
    assert set(after.records) == set(before.records)
    np.testing.assert_array_equal(after.records["sift20"].called, before.records["sift20"].called)


def test_results_of_other_photos_are_computed_anew(at, few, open_page):
    path, found = kept(few)
    header, *lines = path.read_text().splitlines(keepends=True)
    other = json.loads(header)
    other["provenance"]["photos"] = "others"
    path.write_text(
        "".join([json.dumps(other) + "\n", *(line.replace('"called":[', '"called":[0,') for line in lines)])
    )
    table = open_page("classification", data="few", seen=SEEN).dataframe[0].value
    assert list(table[CAT]) == pytest.approx([each.accuracy.value for each in found.summary.features.values()])


def test_a_shared_server_computes_tables_of_drawings_for_its_visitors(few, open_page, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    table = open_page("classification", data="few", seen=SEEN).dataframe[0].value
    assert list(table[CAT]) == pytest.approx([each.accuracy.value for each in kept(few)[1].summary.features.values()])


def test_the_lines_of_python_make_the_result(at, few, open_page, offered, capsys):
    open_page("classification", data="few", seen=SEEN)
    exec(compile(offered["python"], "lines", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    found = kept(few)[1].summary.features
    assert said == [
        f"{feature.title}: {each.accuracy.value:.1f} % at cost {each.cost:g}" for feature, each in found.items()
    ]
    records = json.loads(offered[f"classification {CAT}, alexnet.json"]())["records"]
    assert list(records) == [feature.key for feature in found]
    arrays = np.load(io.BytesIO(offered[f"classification {CAT}, alexnet.npz"]()))
    for feature, each in found.items():
        right = arrays[f"{feature.key}_called"] == arrays["labels"]
        assert 100 * right.mean() == pytest.approx(each.accuracy.value)
        assert each.cost == arrays[f"{feature.key}_cost"] in arrays["costs"]
        np.testing.assert_array_equal(arrays[f"{feature.key}_curve"], each.curve)
    assert "FEATURE_called" in str(arrays["about"])
    there = {one.name: one for one in few.instances(CAT, "val")}
    of_samples = (arrays[key] for key in ("objects", "photos", "keypoints", "labels"))
    for name, photo, keypoint, label in zip(*of_samples, strict=True):
        assert photo == there[name].photo.name
        assert there[name].visible[keypoint]
        assert arrays["classes"][label] == few.keypoint_names[CAT][keypoint]


def test_another_network_has_its_own_rows(few, open_page, vgg16_weights):
    table = open_page("classification", data="few", seen=SEEN, network="vgg16").dataframe[0].value
    assert list(table.index) == [*networks.open("vgg16").roles.classification, *ROWS[5:]]
    found = kept(few, network="vgg16")[1].summary.features
    assert list(table[CAT]) == pytest.approx([each.accuracy.value for each in found.values()])
    assert {feature.extractor for feature in found} == {"vgg16", SIFT}


def test_published_numbers_stand_beside_those_of_their_photos_and_network(
    open_page, data_folder, vgg16_weights, monkeypatch
):
    monkeypatch.setenv("CORRCORE_DATA", str(data_folder))
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    table = open_page("classification", data="VOC2011", network="alexnet").dataframe[0].value
    assert table["cat, published"]["conv4"] == 55
    table = open_page("classification", data="VOC2011", network="vgg16").dataframe[0].value
    assert not [name for name in table.columns if name.endswith("published")]
