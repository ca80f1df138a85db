import json

import pytest
from PIL import Image

from corrcore.__main__ import main
from tests.conftest import smooth_noise


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(smooth_noise(200, 180, number)).save(folder / f"{number}.png")
    return folder


def run(root, *words):
    return main(["--root", str(root), *map(str, words)])


def test_an_index_is_built_listed_verified_measured_and_deleted(photos, tmp_path, capsys):
    root = tmp_path / "indexes"
    assert run(root, "index", "build", photos, "--name", "mine", "--layers", "conv3", "--hold-out", 2, "--mirror") == 0
    assert run(root, "index", "list") == 0
    assert "mine: 2 photos, 4 pictures" in capsys.readouterr().out
    assert run(root, "index", "show", "mine") == 0
    assert run(root, "index", "verify", "mine") == 0
    out = tmp_path / "result.json"
    assert run(root, "evaluate", "localisation", photos, "--index", "mine", "--out", out) == 0
    assert len(json.loads(out.read_text())["records"]) == 2
    assert run(root, "evaluate", "radius", "--index", "mine", "--limit", 2, "--k", 5) == 0
    assert run(root, "index", "delete", "mine") == 0
    capsys.readouterr()
    assert run(root, "index", "list") == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("index", "build", "/nowhere", "--name", "it"), "/nowhere is no folder"),
        (("index", "show", "it"), "there is no patch index"),
        (("index", "delete", "it"), "there is no patch index"),
        (("index", "show", "../it"), "must be 1 to 64 letters"),
        (("evaluate", "radius", "--index", "it"), "there is no patch index"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(tmp_path, capsys, words, sentence):
    assert run(tmp_path, *words) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert "Traceback" not in captured.err


def test_the_same_build_twice_is_refused(photos, tmp_path, capsys):
    words = ("index", "build", photos, "--name", "mine", "--layers", "conv3")
    assert run(tmp_path, *words) == 0
    assert run(tmp_path, *words) == 2
    assert "already exists" in capsys.readouterr().err
