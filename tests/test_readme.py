"""README's examples run as they stand, and its commands are ones that there are."""

import re
import shlex
from pathlib import Path

import pytest

from corrcore.cli import main
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


def test_the_match_of_two_drawn_cats_prints_what_is_shown(tmp_path, monkeypatch, capsys):
    [command], [shown] = (
        re.findall(pattern, TEXT, flags=re.MULTILINE)
        for pattern in (r"^\S*/corrcore (match corrcore/.*)$", r"^```\n(  point [^`]*)```$")
    )
    monkeypatch.chdir(README.parent)
    words = [str(tmp_path / word) if word.endswith(".png") else word for word in shlex.split(command)]
    assert main(words) == 0
    assert (tmp_path / "matches.png").is_file()
    [heading, *rows], [wanted_heading, *wanted] = (text.splitlines() for text in (capsys.readouterr().out, shown))
    assert heading == wanted_heading
    for row, wanted_row in zip(rows[:-1], wanted, strict=True):  # the last line names the picture
        assert [each for each in row.split() if not is_number(each)] == [
            each for each in wanted_row.split() if not is_number(each)
        ]
        for own, other in zip(numbers_in(row), numbers_in(wanted_row), strict=True):
            assert own == pytest.approx(other, abs=0.1 if other > 1 else 0.002)  # digits vary with the processor


def is_number(word):
    return bool(re.fullmatch(r"-?[0-9.]+,?", word))


def numbers_in(row):
    return [float(word.strip(",")) for word in row.split() if is_number(word)]
