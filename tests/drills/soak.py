"""Visitors who come and go, 500 of them: memory grows by at most 100 MB after the second hundred.

    python -m tests.drills.soak [--visits 500] [--at-once 4]

Each connects, sees one page, and leaves; the pages take turns. Memory is compared once visitors who are gone are
forgotten, after half a minute, and what they held has gone back to the system, half a minute later.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from pathlib import Path

from tests.drills.server import FORGOTTEN_S, Server, report, serving
from tests.drills.views import quick_views
from tests.drills.visitor import Visitor

GROWTH_MIB = 100.0
STEPS = 5


async def come_and_go(server: Server, visits: int, at_once: int) -> list[str]:
    """So many visits; what went wrong."""
    errors: list[str] = []
    pages, room = quick_views(), asyncio.Semaphore(at_once)

    async def one(page: str, query: str) -> None:
        async with room:
            try:
                async with Visitor(server.port) as visitor:
                    view = await visitor.view(page, query, timeout=120)
                    errors.extend(view.exceptions)
            except (TimeoutError, OSError) as error:
                errors.append(f"{page}: {error!r}")

    await asyncio.gather(*(one(*view) for view in itertools.islice(pages, visits)))
    return errors


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "cache") as server:
        server.wait("/readyz")
        memory, errors = [server.resident()], []
        for _ in range(STEPS):
            errors += asyncio.run(come_and_go(server, options.visits // STEPS, options.at_once))
            if len(memory) in (2, STEPS):
                time.sleep(FORGOTTEN_S)
            memory.append(server.resident())
            print(f"after {options.visits // STEPS * (len(memory) - 1):4} visits: {memory[-1]:.0f} MiB", flush=True)
        errors += server.tracebacks()
        if errors:
            print("\n".join(errors), server.log(), sep="\n")
    growth = memory[-1] - memory[2]
    return report(
        [
            ("visits", options.visits, "", True),
            ("errors", len(errors), "0", not errors),
            ("resident memory at first, MiB", memory[0], "", True),
            ("resident memory at last, MiB", memory[-1], "", True),
            (f"growth after {2 * options.visits // STEPS}, MiB", growth, f"<= {GROWTH_MIB:.0f}", growth <= GROWTH_MIB),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
