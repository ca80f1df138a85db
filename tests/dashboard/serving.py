"""A real server of the app in a process of its own, and a browser's side of its connection."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from tests.visits import free_port

ROOT = Path(__file__).parents[2]
WHOLE = "dict(lifespan=asgi.lifespan, routes=asgi.routes())"
ENTRY = """
import streamlit as st
from dashboard.server import asgi

app = st.App({script!r}, middleware=asgi.middleware(), **{more})
"""


def wait_until_answered(url: str, process: subprocess.Popen, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args} ended"
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    msg = f"{url} does not answer"
    raise TimeoutError(msg)


@contextmanager
def process(command: list[str], url: str, log: Path, **options) -> Iterator[subprocess.Popen]:
    """A process that is there once a URL answers, and ends with the block."""
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file, **options) as running:
        try:
            wait_until_answered(url, running)
            yield running
        finally:
            running.terminate()
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()


@contextmanager
def server(
    folder: Path,
    *,
    script: Path = ROOT / "dashboard" / "frame.py",
    secrets: str = "",
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    whole: bool = False,
) -> Iterator[str]:
    """The address of an app behind what every request goes through; its log is in `folder`, as is the secrets.toml.

    It is `whole` with what the server does besides: limits of connections, health, getting ready, ending.
    """
    port = port or free_port()
    (folder / ".streamlit").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / ".streamlit" / "config.toml", folder / ".streamlit")
    if secrets:
        (folder / ".streamlit" / "secrets.toml").write_text(secrets)
    (folder / "entry.py").write_text(ENTRY.format(script=str(script), more=WHOLE if whole else "{}"))
    path = os.pathsep.join([str(folder), str(ROOT)])
    variables = {**os.environ, "PYTHONPATH": path, "CORRCORE_CACHE": str(folder / "cache"), **(environment or {})}
    variables.pop("CORRCORE_DATA", None)
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "entry:app",
        "--host=127.0.0.1",
        f"--port={port}",
        "--log-level=warning",
    ]
    url = f"http://localhost:{port}"
    with process(command, f"{url}/_stcore/health", folder / "log", cwd=folder, env=variables):
        yield url


@dataclass
class Page:
    """A connection as a browser has one: it runs pages, and collects what they send."""

    url: str
    client: httpx.Client
    headers: Mapping[str, str] = field(default_factory=dict)
    named: str = ""  # what it calls the server, if not by its address
    messages: list[ForwardMsg] = field(default_factory=list)
    session: str = ""
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Page":
        self.client.get(f"{self.url}/_stcore/health", headers=self.headers).raise_for_status()  # brings the token
        cookies = "; ".join(f"{each.name}={each.value}" for each in self.client.cookies.jar)
        self.token = (self.client.cookies.get("_streamlit_xsrf") or "").strip('"')
        split = urlsplit(self.url)
        connection = connect(
            f"ws://{self.named or split.netloc}/_stcore/stream",
            sock=socket.create_connection(("127.0.0.1", split.port or 80), 10),
            additional_headers={"Cookie": cookies, **self.headers},
            origin=f"http://{self.named}" if self.named else self.url,
            subprotocols=["streamlit", self.token or "none"],
            max_size=None,
        )
        self.socket = self._open.enter_context(connection)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(self, *, query: str = "", page: str = "", states: object = None, timeout_s: float = 60) -> list[ForwardMsg]:
        """Runs a page; what it has sent once its script has ended."""
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.page_name = page
        if states is not None:
            message.rerun_script.widget_states.CopyFrom(states)
        self.send(message)
        return self.until_finished(timeout_s)

    def send(self, message: BackMsg) -> None:
        self.socket.send(message.SerializeToString())

    def until_finished(self, timeout_s: float = 60) -> list[ForwardMsg]:
        found, deadline = [], time.monotonic() + timeout_s
        while True:
            message = ForwardMsg()
            message.ParseFromString(self.socket.recv(timeout=max(deadline - time.monotonic(), 0.01)))
            found.append(message)
            if message.WhichOneof("type") == "new_session":
                self.session = message.new_session.initialize.session_id
            if message.WhichOneof("type") == "script_finished":
                self.messages += found
                return found

    def upload(self, content: bytes, *, name: str = "photo.jpg", session: str = "", file: str = "f") -> httpx.Response:
        """Puts a file where a browser does."""
        return self.client.put(
            f"{self.url}/_stcore/upload_file/{session or self.session}/{file}",
            files={"file": (name, content, "image/jpeg")},
            headers={"X-Xsrftoken": self.token, **self.headers},
        )


def texts(messages: list[ForwardMsg]) -> list[str]:
    """Everything that pages have said: Markdown, captions, alerts, buttons."""
    found = []
    for message in messages:
        if message.WhichOneof("type") != "delta" or message.delta.WhichOneof("type") != "new_element":
            continue
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        part = getattr(element, kind) if kind else None
        found += [
            value for name in ("body", "label", "markdown") if isinstance(value := getattr(part, name, None), str)
        ]
    return found
