import asyncio
import contextlib

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests

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


def rerun(page: str, *, by_itself: bool = False) -> BackMsg:
    message = BackMsg()
    message.rerun_script.page_script_hash, message.rerun_script.is_auto_rerun = page, by_itself
    message.rerun_script.fragment_id = "panel" if by_itself else ""
    return message


def test_a_page_that_was_left_asks_for_its_panels_in_vain():
    """Else Streamlit would go back to it, where the next page has not begun yet."""
    requests = ScriptRequests()
    requests.request_rerun(RerunData(page_script_hash="b"))
    requests.request_rerun(RerunData(page_script_hash="a", fragment_id="panel", is_auto_rerun=True))
    assert requests.on_scriptrunner_ready().rerun_data.page_script_hash == "a"

    first, panel, second = event(rerun("a")), event(rerun("a", by_itself=True)), event(rerun("b"))
    own = event(rerun("b", by_itself=True))
    assert passed(first, panel, second, panel, own, first, panel) == [first, panel, second, own, first, panel]
    by_name = event(BackMsg(rerun_script={"page_name": "data"}))
    assert passed(by_name, panel, first, panel) == [by_name, panel, first, panel]
    assert passed(by_name, panel, second, panel, own) == [by_name, panel, second, own]


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
