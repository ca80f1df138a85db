"""How long one waits for the app: for the first look at each page with nothing computed yet, and for a change of k.

Every look is at a server of its own with an empty folder of results, in a browser that runs already: from the page's
address to the picture that comes last, when nothing runs any more. Home's time is from the start of the server's
process, also with a folder of results that was used before. Other pages are asked for once Home was looked at and the
server says that it is ready; and, for the note, the moment that it answers, with torch yet to be loaded. The change of
k, and the click on Match, are the time of one run of the page, without the browser, whose features are cached.

Options: rounds (3); pages (such as alignment+results: all); kernels (1: what is compiled is kept; 0: it is compiled
anew, as on a new machine).
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

from playwright.sync_api import Browser
from streamlit.testing.v1 import AppTest

from dashboard.navigation import PAGES, PageSpec
from tests.benchmarks.measure import Bar, Row, Run
from tests.dashboard.conftest import send
from tests.drills.server import ROOT, Server, chromium

START_S, LOOK_S, CHANGE_S = 8.0, 6.0, 0.3  # bars
SHOWN = ("img", "canvas", "svg.main-svg", "[data-testid=stMetric]")  # Status has numbers alone
PICTURES = ", ".join(f"[data-testid=stMain] {each}" for each in SHOWN)
RUNNING = ("stStatusWidget", "stProgress", "stSpinner")
BUSY = ", ".join(["[data-test-script-state=running]", *(f"[data-testid={each}]" for each in RUNNING)])
QUIET_S = 1.5  # that nothing runs: then all is there


@dataclass(frozen=True)
class Look:
    """Seconds from the start of the server's process: until the page was asked for, until its first picture, and until
    all was there; and the seconds that processors worked for the server.
    """

    asked: float
    first: float
    all: float
    worked: float


def look_at(browser: Browser, path: str, cache: Path, environment: dict[str, str], *, once_ready: bool = False) -> Look:
    """One first look, at a server of its own: the moment that it answers, or once it is ready while Home is shown."""
    begun = time.perf_counter()
    server = Server(cache, environment)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    try:
        while server.status("/_stcore/health") != 200:
            time.sleep(0.02)
        if once_ready:
            page.goto(server.url)
            page.wait_for_selector(PICTURES, timeout=120_000)
            server.wait("/readyz")
        before = server.process.cpu_times()
        asked = time.perf_counter()
        page.goto(f"{server.url}/{'' if path == PAGES[0].path else path}")
        page.wait_for_selector(PICTURES, timeout=120_000)
        first = time.perf_counter()
        quiet = None
        while quiet is None or time.perf_counter() - quiet < QUIET_S:
            quiet = None if page.query_selector(BUSY) else quiet or time.perf_counter()
            time.sleep(0.05)
        times = server.process.cpu_times()
        worked = times.user + times.system - before.user - before.system
        return Look(asked - begun, first - begun, quiet - begun, worked)
    finally:
        page.close()
        server.stop()


def said(looks: list[Look]) -> str:
    """Medians in words."""
    first, all_ = median(look.first - look.asked for look in looks), median(look.all - look.asked for look in looks)
    start, worked = median(look.all for look in looks), median(look.worked for look in looks)
    return f"first picture {first:.1f}, all {all_:.1f}, from the start {start:.1f}, processors worked {worked:.1f} s"


def first_looks(run: Run) -> Iterator[Row]:
    """A row for each page, and one more for Home."""
    asked = run.option("pages", "").split("+") if run.option("pages", "") else [spec.path for spec in PAGES]
    new, rounds = not run.option("kernels", 1), run.option("rounds", 1 if run.quick else 3)
    with chromium() as browser, tempfile.TemporaryDirectory() as folder:
        look_at(browser, PAGES[0].path, Path(folder) / "used", {})  # reads all from the disk
        for spec in [spec for spec in PAGES if spec.path in asked]:
            home = spec is PAGES[0]

            def looks(*, once_ready: bool, spec: PageSpec = spec) -> Iterator[Look]:
                for number in range(rounds):
                    fresh = Path(folder) / f"{spec.path} {number} {once_ready}"
                    kernels = {"NUMBA_CACHE_DIR": f"{fresh}/kernels"} if new else {}
                    yield look_at(browser, spec.path, fresh / "cache", kernels, once_ready=once_ready)

            at_once = list(looks(once_ready=False))
            seen = at_once if home else list(looks(once_ready=True))
            seconds = [look.all - (0 if home else look.asked) for look in seen]
            note = said(seen) + ("" if home else f"; asked for at once: {said(at_once)}")
            what = f"{spec.title}, from the start" if home else f"first look at {spec.title}"
            yield Row(f"{what}, nothing cached", median(seconds), bar=Bar.most(START_S if home else LOOK_S), note=note)
        if PAGES[0].path in asked:
            looks = [look_at(browser, PAGES[0].path, Path(folder) / "used", {}) for _ in range(rounds)]
            yield Row("Home, from the start", median(look.all for look in looks), bar=Bar.most(START_S))


def changes_of_k(run: Run) -> Iterator[Row]:
    """The Reconstruction page, run by itself."""
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, CORRCORE_CACHE=cache):
        at = AppTest.from_file(str(ROOT / "dashboard/app_pages/reconstruction.py"), default_timeout=300).run()
        while any(button.label == "Cancel" for button in at.button):
            time.sleep(0.2)
            at.run()
        seconds = []
        for k in (7, 20, 50, 11, 33):
            at.slider(key="k").set_value(k)
            seconds.append(run.seconds(at.run))
    yield Row("change of k", median(seconds), bar=Bar.most(CHANGE_S))


def clicks_on_match(run: Run) -> Iterator[Row]:
    """The Match page, run by itself: points of two photos that are described already, by three features."""
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, CORRCORE_CACHE=cache):
        at = AppTest.from_file(str(ROOT / "dashboard/app_pages/match.py"), default_timeout=300).run()
        points = [{"x": 60 + 30 * n, "y": 100 + 15 * n, "id": n + 1} for n in range(9)]
        seconds = [run.seconds(lambda point=point: send(at, "photo first", [point])) for point in points]
    yield Row("a click on Match, described photos", median(seconds), bar=Bar.most(CHANGE_S))


def rows(run: Run) -> Iterator[Row]:
    """First looks, a change of a slider, and a click."""
    yield from first_looks(run)
    with contextlib.redirect_stderr(None):
        yield from changes_of_k(run)
        yield from clicks_on_match(run)
