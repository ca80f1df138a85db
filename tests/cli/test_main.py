"""The command line as a whole: what it costs to ask for help, and what errors become."""

import json
import subprocess
import sys

import pytest

from corrcore.cli import main
from corrcore.cli.shared import ProgressLines


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version_import_no_torch(word):
    done = python(
        f"""
import sys
from corrcore.cli import main
try:
    main(["{word}"])
except SystemExit as stopped:
    assert stopped.code == 0
heavy = {{"torch", "numpy", "scipy", "sklearn", "numba", "streamlit"}} & set(sys.modules)
assert not heavy, heavy
"""
    )
    assert done.returncode == 0, done.stderr
    assert ("{app,index,match,evaluate,train,network,cache}" if word == "--help" else "corrcore 0") in done.stdout


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "corrcore", "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()[0]) == (0, "corrcore")


def test_a_folder_of_indexes_may_be_called_as_a_command(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["--root", "index", "evaluate", "--help"])
    assert stopped.value.code == 0
    assert "transfer" in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), ("nonsense",), ("evaluate",), ("evaluate", "nonsense")], ids=str)
def test_what_is_no_command_ends_with_exit_code_2(capsys, words):
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 2
    assert "usage: corrcore" in capsys.readouterr().err


def test_programs_are_told_in_lines_of_json(run, capsys, tmp_path):
    assert run("--progress", "json", "evaluate", "transfer", "--data", tmp_path / "none") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "none") in json.loads(line)["error"]
    progress = ProgressLines()
    progress(0.25, "1 of 4")
    progress(0.5, "2 of 4")  # a moment later
    progress(1.0, "4 of 4")
    assert [json.loads(line) for line in capsys.readouterr().err.splitlines()] == [
        {"done": 0.25, "text": "1 of 4"},
        {"done": 1.0, "text": "4 of 4"},
    ]


def test_a_command_stops_when_its_standard_input_closes(tmp_path):
    words = ["--until-stdin-closes", "--progress", "json", "evaluate", "sweep", "--data=toy", f"--out={tmp_path}"]
    command = subprocess.Popen(
        [sys.executable, "-m", "corrcore", *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdin is not None
    assert command.stderr is not None
    assert "done" in json.loads(command.stderr.readline())
    command.stdin.close()
    assert command.wait(15) == 130
    command.stderr.close()
