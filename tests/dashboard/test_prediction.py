"""The Prediction page: what every choice and click changes, on a few drawn animals."""

import base64
import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from corrcore import images, networks
from corrcore.crops import CropTransform
from corrcore.datasets import toy
from corrcore.experiments import DetectorTraining, Prediction
from corrcore.features import Feature
from corrcore.tasks import detection
from corrcore.tasks.detection import PriorFusion
from dashboard import figures
from dashboard.services import caches
from dashboard.services.kept_networks import kept_networks

from .conftest import component, keys, offered_as, parameters, picture, settled, texts

EVERY, ACCURACY = "Every keypoint", "Accuracy (Table 4)"
BY_HAND = "by hand"
SIFT16, CONV5 = Feature("sift", "16"), Feature("alexnet", "conv5")
FEATURES = (SIFT16, CONV5)
AS_SET = PriorFusion(1, 22.0, 0.05)


@pytest.fixture(scope="module", autouse=True)
def data(cache_folder):
    """A few drawn animals, on offer as "few"."""
    few = toy.load(n_train=6, n_val=6)
    with offered_as("few", few):
        yield few


@pytest.fixture
def open_few(open_page):
    """``open_few(prior=...)``: the page on the few animals."""
    return lambda **query: open_page("prediction", **{"data": "few", **query})


@pytest.fixture
def at(open_few, offered):
    return open_few(object="toy-cat-val-001", keypoint="Nose")


@pytest.fixture(scope="module")
def learnt(data):
    """Detectors and prior as the package alone has them."""
    context = replace(caches.context("few", "alexnet"), store=None)
    return DetectorTraining("few", "toy cat").train(context)


@pytest.fixture(scope="module")
def described(data):
    """Each val object's crop transform, features and photo's name."""
    alexnet, found = networks.open("alexnet"), {}

    def of(number):
        if number not in found:
            instance = data.visible_instances("toy cat", "val")[number]
            image, transform = detection.crop_box(instance.photo.load(), instance.box)
            found[number] = transform, detection.describe(image, FEATURES, network=alexnet), instance.photo.name
        return found[number]

    return of


def rows(offered):
    return list(csv.DictReader(io.StringIO(offered["keypoints.csv"]().decode())))


def points(some):
    return np.array([[float(row["x_px"] or "nan"), float(row["y_px"] or "nan")] for row in some])


@pytest.fixture
def expected(learnt, described):
    """Where the package alone has an object's keypoints, step by step."""
    trained, prior = learnt

    def of(feature, number, fusion):
        transform, features, photo = described(number)
        grid = features.grids[feature]
        scores, centres = trained[feature].detectors.scores(grid.descriptors), grid.cells.centres()
        if fusion is None:
            return transform.to_image(detection.argmax_points(scores, centres))
        places = prior.places(prior.nearest(features.summary, k=5, photo=photo))
        return transform.to_image(detection.predict(scores, centres, places, fusion))

    return of


def test_drawn_animals_are_learnt_at_once_and_predicted_as_the_package_does(at, offered, data, expected):
    assert any("drawn, synthetic" in text for text in texts(at))
    assert keys(at) >= {f"gallery 1 {row}" for row in ("", "sift16", "conv5")}
    found = rows(offered)
    assert {row["object"] for row in found} == {f"toy-cat-val-{n:03}" for n in range(4)}
    for feature in FEATURES:
        own = [row for row in found if (row["object"], row["row"]) == ("toy-cat-val-001", f"{feature.key}+prior")]
        assert [row["keypoint"] for row in own] == list(data.keypoint_names["toy cat"])
        np.testing.assert_allclose(points(own), expected(feature, 1, AS_SET), atol=0.006)
        right = sum(row["right"] == "1" for row in own)
        of = int(data.visible_instances("toy cat", "val")[1].visible.sum())
        assert any(f"**{right} of {of}** right" in text for text in texts(at))


def test_hits_are_within_a_tenth_of_each_side_of_the_box(at, offered, data):
    for row in rows(offered):
        instance = next(one for one in data.visible_instances("toy cat", "val") if one.name == row["object"])
        if not row["true_x_px"]:
            assert row["right"] == ""
            continue
        width, height = instance.size
        away = np.hypot(
            (float(row["x_px"]) - float(row["true_x_px"])) / width,
            (float(row["y_px"]) - float(row["true_y_px"])) / height,
        )
        assert (row["right"] == "1") == (away <= 0.1)


def test_the_network_and_how_it_sees_are_named(at):
    assert any("AlexNet's conv5" in text for text in texts(at))
    assert any("cells of conv5, which together see 195 x 195 px" in text for text in texts(at))
    assert parameters(at)["network"].startswith("alexnet, weights ")
    assert "by pool5" in parameters(at)["prior"]


def test_weights_by_hand_move_predictions_at_once(at, offered, expected):
    chosen = rows(offered)
    at.selectbox(key="weights").set_value(BY_HAND)
    settled(at.run())
    assert rows(offered) == chosen  # it begins with what was chosen
    at.slider(key="eta").set_value(0.0)
    settled(at.run())
    alone = rows(offered)
    assert alone != chosen
    own = [row for row in alone if (row["object"], row["row"]) == ("toy-cat-val-001", "conv5+prior")]
    np.testing.assert_allclose(points(own), expected(CONV5, 1, PriorFusion(1, 22.0, 0.0)), atol=0.006)
    at.slider(key="eta").set_value(0.5)
    settled(at.run())
    narrow = rows(offered)
    at.slider(key="sigma").set_value(80.0)
    settled(at.run())
    assert rows(offered) != narrow


def test_several_neighbours_give_another_prior_and_are_shown(at, offered):
    before = picture(at, "map Prior")
    at.selectbox(key="prior").set_value(5)
    settled(at.run())
    assert (picture(at, "map Prior") != before).any()
    assert {row["row"] for row in rows(offered)} == {"sift16+5 priors", "conv5+5 priors"}
    assert sum(text.startswith("toy-cat-train-") for text in texts(at)) == 5


def test_without_a_prior_predictions_are_the_detectors_alone(open_few, offered, expected):
    at = open_few(object="toy-cat-val-001", keypoint="Nose", prior="none")
    assert any("conv5 alone" in text for text in texts(at))
    assert "map Prior" not in keys(at)
    own = [row for row in rows(offered) if (row["object"], row["row"]) == ("toy-cat-val-001", "conv5")]
    for row, point in zip(own, expected(CONV5, 1, None), strict=True):
        assert [row["x_px"], row["y_px"]] == ["" if np.isnan(value) else f"{value:.2f}" for value in point]
    assert {row["eta"] for row in own} == {""}


def test_detector_maps_are_in_colours_of_all_or_of_their_own(at):
    assert not at.toggle(key="own_conv5").value
    at.selectbox(key="by").set_value(SIFT16)
    settled(at.run())
    assert at.toggle(key="own_sift16").value  # SIFT's scores hardly leave -1
    before = picture(at, "map Detector")
    at.toggle(key="own_sift16").set_value(False)
    settled(at.run())
    assert (picture(at, "map Detector") != before).any()


def test_a_click_on_a_picture_looks_closer_at_its_object(at, click):
    before = picture(at, "map Product").shape
    click(at, "gallery 3 conv5", 50, 60)
    settled(at.run())
    assert at.query_params["object"] == "toy-cat-val-003"
    assert picture(at, "map Product").shape != before
    assert component(at, "gallery 3 ")["boxes"]
    assert not component(at, "gallery 1 ")["boxes"]


def shown_values(at, key):
    """What the pointer reads, as image_click.js does."""
    sent = component(at, key)
    (width, height), values = sent["size"], sent["values"]
    steps = np.frombuffer(base64.b64decode(values["steps"]), "<u2").reshape(height, width)
    return values["low"] + steps / 65534 * (values["high"] - values["low"])


def test_maps_have_the_packages_scores(at, data, learnt, described):
    shown = shown_values(at, "map Detector")
    grid = described(1)[1].grids[CONV5]
    nose = list(data.keypoint_names["toy cat"]).index("Nose")
    scores = learnt[0][CONV5].detectors.scores(grid.descriptors)[..., nose]
    centres, (height, width) = grid.cells.centres(), shown.shape
    for row, column in ((0, 0), (5, 9), (grid.cells.rows - 1, 3)):
        x, y = (int((at + 0.5) / 500 * side) for at, side in zip(centres[row, column], (width, height), strict=True))
        assert shown[y, x] == pytest.approx(scores[row, column], abs=2e-3)


def test_maps_prior_and_product_are_the_formulas(at, data, learnt, described):
    _, features, photo = described(1)
    trained, prior = learnt
    nose = list(data.keypoint_names["toy cat"]).index("Nose")
    [place] = prior.places(prior.nearest(features.summary, k=1, photo=photo))[:, nose]
    grid = features.grids[CONV5]
    centres = grid.cells.centres()
    p = np.exp(-np.square(centres - place).sum(axis=-1) / (2 * 22.0**2))
    s = 1 / (1 + np.exp(-trained[CONV5].detectors.scores(grid.descriptors)[..., nose]))
    f = s**0.95 * p**0.05
    for key, values in (("map Prior", p), ("map Product", f / f.max())):
        shown = shown_values(at, key)
        row, column = np.unravel_index(values.argmax(), values.shape)
        for r, c in ((row, column), (row - 2, column + 1), (row + 1, column)):
            x, y = (int((at + 0.5) / 500 * side) for at, side in zip(centres[r, c], shown.shape[::-1], strict=True))
            assert shown[y, x] == pytest.approx(values[r, c], abs=2e-3)


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
    assert len(drawn) == len(products) - without >= 5
    assert not any(np.array_equal(one, other) for one in products for other in drawn)


def test_the_table_is_computed_here_and_read_again(at, open_few, data):
    at.segmented_control(key="prediction_section").set_value(ACCURACY)
    settled(at.run())
    button = next(button for button in at.button if button.label == "Compute for toy cat")
    button.click()
    settled(at.run())
    settled(at.run())
    context = caches.context("few", "alexnet")
    result = caches.store().load(Prediction("few", "toy cat").resolved(context), context)
    for page in (at, open_few(prediction_section=ACCURACY)):
        table = page.dataframe[0].value.set_index("row")
        assert len(table) == len(result.summary.rows) == 8
        assert list(table.columns) == ["α = 0.1", "α = 0.05", "α = 0.025"]  # nothing was published of drawings
        row = next(row for row in result.summary.rows if row.key == "conv5+prior")
        estimate = result.summary.accuracy(row)
        assert (
            table.loc["conv5 + prior", "α = 0.1"] == f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"
        )
        assert any("over 6 val objects" in text for text in texts(page))


UPLOAD = "upload A photo with one such object in it"


def test_a_photo_of_yours_is_predicted_in_the_box_drawn_on_it(open_few, offered, click, data, expected):
    at = open_few(mode="A photo of yours")
    assert any("Upload a photo of a toy cat" in text for text in texts(at))
    instance = data.visible_instances("toy cat", "val")[2]
    content = images.encode(instance.photo.load(), format="PNG")
    at.file_uploader(key=UPLOAD).upload("mine.png", content, "image/png")
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
    own = [row for row in rows(offered) if row["row"] == "conv5+prior"]
    np.testing.assert_allclose(points(own), expected(CONV5, 2, AS_SET), atol=1.5)
    next(button for button in at.button if button.label == "The whole photo").click()
    settled(at.run())
    assert rows(offered) == whole
    click(at, "draw", 30, 30)
    settled(at.run())
    click(at, "draw", 30, 31)
    settled(at.run())
    assert any("The box must be at least 20 px wide and high; it is 1 x 2 px" in text for text in texts(at))


def test_a_large_photos_places_are_its_own_pixels(open_few, offered, data, monkeypatch, tmp_path):
    """The box is drawn on a smaller picture; four times the photo has everything four times as far away."""
    photo = data.visible_instances("toy cat", "val")[2].photo.load()
    assert 4 * max(photo.shape[:2]) > 900
    found = []
    for scale in (1, 4):
        large = np.repeat(np.repeat(photo, scale, axis=0), scale, axis=1)
        (tmp_path / "mine.png").write_bytes(images.encode(large, format="PNG"))
        at = open_few(mode="A photo of yours", prior="none")
        at.file_uploader(key=UPLOAD).upload("mine.png", (tmp_path / "mine.png").read_bytes(), "image/png")
        settled(at.run())
        arrays = np.load(io.BytesIO(offered["mine maps.npz"]()))
        found.append((points(rows(offered)), arrays["box"], arrays["conv5_cells_px"]))
    sides = np.array(photo.shape[1::-1])
    np.testing.assert_allclose(found[0][1], [-0.5, -0.5, *(sides - 0.5)])
    np.testing.assert_allclose(found[1][1], [-0.5, -0.5, *(4 * sides - 0.5)])
    np.testing.assert_allclose((found[1][2] + 0.5) / 4 - 0.5, found[0][2], atol=1e-6)
    close = np.abs((found[1][0] + 0.5) / 4 - 0.5 - found[0][0]).max(axis=1) < 2
    assert close[np.isfinite(found[0][0]).all(axis=1)].mean() > 0.8  # resampled otherwise, a few maxima jump
    monkeypatch.chdir(tmp_path)
    lines = {}
    exec(offered["python"], lines)
    own = points([row for row in rows(offered) if row["row"] == "conv5"])
    np.testing.assert_allclose(lines["found"].keypoints(CONV5, None), own, atol=0.006)


def test_a_file_that_is_no_picture_is_said(open_few):
    at = open_few(mode="A photo of yours")
    at.file_uploader(key=UPLOAD).upload("mine.png", b"<html>", "image/png")
    settled(at.run())
    assert any("mine" in error.value for error in at.error)


def test_files_open_and_hold_what_they_say(at, offered, data, learnt, described, tmp_path):
    assert offered["prediction.png"]().startswith(b"\x89PNG")
    arrays = np.load(io.BytesIO(offered["toy-cat-val-001 maps.npz"]()))
    transform, features, photo = described(1)
    instance = data.visible_instances("toy cat", "val")[1]
    np.testing.assert_allclose(arrays["box"], instance.box)
    left, top, right, bottom = instance.box
    cells = arrays["sift16_cells_px"]
    assert cells.shape[:2] == arrays["sift16_scores"].shape[:2]
    assert ((cells > [left, top]) & (cells < [right, bottom])).all()
    np.testing.assert_allclose(cells, transform.to_image(features.grids[SIFT16].cells.centres()))
    prior = learnt[1]
    places = prior.places(prior.nearest(features.summary, k=5, photo=photo))
    unstretched = CropTransform(instance.box, (500, 500)).to_image(places)
    np.testing.assert_allclose(arrays["prior_px"], unstretched)
    np.testing.assert_allclose(arrays["truth_px"], instance.keypoints)
    assert "pixels of the upright photo" in str(arrays["frame"])
    name = next(name for name in offered if name.endswith(".safetensors"))
    (tmp_path / "copy.safetensors").write_bytes(offered[name]())
    detectors, _ = detection.load_detectors(tmp_path / "copy.safetensors")
    assert detectors.spec.feature == CONV5
    np.testing.assert_allclose(detectors.linear.weights, learnt[0][CONV5].detectors.linear.weights)


@pytest.mark.parametrize("prior", ["the object most alike", "none"])
def test_python_lines_make_what_is_shown(open_few, offered, prior):
    open_few(object="toy-cat-val-001", prior=prior)
    lines = {}
    exec(offered["python"], lines)
    shown = [row for row in rows(offered) if row["object"] == "toy-cat-val-001"]
    for feature, fusion in zip(FEATURES, (None, None) if prior == "none" else (AS_SET, AS_SET), strict=True):
        own = [row for row in shown if row["row"].startswith(feature.key)]
        np.testing.assert_allclose(lines["found"].keypoints(feature, fusion), points(own), atol=0.006)


def test_a_link_to_an_object_that_is_not_there_is_said(open_few):
    at = open_few(object="nobody")
    assert any("There is no object nobody here" in warning.value for warning in at.warning)


def test_a_shared_server_trains_nothing_on_photos(open_page, monkeypatch, data):
    with offered_as("photos", replace(data, synthetic=False, digest="0" * 32)):
        monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
        at = open_page("prediction", data="photos")
        assert any("not computed here yet; this server is shared" in info.value for info in at.info)
        monkeypatch.delenv("CORRCORE_READ_ONLY")
        at = open_page("prediction", data="photos")
        assert any(button.label == "Train" for button in at.button)
        assert any("--data photos" in text for text in texts(at))


def test_detectors_that_vanish_are_trained_again_or_taken_from_memory(at, offered, data):
    before = rows(offered)
    training, context = DetectorTraining("few", "toy cat"), caches.context("few", "alexnet")
    for what in ("sift16", "conv5", "prior"):
        training.file(what, context).unlink(missing_ok=True)
    settled(at.run())
    assert rows(offered) == before


def test_a_photo_that_is_gone_is_said(open_few, monkeypatch):
    def gone(instances):
        msg = "the photo gone is not there any more"
        raise FileNotFoundError(msg)

    monkeypatch.setattr(caches, "state_of", gone)
    at = open_few()
    assert any("not there any more" in error.value for error in at.error)


def test_vgg16_predicts_by_its_own_layers(open_page, offered, vgg16_weights, data):
    kept_networks().clear()
    few = replace(data, splits={key: some[:5] if key[1] == "train" else some[:1] for key, some in data.splits.items()})
    with offered_as("five", replace(few, digest="5" * 32)):
        at = open_page("prediction", data="five", network="vgg16")
        settled(at, 240)
    kept_networks().clear()
    assert {row["row"] for row in rows(offered)} == {"sift16+prior", "conv5_3+prior"}
    assert parameters(at)["network"].startswith("vgg16, weights ")
    assert any("cells of conv5_3, which together see 228 x 228 px" in text for text in texts(at))
    assert "networks.open('vgg16')" in offered["python"]
