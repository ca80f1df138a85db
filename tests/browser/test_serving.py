"""The whole server: what surrounds the pages, as a browser, a monitor and a stranger meet it."""

import asyncio
import contextlib
import random
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect
from streamlit.proto.BackMsg_pb2 import BackMsg

from tests.drills import load, stop
from tests.drills.server import Server
from tests.drills.visitor import Visitor

pytestmark = pytest.mark.browser

PATIENCE_MS = 90_000
HEADERS = ("content-security-policy", "x-content-type-options", "referrer-policy")


@pytest.fixture
def app(serve):
    return serve("dashboard/Home.py", CORRCORE_DATA="", CORRCORE_FRAME_ANCESTORS="https://*.hf.space")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all that leave it as it was."""
    server = Server(tmp_path_factory.mktemp("serving") / "cache")
    yield server
    assert server.stop() is not None


def in_thread(work):
    """What a coroutine gives beside Playwright's loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work()).result(timeout=120)


def ask(url, method="GET"):
    """Status, headers by their names in small letters, and text."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode("latin-1")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode("latin-1")


@pytest.mark.parametrize(
    "path",
    ["", "results", "healthz", "readyz", "metrics", "_stcore/health", "_stcore/metrics", "favicon.png", "media/none",
     "static/js/none.js", "_stcore/upload_file/none/none", "..%2f..%2fetc/passwd", "%00"],
)  # fmt: skip
def test_every_answer_has_the_headers_and_no_name_of_a_server(app, path):
    _, headers, _ = ask(f"{app.url}/{path}")
    assert all(headers.get(name) for name in HEADERS), path
    assert "frame-ancestors 'self' https://*.hf.space" in headers["content-security-policy"]
    assert not {"server", "x-powered-by"} & set(headers)


def test_a_script_that_is_not_the_apps_does_not_run(app):
    """That no page of the app meets the policy is checked after every visit (`App.check`)."""
    page = app.open("results")
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=PATIENCE_MS)
    foreign = page.evaluate(
        "new Promise(done => { const script = document.createElement('script'); script.textContent ="
        " 'window.ran = true'; document.body.append(script); done(window.ran === true) })"
    )
    assert not foreign
    page.wait_for_function("window.violations.length == 1")
    app.tolerate("(?i)content security policy|violates the following")  # of the script just now


def test_the_server_is_well_at_once_and_ready_when_the_index_is_there(server):
    server.wait("/healthz", timeout=60)
    assert server.status("/readyz") == 503
    server.wait("/readyz", timeout=120)
    text = server.text("/metrics")
    assert "corrcore_ready 1\n" in text
    assert "corrcore_networks 1\n" in text
    assert "corrcore_indexes 1\n" in text
    assert "samples" not in text
    assert "alexnet" not in text


def metrics_with(line, server) -> str:
    """The metrics once they have a line, or after five seconds; they are made anew every two."""
    deadline = time.monotonic() + 5
    while line not in (text := server.text("/metrics")) and time.monotonic() < deadline:
        time.sleep(0.1)
    return text


def test_a_visitor_counts_while_connected_and_clears_nobodys_caches(server):
    async def visit():
        async with Visitor(server.port) as visitor:
            await visitor.view()
            assert "corrcore_sessions 1\n" in await asyncio.to_thread(metrics_with, "corrcore_sessions 1\n", server)
            await visitor.send(BackMsg(clear_cache=True))
            view = await visitor.view("status")
            assert view.exceptions == []

    server.wait("/readyz")
    in_thread(visit)
    text = metrics_with("corrcore_sessions 0\n", server)
    assert "corrcore_sessions 0\n" in text
    assert "corrcore_networks 1\n" in text


def test_a_few_visitors_at_once_are_all_served(server):
    """Thirty in `tests/drills/load.py`."""
    server.wait("/readyz")
    times, errors, _ = in_thread(lambda: load.rush(server, sessions=3, reruns=2))
    assert not errors
    assert len(times) == 6


def test_an_upload_that_is_too_large_and_a_request_that_never_ends_are_refused(server):
    server.wait()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"PUT /_stcore/upload_file/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        begun = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1000) == b""
        assert 5 < time.monotonic() - begun < 20


@pytest.mark.parametrize("seed", [0, 1])
def test_the_server_ends_within_ten_seconds_and_leaves_nothing_torn(chromium, tmp_path, seed):
    cache = tmp_path / "cache"
    took, log = stop.stop_once(cache, chromium, random.Random(seed))
    assert took is not None, log
    assert took <= stop.GRACE_S
    assert "Traceback" not in log
    assert "Timeout (" not in log
    assert stop.faults(cache) == []


def test_the_server_ends_although_somebody_reads_nothing_of_what_they_asked_for(tmp_path):
    server = Server(tmp_path / "cache")
    server.wait()
    with stop.stalled(server.port):
        time.sleep(0.5)
        took = server.stop()
    assert took is not None, server.log()
    assert took <= stop.GRACE_S
