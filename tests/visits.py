"""A visit without a browser: what one sends and reads over the websocket, and a server to visit."""

import http.client
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import NewSession
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def serving(
    command: Sequence[str],
    url: str,
    log: Path,
    *,
    wait_s: float = 60,
    context: ssl.SSLContext | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server while it answers at its `url`; it is ended with SIGTERM, as a host does."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=cwd, env=env
        )
    try:
        deadline = time.monotonic() + wait_s
        while answer(f"{url}/_stcore/health", context)[0] != 200:
            said = f"{command} did not answer at {url}:\n{log.read_text(errors='replace')}"
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def answer(request: str | urllib.request.Request, context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Status and body; 0 where nobody listens."""
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as found:
            return found.status, found.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


class Visit:
    """A session, and what its page said in its last run."""

    def __init__(
        self, url: str, cookies: dict[str, str], socket_: ClientConnection, context: ssl.SSLContext | None
    ) -> None:
        self.messages: list[ForwardMsg] = []
        self.cookies = cookies
        self._url, self._socket, self._context = url, socket_, context

    def run(self, page: str = "", query: str = "", *, timeout_s: float = 90) -> None:
        """Asks for a run of a page's script, and waits for its end."""
        request = BackMsg()
        request.rerun_script.page_name = page
        request.rerun_script.query_string = query
        self._socket.send(request.SerializeToString())
        deadline, self.messages = time.monotonic() + timeout_s, []
        while not self.messages or not self.messages[-1].HasField("script_finished"):
            self.messages.append(ForwardMsg.FromString(self._socket.recv(timeout=deadline - time.monotonic())))

    @property
    def session(self) -> NewSession:
        """What the page was told at its start."""
        return next(message.new_session for message in self.messages if message.HasField("new_session"))

    def check(self) -> None:
        """No exception is shown, and the script has come to its end."""
        elements = [message.delta.new_element for message in self.messages if message.HasField("delta")]
        assert not [element.exception for element in elements if element.HasField("exception")]
        assert elements
        assert self.messages[-1].script_finished == ForwardMsg.FINISHED_SUCCESSFULLY

    def upload(self, size: int) -> int:
        """The status with which a file of so many bytes is answered."""
        kind, ends = "application/octet-stream", "corrcore"
        head = (
            f'--{ends}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: {kind}\r\n\r\n'
        )
        body = head.encode() + bytes(size) + f"\r\n--{ends}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={ends}",
            "Cookie": cookie_header(self.cookies),
            "X-Xsrftoken": self.cookies["_streamlit_xsrf"],
        }
        parts = urlsplit(f"{self._url}/_stcore/upload_file/{self.session.initialize.session_id}/{uuid.uuid4()}")
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(parts.netloc, timeout=60, context=self._context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        with closing(connection):
            connection.request("PUT", parts.path, headers={**headers, "Content-Length": str(len(body))})
            with suppress(OSError):  # what is too long is refused before all of it is sent
                connection.send(body)
            return connection.getresponse().status


def cookie_header(cookies: Mapping[str, str]) -> str:
    """Cookies as a browser sends them back."""
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


@contextmanager
def visiting(
    url: str, page: str = "", query: str = "", *, timeout_s: float = 90, context: ssl.SSLContext | None = None
) -> Iterator[Visit]:
    """A visit of a page whose script has run."""
    with urllib.request.urlopen(f"{url}/_stcore/health", timeout=30, context=context) as found:
        given = [each.partition(";")[0].split("=", 1) for each in found.headers.get_all("Set-Cookie") or ()]
    cookies, parts = dict(given), urlsplit(url)
    with connect(
        f"{url.replace('http', 'ws', 1)}/_stcore/stream",
        subprotocols=[Subprotocol("streamlit")],
        origin=Origin(f"{parts.scheme}://{parts.netloc}"),
        additional_headers={"Cookie": cookie_header(cookies)},
        max_size=None,
        open_timeout=30,
        ssl=context,
    ) as socket_:
        visit = Visit(url, cookies, socket_, context)
        visit.run(page, query, timeout_s=timeout_s)
        yield visit
