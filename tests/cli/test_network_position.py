"""`corrcore network position`: its table, its lines of JSON, and what it refuses."""

import json

import pytest
from PIL import Image

from corrcore.datasets import samples
from corrcore.tasks.position import measure_position
from tests.conftest import smooth_noise

QUICK = ("--side", 128)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(smooth_noise(150, 140, number)).save(folder / f"{number}.png")
    (folder / "2.png").write_bytes(b"no picture")
    return folder


def test_lines_of_json_are_what_the_task_finds_and_the_table_says_the_same(run, photos, capsys, alexnet):
    words = ("network", "position", "alexnet", "--layer", "conv3,sift20", "--photos", photos, *QUICK)
    assert run(*words, "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["feature"], each["photos"], each["size"]) for each in found] == [
        ("alexnet:conv3", 2, [128, 128]),
        ("sift20", 2, [128, 128]),
    ]
    pictures = [smooth_noise(150, 140, number) for number in range(2)]
    expected = measure_position(alexnet, ["conv3"], pictures, side_px=128)["conv3"]
    assert found[0]["positional_share"] == pytest.approx(expected.share, abs=1e-5)
    shifted = expected.moved["shifted"]
    assert found[0]["moved"]["shifted"] == pytest.approx(
        {"content": shifted.content, "place": shifted.place, "error_px": shifted.error_px, "cells": shifted.n}
    )
    assert found[0]["found_again_by_chance"] == pytest.approx(expected.again_by_chance)
    assert run(*words) == 0
    said = capsys.readouterr().out
    assert said.startswith("3 photos of 3 in ")
    assert f"{100 * expected.share:.1f} %" in next(line for line in said.splitlines() if "conv3" in line)
    assert "left out: 2.png: " in said


def test_sample_photos_are_measured_unless_others_are_given(run, photos, capsys):
    assert run("network", "position", "alexnet", "--layer", "conv1", "--limit", 2, *QUICK) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"2 photos of {len(samples.one_of_each_scene())} in the sample photos")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--layer", "conv9"), "conv9"),
        (("--limit", 1), "what photos have in common at a place needs two of them: give at least two."),
        (("--side", 1, "--layer", "conv5"), "an image must be at least 31 x 31 px for conv5"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(run, photos, capsys, words, sentence):
    assert run("network", "position", "alexnet", "--layer", "conv1", *QUICK, *words) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
