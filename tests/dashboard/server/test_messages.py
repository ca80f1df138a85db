import asyncio
import contextlib

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from dashboard.server.messages import VisitorsMessages


def passed(*sent: dict) -> list[dict]:
    """What of the events of a websocket reaches the app."""
    found, left = [], list(sent)

    async def app(scope, receive, send):
        while (event := await receive())["type"] != "websocket.disconnect":
            found.append(event)

    async def receive():
        return left.pop(0) if left else {"type": "websocket.disconnect"}

    asyncio.run(VisitorsMessages(app)({"type": "websocket"}, receive, lambda message: None))
    return found


def event(message: BackMsg) -> dict:
    return {"type": "websocket.receive", "bytes": message.SerializeToString()}


@pytest.mark.parametrize("name", ["clear_cache", "debug_shutdown_runtime", "debug_disconnect_websocket"])
def test_what_a_developer_may_do_a_visitor_may_not(name):
    rerun = BackMsg()
    rerun.rerun_script.query_string = "k=5"
    assert passed(event(BackMsg(**{name: True})), event(rerun)) == [event(rerun)]


def test_everything_else_arrives_as_it_was_sent():
    stop = event(BackMsg(stop_script=True))
    odd, text = ({"type": "websocket.receive", **content} for content in ({"bytes": b"\xff\xff"}, {"text": "text"}))
    assert passed(stop, odd, text) == [stop, odd, text]


@pytest.mark.parametrize("gone", [True, False])
def test_an_error_is_none_where_the_visitor_has_left(gone):
    async def app(scope, receive, send):
        with contextlib.suppress(OSError):
            await send({"type": "websocket.send", "bytes": b""})
        msg = "Cannot call send once a close message has been sent."
        raise RuntimeError(msg)

    async def send(message):
        if gone:
            raise BrokenPipeError

    expected = contextlib.nullcontext() if gone else pytest.raises(RuntimeError)
    with expected:
        asyncio.run(VisitorsMessages(app)({"type": "websocket"}, send, send))
