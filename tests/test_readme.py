"""README's examples run as they stand, and its commands are ones that there are."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.test_evaluate import parse

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^(?:\S*/)?corrcore (evaluate .*)$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs_as_it_stands(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path / "cache"))
    exec(compile(EXAMPLES[number], f"{README.name}, example {number + 1}", "exec"), {"__name__": "__main__"})


def test_there_are_examples_and_commands():
    assert len(EXAMPLES) >= 3
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_there_is(command):
    assert parse(*shlex.split(command)[1:]).kind.kind == command.split()[1]
