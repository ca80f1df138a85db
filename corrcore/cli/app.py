"""`corrcore app`: the app, from wherever it is installed."""

import argparse
import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import Any

from corrcore.settings import prepared_path


def add_parsers(rooms: Any) -> None:
    """Adds the command that opens the app."""
    app = rooms.add_parser(
        "app",
        help="open the app",
        epilog="What follows -- goes to Streamlit: corrcore app -- --server.maxUploadSize=5",
    )
    app.add_argument("--port", type=_port, metavar="N", help="the port to listen at (default: 8501)")
    app.add_argument("--address", help="the address to listen at; 0.0.0.0 is all of them (default: this machine only)")
    app.add_argument("--headless", action="store_true", help="open no browser")
    app.add_argument("--base-path", metavar="PATH", help="the path below which a proxy shows the app, such as corrcore")
    app.add_argument("--secrets", type=prepared_path, metavar="FILE", help="a secrets.toml, with which people sign in")
    app.add_argument("streamlit", nargs="*", help=argparse.SUPPRESS)
    app.set_defaults(run=_run)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        msg = f"must be a whole number from 1 to 65535; got {text}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _run(options: argparse.Namespace) -> None:
    """Becomes the server, so that signals reach it and its exit code is the command's."""
    if options.root is not None:
        msg = "the app takes indexes from the cache folder; set CORRCORE_CACHE instead of --root."
        raise ValueError(msg)
    command = [
        *(sys.executable, "-P"),  # no module in the working directory takes the place of the app's
        *("-m", "streamlit", "run", str(_script())),
        *_streamlit_options(options),
        *options.streamlit,
    ]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)  # noqa: S606 - this Python, with its user's own options


def _script() -> Path:
    """The app's entry. It is found without being imported: nothing here knows what the app is made of.

    Raises ValueError where the app is not installed. Streamlit reads the configuration that lies beside it.
    """
    found = importlib.util.find_spec("dashboard")
    script = Path(found.origin or "").with_name("Home.py") if found else None
    if script is None or not script.is_file():
        msg = f"the app is not installed beside corrcore in {sys.prefix}; install it with: pip install corrcore"
        raise ValueError(msg)
    return script


def _known_as(address: str | None) -> str | None:
    """What others call this machine, for the line that says where the app is; None where it answers itself alone."""
    if address is None or address == "localhost" or address.startswith("127.") or address == "::1":
        return None
    return socket.gethostname() if address in ("0.0.0.0", "::") else address  # noqa: S104 - compared, not bound


def _streamlit_options(options: argparse.Namespace) -> list[str]:
    """Only what was asked for: the rest is in the configuration, or in Streamlit's variables."""
    secrets: Path | None = options.secrets
    if secrets is not None and not secrets.is_file():
        msg = f"--secrets must name a file; {secrets} is none."
        raise ValueError(msg)
    asked = {
        "server.port": options.port,
        "server.address": options.address,
        "browser.serverAddress": _known_as(options.address),
        "server.headless": "true" if options.headless else None,
        "server.baseUrlPath": options.base_path,
        "secrets.files": secrets,
    }
    return [f"--{name}={value}" for name, value in asked.items() if value is not None]
