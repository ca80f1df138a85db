"""The Prediction page: what every choice and click changes, on drawn animals and by SIFT alone, which is quick."""

import base64
import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from corrcore import experiments, images, networks
from corrcore.datasets import toy
from corrcore.tasks.detection import DetectorSpec, PriorFusion
from corrcore.tasks.detection import detect as detection
from dashboard import figures
from dashboard.services import caches

from .conftest import settled
from .test_reconstruction import component, keys, picture

LOAD = toy.load
FEATURES = ("sift16", "sift32")
EVERY, ACCURACY = "Every keypoint", "Accuracy (Table 4)"
BY_HAND = "by hand"


@pytest.fixture(scope="module")
def data():
    return LOAD(n_train=6, n_val=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("prediction")


@pytest.fixture(autouse=True)
def few_animals(data, folder, cache_folder, monkeypatch):
    monkeypatch.setattr(toy, "load", lambda: data)
    monkeypatch.setattr(experiments, "DETECTING", FEATURES)
    monkeypatch.setattr(experiments, "results_folder", lambda: folder)
    caches.dataset.clear()
    yield
    caches.dataset.clear()


@pytest.fixture
def at(open_page, offered):
    return open_page("prediction", object="toy-cat-val-001", keypoint="Nose")


def texts(at):
    return [each.value for each in (*at.markdown, *at.caption, *at.info, *at.warning, *at.error)]


def rows(offered):
    return list(csv.DictReader(io.StringIO(offered["keypoints.csv"]().decode())))


def expected(data, feature, number, weighing):
    """Where the package alone has an object's keypoints."""
    alexnet = networks.load("alexnet")
    trained, prior = experiments.detectors(data, "toy cat", backbone=alexnet, features=FEATURES, out=default(data))
    instance = data.visible_instances("toy cat", "val")[number]
    image, placement = detection.crop_box(instance.photo.load(), instance.box)
    subject = detection.describe(image, [DetectorSpec(feature)], backbone=alexnet)
    places = prior.places(prior.nearest(subject.summary, k=5, photo=instance.photo.name))
    grid = subject.grids[feature]
    scores = trained[feature].detectors.scores(grid.descriptors)
    return placement.to_image(detection.predict(scores, grid.cells.centres(), places, weighing))


def default(data):
    return experiments.default_folder(data, "alexnet")


def test_drawn_animals_are_learnt_at_once_and_predicted_as_the_package_does(at, offered, data):
    assert any("drawn, synthetic" in text for text in texts(at))
    assert keys(at) >= {f"gallery 1 {row}" for row in ("", "sift16", "sift32")}
    found = rows(offered)
    assert {row["object"] for row in found} == {f"toy-cat-val-{n:03}" for n in range(4)}
    for feature in FEATURES:
        points = expected(data, feature, 1, PriorFusion(1, 22.0, 0.05))
        own = [row for row in found if (row["object"], row["row"]) == ("toy-cat-val-001", f"{feature}+prior")]
        assert [row["keypoint"] for row in own] == list(data.keypoint_names["toy cat"])
        shown = np.array([[float(row["x"]), float(row["y"])] for row in own])
        np.testing.assert_allclose(shown, points, atol=0.006)
        right = sum(row["right"] == "1" for row in own)
        of = int(data.visible_instances("toy cat", "val")[1].visible.sum())
        assert any(f"**{right} of {of}** right" in text for text in texts(at))


def test_hits_are_within_a_tenth_of_each_side_of_the_box(at, offered, data):
    for row in rows(offered):
        instance = next(one for one in data.visible_instances("toy cat", "val") if one.name == row["object"])
        if not row["true_x"]:
            assert row["right"] == ""
            continue
        width, height = instance.size
        away = np.hypot(
            (float(row["x"]) - float(row["true_x"])) / width, (float(row["y"]) - float(row["true_y"])) / height
        )
        assert (row["right"] == "1") == (away <= 0.1)


def test_weights_by_hand_move_predictions_at_once(at, offered, data):
    chosen = rows(offered)
    at.selectbox(key="weights").set_value(BY_HAND)
    settled(at.run())
    assert rows(offered) == chosen  # it begins with what was chosen
    at.slider(key="eta").set_value(0.0)
    settled(at.run())
    alone = rows(offered)
    assert alone != chosen
    points = expected(data, "sift32", 1, PriorFusion(1, 22.0, 0.0))
    own = [row for row in alone if (row["object"], row["row"]) == ("toy-cat-val-001", "sift32+prior")]
    np.testing.assert_allclose([[float(row["x"]), float(row["y"])] for row in own], points, atol=0.006)
    at.slider(key="eta").set_value(0.5)
    settled(at.run())
    narrow = rows(offered)
    at.slider(key="sigma").set_value(80.0)
    settled(at.run())
    assert rows(offered) != narrow


def test_several_neighbours_give_another_prior_and_are_shown(at, offered):
    before = picture(at, "map Prior")
    at.selectbox(key="prior").set_value("+5 priors")
    settled(at.run())
    assert (picture(at, "map Prior") != before).any()
    assert {row["row"] for row in rows(offered)} == {"sift16+5 priors", "sift32+5 priors"}
    assert sum("toy-cat-train-" in text for text in texts(at)) == 5


def test_without_a_prior_predictions_are_the_detectors_alone(open_page, offered, data):
    at = open_page("prediction", object="toy-cat-val-001", keypoint="Nose", prior="none")
    assert any("SIFT, radius 32 px alone" in text for text in texts(at))
    assert "map Prior" not in keys(at)
    alexnet = networks.load("alexnet")
    trained, _ = experiments.detectors(data, "toy cat", backbone=alexnet, features=FEATURES, out=default(data))
    instance = data.visible_instances("toy cat", "val")[1]
    image, placement = detection.crop_box(instance.photo.load(), instance.box)
    grid = detection.describe(image, [DetectorSpec("sift32")], backbone=alexnet).grids["sift32"]
    scores = trained["sift32"].detectors.scores(grid.descriptors)
    points = placement.to_image(detection.argmax_points(scores, grid.cells.centres()))
    own = [row for row in rows(offered) if (row["object"], row["row"]) == ("toy-cat-val-001", "sift32")]
    for row, point in zip(own, points, strict=True):
        assert [row["x"], row["y"]] == ["" if np.isnan(value) else f"{value:.2f}" for value in point]
    assert {row["eta"] for row in own} == {""}


def test_detector_maps_are_in_colours_of_all_or_of_their_own(at):
    assert at.toggle(key="own_sift32").value  # SIFT's scores hardly leave -1
    before = picture(at, "map Detector")
    at.toggle(key="own_sift32").set_value(False)
    settled(at.run())
    assert (picture(at, "map Detector") != before).any()


def test_a_click_on_a_picture_looks_closer_at_its_object(at, click):
    before = picture(at, "map Product").shape
    click(at, "gallery 3 sift32", 50, 60)
    settled(at.run())
    assert at.query_params["object"] == "toy-cat-val-003"
    assert picture(at, "map Product").shape != before
    assert component(at, "gallery 3 ")["boxes"]
    assert not component(at, "gallery 1 ")["boxes"]


def test_maps_have_the_packages_scores(at, data):
    sent = component(at, "map Detector")
    (width, height), values = sent["size"], sent["values"]
    steps = np.frombuffer(base64.b64decode(values["steps"]), "<u2").reshape(height, width)
    shown = values["low"] + steps / 65534 * (values["high"] - values["low"])
    alexnet = networks.load("alexnet")
    trained, _ = experiments.detectors(data, "toy cat", backbone=alexnet, features=FEATURES, out=default(data))
    instance = data.visible_instances("toy cat", "val")[1]
    image, _ = detection.crop_box(instance.photo.load(), instance.box)
    grid = detection.describe(image, [DetectorSpec("sift32")], backbone=alexnet).grids["sift32"]
    nose = list(data.keypoint_names["toy cat"]).index("Nose")
    scores = trained["sift32"].detectors.scores(grid.descriptors)[..., nose]
    centres = grid.cells.centres()
    for row, column in ((0, 0), (5, 9), (grid.cells.rows - 1, 3)):
        x, y = (int((at + 0.5) / 500 * side) for at, side in zip(centres[row, column], (width, height), strict=True))
        assert shown[y, x] == pytest.approx(scores[row, column], abs=2e-3)


def test_every_keypoint_has_its_map(at, monkeypatch):
    drawn = []
    marked = figures.draw_crosses
    monkeypatch.setattr(
        figures, "draw_crosses", lambda picture, *a, **k: drawn.append(picture) or marked(picture, *a, **k)
    )
    at.segmented_control(key="prediction_section").set_value(EVERY)
    settled(at.run())
    said = [text for text in texts(at) if text.endswith((": right", ": wrong", ": not shown by this object"))]
    assert len(said) >= 10
    products = drawn.copy()
    assert len(products) == len(said)
    drawn.clear()
    at.segmented_control(key="map").set_value("Detector")
    settled(at.run())
    without = sum(text.endswith("has no detector.") for text in texts(at))
    assert len(drawn) == len(products) - without >= 10
    assert not any(np.array_equal(one, other) for one in products for other in drawn)


def test_the_table_is_computed_here_and_read_again(at, data):
    at.segmented_control(key="prediction_section").set_value(ACCURACY)
    settled(at.run())
    button = next(button for button in at.button if button.label == "Compute for toy cat")
    button.click()
    settled(at.run())
    settled(at.run())
    table = at.dataframe[0].value
    kept = json.loads((default(data) / "prediction toy cat.json").read_text())["summary"]["all"]["rows"]
    assert len(table) == len(kept)
    first = kept["sift32+prior"]["0.1"]
    assert (
        table.loc["SIFT, radius 32 px + prior", "α = 0.1"]
        == f"{first['mean']:.1f} [{first['low']:.1f}, {first['high']:.1f}]"
    )


def test_a_photo_of_yours_is_predicted_in_the_box_drawn_on_it(open_page, offered, click, data):
    at = open_page("prediction", mode="A photo of yours")
    assert any("Upload a photo of a toy cat" in text for text in texts(at))
    instance = data.visible_instances("toy cat", "val")[2]
    content = images.encode(instance.photo.load(), format="PNG")
    at.file_uploader(key="upload A photo with one such object in it").upload("mine.png", content, "image/png")
    settled(at.run())
    assert any("The box is the whole photo" in text for text in texts(at))
    assert any("only seen drawings" in text for text in texts(at))
    whole = rows(offered)
    left, top, right, bottom = (round(edge + 0.5) for edge in instance.box)
    click(at, "draw", right - 1, top)
    settled(at.run())
    assert any("opposite corner" in text for text in texts(at))
    click(at, "draw", left, bottom - 1)
    settled(at.run())
    assert rows(offered) != whole
    points = expected(data, "sift32", 2, PriorFusion(1, 22.0, 0.05))
    own = [row for row in rows(offered) if row["row"] == "sift32+prior"]
    np.testing.assert_allclose([[float(row["x"]), float(row["y"])] for row in own], points, atol=1.5)
    next(button for button in at.button if button.label == "The whole photo").click()
    settled(at.run())
    assert rows(offered) == whole
    click(at, "draw", 30, 30)
    settled(at.run())
    click(at, "draw", 30, 31)
    settled(at.run())
    assert any("The box must be at least 20 px wide and high; it is 1 x 2 px" in text for text in texts(at))


def test_a_file_that_is_no_picture_is_said(open_page):
    at = open_page("prediction", mode="A photo of yours")
    at.file_uploader(key="upload A photo with one such object in it").upload("mine.png", b"<html>", "image/png")
    settled(at.run())
    assert any("mine" in error.value for error in at.error)


def test_files_open_and_hold_what_they_say(at, offered, data):
    assert offered["prediction.png"]().startswith(b"\x89PNG")
    arrays = np.load(io.BytesIO(offered["toy-cat-val-001 maps.npz"]()))
    assert set(arrays) >= {"box", "places_px", "sift16_scores", "sift32_centres_px"}
    assert arrays["places_px"].shape == (5, 16, 2)
    name = next(name for name in offered if name.endswith(".safetensors"))
    (default(data) / "copy.safetensors").write_bytes(offered[name]())
    detectors, _ = detection.load(default(data) / "copy.safetensors")
    assert detectors.scheme.feature == "sift32"
    assert "experiments.detectors(data, 'toy cat'" in offered["python"]
    assert "of_object" not in offered["python"]


def test_a_link_to_an_object_that_is_not_there_is_said(open_page):
    at = open_page("prediction", object="nobody")
    settled(at)
    assert any("There is no object nobody here" in warning.value for warning in at.warning)


def test_a_shared_server_trains_nothing_on_photos(open_page, monkeypatch, data):
    monkeypatch.setattr(toy, "load", lambda: dataclasses.replace(data, synthetic=False, digest="0" * 32))
    caches.dataset.clear()
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("prediction")
    assert any("have to be trained first. This server is shared" in info.value for info in at.info)
    monkeypatch.delenv("CORRCORE_READ_ONLY")
    at = open_page("prediction")
    assert any(button.label == "Train" for button in at.button)


def test_detectors_that_vanish_are_trained_again_or_taken_from_memory(at, offered, data):
    before = rows(offered)
    for file in default(data).glob("prediction toy cat *.safetensors"):
        file.unlink()
    settled(at.run())
    assert rows(offered) == before


def test_a_photo_that_is_gone_is_said(open_page, monkeypatch):
    def gone(instances):
        msg = "the photo gone is not there any more"
        raise FileNotFoundError(msg)

    monkeypatch.setattr(caches, "state_of", gone)
    at = open_page("prediction")
    assert any("not there any more" in error.value for error in at.error)
