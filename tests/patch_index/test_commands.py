"""`corrcore index ...` as a user types it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from corrcore.cli import main
from corrcore.patch_index import build
from tests.conftest import smooth_noise
from tests.patch_index.exact import Means, Stop, noise_photos, stop_after


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(smooth_noise(200, 180, number)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "indexes"


def run(root, *words):
    return main(["--root", str(root), "index", *map(str, words)])


def test_an_index_is_built_shown_verified_and_deleted(photos, root, capsys):
    assert run(root, "build", photos, "--name", "mine", "--layers", "conv3", "--hold-out", 2, "--mirror") == 0
    capsys.readouterr()
    assert run(root, "list") == 0
    assert "mine: 2 photos, 4 pictures; patches: conv3 " in capsys.readouterr().out
    assert run(root, "show", "mine") == 0
    shown = capsys.readouterr().out
    assert "photos enter shrunk to 500 px if larger, at scales 1, mirrored as well" in shown
    assert "conv3: receptive field 99 px, stride 16 px, 384 channels, " in shown
    assert "2 held out" in shown
    assert not any(mark in shown for mark in '{}"')
    assert run(root, "show", "mine", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["state"], about["settings"]["layers"], len(about["held_out"])) == ("finished", ["conv3"], 2)
    assert run(root, "verify", "mine") == 0
    assert run(root, "delete", "mine") == 0
    capsys.readouterr()
    assert run(root, "list") == 0
    assert "there are no indexes in" in capsys.readouterr().out


def test_an_index_of_an_archives_photos_is_that_of_the_folders(photos, root, tmp_path, capsys):
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    for place, name in ((photos, "folder"), (f"zip://*.png::{archive}", "archive")):
        assert run(root, "build", place, "--name", name, "--layers", "conv3", "--limit", 2) == 0
    assert (root / "folder" / "manifest.json").read_bytes() == (root / "archive" / "manifest.json").read_bytes()
    assert run(root, "build", f"zip://{photos}/0.png", "--name", "none") == 2
    assert "0.png cannot be listed (File is not a zip file)" in capsys.readouterr().err


def test_the_same_build_twice_is_refused(photos, root, capsys):
    words = ("build", photos, "--name", "mine", "--layers", "conv3")
    assert run(root, *words) == 0
    assert run(root, *words) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_list_does_not_end_at_a_bad_index(root, capsys):
    whole = build(noise_photos(2), root / "z", extractor=Means()).folder
    for name in ("plain copy", "a", "line\nend"):
        shutil.copytree(whole, root / name)
    for name in ("a", "line\nend"):
        (root / name / "manifest.json").write_text("")
    assert run(root, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == [
        "a",
        "line\ufffdend",
        "plain copy",
        "z",
    ]
    assert lines[0].startswith(f"a: unreadable: {root / 'a' / 'manifest.json'} is damaged: ")
    assert (
        run(root, "show", "plain copy") == run(root, "verify", "plain copy") == run(root, "delete", "plain copy") == 0
    )
    assert run(root, "show", "a") == run(root, "verify", "a") == 2
    assert "index delete a`" in capsys.readouterr().err
    assert run(root, "delete", "a") == 0


def test_an_interrupted_build_is_shown_as_what_it_is(root, capsys):
    with pytest.raises(Stop):
        build(noise_photos(4), root / "half", extractor=Means(), progress=stop_after(3))
    assert run(root, "list") == run(root, "show", "half") == 0
    listed, shown = capsys.readouterr().out.splitlines()
    assert listed == shown
    assert "half: not finished: " in shown
    assert "3 of 4 photos are done" in shown
    assert f"`corrcore --root {root} index build PHOTOS --name half` that began it goes on" in shown
    assert run(root, "verify", "half") == 2
    assert "3 of 4 photos are done" in capsys.readouterr().err
    assert run(root, "delete", "half") == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("build", "/nowhere", "--name", "it"), "/nowhere is no folder"),
        (("build", "PHOTOS", "--name", "../it"), "must be 1 to 64 letters"),
        (("build", "PHOTOS", "--name", "it", "--hold-out", "4"), "photos to hold out must be between 0 and 3"),
        (("build", "PHOTOS", "--name", "it", "--hold-out", "-1"), "photos to hold out must be between 0 and 3"),
        (("build", "PHOTOS", "--name", "it", "--scales", "1,0"), "scales must be different numbers above 0"),
        (("show", "it"), "there is no patch index"),
        (("verify", "it"), "there is no patch index"),
        (("delete", "it"), "there is no patch index"),
        (("show", "../it"), "must be the name of a folder"),
        (("delete", ".."), "must be the name of a folder"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(root, photos, capsys, words, sentence):
    assert run(root, *(photos if word == "PHOTOS" else word for word in words)) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert len(captured.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--longer-side", "-5", "must be a whole number from 1; got -5"),
        ("--scales", "1,big", "must be a number; got big"),
        ("--scales", "nan", "must be a number; got nan"),
    ],
)
def test_an_option_that_is_no_number_is_named(root, photos, capsys, option, value, sentence):
    with pytest.raises(SystemExit, match="2"):
        run(root, "build", photos, "--name", "it", option, value)
    assert f"argument {option}: {sentence}" in capsys.readouterr().err


def test_the_home_folder_may_be_written_short_everywhere(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    build_ = ["build", "~/photos", "--name", "mine", "--layers", "conv3"]
    assert main(["--root=~/x", "index", *build_]) == 0
    assert (tmp_path / "x" / "mine" / "manifest.json").is_file()
    assert not (tmp_path / "~").exists()
    assert main(["--root=~/x", "index", "verify", "mine"]) == 0


# --- As a process of its own -----------------------------------------------------------------------------------------


def command(root, *words):
    return [sys.executable, "-m", "corrcore", "--root", str(root), "index", *map(str, words)]


def test_a_terminal_that_knows_ascii_only_ends_no_good_build(photos, root):
    (photos / "0.png").rename(photos / "käfer.png")
    (photos / "broken é.png").write_bytes(b"no photo")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    words = command(root, "build", photos, "--name", "mine", "--layers", "conv3")
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"left out: broken \xe9.png: " in done.stdout


@pytest.mark.parametrize("after_s", [0.3, 1.0])
def test_an_interruption_in_the_first_second_is_a_sentence(photos, root, after_s):
    """While modules are imported, that is."""
    process = subprocess.Popen(
        command(root, "build", photos, "--name", "mine"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "stopped; " in told
    assert "Traceback" not in told


def test_a_reader_that_has_seen_enough_is_no_error(root):
    for name in "abc":
        build(noise_photos(1), root / name, extractor=Means())
    process = subprocess.Popen(command(root, "list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_what_is_left_out_of_a_folder_is_told_by_reason(photos, root, capsys):
    n = len(list(photos.iterdir()))
    (photos / "@eaDir").mkdir()
    for name in ("@eaDir/0.png", "@eaDir/1.png", "new.heic"):
        (photos / name).touch()
    words = ("build", photos, "--name", "left-out", "--layers", "conv3")
    assert run(root, *words, "--max-megapixels", 0.001) == 2
    told = capsys.readouterr()
    assert f"{n} photos in" in told.out
    assert "3 left out: thumbnail of a file manager or a NAS box (2); in a format that is not read here" in told.out
    assert "more than the 0.0 megapixels accepted" in told.err
