"""How the server is doing, in numbers: for the Status page and for Prometheus; and what clears.

Names are in the snapshot alone, and only of what the server's owner has put there; the metrics have none.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from streamlit import runtime
from streamlit.runtime.stats import ACTIVE_SESSIONS_FAMILY

from corrcore import datasets, extractors, networks
from corrcore import patch_index as indexes
from corrcore.engines import mrf
from corrcore.features import SIFT, Extractor, Feature
from corrcore.store.cache import Statistics
from corrcore.tasks import alignment
from dashboard.server import logs
from dashboard.server.logs import LoggedError
from dashboard.services import caches, thumbnails
from dashboard.services.jobs import LANES, Job, Lane, State
from dashboard.services.kept_networks import Held, kept_networks
from dashboard.services.sessions import queue
from dashboard.services.turns import turns

SIFT20 = Feature(SIFT, "20")
LOOK_S, LOOKS = 0.1, 10  # between looks at whether a page runs, and how many without one make a moment
ENDINGS: tuple[State, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Work:
    """Work of one of the queue's lanes: how much waits, runs and has ended since the server began."""

    lane: Lane
    waiting: int
    running: int
    done: int
    failed: int
    cancelled: int


@dataclass(frozen=True)
class IndexOnDisk:
    """An index, and the size of its files."""

    name: str
    n_bytes: int


@dataclass(frozen=True)
class Snapshot:
    """The server at one moment. `own_bytes` is resident memory beyond mapped files; the last errors come first."""

    work: tuple[Work, ...]
    sessions: int
    results: Statistics
    indexes: tuple[IndexOnDisk, ...]
    networks: tuple[Held, ...]
    resident_bytes: int
    own_bytes: int
    device_bytes: int
    uptime_s: float
    errors: tuple[LoggedError, ...]


def snapshot() -> Snapshot:
    """How the server is doing now."""
    process = psutil.Process()
    memory = process.memory_info()
    return Snapshot(
        work=tuple(_work(lane) for lane in LANES),
        sessions=_sessions(),
        results=caches.results().statistics(),
        indexes=tuple(_indexes()),
        networks=tuple(kept_networks().held()),
        resident_bytes=memory.rss,
        own_bytes=memory.rss - getattr(memory, "shared", 0),
        device_bytes=torch.cuda.memory_reserved() if torch.cuda.is_initialized() else 0,
        uptime_s=time.time() - process.create_time(),
        errors=tuple(logs.errors.newest_first()),
    )


def metrics(found: Snapshot, *, ready: bool) -> str:
    """A snapshot in Prometheus' text format: numbers, and no names but those of kinds of work."""
    rows: list[tuple[str, str, list[tuple[str, float]]]] = [
        ("ready", "gauge", [("", int(ready))]),
        ("uptime_seconds", "gauge", [("", round(found.uptime_s, 1))]),
        ("sessions", "gauge", [("", found.sessions)]),
        ("resident_bytes", "gauge", [("", found.resident_bytes)]),
        ("own_bytes", "gauge", [("", found.own_bytes)]),
        ("device_bytes", "gauge", [("", found.device_bytes)]),
        ("networks", "gauge", [("", len(found.networks))]),
        ("networks_bytes", "gauge", [("", sum(each.n_bytes for each in found.networks))]),
        ("indexes", "gauge", [("", len(found.indexes))]),
        ("indexes_bytes", "gauge", [("", sum(each.n_bytes for each in found.indexes))]),
        ("results", "gauge", [("", found.results.entries)]),
        ("results_bytes", "gauge", [("", found.results.bytes)]),
        ("results_hits_total", "counter", [("", found.results.hits)]),
        ("results_misses_total", "counter", [("", found.results.misses)]),
    ]
    ended = [(f'{{lane="{work.lane}",ended="{how}"}}', getattr(work, how)) for work in found.work for how in ENDINGS]
    rows += [
        ("work_waiting", "gauge", [(f'{{lane="{work.lane}"}}', work.waiting) for work in found.work]),
        ("work_running", "gauge", [(f'{{lane="{work.lane}"}}', work.running) for work in found.work]),
        ("work_ended_total", "counter", ended),
    ]
    lines = []
    for name, kind, values in rows:
        lines.append(f"# TYPE corrcore_{name} {kind}")
        lines += [f"corrcore_{name}{labels} {value}" for labels, value in values]
    return "\n".join(lines) + "\n"


def open_network() -> Extractor:
    """Opens the default network."""
    caches.settle()
    return kept_networks().get(networks.DEFAULT, lambda: networks.open(networks.DEFAULT))


def open_defaults() -> None:
    """Opens the default network, the drawn animals, and their index, which is built where there is none."""
    import pandas as pd  # noqa: F401 - Streamlit loads it at the first table, and at pictures that answer clicks

    extractor = open_network()
    drawn = caches.dataset(datasets.TOY)
    for which in drawn.splits:  # where keypoints are is computed at the first look
        drawn.splits[which]
    if caches.sample_index(networks.DEFAULT) is None:
        caches.sample_indexes()[extractor.digest] = indexes.samples(extractor)


def compile_for_objects() -> None:
    """Has what pages on objects compute with compiled, which takes seconds on a new machine, or read from where it is
    kept: SIFT and warped pictures.
    """
    image = np.zeros((64, 64, 3), np.uint8)
    cells = extractors.extract(image, [SIFT20], network=open_network())[SIFT20].cells
    nowhere = np.zeros((cells.rows, cells.columns, 2))
    solution = mrf.Solution(nowhere.astype(int), 0.0, 0.0, 0.0, np.empty((0, 2)))
    alignment.Alignment(cells, cells, solution, nowhere).to_source(cells.centres())


def compile_all() -> None:
    """The same for what takes longest, and is asked for by choices: alignment; and for the search of the index."""
    mrf.minimise(np.zeros((2, 2, 2, 2), np.float32), smoothness=0.1, iterations=1)
    index = caches.sample_index(networks.DEFAULT)
    if index is not None and index.layers:
        index.search(index.layers[-1], index.descriptors(index.layers[-1], np.arange(1)), 1)


def wait_while_looked_at(most_s: float) -> None:
    """Returns once no page and no work has run for a moment, or after so many seconds."""
    end, quiet = time.monotonic() + most_s, 0
    while time.monotonic() < end and quiet < LOOKS:
        quiet = 0 if turns().running or running_jobs() else quiet + 1
        time.sleep(LOOK_S)


def running_jobs() -> list[Job]:
    """All work that runs or waits, by lanes."""
    return [job for lane in LANES for job in queue().unfinished(lane)]


def cancel_all() -> None:
    """Asks all work to stop."""
    for job in running_jobs():
        job.cancel()


def forget_networks() -> None:
    """Lets go of all networks in memory, and of the indexes that were opened with them."""
    kept_networks().clear()
    caches.sample_indexes().clear()


def clear_memory() -> None:
    """Forgets what was computed and is in memory; it is computed, or read from disk, when it is asked for again."""
    for kept in (
        caches.described_crops,
        caches.described_photos,
        caches.alignments,
        caches.maps,
        caches.detectors,
        caches.seen_objects,
        caches.dataset,
        caches.sample_photo,
        thumbnails.of_objects,
        thumbnails.of_indexed,
        thumbnails.of_samples,
    ):
        kept.clear()


def clear_results() -> None:
    """Removes what was computed and is kept on disk; experiments' results and indexes stay."""
    caches.results().clear()


def _work(lane: Lane) -> Work:
    states, ended = [job.state for job in queue().unfinished(lane)], queue().ended()
    by_state = {state: ended.get((lane, state), 0) for state in ENDINGS}
    return Work(lane, states.count("waiting"), states.count("running"), **by_state)


def _sessions() -> int:
    """Browser windows that are connected."""
    if not runtime.exists():
        return 0
    found = runtime.get_instance().stats_mgr.get_stats(family_names=[ACTIVE_SESSIONS_FAMILY])
    return sum(int(getattr(stat, "value", 0)) for stats in found.values() for stat in stats)


def _indexes() -> Iterable[IndexOnDisk]:
    """By names and sizes alone: none is opened."""
    for name in indexes.list_indexes():
        yield IndexOnDisk(name, _size(indexes.path_of(name)))


def _size(folder: Path) -> int:
    try:
        with os.scandir(folder) as files:
            return sum(file.stat().st_size for file in files if file.is_file())
    except OSError:  # deleted meanwhile
        return 0
