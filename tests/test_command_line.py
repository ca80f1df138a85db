import json

import pytest
from PIL import Image

from corrcore import datasets
from corrcore.cli import main
from corrcore.datasets import toy
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


@pytest.fixture
def few_animals(monkeypatch):
    few = toy.load(n_train=12, n_val=3)
    monkeypatch.setattr(toy, "load", lambda: few)


def test_keypoints_are_classified_and_the_table_is_told(few_animals, tmp_path, capsys):
    words = ["evaluate", "classification", "--data", "toy", "--categories", "toy cat,toy cow"]
    words += ["--layers", "sift20"]
    assert run(tmp_path, *words, "--protocol", "small", "--out", tmp_path / "out") == 0
    told = capsys.readouterr().out
    assert "toy cat, small: accuracy over keypoints" in told
    found = json.loads((tmp_path / "out" / "classification toy cat small.json").read_text())["summary"]["sift20"]
    assert f"sift20   {found['accuracy']:5.1f} [{found['low']:.1f}, {found['high']:.1f}]" in told
    cow = json.loads((tmp_path / "out" / "classification toy cow small.json").read_text())["summary"]["sift20"]
    assert f"sift20   {(found['accuracy'] + cow['accuracy']) / 2:5.1f}   of 2" in told


def test_responses_are_told_with_chance(few_animals, tmp_path, capsys):
    out = tmp_path / "responses.json"
    words = ["evaluate", "responses", "--data", "toy", "--category", "toy cat", "--keypoints", "Nose"]
    words += ["--layers", "sift20,conv3", "--protocol", "small", "--cost", 1, "--side", 31, "--out", out]
    assert run(tmp_path, *words) == 0
    told = capsys.readouterr().out
    assert "maxima within 1, 2, 4 and 8 px" in told
    assert "[-, -]" in told  # too few for an interval
    found = json.loads(out.read_text())
    assert found["settings"]["side_px"] == 31
    assert run(tmp_path, *words[:-2], "--side", 30) == 2
    assert "side_px must be odd" in capsys.readouterr().err


def test_an_index_is_measured(photos, tmp_path, capsys):
    root = tmp_path / "indexes"
    assert run(root, "index", "build", photos, "--name", "mine", "--layers", "conv3", "--hold-out", 2) == 0
    out = tmp_path / "result.json"
    assert run(root, "evaluate", "localisation", photos, "--index", "mine", "--out", out) == 0
    assert len(json.loads(out.read_text())["records"]) == 2
    assert run(root, "evaluate", "radius", "--index", "mine", "--limit", 2, "--k", 5) == 0


def test_what_is_left_out_of_a_folder_is_told_by_reason(photos, tmp_path, capsys):
    (photos / "@eaDir").mkdir()
    for name in ("@eaDir/0.png", "@eaDir/1.png", "new.heic"):
        (photos / name).touch()
    words = ("index", "build", photos, "--name", "mine", "--layers", "conv3", "--max-megapixels", 0.03)
    assert run(tmp_path, *words) == 2  # photos of 0.036 megapixels
    told = capsys.readouterr()
    assert "4 photos in" in told.out
    assert "3 left out: thumbnail of a file manager or a NAS box (2); in a format that is not read here" in told.out
    assert "more than the 0.0 megapixels accepted" in told.err
    assert run(tmp_path, *words[:-2], "--limit", 1) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("evaluate", "radius", "--index", "it"), "there is no patch index"),
        (("evaluate", "transfer", "--data", "/nowhere"), "/nowhere is no folder; give one that holds JPEGImages"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(tmp_path, capsys, words, sentence):
    assert run(tmp_path, *words) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert "Traceback" not in captured.err


@pytest.fixture
def opened(monkeypatch):
    """A few drawn cats and cows instead of many."""
    asked = []

    def open_dataset(source):
        asked.append(source)
        return toy.load(n_train=2, n_val=2)

    monkeypatch.setattr(datasets, "open_dataset", open_dataset)
    return asked


def test_keypoints_are_transferred_and_the_same_command_goes_on(opened, tmp_path, capsys):
    out = tmp_path / "results"
    words = ("evaluate", "transfer", "--data", "toy", "--categories", "toy cat", "--layers", "sift20")
    words = (*words, "--smoothness", 0.1, "--limit", 1, "--out", out)
    assert run(tmp_path, *words) == 0
    assert opened == ["toy"]
    first = capsys.readouterr()
    assert f"results in {out}" in first.out
    assert "toy cat, all: 1 objects, PCK at alpha 0.1, 0.05, 0.025" in first.out
    rows = {line.split()[0] for line in first.out.splitlines() if line.startswith("  ")}
    assert rows == {"NN", "sift20"}
    (path,) = out.iterdir()
    assert path.name == "transfer toy cat.json"
    result = json.loads(path.read_text())
    assert result["settings"]["smoothness"] == {"sift20": 0.1}
    assert run(tmp_path, *words) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "describing" not in again.err
    assert json.loads(path.read_text()) == result


def test_an_unknown_category_is_named_with_the_known_ones(opened, tmp_path, capsys):
    words = ("evaluate", "transfer", "--data", "toy", "--categories", "dog", "--out", tmp_path / "results")
    assert run(tmp_path, *words) == 2
    assert "category of toy must be one of toy cat, toy cow; got 'dog'" in capsys.readouterr().err


def test_keypoints_are_predicted_and_the_table_is_told_again_without_training(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(datasets, "open_dataset", lambda source: toy.load(n_train=6, n_val=2))
    out = tmp_path / "results"
    words = ("evaluate", "prediction", "--data", "toy", "--categories", "toy cat", "--layers", "sift16", "--out", out)
    assert run(tmp_path, *words) == 0
    first = capsys.readouterr()
    assert "toy cat, all: 2 objects, PCK at alpha 0.1, 0.05, 0.025" in first.out
    rows = [line.split("  ")[1] for line in first.out.splitlines() if line.startswith("  ")]
    assert [row.strip() for row in rows[:5]] == ["prior", "5 priors", "sift16", "sift16+prior", "sift16+5 priors"]
    assert "eta 0.05, sigma 22 px" in first.out
    assert {path.name for path in out.iterdir()} == {
        f"prediction toy cat{what}" for what in (".json", " prior.safetensors", " sift16.safetensors")
    }
    assert run(tmp_path, *words) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "training" not in again.err


def test_too_few_objects_to_learn_from_are_one_sentence(opened, tmp_path, capsys):
    words = ("evaluate", "prediction", "--data", "toy", "--categories", "toy cat", "--layers", "sift16")
    assert run(tmp_path, *words, "--out", tmp_path / "results") == 2
    assert "a detector needs 5 train objects that show its keypoint" in capsys.readouterr().err
