"""SIGTERM at random moments, a browser connected and work running: how long until the server has ended, and whether
what it was writing is whole.

    python -m tests.drills.stop [--stops 50] [--seed 0]

Each round starts the app, opens a page in Chromium whose first view describes the drawn animals, and sends SIGTERM some
random time after. All rounds share one cache, which is emptied now and then, so that there is work to interrupt. A
server that has not ended within 30 s is aborted, and the stacks of its threads are in the log that is printed.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Error

from corrcore import patch_index
from corrcore.patch_index import State
from corrcore.store import Cache
from tests.drills.server import ROOT, Server, chromium, report

GRACE_S = 10.0
PAGES = ("reconstruction", "receptive_fields", "alignment", "prediction", "results")


def faults(cache: Path) -> list[str]:
    """What a server left behind that cannot be used as it is: unfinished builds resume, so they are none."""
    found = []
    root = cache / "indexes"
    for listing in patch_index.catalogue.listings(root) if root.exists() else []:
        if listing.state is State.DAMAGED:
            found.append(f"{listing.path}: {listing.state}")
    kept = Cache(cache)
    found += [str(fault) for fault in kept.problems()]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args(arguments)
    rng = random.Random(options.seed)
    times, hung, torn = [], [], []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        cache = Path(folder) / "cache"
        for number in range(options.stops):
            if number % 4 == 0:
                shutil.rmtree(cache, ignore_errors=True)
            server, page = Server(cache, root=options.root), browser.new_page()
            server.wait()
            where, wait = rng.choice(PAGES), rng.uniform(0.0, 8.0)
            try:
                page.goto(f"{server.url}/{where}", wait_until="commit")
                page.wait_for_timeout(1000 * wait)
            except Error:
                pass  # the page is of no interest
            took = server.stop()
            print(f"{number:3} {where:17} after {wait:.1f} s: {'HUNG' if took is None else f'{took:.2f} s'}", flush=True)
            (times.append(took) if took is not None else hung.append(server.log()))
            page.close()
            time.sleep(0.1)
    for log in hung:
        print(log)
    worst = max(times, default=0.0)
    return report(
        [
            ("stops", options.stops, "", True),
            ("hung, aborted after 30 s", len(hung), "0", not hung),
            ("seconds to the end, median", median(times) if times else 0.0, "", True),
            ("seconds to the end, worst", worst, f"<= {GRACE_S:.0f}", worst <= GRACE_S),
            ("files that cannot be used", len(torn), "0", not torn),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
