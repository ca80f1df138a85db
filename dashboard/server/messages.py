"""The websockets of visitors: which messages reach Streamlit, and that one who leaves is no error.

Not those that are for whoever develops an app, nor those of a page that was left.
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

        gone, pages = False, _Pages()

        async def passed() -> Message:
            while True:
                message = await receive()
                told = _told(message)
                if told is None or (told.WhichOneof("type") not in DROPPED and pages.is_current(told)):
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


class _Pages:
    """The page that a visitor has gone to, and the one they have left for it.

    A page that is left may still ask for its panels anew, as it does every half second while there is work: Streamlit
    takes the page of the last message for the one to run, and the visitor would be where they were.
    """

    def __init__(self) -> None:
        self._at = self._left = ""

    def is_current(self, told: BackMsg) -> bool:
        """Whether a message is not one that a page sends by itself after it was left; notes where others lead."""
        page = told.rerun_script.page_script_hash
        if not told.HasField("rerun_script") or not page:
            return True
        if told.rerun_script.is_auto_rerun and page == self._left:
            return False
        if page != self._at:
            self._left, self._at = self._at, page
        return True


def _told(message: Message) -> BackMsg | None:
    """What a browser says; None for what is no message."""
    try:
        return BackMsg.FromString(message["bytes"]) if message.get("bytes") else None
    except DecodeError:
        return None
