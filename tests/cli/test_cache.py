import errno
import os
import re

import numpy as np
import pytest

from corrcore.cli import main
from corrcore.store import Cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CORRCORE_CACHE", "~/kept")
    monkeypatch.delenv("CORRCORE_DATA", raising=False)
    return tmp_path / "kept"


def told(capsys, *words):
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((), "0 results, 0 bytes of at most 4 GB"),
        ((64_000,), r"1 result, 64 kB of at most 4 GB"),
        ((1_300_000, 1_300_000), r"2 results, 2\.6 MB of at most 4 GB"),
    ],
)
def test_show_tells_in_words_and_units_what_is_kept_and_where(folder, capsys, sizes, words):
    with Cache(folder, min_free_bytes=0) as cache:
        for number, size in enumerate(sizes):
            cache.put(str(number), {"x": np.zeros(size, np.uint8)}, {})
    first, second = told(capsys, "cache", "show").splitlines()
    assert re.fullmatch(f"{words}, in {folder}; results are kept", first)
    assert second == f"indexes: none in {folder}/indexes"


def test_clear_tells_what_it_removed_and_leaves_nothing(folder, capsys):
    with Cache(folder, min_free_bytes=0) as cache:
        cache.put("k", {"x": np.zeros(2_000_000, np.uint8)}, {})
    (folder / "experiments" / "toy").mkdir(parents=True)
    (folder / "indexes").mkdir()
    assert told(capsys, "cache", "clear") == (
        "1 result, 2 MB, and the tables of experiments are forgotten; indexes stay.\n"
    )
    assert Cache(folder).statistics().entries == 0
    assert [path.name for path in sorted(folder.iterdir())] == ["indexes", "results"]


def test_cache_that_cannot_be_used_is_said_with_the_path(folder, capsys):
    folder.write_text("a file in the way")
    with pytest.warns(RuntimeWarning, match="results are not kept"):
        assert main(["cache", "show"]) == 0
    said = capsys.readouterr()
    assert f"corrcore: CORRCORE_CACHE must be a folder; {folder} is a file. Results are not kept." in said.err
    assert f"{folder}/results cannot be used: results are not kept" in said.out


def test_data_folder_that_does_not_exist_is_said(folder, capsys, monkeypatch):
    monkeypatch.setenv("CORRCORE_DATA", "~/missing")
    assert main(["cache", "show"]) == 0
    missing = folder.parent / "missing"
    assert capsys.readouterr().err == (
        f"corrcore: CORRCORE_DATA must be a folder of data sets; {missing} does not exist.\n"
    )


def test_root_is_expanded_and_errors_of_the_system_are_sentences(folder, capsys, monkeypatch):
    assert "indexes: none in" in told(capsys, "--root=~/mine", "cache", "show")
    (folder / "experiments").mkdir(parents=True, exist_ok=True)

    def fail(path, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("shutil.rmtree", fail)
    assert main(["cache", "clear"]) == 2
    sentence = f"corrcore: {folder}/experiments: the disk is full; free some space or choose another place.\n"
    assert capsys.readouterr().err.strip("\n") + "\n" == sentence


def test_the_environment_says_how_much_is_kept(run, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    monkeypatch.setenv("CORRCORE_RESULTS_MB", "7")
    assert run("cache", "show") == 0
    assert "of at most 7 MB" in capsys.readouterr().out
