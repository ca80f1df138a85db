"""`corrcore match` of a photo and a folder: points are found in every photo there, as the task finds them."""

import csv
import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from corrcore.datasets.points import open_points
from corrcore.experiments.context import open_results
from corrcore.tasks.positional_subspace import kept_subspace, subspace_key
from tests.cli import test_match_pairs
from tests.cli.matched import CONV4, POINTS, QUICK, check_records, coco, expected, save, window

ONE = (*QUICK, "--features", "conv4")


@pytest.fixture
def folder(tmp_path, pair):
    """The source, two photos, of which one in a subfolder, a broken one, and what is none."""
    root = tmp_path / "herd"
    (root / "sub").mkdir(parents=True)
    os.link(pair[0], root / "a.png")
    shutil.copy(pair[1], root / "b.png")
    save(root / "sub" / "b.png", window(100, 60)[:200])
    (root / "broken.png").write_bytes(pair[1].read_bytes()[:4000])
    (root / "raw.heic").write_bytes(b"")
    (root / "notes.txt").write_text("no photo")
    return root


def test_points_are_found_in_every_photo_but_the_source(run, pair, folder, alexnet, capsys, tmp_path):
    assert run("match", pair[0], folder, *ONE, "--points", pair[2], "--json", "--out", tmp_path / "it.csv") == 0
    said = capsys.readouterr()
    records = [json.loads(line) for line in said.out.splitlines()]
    assert [(each["target"], each["point"]) for each in records] == [
        (name, point) for name in ("b.png", "sub/b.png") for point in POINTS
    ]
    assert {each["pair"] for each in records} == {"a.png to b.png", "a.png to sub/b.png"}
    check_records(records[:3], expected(alexnet, list(POINTS.values()), [CONV4]), list(POINTS))
    lines = csv.DictReader(io.StringIO((tmp_path / "it.csv").read_text()))
    assert [[float(line["place_x"]), float(line["place_y"])] for line in lines] == [each["place"] for each in records]
    left_out = [line for line in said.err.splitlines() if line.startswith("left out: ")]
    assert f"left out: 1 of {folder}: in a format that is not read here (.heic)" in left_out
    assert any(line.startswith("left out: broken.png: 'broken.png' cannot be decoded as PNG") for line in left_out)
    assert "100.0%  3 of 3" in said.err


def test_keypoints_of_the_photos_are_a_data_set_of_one_category(run, pair, folder, capsys, tmp_path):
    words = ("match", pair[0], folder, "--points", pair[2], "--out", tmp_path / "it.json")
    assert run(*words, *ONE, "--json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    plain = json.loads((tmp_path / "it.json").read_text())
    assert plain["images"] == [
        {"id": 1, "file_name": "b.png", "width": 320, "height": 256},
        {"id": 2, "file_name": "sub/b.png", "width": 320, "height": 200},
    ]
    assert plain["categories"] == [{"id": 1, "name": "points of a.png", "keypoints": list(POINTS), "skeleton": []}]
    assert [(each["image_id"], each["category_id"]) for each in plain["annotations"]] == [(1, 1), (2, 1)]
    for annotation, own in zip(plain["annotations"], (records[:3], records[3:]), strict=True):
        flat = np.reshape(annotation["keypoints"], (-1, 3))
        assert flat[:, :2].tolist() == [each["place"] for each in own]
        left, top, width, height = annotation["bbox"]
        assert (flat[:, :2] >= (left, top)).all()
        assert (flat[:, :2] <= (left + width - 1 + 1e-9, top + height - 1 + 1e-9)).all()
    for name, own in (("b.png", records[:3]), ("sub/b.png", records[3:])):  # and they are read again, photo by photo
        assert open_points(tmp_path / "it.json")(name).places.tolist() == [each["place"] for each in own]


def test_keypoints_of_several_features_are_refused_before_any_work(run, pair, folder, capsys, tmp_path):
    assert run("match", pair[0], folder, "--points", "9,9", "--out", tmp_path / "it.json", *QUICK) == 2
    *_, told = capsys.readouterr().err.strip().splitlines()
    assert told.startswith("corrcore: keypoints of a folder's photos (it.json) are those of one feature; got ")
    assert "alexnet:conv4, sift20, so give one by --features" in told
    assert run("match", pair[0], folder, "--points", "9,9", "--out", tmp_path / "it.npz", *QUICK) == 0
    with np.load(tmp_path / "it.npz") as arrays:
        assert arrays["targets"].tolist() == ["b.png", "sub/b.png"]
        assert arrays["sift20_places"].shape == (2, 2)


def test_each_photo_has_a_picture_beside_a_file_or_in_a_folder(run, pair, folder, tmp_path):
    save(folder / "c.png", window(90, 90))
    (tmp_path / "pictures").mkdir()
    for where in ("it.png", "pictures"):
        assert run("match", pair[0], folder, *ONE, "--points", "120,100", "--picture", tmp_path / where) == 0
    assert sorted(path.name for path in tmp_path.glob("it*.png")) == ["it-b.png", "it-c.png", "it-sub-b.png"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["b.png", "c.png", "sub-b.png"]
    assert Image.open(tmp_path / "pictures" / "b.png").tobytes() == Image.open(tmp_path / "it-b.png").tobytes()


def test_the_source_is_described_once(run, pair, folder, capsys):
    test_match_pairs.CALLS.clear()
    words = ("--points", "120,100", "--features", "conv3,conv4", "--network", f"{test_match_pairs.HERE}:make_counting")
    assert run("match", pair[0], folder, *QUICK, *words, "--json") == 0
    assert test_match_pairs.CALLS == [2, 2, 2]


def test_what_is_taken_out_of_descriptors_is_kept_for_another_command(run, pair, folder, alexnet, tmp_path):
    words = ("--points", "120,100", "--features", "conv4", "--longer-side", 208, "--without-position", 2)
    assert run("match", pair[0], folder, *words) == 0
    with open_results() as results:
        assert kept_subspace(results, subspace_key(alexnet, "conv4", (208, 208))) is not None


def test_a_folder_without_other_photos_is_a_sentence(run, pair, folder, capsys):
    (folder / "empty").mkdir()
    assert run("match", pair[0], folder / "empty", "--points", "1,1") == 2
    assert f"there is no photo in {folder / 'empty'};" in capsys.readouterr().err
    os.link(pair[0], folder / "empty" / "same.png")
    assert run("match", pair[0], folder / "empty", "--points", "1,1") == 2
    assert "but a.png, whose points are looked for; add some." in capsys.readouterr().err
    (folder / "empty" / "broken.png").write_bytes(b"")
    assert run("match", pair[0], folder / "empty", "--points", "1,1", *ONE) == 2
    assert "none of 1 pair could be matched; what is left out says why." in capsys.readouterr().err


def test_keypoints_of_one_photo_are_not_those_of_every_pair(run, pair, folder, capsys, tmp_path):
    for name in ("one", "two"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
        shutil.copy(pair[0], tmp_path / "pairs" / name / f"{name}.png")
        shutil.copy(pair[1], tmp_path / "pairs" / name / "z.png")
    plain = json.loads(coco("one.png", POINTS))
    (tmp_path / "one.json").write_text(json.dumps(plain | {"images": plain["images"][1:]}))
    assert run("match", tmp_path / "pairs", *ONE, "--points", tmp_path / "one.json", "--json") == 0
    said = capsys.readouterr()
    assert {json.loads(line)["pair"] for line in said.out.splitlines()} == {"one"}
    told = f"left out: two: {tmp_path / 'one.json'} must say which points are those of two/two.png, but its only image"
    assert f"{told} is one.png; correct file_name there." in said.err
