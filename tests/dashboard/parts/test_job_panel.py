"""Long work on a page; what the panel does over time is proven in `tests/browser`."""

import re
import threading
from collections.abc import Iterator

import pytest

from dashboard.services.jobs import LONG, Queue

from .scripts import run


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


class Going:
    """A job that has been running for a while."""

    id, label, text, owners, lane, state = 1, "Train", "", {"me"}, "view", "running"
    finished = cancelling = False
    place, running_before, cancel = None, None, None
    progress, elapsed, remaining = 0.25, 137.0, 411.0


def panel(job) -> None:  # an AppTest script stands alone: names of this module are unknown in it
    from dashboard.parts.job_panel import job_panel
    from dashboard.state import session

    session().owner = "me"
    job_panel(job)


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
    first = queue.submit(work, label="First", owner="me")
    assert work.reported.wait(5)
    jobs = [queue.submit(work, label="Later", owner="me") for _ in range(3)]
    captions = [run(panel, job).caption[0].value for job in jobs]
    assert captions == ["Next in line, after First", "Waiting, 1 job before it", "Waiting, 2 jobs before it"]
    for job in jobs:
        job.cancel()
    first.owners = {"another"}
    mine = queue.submit(work, label="Mine", owner="me")
    assert run(panel, mine).caption[0].value == "Next in line"  # what others look at is theirs


def test_what_two_look_at_goes_on_for_one_when_the_other_cancels(queue):
    work = Held()
    job = queue.submit(work, label="Describe images", owner="me", key="a")
    assert queue.submit(work, label="Describe images", owner="another", key="a") is job
    assert work.reported.wait(5)
    at = run(panel, job)
    at.button(key=f"cancel-{job.id}").click().run()
    assert at.caption[0].value == "Describe images was cancelled."
    assert not job.cancelling
    work.go.set()
    assert job.wait(5)
    assert job.result == "done"


def test_job_panel_tells_of_shared_work_that_another_session_began(queue):
    work = Held()
    job = queue.submit(work, label="Train", owner="another", key="a", lane=LONG)
    assert work.reported.wait(5)
    assert run(panel, job).caption[1].value == (
        "Begun in another window, or here before a reload; cancelling ends it there too."
    )


def test_an_estimate_has_no_false_digits_and_waits_for_a_pace():
    job = Going()
    assert run(panel, job).caption[0].value == "25% · 2 min 17 s so far · about 7 min left"
    job.progress = 0.01
    assert run(panel, job).caption[0].value == "1% · 2 min 17 s so far"


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
