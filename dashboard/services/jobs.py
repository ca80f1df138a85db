"""The one bounded queue for all that takes longer than a moment: progress, an estimate, cancelling, and shares.

It has two lanes. In `VIEW` are pictures that somebody waits for, in `LONG` what takes minutes; each is first in, first
out and has slots of its own, so no picture waits behind a measurement. A job is an ordinary function that takes
``progress`` as a keyword and calls it now and then; it runs in a worker thread, where it may wait for a process
(`processes`). Whoever submitted it looks at its `Job` from time to time. Nothing here knows who shows it.
"""

import functools
import itertools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, Literal, TypeVar

from dashboard.services.sizes import n_bytes

_log = logging.getLogger(__name__)

T = TypeVar("T")
State = Literal["waiting", "running", "done", "failed", "cancelled"]
Lane = Literal["view", "long"]
VIEW: Final = "view"
LONG: Final = "long"
LANES: tuple[Lane, ...] = (VIEW, LONG)
_job_ids = itertools.count(1)


class Cancelled(Exception):  # noqa: N818 - it carries a wish, not an error
    """Raised by ``progress`` inside a job that is to stop. Let it through."""


class QueueFull(RuntimeError):  # noqa: N818
    """The queue takes no more work for now; the text says how much it has."""


class Job(Generic[T]):
    """One piece of work, made by `Queue.submit`: read its attributes from any thread, at any time.

    `progress` is the share done, 0 to 1, and `text` what is being done; `result` is None unless `state` is
    ``done``; `error` is one sentence when it is ``failed``. `owners` are those who asked for it and have not left it.
    """

    def __init__(
        self, queue: "Queue", work: Callable[..., T], *, label: str, owner: str, group: str, lane: Lane, key: Hashable
    ) -> None:
        self.id = next(_job_ids)
        self.label = label
        self.key = key
        self.owners = {owner}
        self.group = group  # of whoever asked first
        self.lane: Lane = lane
        self.state: State = "waiting"
        self.progress = 0.0
        self.text = ""
        self.result: T | None = None
        self.error = ""
        self.n_bytes = 0  # of its result
        self._queue = queue
        self._work: Callable[..., T] | None = work
        self._stop = threading.Event()
        self._over = threading.Event()
        self._started = self._ended = 0.0

    @property
    def finished(self) -> bool:
        """Whether it is done, failed or cancelled: nothing about it will change any more."""
        return self._over.is_set()

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop and has not stopped yet."""
        return self._stop.is_set() and not self.finished

    @property
    def place(self) -> int | None:
        """How many jobs wait before this one; None once it does not wait any more."""
        return self._queue.place(self)

    @property
    def running_before(self) -> "Job[Any] | None":
        """What runs in its lane while this one waits."""
        return self._queue.running_before(self)

    @property
    def begins_in(self) -> float | None:
        """Seconds until it begins, if it is next and what runs goes on at its mean pace; None while nobody knows."""
        before = self.running_before
        return before.remaining if before is not None and self.place == 0 else None

    @property
    def elapsed(self) -> float:
        """Seconds it has been running, or ran; 0 while it waits."""
        return (self._ended or time.monotonic()) - self._started if self._started else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds it still takes if it goes on at its mean pace; None while there is no pace to go by."""
        done, elapsed = self.progress, self.elapsed
        return elapsed * (1 - done) / done if self.state == "running" and done > 0 and elapsed >= 1 else None

    def cancel(self) -> None:
        """Ask it to stop: a waiting job never starts, a running one stops where it next reports progress.

        What it still computes is dropped. A finished job stays as it is.
        """
        self._queue.cancel(self)

    def leave(self, owner: str) -> None:
        """One of its owners does not wait for it any more; `cancel` where no other does."""
        self._queue.leave(self, owner)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is finished, at most `timeout` seconds; whether it is."""
        return self._over.wait(timeout)

    def _report(self, done: float, text: str = "") -> None:
        """What the work is given as ``progress``."""
        if self._stop.is_set():
            raise Cancelled
        self.progress, self.text = min(max(float(done), 0.0), 1.0), text

    def _sized(self, result: T) -> T:
        self.n_bytes = n_bytes(result)
        return result

    def _run(self) -> tuple[State, T | None, str]:
        """Do the work; the state it ends in, its result, and the sentence that says what went wrong."""
        work, self._work = self._work, None  # its arguments may be large: they go when the work is over
        if work is None:
            msg = f"{self.label} was started twice."
            raise RuntimeError(msg)
        try:
            return "done", self._sized(work(progress=self._report)), ""
        except Cancelled:
            return "cancelled", None, ""
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            _log.info("work failed", exc_info=True)
            lines = str(error).split("\n")
            return "failed", None, lines[0] or f"{self.label} failed: {_plain(error)}."
        except BaseException as error:  # a slot outlives whatever its jobs raise
            _log.exception("work failed")
            return "failed", None, f"{self.label} failed: {_plain(error)}. The server's log has the details."


class Queue:
    """Runs at most `slots` jobs of a lane at a time, and holds at most `capacity`, waiting and running.

    Of one owner it holds at most `share` of a lane, and of one group of owners at most half. A job with a ``key`` is
    done once for all: whoever submits the key again becomes another owner of the job that waits or runs. A view that is
    done is returned too (the last `kept` finished jobs are remembered, as many as have results within `kept_bytes`),
    while long work, whose result lies where others may remove it, runs anew; so does what failed or was cancelled.

    >>> def double(n, *, progress):
    ...     progress(0.5, "doubling")
    ...     return 2 * n
    >>> queue = Queue()
    >>> job = queue.submit(double, 21, label="Double", owner="me")
    >>> job.wait()
    True
    >>> job.state, job.result
    ('done', 42)
    >>> queue.close()
    True
    """

    def __init__(
        self, *, slots: int = 1, capacity: int = 20, share: int = 20, kept: int = 20, kept_bytes: int = 100_000_000
    ) -> None:
        for what, value in (("slots", slots), ("capacity", capacity), ("share", share)):
            if value < 1:
                msg = f"{what} of a queue must be at least 1; got {value}."
                raise ValueError(msg)
        self._capacity, self._share, self._kept, self._kept_bytes = capacity, share, kept, kept_bytes
        self._lock = threading.Condition()  # which its holder may take again
        self._waiting: dict[Lane, deque[Job[Any]]] = {lane: deque() for lane in LANES}
        self._running: dict[Lane, list[Job[Any]]] = {lane: [] for lane in LANES}
        self._known: dict[Hashable, Job[Any]] = {}  # finished ones in order of ending
        self._ended: Counter[tuple[Lane, State]] = Counter()
        self._closed = False
        self._workers = [
            threading.Thread(target=self._serve, args=(lane,), name=f"corrcore-job-{lane}-{slot}", daemon=True)
            for lane in LANES
            for slot in range(slots)
        ]
        for worker in self._workers:
            worker.start()

    def submit(
        self,
        function: Callable[..., T],
        *args: object,
        label: str,
        owner: str,
        group: str = "",
        lane: Lane = VIEW,
        key: Hashable = None,
        admit: Callable[[], None] = lambda: None,
        **kwargs: object,
    ) -> Job[T]:
        """Line up ``function(*args, progress=..., **kwargs)`` and return its job at once.

        `function` calls ``progress(done, text)`` with the share done, 0 to 1, and what is being done; the call raises
        `Cancelled` when the job is to stop. `label` names the work in a few words, `owner` whose work it is, and
        `group` where they come from, if that counts. `admit` is called where there is room for work that nobody has
        asked for yet, and may refuse it.
        Raises `QueueFull`, what `admit` does, or RuntimeError once the queue is closed.
        """
        with self._lock:
            known = self._known.get(key)
            if known is not None and not known.cancelling and (not known.finished or self._serves_again(known)):
                known.owners.add(owner)
                return known
            if self._closed:
                msg = "The server is stopping and takes no more work."
                raise RuntimeError(msg)
            self._check_room(lane, owner, group)
            admit()
            work = functools.partial(function, *args, **kwargs)
            job = Job(self, work, label=label, owner=owner, group=group, lane=lane, key=key)
            self._waiting[lane].append(job)
            if key is not None:
                self._known[key] = job
            self._lock.notify_all()
            return job

    @staticmethod
    def _serves_again(job: Job[Any]) -> bool:
        return job.lane == VIEW and job.state == "done"

    def _check_room(self, lane: Lane, owner: str, group: str) -> None:
        waiting, running = len(self._waiting[lane]), len(self._running[lane])
        if waiting + running >= self._capacity:
            msg = (
                f"The server is busy: {waiting} waiting and {running} running, and it takes no more than"
                f" {self._capacity}. Try again in a few minutes."
            )
            raise QueueFull(msg)
        there = self.unfinished(lane)
        if group and sum(job.group == group for job in there) >= max(1, self._capacity // 2):
            msg = "Your network has as many jobs here as one may; wait for one, or cancel one."
            raise QueueFull(msg)
        own = sum(owner in job.owners for job in there)
        if own >= self._share:
            msg = f"You have {own} jobs here already, as many as one visitor may; wait for one, or cancel one."
            raise QueueFull(msg)

    def find(self, key: Hashable) -> Job[Any] | None:
        """The latest job under a key, in whatever state, while it is remembered."""
        with self._lock:
            return self._known.get(key)

    def unfinished(self, lane: Lane) -> list[Job[Any]]:
        """The jobs of a lane that run or wait, in their order."""
        with self._lock:
            return [*self._running[lane], *self._waiting[lane]]

    def ended(self) -> dict[tuple[Lane, State], int]:
        """How many jobs have ended since the start, by lane and state."""
        with self._lock:
            return dict(self._ended)

    def running_before(self, job: Job[Any]) -> Job[Any] | None:
        """What runs in a job's lane while it waits."""
        with self._lock:
            return next(iter(self._running[job.lane]), None) if job in self._waiting[job.lane] else None

    def place(self, job: Job[Any]) -> int | None:
        """How many jobs of its lane wait before this one; None if it does not wait."""
        with self._lock:
            waiting = self._waiting[job.lane]
            return waiting.index(job) if job in waiting else None

    def cancel(self, job: Job[Any]) -> None:
        """Ask a job to stop; see `Job.cancel`."""
        with self._lock:
            job._stop.set()
            if job in self._waiting[job.lane]:
                self._waiting[job.lane].remove(job)
                self._end(job, "cancelled")

    def leave(self, job: Job[Any], owner: str) -> None:
        """Count an owner out; see `Job.leave`."""
        with self._lock:
            job.owners.discard(owner)
            if not job.owners:
                self.cancel(job)

    def close(self, timeout: float = 9.0) -> bool:
        """Take no more work, drop what waits, ask what runs to stop, and wait for it at most `timeout` seconds.

        Whether all of it stopped. What did not ends with the process: the workers are daemons.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            self._closed = True
            for job in [job for lane in LANES for job in self.unfinished(lane)]:
                self.cancel(job)
            self._lock.notify_all()
        for worker in self._workers:
            worker.join(max(deadline - time.monotonic(), 0.0))
        return not any(worker.is_alive() for worker in self._workers)

    def _serve(self, lane: Lane) -> None:
        while self._serve_one(lane):
            pass

    def _serve_one(self, lane: Lane) -> bool:
        """Run a lane's next job, when there is one; False once the queue is closed.

        A function of its own so that no worker holds the last job's result while it waits for the next.
        """
        with self._lock:
            self._lock.wait_for(lambda: self._waiting[lane] or self._closed)
            if self._closed:
                return False
            job = self._waiting[lane].popleft()
            self._running[lane].append(job)
            job._started = time.monotonic()
            job.state = "running"
        state, result, error = job._run()
        with self._lock:
            self._running[lane].remove(job)
            if job._stop.is_set():
                state, result, error = "cancelled", None, ""
            job.result, job.error = result, error
            job.progress = 1.0 if state == "done" else job.progress
            self._end(job, state)
        told = {"event": "work", "what": lane, "seconds": round(job.elapsed, 3), "ended": state}
        _log.info("work ended", extra=told)
        return True

    def _end(self, job: Job[Any], state: State) -> None:
        job._ended = time.monotonic()
        job.state = state
        job._work = None
        self._ended[job.lane, state] += 1
        job._over.set()
        for name in [name for name, known in self._known.items() if known is job]:
            self._known[name] = self._known.pop(name)  # to the end: the last to finish is the last to be forgotten
        finished = [(name, known) for name, known in self._known.items() if known.finished]
        room = self._kept_bytes
        for number, (name, known) in enumerate(reversed(finished)):
            room -= known.n_bytes
            if number >= self._kept or (room < 0 and number):
                del self._known[name]


def _plain(error: BaseException) -> str:
    """An error without words of its own, in words."""
    return "not enough memory" if isinstance(error, MemoryError) else f"an unexpected {type(error).__name__}"
