"""Named points: files as people have them are read and written exactly, and all others are a sentence."""

import inspect
import json
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corrcore.datasets.points import (
    MAX_BYTES,
    MAX_POINTS,
    AnnotatedPhoto,
    NamedPoints,
    joined,
    open_points,
    to_coco,
)

NAMES = ["nose", "left eye", "tail"]


def coco(**changes):
    """A photo of two animals and one without; changes replace a list."""
    return {
        "images": [{"id": 3, "file_name": "a.jpg"}, {"id": 4, "file_name": "sub/b.jpg"}],
        "annotations": [
            {"image_id": 3, "category_id": 1, "keypoints": [10, 20.5, 2, 0, 0, 0, 30, 40, 1]},
            {"image_id": 3, "category_id": 1, "keypoints": [11, 21, 2, 1, 2, 2, 0, 0, 0]},
            {"image_id": 3, "category_id": 1, "bbox": [0, 0, 5, 5]},
            {"image_id": 4, "category_id": 1, "keypoints": [1, 2, 2, 0, 0, 0, 0, 0, 0]},
        ],
        "categories": [{"id": 1, "name": "cat", "keypoints": NAMES}],
        **changes,
    }


@pytest.fixture
def written(tmp_path):
    """Writes a file, JSON unless it is text or bytes already; its path."""

    def write(content, name="points.json"):
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        return path

    return write


# --- What is read ----------------------------------------------------------------------------------------------------


def test_keypoints_of_the_photo_are_read_without_hidden_ones_and_objects_are_told_apart(written):
    points = open_points(written(coco()))("a.jpg")
    assert points.names == ("nose", "tail", "nose (2)", "left eye")
    np.testing.assert_array_equal(points.places, [[10, 20.5], [30, 40], [11, 21], [1, 2]])


@pytest.mark.parametrize("photo", ["sub/b.jpg", "b.jpg", "elsewhere/b.jpg"])
def test_an_image_is_found_by_its_whole_name_or_its_last_part(written, photo):
    assert open_points(written(coco()))(photo).names == ("nose",)


def test_the_whole_name_goes_before_the_last_part(written):
    images = [{"id": 3, "file_name": "x/a.jpg"}, {"id": 4, "file_name": "y/a.jpg"}]
    points_of = open_points(written(coco(images=images)))
    assert len(points_of("x/a.jpg")) == 4
    assert len(points_of("y/a.jpg")) == 1
    with pytest.raises(ValueError, match="must say which points are those of a.jpg, but several images are named so"):
        points_of("a.jpg")


def test_the_only_image_is_any_photo(written):
    points_of = open_points(written(coco(images=[{"id": 4, "file_name": "b.jpg"}])))
    assert points_of("another.png").names == ("nose",)


def test_the_only_image_is_that_photo_alone_where_several_are_asked_for(written):
    points_of = open_points(written(coco(images=[{"id": 4, "file_name": "b.jpg"}])), only_named=True)
    assert points_of("sub/b.jpg").names == ("nose",)
    with pytest.raises(ValueError, match=r"points are those of another.png, but its only image is b\.jpg; correct"):
        points_of("another.png")


@pytest.mark.parametrize("text", ["name,x,y\nnose,1.5,2\n tail , 3,-0.25\n", "nose,1.5,2\r\n\r\ntail,3,-0.25"])
def test_lines_are_read_with_a_heading_or_without(written, text):
    points = open_points(written("\ufeff" + text, "points.CSV"))("any photo")
    assert points.names == ("nose", "tail")
    np.testing.assert_array_equal(points.places, [[1.5, 2], [3, -0.25]])


# --- What is written is read again ------------------------------------------------------------------------------------

PRINTABLE = st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and text == text.strip())
PLACES = st.tuples(*[st.integers(-4_000_000, 4_000_000).map(lambda n: n / 1000)] * 2)


def named(points):
    return NamedPoints(tuple(points), np.array(list(points.values()), float).reshape(-1, 2))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(points=st.dictionaries(PRINTABLE, PLACES, min_size=1, max_size=5))
def test_points_come_back_from_both_kinds_of_file(written, points):
    wanted = named(points)
    text = to_coco([AnnotatedPhoto("a.jpg", (60, 40), {"conv4": wanted})])
    for path in (written(wanted.to_csv(), "points.csv"), written(text)):
        found = open_points(path)("a.jpg")
        assert found.names == wanted.names
        np.testing.assert_array_equal(found.places, wanted.places)


def test_a_written_file_has_an_annotation_per_feature_with_its_box():
    one, two = named({"nose": (10.0, 20.00049), "tail": (30.5, 5.0)}), named({"nose": (1.0, 2.0), "tail": (1.0, 2.0)})
    plain = json.loads(
        to_coco(
            [
                AnnotatedPhoto("a.jpg", (60, 40), {"conv4": one, "sift20": two}),
                AnnotatedPhoto("b.jpg", (50, 30), {"conv4": named({"other": (4.0, 5.0)})}),
            ]
        )
    )
    assert plain["images"] == [
        {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40},
        {"id": 2, "file_name": "b.jpg", "width": 50, "height": 30},
    ]
    assert [each["keypoints"] for each in plain["categories"]] == [["nose", "tail"], ["other"]]
    first, second, third = plain["annotations"]
    assert first["keypoints"] == [10, 20.0, 2, 30.5, 5, 2]
    assert (first["bbox"], first["area"], first["num_keypoints"]) == ([10, 5, 21.5, 16], 21.5 * 16, 2)
    assert (second["feature"], second["bbox"], second["category_id"]) == ("sift20", [1, 2, 1, 1], 1)
    assert (third["image_id"], third["category_id"], third["id"]) == (2, 2, 3)


def test_a_written_file_says_how_probably_points_are_right_and_hides_those_that_hardly_are(written):
    points = named({"nose": (10.0, 20.0), "tail": (30.0, 5.0), "eye": (1.0, 2.0), "ear": (12.0, 30.0)})
    photo = AnnotatedPhoto("a.jpg", (60, 40), {"conv4": points}, {"conv4": np.array([0.9, 0.4999, np.nan, 0.5])})
    [all_of_them] = json.loads(to_coco([photo]))["annotations"]
    assert all_of_them["keypoints"][2::3] == [2, 2, 2, 2]
    assert all_of_them["confidences"] == [0.9, 0.5, None, 0.5]
    assert all_of_them["score"] == 0.633
    text = to_coco([photo], at_least=0.5)
    [sure] = json.loads(text)["annotations"]
    assert sure["keypoints"] == [10, 20, 2, 0, 0, 0, 0, 0, 0, 12, 30, 2]
    assert (sure["bbox"], sure["num_keypoints"], sure["score"]) == ([10, 20, 3, 11], 2, 0.7)
    assert open_points(written(text))("a.jpg").names == ("nose", "ear")
    none_left = json.loads(to_coco([photo], at_least=0.95))
    assert (none_left["annotations"], len(none_left["images"]), len(none_left["categories"])) == ([], 1, 1)
    unknown = replace(photo, confidences={"conv4": np.full(4, np.nan)})
    for each in (unknown, replace(photo, confidences={})):
        [plain] = json.loads(to_coco([each]))["annotations"]
        assert not {"score", "confidences"} & set(plain)
        assert json.loads(to_coco([each], at_least=0))["annotations"] == []


# --- Points ----------------------------------------------------------------------------------------------------------


def test_names_that_are_taken_get_numbers():
    found = joined([named({"1": (1, 1), "a": (2, 2), "a (2)": (3, 3)}), named({"a": (4, 4)}), named({"a": (5, 5)})])
    assert found.names == ("1", "a", "a (2)", "a (3)", "a (4)")
    np.testing.assert_array_equal(found.places[:, 0], [1, 2, 3, 4, 5])


def test_the_pixels_of_the_outermost_places_are_inside():
    named({"a": (-0.5, -0.5), "b": (59.5, 39.5)}).check_inside((60, 40), "a.jpg")
    with pytest.raises(ValueError, match=r"^point b at \(59\.6, 3\) is outside a\.jpg, which has 60 x 40 px; x goes "):
        named({"a": (1, 1), "b": (59.6, 3)}).check_inside((60, 40), "a.jpg")
    with pytest.raises(ValueError, match=r"^2 points, the first a at \(1, -1\), are outside"):
        named({"a": (1, -1), "b": (60, 3)}).check_inside((60, 40), "a.jpg")


@pytest.mark.parametrize(
    ("names", "places", "complaint"),
    [
        (("a",), np.zeros((2, 2)), r"places must be of shape \(1, 2\), an x and a y per name; got \(2, 2\)\.$"),
        (("a",), np.zeros(2), r"places must be of shape \(1, 2\)"),
        (("a", "a"), np.zeros((2, 2)), "names of points must differ; a is there twice"),
        (("",), np.zeros((1, 2)), "a point's name must be a text, not empty"),
        (("a\n",), np.zeros((1, 2)), "without spaces around it"),
        (("a" * 61,), np.zeros((1, 2)), "must be of 60 printable characters at most"),
        (("a\x07b",), np.zeros((1, 2)), r"printable characters at most; got a\\x07b"),
        (("a",), np.array([[np.nan, 1]]), "places of points must be finite"),
        (("a",), np.array([[np.inf, 1]]), "places of points must be finite"),
    ],
)
def test_points_that_cannot_be_are_refused(names, places, complaint):
    with pytest.raises(ValueError, match=complaint):
        inspect.unwrap(NamedPoints.__init__)(object.__new__(NamedPoints), names, places)  # unchecked by tests


# --- What is no file of points ---------------------------------------------------------------------------------------


def cat(*keypoints, **changes):
    return coco(annotations=[{"image_id": 3, "category_id": 1, "keypoints": list(keypoints), **changes}])


MANY = {"id": 1, "keypoints": [f"n{n}" for n in range(MAX_POINTS + 1)]}
LONE = {"image_id": 3, "category_id": 1, "keypoints": [1, 2, 2] * (MAX_POINTS + 1)}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "points.json is no usable JSON (Expecting property name"),
        ("[" * 100_000, "points.json is no usable JSON ("),
        (b"\xff\xfe\xfd", "points.json is no usable JSON ("),
        ("[]", "it must hold an object with images, annotations and categories, as COCO has them; got []"),
        ("null", "as COCO has them; got None, so correct it."),
        ({}, "images must be a list, as in COCO's keypoints; got None"),
        (coco(images=[{"id": 1}]), "images[0] must have file_name; got {'id': 1}"),
        (coco(images=[3]), "images[0] must have file_name; got 3"),
        (coco(images=[{"file_name": "a.jpg"}]), "the image a.jpg must have an id; got None"),
        (coco(images=[{"id": [1], "file_name": "a.jpg"}]), "the image a.jpg must have an id; got [1]"),
        (coco(images=[]), "which points are those of a.jpg, but none of its 0 images is named so"),
        (coco(annotations={}), "annotations must be a list"),
        (coco(annotations=[{"image_id": {}}]), "annotations[0] must have image_id"),
        (coco(annotations=[]), "points.json for a.jpg has no point that is not hidden; give at least one."),
        (cat(0, 0, 0, 0, 0, 0, 0, 0, 0), "for a.jpg has no point that is not hidden"),
        (cat(1, 2, 2), "keypoints must be x, y and v for each of the category's 3 names; got 3 numbers"),
        (cat(1, 2, 3, *[0] * 6), "v of nose must be 0 (hidden), 1 or 2; got 3"),
        (cat(1, 2, "2", *[0] * 6), "v of nose must be 0 (hidden), 1 or 2; got 2"),
        (cat(1, 2, True, *[0] * 6), "v of nose must be 0 (hidden), 1 or 2; got True"),
        (cat(float("nan"), 2, 2, *[0] * 6), "x and y of nose must be finite numbers, or its v 0; got [nan, 2]"),
        (cat(1, float("-inf"), 2, *[0] * 6), "x and y of nose must be finite numbers, or its v 0; got [1, -inf]"),
        (cat(1, 10**400, 2, *[0] * 6), "x and y of nose must be finite numbers"),
        (cat(None, [1], 2, *[0] * 6), "got [None, [1]]"),
        (cat(1, 2, 2, category_id=9), "category_id must be that of one category; got 9"),
        (cat(1, 2, 2, category_id=[]), "category_id must be that of one category; got []"),
        (coco(categories=[{"id": 1}]), "the category 1 must name its keypoints; got None"),
        (coco(categories=[{"id": 1, "keypoints": [1, 2, 3]}]), "a keypoint's name must be a text, not empty"),
        (coco(categories=[{"id": 1, "keypoints": ["a", "b", "a"]}]), "must differ; a is there twice, so rename one."),
        (coco(categories=[{"id": 1, "keypoints": ["a", "\ud800", "b"]}]), "printable characters at most; got \\ud800"),
        (coco(categories=[MANY], annotations=[LONE]), "a photo may have 1,000 points at most"),
        (b" " * (MAX_BYTES[".json"] + 1), "is larger than the 32 MiB accepted of points"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_file_of_keypoints_is_a_sentence(written, content, complaint):
    path = written(content)
    with pytest.raises(ValueError) as refused:
        open_points(path)("a.jpg")
    check_sentence(refused.value, path, complaint)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "points.csv has no point that is not hidden"),
        ("name,x,y\n", "points.csv has no point that is not hidden"),
        ("nose,1\n", "points.csv, line 1: it must be name,x,y; got nose,1, so correct it."),
        ("nose;1;2\n", "line 1: it must be name,x,y; got nose;1;2"),
        ("nose,1,2\ntail,1,2,3\n", "line 2: it must be name,x,y; got tail,1,2,3"),
        ("nose,1,x\n", "line 1: x and y must be finite numbers; got x, so correct it or leave the point out."),
        ("nose,1,2\ntail,nan,2", "line 2: x and y must be finite numbers; got nan"),
        ("nose,inf,2", "line 1: x and y must be finite numbers; got inf"),
        ("nose,1e999,2", "got 1e999"),
        ("nose,,2", "line 1: x and y must be finite numbers; got , so"),
        (",1,2", "line 1: a point's name must be a text, not empty"),
        ("nose,1,2\n\ntail,3,4\nnose,3,4", "line 4: names must differ, and nose is in line 1 too; rename one."),
        ("no\x07se,1,2", "printable characters at most; got no\\x07se"),
        ('"nose,1,2', "points.csv is no usable CSV (unexpected end of data)"),
        (b"\xff,1,2", "points.csv is no usable CSV ("),
        ("n" * 200_000 + ",1,2", "points.csv is no usable CSV (field larger than"),
        ("".join(f"n{n},1,2\n" for n in range(MAX_POINTS + 1)), "a photo may have 1,000 points at most"),
        (b" " * (MAX_BYTES[".csv"] + 1), "is larger than the 1 MiB accepted of points"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_file_of_lines_is_a_sentence(written, content, complaint):
    path = written(content, "points.csv")
    with pytest.raises(ValueError) as refused:
        open_points(path)
    check_sentence(refused.value, path, complaint)


def check_sentence(error, path, complaint):
    told = str(error)
    assert complaint in told
    assert told.startswith(str(path))
    assert told.endswith(".")
    assert "\n" not in told
    assert len(told) < len(str(path)) + 300


def test_what_cannot_be_read_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv cannot be read \(No such file or directory\); check that it is"):
        open_points(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"points\.txt: a file of points must end in \.json or \.csv; rename it"):
        open_points(tmp_path / "points.txt")
    os.mkfifo(tmp_path / "pipe.csv")  # nobody writes to it
    with pytest.raises(ValueError, match=r"pipe\.csv is not a regular file"):
        open_points(tmp_path / "pipe.csv")


# --- Whatever a file holds -------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(NAMES)
ANY = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner))
NUMBERS = st.lists(st.sampled_from([0, 1, 2, 2.0, 10**400, float("nan"), float("inf"), None, "1"]), max_size=9)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from([1, 2, "1", None]) | SCALARS,
        "image_id": st.sampled_from([1, 2]) | SCALARS,
        "category_id": st.sampled_from([1, 2]) | SCALARS,
        "file_name": st.sampled_from(["a.jpg", "x/a.jpg", "b.jpg"]) | SCALARS,
        "keypoints": NUMBERS | st.lists(SCALARS, max_size=4) | st.just(NAMES) | ANY,
    },
)
LISTS = st.lists(OBJECTS, max_size=3) | ANY
NEARLY = st.fixed_dictionaries({}, optional=dict.fromkeys(("images", "annotations", "categories"), LISTS))


def check_only_valueerrors(path):
    """Anything else that is raised fails the test."""
    try:
        points, told = open_points(path)("a.jpg"), ""
    except ValueError as error:
        points, told = None, str(error)
    if points is None:
        assert str(path) in told
        assert "\n" not in told
        return
    assert 0 < len(points) <= MAX_POINTS
    assert np.isfinite(points.places).all()


FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(plain=NEARLY | ANY)
def test_whatever_json_holds_is_points_or_a_sentence(written, plain):
    check_only_valueerrors(written(json.dumps(plain)))


CELLS = st.sampled_from(
    ["name", "x", "y", "nose", "1", "-2.5", "nan", '"', ",", "\n", "\r", "\0", " ", "1e999", "\ufeff"]
)


@FUZZ
@given(text=st.lists(CELLS, max_size=20).map("".join) | st.text(max_size=40), data=st.binary(max_size=40))
def test_whatever_lines_hold_is_points_or_a_sentence(written, text, data):
    check_only_valueerrors(written(text, "points.csv"))
    check_only_valueerrors(written(data, "points.csv"))
    check_only_valueerrors(written(data))
