"""Points of one's own on the Match page: what clicks and drags make of them, and that places are the package's."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from corrcore import datasets, decoding
from corrcore.datasets import drawn
from corrcore.datasets.points import NamedPoints, read_points
from corrcore.features import Feature
from corrcore.tasks import matching
from corrcore.tasks.matching import MatchOptions
from corrcore.tasks.points_transfer import transfer_points
from dashboard import first_views
from dashboard.app_pages.match_parts import point_set
from dashboard.app_pages.match_parts.other_photos import InPhoto, Transferred
from dashboard.app_pages.match_parts.photo import Photo
from tests.dashboard.conftest import component, keys, offered_as, send, settled

NAMES = first_views.MATCHED
FIRST, SECOND = (drawn.unseen()[name] for name in NAMES)
CONV4 = Feature("alexnet", "conv4")
SET = "122,126,L_Eye;104,167,my throat"
PLACES = np.array([[122.0, 126], [104, 167]])
OPTIONS = MatchOptions(refine=True)


def matched(alexnet, points, feature=CONV4):
    first, second = (
        matching.describe(photo.load(), [feature], network=alexnet, options=OPTIONS)[feature]
        for photo in (FIRST, SECOND)
    )
    return matching.match_points(first, second, np.asarray(points, float), options=OPTIONS)


def annotated(name):
    data = datasets.open_dataset("toy")
    [found] = [one for one in data.instances("toy cat", "val") if one.name == name]
    return data.keypoint_names["toy cat"], found


@pytest.fixture
def at(open_page):
    return open_page("match", match_section="Your points", points=SET)


def asked(at) -> str:
    value = at.query_params.get("points", "")
    return value if isinstance(value, str) else value[-1]


def test_points_of_a_link_are_where_the_package_finds_them_beside_the_annotation(at, alexnet):
    assert [each["at"] for each in component(at, "points first")["points"]] == PLACES.tolist()
    found = matched(alexnet, PLACES)
    rings, dots = [], []
    for each in component(at, "points second")["points"]:
        (rings if each["ring"] else dots).append(each)
    np.testing.assert_allclose([each["at"] for each in dots], found.places, atol=1e-6)
    assert [each["label"] for each in dots] == ["L_Eye", "my throat"]
    names, second = annotated(NAMES[1])
    np.testing.assert_allclose([each["at"] for each in rings], [second.keypoints[names.index("L_Eye")]])


def test_a_click_sets_another_point_and_one_on_a_point_looks_closer_at_it(at, click):
    click(at, "points first", 200, 210)
    settled(at)
    assert asked(at) == SET + ";200,210,1"
    assert [each["chosen"] for each in component(at, "points first")["points"]] == [False, False, True]
    click(at, "points first", 104, 167)
    settled(at)
    assert asked(at) == SET + ";200,210,1"
    assert [each["chosen"] for each in component(at, "points first")["points"]] == [False, True, False]
    at.segmented_control(key="match_section").set_value("The point")
    settled(at.run())
    assert component(at, "photo first")["selected"] == [104, 167]


def test_a_dragged_point_moves_alone_and_one_that_there_is_not_moves_nothing(at):
    send(at, "points first", [{"x": 60, "y": 80, "id": 1, "to": None, "point": 1}])
    settled(at)
    assert asked(at) == "122,126,L_Eye;60,80,my throat"
    before = asked(at)
    send(at, "points first", [{"x": 1, "y": 1, "id": 2, "to": None, "point": 7}])
    settled(at)
    assert asked(at) == before


def test_annotated_keypoints_become_points_and_right_ones_are_counted(at, alexnet):
    names, first = annotated(NAMES[0])
    _, second = annotated(NAMES[1])
    [button] = [each for each in at.button if each.label.startswith("Its annotated keypoints")]
    assert button.label == f"Its annotated keypoints ({first.visible.sum()})"
    settled(button.click().run())
    assert len(component(at, "points first")["points"]) == first.visible.sum()
    found = matched(alexnet, first.keypoints[first.visible].round(2))
    off = np.linalg.norm(found.places - second.keypoints[first.visible], axis=1)
    both = second.visible[first.visible]
    right = (off[both] <= 0.1 * (max(second.size) - 1)).sum()
    [said] = [each.value for each in at.caption if each.value.startswith("Right within")]
    assert f"of {both.sum()} points that both photos show: conv4 {right};" in said
    assert component(at, "points first")["points"][0]["label"] == "1"  # so many names would hide the photo
    assert names[0] in asked(at)


def test_another_first_photo_has_no_points(at, click):
    click(at, "gallery first", 5, 5)
    settled(at)
    assert not asked(at)
    assert any("set a point" in info.value for info in at.info)
    assert "points second" in keys(at)


@pytest.mark.parametrize("points", ["1,2", "a,b,c", "1,2,x;3,4,x", "9999,2,x", "1,2, ", "nan,1,x", ";"])
def test_a_link_with_points_that_are_none_says_so(open_page, points):
    at = open_page("match", match_section="Your points", points=points)
    assert any("which are not points of this photo" in warning.value for warning in at.warning)
    assert component(at, "points first")["points"] == []


def test_points_are_taken_along_as_they_are_shown(offered, at, alexnet, capsys):
    found = matched(alexnet, PLACES)
    rows = [
        row for row in csv.DictReader(io.StringIO(offered["points.csv"]().decode())) if row["feature"] == str(CONV4)
    ]
    assert [row["point"] for row in rows] == ["L_Eye", "my throat"]
    written = [[float(row["place_x"]), float(row["place_y"])] for row in rows]
    np.testing.assert_allclose(written, found.places, atol=1e-3)
    arrays = np.load(io.BytesIO(offered["points.npz"]()))
    np.testing.assert_allclose(arrays["places"][list(arrays["features"]).index(str(CONV4))], found.places, atol=1e-6)
    again = read_points(offered["points.json"](), "points.json")(FIRST.title)
    assert again.names == ("L_Eye", "my throat")
    np.testing.assert_allclose(again.places, PLACES, atol=1e-3)
    assert decoding.decode(offered["points.png"]()).shape[1] > 2 * FIRST.load().shape[1]
    exec(compile(offered["python"], "lines", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" ", 3)[0] for line in said] == ["L_Eye", "my throat"]
    for line, place in zip(said, found.places, strict=True):
        assert [float(each) for each in line.rsplit(" ", 3)[1:3]] == pytest.approx(place, abs=1e-3)


def test_an_object_of_a_data_set_is_matched_with_its_own_keypoints(open_page):
    at = open_page("match", photo_1=f"object:toy:{NAMES[0]}", photo_2=f"object:toy:{NAMES[1]}")
    assert component(at, "photo first")["alt"].startswith(annotated(NAMES[0])[1].photo.name)
    at.segmented_control(key="match_section").set_value("Your points")
    settled(at.run())
    assert any(each.label.startswith("Its annotated keypoints (") for each in at.button)


POINTS = NamedPoints(("a", "b"), np.array([[1.0, 2], [3, 4]]))
NO_EDITS = {"edited_rows": {}, "added_rows": [], "deleted_rows": []}
PHOTO = Photo(np.zeros((50, 100, 3), np.uint8), "photo", "upload:x", "")


@pytest.mark.parametrize(
    ("changes", "names", "places"),
    [
        ({"edited_rows": {"0": {"Name": "eye"}, "1": {"x": 30}}}, ("eye", "b"), [[1, 2], [30, 4]]),
        ({"deleted_rows": [0]}, ("b",), [[3, 4]]),
        ({"added_rows": [{"Name": "c"}, {"x": 5, "y": 6.5}]}, ("a", "b", "1"), [[1, 2], [3, 4], [5, 6.5]]),
        ({"deleted_rows": [1], "added_rows": [{"Name": "b", "x": 0, "y": 0}]}, ("a", "b"), [[1, 2], [0, 0]]),
        ({}, ("a", "b"), [[1, 2], [3, 4]]),
    ],
)
def test_edits_of_the_table_are_edits_of_the_points(changes, names, places):
    found = point_set.edited(POINTS, POINTS.names, {**NO_EDITS, **changes}, PHOTO)
    assert found.names == names
    assert found.places.tolist() == places
    assert point_set.of_link(point_set.to_link(found)).places.tolist() == places


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"edited_rows": {"1": {"Name": "a"}}}, "names of points must differ"),
        ({"edited_rows": {"1": {"x": 100}}}, "outside photo, which has 100 x 50 px"),
        ({"edited_rows": {"1": {"x": None}}}, "x and y of a point must be numbers"),
        ({"edited_rows": {"0": {"Name": "n" * 61}}}, "60 printable characters at most"),
        ({"added_rows": [{"x": 1, "y": 1}] * 59}, "60 points at most are set at a time; got 61"),
    ],
)
def test_edits_that_make_no_points_are_a_sentence(changes, rule):
    with pytest.raises(ValueError, match=rule):
        point_set.edited(POINTS, POINTS.names, {**NO_EDITS, **changes}, PHOTO)


def test_names_of_any_characters_come_back_from_a_link():
    odd = NamedPoints(("1;2", "a,b", "ü ö", "100%", "x&y=z"), np.arange(10.0).reshape(-1, 2))
    again = point_set.of_link(point_set.to_link(odd))
    assert again.names == odd.names
    np.testing.assert_array_equal(again.places, odd.places)


def cats_beside(name):
    data = datasets.open_dataset("toy")
    return [one.photo for split in ("train", "val") for one in data.instances("toy cat", split) if one.name != name]


def test_points_are_found_in_other_photos_of_the_data_set(offered, open_page):
    at = open_page("match", match_section="Your points", points=SET, field_by="AlexNet conv4")
    at.toggle(key="others_of_its_set").set_value(True).run()
    assert not at.exception
    assert "points.csv" in offered  # whatever becomes of the others
    [find] = [each for each in at.button if each.label.startswith("Find ")]
    assert find.label == "Find 2 points in 24 photos"
    settled(find.click().run())
    shown = [each.proto.imgs[0].caption for each in at.get("image") if each.proto.imgs[0].caption]
    assert shown == [photo.name for photo in cats_beside(NAMES[0])[:24]]


def test_points_in_other_photos_are_taken_along_by_name(alexnet):
    photos = cats_beside(NAMES[0])[:3]
    found = [
        InPhoto(each.photo.name, each.size, each.matches[CONV4], np.zeros((1, 1, 3), np.uint8))
        for each in transfer_points(FIRST.load(), PLACES, photos, [CONV4], network=alexnet, options=OPTIONS)
    ]
    done = Transferred(FIRST.title, ("L_Eye", "my throat"), CONV4, "nn", found, [])
    rows = list(csv.DictReader(io.StringIO(done.table_csv().decode())))
    assert [row["target"] for row in rows[::2]] == [photo.name for photo in photos]
    read = read_points(done.coco(), "transferred.json")
    for number, photo in enumerate(photos):
        source, there = (
            matching.describe(pixels, [CONV4], network=alexnet, options=OPTIONS)[CONV4]
            for pixels in (FIRST.load(), photo.load())
        )
        places = matching.match(source, there, PLACES, options=OPTIONS)
        written = [[float(row["place_x"]), float(row["place_y"])] for row in rows[2 * number : 2 * number + 2]]
        np.testing.assert_allclose(written, places, atol=1e-3)
        np.testing.assert_allclose(read(photo.name).places, places, atol=1e-3)
        assert read(photo.name).names == ("L_Eye", "my throat")


@pytest.mark.parametrize(
    "changes",
    [
        None,
        "x",
        {},
        {"edited_rows": []},
        *({**NO_EDITS, "edited_rows": each} for each in ({"9": {"x": 1}}, {"0": 5}, {"a": {"x": 1}})),
        {**NO_EDITS, "added_rows": [5, None]},
        {**NO_EDITS, "deleted_rows": [7, "a", None]},
    ],
)
def test_what_are_no_edits_of_the_table_change_nothing(changes):
    found = point_set.edited(POINTS, POINTS.names, changes, PHOTO)
    assert (found.names, found.places.tolist()) == (POINTS.names, POINTS.places.tolist())


def test_edits_are_of_the_rows_that_were_shown_whatever_was_set_since():
    more = NamedPoints(("new", *POINTS.names), np.vstack([[9.0, 9], POINTS.places]))
    found = point_set.edited(
        more, POINTS.names, {**NO_EDITS, "edited_rows": {"1": {"x": 30}}, "deleted_rows": [0]}, PHOTO
    )
    assert found.names == ("new", "b")
    assert found.places.tolist() == [[9, 9], [30, 4]]


def test_a_table_of_thousands_is_refused_before_it_is_read():
    rows = {**NO_EDITS, "added_rows": [{"x": 1, "y": 1}] * 50_000}
    with pytest.raises(ValueError, match="60 points at most are set at a time; got 50,002"):
        point_set.edited(POINTS, POINTS.names, rows, PHOTO)


def test_names_that_no_link_holds_are_refused_with_a_remedy():
    many = NamedPoints(tuple(f"{'目' * 50}{number}" for number in range(40)), np.ones((40, 2)))
    with pytest.raises(ValueError, match="too long for a link to hold all of them; shorten some"):
        point_set.checked(many, PHOTO)


def test_places_of_large_photos_are_exact_in_links():
    far = NamedPoints(("a",), np.array([[12345.25, 60001.5]]))
    assert point_set.to_link(far) == "12345.25,60001.5,a"


def test_clicks_and_drags_that_come_together_are_all_kept(at):
    clicks = [{"x": 60, "y": 60, "id": 1}, {"x": 70, "y": 70, "id": 2}, {"x": 20, "y": 30, "id": 3, "point": 0}]
    send(at, "points first", [{"to": None, "point": None, **each} for each in clicks])
    settled(at)
    assert asked(at) == "20,30,L_Eye;104,167,my throat;60,60,1;70,70,2"


def test_a_photo_of_a_data_set_that_cannot_be_read_says_so(open_page):
    class Damaged:
        name, stamp = "damaged.jpg", "1"

        def load(self):
            raise decoding.ImageError("damaged.jpg is damaged; replace it.")

    data = datasets.open_dataset("toy")
    _, one = annotated(NAMES[0])
    broken = replace(data, splits={("toy cat", "val"): [replace(one, photo=Damaged())]})
    with offered_as("broken", broken):
        at = open_page("match", photo_1=f"object:broken:{NAMES[0]}")
    assert any("is damaged; replace it" in error.value for error in at.error)
