"""A Ray cluster: joined or started, and work mapped over its workers. Ray is imported when a cluster is joined.

Every machine of a cluster has the same corrcore, and the same files under the same paths: photos, indexes and the
folder of results. Networks and data sets that are open travel to the workers, networks with their weights.
"""

import atexit
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from corrcore.settings import AUTO, Settings, check_gpus, host_and_port
from corrcore.workers import Room, Workers, forget_kept

if TYPE_CHECKING:
    from corrcore.concurrency import Progress, Retold

Key = TypeVar("Key")
Item = TypeVar("Item")
State = TypeVar("State")
Result = TypeVar("Result")

_CONNECT_S = 5.0
_TRAVELLING = ("CORRCORE_CACHE", "CORRCORE_DATA", "CORRCORE_WEIGHTS")  # variables that workers get
_OBJECTS_BYTES = 10**9  # of shared memory, at most, in a cluster that is started here
_SESSION = "corrcore-ray-"
QUIET = {"RAY_TQDM_PATCH_PRINT": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # `print` stays Python's own
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # nothing outside this machine is answered

_joined: str | None = None  # as Ray has it: a process is in one cluster
_session: Path | None = None
_before: dict[str, str | None] = {}  # variables that were set here, as they were
_token = secrets.token_hex(32)  # of clusters that are started here: Ray reads one once in a process
_lock = threading.RLock()  # of these, around joining and leaving


@dataclass(frozen=True)
class Cluster:
    """Where work runs, and on how many workers.

    `address` is HOST:PORT of the head of a cluster that this machine belongs to, "auto" for the one that runs here, or
    None for one on this machine alone, which is started by `join` and ends with this process. Workers compute with as
    many threads as torch has here, so that what they find is the same to the last bit, and with `gpus` of a GPU each
    (0.25: four share one). `workers` is how many are asked for, by default as many as there are processors, or GPUs,
    for; with ``OMP_NUM_THREADS=1`` there are more and smaller ones. Raises ValueError for other numbers and addresses.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            msg = f"workers must be at least 1; got {self.workers}."
            raise ValueError(msg)
        check_gpus(self.gpus)
        if self.address not in (None, AUTO):
            host_and_port(self.address)

    def join(self) -> None:
        """Joins the cluster unless this process is in it already, and stays until `leave` or the process's end.

        Clusters ask for a token. That of a cluster at an address is in ``RAY_AUTH_TOKEN``, in the file
        ``RAY_AUTH_TOKEN_PATH`` or in ``~/.ray/auth_token``; one that is started here has its own, and answers this
        machine alone. Raises ConnectionError where no cluster answers or it refuses the token, and ValueError where
        there is no Ray, and where this process is in another cluster.
        """
        global _joined
        here = self.address or "one on this machine"
        with _lock:
            if _joined is not None and not _ray().is_initialized():
                leave()  # somebody else has left it
            if _joined == here:
                return
            if _joined is not None:
                msg = f"this process is in a cluster already ({_joined}) and cannot join {here} too; leave() it first."
                raise ValueError(msg)
            atexit.unregister(leave)
            atexit.register(leave)
            try:
                _enter(self.address) if self.address else _start(self.workers or 1)
            except BaseException:
                leave()
                raise
            _joined = here

    def map(
        self,
        make: "Callable[[Progress], State]",
        work: Callable[[State, Item], Result],
        items: Mapping[Key, Item],
        then: Callable[[Key, Result], object],
        *,
        progress: "Retold | None" = None,
        one_first: bool = False,
    ) -> None:
        """Calls ``work(state, item)`` on workers, and `then` here with each key and result, in any order.

        `make` makes a worker's state, once in each; with `one_first` in one before the others, which then find what it
        has kept. It is given what `progress` here hears of. A worker that ends, or whose machine does, is replaced, and
        its item goes to another. Whatever `make`, `work`, `then` and `progress` raise ends the work at once and is
        raised here; `progress` is told again twice per second, so that it is asked.

        Raises as `join` does, and ChildProcessError for what has ended three workers, where they do
        not even begin, and where none has found room for a minute.
        """
        from corrcore.concurrency import Retold

        if not items:
            return
        self.join()
        room = Room(self.gpus, _n_threads(), self.n_workers)
        workers = Workers(_ray(), room, make, work, items, progress or Retold(_nobody))
        try:
            for key, result in workers.results(one_first=one_first):
                then(key, result)
        finally:
            workers.end()

    def n_workers(self) -> int:
        """How many workers are asked for, of the cluster that was joined. Raises ValueError where GPUs are and there
        are none on this machine; other clusters may grow.
        """
        there = _ray().cluster_resources()
        if self.address is None and self.gpus > there.get("GPU", 0):
            msg = f"a worker is to have {self.gpus:g} of a GPU, and this machine has {there.get('GPU', 0):g}."
            raise ValueError(msg)
        if self.workers is not None:
            return self.workers
        return max(int(there.get("GPU", 0) / self.gpus if self.gpus else there.get("CPU", 0) / _n_threads()), 1)


def _n_threads() -> int:
    """Of each worker."""
    import torch

    return torch.get_num_threads()


def leave() -> None:
    """Leaves the cluster, and ends the one that was started here; Ray's variables are as they were before."""
    global _joined, _session
    with _lock:
        forget_kept()
        if _joined is not None or _session is not None:
            _ray().shutdown()
        if _session is not None:
            shutil.rmtree(_session, ignore_errors=True)
        _joined = _session = None
        for name, value in _before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        _before.clear()


def _set(**variables: str) -> None:
    """Sets variables until `leave`."""
    for name, value in variables.items():
        _before.setdefault(name, os.environ.get(name))
        os.environ[name] = value


def _nobody(done: float, text: str) -> None:
    """Progress that nobody is told."""


def _ray() -> Any:
    """Ray, imported at the first use, when it reads the environment."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError:
        msg = "clusters need Ray, which is not installed here; install it with: pip install 'corrcore[ray]'"
        raise ValueError(msg) from None
    return ray


def _init(**options: Any) -> None:
    _ray().init(**options, configure_logging=False, log_to_driver=False, ignore_reinit_error=True)


def _start(workers: int) -> None:
    """A cluster on this machine, which nothing outside it reaches."""
    global _session
    _set(RAY_AUTH_MODE="token", **LOOPBACK)
    if not (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        _set(RAY_AUTH_TOKEN=_token)
    n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ray = _ray()
    _session = _new_session()
    try:
        _init(
            address="local",
            num_cpus=max(n_cpus, workers),
            include_dashboard=False,
            object_store_memory=_OBJECTS_BYTES,
            _temp_dir=str(_session),
        )
    except ray.exceptions.AuthenticationError as error:
        msg = f"no Ray cluster can be started here ({_first_line(error)}); unset RAY_AUTH_TOKEN_PATH to have a token."
        raise ConnectionError(msg) from None


def _first_line(error: Exception) -> str:
    """What an error says first, or else its name."""
    lines = (line.strip(" .") for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def _new_session() -> Path:
    """A folder for sockets, which want a short path, and logs. Those of processes that were killed go."""
    found = Path(tempfile.mkdtemp(prefix=f"{_SESSION}{os.getpid()}-", dir="/tmp"))
    for folder in found.parent.glob(f"{_SESSION}*"):
        pid = folder.name.removeprefix(_SESSION).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
    return found


def _enter(address: str) -> None:
    """A cluster that runs."""
    usual = {"RAY_AUTH_MODE": "token", "RAY_NUM_REDIS_GET_RETRIES": "3"}  # seconds to ask a head that refuses
    _set(**{name: value for name, value in usual.items() if name not in os.environ})
    if address != AUTO:
        host, port = host_and_port(address)
        if host in ("localhost", "127.0.0.1"):
            _set(**LOOPBACK)
        try:
            socket.create_connection((host, port), timeout=_CONNECT_S).close()
        except (OSError, UnicodeError) as error:
            reason = error.strerror or error if isinstance(error, OSError) else "no machine has such a name"
            msg = f"no Ray cluster answers at {address} ({reason}); `ray start --head` starts one."
            raise ConnectionError(msg) from None
    ray = _ray()
    variables = {name: os.environ[name] for name in _TRAVELLING if os.environ.get(name)}
    try:
        _init(address=address, runtime_env={"env_vars": variables} if variables else None)
    except (ConnectionError, ray.exceptions.AuthenticationError):
        msg = (
            f"the Ray cluster at {address} does not let this machine in; put the cluster's token into RAY_AUTH_TOKEN, "
            "or into a file that RAY_AUTH_TOKEN_PATH names."
        )
        raise ConnectionError(msg) from None
    except Exception as error:  # Ray has no class for them
        msg = (
            f"this machine cannot join the Ray cluster at {address} ({_first_line(error)}); commands run on a "
            f"machine of the cluster: `ray start --address={address}` makes it one."
        )
        raise ConnectionError(msg) from error


def asked_for(settings: Settings) -> Cluster | None:
    """The cluster that long work runs on by default; None for this process."""
    if settings.executor != "ray":
        return None
    return Cluster(settings.ray_address, settings.ray_workers, settings.ray_gpus)
