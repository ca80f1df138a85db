"""The workers of a Ray cluster that work on many items: what runs in each, and who gives them what.

This module is what a worker imports first; torch it imports with what it is to do.
"""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from corrcore.concurrency import Progress, Retold

Key = TypeVar("Key")

LOOK_S = 0.5  # between two looks at whether the work is to stop
TRIES = 3  # of what may have ended its worker
ROOM_S = 60.0  # in which a worker has to find room

_kept: "dict[tuple[float, int], list[Any]] | None" = None  # workers that wait for what comes, by what they have


@dataclass(frozen=True)
class Room:
    """What each worker has of a machine, `gpus` and `n_threads`, and how many may be asked for: `most`, asked anew.

    One of them has to find room in `wait_s` seconds.
    """

    gpus: float
    n_threads: int
    most: Callable[[], int]
    wait_s: float = ROOM_S

    @property
    def kind(self) -> tuple[float, int]:
        """Workers of one kind can stand in for each other."""
        return self.gpus, self.n_threads


@dataclass(frozen=True)
class Waiting:
    """Who waits for room in a cluster since `begun`, a monotonic time, and may do so for `wait_s` seconds."""

    who: str
    wait_s: float
    begun: float
    cpus: int = 0
    gpus: float = 0.0

    def text(self, ray: Any) -> str:
        """What is needed and what there is."""
        there, free = ray.cluster_resources(), ray.available_resources()
        needed = " and ".join([*[f"{self.cpus} CPU"] * (self.cpus > 0), *[f"{self.gpus:g} of a GPU"] * (self.gpus > 0)])
        has = " and ".join(f"{there.get(what, 0):g} {what}s ({free.get(what, 0):g} free)" for what in ("CPU", "GPU"))
        return f"it needs {needed or 'a machine'}, and the cluster has {has}"

    def check(self, ray: Any, instead: str) -> None:
        """Raises ChildProcessError, which says what to do instead, once it has been too long."""
        if time.monotonic() - self.begun > self.wait_s:
            msg = f"{self.who} has found no room in the cluster for {self.wait_s:.0f} s: {self.text(ray)}; {instead}."
            raise ChildProcessError(msg)


@contextmanager
def keeping_workers() -> Iterator[None]:
    """Within it, workers go on from one `Cluster.map` to the next, and need not be started again."""
    global _kept
    outer, _kept = _kept, {} if _kept is None else _kept
    try:
        yield
    finally:
        kept, _kept = _kept, outer
        if outer is None and any(kept.values()):
            import ray

            for worker in chain.from_iterable(kept.values()):
                ray.kill(worker)


def forget_kept() -> None:
    """Keeps none of the workers that there are: their cluster is left."""
    if _kept is not None:
        _kept.clear()


class _Worker:
    """What runs in a worker. While it makes its state it says how far it is."""

    def __init__(self, *, gpu: bool) -> None:
        if not gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.forget()

    def forget(self) -> None:
        """Lets the state go."""
        self._said = (0.0, "")
        self._state: Any = None

    def make(self, make: "Callable[[Progress], Any]") -> None:
        """Makes the state."""

        def say(done: float, text: str = "") -> None:
            self._said = (done, text)

        self._state = make(say)

    def said(self) -> tuple[float, str]:
        """How far the making is."""
        return self._said

    def work(self, work: Callable[[Any, Any], Any], item: Any) -> Any:
        """What is found of an item."""
        return work(self._state, item)


class Workers(Generic[Key]):
    """The workers of one `Cluster.map`, and what each is doing.

    Ray would start a lost worker anew by itself, but give its item to that one alone, which may wait for room for ever.
    """

    def __init__(
        self, ray: Any, room: Room, make: Any, work: Any, items: Mapping[Key, Any], progress: "Retold"
    ) -> None:
        self._ray, self._room, self._items, self._progress = ray, room, items, progress
        self._make, self._work = ray.put(make), ray.put(work)
        self._queue, self._left, self._idle = deque(items), len(items), list[Any]()
        self._most = 1
        self._starting: dict[Any, Any] = {}  # the call that makes its state, and the worker
        self._working: dict[Any, tuple[Any, Key]] = {}  # the call, the worker and the item's key
        self._rested = set[Any]()  # calls of workers that waited before: they may have ended since
        self._ended: Counter[Key | None] = Counter()
        self._asked: Any = None
        self._here: list[Any] | None = []  # calls of which one answers once there is room; None since then
        self._waiting = Waiting("a worker", room.wait_s, time.monotonic(), cpus=1, gpus=room.gpus)
        self._kind = ray.remote(_Worker).options(
            num_cpus=1,
            num_gpus=room.gpus,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(room.n_threads)}},
            max_restarts=0,
            max_concurrency=2,
            scheduling_strategy="SPREAD",
        )
        for kind in [kind for kind in _kept or () if kind != room.kind]:  # they may have the room that these need
            self._kill(_kept.pop(kind) if _kept else [])

    def results(self, *, one_first: bool) -> Iterator[tuple[Key, Any]]:
        """Each key and result as it comes."""
        self._progress(self._progress.last[0], "starting workers")
        self._most = 1 if one_first else self._room.most()
        while self._left:
            self._begin_missing()
            done, _ = self._ray.wait([*self._starting, *self._working], timeout=LOOK_S)
            if not done:
                self._look()
            for call in done:
                worker, *key = self._working.pop(call, None) or (self._starting.pop(call),)
                rested = call in self._rested
                self._rested.discard(call)
                try:
                    result = self._ray.get(call)
                except self._ray.exceptions.RayTaskError as error:
                    self._idle.append(worker)
                    raise error.cause from error
                except self._ray.exceptions.RayError as error:
                    self._replace(worker, key, error, rested=rested)
                    continue
                self._give(worker)
                self._here, self._ended[None] = None, 0
                if key:
                    self._left -= 1
                    yield key[0], result
                else:
                    self._most = self._room.most()

    def _begin_missing(self) -> None:
        """Has as many workers as are asked for and have something to do."""
        there = len(self._starting) + len(self._working) + len(self._idle)
        for _ in range(min(self._most, self._left) - there):
            kept = _kept.get(self._room.kind) if _kept else None
            rested = bool(kept)
            worker = kept.pop() if kept else self._kind.remote(gpu=self._room.gpus > 0)
            self._starting[call := worker.make.remote(self._make)] = worker
            if rested:
                self._rested.add(call)
            if self._here is not None:
                self._here.append(worker.said.remote())

    def _give(self, worker: Any, *, rested: bool = False) -> None:
        """The next item, to a worker that has none."""
        if not self._queue:
            self._idle.append(worker)
            return
        key = self._queue.popleft()
        self._working[call := worker.work.remote(self._work, self._items[key])] = worker, key
        if rested:
            self._rested.add(call)

    def _replace(self, worker: Any, key: list[Key], error: Exception, *, rested: bool) -> None:
        """Puts the item of a worker that has ended back. Those of a machine that ends while they start end together."""
        what = key[0] if key else None
        self._ended[what] += not rested
        most = TRIES if key else TRIES + min(self._most, self._left)
        if self._ended[what] >= most:
            msg = (
                f"{most} workers ended {f'at {what}' if key else 'before they began'}, perhaps because memory ran out; "
                "ask for fewer workers."
            )
            raise ChildProcessError(msg) from error
        self._ray.kill(worker)
        self._queue.extendleft(key)
        if self._idle and self._queue:
            self._give(self._idle.pop(), rested=True)

    def _look(self) -> None:
        """Tells what the first of those that start says, or again what was told last."""
        if self._here:
            self._look_for_room(self._here)
        answered = self._asked is not None and bool(self._ray.wait([self._asked], timeout=0)[0])
        done, text = 0.0, ""
        if answered:
            with suppress(self._ray.exceptions.RayError):  # it has ended, which its call says too
                done, text = self._ray.get(self._asked)
        if self._starting and (answered or self._asked is None):
            self._asked = next(iter(self._starting.values())).said.remote()
        if text and not self._working:
            self._progress(done, text)
        else:
            self._progress.again()

    def _look_for_room(self, here: list[Any]) -> None:
        """Says what is waited for, after a while, until a worker has found room."""
        waiting, (done, _) = self._waiting, self._progress.last
        if self._ray.wait(here, timeout=0)[0]:
            self._here = None
            self._progress(done, "starting workers")
            return
        if time.monotonic() - waiting.begun > waiting.wait_s / 10:
            self._progress(done, f"waiting for a worker: {waiting.text(self._ray)}")
        waiting.check(self._ray, "see what it does with `ray status`, or work with --executor threads")

    def end(self) -> None:
        """Ends those that are busy at once, and the others too unless they are kept."""
        self._kill([*self._starting.values(), *(worker for worker, _ in self._working.values())])
        if _kept is None:
            self._kill(self._idle)
            return
        forgetting = [worker.forget.remote() for worker in self._idle]
        if forgetting:
            self._ray.wait(forgetting, num_returns=len(forgetting), timeout=LOOK_S)
        _kept.setdefault(self._room.kind, []).extend(self._idle)

    def _kill(self, workers: Iterable[Any]) -> None:
        for worker in workers:
            self._ray.kill(worker)
