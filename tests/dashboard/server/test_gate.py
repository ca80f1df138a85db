import asyncio
import time

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
