"""A Ray cluster on this machine: a head that does no work, and two machines of one processor each."""

import os
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from corrcore import cluster

_OPTIONS = {"node_ip_address": "127.0.0.1", "object_store_memory": 10**8}
_HEALTH = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}


@dataclass(frozen=True)
class Machines:
    """The cluster's `address`, and what happens to its machines."""

    address: str
    nodes: Any

    @property
    def cluster(self) -> cluster.Cluster:
        """Two workers on it."""
        return cluster.Cluster(self.address, workers=2)

    def wait_for_all(self, timeout_s: float = 60) -> None:
        """Until the head and both machines are there, and none that was killed: either takes seconds."""
        import ray

        expected = {node.node_id for node in self.nodes.list_all_nodes()}
        end = time.monotonic() + timeout_s
        while {node["NodeID"] for node in ray.nodes() if node["Alive"]} != expected and time.monotonic() < end:
            time.sleep(0.1)

    def processes(self) -> list[psutil.Process]:
        """All that belong to it."""
        started = psutil.Process().children(recursive=True)
        return [each for each in started if "ray" in " ".join(words_of(each))]

    def kill_machine_of(self, pid: int) -> None:
        """Kills the machine, kill -9, on which a worker process runs; another one joins."""
        killed = psutil.Process(pid).ppid()
        os.kill(killed, signal.SIGKILL)
        for node in [*self.nodes.worker_nodes]:
            if killed in [each.process.pid for each in node.all_processes["raylet"]]:
                self.nodes.remove_node(node, allow_graceful=False)
        self.nodes.add_node(num_cpus=1, wait=False, **_OPTIONS)


def words_of(process: psutil.Process) -> list[str]:
    """A process' command; none where it has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


@contextmanager
def running() -> Iterator[Machines]:
    """The cluster, which this process has joined; with token authentication, without a dashboard, for this machine."""
    before = dict(os.environ)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex, **cluster.QUIET, **cluster.LOOPBACK}
    try:
        yield from _running()
    finally:
        for name in {"RAY_TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", *cluster.QUIET, *cluster.LOOPBACK}:
            os.environ.pop(name, None)
        os.environ |= {name: value for name, value in before.items() if name.startswith("RAY_")}


def _running() -> Iterator[Machines]:
    """The same, in an environment that is ready."""
    from ray.cluster_utils import Cluster  # which reads the environment

    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:  # a short path
        os.environ["RAY_TMPDIR"] = folder
        Path(folder, "ray").mkdir()  # which Ray's own class of clusters writes to and does not make
        nodes = Cluster()
        head = {"include_dashboard": False, "include_log_monitor": False, "_system_config": _HEALTH}
        nodes.add_node(num_cpus=0, temp_dir=folder, **head, **_OPTIONS)
        try:
            for _ in range(2):
                nodes.add_node(num_cpus=1, wait=False, **_OPTIONS)
            nodes.wait_for_nodes()
            machines = Machines(nodes.address, nodes)
            machines.cluster.join()
            yield machines
        finally:
            started = Machines("", nodes).processes()
            cluster.leave()
            nodes.shutdown()
            psutil.wait_procs(started, timeout=5)  # they write to the folder
