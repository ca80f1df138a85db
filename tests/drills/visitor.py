"""A visitor without a browser: Streamlit's websocket, spoken from Python."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect


@dataclass
class View:
    """What one run of a page sent: elements by their kinds' fields."""

    deltas: int = 0
    exceptions: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    sliders: dict[str, str] = field(default_factory=dict)  # ids by the ends of their keys


class Visitor:
    """One session of the app at `port`; to be used in ``async with``."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: ClientConnection | None = None
        self._page = ""  # the hash of the page's script

    async def __aenter__(self) -> "Visitor":
        self._socket = await connect(
            f"ws://127.0.0.1:{self._port}/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            origin=f"http://127.0.0.1:{self._port}",  # type: ignore[arg-type]
            max_size=None,
            open_timeout=60,
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def send(self, message: BackMsg) -> None:
        """Any message, right or wrong."""
        assert self._socket is not None
        await self._socket.send(message.SerializeToString())

    async def view(
        self, page: str = "", query: str = "", widgets: Sequence[WidgetState] = (), timeout: float = 60.0
    ) -> View:
        """Runs a page and reads until its script has finished. Raises TimeoutError where that takes too long, and
        ConnectionError where the server closes the connection before.
        """
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.page_name = page
        message.rerun_script.page_script_hash = "" if page else self._page
        message.rerun_script.widget_states.widgets.extend(widgets)
        await self.send(message)
        async with asyncio.timeout(timeout):
            return await self._read()

    async def _read(self) -> View:
        assert self._socket is not None
        view = View()
        async for data in self._socket:
            assert isinstance(data, bytes)
            message = ForwardMsg.FromString(data)
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self._page = message.new_session.page_script_hash
            elif kind == "delta":
                _note(message, view)
            elif kind == "script_finished" and message.script_finished in (
                ForwardMsg.FINISHED_SUCCESSFULLY,
                ForwardMsg.FINISHED_WITH_COMPILE_ERROR,
            ):
                return view
        msg = "the server closed the connection before the page had run"
        raise ConnectionError(msg)


def _note(message: ForwardMsg, view: View) -> None:
    view.deltas += 1
    element = message.delta.new_element
    kind = element.WhichOneof("type")
    if kind == "exception":
        view.exceptions.append(f"{element.exception.type}: {element.exception.message}")
    elif kind == "markdown":
        view.texts.append(element.markdown.body)
