"""The real Caddy, with the configuration that compose.yaml gives it, in front of two processes of the app; and the real
nginx with README's lines in front of one.

Told are, at the root of the name and below a path: whether every page opens in Chromium without an error, websockets
stay open, uploads of the app's size pass and larger ones do not, visitors stay with one process, how long a page is
away when its process is killed, and whether people sign in at a real provider before they get anything.

    apt-get install caddy nginx-light chromium
    python -m tests.drills.proxy             # five minutes; all on this machine
    python -m tests.drills.proxy --stay 400  # longer than any of the proxy's time limits

The exit code is the number of what failed.
"""

import argparse
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from dashboard.navigation import PAGES
from tests.browser.conftest import FLAGS, PROBE, SETTLED, chromium_path
from tests.dashboard.provider import TABLE, provider, register, secrets
from tests.visits import answer, free_port, serving, visiting

ROOT = Path(__file__).parents[2]
UNTRUSTED = ssl.create_default_context()
UNTRUSTED.check_hostname, UNTRUSTED.verify_mode = False, ssl.CERT_NONE  # the proxy's own authority, of this run
FILE_LIMIT = 20 * 2**20
N_VISITORS = 12


class Report:
    """What was asked, and how it went, a line each."""

    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, what: str, passed: bool, figure: object = "") -> None:
        """Tells one outcome."""
        self.failed += not passed
        print(f"{'ok    ' if passed else 'FAILED'} {what}{f': {figure}' if figure != '' else ''}", flush=True)


@contextmanager
def apps(count: int, base_path: str, folder: Path, *more: str) -> Iterator[dict[int, subprocess.Popen]]:
    """Processes of the app by their ports, with one cache, and more options."""
    environment = {**os.environ, "CORRCORE_CACHE": str(folder / "cache"), "CORRCORE_DATA": ""}
    with ExitStack() as stack:
        found = {}
        for _ in range(count):
            port = free_port()
            command = [sys.executable, "-m", "corrcore", "app", "--headless", "--address=127.0.0.1", f"--port={port}"]
            url, log = f"http://127.0.0.1:{port}{base_path}", folder / f"app-{port}.log"
            options = [*more, *[f"--base-path={base_path}"] * bool(base_path)]
            found[port] = stack.enter_context(serving([*command, *options], url, log, cwd=ROOT, env=environment))
        yield found


@contextmanager
def caddy(ports: list[int], base_path: str, folder: Path, https: int | None = None) -> Iterator[str]:
    """The address of Caddy with the repository's file; only ports and places are others."""
    https, http = https or free_port(), free_port()
    upstreams = " ".join(f"127.0.0.1:{port}" for port in ports)
    settings = {"SITE": "localhost", "HTTP_PORT": str(http), "HTTPS_PORT": str(https), "BASE_PATH": base_path}
    kept = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    command = ["caddy", "run", "--config", str(ROOT / "Caddyfile"), "--adapter", "caddyfile"]
    environment = {**os.environ, **settings, **kept, "UPSTREAMS": upstreams}
    url = f"https://localhost:{https}{base_path}"
    with serving(command, url, folder / "caddy.log", env=environment, context=UNTRUSTED):
        yield url


@contextmanager
def nginx(port: int, folder: Path) -> Iterator[str]:
    """The address of nginx with README's lines for a path below a name; only the app's port is another."""
    lines = re.search(r"```nginx\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert lines, "README has no lines for nginx"
    listen, location = free_port(), lines[1].replace("127.0.0.1:8501", f"127.0.0.1:{port}")
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # who may write where this run keeps what comes in
    file = folder / "nginx.conf"
    file.write_text(
        f"{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.error.log;\nevents {{}}\nhttp {{\n{kept}"
        f"access_log off;\nserver {{\nlisten 127.0.0.1:{listen};\n{location}}}\n}}\n"
    )
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(file), "-e", str(folder / "nginx.error.log")]
    url = f"http://127.0.0.1:{listen}/corrcore"
    with serving(command, url, folder / "nginx.log"):
        yield url


def check_by_hand(url: str, report: Report, context: ssl.SSLContext | None = UNTRUSTED) -> None:
    """What needs no browser."""
    root = url.removesuffix("/corrcore")
    report("the page is there", answer(f"{url}/", context)[0] == 200)
    if root != url:
        report("the path without its slash leads there", answer(url, context)[0] == 200)
    with visiting(url, context=context) as visit:
        visit.check()
        sizes = {"10 MB": 10**7, "the limit": FILE_LIMIT - 1000, "beyond it": FILE_LIMIT + 1, "40 MB": 4 * 10**7}
        statuses = {name: visit.upload(size) for name, size in sizes.items()}
        report("uploads up to the limit pass", list(statuses.values()) == [204, 204, 413, 413], statuses)


def check_stickiness(url: str, processes: int, report: Report) -> None:
    """A session is known to one process alone: an upload that reaches another is refused."""
    held, refused = Counter(), 0
    for _ in range(N_VISITORS):
        with visiting(url, context=UNTRUSTED) as visit:
            refused += sum(visit.upload(1000) != 204 for _ in range(5))
            held[visit.cookies.get("corrcore_process")] += 1
    report("visitors stay with their process", not refused, f"{refused} of {5 * N_VISITORS} requests went elsewhere")
    report("processes share the visitors", len(held) == processes, sorted(held.values()))


class Watched:
    """A page in Chromium, and what went wrong on it."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.problems: list[str] = []
        self.closed = 0
        self._url = url
        self.page = browser.new_context(ignore_https_errors=True).new_page()
        self.page.on("websocket", lambda socket: socket.on("close", self._on_close))
        self.page.on("weberror", lambda error: self.problems.append(str(error.error)))
        self.page.on("response", lambda found: self._on_response(found.url, found.status))
        self.page.on("console", lambda said: self._on_console(said.type, said.text, said.location.get("url", "")))

    def open(self, path: str) -> Page:
        """The page at a path, once its script has run."""
        self.page.goto(f"{self._url}/{path}")
        self.page.wait_for_selector(SETTLED, timeout=120_000)
        return self.page

    def _on_close(self, *_: object) -> None:
        self.closed += 1

    def _on_response(self, url: str, status: int) -> None:
        if status >= 400 and not quiet_probe(url):
            self.problems.append(f"{status} {url}")

    def _on_console(self, kind: str, text: str, url: str) -> None:
        if kind == "error" and not quiet_probe(url):
            self.problems.append(text)


def check_in_browser(browser: Browser, url: str, stay_s: float, report: Report) -> None:
    """All pages, an upload, and a page that is left open."""
    watched = Watched(browser, url)
    for spec in PAGES:
        watched.open("" if spec is PAGES[0] else spec.path)
    report(f"{len(PAGES)} pages open", not watched.problems, "; ".join(watched.problems[:3]))
    page = watched.open("reconstruction")
    page.get_by_text("How this is computed").wait_for(timeout=120_000)  # until then it is made anew under the pointer
    page.get_by_role("radio", name="Upload").or_(page.get_by_role("button", name="Upload", exact=True)).first.click()
    file = ROOT / "dashboard" / "pictures" / "photo.jpg"
    page.locator('input[type="file"]').set_input_files(file)
    shown = page.get_by_role("img", name=re.compile(r"^photo\.jpg, with one patch")).first
    report("an upload is shown", appears(shown.is_visible, [watched], 120))
    watched.closed = 0
    page.wait_for_timeout(1000 * stay_s)
    report(f"the websocket stays for {stay_s:.0f} s", watched.closed == 0, f"closed {watched.closed} times")
    page.context.close()


def check_a_killed_process(browser: Browser, url: str, running: dict[int, subprocess.Popen], report: Report) -> None:
    """Its visitor is taken over by the other one, without doing anything."""
    visitors: dict[str, Watched] = {}
    for _ in range(20):  # until both processes have one
        visitor = Watched(browser, url)
        visitor.open("data")
        process = next(each["value"] for each in visitor.page.context.cookies() if each["name"] == "corrcore_process")
        visitors.setdefault(process, visitor)
        if len(visitors) == len(running):
            break
    next(iter(running.values())).send_signal(signal.SIGKILL)
    begun = time.monotonic()
    left = appears(lambda: any(visitor.closed for visitor in visitors.values()), visitors.values(), 10)
    [visitor] = [each for each in visitors.values() if each.closed] or [None]
    back = visitor and appears(lambda: visitor.page.locator(SETTLED).count() > 0, visitors.values(), 90)
    report("a killed process's visitor is taken over", left and bool(back), f"after {time.monotonic() - begun:.1f} s")
    for visitor in visitors.values():
        visitor.page.context.close()


def check_sign_in(browser: Browser, base_path: str, folder: Path, report: Report) -> None:
    """Two processes that people sign in to, at a provider: before, they get nothing, and then what they wanted."""
    https, file = free_port(), folder / "secrets.toml"
    url = f"https://localhost:{https}{base_path}"
    with provider(folder / "provider") as at:
        register(at, "ada@lab.org")
        file.write_text(secrets(url, f"{at}/.well-known/openid-configuration", TABLE))
        with apps(2, base_path, folder, f"--secrets={file}") as running, caddy([*running], base_path, folder, https):
            statuses = {path: answer(f"{url}/{path}", UNTRUSTED)[0] for path in ("", "data", "_stcore/host-config")}
            report("nobody gets anything without signing in", set(statuses.values()) == {401}, statuses)
            page = browser.new_context(ignore_https_errors=True).new_page()
            page.goto(f"{url}/data")
            page.get_by_role("link", name="Sign in").click()
            page.locator("input[name=sub]").fill("ada@lab.org")
            page.get_by_role("button", name="Authorize").click()
            page.wait_for_selector(SETTLED, timeout=120_000)
            there = page.get_by_text("ada@lab.org · member").is_visible()
            report("who has signed in gets the page they wanted", there and page.url.startswith(f"{url}/data"))
            page.context.close()


def quiet_probe(url: str) -> bool:
    """Whether an error there is none: Streamlit tries addresses, and pictures that a rerun replaced may be gone."""
    return PROBE.search(url) is not None or "/media/" in url


def appears(there: Callable[[], bool], pages: Iterable[Watched], timeout_s: float) -> bool:
    """Waits until something is there, while the browser's events are heard; whether it ever was."""
    deadline = time.monotonic() + timeout_s
    while not (found := there()) and time.monotonic() < deadline:
        for watched in pages:
            watched.page.wait_for_timeout(100)
    return found


def main() -> int:
    """Runs all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stay", type=float, default=20, help="seconds a page is left open")
    stay_s = parser.parse_args().stay
    report = Report()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as temporary:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        for base_path in ("", "/corrcore"):
            folder = Path(temporary, base_path.strip("/") or "root")
            folder.mkdir()
            with apps(2, base_path, folder) as running, caddy([*running], base_path, folder) as url:
                print(f"--- Caddy, two processes, {url}", flush=True)
                report("metrics are not shown", answer(f"{url}/metrics", UNTRUSTED)[0] == 404)
                check_by_hand(url, report)
                check_stickiness(url, 2, report)
                check_in_browser(browser, url, stay_s, report)
                check_a_killed_process(browser, url, running, report)
            check_sign_in(browser, base_path, folder, report)
        folder = Path(temporary, "nginx")
        folder.mkdir()
        with apps(1, "/corrcore", folder) as running, nginx(*running, folder) as url:
            print(f"--- nginx, {url}", flush=True)
            report("metrics are not shown", answer(f"{url}/metrics")[0] == 404)
            check_by_hand(url, report, None)
            check_in_browser(browser, url, stay_s, report)
        browser.close()
    return report.failed


if __name__ == "__main__":
    sys.exit(main())
