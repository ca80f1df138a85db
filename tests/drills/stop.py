"""SIGTERM at random moments, a browser connected and work running: how long until the server has ended, and whether
what it was writing is whole.

    python -m tests.drills.stop [--stops 50] [--seed 0]

Each round starts the app, opens a page in Chromium whose first view describes the drawn animals, and sends SIGTERM some
random time after; in every other round a connection is open besides that has asked for much and reads nothing of it,
for which uvicorn would wait without end. All rounds share one cache, which is emptied now and then, so that there is
work to interrupt. A server that has not ended within 30 s is aborted; the stacks of its threads are in the log that is
printed.
"""

import argparse
import contextlib
import random
import shutil
import socket
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import streamlit
from playwright.sync_api import Browser, Error

from corrcore import patch_index
from corrcore.patch_index import State
from corrcore.store import Cache
from tests.drills.server import Server, chromium, report

GRACE_S = 10.0
PAGES = ("reconstruction", "receptive_fields", "alignment", "prediction", "results")


def faults(cache: Path) -> list[str]:
    """What a server left behind that cannot be used; builds that were interrupted resume, so they are no faults."""
    found = [each.note for each in patch_index.survey(cache / "indexes") if each.state is State.UNREADABLE]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        Cache(cache).statistics()
    return found + [str(each.message) for each in warned]


def stalled(port: int) -> socket.socket:
    """A connection that has asked for much and reads nothing of it, as a browser whose machine went to sleep."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    scripts = (Path(streamlit.__file__).parent / "static" / "static" / "js").glob("*.js")
    largest = max(scripts, key=lambda file: file.stat().st_size).name
    connection.sendall(f"GET /static/js/{largest} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return connection


def stop_once(cache: Path, browser: Browser, rng: random.Random) -> tuple[float | None, str]:
    """Seconds that one stop took, None where the server hung; and its log."""
    server, page = Server(cache), browser.new_page()
    server.wait()
    where, wait, stalls = rng.choice(PAGES), rng.uniform(0.0, 8.0), rng.random() < 0.5
    with contextlib.suppress(Error):  # the page itself is of no interest
        page.goto(f"{server.url}/{where}", wait_until="commit")
        page.wait_for_timeout(1000 * wait)
    with stalled(server.port) if stalls else contextlib.nullcontext():
        time.sleep(0.2)
        took = server.stop()
    page.close()
    beside = ", a connection stalled" if stalls else ""
    print(f"{where:17} after {wait:.1f} s{beside}: {'HUNG' if took is None else f'{took:.2f} s'}", flush=True)
    return took, server.log()


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    rng, times, hung, torn = random.Random(options.seed), [], 0, []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        cache = Path(folder) / "cache"
        for number in range(options.stops):
            if number % 4 == 0:
                shutil.rmtree(cache, ignore_errors=True)
            took, log = stop_once(cache, browser, rng)
            torn += faults(cache)
            if took is None or "Timeout (" in log:  # the watchdog's word
                hung += 1
                print(log)
            times += [took] if took is not None else []
    for fault in torn:
        print(fault)
    worst = max(times, default=0.0)
    return report(
        [
            ("stops", options.stops, "", True),
            ("ended by force", hung, "0", not hung),
            ("seconds to the end, median", median(times) if times else 0.0, "", True),
            ("seconds to the end, worst", worst, f"<= {GRACE_S:.0f}", worst <= GRACE_S),
            ("files that cannot be used", len(torn), "0", not torn),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
