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

from corrcore import images, networks
from corrcore.cli import match
from corrcore.datasets import toy
from corrcore.datasets.points import open_points
from corrcore.experiments import Context, Pairs
from corrcore.experiments import run as measure
from corrcore.features import Feature
from corrcore.tasks import matching
from corrcore.tasks.matching import MatchOptions
from tests.conftest import relabelled, smooth_noise

HERE = "tests.cli.test_match"
CONV4, SIFT20 = Feature("alexnet", "conv4"), Feature("sift", "20")
POINTS = {"nose": (120.0, 100.0), "left eye": (200.5, 90.25), "tail": (150.0, 140.0)}
QUICK = ("--longer-side", 160)  # a few cells


def window(left, top):
    return smooth_noise(520, 460, seed=3)[top : top + 256, left : left + 320]


def save(path, pixels):
    path.write_bytes(images.encode(pixels, format="PNG"))
    return path


def coco(photo, points):
    """A file of keypoints of a photo; those at None are hidden."""
    flat = [value for place in points.values() for value in ((*place, 2) if place else (0, 0, 0))]
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "another.png"}, {"id": 2, "file_name": photo}],
            "annotations": [{"id": 1, "image_id": 2, "category_id": 1, "keypoints": flat}],
            "categories": [{"id": 1, "name": "it", "keypoints": list(points)}],
        }
    )


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CORRCORE_DATA", raising=False)


@pytest.fixture
def pair(tmp_path):
    """Two windows of one picture, 32 px apart, and points of the first in a file."""
    source, target = save(tmp_path / "a.png", window(96, 96)), save(tmp_path / "b.png", window(128, 80))
    (tmp_path / "points.json").write_text(coco("a.png", {"hidden": None} | POINTS))
    return source, target, tmp_path / "points.json"


def expected(alexnet, points, features=(CONV4, SIFT20), **options):
    """What the task finds of that pair."""
    how = MatchOptions(longer_side=160, **options)
    described = [
        matching.describe(photo, features, network=alexnet, options=how) for photo in (window(96, 96), window(128, 80))
    ]
    at = np.array(points, float)
    return {
        feature: matching.match_points(described[0][feature], described[1][feature], at, options=how)
        for feature in features
    }


def check_records(records, found, names):
    """Lines of JSON have every number of the task."""
    assert [(each["point"], each["feature"]) for each in records] == [
        (name, str(feature)) for name in names for feature in found
    ]
    for number, record in enumerate(records):
        matches, point = found[list(found)[number % len(found)]], number // len(found)
        assert record["place"] == pytest.approx(matches.places[point], abs=5e-4)
        assert record["runner_up"] == pytest.approx(matches.runners_up[point], abs=5e-4)
        assert record["similarity"] == pytest.approx(matches.similarities[point], abs=5e-7)
        assert record["runner_up_similarity"] == pytest.approx(matches.runner_up_similarities[point], abs=5e-7)
        assert record["margin"] == pytest.approx(matches.margins[point], abs=5e-7)
        assert record["cycle_error"] == pytest.approx(matches.cycle_errors[point], abs=5e-4)
        assert record["mutual"] is bool(matches.mutual[point])


# --- What is told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"refine": True}, {"method": "mrf", "smoothness": 0.2, "iterations": 3}], ids=str)
def test_lines_of_json_are_what_the_task_finds(run, pair, alexnet, capsys, how):
    words = [("--refine",) if name == "refine" else (f"--{name}", value) for name, value in how.items()]
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
    assert run(*words, "--network", f"{HERE}:make_counting") == 0
    assert [json.loads(line)["feature"] for line in capsys.readouterr().out.splitlines()] == ["alexnet:conv4", "sift20"]


def test_defaults_are_those_of_the_dataclass():
    parser = argparse.ArgumentParser()
    match.add_parsers(parser.add_subparsers())
    options = parser.parse_args(["match", "a.png", "b.png"])
    for each in fields(MatchOptions):
        if each.name != "extent":  # there are no boxes
            assert getattr(options, each.name) == each.default


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


# --- Folders of pairs ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, pair):
    """Two pairs, of which one has points of its own, and what is none."""
    root = tmp_path / "pairs"
    for name in ("one", "two", "three photos", "broken", "outside", "both", ".hidden", "empty"):
        (root / name).mkdir(parents=True)
    for name in ("one", "broken", "three photos", "outside", "both", ".hidden"):
        shutil.copy(pair[0], root / name / "1.png")
        shutil.copy(pair[1], root / name / "2.png")
    shutil.copy(pair[1], root / "three photos" / "3.png")
    (root / "broken" / "2.png").write_bytes(b"no picture")
    (root / "outside" / "points.csv").write_text("far,400,10\n")
    (root / "both" / "points.csv").write_text("a,40,10\n")
    (root / "both" / "points.json").write_text(coco("1.png", POINTS))
    shutil.copy(pair[1], root / "two" / "from.png")  # the other way round
    shutil.copy(pair[0], root / "two" / "to.png")
    (root / "two" / "points.json").write_text(coco("from.png", POINTS))
    (root / "two" / "notes.txt").write_text("no photo")
    return root


LEFT_OUT = {
    "both": "it has points.json and points.csv; keep one of them.",
    "broken": "'2.png' is in none of the formats read here",
    "empty": "it must hold exactly two photos; it has 0.",
    "outside": "point far at (400, 10) is outside outside/1.png, which has 320 x 256 px; x goes from 0 to 319",
    "three photos": "it must hold exactly two photos; it has 3.",
}


def test_every_subfolder_that_is_a_pair_is_matched_and_others_are_named(run, folder, alexnet, capsys, tmp_path):
    words = ("match", folder, *QUICK, "--points", "120,100", "--features", "conv4")
    assert run(*words, "--json", "--picture", tmp_path / "it.png", "--out", tmp_path / "it.npz") == 0
    said = capsys.readouterr()
    records = [json.loads(line) for line in said.out.splitlines()]
    assert [(each["pair"], each["source"], each["point"]) for each in records] == [
        ("one", "one/1.png", "1"),
        *(("two", "two/from.png", name) for name in POINTS),
    ]
    check_records(records[:1], expected(alexnet, [(120, 100)], [CONV4]), ["1"])
    left_out = dict(line.split(": ", 2)[1:] for line in said.err.splitlines() if line.startswith("left out: "))
    assert list(left_out) == list(LEFT_OUT)
    for name, reason in LEFT_OUT.items():
        assert reason in left_out[name]
    assert (tmp_path / "it-one.png").is_file()
    assert (tmp_path / "it-two.png").is_file()
    with np.load(tmp_path / "it.npz") as arrays:
        assert (arrays["pairs"].tolist(), arrays["pair_of_point"].tolist()) == (["one", "two"], [0, 1, 1, 1])
        np.testing.assert_allclose(arrays["alexnet:conv4_places"], [each["place"] for each in records], atol=5e-4)
    assert run(*words, "--out", tmp_path / "it.json") == 0
    said = capsys.readouterr().out
    assert "left out: empty: it must hold exactly two photos; it has 0." in said
    assert [line.split()[0] for line in said.splitlines() if "alexnet:conv4" in line] == ["one", "two", "two", "two"]
    plain = json.loads((tmp_path / "it.json").read_text())
    assert [each["file_name"] for each in plain["images"]] == ["one/2.png", "two/to.png"]


CALLS: list[int] = []


def make_counting():
    """AlexNet, which counts what it describes."""
    alexnet = networks.open("alexnet", device="cpu")

    def extract(network, image, layers):
        CALLS.append(len(layers))
        return alexnet.extract(image, layers)

    return relabelled(alexnet, extract=extract)


def test_copies_of_a_photo_are_described_once(run, folder, capsys):
    """Both pairs are of the same two photos."""
    CALLS.clear()
    words = ("--points", "120,100", "--features", "conv3,conv4", "--network", f"{HERE}:make_counting")
    assert run("match", folder, *QUICK, *words, "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 * 4
    assert CALLS == [2, 2]


def test_a_pair_that_cannot_be_described_is_left_out_with_its_reason(run, folder, capsys):
    (folder / "one" / "2.png").write_bytes((folder / "one" / "2.png").read_bytes()[:4000])  # its header stays
    assert run("match", folder, *QUICK, "--points", "120,100", "--features", "conv4", "--json") == 0
    said = capsys.readouterr()
    assert {json.loads(line)["pair"] for line in said.out.splitlines()} == {"two"}
    assert "left out: one: '2.png' cannot be decoded as PNG" in said.err
    (folder / "two" / "to.png").write_bytes((folder / "two" / "to.png").read_bytes()[:4000])
    assert run("match", folder, *QUICK, "--points", "120,100", "--features", "conv4") == 2
    assert "corrcore: none of 2 pairs could be matched; what is left out says why." in capsys.readouterr().err


def test_one_file_may_have_the_points_of_all_pairs(run, folder, capsys, tmp_path):
    (folder / "two" / "points.json").unlink()
    images_of = [{"id": 1, "file_name": "one/1.png"}, {"id": 2, "file_name": "from.png"}]
    annotations = [{"image_id": number, "category_id": 1, "keypoints": [10 * number, 20, 2]} for number in (1, 2)]
    plain = {"images": images_of, "annotations": annotations, "categories": [{"id": 1, "keypoints": ["nose"]}]}
    (tmp_path / "all.json").write_text(json.dumps(plain))
    assert run("match", folder, *QUICK, "--points", tmp_path / "all.json", "--features", "conv4", "--json") == 0
    said = capsys.readouterr()
    assert [json.loads(line)["at"] for line in said.out.splitlines()] == [[10, 20], [20, 20]]


def test_a_folder_without_pairs_is_a_sentence(run, folder, capsys):
    (folder / "empty" / "a").mkdir()
    assert run("match", folder / "empty", "--points", "1,1") == 2
    told = capsys.readouterr().err.strip()
    rule = "each must hold exactly two photos that can be read"
    assert told == f"corrcore: no subfolder of {folder / 'empty'} is a pair; {rule}."


# --- What cannot be done ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("a.png",), "match takes two photos, or one folder whose subfolders hold two photos each; got a.png."),
        (("a.png", "b.png", "c.png"), "got a.png b.png c.png."),
        (("a.png", "."), "match takes two photos, or one folder"),
        (("a.png", "b.png"), "--points is missing: give X,Y in pixels of the source, or a file of points"),
        (("a.png", "none.png", "--points=1,1"), "'none.png' cannot be read (No such file or directory)"),
        (("a.png", "points.json", "--points=1,1"), "'points.json' is in none of the formats read here"),
        (("a.png", "b.png", "--points=400,1"), "point 1 at (400, 1) is outside a.png, which has 320 x 256 px; x goes "),
        (("a.png", "b.png", "--points=-1,1", "--points=1,1"), "point 1 at (-1, 1) is outside a.png"),
        (("a.png", "b.png", "--points=none.csv"), "none.csv cannot be read (No such file or directory)"),
        (("b.png", "a.png", "--points=points.json"), "which points are those of b.png, but none of its 2 images"),
        (("a.png", "b.png", "--points=1,1", "--features=conv9"), "layer of alexnet must be one of conv1"),
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


# --- The same as the experiment --------------------------------------------------------------------------------------


def check_pck(run, capsys, root, pairs, experiment, context):
    """Places by the command line make the PCK of `corrcore evaluate pairs`, counted here by hand."""
    for number, one in enumerate(pairs):
        (root / f"{number:03}").mkdir(parents=True)
        for name, photo in (("1 source", one.source.photo), ("2 target", one.target.photo)):
            save(root / f"{number:03}" / f"{name}.png", photo.load())
        named = {str(n): tuple(one.source.keypoints[n]) for n in np.flatnonzero(one.shared)}
        (root / f"{number:03}" / "points.json").write_text(coco("1 source.png", named))
    assert run("match", root, "--method", experiment.method, "--features", "conv4", "--json") == 0
    places: dict[str, dict[int, list[float]]] = {}
    for line in capsys.readouterr().out.splitlines():
        record = json.loads(line)
        places.setdefault(record["pair"], {})[int(record["point"])] = record["place"]
    result = measure(experiment, context=context)
    table = result.summary
    for alpha in (0.1, 0.05):
        shares, right, n = [], 0, 0
        for number, one in enumerate(pairs):
            left, top, end, bottom = one.target.box
            reach = alpha * (max(end - left, bottom - top) - 1)  # from the first pixel's centre to the last one's
            hits = [
                np.linalg.norm(np.round(place, 2) - one.target.keypoints[point]) <= reach
                for point, place in places[f"{number:03}"].items()
            ]
            assert len(hits) == one.shared.sum()
            shares.append(np.mean(hits))
            right, n = right + sum(hits), n + len(hits)
        assert table.accuracy(table.rows[0], alpha=alpha, over="micro").value == pytest.approx(100 * right / n)
        assert table.accuracy(table.rows[0], alpha=alpha, over="per_image").value == pytest.approx(
            100 * np.mean(shares)
        )
    for number, one in enumerate(pairs):
        predicted = result.records[one.name].predicted["conv4"]
        for point, place in places[f"{number:03}"].items():
            assert place == pytest.approx(predicted[point], abs=0.006)


@pytest.mark.parametrize("method", ["nn", "mrf"])
def test_pck_is_that_of_the_experiment(run, alexnet, capsys, tmp_path, method):
    animals = toy.load(n_train=2, n_val=3)
    context = Context(opened_datasets={"toy": animals}, opened_networks={"alexnet": alexnet})
    pairs = animals.pairs("toy cat", "val")
    experiment = Pairs("toy", "toy cat", features=("conv4",), method=method, extent="photo")
    check_pck(run, capsys, tmp_path / "pairs", pairs, experiment, context)


def test_pck_of_real_pairs_is_that_of_the_experiment(run, data_folder, alexnet, capsys, tmp_path):
    if not (data_folder / "SPair-71k").is_dir():
        pytest.skip("CORRCORE_DATA holds no SPair-71k")
    context = Context(opened_networks={"alexnet": alexnet})
    experiment = Pairs(str(data_folder / "SPair-71k"), "cow", features=("conv4",), split="val", limit=12)
    pairs = list(experiment.resolved(context).samples(context).values())
    check_pck(run, capsys, tmp_path / "pairs", pairs, experiment, context)
