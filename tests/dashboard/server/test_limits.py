"""Limits on a real server, a small one: sockets say things no client library would."""

import contextlib
import socket
import threading
import time

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from dashboard.server import limits

BODY_BYTES = 100_000


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def hold(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive()


@pytest.fixture
def port():
    """Headers are waited for half a second, bodies three quarters, and three in all, and two may stay."""
    only = {"body_bytes": BODY_BYTES, "websockets": 2, "idle_s": 0.75, "total_s": 3.0}
    routes = [Route("/length", length, methods=["POST"]), WebSocketRoute("/hold", hold)]
    app = Starlette(routes=routes, middleware=[Middleware(limits.RequestLimits, **only)])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="websockets-sansio"))
        server.config.load()
        limits.apply(server, headers_s=0.5)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(limits.GRACEFUL_S + 5)
        assert not thread.is_alive()


def talk(port: int, *parts: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """What the server answers to parts sent with pauses between, until it closes, and after how many seconds."""
    begun = time.monotonic()
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(OSError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        with contextlib.suppress(ConnectionResetError):
            while received := connection.recv(65536):
                answer += received
    return answer, time.monotonic() - begun


def post(body_bytes: int) -> bytes:
    return f"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {body_bytes}\r\n\r\n".encode()


def test_what_is_within_the_limits_is_answered_without_the_servers_name(port):
    answer, _ = talk(port, post(5), b"hello")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"5")
    assert b"server:" not in answer.lower()
    assert b"uvicorn" not in answer.lower()


@pytest.mark.parametrize("parts", [(), (b"GE",), (b"POST /length HTTP/1.1\r\nHost: x\r\n",)])
def test_a_connection_without_whole_headers_is_closed(port, parts):
    answer, took = talk(port, *parts)
    assert not answer
    assert 0.4 < took < 5


def test_headers_that_drip_are_cut_off(port):
    drips = [b"GET / HTTP/1.1\r\n", *[f"X-{n}: 1\r\n".encode() for n in range(12)], b"\r\n"]
    answer, _ = talk(port, *drips, pause=0.15)  # each long before the limit, all of them long after
    assert not answer


def test_the_second_request_of_a_connection_is_held_to_it_too(port):
    whole = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    drips = [b"POST /length HTTP/1.1\r\n", *[f"X-{n}: 1\r\n".encode() for n in range(12)], b"\r\n"]
    answer, _ = talk(port, whole, *drips, pause=0.15)
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("length", [BODY_BYTES + 1, 10**12])
def test_a_large_body_is_refused_before_it_is_sent(port, length):
    answer, took = talk(port, post(length))
    assert answer.startswith(b"HTTP/1.1 413")
    assert took < 2


def test_a_body_that_does_not_say_how_long_it_is_is_refused_once_it_is_too_long(port):
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n" % 30_000 + b"x" * 30_000 + b"\r\n"
    answer, _ = talk(port, head, chunk, chunk, chunk, chunk, chunk)
    assert answer.startswith(b"HTTP/1.1 413")
    answer, _ = talk(port, head, chunk, chunk, b"0\r\n\r\n")
    assert answer.endswith(b"60000")


def test_a_body_that_stops_is_refused(port):
    answer, took = talk(port, post(1000), b"x")
    assert answer.startswith(b"HTTP/1.1 408")
    assert took < 2.5


def test_a_body_that_drips_is_refused(port):
    answer, _ = talk(port, post(1000), *[b"x"] * 10, pause=0.4)
    assert answer.startswith(b"HTTP/1.1 408")


def test_websockets_beyond_the_number_are_refused_until_one_goes(port):
    address = f"ws://127.0.0.1:{port}/hold"
    with connect(address) as first, connect(address):
        with pytest.raises(InvalidStatus), connect(address):
            pass
        first.close()
        time.sleep(0.2)
        with connect(address):
            pass


def test_a_message_larger_than_a_browser_sends_is_not_waited_for(port):
    """A frame says its length first: nothing of it is kept."""
    with connect(f"ws://127.0.0.1:{port}/hold") as connection:
        frame = b"\x82\xff" + (60 * 2**20).to_bytes(8) + b"mask"
        connection.socket.sendall(frame + bytes(100_000))
        with pytest.raises(ConnectionClosedError) as closed:
            connection.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
