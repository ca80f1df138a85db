"""The Status page: for operators alone, and its buttons do what they say."""

import re

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.server import logs, status
from dashboard.services import sessions
from tests.dashboard.conftest import ROOT, texts


@pytest.fixture
def ready(cache_folder):
    status.open_defaults()


def metric(at: AppTest, label: str) -> str:
    [value] = [each.value for each in at.metric if each.label == label]
    return value


def test_the_page_shows_what_runs_and_what_is_kept(ready, open_page):
    logs.errors.clear()
    at = open_page("status")
    assert metric(at, "Running") == "0"
    assert re.fullmatch(r"\d+ [MG]B|\d\.\d GB", metric(at, "Memory"))
    tables = [table.value.astype(str).to_numpy().tolist() for table in at.table]
    assert [row[0] for row in tables[0]] == ["Pictures somebody waits for", "Long work"]
    assert any(row[0].startswith("samples-alexnet-") for row in tables[1])
    assert tables[2][0][0] == "AlexNet"
    assert "None since the start." in texts(at)


def test_work_is_cancelled_one_by_one_and_all_at_once(ready, open_page):
    def work(*, progress):
        while True:
            progress(0.25)

    jobs = [sessions.queue().submit(work, label="private.jpg", owner="me") for _ in range(3)]
    try:
        at = AppTest.from_file(str(ROOT / "dashboard" / "app_pages" / "status.py"), default_timeout=60).run()
        assert metric(at, "Waiting") == "2"
        assert not any("private" in text for text in texts(at))
        at.button(key=f"cancel job {jobs[1].id}").click().run()
        assert jobs[1].state == "cancelled"
        assert jobs[2].state == "waiting"
        at.button(key="cancel_all").click().run()
        assert all(job.wait(10) for job in jobs)
        assert {job.state for job in jobs} == {"cancelled"}
    finally:
        status.cancel_all()


def test_networks_are_forgotten_by_a_button(ready, open_page):
    at = open_page("status")
    at.button(key="forget_networks").click().run()
    assert "No network." in texts(at)
    assert [toast.value for toast in at.toast] == ["Networks are forgotten."]
    assert not at.run().toast  # said once
    assert at.button(key="forget_networks").disabled


def test_visitors_see_neither_the_page_nor_its_card(ready, open_page, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("status")
    assert [info.value for info in at.info] == ["This page is for whoever looks after the server."]
    assert not at.metric
    assert not at.button
    home = AppTest.from_file(str(ROOT / "dashboard" / "frame.py"), default_timeout=60).run()
    assert "Look after the server" not in [heading.value for heading in home.subheader]
    monkeypatch.delenv("CORRCORE_READ_ONLY")
    home = AppTest.from_file(str(ROOT / "dashboard" / "frame.py"), default_timeout=60).run()
    assert "Look after the server" in [heading.value for heading in home.subheader]
