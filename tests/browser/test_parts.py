"""The shared parts of a page over time: a job's panel, files, and the link, in a real Chromium."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .conftest import App

pytestmark = pytest.mark.browser

SCRIPT = """
import time

import streamlit as st

from dashboard.services.jobs import Queue
from dashboard.parts.exports import export_row
from dashboard.parts.job_panel import job_panel
from dashboard.state import session


@st.cache_resource
def queue() -> Queue:
    return Queue()


def count(to: int, *, progress) -> int:
    for done in range(to):
        progress(done / to, f"{done} of {to}")
        time.sleep(0.05)
    return to


def start(to: int) -> None:
    st.session_state.job = queue().submit(count, to, label="Count", owner=session().owner)


st.session_state["runs"] = st.session_state.get("runs", 0) + 1
st.button("Start short", on_click=start, args=(30,))
st.button("Start long", on_click=start, args=(2000,))
if job := st.session_state.get("job"):
    job_panel(job)
    if job.state == "done":
        st.text(f"result {job.result}")
st.text(f"runs {st.session_state.runs}")
st.slider("Neighbours", 1, 20, 5, key="k", bind="query-params")
export_row(downloads={"cat.txt": lambda: b"meow"}, python="import corrcore")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(SCRIPT, "utf-8")
    return path


@pytest.fixture
def app(serve: Callable[..., App], script: Path) -> App:
    return serve(script)


def test_job_panel_follows_the_job_and_runs_the_page_once_when_it_ends(app):
    page = app.open()
    page.get_by_role("button", name="Start short").click()
    expect(page.get_by_text(re.compile(r"Count: \d+ of 30"))).to_be_visible()
    expect(page.get_by_text("runs")).to_have_text("runs 2")
    expect(page.get_by_text("result")).to_have_text("result 30", timeout=15_000)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    page.wait_for_timeout(1500)
    expect(page.get_by_text("runs")).to_have_text("runs 3")


def test_job_panel_cancels_the_job(app):
    page = app.open()
    page.get_by_role("button", name="Start long").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Count was cancelled.")).to_be_visible()


def test_export_row_makes_a_file_when_it_is_asked_for(app):
    page = app.open()
    with page.expect_download() as download:
        page.get_by_role("button", name="TXT").click()
    assert download.value.suggested_filename == "cat.txt"
    assert download.value.path().read_bytes() == b"meow"


def test_export_row_links_to_what_is_shown(app):
    page = app.open()
    page.get_by_role("slider").press("ArrowRight")
    expect(page).to_have_url(f"{app.url}/?k=6")
    page.get_by_role("button", name="Link").click()
    expect(page.get_by_test_id("stPopoverBody")).to_contain_text(f"{app.url}/?k=6")
    linked = app.open("?k=6")
    expect(linked.get_by_role("slider")).to_have_value("6")
