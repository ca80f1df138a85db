"""How a cluster's workers are begun, given work and replaced, where Ray does at once what it is told."""

from types import SimpleNamespace

import pytest

from corrcore.concurrency import Retold
from corrcore.workers import Room, Workers, forget_kept, keeping_workers


class RayError(Exception):
    """A worker has ended."""


class RayTaskError(RayError):
    """What its work raises."""


class OneMachine:
    """Ray with workers that end when `ends` says so of the numbers, from 0, in which they were begun."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, *, ends=(), room=True):
        self.ended, self.room, self.n_begun = set(ends), room, 0

    def put(self, value):
        return value

    def remote(self, kind):
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda **given: self.begin(kind(**given))))

    def begin(self, worker):
        number, self.n_begun = self.n_begun, self.n_begun + 1

        def calling(name):
            return SimpleNamespace(remote=lambda *given: Call(number, getattr(worker, name), given))

        return SimpleNamespace(number=number, **{name: calling(name) for name in ("make", "said", "work", "forget")})

    def wait(self, calls, *, num_returns=1, timeout):
        return (list(calls), []) if self.room else ([], list(calls))

    def get(self, call):
        if call.number in self.ended:
            raise RayError
        return call.does(*call.given)

    def kill(self, worker):
        self.ended.add(worker.number)

    def cluster_resources(self):
        return {"CPU": 2.0}

    def available_resources(self):
        return {"CPU": 0.5}


class Call:
    """What is asked of a worker."""

    def __init__(self, number, does, given):
        self.number, self.does, self.given = number, does, given


def squares(ray, *, n_items=12, n_workers=8, wait_s=60.0, told=None):
    """What is found by workers, each with a GPU."""
    room = Room(gpus=1.0, n_threads=1, most=lambda: n_workers, wait_s=wait_s)
    progress = Retold(lambda *said: told.append(said) if told is not None else None)
    items = {n: n for n in range(n_items)}
    workers = Workers(ray, room, lambda progress: None, lambda state, item: item * item, items, progress)
    try:
        return dict(workers.results(one_first=False))
    finally:
        workers.end()


FOUND = {n: n * n for n in range(12)}


def test_kept_workers_that_have_ended_since_are_replaced():
    ray = OneMachine()
    with keeping_workers():
        assert squares(ray) == FOUND
        ray.ended |= set(range(8))  # with their machines
        assert squares(ray) == FOUND
        assert ray.n_begun == 16
        forget_kept()


def test_workers_that_end_with_a_machine_before_they_begin_are_replaced():
    assert squares(OneMachine(ends=range(8))) == FOUND


def test_workers_that_never_begin_are_a_sentence():
    with pytest.raises(ChildProcessError, match="11 workers ended before they began, perhaps because memory ran out"):
        squares(OneMachine(ends=range(100)))


def test_workers_without_room_say_what_there_is_and_do_not_wait_for_ever():
    told = []
    text = r"it needs 1 CPU and 1 of a GPU, and the cluster has 2 CPUs \(0.5 free\) and 0 GPUs \(0 free\)"
    with pytest.raises(ChildProcessError, match=f"a worker has found no room in the cluster for 0 s: {text}; see what"):
        squares(OneMachine(room=False), wait_s=0.01, told=told)
    assert any(said.startswith("waiting for a worker: it needs 1 CPU") for _, said in told)
