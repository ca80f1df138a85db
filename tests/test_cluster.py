"""Clusters, joined and started, and work mapped over their workers. Each test starts workers: few tests say much."""

import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
import torch

from corrcore.cluster import Cluster
from corrcore.concurrency import Retold
from tests import work


class StopError(Exception):
    """What stops the work."""


def nothing(key, result):
    """What is done with results that do not matter."""


def test_every_item_is_worked_on_once_with_our_threads_and_progress_hears_of_the_making(machines):
    found, told = {}, []
    progress = Retold(lambda *said: told.append(said))
    items = {str(n): n for n in range(6)}
    machines.cluster.map(work.make, work.square_with_threads, items, found.setdefault, progress=progress)
    assert found == {key: (torch.get_num_threads(), n * n) for key, n in items.items()}
    assert {(0.0, "starting workers"), (0.5, "making")} <= set(told)


def test_a_worker_that_is_killed_is_replaced_and_its_item_done_again(machines):
    found = []

    def then(key, result):
        found.append((key, result))
        if len(found) in (2, 4):
            os.kill(result[0], signal.SIGKILL)

    machines.cluster.map(work.be, work.square, {n: n for n in range(12)}, then)
    assert sorted((key, value) for key, (_, value) in found) == [(n, n * n) for n in range(12)]
    assert len({pid for _, (pid, _) in found}) >= 3


@pytest.mark.parametrize(
    ("does", "error", "text"),
    [
        (work.fail_at_three, ValueError, "^three is too many.$"),
        (work.end, ChildProcessError, "3 workers ended at (0|1)"),
    ],
)
def test_errors_of_work_are_raised_here(machines, does, error, text):
    with pytest.raises(error, match=text):
        machines.cluster.map(work.be, does, {n: n for n in range(9)}, nothing)


def test_a_wish_to_stop_is_heard_while_workers_are_busy(machines, tmp_path):
    busy = tmp_path / "busy"

    def stop(done, text):
        if busy.exists():
            raise StopError

    with pytest.raises(StopError):
        machines.cluster.map(work.be, work.go_on, {0: busy}, nothing, progress=Retold(stop))
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in [int(busy.read_text())] if psutil.pid_exists(pid)], 10)
    assert not alive


def test_a_cluster_answers_its_machine_alone_and_has_no_dashboard(machines):
    listening = [
        (each.name(), connection.laddr.ip)
        for each in machines.processes()
        for connection in each.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {"gcs_server", "raylet"} <= {name for name, _ in listening}
    assert {address.removeprefix("::ffff:") for _, address in listening} == {"127.0.0.1"}
    assert not machines.nodes.webui_url


JOIN = "import sys; from corrcore.cluster import Cluster; Cluster(*sys.argv[1:]).join()"


def fresh(code, *arguments, **environment):
    """A process of its own; the last line that it has to say."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ([*done.stdout.splitlines(), *done.stderr.splitlines()] or [""])[-1]


def test_a_wrong_token_is_refused(machines):
    assert fresh(JOIN, machines.address) == ""
    said = fresh(JOIN, machines.address, RAY_AUTH_TOKEN="wrong" * 8)
    assert said == (
        f"ConnectionError: the Ray cluster at {machines.address} does not let this machine in; put the cluster's token "
        "into RAY_AUTH_TOKEN, or into a file that RAY_AUTH_TOKEN_PATH names."
    )


def test_what_does_not_answer_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = fresh(JOIN, address)
    assert said == (
        f"ConnectionError: no Ray cluster answers at {address} (Connection refused); `ray start --head` starts one."
    )


def test_without_ray_its_extra_is_named():
    code = "import sys; sys.modules['ray'] = None; from corrcore.cluster import Cluster; Cluster().join()"
    assert fresh(code).endswith("is not installed here; install it with: pip install 'corrcore[ray]'")


def test_a_process_is_in_one_cluster(machines):
    with pytest.raises(ValueError, match=f"in a cluster already .{machines.address}. and cannot join one on this"):
        Cluster().join()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"address": "head"}, "HOST:PORT, such as head:6379, or auto; got head"),
        ({"address": "ray://head:10001"}, "HOST:PORT, such as head:6379, or auto; got ray://head:10001"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"gpus": -0.5}, "a share from 0 to 1, or a whole number; got -0.5"),
        ({"gpus": 1.5}, "a share from 0 to 1, or a whole number; got 1.5"),
        ({"gpus": float("nan")}, "a share from 0 to 1, or a whole number; got nan"),
    ],
)
def test_what_is_no_cluster_is_refused(given, text):
    with pytest.raises(ValueError, match=text):
        Cluster(**given)


STARTED = """
import os, psutil
from corrcore.cluster import Cluster, leave
before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
Cluster(workers=1).join()
mode, long = os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"]) > 30
there = [each.laddr.ip for one in psutil.Process().children(recursive=True) for each in one.net_connections("inet")
         if each.status == psutil.CONN_LISTEN]
leave()
print(sorted({each.removeprefix("::ffff:") for each in there}), mode, long, before.items() <= os.environ.items())
"""


def test_one_that_is_started_answers_this_machine_alone_and_asks_for_a_token_of_its_own(tmp_path):
    said = fresh(STARTED, RAY_AUTH_MODE="disabled", RAY_AUTH_TOKEN="", HOME=str(tmp_path))
    assert said == "['127.0.0.1'] token True True"
    assert not list(tmp_path.rglob("auth_token"))


def test_a_token_that_is_not_there_is_a_sentence(tmp_path):
    said = fresh(JOIN, RAY_AUTH_TOKEN="", RAY_AUTH_TOKEN_PATH=f"{tmp_path}/gone")
    assert said.startswith("ConnectionError: no Ray cluster can be started here (RAY_AUTH_TOKEN_PATH is set but file ")
    assert said.endswith("; unset RAY_AUTH_TOKEN_PATH to have a token.")


def test_a_name_that_no_machine_can_have_is_named():
    assert "no Ray cluster answers at a..b:6379 (no machine has such a name);" in fresh(JOIN, "a..b:6379")


def test_nothing_imports_ray_unless_it_is_asked_for():
    modules = "corrcore.cli.evaluate, corrcore.cli.index, dashboard.services.processes"
    assert fresh(f"import sys, {modules}; print('ray' in sys.modules)") == "False"
