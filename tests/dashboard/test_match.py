"""The Match page: what a click asks, and that all it shows are the package's numbers."""

import base64
import csv
import io
import re

import numpy as np
import pytest
from PIL import Image

from corrcore import decoding, images, networks
from corrcore.datasets import drawn
from corrcore.features import Feature
from corrcore.tasks import all_points, confidence, matching
from corrcore.tasks.matching import MatchOptions
from dashboard import figures, first_views
from dashboard.app_pages.match_parts import maps
from dashboard.app_pages.match_parts.controls import Choice
from dashboard.app_pages.match_parts.photo import Photo
from dashboard.state import Session, Upload
from tests.conftest import smooth_noise
from tests.dashboard.conftest import component, keys, picture, settled, texts

FIRST, SECOND = (drawn.unseen()[name] for name in first_views.MATCHED)
CONV4, CONV5, SIFT20 = Feature("alexnet", "conv4"), Feature("alexnet", "conv5"), Feature("sift", "20")
REFINED = MatchOptions(refine=True)


def matches(alexnet, source, target, point, feature, options=REFINED):
    first, second = (
        matching.describe(photo, [feature], network=alexnet, options=options)[feature] for photo in (source, target)
    )
    cosines = matching.similarity_map(first, second, np.array(point, float))
    return matching.match_points(first, second, np.array([point], float), options=options), cosines, second


def middle(outline):
    left, top, right, bottom = outline["box"]
    return (left + right - 1) / 2, (top + bottom - 1) / 2


@pytest.fixture
def at(open_page):
    return open_page("match")


def test_the_first_view_is_an_eye_that_layers_find_and_sift_does_not(at, alexnet):
    assert {"photo first", "photo second", f"map {CONV4}", f"map {CONV5}", f"map {SIFT20}"} <= keys(at)
    assert component(at, "photo first")["selected"] == list(FIRST.eye)
    source, target = FIRST.load(), SECOND.load()
    for number, feature in enumerate((CONV4, CONV5, SIFT20)):
        found, _, _ = matches(alexnet, source, target, FIRST.eye, feature)
        place = middle(component(at, "photo second")["boxes"][number])
        assert np.abs(place - found.places[0]).max() <= 0.5
        away = np.linalg.norm(found.places[0] - SECOND.eye)
        assert away < 10 if feature != SIFT20 else away > 100


def test_a_map_tells_the_similarity_of_the_cell_under_every_pixel(at, alexnet):
    target = SECOND.load()
    for feature in (CONV4, SIFT20):
        _, cosines, described = matches(alexnet, FIRST.load(), target, FIRST.eye, feature)
        values = component(at, f"map {feature}")["values"]
        steps = steps_of(values, target.shape)
        told = values["low"] + steps / 65534 * (values["high"] - values["low"])
        for x, y in [(60, 60), (150, 200), (300, 90)]:
            row, column = described.grid.cells.nearest(*described.transform.to_crop(np.array([x, y], float)).tolist())
            assert told[y, x] == pytest.approx(cosines[row, column], abs=1e-4)
        assert steps[0, 0] == 65535  # no cell's patch reaches the corner


def steps_of(values, shape):
    return np.frombuffer(base64.b64decode(values["steps"]), "<u2").reshape(shape[:2])


def test_all_maps_have_one_range_of_colours(at):
    found = {name: component(at, name)["values"] for name in (f"map {CONV4}", f"map {CONV5}", f"map {SIFT20}")}
    low, high = min(each["low"] for each in found.values()), max(each["high"] for each in found.values())
    assert any(f"cosine {low:.2f}" in each.proto.body for each in at.get("html"))
    grey = np.asarray(Image.fromarray(SECOND.load()).convert("L").convert("RGB"))
    shown = picture(at, f"map {SIFT20}")
    x, y = 328, 62  # hardly anything is as similar
    assert high - 0.05 < value_at(found[f"map {SIFT20}"], SECOND.load().shape, x, y) <= high
    yellow = np.array([int(figures.viridis_colours()[-1][n : n + 2], 16) for n in (1, 3, 5)])
    assert np.abs(shown[y, x] - (0.4 * grey[y, x] + 0.6 * yellow)).max() < 40
    assert low < high


def value_at(values, shape, x, y):
    return values["low"] + steps_of(values, shape)[y, x] / 65534 * (values["high"] - values["low"])


def test_a_click_on_the_first_photo_asks_for_another_point(at, click, alexnet):
    click(at, "photo first", 90, 260)
    settled(at)
    assert at.query_params["point"] in ("90,260", ["90,260"])
    assert component(at, "photo first")["selected"] == [90, 260]
    found, _, _ = matches(alexnet, FIRST.load(), SECOND.load(), (90, 260), CONV4)
    assert np.abs(middle(component(at, "photo second")["boxes"][0]) - found.places[0]).max() <= 0.5


@pytest.mark.parametrize("key", ["photo second", f"map {CONV4}"])
def test_a_click_on_the_other_photo_looks_for_its_point_in_the_first(at, click, alexnet, key):
    click(at, key, *SECOND.eye)
    settled(at)
    assert at.query_params["point_of"] in ("second", ["second"])
    assert component(at, "photo second")["selected"] == list(SECOND.eye)
    assert component(at, "photo first")["selected"] is None
    found, _, _ = matches(alexnet, SECOND.load(), FIRST.load(), SECOND.eye, CONV4)
    assert np.abs(middle(component(at, "photo first")["boxes"][0]) - found.places[0]).max() <= 0.5
    assert any("Similarity of the first photo to the point of the second" in text for text in texts(at))


def test_a_sample_is_chosen_for_either_side(at, click):
    names = [*drawn.unseen()]
    click(at, "gallery second", 2 * 112 + 50, 50)
    settled(at)
    assert at.query_params["photo_2"] in (f"sample:{names[2]}", [f"sample:{names[2]}"])
    assert picture(at, "photo second").shape == drawn.unseen()[names[2]].load().shape
    assert picture(at, "photo first").shape == FIRST.load().shape


def test_another_photo_is_looked_at_where_it_is_worth_it(open_page, click):
    at = open_page("match", point="90,260")
    names = [*drawn.unseen()]
    click(at, "gallery second", 2 * 112 + 50, 50)
    assert component(settled(at), "photo first")["selected"] == [90, 260]
    click(at, "gallery first", 3 * 112 + 50, 50)
    assert component(settled(at), "photo first")["selected"] == list(drawn.unseen()[names[3]].eye)


def test_places_of_an_alignment_are_the_packages(open_page, alexnet):
    at = open_page("match", found_by="mrf", features="AlexNet conv4")
    found, _, _ = matches(alexnet, FIRST.load(), SECOND.load(), FIRST.eye, CONV4, MatchOptions("mrf"))
    assert np.abs(middle(component(at, "photo second")["boxes"][0]) - found.places[0]).max() <= 0.5
    assert keys(at) & {f"map {CONV4}", f"map {CONV5}"} == {f"map {CONV4}"}


def test_features_by_their_keys_in_a_link(open_page):
    at = open_page("match", features="alexnet:conv3")
    assert at.multiselect(key="features").value == [Feature("alexnet", "conv3")]
    assert not at.warning


def test_several_networks_stand_side_by_side(open_page, vgg_weights, monkeypatch):
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(vgg_weights))
    at = open_page("match")
    at.multiselect(key="networks").set_value(["alexnet", "vgg16"])
    settled(at.run())
    transfer = Feature("vgg16", networks.open("vgg16").roles.transfer)
    assert at.multiselect(key="features").value == [CONV4, CONV5, SIFT20, transfer]
    titles = [text for text in texts(at) if text.startswith("**") and "conv" in text]
    assert titles == ["**AlexNet conv4**", "**AlexNet conv5**", f"**{networks.title('vgg16')} {transfer.layer}**"]


def test_without_a_feature_the_page_asks_for_one(at):
    at.multiselect(key="features").set_value([])
    settled(at.run())
    assert [info.value for info in at.info] == ["Choose at least one feature."]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"photo_1": "sample:nobody"}, "There is no photo nobody here"),
        ({"point": "9999,1"}, "asks for the pixel 9999,1"),
        ({"point_of": "third"}, "A point is of the first photo or of the second."),
        ({"features": "conv99"}, "asks for features conv99"),
    ],
)
def test_links_that_ask_for_what_is_not_there_are_told_so(open_page, query, sentence):
    at = open_page("match", **query)
    assert any(sentence in warning.value for warning in at.warning)
    assert f"map {CONV4}" in keys(at)


def test_a_link_to_somebody_elses_upload_says_so(open_page):
    at = open_page("match", photo_1="upload:abc")
    assert any("stays with whoever uploaded it" in info.value for info in at.info)


def test_what_is_taken_along_is_what_is_shown(open_page, offered, alexnet):
    open_page("match")
    target = SECOND.load()
    rows = list(csv.DictReader(io.StringIO(offered["matches.csv"]().decode())))
    arrays = np.load(io.BytesIO(offered["matches.npz"]()))
    assert [row["feature"] for row in rows] == ["alexnet:conv4", "alexnet:conv5", "sift20"] == list(arrays["features"])
    for number, feature in enumerate((CONV4, CONV5, SIFT20)):
        found, cosines, described = matches(alexnet, FIRST.load(), target, FIRST.eye, feature)
        assert [float(rows[number][f"place_{axis}"]) for axis in "xy"] == pytest.approx(found.places[0], abs=1e-3)
        assert (int(float(rows[number]["x"])), int(float(rows[number]["y"]))) == FIRST.eye
        assert float(rows[number]["margin"]) == pytest.approx(found.margins[0], abs=1e-4)
        assert (rows[number]["mutual"] == "true") == found.mutual[0]
        np.testing.assert_allclose(arrays["places_xy"][number], found.places[0], atol=1e-6)
        assert np.nanmax(arrays["similarity"][number]) == pytest.approx(cosines.max(), abs=1e-6)
        assert described.grid.layer in str(feature)
    sheet = decoding.decode(offered["matches.png"]())
    assert sheet.shape[1] > 3 * target.shape[1]


def test_the_lines_of_python_print_what_is_shown(open_page, offered, alexnet, capsys):
    open_page("match")
    exec(compile(offered["python"], "lines", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    for line, feature in zip(lines, (CONV4, CONV5, SIFT20), strict=True):
        found, _, _ = matches(alexnet, FIRST.load(), SECOND.load(), FIRST.eye, feature)
        name, *numbers = re.findall(r"[\w:]+[^\s\[\]]*", line)
        assert name == str(feature)
        assert [float(each) for each in numbers[:3]] == pytest.approx([*found.places[0], found.margins[0]], abs=1e-3)
        assert numbers[3] == str(found.mutual[0])


@pytest.mark.parametrize("size", [(1400, 1386), (1083, 4000), (4000, 333), (300, 301)])
def test_corners_of_photos_are_corners_of_what_is_shown(size):
    width, height = size
    photo = Photo(np.zeros((height, width, 3), np.uint8), "any", "upload:x", "")
    last = photo.shown.shape[1] - 1, photo.shown.shape[0] - 1
    for x, y in [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]:
        assert maps.shown_pixel(photo, (x, y)) == (last[0] if x else 0, last[1] if y else 0)
    own = photo.transform.to_image(np.array([last], float))
    assert (own <= np.array([width - 0.5, height - 0.5])).all()
    assert (own >= np.array([width, height]) - max(width / 100, height / 100, 1) * 4).all()


def test_a_large_photo_is_matched_and_told_in_its_own_pixels(alexnet):
    large = images.resize(FIRST.load(), longer_side=1400)
    photo, other = Photo(large, "large", "upload:x", ""), Photo(SECOND.load(), "other", "upload:y", "")
    found, failed = maps.find(other, photo, SECOND.eye, Choice({CONV4: alexnet}, REFINED, 0.6))
    expected, cosines, _ = matches(alexnet, SECOND.load(), large, SECOND.eye, CONV4)
    assert not failed
    np.testing.assert_array_equal(found[CONV4].matches.places, expected.places)
    assert found[CONV4].similarity.shape == photo.shown.shape[:2]
    row, column = np.unravel_index(np.nanargmax(found[CONV4].similarity), found[CONV4].similarity.shape)
    assert np.nanmax(found[CONV4].similarity) == pytest.approx(cosines.max(), abs=1e-6)
    there = photo.transform.to_image(np.array([column, row], float))
    assert np.abs(there - expected.places[0]).max() <= 16 * 1400 / 448


def uploaded(at, **pictures):
    """Photos in the session's memory, one for a side, as the uploader keeps them."""
    state: Session = at.session_state["corrcore"]
    for side, image in pictures.items():
        digest = images.digest(image)
        state.uploads[digest] = Upload(f"{side}.png", image)
        state.choices[side] = f"upload:{digest}"
    return settled(at.run())


def test_a_feature_that_a_photo_is_too_small_for_says_so_and_others_are_shown(open_page):
    at = open_page("match", features=["alexnet:conv4", "sift80"])
    uploaded(at, photo_2=smooth_noise(1200, 300, seed=0))
    [warning] = [each.value.replace("\\", "") for each in at.warning]
    assert warning.startswith("No place by SIFT, radius 80 px. photo_2.png: ")
    assert "at least 121 x 121 px" in warning
    assert {each for each in keys(at) if each.startswith("map ")} == {f"map {CONV4}"}


def test_photos_that_are_too_small_for_all_say_so(at):
    uploaded(at, photo_2=smooth_noise(1600, 20, seed=0))
    assert len(at.warning) == 3
    assert not keys(at) & {f"map {CONV4}", f"map {SIFT20}"}


def test_what_takes_too_long_at_once_is_a_sentence(open_page, monkeypatch):
    at = open_page("match", features="alexnet:conv1", match_section="All points at once")
    assert not at.warning
    monkeypatch.setattr(all_points, "mutual_matches", refuse)
    at.run()
    assert [each.value for each in at.warning] == ["all points at once take seconds at most."]


def refuse(*_):
    msg = "all points at once take seconds at most."
    raise ValueError(msg)


def test_features_in_a_link_stay_when_another_network_comes(open_page, vgg_weights, monkeypatch):
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(vgg_weights))
    at = open_page("match", features="AlexNet conv3")
    at.multiselect(key="networks").set_value(["alexnet", "vgg16"])
    settled(at.run())
    transfer = networks.open("vgg16").roles.transfer
    assert at.multiselect(key="features").value == [Feature("alexnet", "conv3"), Feature("vgg16", transfer)]
    at.multiselect(key="networks").set_value(["vgg16"])
    settled(at.run())
    assert at.multiselect(key="features").value == [Feature("vgg16", transfer)]
    boxes = component(at, "photo second")["boxes"]
    assert len({each["colour"] for each in boxes}) == len(boxes)


def test_an_upload_is_shown_from_this_sessions_memory(at):
    image = SECOND.load()[:, ::-1].copy()
    uploaded(at, photo_2=image)
    assert picture(at, "photo second").shape == image.shape
    assert component(at, "photo second")["alt"] == "photo_2.png, the second photo"


def test_all_points_are_taken_along_as_they_are_shown(open_page, offered, alexnet, capsys):
    open_page("match", match_section="All points at once", field_by="AlexNet conv5", foreground="true")
    whole = [
        matching.describe(photo.load(), [CONV5], network=alexnet, options=REFINED)[CONV5] for photo in (FIRST, SECOND)
    ]
    found = all_points.mutual_matches(*whole)
    rows = list(csv.DictReader(io.StringIO(offered["pairs.csv"]().decode())))
    assert len(rows) == len(found.points)
    written = [[float(row[name]) for name in ("x", "y", "place_x", "place_y")] for row in rows]
    np.testing.assert_allclose(written, np.hstack([found.points, found.places]), atol=1e-3)
    arrays = np.load(io.BytesIO(offered["pairs.npz"]()))
    expected = all_points.principal_colours(*whole, foreground=True)
    np.testing.assert_allclose(arrays["first_components"], expected[0], atol=1e-6)
    np.testing.assert_allclose(arrays["second_components"], expected[1], atol=1e-6)
    assert decoding.decode(offered["pairs.png"]()).shape[1] > 4 * 300
    exec(compile(offered["python"], "lines", "exec"), {})
    assert capsys.readouterr().out == f"{len(found.points)} pairs\n"


def test_matches_without_what_tells_of_the_place_are_the_packages(open_page, offered, alexnet, capsys):
    at = open_page("match", features="alexnet:conv5", placeless="true")
    options = MatchOptions(refine=True, without_position=8)
    found, _, _ = matches(alexnet, FIRST.load(), SECOND.load(), FIRST.eye, CONV5, options)
    usual, _, _ = matches(alexnet, FIRST.load(), SECOND.load(), FIRST.eye, CONV5)
    assert found.similarities[0] != pytest.approx(usual.similarities[0], abs=1e-3)
    assert any(f"{found.similarities[0]:.2f} at" in text and "sure" not in text for text in texts(at))
    exec(compile(offered["python"], "lines", "exec"), {})
    assert [
        float(each) for each in re.findall(r"[\d.]+", capsys.readouterr().out.split("conv5")[1])[:2]
    ] == pytest.approx(found.places[0], abs=1e-3)


def test_how_sure_a_match_is_is_what_the_package_says(at, alexnet):
    calibration = confidence.known(CONV4, network=alexnet, options=REFINED)
    assert calibration is not None
    found, _, _ = matches(alexnet, FIRST.load(), SECOND.load(), FIRST.eye, CONV4)
    [sure] = calibration.confidence(found, options=REFINED, longer_side=max(FIRST.load().shape))
    assert any(text.startswith(f"**{sure:.0%} sure**: {found.similarities[0]:.2f}") for text in texts(at))
