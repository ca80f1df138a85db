"""Where work runs, and how far it is: which device, many items at once, and the progress of parts of a whole.

Each item is worked on in a thread within which torch computes by itself.

Torch's own threads meet after every operation, and all wait for one that other work on the machine delays. Threads that
each work on an item of their own never wait, and what runs between torch's operations runs side by side as well.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[float, str], None]
"""What is told the share that is done, from 0 to 1, and what is being done. What it raises ends the work."""


@dataclass(frozen=True)
class Part:
    """The progress of a part of some work, passed on as that of the whole.

    It is a `Progress`, and may be told the share alone.
    """

    progress: Progress | None
    start: float
    share: float
    prefix: str = ""

    def __call__(self, done: float, text: str = "") -> None:
        """Tells the whole that `done` of this part is."""
        if self.progress is not None:
            self.progress(self.start + self.share * done, self.prefix + text)


def part(progress: Progress | None, start: float, share: float, prefix: str = "") -> Part:
    """The progress of the part of some work that begins at `start` and makes up `share` of it, both from 0 to 1.

    Texts are passed on after `prefix`. Without a `progress` nobody is told.

    >>> from corrcore.concurrency import part
    >>> second_half = part(print, 0.5, 0.5, "Second half: ")
    >>> second_half(0.5, "photo 7")
    0.75 Second half: photo 7
    """
    return Part(progress, start, share, prefix)


@dataclass
class Retold:
    """A `Progress` that can be told again what it was told last: so whoever waits learns of a wish to stop."""

    progress: Progress
    last: tuple[float, str] = (0.0, "")

    def __call__(self, done: float, text: str = "") -> None:
        """Passes it on, and remembers it."""
        self.last = (done, text)
        self.progress(done, text)

    def again(self) -> None:
        """Tells what was told last."""
        self.progress(*self.last)


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def travelling(device: torch.device) -> str | None:
    """The device of what goes to another process or machine: None, which is the default there, where it is the default
    here.
    """
    return None if device.type == default_device().type and not device.index else str(device)


_ENTERING = threading.Lock()  # a thread that sets torch's number sets that of all threads that begin after it


def map_in_order(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    then: Callable[[Result], object],
    *,
    n_threads: int | None = None,
) -> None:
    """Calls `work` on every item, and `then` on each result, in the items' order and in the calling thread.

    `n_threads` is torch's own number by default; a result waits for few others, so few are in memory at a time. The
    first exception, of either, ends the run: what has begun is finished, the rest is dropped. Torch's number of threads
    stays what it was everywhere else, save in a thread that asks torch for the first time just while this begins.
    """
    own = torch.get_num_threads()  # first of all, for a thread's number is set when it asks for the first time
    n_threads = min(n_threads or own, len(items))
    if n_threads <= 1:
        for item in items:
            then(work(item))
        return
    entered = threading.Barrier(n_threads)

    def enter() -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)
        entered.wait(timeout=60)  # none is done before all have begun, so each has a thread of its own

    with ThreadPoolExecutor(n_threads) as pool:
        with _ENTERING:
            try:
                for task in [pool.submit(enter) for _ in range(n_threads)]:
                    task.result()
            finally:
                torch.set_num_threads(own)  # and not 1, in threads that other code starts from now on
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > 2 * n_threads:
                    then(pending.popleft().result())
            while pending:
                then(pending.popleft().result())
        finally:
            for task in pending:
                task.cancel()
