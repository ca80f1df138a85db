"""`corrcore match`: its table, lines and files are what the task finds, and what it refuses is a sentence."""

import argparse
import csv
import io
import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from corrcore.cli import match, match_files
from corrcore.datasets.points import open_points
from corrcore.tasks import confidence, matching
from corrcore.tasks.matching import MatchOptions
from tests.cli.matched import CONV4, POINTS, QUICK, check_records, expected, window

# --- What is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [{}, {"refine": True}, {"method": "mrf", "smoothness": 0.2, "iterations": 3}, {"without_position": 3}],
    ids=str,
)
def test_lines_of_json_are_what_the_task_finds(run, pair, alexnet, capsys, how):
    words = [
        ("--refine",) if name == "refine" else (f"--{name.replace('_', '-')}", value) for name, value in how.items()
    ]
    words = [word for some in words for word in some]
    assert run("match", *pair[:2], *QUICK, "--points", pair[2], "--points", "120.5,80", "--json", *words) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ["1", *POINTS]
    check_records(records, expected(alexnet, [(120.5, 80), *POINTS.values()], **how), names)
    assert {(each["pair"], each["source"], each["target"]) for each in records} == {
        ("a.png to b.png", "a.png", "b.png")
    }
    assert {each["method"] for each in records} == {how.get("method", "nn")}
    assert [records[0]["at"], records[-1]["at"]] == [[120.5, 80], [150, 140]]


def test_the_table_has_a_row_per_point_and_feature(run, pair, alexnet, capsys):
    assert run("match", *pair[:2], *QUICK, "--points", "120,100", "--points", " 200.5, 90.25", "--features=conv4") == 0
    said = capsys.readouterr()
    heading, *lines = said.out.splitlines()
    assert heading.split("  ")[1] == "point"
    assert "pair" not in heading
    found = expected(alexnet, [(120, 100), (200.5, 90.25)], [CONV4])[CONV4]
    assert len(lines) == 2
    for number, line in enumerate(lines):
        x, y = found.places[number]
        assert line.split() == [
            *(str(number + 1), *(("120.0,", "100.0"), ("200.5,", "90.2"))[number], "alexnet:conv4"),
            *(f"{x:.1f},", f"{y:.1f}", f"{found.similarities[number]:.3f}", f"{found.margins[number]:.3f}"),
            *(f"{found.cycle_errors[number]:.1f}", "px", "yes" if found.mutual[number] else "no"),
        ]
    assert "100.0%  a.png to b.png" in said.err


def test_confidences_are_told_of_features_that_have_one(run, pair, alexnet, capsys, tmp_path):
    """Of conv4 one comes along; of conv1 there is none."""
    words = ("match", *pair[:2], "--points", "120,100", "--features=conv1,conv4", "--refine")
    assert run(*words, "--json", "--out", tmp_path / "it.npz") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    options = MatchOptions(refine=True)
    calibration = confidence.known(CONV4, network=alexnet, options=options)
    assert calibration is not None
    source, target = (
        matching.describe(photo, [CONV4], network=alexnet, options=options)[CONV4]
        for photo in (window(96, 96), window(128, 80))
    )
    found = matching.match_points(source, target, np.array([[120.0, 100.0]]), options=options)
    [expected] = calibration.confidence(found, options=options, longer_side=320.0)
    assert [each["confidence"] for each in lines] == [None, pytest.approx(expected, abs=1e-3)]
    with np.load(tmp_path / "it.npz") as arrays:
        assert np.isnan(arrays["alexnet:conv1_confidences"]).all()
        np.testing.assert_allclose(arrays["alexnet:conv4_confidences"], [expected], atol=1e-6)
    assert run(*words) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[-1] == "confidence"
    assert [row.split()[-1] for row in rows] == ["none", f"{expected:.0%}"]


def test_the_confidence_column_is_there_where_every_place_is_surely_wrong():
    record = {
        **dict.fromkeys(("pair", "point", "feature"), "it"),
        **dict.fromkeys(("at", "place"), (1.0, 2.0)),
        **dict.fromkeys(("similarity", "margin", "cycle_error"), 0.5),
        "mutual": False,
    }
    assert [row["confidence"] for row in match_files.table_rows([record | {"confidence": 0.0}])] == ["0%"]
    assert "confidence" not in match_files.table_rows([record | {"confidence": None}])[0]


def test_values_may_be_negative_and_names_of_photos_begin_so(run, pair, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(pair[0], "-1.png")
    words = ("match", *QUICK, "--features", "conv4", "--json")
    assert run(*words, "--points", "120,100", "--", "-1.png", "b.png") == 0
    assert json.loads(capsys.readouterr().out)["source"] == "-1.png"
    for given in ("-5,3", "-.75,100", "-5.25,-3"):
        assert run(*words, "--points", given, "--", "-1.png", "b.png") == 2
        assert "is outside -1.png" in capsys.readouterr().err
    assert run(*words, "-5,3", "a.png", "b.png") == 2  # --json takes no value
    assert "got -5,3 a.png b.png." in capsys.readouterr().err


def test_alignments_tell_margins_of_energy_and_no_confidence_where_none_was_learnt(run, pair, capsys):
    words = ("match", *pair[:2], *QUICK, "--points", "120,100", "--features=conv4")
    for method, there in (("mrf", True), ("nn", False)):
        assert run(*words, "--method", method, "--json") == 0
        [record] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (record["min_marginal_margin"] is not None) == there
        assert record["confidence"] is None


def test_what_there_is_not_is_null_in_lines_and_empty_in_files(run, pair, capsys, tmp_path):
    """One cell has no runner-up."""
    words = ("match", *pair[:2], "--points", "9,9", "--features", "conv4", "--longer-side", 40)
    assert run(*words, "--json", "--out", tmp_path / "it.csv") == 0
    said = capsys.readouterr()
    [record] = map(json.loads, said.out.splitlines())
    assert (record["runner_up"], record["runner_up_similarity"], record["margin"]) == (None, None, None)
    [line] = csv.DictReader(io.StringIO((tmp_path / "it.csv").read_text()))
    assert {line[name] for name in ("runner_up_x", "runner_up_y", "runner_up_similarity", "margin")} == {""}
    assert f"written to {tmp_path / 'it.csv'}" in said.err  # among lines of JSON there is nothing else
    assert run(*words) == 0
    assert " none " in capsys.readouterr().out


def test_features_are_the_networks_for_transfer_and_sift_unless_given(run, pair, capsys):
    words = ("match", *pair[:2], *QUICK, "--points", "120,100", "--json")
    for features in ((), ("--features", "conv4,alexnet:conv4,sift20,sift20.0")):
        assert run(*words, *features) == 0
        records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [each["feature"] for each in records] == ["alexnet:conv4", "sift20"]
    assert run(*words, "--network", "tests.cli.test_match_pairs:make_counting") == 0
    assert [json.loads(line)["feature"] for line in capsys.readouterr().out.splitlines()] == ["alexnet:conv4", "sift20"]


def test_defaults_are_those_of_the_dataclass():
    parser = argparse.ArgumentParser()
    match.add_parsers(parser.add_subparsers())
    options = parser.parse_args(["match", "a.png", "b.png"])
    for each in fields(MatchOptions):
        if each.name != "extent":  # there are no boxes
            assert getattr(options, each.name) == each.default


def test_places_that_are_hardly_right_are_hidden_in_keypoints_and_nowhere_else(run, pair, capsys, tmp_path):
    words = ("match", *pair[:2], "--points", pair[2], "--features=conv1,conv4", "--refine")
    assert run(*words, "--json", "--out", tmp_path / "all.json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    known = {each["point"]: each["confidence"] for each in records if each["feature"] == "alexnet:conv4"}
    least = sorted(known.values())[1]  # of three, which differ
    for suffix in ("json", "csv"):
        assert run(*words, "--out", tmp_path / f"it.{suffix}", "--at-least", least) == (0 if suffix == "json" else 2)
    said = capsys.readouterr()
    assert len([line for line in said.out.splitlines() if " alexnet:conv4 " in line]) == 3
    assert "no confidence is known of alexnet:conv1 matched so; all its points are hidden in it.json" in said.out
    assert "conv4 matched so" not in said.out
    assert "--at-least hides points of COCO keypoints; give --out a .json file." in said.err
    [annotation] = json.loads((tmp_path / "it.json").read_text())["annotations"]  # conv1 has none left
    assert annotation["feature"] == "alexnet:conv4"
    assert annotation["confidences"] == list(known.values())
    assert annotation["keypoints"][2::3] == [2 * (each >= least) for each in known.values()]
    found = open_points(tmp_path / "it.json")("b.png")
    assert found.names == tuple(name for name, each in known.items() if each >= least)
    first, second = json.loads((tmp_path / "all.json").read_text())["annotations"]
    assert first["keypoints"][2::3] == second["keypoints"][2::3] == [2, 2, 2]
    assert "score" not in first
    assert second["score"] == pytest.approx(np.mean(list(known.values())), abs=1e-3)


# --- What is written -------------------------------------------------------------------------------------------------


def test_files_have_what_is_told(run, pair, alexnet, capsys, tmp_path):
    told = {}
    for suffix in ("csv", "json", "npz"):
        out = tmp_path / f"it.{suffix}"
        assert run("match", *pair[:2], *QUICK, "--points", pair[2], "--out", out, "--json") == 0
        told[suffix] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told["csv"] == told["json"] == told["npz"]
    records, found = told["csv"], expected(alexnet, list(POINTS.values()))
    lines = list(csv.DictReader(io.StringIO((tmp_path / "it.csv").read_text())))
    for line, record in zip(lines, records, strict=True):
        assert [float(line["x"]), float(line["y"])] == record["at"]
        assert [float(line["place_x"]), float(line["place_y"])] == record["place"]
        assert [float(line["runner_up_x"]), float(line["runner_up_y"])] == record["runner_up"]
        for name in ("similarity", "runner_up_similarity", "margin", "cycle_error"):
            assert float(line[name]) == record[name]
        assert json.loads(line["mutual"]) is record["mutual"]
        assert {name: line[name] for name in ("pair", "source", "target", "point", "feature", "method")} == {
            name: record[name] for name in ("pair", "source", "target", "point", "feature", "method")
        }
    with np.load(tmp_path / "it.npz") as arrays:
        assert arrays["features"].tolist() == ["alexnet:conv4", "sift20"]
        assert arrays["names"].tolist() == list(POINTS)
        np.testing.assert_array_equal(arrays["points"], list(POINTS.values()))
        for feature, matches in found.items():
            for name in ("places", "runners_up", "similarities", "margins", "returned", "cycle_errors", "mutual"):
                np.testing.assert_allclose(arrays[f"{feature}_{name}"], getattr(matches, name), atol=1e-6)
        assert (arrays["pairs"].tolist(), arrays["pair_of_point"].tolist()) == (["a.png to b.png"], [0, 0, 0])
        assert (arrays["targets"].tolist(), arrays["method"].item()) == (["b.png"], "nn")


def test_keypoints_that_were_written_are_points_to_match_back(run, pair, capsys, tmp_path):
    source, target, points = pair
    assert run("match", source, target, *QUICK, "--points", points, "--out", tmp_path / "it.json", "--json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    read = open_points(tmp_path / "it.json")("b.png")
    assert read.names == (*POINTS, *(f"{name} (2)" for name in POINTS))
    for place, record in zip(read.places, [*records[::2], *records[1::2]], strict=True):
        assert place.tolist() == record["place"]
    plain = json.loads((tmp_path / "it.json").read_text())
    assert [each["feature"] for each in plain["annotations"]] == ["alexnet:conv4", "sift20"]
    assert plain["images"] == [{"id": 1, "file_name": "b.png", "width": 320, "height": 256}]
    assert run("match", target, source, *QUICK, "--points", tmp_path / "it.json", "--features", "conv4") == 0


def test_the_picture_shows_numbers_at_points_and_places(run, pair, alexnet, tmp_path):
    words = ("match", *pair[:2], *QUICK, "--points", pair[2], "--picture", tmp_path / "it.png")
    assert run(*words) == 0
    picture = np.asarray(Image.open(tmp_path / "it.png"))
    scale, (width, height) = 340 / 256, (425, 340)  # of photos of 320 x 256 px, as large as fits 480 x 340
    assert picture.shape[1] == 16 + width + 24 + width + 16
    found = expected(alexnet, list(POINTS.values()))
    for row, matches in enumerate(found.values()):
        top = 16 + 22 + row * (22 + height + 24) + 22
        for left, places in ((16, matches.points), (16 + width + 24, matches.places)):
            x, y = (places[0] + 0.5) * scale + (left, top)
            dot = picture[round(y) - 9 : round(y) + 10, round(x) - 9 : round(x) + 10].reshape(-1, 3)
            n_blue = (dot == (0x00, 0x72, 0xB2)).all(axis=1).sum()
            assert n_blue > 100, (row, left)  # of 254 px; the rest are edge and number
    assert run(*words, "--features", "conv4") == 0
    assert picture.shape[0] - np.asarray(Image.open(tmp_path / "it.png")).shape[0] == 22 + height + 24


# --- What cannot be done ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("a.png",), "match takes two photos, a photo and a folder of photos, or one folder whose subfolders hold"),
        (("a.png", "b.png", "c.png"), "got a.png b.png c.png."),
        ((".", "a.png"), "match takes two photos, a photo and a folder"),
        (("a.png", "."), "--points is missing: give X,Y in pixels of the source, or a file of points"),
        (("a.png", "b.png"), "--points is missing: give X,Y in pixels of the source, or a file of points"),
        (("a.png", "none.png", "--points=1,1"), "'none.png' cannot be read (No such file or directory)"),
        (("a.png", "points.json", "--points=1,1"), "'points.json' is in none of the formats read here"),
        (("a.png", "b.png", "--points=400,1"), "point 1 at (400, 1) is outside a.png, which has 320 x 256 px; x goes "),
        (("a.png", "b.png", "--points=-1,1", "--points=1,1"), "point 1 at (-1, 1) is outside a.png"),
        (("a.png", "b.png", "--points", "1,1", "--points", "-5,3"), "point 2 at (-5, 3) is outside a.png"),
        (("a.png", "b.png", "--points=1,1", "--max-megapixels=0.01"), "more than the 0.0 megapixels accepted"),
        (("a.png", "b.png", "--points=none.csv"), "none.csv cannot be read (No such file or directory)"),
        (("b.png", "a.png", "--points=points.json"), "which points are those of b.png, but none of its 2 images"),
        (("a.png", "b.png", "--points=1,1", "--features=conv9"), "layer of alexnet must be one of conv1"),
        (("a.png", "b.png", "--points=1,1", "--at-least=.5"), "--at-least hides points of COCO keypoints; give --out"),
        (("a.png", "b.png", "--points=1,1", "--out=it.txt"), "--out must end in .csv or .json or .npz; got it.txt."),
        (("a.png", "b.png", "--points=1,1", "--picture=it.gif"), "--picture must end in .png; got it.gif."),
        (("a.png", "b.png", "--points=1,1", "--out=no/it.csv"), "--out must lie in a folder that is there;"),
        (("a.png", "b.png", "--points=1,1", "--method=mrf", "--refine"), "refine is for method nn"),
        (("a.png", "b.png", "--points=1,1", "--longer-side=9"), "at least"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_a_sentence(run, pair, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(pair[0].parent)
    assert run("match", *words) == 2
    *_, told = capsys.readouterr().err.strip().splitlines()
    assert told.startswith("corrcore: ")
    assert sentence in told


@pytest.mark.parametrize("words", [("--points=1;2",), ("--points=1,2,3",), ("--points=it.txt",)], ids=str)
def test_what_is_no_point_is_refused(run, pair, capsys, words):
    with pytest.raises(SystemExit) as stopped:
        run("match", *pair[:2], *words)
    assert stopped.value.code == 2
    assert "must be X,Y in pixels, or a file that ends in .json or .csv; got" in capsys.readouterr().err


def test_a_suffix_is_refused_before_any_work(run, capsys):
    assert run("match", "none.png", "none.png", "--points", "none.json", "--out", "it.tiff") == 2
    assert "--out must end in" in capsys.readouterr().err
