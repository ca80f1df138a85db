"""Somewhere to sign in: a real provider of OIDC in a process of its own, and what an app has to know of it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.dashboard.serving import process
from tests.visits import free_port

SECRET = "a secret of this test, of more than 32 characters"


def secrets(url: str, metadata: str, table: str) -> str:
    return f"""
[auth]
redirect_uri = "{url}/oauth2callback"
cookie_secret = "{SECRET}"
client_id = "corrcore"
client_secret = "unimportant"
server_metadata_url = "{metadata}"

{table}
"""


TABLE = """
[corrcore]
allowed = ["lab.org"]
members = ["ada@lab.org"]
operators = ["root@lab.org"]
"""


@contextmanager
def provider(folder: Path, *options: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", f"--port={port}", *options]
    folder.mkdir(exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    with process(command, f"{url}/.well-known/openid-configuration", folder / "provider.log"):
        yield url


def register(provider_url: str, subject: str, **claims: object) -> None:
    """Makes somebody known to the provider, with an address of e-mail that it has verified."""
    about = {"email": subject, "email_verified": True, **claims}
    httpx.put(f"{provider_url}/users/{subject}", json=about).raise_for_status()
