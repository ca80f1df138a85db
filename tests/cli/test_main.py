"""The command line as a whole: what it costs to ask for help, and what errors become."""

import subprocess
import sys

import pytest

from corrcore.cli import main


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
    assert ("{app,index,evaluate,network,cache}" if word == "--help" else "corrcore 0") in done.stdout


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
