"""A week's use: 10,000 views by visitors who come, look at ten things each and go; memory and disk are flat at the end.

    python -m tests.drills.week [--views 10000] [--at-once 3] [--seed 0]

What is looked at is drawn at random from all pages, photos, places and settings, so most views are new to the server.
Memory and disk are noted twenty times; over the last quarter neither may grow by more than its bar. The disk may hold
300 MB of results, which a week fills, and memory is noted at the ends of that quarter once visitors who have gone are
forgotten.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.drills.server import FORGOTTEN_S, MIB, Server, report, serving
from tests.drills.views import random_view
from tests.drills.visitor import Visitor

VIEWS_A_VISIT = 10
STEPS = 20
GROWTH_MIB, DISK_MIB = 60.0, 20.0
RESULTS_MB = 300
QUARTER = 3 * STEPS // 4  # the last begins there


async def visits(server: Server, views: int, at_once: int, rng: random.Random) -> list[str]:
    """So many views, by visitors of whom so many are there at once; what went wrong."""
    errors: list[str] = []
    room = asyncio.Semaphore(at_once)

    async def one(seen: list[tuple[str, str]]) -> None:
        async with room:
            try:
                async with Visitor(server.port) as visitor:
                    for page, query in seen:
                        errors.extend((await visitor.view(page, query, timeout=180)).exceptions)
            except (TimeoutError, OSError) as error:
                errors.append(repr(error))

    plans = [[random_view(rng) for _ in range(VIEWS_A_VISIT)] for _ in range(max(views // VIEWS_A_VISIT, 1))]
    await asyncio.gather(*map(one, plans))
    return errors


def disk(folder: Path) -> float:
    """Size of all files below a folder in MiB; those that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total / MIB


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng, environment = random.Random(options.seed), {"CORRCORE_RESULTS_MB": str(RESULTS_MB)}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "cache", environment) as server:
        server.wait("/readyz")
        memory, disks, errors = [server.resident()], [disk(Path(folder))], []
        for step in range(1, STEPS + 1):
            errors += asyncio.run(visits(server, options.views // STEPS, options.at_once, rng))
            if step in (QUARTER, STEPS):
                time.sleep(FORGOTTEN_S)
            memory.append(server.resident())
            disks.append(disk(Path(folder)))
            seen = options.views // STEPS * step
            print(f"after {seen:6} views: {memory[-1]:5.0f} MiB in memory, {disks[-1]:5.0f} MiB on disk", flush=True)
        errors += server.tracebacks()
        if errors:
            print("\n".join(errors[:50]), server.log()[-5000:], sep="\n")
    growth, more = memory[-1] - memory[QUARTER], disks[-1] - disks[QUARTER]
    return report(
        [
            ("views", options.views, "", True),
            ("errors", len(errors), "0", not errors),
            ("resident memory at last, MiB", memory[-1], "", True),
            ("its growth over the last quarter, MiB", growth, f"<= {GROWTH_MIB:.0f}", growth <= GROWTH_MIB),
            ("disk at last, MiB", disks[-1], "", True),
            ("its growth over the last quarter, MiB", more, f"<= {DISK_MIB:.0f}", more <= DISK_MIB),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
