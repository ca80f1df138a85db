"""The gate before a real server: uploads, quotas, addresses of pictures."""

import re
import socket
import threading

import httpx
import pytest

from tests.dashboard.serving import Page, server, texts

MB = 10**6
PHOTO = b"\xff\xd8\xff" + bytes(19 * MB)
SCRIPT = """
import numpy as np
import streamlit as st
from dashboard.services import people
st.file_uploader("photo", key="photo")
st.markdown(f"role {people.role().name}, from {people.address()!r}")
st.image(np.zeros((20, 20, 3), np.uint8))
st.download_button("file", b"content", file_name='a"\\r\\nX-Evil: yes\\r\\n.txt')
"""
AFAR = {"X-Forwarded-For": "192.0.2.7"}  # which the server believes of a proxy on this machine


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "script.py").write_text(SCRIPT)
    limits = {"CORRCORE_UPLOADS_MB_PER_HOUR": "60", "CORRCORE_UPLOADS_MB_HELD": "45"}
    with server(folder, script=folder / "script.py", environment=limits) as found:
        yield found


@pytest.fixture
def client():
    with httpx.Client() as found:
        yield found


def media(messages):
    return {
        each for message in messages for each in re.findall(rb"/media/[0-9a-f]+[.\w]*", message.SerializeToString())
    }


def test_own_machine_is_the_operators_and_others_are_visitors(url, client):
    with Page(url, client) as page:
        assert "role OPERATOR, from ''" in texts(page.run())
    with Page(url, client, headers=AFAR) as page:
        assert "role VISITOR, from '192.0.2.7'" in texts(page.run())


def test_a_page_from_elsewhere_that_borrows_this_machines_address_is_a_visitor(url, client):
    with Page(url, client, named="demo.lab.org") as page:
        assert "role VISITOR, from '127.0.0.1'" in texts(page.run())


def test_forty_uploads_by_one_session_are_refused_at_the_quota(url, client):
    with Page(url, client) as page:
        page.run()
        answers = [page.upload(PHOTO, file=f"f{n}") for n in range(4)]
        assert [each.status_code for each in answers] == [204, 204, 429, 429]
        assert answers[-1].text.startswith("This session keeps as many uploads in memory as it may, 45 MB;")
        for n in range(2):
            token = {"X-Xsrftoken": page.token}
            assert client.delete(f"{url}/_stcore/upload_file/{page.session}/f{n}", headers=token).status_code == 204
        assert page.upload(PHOTO).status_code == 204
        refused = [page.upload(PHOTO, file=f"g{n}") for n in range(40)]
        assert {each.status_code for each in refused} == {429}
        assert refused[0].text.startswith("This session may upload 60 MB within an hour, and that is used up; there is")
        assert int(refused[0].headers["Retry-After"]) > 3000
    with Page(url, client) as page:
        page.run()
        assert page.upload(PHOTO).status_code == 204


def test_many_uploads_at_once_are_counted_before_they_are_there(url, client):
    with Page(url, client) as page:
        page.run()
        answers = []
        threads = [
            threading.Thread(target=lambda n=n: answers.append(page.upload(PHOTO, file=f"f{n}").status_code))
            for n in range(6)
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sorted(answers) == [204, 204, 429, 429, 429, 429]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(30 * 2**20)}, 413),
        ({"Content-Length": "-1"}, 400),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Transfer-Encoding": "chunked", "Content-Length": "7"}, (400, 411)),
        ({}, 411),
    ],
)
def test_an_upload_says_how_long_it_is_and_is_not_too_long(url, headers, status):
    port = int(url.rpartition(":")[2])
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", port), 10) as raw:
        raw.sendall(f"PUT /_stcore/upload_file/a/b HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode())
        answer = int(raw.recv(1000).split()[1])
    assert answer in (status if isinstance(status, tuple) else (status,))


def test_uploads_go_with_their_session_and_to_no_other(url, client):
    with Page(url, client) as page, httpx.Client() as another:
        page.run()
        assert page.upload(b"mine", file="f").status_code == 204
        with Page(url, another) as stranger:
            stranger.run()
            assert stranger.session != page.session
            for path in (f"{page.session}/f", f"{stranger.session}/f", "f", ""):
                answer = another.get(f"{url}/_stcore/upload_file/{path}")
                assert b"mine" not in answer.content
    assert client.put(f"{url}/_stcore/upload_file/no-session/f", files={"file": b"x"}).status_code in (400, 403)


def test_pictures_are_not_under_digests_of_their_content(url, client):
    with Page(url, client) as page:
        found = media(page.run())
        assert len(found) == 2
        assert all(len(each) >= len("/media/") + 48 for each in found)
        again = media(page.run())
        assert found == again
        for each in found:
            answer = client.get(url + each.decode())
            assert answer.status_code == 200
            assert "x-evil" not in answer.headers  # a name makes no header


def test_what_streamlit_serves_besides_is_closed(url, client):
    agents = (f"/_stcore/agent/{name}" for name in ("interact", "openapi.json", "mcp"))
    for path in ("/_stcore/metrics", "/_stcore/metrics/", *agents):
        assert client.get(url + path).status_code == 404
        assert client.post(url + path, json={}).status_code == 404


def test_requests_beyond_the_quota_wait(tmp_path, client):
    (tmp_path / "script.py").write_text("import streamlit as st\n")
    few = {"CORRCORE_REQUESTS_PER_MINUTE": "20"}
    with server(tmp_path, script=tmp_path / "script.py", environment=few) as url:
        answers = [client.get(f"{url}/_stcore/health", headers=AFAR) for _ in range(25)]
        assert [each.status_code for each in answers] == [200] * 20 + [429] * 5
        assert answers[-1].text.startswith("Your network has made 20 requests within a minute")
        assert client.get(f"{url}/_stcore/health", headers={"X-Forwarded-For": "192.0.2.8"}).status_code == 200
        assert client.get(f"{url}/_stcore/health").status_code == 200
