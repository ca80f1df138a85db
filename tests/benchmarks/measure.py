"""A row of the table, and the one place where anything is timed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, TypeVar

import torch

Kind = Literal["single", "single, 1 thread", "half", "int8", "double"]
Given = TypeVar("Given", str, int, float)


@dataclass(frozen=True)
class Work:
    """What has to be moved and computed at least, whoever does it: bytes of memory, and operations of one kind."""

    bytes: float = 0
    operations: float = 0
    kind: Kind = "single"

    def floor(self, limits: Mapping[str, float]) -> float | None:
        """The seconds that a machine of such limits needs at least; None where the one that counts was not measured."""
        needed = {"read": self.bytes, self.kind: self.operations}
        if any(amount and not limits.get(name) for name, amount in needed.items()):
            return None
        return max(amount / limits[name] if amount else 0 for name, amount in needed.items())


@dataclass(frozen=True)
class Bar:
    """What a row has to reach: so many times the peer's speed, or at most, or at least, a number of its unit."""

    kind: Literal["ratio", "most", "least"]
    value: float

    @classmethod
    def ratio(cls, value: float) -> "Bar":
        """Theirs / ours at least."""
        return cls("ratio", value)

    @classmethod
    def most(cls, value: float) -> "Bar":
        """Ours at most. An absolute time counts on a quiet machine, or a GPU, only."""
        return cls("most", value)

    @classmethod
    def least(cls, value: float) -> "Bar":
        """Ours at least, of what is not a time."""
        return cls("least", value)


@dataclass(frozen=True)
class Row:
    """One thing computed: ours beside one peer's, in seconds or another `unit`.

    `right` says whether it was computed as it should be, where that is compared; `note` what else there is to say.
    """

    what: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    bar: Bar | None = None
    work: Work | None = None
    unit: str = "s"
    right: bool | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the peer's ours is."""
        return None if self.theirs is None else self.theirs / self.ours

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached by a right result; None where there is neither bar nor comparison."""
        if self.bar is None or self.right is False:
            return self.right
        if self.bar.kind == "ratio":
            return self.ratio is not None and self.ratio >= self.bar.value
        return self.ours <= self.bar.value if self.bar.kind == "most" else self.ours >= self.bar.value


@dataclass(frozen=True)
class Run:
    """How a subject is to be measured: on which device, whether `quick`, and with what options.

    A `dry` run only sees that all is computed: once.
    """

    quick: bool = False
    dry: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    def option(self, name: str, otherwise: Given) -> Given:
        """What was given as `--option name=...`."""
        return type(otherwise)(self.options[name]) if name in self.options else otherwise

    def seconds(self, call: Callable[[], object]) -> float:
        """The time of one call, until the device is done with it."""
        begun = self._now()
        call()
        return self._now() - begun

    def medians(
        self, calls: Mapping[str, Callable[[], object]], rounds: int, *, at_most: float | None = None, warm: bool = True
    ) -> dict[str, float]:
        """Median seconds of calls: see `timed`."""
        return self.timed(calls, rounds, at_most=at_most, warm=warm)[0]

    def timed(
        self, calls: Mapping[str, Callable[[], Any]], rounds: int, *, at_most: float | None = None, warm: bool = True
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """Median seconds of calls that take turns, and what each gave at last.

        One of each comes first that is not timed, unless `warm` is false.
        There are fewer rounds, but one at least, where they would take more than `at_most` seconds: 20 by default, 6
        when quick. A third round at least is wanted of calls of less than two seconds.
        """
        at_most = (6 if self.quick else 20) if at_most is None else at_most
        found = {name: call() for name, call in calls.items()} if warm and not self.dry else {}
        times: dict[str, list[float]] = {name: [] for name in calls}
        begun = time.perf_counter()
        for done in range(1 if self.dry else rounds):
            spent = time.perf_counter() - begun
            if done and spent * (done + 1) / done > at_most and not (done < 3 and spent / done < 2 * len(calls)):
                break
            for name, call in calls.items():
                start = self._now()
                found[name] = call()
                times[name].append(self._now() - start)
        return {name: median(each) for name, each in times.items()}, found

    @contextmanager
    def threads(self, n: int) -> Iterator[None]:
        """Torch computes by so many threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(n)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _now(self) -> float:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
