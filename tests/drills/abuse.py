"""Tries on a real server what strangers may try, and says what came of it.

    python -m tests.drills.abuse                     # some ten minutes on two cores
    python -m tests.drills.abuse --values 6          # a quick look

A server of the app is started on this machine, in a folder in which a module, a pickle and an index are planted. Then:
forty uploads of 19 MB by one session, and by many sessions of one address; every forged value in every field of every
page's link; messages that are none, too long, of the wrong kind, or a thousand at once; paths that climb; uploads that
trickle; file names with line ends; a stranger's look at another session's upload. It prints a line each, with figures,
and ends with 1 where something was opened that must not be, or the server did not go on.
"""

import argparse
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import httpx
import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import ConnectionClosed

from corrcore import images
from corrcore.datasets import drawn
from tests.dashboard.serving import Page, server, texts
from tests.dashboard.strangers import CANARY, forged_queries, forged_values, plant

PHOTO = b"\xff\xd8\xff" + bytes(19 * 10**6)
AFAR = {"X-Forwarded-For": "192.0.2.7"}  # as from a proxy


def memory_mb() -> float:
    """Resident memory of the servers that this process has started."""
    return sum(child.memory_info().rss for child in psutil.Process().children(recursive=True)) / 1e6


def alive(url: str) -> bool:
    """Whether the server answers within a minute, which a busy machine may take."""
    return httpx.get(f"{url}/_stcore/health", timeout=60).status_code == 200


def uploads_by_one(url: str) -> str:
    """Forty uploads of 19 MB by one session."""
    before = memory_mb()
    with httpx.Client(timeout=60) as client, Page(url, client) as page:
        page.run()
        answers = [page.upload(PHOTO, file=f"f{n}") for n in range(40)]
        told = {each.text for each in answers if each.status_code == 429}
        counts = Counter(each.status_code for each in answers)
        grown = memory_mb() - before
    assert counts[204] * len(PHOTO) <= 100e6, counts
    assert len(told) == 1, told
    return f"{dict(counts)}, {grown:.0f} MB more in memory; {told.pop()}"


def uploads_by_many(url: str) -> str:
    """Uploads of 19 MB by twenty sessions of one address."""
    before, counts, pages = memory_mb(), Counter[int](), []
    with httpx.Client(timeout=60) as client:
        for _ in range(20):
            page = Page(url, client, headers=AFAR).__enter__()
            pages.append(page)
            page.run()
            for n in range(5):
                counts[page.upload(PHOTO, file=f"f{n}").status_code] += 1
        grown = memory_mb() - before
        with Page(url, client, headers={"X-Forwarded-For": "192.0.2.99"}) as another:
            another.run()
            status = another.upload(PHOTO).status_code
        for page in pages:
            page.__exit__()
    assert counts[204] * len(PHOTO) <= 200e6, counts
    assert status == 204, f"another address is refused: {status}"
    return f"{dict(counts)}, {grown:.0f} MB more in memory; another address is let in"


def forged_links(url: str, folder: Path, n_values: int) -> str:
    """Every page with every forged value in every field of its links."""
    faults, n = Counter[str](), 0
    with httpx.Client(timeout=60) as client:
        for value in forged_values(folder)[:n_values]:
            for path, query in forged_queries(value).items():
                with Page(url, client) as page:
                    messages = page.run(query=urlencode(query), page=path, timeout_s=300)
                n += 1
                if any(b"Traceback" in each.SerializeToString() for each in messages):
                    faults[f"{path} {value[:40]!r}"] += 1
                if any(each.delta.new_element.WhichOneof("type") == "exception" for each in messages):
                    faults[f"{path} {value[:40]!r}"] += 1
    return f"{n} views, {len(faults)} with an error of ours{': ' if faults else ''}{', '.join(faults)}"


def bad_messages(url: str) -> str:
    """Messages that are none, too long, of the wrong kind, or a thousand at once."""
    number, closed = random.Random(0), 0
    shutdown, rerun = BackMsg(), BackMsg()
    shutdown.debug_shutdown_runtime = True
    rerun.rerun_script.query_string = "x"
    with httpx.Client(timeout=60) as client:
        for content in (
            b"",
            b"\xff" * 10,
            *(number.randbytes(number.randrange(1, 3000)) for _ in range(30)),
            bytes(60 * 10**6),
            "text",
            shutdown.SerializeToString(),
        ):
            with Page(url, client) as page:
                try:
                    page.socket.send(content)
                    page.socket.recv(timeout=1)
                except (ConnectionClosed, TimeoutError) as error:
                    closed += isinstance(error, ConnectionClosed)
        begun = time.monotonic()
        with Page(url, client) as page, suppress(ConnectionClosed):
            for _ in range(1000):
                page.send(rerun)
            meanwhile = time.monotonic()
            assert alive(url)
            answered_s = time.monotonic() - meanwhile
    runs = f"1,000 runs asked for in {meanwhile - begun:.1f} s, others answered in {answered_s:.1f} s"
    return f"{closed} of 35 connections closed; {runs}"


def climbing_paths(url: str) -> str:
    """Paths that climb out of what is served, as they are and in disguise."""
    port, got = int(url.rpartition(":")[2]), Counter[int]()
    climbs = ("../" * 9, "%2e%2e%2f" * 9, "..%2f" * 9, "..\\" * 9, "%252e%252e/" * 9, "//", "%00/", ".%2e/" * 9)
    for start in (
        "",
        "media/",
        "static/",
        "component/x/",
        "app/static/",
        "_stcore/bidi-components/x/",
        "_stcore/upload_file/",
    ):
        for climb in climbs:
            with socket.create_connection(("127.0.0.1", port), 10) as raw:
                raw.sendall(
                    f"GET /{start}{climb}etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                )
                answer = b""
                while part := raw.recv(65536):
                    answer += part
            got[int(answer.split()[1])] += 1
            assert b"root:" not in answer, (start, climb)
    return f"{dict(got)}, none with the file"


def trickling_uploads(url: str) -> str:
    """Uploads that come in a byte a second, and who else is served meanwhile."""
    port = int(url.rpartition(":")[2])
    with httpx.Client(timeout=60) as client, Page(url, client) as page:
        page.run()
        cookie = f"_streamlit_xsrf={client.cookies['_streamlit_xsrf']}"
        head = (
            f"PUT /_stcore/upload_file/{page.session}/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
            f"Cookie: {cookie}\r\nX-Xsrftoken: {page.token}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        raws = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(50)]
        for raw in raws:
            raw.sendall(head.encode())
        for _ in range(5):
            time.sleep(1)
            for raw in raws:
                with suppress(OSError):
                    raw.sendall(b"-")
        begun = time.monotonic()
        assert alive(url)
        answered_s = time.monotonic() - begun
        for raw in raws:
            raw.close()
    return f"50 at once; others answered in {answered_s:.2f} s"


def line_ends_in_names(url: str) -> str:
    """Uploads whose file names hold line ends, quotes and paths."""
    names = ("a\r\nX-Evil: 1.jpg", 'a"; filename="b.jpg', "../../../etc/x.jpg", "a\0.jpg", "\u202egpj.x", "x" * 5000)
    got = Counter[int]()
    with httpx.Client(timeout=60) as client, Page(url, client) as page:
        page.run()
        for n, name in enumerate(names):
            answer = page.upload(b"x", name=name, file=f"n{n}")
            got[answer.status_code] += 1
            assert "x-evil" not in answer.headers
    return f"{dict(got)}, no header made by a name"


def anothers_upload(url: str) -> str:
    """A stranger's look at what another session has uploaded, by its address and by a link to it."""
    photo = next(iter(drawn.unseen().values())).load()
    with httpx.Client(timeout=60) as mine, httpx.Client(timeout=60) as others, Page(url, mine) as page:
        page.run()
        assert page.upload(images.encode(photo, format="PNG"), file="mine").status_code == 204
        with Page(url, others) as stranger:
            link = urlencode({"photo": f"upload:{images.digest(photo)}"})
            said, deadline = [""], time.monotonic() + 300
            while time.monotonic() < deadline and not any("uploaded" in each for each in said):
                said = texts(stranger.run(query=link, page="reconstruction"))  # the index is made at first use
                time.sleep(1)
            told = [each for each in said if "stays with whoever uploaded it" in each]
            statuses = [
                others.request(method, f"{url}/_stcore/upload_file/{page.session}/mine").status_code
                for method in ("GET", "DELETE", "PUT")
            ]
    assert told, said
    return f"the link says: {told[0]}; its address answers {statuses}"


def main() -> int:
    """Runs all of them; 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--values", type=int, default=99, help="how many of the forged values are tried (all)")
    parser.add_argument("--only", help="the drills whose names hold this")
    asked = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        plant(folder)
        marker = folder / "ran"
        (folder / f"{CANARY}.py").write_text(f"open({str(marker)!r}, 'w')\n")
        (folder / f"{CANARY}.pth").write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
        with server(folder, whole=True) as url:
            drills: dict[str, Callable[[], str]] = {
                "forty uploads by one session": lambda: uploads_by_one(url),
                "uploads by twenty sessions": lambda: uploads_by_many(url),
                "file names": lambda: line_ends_in_names(url),
                "another's upload": lambda: anothers_upload(url),
                "paths that climb": lambda: climbing_paths(url),
                "messages": lambda: bad_messages(url),
                "trickling uploads": lambda: trickling_uploads(url),
                "forged links": lambda: forged_links(url, folder, asked.values),
            }
            for name, drill in drills.items():
                if asked.only and asked.only not in name:
                    continue
                begun = time.monotonic()
                try:
                    result = drill()
                    assert alive(url)
                    assert not marker.exists(), "what was planted has run"
                except Exception as error:  # the others are tried all the same
                    failed, result = 1, f"FAILED: {type(error).__name__}: {str(error)[:500]}"
                print(f"{name} ({time.monotonic() - begun:.0f} s): {result}", flush=True)
        log = (folder / "log").read_text()
        print(f"the server's log has {log.count('Traceback')} tracebacks")
        if os.environ.get("CORRCORE_DRILL_LOG"):
            print(log)
    print(f"threads left here: {threading.active_count()}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
