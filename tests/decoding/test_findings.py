"""Files that fuzzing has found, and the fuzzer itself: `tests/drills/fuzz_readers.py`."""

import time

import pytest

from tests.drills.fuzz_readers import FINDINGS, by_hypothesis, targets, tried

KEPT = sorted(FINDINGS.glob("*/*"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_is_mended(path, tmp_path):
    assert not tried(path.parent.name, targets(tmp_path)[path.parent.name], path.read_bytes())


@pytest.mark.parametrize("name", ["decoder", "voc", "spair", "folder", "points"])
def test_some_spoilt_files_are_read_or_refused_in_a_sentence(name, tmp_path):
    n, found = by_hypothesis(name, targets(tmp_path)[name], time.monotonic() + 1.5)
    assert not found
    assert n


def test_the_fuzzer_finds_what_is_wrong_and_keeps_it(tmp_path):
    def broken(data: bytes) -> None:
        if len(data) > 6 and data[5] > 200:
            raise IndexError(data)

    n, [wrong, *_] = by_hypothesis("voc", broken, time.monotonic() + 2, tmp_path)
    assert wrong.startswith("voc: IndexError")
    assert n > 1
    [kept, *_] = (tmp_path / "voc").iterdir()
    assert kept.read_bytes()[5] > 200
