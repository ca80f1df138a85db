"""The websockets of visitors: which messages reach Streamlit, and that one who leaves is no error.

Messages that are for whoever develops an app do not.
"""

from google.protobuf.message import DecodeError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg

# Clearing the caches would clear them for everybody, the queue of long work among them.
DROPPED = frozenset(
    {"clear_cache", "set_run_on_save", "load_git_info", "debug_disconnect_websocket", "debug_shutdown_runtime"}
)


class VisitorsMessages:
    """Middleware that drops those, as if they had not been sent; what is no message is Streamlit's to refuse.

    Streamlit takes a visitor who left while something was sent for one who sent text, and fails to close the connection
    again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return

        gone = False

        async def passed() -> Message:
            while True:
                message = await receive()
                if message["type"] != "websocket.receive" or _kind(message.get("bytes")) not in DROPPED:
                    return message

        async def sent(message: Message) -> None:
            nonlocal gone
            try:
                await send(message)
            except OSError:
                gone = True
                raise

        try:
            await self._app(scope, passed, sent)
        except RuntimeError:
            if not gone:
                raise


def _kind(data: bytes | None) -> str | None:
    try:
        return BackMsg.FromString(data or b"").WhichOneof("type")
    except DecodeError:
        return None
