"""Commands in processes of their own: what they say, and how they end."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from dashboard.services import processes
from dashboard.services.jobs import LONG, Cancelled, Queue
from dashboard.services.processes import Limits

SAYS = """
import json, os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
def say(**told):
    print(json.dumps(told), file=sys.stderr, flush=True)
"""


@pytest.fixture
def program(tmp_path):
    """A command made of a few lines of Python, quicker to start than ours."""

    def make(lines: str) -> list[str]:
        file = tmp_path / "command.py"
        file.write_text(SAYS + textwrap.dedent(lines))
        return [sys.executable, str(file)]

    return make


@pytest.fixture
def told():
    """What progress was told."""
    return []


@pytest.fixture
def progress(told):
    return lambda done, text: told.append((done, text))


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def gone(before) -> bool:
    """Whether no other child is left than before."""
    return {each.pid for each in children()} <= {each.pid for each in before}


def test_progress_is_passed_on_and_other_lines_are_not(program, told, progress):
    command = program("""
        say(done=0.25, text="6 of 24")
        print("a warning of a library", file=sys.stderr)
        say(done=1.0, text="24 of 24")
    """)
    processes.run(["evaluate"], progress=progress, program=command)
    assert list(dict.fromkeys(told)) == [(0.0, "starting"), (0.25, "6 of 24"), (1.0, "24 of 24")]


def test_the_commands_own_sentence_is_the_error(program, progress):
    command = program('say(error="there is no photo in /data."); sys.exit(2)')
    with pytest.raises(ValueError, match=r"^there is no photo in /data\.$"):
        processes.run([], progress=progress, program=command)


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", r"It was killed, perhaps because memory ran out\."),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"It crashed \(signal 11\)\."),
        ("raise KeyError('x')", r"It ended unexpectedly; the server's log has the details\."),
    ],
)
def test_a_command_that_does_not_end_by_itself_is_one_sentence_and_the_next_runs(program, told, caplog, end, sentence):
    queue = Queue()
    failing = program(f"say(done=0.5, text='half'); {end}")
    job = queue.submit(processes.run, [], program=failing, label="Measure", owner="me", lane=LONG)
    assert job.wait(20)
    assert job.state == "failed"
    assert re.match(sentence, job.error)
    if "KeyError" in end:
        assert "KeyError: 'x'" in caplog.text
    job = queue.submit(processes.run, [], program=program("say(done=1, text='')"), label="Measure", owner="me")
    assert job.wait(20)
    assert job.state == "done"
    assert queue.close()


def test_a_command_that_grows_beyond_its_memory_ends(program, progress):
    before = children()
    command = program("""
        say(done=0.5, text="growing")
        held = bytearray(400 * 10**6)
        held[::1000] = b"x" * len(held[::1000])
        time.sleep(60)
    """)
    with pytest.raises(MemoryError, match=r"It needs more than 200 MB of memory, the limit of this server"):
        processes.run([], progress=progress, limits=Limits(memory_bytes=200 * 10**6), program=command)
    assert gone(before)


def test_mapped_files_are_no_memory_of_its_own(program, progress, tmp_path):
    file = tmp_path / "large"
    file.write_bytes(bytes(300 * 10**6))
    command = program(f"""
        import mmap
        with open({str(file)!r}, "rb") as handle:
            mapped = mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_READ)
        sum(mapped[n] for n in range(0, len(mapped), 4096))
        time.sleep(1)
        say(done=1, text="")
    """)
    processes.run([], progress=progress, limits=Limits(memory_bytes=200 * 10**6), program=command)


def test_a_command_that_takes_too_long_ends(program, progress):
    before = children()
    with pytest.raises(TimeoutError, match=r"It took longer than 0\.006 minutes, the limit of this server\."):
        processes.run([], progress=progress, limits=Limits(seconds=0.36), program=program("time.sleep(60)"))
    assert gone(before)


def test_a_cancelled_command_is_interrupted_and_tidies_up(program, tmp_path):
    before, done = children(), tmp_path / "tidied"
    command = program(f"""
        try:
            say(done=0.5, text="half")
            time.sleep(60)
        except KeyboardInterrupt:
            open({str(done)!r}, "w").close()
            sys.exit(130)
    """)
    queue = Queue()
    job = queue.submit(processes.run, [], program=command, label="Measure", owner="me", lane=LONG)
    while job.progress < 0.5:
        time.sleep(0.01)
    job.cancel()
    assert job.wait(5)
    assert (job.state, done.exists(), gone(before)) == ("cancelled", True, True)
    assert queue.close()


def test_a_deaf_command_is_killed(program, progress):
    before, begun = children(), time.monotonic()
    command = program("""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say(done=0.5, text="deaf")
        time.sleep(60)
    """)

    def stop(done: float, text: str) -> None:
        if text == "deaf":
            raise Cancelled

    with pytest.raises(Cancelled):
        processes.run([], progress=stop, program=command, grace_s=0.5)
    assert gone(before)
    assert time.monotonic() - begun < 5


def test_a_real_command_ends_with_the_process_that_began_it(tmp_path):
    """The server is killed in the middle: nothing goes on without it."""
    script = tmp_path / "server.py"
    script.write_text(
        textwrap.dedent("""
        from dashboard.services import processes
        processes.run(
            ["evaluate", "sweep", "--data=toy", "--categories=toy cat"],
            progress=lambda done, text: print(done, text, flush=True),
        )
    """)
    )
    environment = {**os.environ, "CORRCORE_CACHE": str(tmp_path / "cache")}
    server = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if "starting" not in line:
                break  # it has begun
        [command] = psutil.Process(server.pid).children()
        server.send_signal(signal.SIGKILL)
        server.wait(5)
        command.wait(15)
    finally:
        server.kill()
        server.stdout.close()
    assert not command.is_running()


@pytest.mark.parametrize("line", ["", "[1]", "{", "12"])
def test_a_line_that_is_no_message_tells_nothing(program, told, progress, line):
    processes.run([], progress=progress, program=program(f"print({line!r}, file=sys.stderr)"))
    assert {text for _, text in told} == {"starting"}


def test_a_units_own_limit_of_memory_counts(tmp_path):
    (tmp_path / "about").write_text("0::/system.slice/corrcore.service\n")
    [own, above, root] = processes.memory_limits(tmp_path / "cgroup", tmp_path / "about")
    assert own == tmp_path / "cgroup" / "system.slice" / "corrcore.service" / "memory.max"
    assert (above.parent.name, root.parent.name) == ("system.slice", "cgroup")
    assert processes.memory_limits(tmp_path / "cgroup", tmp_path / "none") == [tmp_path / "cgroup" / "memory.max"]
