"""What the server does not wait for and does not take: slow requests, large ones, and too many at once."""

import asyncio
from typing import Any

import uvicorn
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS_S = 10.0  # from the first byte of a request, or from connecting, until its headers are there
BODY_IDLE_S = 20.0  # between two parts of a body
BODY_S = 60.0  # until a body is there, and longer the more of it has come
BODY_BYTES_PER_S = 16_384
MESSAGE_BYTES = 2**20  # that a browser sends at once: the state of a page's widgets is some kilobytes
CONNECTIONS = 1_000
GRACEFUL_S = 3.0  # that connections are given to close when the server ends


class RequestLimits:
    """Middleware that ends requests whose bodies are too large or too slow, and refuses websockets beyond a number."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_bytes: int,
        websockets: int,
        idle_s: float = BODY_IDLE_S,
        total_s: float = BODY_S,
    ) -> None:
        self._app, self._body_bytes, self._websockets = app, body_bytes, websockets
        self._idle_s, self._total_s = idle_s, total_s
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            length = dict(scope["headers"]).get(b"content-length", b"0")
            if not length.isdigit() or int(length) > self._body_bytes:
                await PlainTextResponse("The request is too large.", 413)(scope, receive, send)
            else:
                await self._app(scope, self._limited(receive), send)
        else:
            await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._open >= self._websockets:
            await receive()
            await send({"type": "websocket.close", "code": 1013})  # try again later
            return
        self._open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open -= 1

    def _limited(self, receive: Receive) -> Receive:
        begun, total, complete = asyncio.get_running_loop().time(), 0, False

        async def limited() -> Message:
            nonlocal total, complete
            if complete:  # what comes now says that the visitor has gone, which may take long
                return await receive()
            loop = asyncio.get_running_loop()
            latest = begun + self._total_s + total / BODY_BYTES_PER_S
            try:
                async with asyncio.timeout_at(min(latest, loop.time() + self._idle_s)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The request takes too long.") from None
            total += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if total > self._body_bytes:
                raise HTTPException(413, "The request is too large.")
            return message

        return limited


def apply(server: uvicorn.Server, *, headers_s: float = HEADERS_S) -> None:
    """Sets the limits of a server that has not begun to listen, and keeps its name out of what it answers."""
    config = server.config
    config.timeout_graceful_shutdown = int(GRACEFUL_S)
    config.limit_concurrency = CONNECTIONS
    config.ws_max_size = MESSAGE_BYTES  # which is in memory before anybody has looked at it
    config.encoded_headers = [(name, value) for name, value in config.encoded_headers if name != b"server"]
    config.http_protocol_class = impatient(config.http_protocol_class, headers_s)


def impatient(protocol: Any, headers_s: float) -> type[asyncio.Protocol]:
    """A protocol of uvicorn's that closes connections on which a request's headers take longer than `headers_s`.

    uvicorn itself waits for ever for the rest of a request that has begun.
    """

    class Impatient(protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._watch()

        def _watch(self) -> None:
            """The time runs from the first byte on, and not anew from each."""
            over = self.cycle is None or self.cycle.response_complete
            waits = over and self in self.connections  # a websocket's or a closed connection is no more among them
            if waits and self._deadline is None:
                self._deadline = self.loop.call_later(headers_s, self._give_up)
            elif not waits and self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _give_up(self) -> None:
            self._deadline = None
            if self in self.connections and (self.cycle is None or self.cycle.response_complete):
                self.transport.close()

    return Impatient
