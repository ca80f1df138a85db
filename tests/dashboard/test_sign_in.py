"""Signing in at a real provider, a process on this machine; and all that a stranger may try instead."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import httpx
import itsdangerous
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.dashboard.provider import SECRET, TABLE, provider, register, secrets
from tests.dashboard.serving import Page, server, texts
from tests.visits import free_port

if find_spec("authlib") is None or find_spec("oidc_provider_mock") is None:
    pytest.skip("signing in needs Authlib, and a provider to try it with", allow_module_level=True)

USER, TOKENS = "_streamlit_user", "_streamlit_user_tokens"
HTML = {"Accept": "text/html"}
PATHS = (
    "/",
    "/reconstruction",
    "/data?x=1",
    "/media/" + "0" * 48 + ".png",
    "/_stcore/host-config",
    "/_stcore/upload_file/a/b",
    "/_stcore/stream",
    "/_stcore/bidi-components/x/y.js",
    "/static/js/index.js",
    "/app/static/x",
    "/component/x/index.html",
    "/favicon.png",
    "/auth/login/",
    "/auth/../media/x",
    "//media/x",
    "/_stcore/health/../host-config",
)


@dataclass
class Site:
    """An app that one signs in to, and the provider."""

    url: str
    provider: str

    def sign_in(self, client: httpx.Client, subject: str, **claims: object) -> httpx.Response:
        """As a browser does, at the provider's form; the page one comes back to."""
        register(self.provider, subject, **claims)
        to_provider = client.get(f"{self.url}/auth/login?with=default")
        assert to_provider.status_code == 302
        back = client.post(to_provider.headers["location"], data={"sub": subject})
        assert back.headers["location"].startswith(f"{self.url}/oauth2callback?")
        return client.get(back.headers["location"], headers=HTML)


@contextmanager
def site(folder: Path, at: str, *, metadata: str = "", table: str = TABLE, **options) -> Iterator[Site]:
    port = free_port()
    text = secrets(f"http://localhost:{port}", metadata or f"{at}/.well-known/openid-configuration", table)
    with server(folder, secrets=text, port=port, **options) as url:
        yield Site(url, at)


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sign-in")
    with provider(folder / "provider") as at, site(folder, at) as found:
        yield found


@pytest.fixture
def client():
    with httpx.Client() as found:
        yield found


def refused_everywhere(url: str, client: httpx.Client, status: int = 401) -> None:
    for path in PATHS:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
            assert client.request(method, url + path).status_code in (status, 400, 404), (method, path)
        assert client.get(url + path).status_code in (status, 404), path
    with pytest.raises(InvalidStatus, match="403"), Page(url, client):
        pass


def forged(payload: object, *, secret: str = SECRET, salt: str = USER, age_s: float = 0) -> str:
    class Signer(itsdangerous.TimestampSigner):
        def get_timestamp(self) -> int:
            return int(time.time() - age_s)

    text = payload if isinstance(payload, str) else json.dumps(payload)
    return itsdangerous.URLSafeTimedSerializer(secret, salt=salt, signer=Signer).dumps(text)


def root(url: str, **changes: object) -> dict[str, object]:
    """What the operator's cookie says."""
    return {
        "email": "root@lab.org",
        "email_verified": True,
        "iat": time.time(),
        "origin": url,
        "is_logged_in": True,
        "provider": "default",
        **changes,
    }


def test_nobody_gets_anything_without_signing_in(there, client):
    refused_everywhere(there.url, client)
    page = client.get(f"{there.url}/data", headers=HTML)
    assert page.status_code == 401
    assert "Sign in to use this server." in page.text
    assert 'href="/auth/login?with=default"' in page.text
    assert client.get(f"{there.url}/_stcore/health").status_code == 200


def test_a_member_signs_in_works_and_signs_out(there, client):
    client.get(f"{there.url}/data?index=x", headers=HTML)  # where ada wants to go
    back = there.sign_in(client, "ada@lab.org")
    assert back.status_code == 302
    home = client.get(f"{there.url}/", headers=HTML)
    assert home.headers["location"] == "/data?index=x"
    home = client.get(f"{there.url}/", headers=HTML)
    assert home.status_code == 200
    with Page(there.url, client) as page:
        said = texts(page.run())
        assert any("ada@lab" in text and "member" in text for text in said)
        assert "Sign out" in said
        assert page.upload(b"mine").status_code == 204
    out = client.get(f"{there.url}/auth/logout")
    assert out.status_code == 302
    refused_everywhere(there.url, client)


@pytest.mark.parametrize(("email", "role"), [("root@lab.org", "operator"), ("Bob@LAB.org", "visitor")])
def test_roles_go_by_lists(there, client, email, role):
    there.sign_in(client, email)
    with Page(there.url, client) as page:
        assert any(text.endswith(f"· {role}") for text in texts(page.run()))


@pytest.mark.parametrize(
    ("email", "claims", "sentence"),
    [
        (
            "eve@else.org",
            {},
            "eve@else.org is not among those admitted here; ask the operator of this server, or sign out.",
        ),
        ("eve@lab.org.else.org", {}, "is not among those admitted here"),
        ("root@lab.org", {"email_verified": False}, "root@lab.org is not verified by the service"),
        ("x@lab.org", {"email": ["root@lab.org"]}, "gives no address of e-mail"),
        (
            "eve",
            {"email": "<script>alert(1)</script>@else.org"},
            "&lt;script&gt;alert(1)&lt;/script&gt;@else.org is not among",
        ),
    ],
)
def test_who_is_not_on_the_list_gets_a_sentence_and_can_sign_out(there, client, email, claims, sentence):
    there.sign_in(client, email, **claims)
    page = client.get(f"{there.url}/", headers=HTML)
    assert page.status_code == 403
    assert sentence in page.text
    assert 'href="/auth/logout"' in page.text
    refused_everywhere(there.url, client, 403)


def test_a_cookie_that_is_right_opens(there, client):
    """So that those below are refused for what is wrong about them."""
    client.cookies.set(USER, forged(root(there.url)))
    with Page(there.url, client) as page:
        assert any(text.endswith("· operator") for text in texts(page.run()))


@pytest.mark.parametrize(
    "cookie",
    [
        lambda url: forged(root(url), secret="another secret of more than 32 characters"),
        lambda url: forged(root(url), salt=TOKENS),
        lambda url: forged(root(url), age_s=3600 * 24 * 32),
        lambda url: forged(root(url, iat=time.time() - 3600 * 25)),
        lambda url: forged(root(url, iat=None)),
        lambda url: forged(root("http://localhost:1")),
        lambda url: forged(root(url, is_logged_in=False)),
        lambda url: forged([root(url)]),
        lambda url: forged("{"),
        lambda url: forged("chunks-99999999"),
        lambda url: json.dumps(root(url)),
        lambda url: forged(root(url))[:-1],
        lambda url: forged(root(url)).replace(".", ".A", 1),
        lambda url: "." + forged(root(url)),
        lambda url: "",
        lambda url: "\xff\xfe",
        lambda url: "eyJhbGciOiJub25lIn0.eyJlbWFpbCI6InJvb3RAbGFiLm9yZyJ9.",
    ],
)
def test_forged_and_old_cookies_open_nothing(there, client, cookie):
    value = cookie(there.url)
    headers = {"Cookie": f'{USER}="{value}"'.encode("latin-1") if not value.isascii() else f"{USER}={value}"}
    for path in ("/", "/_stcore/host-config", "/media/x.png"):
        assert client.get(there.url + path, headers=headers).status_code == 401
    if value.isascii():
        with pytest.raises(InvalidStatus, match="403"), Page(there.url, client, headers=headers):
            pass


@pytest.mark.parametrize("query", ["?code=x&state=y", "?error=x&state=y", "?state=", "", "?code=%0d%0aSet-Cookie:a=b"])
def test_a_callback_that_nobody_asked_for_signs_nobody_in(there, client, query):
    answer = client.get(f"{there.url}/oauth2callback{query}")
    assert answer.status_code == 302
    assert answer.headers["location"] == "/"
    assert USER not in client.cookies
    assert client.get(f"{there.url}/").status_code == 401


def test_anothers_code_signs_nobody_in(there, client):
    with httpx.Client() as ada:
        to_provider = ada.get(f"{there.url}/auth/login?with=default")
        back = ada.post(to_provider.headers["location"], data={"sub": "root@lab.org"}).headers["location"]
        client.get(back)
        assert USER not in client.cookies


@pytest.mark.parametrize(
    "wanted", ["//evil.org", "/\\evil.org", "https://evil.org", "/%0d%0aX: y", "/ x", "javascript:x"]
)
def test_one_is_led_nowhere_else_after_signing_in(there, client, wanted):
    client.cookies.set(USER, forged(root(there.url)))
    client.cookies.set("corrcore_after", wanted.replace("/", "%2F"))
    answer = client.get(f"{there.url}/", headers=HTML)
    assert answer.status_code == 200
    assert "location" not in answer.headers


def receive_all(page: Page) -> None:
    while True:
        page.socket.recv(timeout=10)


def test_a_connection_ends_with_the_sign_in(there, client):
    client.cookies.set(USER, forged(root(there.url, iat=time.time() - 3600 * 24 + 4)))
    with Page(there.url, client) as page:
        page.run()
        begun = time.monotonic()
        with pytest.raises(ConnectionClosed):
            receive_all(page)
        assert time.monotonic() - begun < 6


@pytest.fixture
def keys_of_another(tmp_path):
    """A provider's description that names another's keys: tokens that it gives are forged."""
    with provider(tmp_path / "one") as at, provider(tmp_path / "another") as another:
        described = httpx.get(f"{at}/.well-known/openid-configuration").json() | {"jwks_uri": f"{another}/jwks"}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(described).encode())

            def log_message(self, *_):
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as description:
            threading.Thread(target=description.serve_forever, daemon=True).start()
            yield at, f"http://127.0.0.1:{description.server_port}/"
            description.shutdown()


def test_a_token_that_another_key_has_signed_is_refused(tmp_path, client, keys_of_another):
    at, metadata = keys_of_another
    with site(tmp_path, at, metadata=metadata) as found:
        assert found.sign_in(client, "root@lab.org").status_code == 302
        assert USER not in client.cookies
        refused_everywhere(found.url, client)


def test_a_token_that_has_expired_is_refused(tmp_path, client):
    with provider(tmp_path / "provider", "--token-max-age=-600") as at, site(tmp_path, at) as found:
        assert found.sign_in(client, "root@lab.org").status_code == 302
        assert USER not in client.cookies
        refused_everywhere(found.url, client)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [("", "allows nobody"), ("[corrcore]\nallowed = 'lab.org'\n", "must be a list"), ("[corrcore\n", "cannot be read")],
)
def test_where_sign_in_is_set_up_wrongly_nobody_comes_in_and_it_is_said(tmp_path, client, there, table, sentence):
    with site(tmp_path, there.provider, table=table) as found:
        page = client.get(f"{found.url}/", headers=HTML)
        assert page.status_code == 503
        assert sentence in page.text
        client.cookies.set(USER, forged(root(found.url)))
        assert client.get(f"{found.url}/_stcore/host-config").status_code in (401, 403, 503)
        assert client.get(f"{found.url}/auth/login?with=default").status_code == 503


def test_read_only_makes_operators_visitors(tmp_path, client, there):
    with site(tmp_path, there.provider, environment={"CORRCORE_READ_ONLY": "1"}) as found:
        found.sign_in(client, "root@lab.org")
        with Page(found.url, client) as page:
            assert any(text.endswith("· visitor") for text in texts(page.run()))
