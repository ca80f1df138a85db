"""Every check in one command: ``python -m tests``; with ``--quick`` those for the habit. Further arguments go
to pytest.

Quick are the linter, the layers and all tests but the slow ones, the pages' and the browser's.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PYTHON = [sys.executable, "-m"]
WORKERS = min(os.cpu_count() or 1, 4)
LINTERS = (
    [*PYTHON, "ruff", "check", "."],
    [*PYTHON, "ruff", "format", "--check", "."],
    [str(Path(sys.executable).with_name("lint-imports"))],
)
SCHEMA = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema"]
SLOW_LINTERS = (
    [*PYTHON, "pyright", "--pythonpath", sys.executable],  # else it takes the Python that PATH names
    [*SCHEMA, "vendor.github-workflows", ".github/workflows/ci.yml"],
    [*SCHEMA, "vendor.compose-spec", "compose.yaml", "compose.cluster.yaml"],
)
# Modules whole, for their fixtures, and in their order: the browser's, which are slowest, come first.
PYTEST = [*PYTHON, "pytest", f"-n{WORKERS}", "--dist=loadfile", "--no-loadscope-reorder"]
QUICK = ["-m", "not slow", "--ignore=tests/browser", "--ignore=tests/dashboard"]


def run(check: list[str], *, later: bool = False) -> subprocess.CompletedProcess:
    """Runs one, and says so before, unless its output is for `later`."""
    if later:
        return subprocess.run(check, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    print(f"--- {' '.join(check)}", flush=True)
    return subprocess.run(check, check=False)


def main() -> int:
    """Runs all of them, whatever fails; the exit code is the number that failed. Slow linters run beside tests."""
    quick = "--quick" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    done = [run(check) for check in LINTERS]
    with ThreadPoolExecutor(1) as beside:
        slow = [beside.submit(run, check, later=True) for check in (() if quick else SLOW_LINTERS)]
        done.append(run([*PYTEST, *(QUICK if quick else []), *arguments]))
    for check, one in zip(SLOW_LINTERS, slow, strict=False):
        print(f"--- {' '.join(check)}\n{one.result().stdout}", end="", flush=True)
    return sum(one.returncode != 0 for one in (*done, *(each.result() for each in slow)))


if __name__ == "__main__":
    sys.exit(main())
