"""The app's memory with the index of drawn animals alone: at most 800 MB resident beyond mapped files; where it goes.

    python -m tests.drills.memory

First what each part adds in a process of its own, then the server: when it is ready, and when every page has been seen.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from dashboard.navigation import PAGES
from tests.drills.server import Server, report, serving
from tests.drills.visitor import Visitor

OWN_MIB = 800e6 / 2**20
PARTS = (
    ("streamlit", "import streamlit"),
    ("numpy, scipy, numba", "import numpy, scipy.ndimage, scipy.optimize, numba"),
    ("torch", "import torch; torch.zeros(1)"),
    ("torchvision", "import torchvision"),
    ("the pages' services", "from dashboard.server import status"),
    ("AlexNet", "from corrcore import networks; network = networks.open('alexnet', device='cpu')"),
    ("its index", "from corrcore import patch_index; index = patch_index.samples(network)"),
)
MEASURE = "m = __import__('psutil').Process().memory_info(); print((m.rss - m.shared) / 2**20, m.shared / 2**20)"


def parts(cache: Path) -> None:
    """Prints what each part adds, in the order in which they are loaded."""
    lines = [MEASURE]
    for _, code in PARTS:
        lines += [code, MEASURE]
    environment = {**os.environ, "CORRCORE_CACHE": str(cache)}
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "\n".join(lines)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    own, mapped = [float(each) for each in told[::2]], [float(each) for each in told[1::2]]
    print(f"{'':24} {'own, MiB':>10} {'mapped, MiB':>12}")
    for number, (name, _) in enumerate(PARTS, start=1):
        print(f"{name:24} {own[number] - own[number - 1]:10.0f} {mapped[number] - mapped[number - 1]:12.0f}")


async def see_all(server: Server) -> None:
    """One visitor on every page."""
    async with Visitor(server.port) as visitor:
        for spec in PAGES:
            await visitor.view("" if spec is PAGES[0] else spec.path, timeout=180)
            await asyncio.sleep(3)  # for its picture, which comes as a job


def main() -> int:
    """Runs the drill; the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        with serving(cache) as server:
            server.wait("/readyz")
            ready = server.own()
            asyncio.run(see_all(server))
            seen = server.own()
        parts(cache)
    return report(
        [
            ("own memory when ready, MiB", ready, f"<= {OWN_MIB:.0f}", ready <= OWN_MIB),
            ("own memory once every page was seen, MiB", seen, f"<= {OWN_MIB:.0f}", seen <= OWN_MIB),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
