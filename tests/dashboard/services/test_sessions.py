"""What a session waits for in the queue: given up, left behind, come back to."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dashboard.services import sessions
from dashboard.services.jobs import Queue
from tests.dashboard.parts.scripts import run


@pytest.fixture
def connected(monkeypatch) -> Iterator[set[str]]:
    """The browsers that are there, in front of a queue of one slot."""
    there: set[str] = set()
    server = SimpleNamespace(is_active_session=there.__contains__)
    queue = Queue()
    monkeypatch.setattr(sessions, "is_served", lambda: True)
    monkeypatch.setattr(sessions, "runtime", SimpleNamespace(get_instance=lambda: server))
    monkeypatch.setattr(sessions, "queue", lambda: queue)
    yield there
    assert queue.close()


def look(owner: str, what: str, go: object, jobs: list, given_up: bool = False) -> None:
    """An AppTest script stands alone."""
    from dashboard.services import sessions
    from dashboard.state import session

    def work(*, progress) -> str:
        while not go.wait(0.005):
            progress(0.5)
        return what

    session().owner = owner
    jobs.append(sessions.submit_view(work, what, what))
    if given_up:
        sessions.give_view_up(jobs[-1])


def test_nobody_waits_behind_the_pictures_of_who_has_gone(connected):
    go, jobs = threading.Event(), []
    connected |= {"a", "b"}
    for number in range(3):  # loaded again and again
        run(look, f"gone {number}", f"picture {number}", go, jobs)
    run(look, "a", "picture 2", go, jobs)  # which one that is there wants, too
    run(look, "b", "mine", go, jobs)
    assert [job.state for job in jobs[:2]] == ["cancelled", "cancelled"]
    assert jobs[2] is jobs[3]
    go.set()
    assert jobs[3].wait(5)
    assert jobs[4].wait(5)
    assert [job.result for job in jobs[3:]] == ["picture 2", "mine"]


def test_who_comes_back_finds_the_picture_made_anew(connected):
    go, jobs = threading.Event(), []
    connected.add("b")
    at = run(look, "a", "mine", go, jobs)
    run(look, "b", "another", go, jobs)
    assert jobs[0].wait(5)
    assert jobs[0].state == "cancelled"
    connected.add("a")
    at.run()
    assert jobs[2] is not jobs[0]
    go.set()
    assert jobs[2].wait(5)
    assert jobs[2].result == "mine"


def test_what_was_given_up_does_not_begin_again(connected):
    go, jobs = threading.Event(), []
    connected.add("a")
    at = run(look, "a", "mine", go, jobs, True)
    at.run()
    assert jobs[1] is jobs[0]
    assert jobs[0].wait(5)
    assert jobs[0].state == "cancelled"
