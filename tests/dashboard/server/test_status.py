import re
import threading
import time

import numpy as np
import pytest

from corrcore import networks
from corrcore.descriptors.kernels import fill_descriptors, fill_votes
from corrcore.tasks.alignment._lattice import fill_sources
from dashboard.server import logs, status
from dashboard.server.logs import LoggedError
from dashboard.server.status import Snapshot, Work
from dashboard.services import caches, sessions
from dashboard.services.kept_networks import kept_networks
from dashboard.services.turns import turns


@pytest.fixture
def drawn_ready(cache_folder):
    status.open_defaults()


def test_the_defaults_are_open_once_they_were_opened(cache_folder):
    status.open_defaults()
    assert networks.DEFAULT in kept_networks()
    index = caches.sample_index(networks.DEFAULT)
    assert index is not None
    assert len(index.photos) == 60


def test_a_snapshot_counts_what_is_there(drawn_ready):
    found = status.snapshot()
    assert [work.lane for work in found.work] == ["view", "long"]
    assert [held.name for held in found.networks] == [networks.DEFAULT]
    [index] = [each for each in found.indexes if each.name.startswith("samples-alexnet-")]
    assert index.n_bytes == caches.sample_index(networks.DEFAULT).n_bytes
    assert 50e6 < found.own_bytes < found.resident_bytes < 20e9
    assert found.device_bytes == 0
    assert 0 < found.uptime_s < 1e6


def test_results_are_counted_and_cleared(drawn_ready):
    before = status.snapshot().results
    caches.results().get_or_compute("of a test", lambda: ({"zeros": np.zeros(1000)}, {}))
    caches.results().get_or_compute("of a test", lambda: ({}, {}))
    found = status.snapshot().results
    assert (found.hits - before.hits, found.misses - before.misses) == (1, 1)
    assert found.bytes >= before.bytes + 8000
    status.clear_results()
    assert status.snapshot().results.entries == 0


def test_networks_are_forgotten_and_come_back(drawn_ready):
    status.forget_networks()
    assert status.snapshot().networks == ()
    status.open_defaults()
    assert [held.name for held in status.snapshot().networks] == [networks.DEFAULT]


def test_what_is_in_memory_is_forgotten(drawn_ready):
    caches.maps().get("key", lambda: "made once")
    assert caches.maps().get("key", lambda: "made again") == "made once"
    status.clear_memory()
    assert caches.maps().get("key", lambda: "made again") == "made again"
    caches.maps.clear()


def test_work_that_runs_and_waits_is_counted_and_cancelled(drawn_ready):
    def work(*, progress):
        while True:
            progress(0.5)
            time.sleep(0.01)

    jobs = [sessions.queue().submit(work, label="private.jpg", owner="me") for _ in range(3)]
    while jobs[0].state != "running":
        time.sleep(0.01)
    [views, *_] = status.snapshot().work
    assert (views.running, views.waiting) == (1, 2)
    assert [(job.lane, job.state) for job in status.running_jobs()] == [
        ("view", "running"),
        ("view", "waiting"),
        ("view", "waiting"),
    ]
    cancelled = views.cancelled
    status.cancel_all()
    assert all(job.wait(10) for job in jobs)
    assert status.running_jobs() == []
    assert status.snapshot().work[0].cancelled == cancelled + 3


def test_metrics_are_prometheus_numbers_without_names(drawn_ready):
    found = Snapshot(
        work=(Work("view", 1, 2, 3, 4, 5),),
        sessions=7,
        results=status.snapshot().results,
        indexes=(status.IndexOnDisk("private-index", 100), status.IndexOnDisk("other-private", 11)),
        networks=(),
        resident_bytes=1000,
        own_bytes=600,
        device_bytes=0,
        uptime_s=12.34,
        errors=(LoggedError(0.0, "OSError", "private.py:1"),),
    )
    text = status.metrics(found, ready=True)
    assert "private" not in text
    values = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# TYPE corrcore_[a-z_]+ (gauge|counter)", line)
        else:
            match = re.fullmatch(r'(corrcore_[a-z_]+(?:\{\w+="\w+"(?:,\w+="\w+")*\})?) ([\d.]+)', line)
            assert match, line
            values[match[1]] = float(match[2])
    assert values["corrcore_ready"] == 1
    assert values["corrcore_sessions"] == 7
    assert (values["corrcore_indexes"], values["corrcore_indexes_bytes"]) == (2, 111)
    assert values['corrcore_work_running{lane="view"}'] == 2
    assert values['corrcore_work_ended_total{lane="view",ended="failed"}'] == 4


def test_the_last_errors_are_in_the_snapshot(drawn_ready):
    logs.errors.clear()
    record = logs.logging.LogRecord("dashboard", logs.logging.ERROR, __file__, 1, "%s failed", ("private",), None)
    logs.errors.handle(record)
    [error] = status.snapshot().errors
    assert error.where == "tests/dashboard/server/test_status.py:1"
    logs.errors.clear()


def test_what_pages_on_objects_compute_with_is_compiled_beforehand(drawn_ready):
    status.compile_for_objects()
    status.compile_all()
    for kernel in (fill_votes, fill_descriptors, fill_sources):
        assert kernel.signatures


def test_what_can_wait_does_while_a_page_runs(drawn_ready):
    ended = threading.Event()

    def wait():
        status.wait_while_looked_at(60)
        ended.set()

    with turns().taken():
        threading.Thread(target=wait, daemon=True).start()
        assert not ended.wait(1.5)
    assert ended.wait(30)
    status.wait_while_looked_at(0)  # at once
