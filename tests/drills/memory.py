"""The app's memory beyond mapped files: at most 800 MB with the index of drawn animals alone, and where it goes; at
most 1 GB while an index of a million patches per layer is searched.

    python -m tests.drills.memory [--photos /data/VOCdevkit/VOC2011]

What each part adds is measured in a process of its own; then the server, when it is ready, and when every page has been
seen. With a folder of photos an index of them is built at two scales, and searched by the pages that search.
"""

import argparse
import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from corrcore.patch_index import PatchIndex
from dashboard.navigation import PAGES
from tests.drills.server import FORGOTTEN_S, ROOT, Server, report, serving
from tests.drills.visitor import Visitor

OWN_MIB, OWN_SEARCHING_MIB = 800e6 / 2**20, 1e9 / 2**20
PATCHES = 1_000_000  # of a layer
PARTS = (
    ("streamlit", "import streamlit"),
    ("numpy, scipy, numba", "import numpy, scipy.ndimage, scipy.optimize, numba"),
    ("torch", "import torch; torch.zeros(1)"),
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


async def see_all(server: Server) -> float:
    """One visitor on every page, once what the one before has begun is there; the most memory meanwhile."""
    most = 0.0
    async with Visitor(server.port) as visitor:
        for spec in PAGES:
            page = server.own()
            await visitor.view("" if spec is PAGES[0] else spec.path, timeout=180)
            for looks in itertools.count():
                await asyncio.sleep(0.5)
                page = max(page, server.own())
                if looks >= 10 and looks % 5 == 0 and is_idle(server):  # an answer is kept for two seconds
                    break
            print(f"{spec.title:24} at most {page:6.0f} MiB", flush=True)
            most = max(most, page)
    return most


def is_idle(server: Server) -> bool:
    """Whether no work runs or waits."""
    told = [line.split() for line in server.text("/metrics").splitlines() if line.startswith("corrcore_work_")]
    return not any(int(number) for name, number in told if "ended" not in name)


def build(photos: Path, cache: Path) -> int:
    """An index of photos at two scales, by a command; how many patches its smallest layer has."""
    command = [sys.executable, "-m", "corrcore", "index", "build", str(photos), "--name=million", "--scales=1,0.7"]
    environment = {**os.environ, "CORRCORE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, check=True)
    index = PatchIndex(cache / "indexes" / "million")
    return min(index.n_patches(layer) for layer in index.layers)


async def search(server: Server) -> float:
    """One visitor who looks at photos by that index; the most memory meanwhile."""
    most = 0.0
    async with Visitor(server.port) as visitor:
        for page, query in itertools.product(
            ("reconstruction", "receptive_fields"), ("", "&photo=sample:coffee", "&photo=sample:flower")
        ):
            view = await visitor.view(page, f"index=million{query}", timeout=180)
            assert not view.exceptions, view.exceptions
            for _ in range(40):  # its picture comes as a job
                most = max(most, server.own())
                await asyncio.sleep(0.5)
    return most


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photos for a million patches")
    options = parser.parse_args(arguments)
    searching = []
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        with serving(cache) as server:
            server.wait("/readyz")
            ready = server.own()
            most_seen = asyncio.run(see_all(server))
            time.sleep(FORGOTTEN_S)
            seen = server.own()
        parts(cache)
        if options.photos is not None:
            n = build(options.photos, cache)
            with serving(cache) as server:
                server.wait("/readyz")
                most = asyncio.run(search(server))
            what = "own memory while a million patches are searched, at most, MiB"
            searching = [
                ("patches of the smallest layer", n, f">= {PATCHES:,}", n >= PATCHES),
                (what, most, f"<= {OWN_SEARCHING_MIB:.0f}", most <= OWN_SEARCHING_MIB),
            ]
    return report(
        [
            ("own memory when ready, MiB", ready, f"<= {OWN_MIB:.0f}", ready <= OWN_MIB),
            ("own memory while every page is seen, at most, MiB", most_seen, f"<= {OWN_MIB:.0f}", most_seen <= OWN_MIB),
            ("own memory once they were, MiB", seen, f"<= {OWN_MIB:.0f}", seen <= OWN_MIB),
            *searching,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
