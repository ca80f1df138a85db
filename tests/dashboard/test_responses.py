"""The Responses page: what every choice and every click changes, on drawn animals."""

import base64
import io
import json
import threading
import time
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
from streamlit.testing.v1 import AppTest

from corrcore import datasets, decoding, images, networks
from corrcore.datasets import DatasetSpec, toy
from corrcore.experiments import PROTOCOLS
from corrcore.features import SIFT, Feature
from corrcore.tasks import classification, responses
from dashboard.services import caches

from .conftest import ROOT, settled
from .test_reconstruction import component, keys, picture

CAT, CONV3, SIFT20 = "toy cat", Feature("alexnet", "conv3"), Feature(SIFT, "20")
SQUARE = "21 x 21 px around the keypoint"
HISTOGRAM = "Histogram (Figure 5)"
SMALL = PROTOCOLS["small"]
BOTH = ["conv3", "sift20"]
NAMES = "Nose by conv3, sift20"


@pytest.fixture(scope="module")
def few():
    """A data set of few drawn animals, on offer as "few"."""
    data = toy.load(n_train=6, n_val=2)
    datasets.register(DatasetSpec("few", "Few drawn animals", True, lambda: data))
    yield data
    datasets.unregister("few")
    caches.dataset.clear()


@pytest.fixture
def open_few(few, open_page):
    """``open_few(features=..., ...)``: the page on these animals."""
    return lambda **query: open_page("responses", **{"data": "few", "keypoint": "Nose", "features": BOTH} | query)


@pytest.fixture
def at(open_few, offered):
    return open_few(object="toy-cat-val-000")


def values(at, key):
    """The scores that are told beside the pointer, as image_click.js reads them."""
    sent, (width, height) = component(at, key)["values"], component(at, key)["size"]
    steps = np.frombuffer(base64.b64decode(sent["steps"]), "<u2").reshape(height, width)
    return np.where(steps == 65535, np.nan, sent["low"] + steps / 65534 * (sent["high"] - sent["low"]))


@pytest.fixture(scope="module")
def expected(few):
    """Scores of the first object's pixels, made step by step with the package alone."""
    network = networks.open("alexnet")
    names, train = few.keypoint_names[CAT], few.visible_instances(CAT, "train")
    image, transform = classification.view(few.instances(CAT, "val")[0], SMALL)
    found = classification.samples(train, [CONV3, SIFT20], names, network=network, protocol=SMALL)
    photos = [one.photo.name for one in train]
    maps = {}
    for feature in (CONV3, SIFT20):
        cost, _ = classification.best_cost(found, feature, photos)
        named = classification.train(found, feature, tuple(names), cost=cost, protocol=SMALL)
        maps[feature.key] = responses.response_map(image, named, network=network), named
    return image, transform, maps


def true_place(few, transform):
    return transform.to_crop(few.instances(CAT, "val")[0].keypoints)[list(few.keypoint_names[CAT]).index("Nose")]


def test_the_map_has_the_packages_scores_at_their_pixels(at, expected):
    image, _, maps = expected
    for feature, (found, named) in maps.items():
        shown = values(at, f"map {feature}")
        assert shown.shape == image.shape[:2]
        region, own = found.region, found.scores[..., named.names.index("Nose")]
        np.testing.assert_allclose(
            shown[region.top : region.bottom, region.left : region.right], own, atol=2e-3 * np.ptp(own)
        )
        assert np.isnan(shown).sum() == shown.size - own.size
    assert keys(at) >= {"map conv3", "map sift20", "gallery"}


def test_captions_tell_the_highest_place_and_its_distance(at, expected, few):
    _, transform, maps = expected
    found, named = maps["sift20"]
    x, y = found.highest(named.names.index("Nose"))
    distance = np.hypot(*(np.array([x, y]) - true_place(few, transform)))
    captions = [caption.value for caption in at.caption]
    assert any(f"at ({x}, {y}), {distance:.0f} px from the keypoint" in caption for caption in captions)


def test_another_keypoint_needs_no_new_map(at, monkeypatch):
    before = values(at, "map conv3")
    monkeypatch.setattr(responses, "response_map", None)
    at.selectbox(key="keypoint").set_value("TailBase")
    settled(at.run())
    assert np.nanmax(np.abs(values(at, "map conv3") - before)) > 0.1


def test_opacity_changes_the_picture_and_not_the_scores(at):
    before, scores = picture(at, "map conv3"), values(at, "map conv3")
    at.slider(key="opacity").set_value(0.0)
    settled(at.run())
    after = picture(at, "map conv3")
    np.testing.assert_array_equal(values(at, "map conv3"), scores)
    assert np.ptp(after.astype(int), axis=-1).max() < 12  # grey
    assert np.ptp(before.astype(int), axis=-1).max() > 30


def test_the_square_shows_its_pixels_and_the_cells(at):
    at.segmented_control(key="part").set_value(SQUARE)
    settled(at.run())
    sent = component(at, "map conv3")
    assert sent["size"] == [21, 21]
    cells = [box["box"] for box in sent["boxes"] if box["colour"] == "#ffffff"]
    assert cells
    assert all(right - left == bottom - top == 16 for left, top, right, bottom in cells)
    assert not [box for box in component(at, "map sift20")["boxes"] if box["colour"] == "#ffffff"]


def test_a_click_shows_what_all_classifiers_say_of_that_pixel(at, click, expected):
    click(at, "map conv3", 60, 50)
    settled(at)
    assert at.query_params["at"] in ("60,50", ["60,50"])
    assert "**Every keypoint's score at (60, 50)**" in [markdown.value for markdown in at.markdown]
    bars = {trace["name"]: trace for trace in json.loads(at.get("plotly_chart")[0].proto.spec)["data"]}
    assert set(bars) == {CONV3.title, SIFT20.title}
    _, named = expected[2]["sift20"]
    assert len(bars[SIFT20.title]["y"]) == len(named.names)
    assert component(at, "map conv3")["selected"] == [60, 50]


def test_a_pixel_without_a_score_says_so(at, click):
    click(at, "map sift20", 2, 2)
    settled(at)
    at.multiselect(key="features").set_value([CONV3])
    settled(at.run())
    assert any("too near the border" in info.value for info in at.info)


def test_without_a_feature_the_page_asks_for_one(at):
    at.multiselect(key="features").set_value([])
    settled(at.run())
    assert [info.value for info in at.info] == ["Choose at least one feature."]


def test_arrays_are_the_scores_and_say_where_they_lie_on_the_photo(at, offered, expected, few):
    _, transform, maps = expected
    arrays = np.load(io.BytesIO(offered[f"{NAMES}.npz"]()))
    cat = few.instances(CAT, "val")[0]
    assert (list(arrays["features"]), str(arrays["network"]), str(arrays["photo"])) == (BOTH, "alexnet", cat.photo.name)
    np.testing.assert_allclose(arrays["keypoint_xy"], cat.keypoints[list(few.keypoint_names[CAT]).index("Nose")])
    left, top, right, bottom = arrays["photo_edges_xyxy"]
    for scores, at_highest, (found, named) in zip(arrays["scores"], arrays["highest_xy"], maps.values(), strict=True):
        region, own = found.region, found.scores[..., named.names.index("Nose")]
        np.testing.assert_allclose(scores[region.top : region.bottom, region.left : region.right], own, atol=1e-2)
        assert np.isnan(scores).sum() == scores.size - own.size
        row, column = np.unravel_index(np.nanargmax(scores), scores.shape)
        share = (column + 0.5) / scores.shape[1], (row + 0.5) / scores.shape[0]
        np.testing.assert_allclose(at_highest, [left + share[0] * (right - left), top + share[1] * (bottom - top)])
    with PIL.Image.open(io.BytesIO(offered[f"{NAMES}.tiff"]())) as pages:
        assert pages.n_frames == 2
        for number, feature in enumerate(BOTH):
            pages.seek(number)
            np.testing.assert_array_equal(np.array(pages), arrays["scores"][number])
            about = json.loads(pages.tag_v2[270])
            assert (about["feature"], about["photo_edges_xyxy"]) == (feature, list(transform.edges))
    assert decoding.decode(offered["responses.png"]()).shape[1] > 3 * 200


def test_the_lines_of_python_find_the_highest_places(at, offered, capsys):
    arrays = np.load(io.BytesIO(offered[f"{NAMES}.npz"]()))
    exec(compile(offered["python"], "lines", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        f"{feature.title} is highest at ({x:.1f}, {y:.1f}) px of the photo"
        for feature, (x, y) in zip((CONV3, SIFT20), arrays["highest_xy"], strict=True)
    ]


def test_the_histogram_is_computed_when_asked_for(open_few, offered, capsys):
    at = open_few(features=["sift20"], responses_section=HISTOGRAM)
    [button] = [button for button in at.button if button.label.startswith("Compute for all")]
    button.click()
    settled(at.run())
    settled(at.run())
    table = at.dataframe[0].value
    assert list(table["feature"]) == [SIFT20.title]
    assert list(table["objects"]) in (["1"], ["2"])
    said = [markdown.value for markdown in at.markdown]
    assert any(text.startswith(f"**{SIFT20.title}**: ") and text.count("\n") == 0 for text in said)
    exec(compile(offered["python"], "lines", "exec"), {})
    [line] = capsys.readouterr().out.splitlines()
    assert table["median (chance)"][0].startswith(f"{float(line.split()[-2]):.1f} px")
    at.segmented_control(key="side").set_value("81 x 81 px")
    settled(at.run())
    assert not at.dataframe  # another square is another result
    assert [button for button in at.button if button.label.startswith("Compute for all")]


def test_an_uploaded_photo_has_scores_but_no_true_place(open_few, offered):
    at = open_few(features=["sift20"], mode="A photo of yours")
    assert any("Upload a photo of a toy cat" in info.value for info in at.info)
    content = images.encode(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8), format="PNG")
    at.file_uploader(key="upload A photo, cropped to the object").set_value(("mine.png", content, "image/png"))
    settled(at.run())
    shown = values(at, "map sift20")
    assert shown.shape == (250, 167)  # as the protocol has objects
    assert np.isfinite(shown).all()
    assert any("have only seen drawings" in warning.value for warning in at.warning)
    highest = next(caption.value for caption in at.caption if caption.value.startswith("highest"))
    assert "px from the keypoint" not in highest
    assert not [box for box in component(at, "map sift20")["boxes"] if box["colour"] == "#ffd500"]
    arrays = np.load(io.BytesIO(offered["Nose by sift20.npz"]()))
    assert list(arrays["photo_edges_xyxy"]) == [-0.5, -0.5, 199.5, 299.5]
    at.file_uploader(key="upload A photo, cropped to the object").set_value(("no.png", b"<html>", "image/png"))
    settled(at.run())
    assert "no.png" in at.error[0].value


def test_the_lines_of_python_open_a_photo_of_ones_own(open_few, offered, capsys, tmp_path, monkeypatch):
    at = open_few(features=["sift20"], mode="A photo of yours")
    content = images.encode(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8), format="PNG")
    at.file_uploader(key="upload A photo, cropped to the object").set_value(("mine.png", content, "image/png"))
    settled(at.run())
    (tmp_path / "mine.png").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    exec(compile(offered["python"], "lines", "exec"), {})
    [(x, y)] = np.load(io.BytesIO(offered["Nose by sift20.npz"]()))["highest_xy"]
    assert capsys.readouterr().out == f"{SIFT20.title} is highest at ({x:.1f}, {y:.1f}) px of the photo\n"


def test_numbers_and_pixels_that_links_cannot_have_are_said_once_each(open_few):
    at = open_few(features=["sift20"], opacity="17", at="1e99,7")
    assert [warning.value for warning in at.warning] == [
        "This link asks for opacity 17, which is no number from 0 to 1; another is shown.",
        "This link asks for the pixel 1e99,7, which is not in this picture; another is shown.",
    ]


def test_links_that_ask_for_what_is_not_offered_say_so(open_few):
    at = open_few(keypoint="Wing", features=["sift20"])
    asked = "This link asks for keypoint Wing, which does not exist here; another is shown."
    assert [warning.value for warning in settled(at.run()).warning] == [asked]
    at.selectbox(key="keypoint").set_value("Throat")
    assert not settled(at.run()).warning


def test_at_another_scale_the_pixel_is_the_keypoints_again(at, click):
    click(at, "map conv3", 60, 50)
    settled(at)
    at.radio(key="scale").set_value("photo as it is")
    settled(at.run())
    assert component(at, "map conv3")["selected"] is None
    assert not any("at (60, 50)" in markdown.value for markdown in at.markdown)


def test_another_network_begins_with_its_own_layers(few, open_page, vgg16_weights, offered):
    at = open_page("responses", data="few", keypoint="Nose", object="toy-cat-val-000")
    assert at.multiselect(key="features").value == [CONV3, Feature("alexnet", "conv5"), SIFT20]
    at.selectbox(key="network").set_value("vgg16")
    at.run()  # the maps' work is another's test
    layers = networks.open("vgg16").roles.reconstruction
    assert at.multiselect(key="features").value == [Feature("vgg16", layers[0]), Feature("vgg16", layers[-1]), SIFT20]
    at.multiselect(key="features").set_value([Feature("vgg16", "conv1_2")])
    settled(at.run())
    assert np.isfinite(values(at, "map conv1_2")).mean() > 0.5
    assert "networks.open('vgg16')" in offered["python"]


def test_a_keypoint_outside_of_what_is_shown_is_not_marked(few, open_page):
    val = [replace(one, box=(0.0, 0.0, 40.0, 40.0)) for one in few.splits[CAT, "val"]]
    assert not any((one.keypoints < 60).all(axis=1).any() for one in val)
    far = replace(few, splits={**few.splits, (CAT, "val"): val})
    datasets.register(DatasetSpec("far", "Boxes far from their animals", True, lambda: far))
    try:
        at = open_page("responses", data="far", keypoint="Nose", features=BOTH)
    finally:
        datasets.unregister("far")
    assert "part" not in [control.key for control in at.segmented_control]
    assert not [box for box in component(at, "map sift20")["boxes"] if box["colour"] == "#ffd500"]


def test_panels_stand_by_depth_in_whatever_order_they_are_chosen(open_few):
    at = open_few(features=["sift20", "conv3"])
    panels = [element.proto.id.rpartition("-")[2] for element in at.get("bidi_component")]
    assert [name for name in panels if name.startswith("map ")] == ["map conv3", "map sift20"]


def shown(at):
    """What is said of pictures that stand for maps."""
    return [each.proto.imgs[0].alt for each in at.get("image") if "before its scores" in each.proto.imgs[0].alt]


def test_the_picture_is_there_while_its_maps_are_made(few, cache_folder, monkeypatch):
    let_go, make = threading.Event(), responses.response_map
    monkeypatch.setattr(responses, "response_map", lambda *given, **more: (let_go.wait(30), make(*given, **more))[1])
    caches.maps.clear()
    at = AppTest.from_file(str(ROOT / "dashboard/app_pages/responses.py"), default_timeout=60)
    at.query_params.update({"data": "few", "object": "toy-cat-val-001", "features": ["sift40"]})
    at.run()
    for _ in range(100):  # trained first
        if shown(at):
            break
        time.sleep(0.1)
        at.run()
    assert shown(at) == ["toy-cat-val-001, before its scores by SIFT, radius 40 px are there"]
    assert "map sift40" not in keys(at)
    let_go.set()
    assert "map sift40" in keys(settled(at.run()))
    assert not shown(at)
