"""A Streamlit server and a real Chromium. Whatever goes wrong in either, at any time, fails the test.

``app = serve("dashboard/Home.py")`` starts a server, ``page = app.open("reconstruction?at=30,40")`` shows a page of it
in a tab of its own, which to Streamlit is another visitor; tabs share what the browser has fetched and compiled. The
test fails at its end if there was an error in a console or in the server's log, a request that failed or left the
machine, or an exception on a page.

Tests of one module that serve the same script with the same environment share a server, as visitors do. All tests share
that of `app`: the app itself, with few animals drawn.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.visits import free_port

ROOT = Path(__file__).parents[2]
FEW_ANIMALS = "tests/browser/few_animals.py"
collect_ignore = ["few_animals.py"]  # which would draw few in the process of the tests, too
NAMES = ("chromium", "chromium-browser", "google-chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",  # nothing is drawn faster by emulating one
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--process-per-site",  # tabs share what is compiled, see `App.open`
)
PROBE = re.compile(
    r"/[^/]+/_stcore/(health|host-config)$"
)  # Streamlit tries these when it is opened at a page's address
MEDIA = ("color_scheme", "reduced_motion")  # of a page, not of its screen
COUNT_VIOLATIONS = (  # some are warnings in the console, some nothing
    "window.violations = []; document.addEventListener('securitypolicyviolation',"
    " event => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`))"
)
BROKEN = "Array.from(document.images).filter(i => i.complete && !i.naturalWidth).map(i => i.alt || i.src)"
SETTLED = '[data-testid="stApp"][data-test-script-state="notRunning"][data-test-connection-state="CONNECTED"]'


class App:
    """A running server, the pages a test has opened from it, and everything that went wrong in either."""

    def __init__(self, browser: Browser, script: Path, folder: Path, environment: dict[str, str]) -> None:
        self.problems: list[str] = []
        self._browser = browser
        self._contexts: dict[str, BrowserContext] = {}
        self._kept: list[Page] = []
        self._tolerated: list[str] = []
        self._log_file = folder / "server.log"
        self._log_read = 0
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "streamlit", "run", str(script), f"--server.port={port}"]
        options = ["--server.address=127.0.0.1", "--server.headless=true", "--server.fileWatcherType=none"]
        cache = {"CORRCORE_CACHE": str(folder / "cache")}
        with self._log_file.open("wb") as log:
            self._server = subprocess.Popen(
                [*command, *options],
                cwd=ROOT,
                env={**os.environ, **cache, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self, timeout: float = 60.0) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not self.ended:
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.1)
        pytest.fail(f"the server did not answer within {timeout:.0f} s; its log:\n{self.log()}")

    @property
    def ended(self) -> bool:
        """Whether the server is gone, which nothing should make it."""
        return self._server.poll() is not None

    def log(self) -> str:
        """What the server has printed since the last test."""
        return self._log_file.read_bytes()[self._log_read :].decode("utf-8", errors="replace")

    def open(self, path: str = "", *, width: int = 1280, height: int = 900, **context: Any) -> Page:
        """A page in a new tab, once its script has run.

        `context` goes to Playwright: ``device_scale_factor=2``, ``color_scheme="dark"``, ``has_touch=True`` ...
        """
        size: ViewportSize = {"width": width, "height": height}
        media = {name: context.pop(name) for name in MEDIA if name in context}
        screen = repr(sorted(context.items()))
        if screen not in self._contexts:
            self._contexts[screen] = self._browser.new_context(viewport=size, **context)
            self._contexts[screen].add_init_script(COUNT_VIOLATIONS)
            self._watch(self._contexts[screen])
            # The process of a site ends with its last tab: this one keeps what Streamlit's pages have had compiled.
            self._kept.append(self._contexts[screen].new_page())
            self._kept[-1].goto(f"{self.url}/_stcore/health")
        page = self._contexts[screen].new_page()
        page.set_viewport_size(size)
        page.emulate_media(**media)
        page.goto(f"{self.url}/{path.lstrip('/')}")
        self.settle(page)
        return page

    def settle(self, page: Page) -> None:
        """Wait until the page is connected and no script runs. Better: expect what its visitor waits for."""
        page.wait_for_selector(SETTLED, timeout=60_000)

    def tolerate(self, pattern: str) -> None:
        """Let problems that match a regular expression pass in this test: those it provokes."""
        self._tolerated.append(pattern)

    def check(self) -> None:
        """End the visits; fail if anything went wrong since the last check."""
        for visitor in self._contexts.values():
            for page in [each for each in visitor.pages if each not in self._kept]:
                for exception in page.get_by_test_id("stException").all():
                    self.problems.append(f"exception on the page: {exception.inner_text()}")
                # A picture that a rerun replaced may be gone when the browser asks for it; those shown must be there.
                for violation in page.evaluate("window.violations || []"):
                    self.problems.append(f"against the content security policy: {violation}")
                for alt in page.evaluate(BROKEN):
                    self.problems.append(f"picture that is not shown: {alt}")
                page.close()
            visitor.clear_cookies()
        log = self.log()
        if "Traceback" in log:
            self.problems.append(f"traceback in the server's log:\n{log}")
        if self.ended:
            self.problems.append(f"the server ended with {self._server.returncode}; its log:\n{log}")
        problems = [text for text in self.problems if not any(re.search(p, text) for p in self._tolerated)]
        self._log_read += len(log.encode("utf-8"))
        self._tolerated.clear()
        self.problems.clear()
        if problems:
            pytest.fail("\n".join(problems))

    def stop(self) -> None:
        """End the server, as a host does."""
        for visitor in self._contexts.values():
            visitor.close()
        self._server.terminate()
        try:
            self._server.wait(timeout=12)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
            pytest.fail(f"the server did not end within 12 s of SIGTERM; its log:\n{self.log()}")

    def _watch(self, visitor: BrowserContext) -> None:
        visitor.on("console", self._on_console)
        visitor.on("weberror", lambda error: self.problems.append(f"page error: {error.error}"))
        visitor.on("request", self._on_request)
        visitor.on("requestfailed", self._on_requestfailed)
        visitor.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        # Streamlit says so of a picture that a rerun replaced; whether those shown are there is asked in `check`.
        replaced = message.text.startswith(f"Client Error: Image source error - {self.url}/media/")
        if message.type == "error" and not replaced and not self._probe(message.location.get("url", "")):
            self.problems.append(f"console error: {message.text}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:", f"blob:{self.url}/")):
            self.problems.append(f"request that leaves the machine: {request.url}")

    def _on_requestfailed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # given up because the page went on
            self.problems.append(f"request failed: {request.url}: {request.failure}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and not self._probe(response.url):
            self.problems.append(f"request answered with {response.status}: {response.url}")

    def _probe(self, url: str) -> bool:
        return PROBE.search(url.removeprefix(self.url)) is not None or url.startswith(f"{self.url}/media/")


def chromium_path() -> str | None:
    """The browser to drive: the one named by CORRCORE_CHROMIUM, else one that is installed."""
    mac = MAC if Path(MAC).exists() else None
    return os.environ.get("CORRCORE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), mac)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    path = chromium_path()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path; set CORRCORE_CHROMIUM to a Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


Servers = dict[tuple[object, ...], App]  # by script and environment


def stopping() -> Iterator[Servers]:
    servers: Servers = {}
    yield servers
    for app in servers.values():
        app.stop()


of_a_module = pytest.fixture(scope="module", name="of_a_module")(stopping)
of_all = pytest.fixture(scope="package", name="of_all")(stopping)


@pytest.fixture
def serve(
    chromium: Browser, of_a_module: Servers, of_all: Servers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., App]]:
    """``serve(script, NAME="value", ...)``: the app of a script, with a cache and environment of its own."""

    def start(script: str | Path, **environment: str) -> App:
        key = (str(script), *sorted(environment.items()))
        running = of_all if script == FEW_ANIMALS else of_a_module
        if key not in running or running[key].ended:
            running[key] = App(chromium, ROOT / script, tmp_path_factory.mktemp("server"), environment)
            running[key].wait()
        return running[key]

    yield start
    for app in (*of_a_module.values(), *of_all.values()):
        app.check()


@pytest.fixture
def app(serve: Callable[..., App]) -> App:
    """The app, as most tests visit it."""
    return serve(FEW_ANIMALS, CORRCORE_DATA="")


def link(page: Page) -> str:
    """What a page gives as the link to its view."""
    page.get_by_role("button", name="Link", exact=True).click()
    code = page.get_by_test_id("stPopoverBody").get_by_test_id("stCode")
    expect(code).to_be_visible()
    text = code.inner_text().strip()
    page.keyboard.press("Escape")
    return text
