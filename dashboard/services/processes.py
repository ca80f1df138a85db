"""Long work in a process of its own: a command of the command line, watched and bounded.

A command that is killed, crashes or grows too large takes no page down with it, and goes on where it was when it is
begun again.
"""

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import corrcore
from corrcore.concurrency import Progress
from corrcore.settings import Settings
from corrcore.wording import size_text

_log = logging.getLogger(__name__)

LOOK_S = 0.2  # between two looks at whether it was cancelled, and how large it is
PROGRAM = (sys.executable, "-P", "-m", "corrcore")  # whatever lies in the working directory
GRACE_S = 4.0  # an interrupted command has to end by itself; less than what a server has to stop
NICENESS = 10  # views go first


@dataclass(frozen=True)
class Limits:
    """What one command may take: bytes of memory beside mapped files, and seconds; None for as much as there is."""

    memory_bytes: int | None = None
    seconds: float | None = None


def of_command(command: Callable[[], Sequence[str]], here: Callable[..., object]) -> Callable[..., object]:
    """Work that runs a command, which keeps on disk what it makes; `here` does the same in this process.

    That is for what no command can say, where nothing can be kept on disk, and where the environment asks for it.
    """
    settings = Settings.from_environment()

    def work(*, progress: Progress) -> object:
        try:
            arguments = command() if settings.job_processes and _is_writable(settings) else None
        except ValueError:
            arguments = None
        if arguments is None:
            return here(progress=progress)
        limits = settings.limits
        memory = _default_memory() if limits.job_memory_mb is None else limits.job_memory_mb * 10**6
        return run(arguments, progress=progress, limits=Limits(memory, limits.job_minutes * 60))

    return work


def run(
    arguments: Sequence[str],
    *,
    progress: Progress,
    limits: Limits = Limits(),
    program: Sequence[str] = PROGRAM,
    grace_s: float = GRACE_S,
) -> None:
    """Runs ``corrcore ARGUMENTS`` to its end and passes on how far it is; what `progress` raises ends it.

    The process ends with this one, however this one ends; to end by itself it has `grace_s` seconds. Raises ValueError
    with the command's own sentence, MemoryError and TimeoutError beyond the limits, and RuntimeError where it was
    killed or crashed.
    """
    progress(0.0, "starting")
    child = subprocess.Popen(  # noqa: S603 - without a shell; what visitors choose are values of options
        [*program, "--progress", "json", "--until-stdin-closes", *arguments],
        stdin=subprocess.PIPE,  # held open; it closes when this process ends
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=_environment(),
        text=True,
        errors="replace",
    )
    try:
        _step_back(child.pid)
        error = _watch(child, progress, limits)
    finally:
        _end(child, grace_s)
    if child.returncode != 0:
        raise error or RuntimeError(_how_it_ended(child.returncode))


def _environment() -> dict[str, str]:
    """That of this process, with the package where it was imported from."""
    root = str(Path(corrcore.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


def _step_back(pid: int) -> None:
    """Lets views go first, and where memory runs out the system end the command and not the server."""
    with suppress(psutil.Error, OSError, AttributeError):
        psutil.Process(pid).nice(NICENESS)
        Path(f"/proc/{pid}/oom_score_adj").write_text("800")


def _watch(child: "subprocess.Popen[str]", progress: Progress, limits: Limits) -> ValueError | None:
    """Passes progress on until the command has ended; the sentence it ended with."""
    begun, said, rest = time.monotonic(), (0.0, "starting"), deque[str](maxlen=40)
    error = None
    lines = _lines_of(child)
    while True:
        try:
            line = lines.get(timeout=LOOK_S)
        except queue.Empty:
            line = ""
        if line is None:
            child.wait()
            break
        told = _told(line)
        if "error" in told:
            error = ValueError(str(told["error"]))
        elif "done" in told:
            said = float(told["done"]), str(told["text"])
        elif line.strip():
            rest.append(line.rstrip())
        progress(*said)
        _check(child.pid, time.monotonic() - begun, limits)
    if child.returncode != 0 and rest:
        _log.warning("a command ended with %s:\n%s", child.returncode, "\n".join(rest))
    return error


def _lines_of(child: "subprocess.Popen[str]") -> "queue.Queue[str | None]":
    """What a command says, line by line, and None when it says no more."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        if child.stderr is not None:
            with child.stderr as said:
                for line in said:
                    lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name=f"corrcore-command-{child.pid}", daemon=True).start()
    return lines


def _told(line: str) -> dict[str, Any]:
    """A line of JSON; nothing for any other."""
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return {}


def _check(pid: int, seconds: float, limits: Limits) -> None:
    if limits.seconds is not None and seconds > limits.seconds:
        msg = f"It took longer than {limits.seconds / 60:g} minutes, the limit of this server. What is done is kept."
        raise TimeoutError(msg)
    if limits.memory_bytes is not None and own_bytes(pid) > limits.memory_bytes:
        msg = f"It needs more than {size_text(limits.memory_bytes)} of memory, the limit of this server for one job."
        raise MemoryError(msg)


def own_bytes(pid: int) -> int:
    """The memory of a process beside the files it maps; 0 once it is gone."""
    try:
        found = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return found.rss - getattr(found, "shared", 0)


def _end(child: "subprocess.Popen[str]", grace_s: float) -> None:
    """Interrupts a command that still runs, and kills one that does not end."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.close()


def _how_it_ended(code: int) -> str:
    """In words. What a shell makes of a signal is 128 more than its number."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "It was killed, perhaps because memory ran out. What is done is kept: begin it again to go on."
    if number > 0:
        return f"It crashed (signal {number}). What is done is kept: begin it again to go on."
    return "It ended unexpectedly; the server's log has the details. What is done is kept."


def _default_memory() -> int:
    """Three quarters of the memory that this process may use: of the machine's, or of its container's."""
    most = psutil.virtual_memory().total
    for file in (*memory_limits(), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        with suppress(OSError, ValueError):
            most = min(most, int(file.read_text()))
    return most * 3 // 4


def memory_limits(root: Path = Path("/sys/fs/cgroup"), about: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """The files that limit this process's memory: its own group's, as a unit of systemd has one, and those above."""
    own = root
    with suppress(OSError, StopIteration):
        own = root / next(line[4:] for line in about.read_text().splitlines() if line.startswith("0::/"))
    return [folder / "memory.max" for folder in (own, *own.parents) if folder.is_relative_to(root)]


def _is_writable(settings: Settings) -> bool:
    there = next((each for each in (settings.cache, *settings.cache.parents) if each.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK)
