"""What commands have in common: how options are read, progress and tables shown."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count as count_from
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from corrcore.cluster import Cluster, asked_for
from corrcore.settings import EXECUTORS, Settings

if TYPE_CHECKING:
    from corrcore.concurrency import Progress

State = TypeVar("State")
Item = TypeVar("Item")
Result = TypeVar("Result")


def words(text: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str) -> tuple[float, ...]:
    """Comma-separated numbers."""
    return tuple(number(word) for word in words(text))


def number(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        msg = f"must be a number; got {text}"
        raise argparse.ArgumentTypeError(msg)
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = number(text)
    if not 0 <= value <= 1:
        msg = f"must be a number from 0 to 1; got {text}"
        raise argparse.ArgumentTypeError(msg)
    return value


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        msg = f"must be a whole number from 1; got {text}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def add_executor_options(command: argparse.ArgumentParser, *, threads: bool = True) -> None:
    """Adds where a command's work runs: ``--executor``, ``--address``, ``--workers`` and ``--gpus``.

    `threads` says whether workers can be threads of this process; `for_each` has none.
    """
    group = command.add_argument_group("where it runs", "on this machine, or on a Ray cluster that it belongs to")
    group.add_argument(
        "--executor", choices=EXECUTORS, default=None, help="(default: CORRCORE_EXECUTOR, or threads of this process)"
    )
    group.add_argument(
        "--address",
        default=None,
        metavar="HOST:PORT",
        help="of a cluster's head, or auto (default: one on this machine)",
    )
    whose = "threads, or a cluster's workers" if threads else "a cluster's workers"
    group.add_argument("--workers", type=count, default=None, metavar="N", help=whose)
    group.add_argument(
        "--gpus", type=number, default=None, metavar="N", help="of each worker, such as 0.25 (default: 0)"
    )


def cluster_of(options: argparse.Namespace) -> Cluster | None:
    """The cluster that a command asks for, by its options or else by the environment; None for this process."""
    settings = Settings.from_environment()
    usual = asked_for(replace(settings, executor=options.executor or settings.executor))
    given = {name: getattr(options, name) for name in ("address", "gpus") if getattr(options, name) is not None}
    if usual is None:
        for name in given:
            msg = f"--{name} goes with --executor ray."
            raise ValueError(msg)
        return None
    return replace(usual, **given, workers=options.workers or usual.workers)


def for_each(
    options: argparse.Namespace,
    state: State,
    work: "Callable[[State, Item, Progress | None], Result]",
    items: Mapping[str, Item],
    then: Callable[[str, Result], object],
) -> None:
    """Calls ``work(state, item, progress)`` on items one after another, or side by side on the workers of the cluster
    that a command asks for; and `then` here with each name and result as it comes.

    What is done on a cluster is counted; one item's progress is told of here alone.
    """
    cluster = cluster_of(options)
    if cluster is None:
        if options.workers is not None:
            msg = "--workers goes with --executor ray; here one thing is done after another, with all threads."
            raise ValueError(msg)
        for name, item in items.items():
            then(name, work(state, item, progress_of(options)))
        return
    from corrcore.concurrency import Retold  # with torch, which the work takes

    told, done = Retold(progress_of(options)), count_from(1)

    def take(name: str, result: Result) -> None:
        n = next(done)
        told(n / len(items), f"{n} of {len(items)}: {name}")
        then(name, result)

    cluster.map(partial(_given, state), partial(_silently, work), items, take, progress=told)


def _given(state: State, progress: object) -> State:
    """A worker's state, where it comes along."""
    del progress
    return state


def _silently(work: Callable[[State, Item, None], Result], state: State, item: Item) -> Result:
    """Work whose progress nobody hears of."""
    return work(state, item, None)


class ProgressBar:
    """Progress on one line of a terminal, on a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._shown = float("-inf")

    def __call__(self, done: float, text: str) -> None:
        """Shows how far the work is, unless it was shown a moment ago."""
        now, live = time.monotonic(), sys.stderr.isatty()
        if done < 1 and now - self._shown < (0.1 if live else 10):
            return
        self._shown = now
        print(f"{done:6.1%}  {text}", end="\r" if live and done < 1 else "\n", file=sys.stderr, flush=True)


class ProgressLines:
    """Progress for programs: lines of JSON on standard error, such as ``{"done": 0.25, "text": "6 of 24: cow 7"}``."""

    EVERY_S = 0.2

    def __init__(self) -> None:
        self._shown = float("-inf")

    def __call__(self, done: float, text: str) -> None:
        """Writes how far the work is, unless a line was written a moment ago."""
        now = time.monotonic()
        if done < 1 and now - self._shown < self.EVERY_S:
            return
        self._shown = now
        print(json.dumps({"done": round(done, 4), "text": text}), file=sys.stderr, flush=True)


def progress_of(options: argparse.Namespace) -> Callable[[float, str], None]:
    """Progress as a command's ``--progress`` asks for it."""
    return ProgressLines() if options.progress == "json" else ProgressBar()


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Rows of text in columns; headings are those of all rows, in the order they first come."""
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    headings = [each for each in headings if any(row.get(each) for row in rows)]
    lines = [headings, *([row.get(heading, "") for heading in headings] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        print("  " + "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def check_file(option: str, path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Raises ValueError for a file that cannot be written, before there is anything to write."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        msg = f"{option} must end in {' or '.join(suffixes)}; got {path.name}."
        raise ValueError(msg)
    if not path.parent.is_dir():
        msg = f"{option} must lie in a folder that is there; {path.parent} is none."
        raise ValueError(msg)
