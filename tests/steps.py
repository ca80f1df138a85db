"""Work done in processes of its own, each for a limited time: one that crashes, hangs or runs out of memory costs only
what it had still to do.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOLD = 4000  # of a process's last characters


@dataclass(frozen=True)
class Outcome:
    """How a step ended: its exit code, or None where its time was up; and the last of what it printed."""

    code: int | None
    seconds: float
    output: str

    @property
    def fault(self) -> str:
        """Why the step has failed, in a few words; empty where it has not."""
        if self.code is None:
            return f"not done after {self.seconds:.0f} s"
        if self.code < 0:
            return f"ended by {signal.Signals(-self.code).name}"
        last = self.output.strip().splitlines()[-1:] or ["it printed nothing"]
        return f"exit code {self.code}: {last[0].strip()}" if self.code else ""


def python(
    *arguments: str, seconds: float, environment: Mapping[str, str] | None = None, echo: bool = False
) -> Outcome:
    """Runs Python from the repository's root, for so many seconds at most; then it is killed with all its children."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(environment or {})}
    begun = time.monotonic()
    with tempfile.TemporaryFile() as printed:
        output = None if echo else printed
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(timeout=max(seconds, 1))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        printed.seek(0, os.SEEK_END)
        printed.seek(max(0, printed.tell() - TOLD))
        return Outcome(code, time.monotonic() - begun, printed.read().decode(errors="replace"))


def end_by_signal() -> None:
    """Lets SIGTERM end this process as an exception does, so that the step that runs ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
