"""The server around the pages: headers and limits of every request, health and metrics, how it begins and ends."""

import asyncio
import functools
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config, runtime

from corrcore.settings import Settings
from dashboard.navigation import PAGES
from dashboard.server import limits, logs, media, memory
from dashboard.server.gate import HEALTH, Gate
from dashboard.server.headers import SecurityHeaders
from dashboard.server.messages import VisitorsMessages
from dashboard.services import stopping
from dashboard.services.turns import turns

FINISH_S = 4.0  # for what is asked to end, once no connection is open any more
FIRST_VIEW_S = 4.0  # left at most to whoever has started the app for themselves: torch takes the processor for seconds
LOOK_S = 0.05  # between looks at whether a page that computes is asked for
LOOKED_AT_S = 20.0  # that this waits at most while pages are computed
METRICS_S = 2.0  # that an answer is kept: it looks into folders, and anybody may ask
OVERHEAD_BYTES = 2**20  # of an upload, beyond the file

OPEN = (*HEALTH, "/metrics")  # without signing in: numbers of nobody

_log = logging.getLogger(__name__)
_ready, _computing, _looking = threading.Event(), threading.Event(), threading.Lock()
_COMPUTE = frozenset(spec.path for spec in PAGES[1:])


def middleware() -> list[Middleware]:
    """What every request goes through before Streamlit sees it."""
    settings = Settings.from_environment()
    body_bytes = int(config.get_option("server.maxUploadSize")) * 2**20 + OVERHEAD_BYTES
    return [
        Middleware(SecurityHeaders, frame_ancestors=settings.frame_ancestors),
        Middleware(limits.RequestLimits, body_bytes=body_bytes, websockets=settings.limits.max_sessions),
        Middleware(Gate, open_paths=OPEN),
        Middleware(VisitorsMessages),
        Middleware(_Awaiting),
    ]


class _Awaiting:
    """Notices who asks for a page that computes: what it needs is made ready while the browser loads the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/").rpartition("/")[2] in _COMPUTE:
            _computing.set()
        await self._app(scope, receive, send)


def routes() -> list[Route]:
    """What is asked by those who look after the server: no answer names anything."""
    return [Route("/healthz", _healthz), Route("/readyz", _readyz), Route("/metrics", _metrics)]


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:  # noqa: ARG001 - Streamlit passes it
    """Sets the server's limits, gets ready beside the first visitors, and ends what runs when the server ends."""
    media.hide_addresses(runtime.get_instance())  # or there is no start, should Streamlit make it later than now
    memory.bound_allocator()
    memory.keep_giving_back()
    logs.configure(as_json=Settings.from_environment().log_json)
    server = _server()
    if server is None:
        _log.warning("the server is not uvicorn in a main thread: slow requests are not refused")
    else:
        limits.apply(server)
        stopping.watch_signals()
    threading.Thread(target=_get_ready, name="corrcore-ready", daemon=True).start()
    try:
        yield
    finally:
        await asyncio.to_thread(stopping.finish, FINISH_S)


def _server() -> uvicorn.Server | None:
    """The server that runs this, which has put its handler of signals in place before it begins."""
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return owner if isinstance(owner, uvicorn.Server) else None


def _get_ready() -> None:
    """Opens the default network, as soon as a page is asked for that computes, or Home was seen; then the drawn animals
    and their index, which is built where there is none, and what takes long to compile on a new machine, while nobody
    waits for a page.
    """
    end = time.monotonic() + FIRST_VIEW_S
    while time.monotonic() < end and not turns().ended.wait(LOOK_S) and not _computing.is_set():
        pass
    from dashboard.server import status  # with torch

    try:
        status.open_network()
        status.compile_for_objects()
        status.wait_while_looked_at(LOOKED_AT_S)
        status.open_defaults()
    except Exception:  # whatever it is, the server goes on, and says that it is not ready
        _log.exception("the default network and its index could not be opened")
    else:
        memory.set_apart()
        _ready.set()
        status.wait_while_looked_at(LOOKED_AT_S)
        status.compile_all()


async def _healthz(request: Request) -> Response:  # noqa: ARG001
    return PlainTextResponse("ok\n")


async def _readyz(request: Request) -> Response:  # noqa: ARG001
    ready = _ready.is_set() and not stopping.begun()
    return PlainTextResponse("ready\n" if ready else "not ready\n", 200 if ready else 503)


async def _metrics(request: Request) -> Response:  # noqa: ARG001

    def text_of() -> str:
        with _looking:
            return _metrics_text(int(time.monotonic() / METRICS_S))

    text = await asyncio.to_thread(text_of)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


@functools.lru_cache(maxsize=1)
def _metrics_text(moment: int) -> str:  # noqa: ARG001 - one look at the indexes' folders for all who ask in it
    from dashboard.server import status

    return status.metrics(status.snapshot(), ready=_ready.is_set())
