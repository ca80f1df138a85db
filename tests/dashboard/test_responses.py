"""The Responses page: what every choice and every click changes, on drawn animals."""

import base64
import dataclasses
import io
import json

import numpy as np
import PIL.Image
import pytest

from corrcore import decoding, experiments, images, networks
from corrcore.datasets import toy
from corrcore.tasks import classification, responses
from dashboard.services import caches

from .conftest import settled
from .test_reconstruction import component, keys, picture

LOAD = toy.load
SQUARE = "21 x 21 px around the keypoint"
HISTOGRAM = "Histogram (Figure 5)"
SMALL = experiments.PROTOCOLS["small"]
FEATURES = ["conv3", "SIFT, radius 20 px"]


@pytest.fixture(scope="module")
def data():
    return LOAD(n_train=8, n_val=2)


@pytest.fixture(autouse=True)
def few_animals(data, cache_folder, monkeypatch, tmp_path):
    monkeypatch.setattr(toy, "load", lambda: data)
    monkeypatch.setattr(experiments, "results_folder", lambda: tmp_path)
    caches.dataset.clear()
    yield
    caches.dataset.clear()


@pytest.fixture
def at(open_page, offered):
    return open_page("responses", features=FEATURES, object="toy-cat-val-000", keypoint="Nose")


def values(at, key):
    """The scores that are told beside the pointer, as image_click.js reads them."""
    sent, (width, height) = component(at, key)["values"], component(at, key)["size"]
    steps = np.frombuffer(base64.b64decode(sent["steps"]), "<u2").reshape(height, width)
    return np.where(steps == 65535, np.nan, sent["low"] + steps / 65534 * (sent["high"] - sent["low"]))


@pytest.fixture(scope="module")
def expected(data):
    """Scores of the first object's pixels, made with the package alone."""
    backbone = networks.load("alexnet")
    names, train = data.keypoint_names["toy cat"], data.visible_instances("toy cat", "train")
    image, placement = classification.view(data.instances("toy cat", "val")[0], SMALL)
    found = classification.samples(train, ["conv3", "sift20"], names, backbone=backbone, protocol=SMALL)
    photos = [one.photo.name for one in train]
    maps = {}
    for feature in ("conv3", "sift20"):
        cost, _ = classification.best_cost(found, feature, photos)
        named = classification.train(found, feature, tuple(names), cost=cost, protocol=SMALL)
        maps[feature] = responses.response_map(image, named, backbone=backbone), named
    return image, placement, maps


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


def test_captions_tell_the_highest_place_and_its_distance(at, expected, data):
    _, placement, maps = expected
    found, named = maps["sift20"]
    x, y = found.highest(named.names.index("Nose"))
    truth = placement.to_crop(data.instances("toy cat", "val")[0].keypoints)[
        list(data.keypoint_names["toy cat"]).index("Nose")
    ]
    distance = np.hypot(*(np.array([x, y]) - truth))
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


def test_the_square_shows_its_pixels_and_the_cells(at, expected):
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
    assert set(bars) == {"conv3", "SIFT, radius 20 px"}
    _, named = expected[2]["sift20"]
    assert len(bars["SIFT, radius 20 px"]["y"]) == len(named.names)
    assert component(at, "map conv3")["selected"] == [60, 50]


def test_a_pixel_without_a_score_says_so(at, click):
    click(at, "map sift20", 2, 2)
    settled(at)
    assert not at.exception
    at.multiselect(key="features").set_value(["conv3"])
    settled(at.run())
    assert any("too near the border" in info.value for info in at.info)


def test_without_a_feature_the_page_asks_for_one(at):
    at.multiselect(key="features").set_value([])
    settled(at.run())
    assert [info.value for info in at.info] == ["Choose at least one feature."]


def test_downloads_are_the_scores_and_the_figure(at, offered, expected):
    found, named = expected[2]["conv3"]
    arrays = np.load(io.BytesIO(offered["Nose by conv3, sift20.npy"]()))
    assert arrays.shape[0] == 2
    array = arrays[0]
    region = found.region
    own = found.scores[..., named.names.index("Nose")]
    np.testing.assert_allclose(array[region.top : region.bottom, region.left : region.right], own, atol=1e-2)
    assert np.isnan(array).sum() == array.size - own.size
    with PIL.Image.open(io.BytesIO(offered["Nose by conv3, sift20.tiff"]())) as picture:
        for page, expected_page in enumerate(arrays):
            picture.seek(page)
            np.testing.assert_array_equal(np.array(picture), expected_page)
    assert decoding.decode(offered["responses.png"]()).shape[1] > 3 * 200
    compile(offered["python"], "lines", "exec")


def test_the_histogram_is_computed_when_asked_for(open_page):
    at = open_page("responses", features=FEATURES[1:], keypoint="Nose", responses_section=HISTOGRAM)
    [button] = [button for button in at.button if button.label.startswith("Compute for all")]
    button.click()
    settled(at.run())
    settled(at.run())
    table = at.dataframe[0].value
    assert list(table["feature"]) == ["SIFT, radius 20 px"]
    assert list(table["objects"]) == ["2"] or list(table["objects"]) == ["1"]
    said = [markdown.value for markdown in at.markdown]
    assert any(text.startswith("**SIFT, radius 20 px**: ") and text.count("\n") == 0 for text in said)
    at.segmented_control(key="side").set_value("81 x 81 px")
    settled(at.run())
    assert not at.dataframe  # another square is another result
    assert [button for button in at.button if button.label.startswith("Compute for all")]


def test_an_uploaded_photo_has_scores_but_no_true_place(open_page):
    at = open_page("responses", features=FEATURES[1:], keypoint="Nose", mode="A photo of yours")
    assert any("Upload a photo of a toy cat" in info.value for info in at.info)
    content = images.encode(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8), format="PNG")
    at.file_uploader(key="upload A photo, cropped to the object").set_value(("mine.png", content, "image/png"))
    settled(at.run())
    assert not at.exception
    shown = values(at, "map sift20")
    assert shown.shape == (250, 167)  # as the protocol has objects
    assert np.isfinite(shown).all()
    highest = next(caption.value for caption in at.caption if caption.value.startswith("highest"))
    assert "px from the keypoint" not in highest
    assert not [box for box in component(at, "map sift20")["boxes"] if box["colour"] == "#ffd500"]
    at.file_uploader(key="upload A photo, cropped to the object").set_value(("no.png", b"<html>", "image/png"))
    settled(at.run())
    assert "no.png" in at.error[0].value


def test_links_that_ask_for_what_is_not_offered_say_so(open_page):
    at = open_page("responses", keypoint="Wing", features=FEATURES[1:])
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


def test_a_keypoint_outside_of_what_is_shown_is_not_marked(at, data, monkeypatch):
    place = classification.frame
    monkeypatch.setattr(
        classification,
        "frame",
        lambda photo, box, protocol: (
            lambda image, at: (image, dataclasses.replace(at, edges=(9e3, 9e3, 9.1e3, 9.1e3)))
        )(*place(photo, box, protocol)),
    )
    settled(at.run())
    assert not at.exception
    assert "part" not in [control.key for control in at.segmented_control]
    assert not [box for box in component(at, "map conv3")["boxes"] if box["colour"] == "#ffd500"]
