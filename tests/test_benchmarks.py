import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.benchmarks.measure import Bar, Row, Run, Work
from tests.benchmarks.report import Measured, as_json, rooflines, table
from tests.steps import ROOT, python

LIMITS = {"read": 10e9, "single": 100e9}


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("", 1.0), None),
        (Row("", 1.0, "peer", 3.9, Bar.ratio(4)), False),
        (Row("", 1.0, "peer", 4.0, Bar.ratio(4)), True),
        (Row("", 1.0, "peer", 4.0, Bar.ratio(4), right=False), False),
        (Row("", 0.006, bar=Bar.most(0.006)), True),
        (Row("", 0.98, bar=Bar.least(0.99), unit=""), False),
    ],
)
def test_a_row_meets_its_bar_only_where_its_result_is_right(row, met):
    assert row.met is met


def test_the_floor_is_the_slower_of_moving_and_computing():
    assert Work(bytes=1e9, operations=1e9).floor(LIMITS) == 0.1
    assert Work(bytes=1e9, operations=50e9).floor(LIMITS) == 0.5
    assert Work(operations=1, kind="int8").floor(LIMITS) is None  # which was not measured


def test_calls_take_turns_until_their_time_is_up():
    order = []
    times = Run().medians({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert order == list("abababab")  # the first two are not timed
    assert set(times) == {"a", "b"}
    order.clear()
    Run().medians({"a": lambda: order.append("a")}, 10_000_000, at_most=0.05, warm=False)
    assert 3 <= len(order) < 10_000_000


def test_a_table_and_json_tell_rows_verdicts_and_what_failed():
    rows = [Row("a search", 0.5, "faiss", 1.5, Bar.ratio(4), Work(bytes=1e9), right=True, note="recall 1")]
    subjects = [Measured("knn", rows, limits=LIMITS), Measured("mrf", fault="not done after 120 s")]
    lines = table(subjects).splitlines()
    (found,) = [line for line in lines if "a search" in line and "3.00x" in line]
    assert [cell.strip() for cell in found.split("|")[1:-1]] == [
        *("a search", "500.0 ms", "faiss 1.50 s", "3.00x", "≥ 4x", "NO", "100.0 ms", "20 %"),
    ]  # fmt: skip
    assert "- a search: recall 1" in lines
    assert "- mrf FAILED: not done after 120 s" in lines
    assert rooflines(subjects) == (
        "- a search: 1 GB, 0 GFLOP single: floor 100.0 ms, took 500.0 ms (2 GB/s, 0 GFLOP/s; 20 %)"
    )
    told = json.loads(json.dumps(as_json(subjects)))
    assert (told["rows"][0]["ratio"], told["rows"][0]["met"], told["rows"][0]["floor"]) == (3.0, False, 0.1)
    assert told["failed"]["mrf"]["fault"] == "not done after 120 s"


def test_a_step_that_crashes_hangs_or_fails_says_so_and_no_more():
    assert python("-c", "print('done')", seconds=30).fault == ""
    assert python("-c", "raise ValueError('odd')", seconds=30).fault == "exit code 1: ValueError: odd"
    assert python("-c", "import os; os.abort()", seconds=30).fault == "ended by SIGABRT"
    assert python("-c", "import time; time.sleep(60)", seconds=1).fault == "not done after 1 s"


def test_whoever_is_ended_ends_its_step(tmp_path):
    told = tmp_path / "pid"
    step = f"import os, pathlib, time; pathlib.Path({str(told)!r}).write_text(str(os.getpid())); time.sleep(60)"
    code = f"from tests import steps; steps.end_by_signal(); steps.python('-c', {step!r}, seconds=60)"
    whole = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not told.exists() or not told.read_text():
        time.sleep(0.05)
    whole.terminate()
    assert whole.wait(30) == 128 + signal.SIGTERM
    assert not psutil.pid_exists(int(told.read_text()))
