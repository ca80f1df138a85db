"""What the drills share: the app in a process of its own, a real Chromium, and tables with bars."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
from playwright.sync_api import Browser, sync_playwright

from tests.browser.conftest import FLAGS, chromium_path
from tests.visits import free_port

ROOT = Path(__file__).parents[2]
MIB = 2**20
FORGOTTEN_S = 65.0  # until visitors who have gone are, and what they held has gone back to the system


class Server:
    """The app, started as README says, on a free port of this machine alone."""

    def __init__(self, cache: Path, environment: Mapping[str, str] | None = None, root: Path = ROOT) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        cache.mkdir(parents=True, exist_ok=True)
        self.log_file = cache.parent / f"server-{self.port}.log"
        command = [sys.executable, "-X", "faulthandler", "-m", "streamlit", "run", "dashboard/Home.py"]
        command += [f"--server.port={self.port}", "--server.address=127.0.0.1", "--server.headless=true"]
        there = {**os.environ, "PYTHONPATH": str(root), "CORRCORE_CACHE": str(cache), **(environment or {})}
        with self.log_file.open("wb") as log:
            self.process = psutil.Popen(
                command, cwd=root, env=there, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self, path: str = "/_stcore/health", timeout: float = 120.0) -> float:
        """Waits until an address is answered with 200; the seconds that took. Raises TimeoutError with the log."""
        begun = time.monotonic()
        while time.monotonic() < begun + timeout and self.process.poll() is None:
            if self.status(path) == 200:
                return time.monotonic() - begun
            time.sleep(0.1)
        msg = f"{path} was not answered within {timeout:.0f} s; the log:\n{self.log()}"
        raise TimeoutError(msg)

    def status(self, path: str) -> int:
        """The status that an address is answered with; 0 without an answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def text(self, path: str) -> str:
        """What an address answers."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()

    def log(self) -> str:
        """What the server has printed."""
        return self.log_file.read_text("utf-8", errors="replace")

    def tracebacks(self) -> list[str]:
        """A word on those in the log; none where there are none."""
        return ["a traceback in the log"] * ("Traceback" in self.log())

    def resident(self) -> float:
        """Resident memory of the server and its children in MiB."""
        total = 0
        for each in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
        return total / MIB

    def own(self) -> float:
        """Resident memory beyond mapped files in MiB."""
        memory = self.process.memory_info()
        return (memory.rss - getattr(memory, "shared", 0)) / MIB

    def stop(self, timeout: float = 30.0) -> float | None:
        """Seconds from SIGTERM to the end; None where it had to be killed, its threads' stacks in the log."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout)
        except psutil.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # which prints the stacks
            self.process.wait()
            return None
        return time.monotonic() - begun


@contextlib.contextmanager
def serving(cache: Path, environment: Mapping[str, str] | None = None, root: Path = ROOT) -> Iterator[Server]:
    """The app, once it answers; stopped at the end."""
    server = Server(cache, environment, root)
    try:
        server.wait()
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def report(rows: Sequence[tuple[str, float | int | str, str, bool]]) -> int:
    """Prints a table of (what, measured, bar, whether it is held); 1 where a bar is missed, else 0."""
    width = max(len(row[0]) for row in rows)
    for what, measured, bar, held in rows:
        value = f"{measured:.1f}" if isinstance(measured, float) else str(measured)
        print(f"{what:{width}}  {value:>10}  {bar:>14}  {'ok' if held else 'MISSED'}", flush=True)
    return int(not all(row[3] for row in rows))
