"""What stands before Streamlit's server: nothing of it for who has not signed in, and not too much of it for anybody.

A plain ASGI middleware: ``st.App(..., middleware=[Middleware(Gate)])``. It covers what no page sees: pictures, files to
take along, uploads, and the connections that pages run over.
"""

import asyncio
import html
import logging
import re
import time
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

import streamlit as st
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import auth_util, runtime
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import (
    _get_signed_cookie_with_chunks,
    _parse_decoded_user_cookie,
)

from dashboard.server import media
from dashboard.services import people, sessions
from dashboard.services.quotas import QuotaError, quotas
from dashboard.services.roles import NotAdmittedError, Policy, providers

LOGIN, LOGOUT, CALLBACK = SIGNING_IN = ("/auth/login", "/auth/logout", "/oauth2callback")
HEALTH = ("/_stcore/health", "/healthz", "/readyz")  # which tell nothing of anybody
CLOSED = ("/_stcore/agent", "/_stcore/metrics")  # Streamlit's own; the latter names functions and caches
UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/[^/]+")
FRAMING_BYTES = 64 * 1024  # of an upload's form, around the file
MESSAGES, MESSAGES_PER_S = 10, 6.0  # of a browser to its page: at once, and in the long run; each may run it
FAILED = "Signing in did not work: the service that was to say who you are did not answer, or did not say so."
AFTER = "corrcore_after"  # the cookie that keeps where somebody wanted to go before signing in
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>corrcore</title>
<meta name="viewport" content="width=device-width"><style>:root {{color-scheme: light dark}}
body {{font: 1rem/1.5 sans-serif; max-width: 34rem; margin: 20vh auto; padding: 0 1rem}}</style>
</head><body><main><h1>corrcore</h1><p>{sentence}</p><p>{links}</p></main></body></html>"""
_log = logging.getLogger(__name__)


class Gate:
    """Lets through who may come in, by Streamlit's own signed cookie, and what stays within the quotas.

    `open_paths` are answered without signing in, below the app's base path.
    """

    def __init__(self, app: ASGIApp, *, open_paths: Collection[str] = HEALTH) -> None:
        self._app, self._open = app, frozenset(open_paths)
        people.guard()
        if runtime.exists():
            media.hide_addresses(runtime.get_instance())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        path, address = _path_of(scope), _address_of(request)
        try:
            quotas().check_request(address)
            claims = self._admitted(request, path)
        except _Refused as refused:
            await _refuse(refused.response, scope, receive, send)
        except QuotaError as error:
            await _refuse(_too_much(error), scope, receive, send)
        else:
            await self._pass(scope, receive, send, path, address, claims)

    def _admitted(self, request: HTTPConnection, path: str) -> Mapping[str, Any]:
        """The claims of who may have what is at a path; none where nobody has to sign in. Raises _Refused."""
        if path.startswith(CLOSED):
            raise _Refused(PlainTextResponse("Not found", 404))
        policy = people.policy()
        if not policy.signs_in or path in self._open or path in (LOGOUT, CALLBACK):
            return {}
        if path == LOGIN:
            if policy.problem:
                raise _Refused(_page(request, 503, policy.problem))
            _choose_provider(request.scope)
            return {}
        claims = claims_of(request.cookies)
        try:
            admitted = policy.of_claims(claims) is not None
        except NotAdmittedError as error:
            raise _Refused(_page(request, 403, str(error), {"Sign out": LOGOUT})) from None
        if not admitted:
            raise _Refused(_sign_in(request, path, policy))
        if path == "/" and (after := _wanted(request.cookies.get(AFTER, ""))):
            response = RedirectResponse(_base(request.scope) + after, 302)
            response.delete_cookie(AFTER)
            raise _Refused(response)
        return claims

    async def _pass(
        self, scope: Scope, receive: Receive, send: Send, path: str, address: str, claims: Mapping[str, Any]
    ) -> None:
        if scope["type"] == "websocket":
            until = people.policy().expires(claims) if claims else None
            messages = _Messages(receive, send, until)
            try:
                with quotas().window(address):
                    await self._app(scope, messages.receive, messages.send)
            except QuotaError as error:
                await _refuse(_too_much(error), scope, receive, send)
        elif path in (LOGIN, CALLBACK):
            await self._signing_in(scope, receive, send)
        elif scope["method"] == "PUT" and (upload := UPLOAD.fullmatch(path)):
            await self._upload(scope, receive, send, upload[1], address)
        else:
            await self._app(scope, receive, send)

    async def _signing_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streamlit's part of it; where that fails, a page in place of its two words."""
        failed = 0

        async def unless_failed(message: Message) -> None:
            nonlocal failed
            if message["type"] == "http.response.start" and message["status"] >= 400:
                failed = message["status"]
            if not failed:
                await send(message)

        await self._app(scope, receive, unless_failed)
        if failed:
            page = _page(HTTPConnection(scope), failed, FAILED, {"Try again": "/"})
            await page(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send, session: str, address: str) -> None:
        """An upload, whose bytes count before they are there: so their number has to be said."""
        headers, most = HTTPConnection(scope).headers, int(st.get_option("server.maxUploadSize"))
        said = headers.get("content-length", "")
        if "transfer-encoding" in headers or not (said.isascii() and said.isdigit()):
            await PlainTextResponse("An upload must say how long it is.", 411)(scope, receive, send)
            return
        if int(said) > most * 2**20 + FRAMING_BYTES:
            await PlainTextResponse(f"A photo may have {most} MB at most.", 413)(scope, receive, send)
            return
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            with quotas().upload(session, address, int(said), sessions.uploads_held()) as upload:
                await self._app(scope, receive, noting)
                upload.kept = status == 204
        except QuotaError as error:
            await _too_much(error)(scope, receive, send)


class _Refused(Exception):  # noqa: N818 - an answer, and no error of ours
    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class _Messages:
    """The messages of a connection, at a pace, until it is over at `until`."""

    def __init__(self, receive: Receive, send: Send, until: float | None) -> None:
        self._receive, self._send, self._until = receive, send, until
        self._left, self._at, self._closed = float(MESSAGES), time.monotonic(), False

    async def receive(self) -> Message:
        """The next one."""
        now = time.monotonic()
        self._left, self._at = min(MESSAGES, self._left + (now - self._at) * MESSAGES_PER_S) - 1, now
        if self._left < 0:
            await asyncio.sleep(-self._left / MESSAGES_PER_S)
        try:
            left_s = None if self._until is None else max(self._until - time.time(), 0)
            return await asyncio.wait_for(self._receive(), left_s)
        except TimeoutError:
            self._closed = True
            await self._send({"type": "websocket.close", "code": 1008, "reason": "Sign in again."})
            return {"type": "websocket.disconnect", "code": 1008}

    async def send(self, message: Message) -> None:
        """Passes one on, unless the connection is over."""
        if not self._closed:
            await self._send(message)


def claims_of(cookies: Mapping[str, str]) -> dict[str, Any]:
    """What the cookie of a sign-in says, as Streamlit checks it for pages; nothing for one that is forged or old."""
    try:
        signed = _get_signed_cookie_with_chunks(dict(cookies), USER_COOKIE_NAME)
        origin = auth_util.get_origin_from_redirect_uri()
        return _parse_decoded_user_cookie(signed, origin) if signed and origin else {}
    except Exception:  # a stranger's cookie may hold anything
        _log.info("A cookie of a sign-in could not be read.")
        return {}


def _path_of(scope: Scope) -> str:
    """The path below the app's base path."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return (path.removeprefix(f"/{base}") or "/") if base and f"{path}/".startswith(f"/{base}/") else path


def _base(scope: Scope) -> str:
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return scope.get("root_path", "") + (f"/{base}" if base else "")


def _address_of(request: HTTPConnection) -> str:
    """The network address for quotas; empty for the server's own machine."""
    connection = people.connection_of(request.client.host if request.client else "", request.headers)
    return "" if connection.own_machine else connection.address or "unknown"


def _choose_provider(scope: MutableMapping[str, Any]) -> None:
    """Turns the name of a service to sign in with into what Streamlit takes, signed and good for two minutes."""
    query = parse_qs(scope["query_string"].decode("latin-1"))
    if names := query.get("with"):
        offered = providers(st.secrets.to_dict()["auth"])
        name = names[0] if names[0] in offered else offered[0]
        scope["query_string"] = urlencode({"provider": auth_util.encode_provider_token(name)}).encode()


def _sign_in(request: HTTPConnection, path: str, policy: Policy) -> Response:
    """A page with a link for each service that one can sign in with; it keeps in mind where one wanted to go."""
    if policy.problem:
        return _page(request, 503, policy.problem)
    names = providers(st.secrets.to_dict()["auth"])
    links = {
        "Sign in" if name == "default" else f"Sign in with {name}": f"{LOGIN}?{urlencode({'with': name})}"
        for name in names
    }
    response = _page(request, 401, people.SIGN_IN, links)
    if "text/html" in request.headers.get("accept", "") and path != "/":
        query = f"?{request.url.query}" if request.url.query else ""
        if len(wanted := quote(path + query, safe="")) < 2000:
            response.set_cookie(AFTER, wanted, max_age=600, httponly=True, samesite="lax")
    return response


def _wanted(cookie: str) -> str:
    """The path of this app that a cookie names; nothing for any other place."""
    path = unquote(cookie)
    return path if re.fullmatch(r"/[A-Za-z0-9_][\x21-\x5b\x5d-\x7e]*", path) else ""


def _page(request: HTTPConnection, status: int, sentence: str, links: Mapping[str, str] | None = None) -> Response:
    """A sentence, and links below the app's base path: as a page for a browser, as text for others."""
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(sentence, status)
    base = _base(request.scope)
    anchors = " · ".join(
        f'<a href="{html.escape(base + to)}">{html.escape(title)}</a>' for title, to in (links or {}).items()
    )
    return HTMLResponse(
        PAGE.format(sentence=html.escape(sentence), links=anchors), status, headers={"Cache-Control": "no-store"}
    )


def _too_much(error: QuotaError) -> Response:
    headers = {} if error.wait_s is None else {"Retry-After": str(max(1, round(error.wait_s)))}
    return PlainTextResponse(str(error), 429, headers)


async def _refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":  # before it is accepted, which the server answers by 403
        await send({"type": "websocket.close", "code": 1008})
    else:
        await response(scope, receive, send)
