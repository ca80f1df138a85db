"""Thirty visitors at once, ten runs of a page each: no error, 95 in 100 runs within 10 s, at most 1.5 GB resident.

    python -m tests.drills.load [--sessions 30] [--reruns 10]

Visitors speak Streamlit's websocket, begin together, and go from page to page and from choice to choice without a
pause. A run is timed until its script has finished; pictures that take longer follow as jobs.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.drills.server import Server, report, serving
from tests.drills.views import random_view
from tests.drills.visitor import Visitor

P95_S, RESIDENT_MIB = 10.0, 1500.0
PATIENCE_S = 120.0


async def visit(port: int, number: int, reruns: int) -> tuple[list[float], list[str]]:
    """The seconds of one visitor's runs, and what went wrong."""
    rng, times, errors = random.Random(number), [], []
    async with Visitor(port) as visitor:
        for _ in range(reruns):
            page, query = random_view(rng)
            begun = time.monotonic()
            try:
                view = await visitor.view(page, query, timeout=PATIENCE_S)
            except TimeoutError:
                errors.append(f"{page}?{query}: no end within {PATIENCE_S:.0f} s")
                break
            times.append(time.monotonic() - begun)
            errors += [f"{page}?{query}: {error}" for error in view.exceptions]
    return times, errors


async def watch(server: Server, peak: list[float]) -> None:
    """Notes the largest resident memory."""
    while True:
        peak.append(max(server.resident(), *peak[-1:]))
        await asyncio.sleep(0.5)


async def rush(server: Server, sessions: int, reruns: int) -> tuple[list[float], list[str], float]:
    """All visitors together: the seconds of all runs, all errors, and the most memory in MiB."""
    peak: list[float] = [server.resident()]
    watching = asyncio.create_task(watch(server, peak))
    found = await asyncio.gather(*(visit(server.port, n, reruns) for n in range(sessions)), return_exceptions=True)
    watching.cancel()
    done = [each for each in found if not isinstance(each, BaseException)]
    broken = [repr(each) for each in found if isinstance(each, BaseException)]
    return [t for times, _ in done for t in times], broken + [e for _, errors in done for e in errors], max(peak)


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=30)
    parser.add_argument("--reruns", type=int, default=10)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "cache") as server:
        server.wait("/readyz")
        times, errors, peak = asyncio.run(rush(server, options.sessions, options.reruns))
        errors += server.tracebacks()
        if errors:
            print("\n".join(errors), server.log(), sep="\n")
    p95 = float(np.percentile(times, 95)) if times else float("inf")
    wanted = options.sessions * options.reruns
    return report(
        [
            ("runs that finished", len(times), f"{wanted}", len(times) == wanted),
            ("errors", len(errors), "0", not errors),
            ("seconds a run, median", float(np.median(times)) if times else float("inf"), "", True),
            ("seconds a run, 95th percentile", p95, f"<= {P95_S:.0f}", p95 <= P95_S),
            ("resident memory at most, MiB", peak, f"<= {RESIDENT_MIB:.0f}", peak <= RESIDENT_MIB),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
