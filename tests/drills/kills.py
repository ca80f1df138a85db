"""Kills commands, and the servers that began them, at random moments of an evaluation and of the building of an index.

    python -m tests.drills.kills --times 10

Passes when every kill is one sentence or, of a server, leaves no command behind; when the next job runs; and when what
is finished in the end is what an undisturbed run makes, value for value, but for times. Prints a line per drill.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from corrcore.patch_index import PatchIndex
from dashboard.services import processes
from dashboard.services.jobs import LONG, Job, Queue

SERVER = """
import sys
from dashboard.services import processes
processes.run(sys.argv[1:], progress=lambda done, text: print(done, flush=True))
"""
TIMES = {"seconds", "begun", "measured_at", "time"}


def main() -> int:
    """All drills; the exit code is 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=10, help="kills per drill (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, failed = np.random.default_rng(options.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _photos(root / "photos")
        works = {
            "evaluation": (["evaluate", "classification", "--data=toy", "--limit=12"], _table),
            "index": (["index", "build", "--name=mine", "--scales=1,0.7", str(root / "photos")], _index),
        }
        for name, (arguments, read) in works.items():
            os.environ["CORRCORE_CACHE"] = str(root / f"{name} undisturbed")
            begun = time.monotonic()
            processes.run(arguments, progress=lambda *_: None)
            seconds, expected = time.monotonic() - begun, read(root / f"{name} undisturbed")
            for killed, kill in (("command", _kill_command), ("server", _kill_server)):
                cache = root / f"{name} {killed}"
                os.environ["CORRCORE_CACHE"] = str(cache)
                kills, sentences = 0, set()
                while kills < options.times:
                    said = kill(arguments, float(rng.uniform(0.1, 1.0)) * seconds)
                    kills += 1
                    sentences.add(said)
                    if said == "done":  # it was quicker than the kill: begin anew
                        shutil.rmtree(cache)
                processes.run(arguments, progress=lambda *_: None)
                same = read(cache) == expected
                plain = all(re.fullmatch(r"done|no command is left|It was killed, .*\.", said) for said in sentences)
                failed += not (same and plain)
                print(f"{name}, {killed} killed {kills} times: {'the same' if same else 'ANOTHER'} result; {sentences}")
    return 1 if failed else 0


def _photos(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(40):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        small.resize((400, 300), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


def _kill_command(arguments: Sequence[str], after: float) -> str:
    """Kills the command that a queue runs; what a visitor reads."""
    queue = Queue()
    job = queue.submit(processes.run, arguments, label="Work", owner="me", lane=LONG)
    _wait(after, job)
    for child in psutil.Process().children():
        child.send_signal(signal.SIGKILL)
    if not job.wait(20):
        raise SystemExit("a job whose command was killed goes on")
    following = queue.submit(lambda progress: 7, label="Next", owner="me", lane=LONG)
    if not following.wait(5) or following.result != 7 or not queue.close():
        raise SystemExit("the next job does not run")
    return job.error or job.state


def _wait(after: float, job: "Job[None]") -> None:
    deadline = time.monotonic() + after
    while time.monotonic() < deadline and not job.finished:
        time.sleep(0.02)


def _kill_server(arguments: Sequence[str], after: float) -> str:
    """Kills a process that runs the command for somebody; the command must end by itself."""
    server = subprocess.Popen([sys.executable, "-c", SERVER, *arguments], stdout=subprocess.DEVNULL)
    try:
        server.wait(after)
    except subprocess.TimeoutExpired:
        pass
    else:
        return "done"
    children = psutil.Process(server.pid).children()
    server.send_signal(signal.SIGKILL)
    server.wait(5)
    _, alive = psutil.wait_procs(children, timeout=10)
    if alive:
        raise SystemExit("a command outlives the server that began it")
    return "no command is left"


def _table(cache: Path) -> object:
    """The records of all result files, the last of a name, without times."""
    found: dict[str, object] = {}
    for file in sorted((cache / "experiments").glob("*/*.jsonl")):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        found |= {f"{file.name} {line['name']}": _timeless(line) for line in lines if "name" in line}
    return found


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {name: _timeless(each) for name, each in value.items() if name not in TIMES}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def _index(cache: Path) -> object:
    index = PatchIndex(cache / "indexes" / "mine")
    index.verify()
    return index.digest, len(index.photos)


if __name__ == "__main__":
    sys.exit(main())
