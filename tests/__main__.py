"""Every check in one command: ``python -m tests``. Further arguments go to pytest."""

import os
import subprocess
import sys
from pathlib import Path

PYTHON = [sys.executable, "-m"]
WORKERS = min(os.cpu_count() or 1, 4)
CHECKS = (
    [*PYTHON, "ruff", "check", "."],
    [*PYTHON, "ruff", "format", "--check", "."],
    [*PYTHON, "pyright", "--pythonpath", sys.executable],  # else it takes the Python that PATH names
    [str(Path(sys.executable).with_name("lint-imports"))],
    # Modules whole, for their fixtures, and in their order: the browser's, which are slowest, come first.
    [*PYTHON, "pytest", f"-n{WORKERS}", "--dist=loadfile", "--no-loadscope-reorder", *sys.argv[1:]],
)


def main() -> int:
    """Runs all of them, whatever fails; the exit code is the number that failed."""
    failed = 0
    for check in CHECKS:
        print(f"--- {' '.join(check)}", flush=True)
        failed += subprocess.run(check, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
