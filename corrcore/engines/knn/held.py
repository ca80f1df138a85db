"""Tables that a Ray cluster holds, searched from this process through another one, which is in the cluster.

For Ray ends every process that has joined a cluster, at once, when the cluster's head or the part of it on this machine
does. Where the process between ends, another one is begun, and what it was asked is asked again.
"""

import itertools
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from corrcore.cluster import Cluster
from corrcore.engines.knn.asked import Asked, Ranges
from corrcore.engines.knn.memory import MappedArray, portable
from corrcore.engines.knn.table import Neighbours

_LOOK_S = 0.1  # between two looks at whether a search is to stop

Arrays = tuple[np.ndarray, ...]
"""Descriptors, codes and scales, as a `DescriptorTable` takes them, of any number of rows."""


@dataclass(frozen=True)
class SearchCluster:
    """Where tables are held: by as many actors as the cluster has workers, each of which holds a shard of every table.

    With `replicas`, so many actors hold each shard, and searches are spread over them. A search waits `room_s` seconds
    for an actor that finds no place in the cluster. Raises ValueError for fewer than one replica.
    """

    cluster: Cluster
    replicas: int = 1
    room_s: float = 60.0

    def __post_init__(self) -> None:
        if self.replicas < 1:
            msg = f"replicas must be at least 1; got {self.replicas}."
            raise ValueError(msg)

    def hold(self, tables: Mapping[str, Arrays], *, title: str) -> dict[str, "HeldTable"]:
        """The tables by name, held from their first search on; messages call them `title`."""
        keeper = _Keeper(self, tables, title)
        return {name: HeldTable(keeper, name, arrays[0].shape) for name, arrays in tables.items()}


class HeldTable:
    """A table that actors hold: what `DescriptorTable` finds, found side by side.

    Safe to use from several threads. The actors end when all tables that they hold are let go of.
    """

    def __init__(self, keeper: "_Keeper", name: str, shape: tuple[int, ...]) -> None:
        self._keeper, self._name, self._shape = keeper, name, (shape[0], shape[1])

    def release(self) -> None:
        """Nothing: actors let go of a table when they search another."""

    def search(
        self,
        queries: Float[torch.Tensor, "queries channels"],
        k: int,
        *,
        exclude: Ranges = (),
        progress: Callable[[float], None] | None = None,
    ) -> Neighbours:
        """See `DescriptorTable.search`.

        Raises as `Cluster.join` does, too, ValueError where the cluster has fewer workers than there are replicas, and
        ChildProcessError where a shard's actors end three times or find no room, or the cluster is lost.
        """
        asked = Asked.checked(queries, k, exclude, self._shape)
        values = queries.detach().to("cpu", torch.float64).numpy()
        return self._keeper.ask((self._name, values, k, asked.excluded), progress or (lambda _: None))


class _Keeper:
    """Has a process in the cluster while there is something to ask."""

    def __init__(self, where: SearchCluster, tables: Mapping[str, Arrays], title: str) -> None:
        portable_tables = {name: tuple(map(portable, arrays)) for name, arrays in tables.items()}
        self._begin = lambda: _Line((where, portable_tables, title))
        self._title, self._lock = title, threading.Lock()
        self._line: _Line | None = None

    def ask(self, question: tuple[Any, ...], told: Callable[[float], None]) -> Neighbours:
        for _ in range(2):
            with self._lock:
                if self._line is None or self._line.ended.is_set():
                    self._line = self._begin()
                line = self._line
            with suppress(EOFError):
                return line.ask(question, told)
        msg = f"the cluster that holds {self._title} was lost twice; see that it runs, or search the index without it."
        raise ChildProcessError(msg)


class _Line:
    """A process in the cluster, and what it is asked over a pipe."""

    def __init__(self, held: tuple[Any, ...]) -> None:
        here, there = Pipe()
        words = [sys.executable, "-c", f"from {__name__} import main; main()", str(there.fileno())]
        process = subprocess.Popen(words, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603 - our own
        there.close()
        self._here, self._sending, self._numbers = here, threading.Lock(), itertools.count()
        self._answers: dict[int, queue.SimpleQueue[list[Any]]] = {}
        self.ended = threading.Event()
        reading = (here, process, self._answers, self.ended)
        threading.Thread(target=_read, args=reading, name="corrcore-held", daemon=True).start()
        weakref.finalize(self, _send, here, self._sending, None)
        _send(here, self._sending, held)

    def ask(self, question: tuple[Any, ...], told: Callable[[float], None]) -> Neighbours:
        """What it answers. Raises EOFError where it ends."""
        number = next(self._numbers)
        answers = self._answers[number] = queue.SimpleQueue()
        _send(self._here, self._sending, (number, question))
        share = 0.0
        try:
            while True:
                told(share)
                try:
                    kind, value = answers.get(timeout=_LOOK_S)
                except queue.Empty:
                    if self.ended.is_set() and answers.empty():
                        raise EOFError from None
                    continue
                if kind == "found":
                    return value
                if kind == "failed":
                    raise value
                share = value
        finally:
            del self._answers[number]
            _send(self._here, self._sending, (number, None))  # nobody waits for it any more


def _send(pipe: Connection, lock: threading.Lock, message: object) -> None:
    """Sends what may be lost: that the other end is gone is heard by whoever waits."""
    with lock, suppress(OSError):
        pipe.send(message)


def _read(pipe: Connection, process: subprocess.Popen, answers: dict[int, Any], ended: threading.Event) -> None:
    """Hands answers to those who wait, until the process ends."""
    with suppress(EOFError, OSError):
        while True:
            number, *answer = pipe.recv()
            if (waiting := answers.get(number)) is not None:
                waiting.put(answer)
    process.wait()
    ended.set()
    pipe.close()


def _opened(array: np.ndarray | MappedArray) -> np.ndarray:
    return array.open() if isinstance(array, MappedArray) else array


def main() -> None:
    """The process in the cluster: holds what it is sent first, and answers until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with whoever asks
    pipe, sending = Connection(int(sys.argv[1])), threading.Lock()
    where, tables, title = pipe.recv()
    from corrcore.engines.knn.on_ray import hold

    given_up: set[int] = set()

    def answer(number: int, name: str, values: np.ndarray, k: int, excluded: list[tuple[int, int]]) -> None:
        def told(share: float) -> None:
            if number in given_up:
                raise InterruptedError
            _send(pipe, sending, (number, "told", share))

        try:
            said = "found", held[name].search(values, k, excluded, told)
        except Exception as error:  # whatever it is, whoever asked is told
            said = "failed", error
        _send(pipe, sending, (number, *said))

    try:
        opened = {name: tuple(map(_opened, arrays)) for name, arrays in tables.items()}
        held = hold(where, opened, title=title)
    except Exception as error:  # whatever it is, whoever asks is told
        number, _ = pipe.recv()
        _send(pipe, sending, (number, "failed", error))
        return
    with suppress(EOFError):
        while (message := pipe.recv()) is not None:
            number, question = message
            if question is None:
                given_up.add(number)
            else:
                threading.Thread(target=answer, args=(number, *question), daemon=True).start()
