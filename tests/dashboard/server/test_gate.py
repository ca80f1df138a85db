import asyncio
import time

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.testclient import TestClient

from dashboard.server import gate
from dashboard.server.gate import MESSAGES, MESSAGES_PER_S, Gate


def test_messages_come_at_a_pace_however_fast_they_are_sent():
    """Each may have a page run, and a run of many threads leaves nobody else the processor."""
    got: list[float] = []

    async def page(scope, receive, send):
        for _ in range(MESSAGES + 8):
            await receive()
            got.append(time.monotonic())

    async def receive():
        return {"type": "websocket.receive", "bytes": b""}

    async def send(message):
        raise AssertionError(message)

    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": [], "client": ("192.0.2.7", 1), "root_path": ""}
    asyncio.run(Gate(page)(scope, receive, send))
    assert got[MESSAGES - 1] - got[0] < 0.8
    assert got[-1] - got[0] > 0.8 * 8 / MESSAGES_PER_S


@pytest.mark.parametrize("base", ["", "sub/path"])
def test_what_names_functions_is_not_there_below_a_base_path_either(monkeypatch, base):
    monkeypatch.setattr(gate.st, "get_option", {"server.baseUrlPath": base, "secrets.files": []}.get)
    app = Starlette(routes=[Mount("/", PlainTextResponse("there"))], middleware=[Middleware(Gate)])
    client, root = TestClient(app), f"/{base}".rstrip("/")
    for path in ("/_stcore/metrics", "/_stcore/metrics/", "/_stcore/agent/mcp"):
        assert client.get(root + path).status_code == 404
    assert client.get(f"{root}/_stcore/health").text == "there"
