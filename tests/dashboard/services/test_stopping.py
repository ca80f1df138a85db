"""How a process ends that was asked to, each in a process of its own."""

import signal
import subprocess
import sys
import time

import pytest

PRELUDE = """
import signal, sys, threading, time
from dashboard.services import stopping
stopping.GRACE_S = 1.0
asked = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
stopping.watch_signals()
"""


def ended(code: str, *, timeout: float = 20) -> tuple[int, float, str]:
    """Exit status, seconds from SIGTERM to the end, and what was printed, of a process that runs `code`."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "running\n"
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=timeout)[0]
        return process.returncode, time.monotonic() - begun, told


def test_what_is_to_end_is_told_at_once_and_the_handler_before_is_called():
    code = """
stopping.at_stop(lambda: print("told", flush=True))
print("running", flush=True)
asked.wait(); stopping.finish(5); print("over", flush=True)
"""
    status, _, told = ended(code)
    assert (status, told.split()) == (0, ["told", "over"])


@pytest.mark.parametrize(
    "stuck",
    [
        "while True: time.sleep(0.1)",  # nobody looks at what was asked
        "stopping.at_stop(lambda: time.sleep(60)); asked.wait(); stopping.finish(60)",
        "threading.Thread(target=time.sleep, args=(60,)).start(); asked.wait()",  # Python would wait for the thread
        "__import__('numpy').random.default_rng(0).random(40_000_000).sort()\nwhile True: time.sleep(0.1)",
    ],
)
def test_what_does_not_end_is_ended_with_its_stacks_printed(stuck):
    status, took, told = ended(f'print("running", flush=True)\n{stuck}')
    assert status == 1
    assert 0.5 < took < 10
    assert "Timeout (0:00:01)!" in told
    assert "most recent call first" in told


def test_what_comes_late_is_told_at_once():
    code = """
print("running", flush=True)
asked.wait(); stopping.finish(5)
stopping.at_stop(lambda: print("told", flush=True)); stopping.finish(5)
"""
    status, _, told = ended(code)
    assert (status, told.split()) == (0, ["told"])


def test_what_is_to_end_is_told_where_python_ends_by_itself():
    code = PRELUDE + 'stopping.at_stop(lambda: (time.sleep(0.2), print("told")))'
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "told\n"
