"""The parts all pages share; what they do over time is proven in `tests/browser`."""

import re
import threading
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.services.jobs import Queue


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue()
    yield queue
    assert queue.close()


class Held:
    """Work that reports once and then waits to be let go."""

    def __init__(self) -> None:
        self.reported = threading.Event()
        self.go = threading.Event()

    def __call__(self, *, progress) -> str:
        progress(0.25, "image 3 of 12")
        self.reported.set()
        while not self.go.wait(0.005):
            progress(0.25, "image 3 of 12")
        return "done"


def run(script, *args: object) -> AppTest:
    at = AppTest.from_function(script, args=args, default_timeout=20).run()
    assert not at.exception
    return at


def panel(job) -> None:  # an AppTest script stands alone: names of this module are unknown in it
    from dashboard.parts.layout import job_panel

    job_panel(job)


def test_header_says_what_is_shown_and_what_to_look_for():
    def script() -> None:
        from dashboard.parts.layout import header

        header("A photo rebuilt from other photos.", "Look at the eyes.")

    at = run(script)
    assert at.title[0].value == "A photo rebuilt from other photos."
    assert at.markdown[0].value == "Look at the eyes."


def test_how_computed_is_folded_and_lists_the_parameters_in_force():
    def script() -> None:
        from dashboard.parts.layout import how_computed

        how_computed("By cosine similarity.", {"layer": "conv4", "neighbours": 5})

    [expander] = run(script).expander
    assert expander.label == "How this is computed"
    assert not expander.proto.expanded
    assert expander.markdown[0].value == "By cosine similarity."
    assert expander.table[0].value.to_numpy().tolist() == [["layer", "conv4"], ["neighbours", "5"]]


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("http://127.0.0.1:8501/fields", "http://127.0.0.1:8501/fields?k=7&tags=a&tags=b+c"),
        ("https://example.org", "https://example.org/?k=7&tags=a&tags=b+c"),
    ],
)
def test_export_row_links_to_the_view_with_every_bound_widget(url, link):
    def script() -> None:
        import streamlit as st

        from dashboard.parts.layout import export_row

        st.slider("Neighbours", 1, 20, 5, key="k", bind="query-params")
        st.multiselect("Tags", ["a", "b c"], key="tags", bind="query-params")
        export_row(downloads={}, python="import corrcore")

    at = AppTest.from_function(script, default_timeout=20)
    at.context = {"url": url}
    at.query_params["k"] = "7"
    at.query_params["tags"] = ["a", "b c"]
    at.run()
    assert not at.exception
    assert [code.value for code in at.code] == [link, "import corrcore"]


def test_export_row_offers_files_without_making_them():
    def script(made: list) -> None:
        from dashboard.parts.layout import export_row

        def make() -> bytes:
            made.append("a file")
            return b""

        export_row(downloads={"cat.png": make, "cat.npz": make}, python="")

    made: list[str] = []
    at = run(script, made)
    assert [button.label for button in at.download_button] == ["PNG", "NPZ"]
    assert made == []


def test_job_panel_shows_progress_of_a_running_job_and_cancels_it(queue):
    work = Held()
    job = queue.submit(work, label="Describe images", owner="me")
    assert work.reported.wait(5)
    at = run(panel, job)
    assert at.progress[0].value == 25
    assert at.progress[0].text == "Describe images: image 3 of 12"
    assert re.fullmatch(r"25% · \d+ s so far( · about \d+ s left)?", at.caption[0].value)
    at.button(key=f"cancel-{job.id}").click().run()
    assert job.wait(5)
    assert run(panel, job).caption[0].value == "Describe images was cancelled."


def test_job_panel_says_how_many_jobs_wait_before(queue):
    work = Held()
    queue.submit(work, label="First", owner="me")
    assert work.reported.wait(5)
    jobs = [queue.submit(work, label="Later", owner="me") for _ in range(3)]
    captions = [run(panel, job).caption[0].value for job in jobs]
    assert captions == ["Next in line", "Waiting, 1 job before it", "Waiting, 2 jobs before it"]


def test_job_panel_shows_why_a_job_failed(queue):
    def fail(*, progress):
        raise ValueError("layer must be one of conv1 to conv5; got conv9.")

    job = queue.submit(fail, label="Break", owner="me")
    assert job.wait(5)
    at = run(panel, job)
    assert at.error[0].value == "layer must be one of conv1 to conv5; got conv9."
    assert not at.progress


def test_job_panel_of_a_done_job_leaves_the_page_to_its_result(queue):
    job = queue.submit(lambda progress: 7, label="Seven", owner="me")
    assert job.wait(5)
    at = run(panel, job)
    assert len(at.main) == 0


def test_empty_state_names_what_is_missing_and_its_button_mends_it():
    def script() -> None:
        import streamlit as st

        from dashboard.parts.layout import empty_state

        if empty_state("No index yet", "It takes two minutes.", button="Build it"):
            st.text("building")

    at = run(script)
    assert at.subheader[0].value == "No index yet"
    assert at.markdown[0].value == "It takes two minutes."
    assert not at.text
    at.button[0].click().run()
    assert at.text[0].value == "building"


def test_empty_state_without_a_remedy_has_no_button():
    def script() -> None:
        from dashboard.parts.layout import empty_state

        empty_state("No photo", "The folder holds none.")

    assert not run(script).button
