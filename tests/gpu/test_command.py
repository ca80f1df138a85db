from tests.gpu.__main__ import marked, outcome_of

SOME = """
import os, pytest
def test_passes(): pass
def test_fails(): assert 1 == 2
@pytest.mark.skip(reason="not here")
def test_is_skipped(): pass
"""


def test_files_with_marked_tests_are_found():
    assert {"tests/engines/test_mrf.py", "tests/gpu/test_tasks.py", "tests/networks/test_module.py"} <= set(marked())
    assert "tests/test_geometry.py" not in marked()


def test_what_fails_is_named_and_what_crashes_costs_its_file(tmp_path):
    path = tmp_path / "test_some.py"
    path.write_text(SOME)
    found = outcome_of(str(path), seconds=60)
    assert (found.passed, found.skipped, found.failed) == (1, 1, {"test_fails": "assert 1 == 2"})
    assert "FAILED test_fails: assert 1 == 2" in found.line
    path.write_text(SOME + "def test_crashes(): os.abort()\n")
    found = outcome_of(str(path), seconds=60)
    assert (found.passed, found.fault) == (0, "ended by SIGABRT")
    assert found.line.endswith("ended by SIGABRT")
