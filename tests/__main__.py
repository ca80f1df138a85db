"""Every check in one command: ``python -m tests``; with ``--quick`` those for the habit. Further arguments go
to pytest.

Quick are the linter, the layers and all tests but the slow ones, the pages' and the browser's.
"""

import os
import subprocess
import sys
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
    [*SCHEMA, "vendor.compose-spec", "compose.yaml"],
)
# Modules whole, for their fixtures, and in their order: the browser's, which are slowest, come first.
PYTEST = [*PYTHON, "pytest", f"-n{WORKERS}", "--dist=loadfile", "--no-loadscope-reorder"]
QUICK = ["-m", "not slow", "--ignore=tests/browser", "--ignore=tests/dashboard"]


def main() -> int:
    """Runs all of them, whatever fails; the exit code is the number that failed."""
    quick = "--quick" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--quick"]
    tests = [*PYTEST, *(QUICK if quick else []), *arguments]
    failed = 0
    for check in (*LINTERS, *(() if quick else SLOW_LINTERS), tests):
        print(f"--- {' '.join(check)}", flush=True)
        failed += subprocess.run(check, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
