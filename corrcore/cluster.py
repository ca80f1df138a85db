"""A Ray cluster: joined or started, and work mapped over its workers. Ray is imported when a cluster is joined.

Every machine of a cluster has the same corrcore, and the same files under the same paths: photos, indexes and the
folder of results. Networks and data sets that are open travel to the workers, networks with their weights.
"""

import atexit
import math
import os
import secrets
import shutil
import socket
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import psutil

from corrcore.settings import Settings

if TYPE_CHECKING:  # a worker imports this module first, and torch with what it is to do
    from corrcore.concurrency import Progress, Retold

Key = TypeVar("Key")
Item = TypeVar("Item")
State = TypeVar("State")
Result = TypeVar("Result")

AUTO = "auto"
_LOOK_S = 0.5  # between two looks at whether the work is to stop
_CONNECT_S = 5.0
_TRIES = 3  # of what may have ended its worker
_TRAVELLING = ("CORRCORE_CACHE", "CORRCORE_DATA", "CORRCORE_WEIGHTS")  # variables that workers get
_OBJECTS_BYTES = 10**9  # of shared memory, at most, in a cluster that is started here
_SESSION = "corrcore-ray-"
QUIET = {"RAY_TQDM_PATCH_PRINT": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # `print` stays Python's own
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # nothing outside this machine is answered

_resting: "dict[Cluster, list[Any]] | None" = None  # workers that wait for the next `Cluster.map`, where they are kept
_joined: str | None = None  # as Ray has it: a process is in one cluster
_session: Path | None = None


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
        if not 0 <= self.gpus < math.inf or (self.gpus > 1 and self.gpus % 1):
            msg = f"gpus of a worker must be a share from 0 to 1, or a whole number; got {self.gpus:g}."
            raise ValueError(msg)
        if self.address not in (None, AUTO):
            _host_and_port(self.address)

    def join(self) -> None:
        """Joins the cluster unless this process is in it already, and stays until `leave` or the process's end.

        Clusters ask for a token. That of a cluster at an address is in ``RAY_AUTH_TOKEN``, in the file
        ``RAY_AUTH_TOKEN_PATH`` or in ``~/.ray/auth_token``; one that is started here has its own, and answers this
        machine alone. Raises ConnectionError where no cluster answers or it refuses the token, and ValueError where
        there is no Ray, and where this process is in another cluster.
        """
        global _joined
        here = self.address or "one on this machine"
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

        Raises as `join` does, and ChildProcessError for what has ended three workers.
        """
        from corrcore.concurrency import Retold

        if not items:
            return
        self.join()
        workers = _Workers(self, make, work, items, progress or Retold(_nobody))
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


@contextmanager
def keeping_workers() -> Iterator[None]:
    """Within it, workers go on from one `Cluster.map` to the next, and need not be started again."""
    global _resting
    outer, _resting = _resting, {} if _resting is None else _resting
    try:
        yield
    finally:
        kept, _resting = _resting, outer
        if outer is None:
            for worker in chain.from_iterable(kept.values()):
                _ray().kill(worker)


def leave() -> None:
    """Leaves the cluster, and ends the one that was started here."""
    global _joined, _session, _resting
    _resting = None if _resting is None else {}
    if _joined is not None or _session is not None:
        _ray().shutdown()
    if _session is not None:
        shutil.rmtree(_session, ignore_errors=True)
    _joined = _session = None


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


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        msg = f"the address of a Ray cluster is HOST:PORT, such as head:6379, or auto; got {address}."
        raise ValueError(msg)
    return host.strip("[]"), int(port)


def _init(**options: Any) -> None:
    _ray().init(**options, configure_logging=False, log_to_driver=False, ignore_reinit_error=True)


def _start(workers: int) -> None:
    """A cluster on this machine, which nothing outside it reaches."""
    global _session
    os.environ["RAY_AUTH_MODE"] = "token"
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    os.environ.update(LOOPBACK)
    n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    _ray()
    _session = Path(tempfile.mkdtemp(prefix="corrcore-ray-", dir="/tmp"))
    _init(
        address="local",
        num_cpus=max(n_cpus, workers),
        include_dashboard=False,
        object_store_memory=_OBJECTS_BYTES,
        _temp_dir=str(_session),
    )


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
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")  # seconds to ask a head that refuses
    if address != AUTO:
        host, port = _host_and_port(address)
        if host in ("localhost", "127.0.0.1"):
            os.environ.update(LOOPBACK)
        try:
            socket.create_connection((host, port), timeout=_CONNECT_S).close()
        except OSError as error:
            msg = f"no Ray cluster answers at {address} ({error.strerror or error}); `ray start --head` starts one."
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
            f"this machine cannot join the Ray cluster at {address} ({str(error).splitlines()[0]}); commands run on a "
            f"machine of the cluster: `ray start --address={address}` makes it one."
        )
        raise ConnectionError(msg) from error


def asked_for(settings: Settings) -> Cluster | None:
    """The cluster that long work runs on by default; None for this process."""
    if settings.executor != "ray":
        return None
    return Cluster(settings.ray_address, settings.ray_workers, settings.ray_gpus)


class _Worker:
    """What runs in a worker. While it makes its state it says how far it is."""

    def __init__(self, *, gpu: bool) -> None:
        if not gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self.forget()

    def forget(self) -> None:
        """Lets the state go."""
        self._said = (0.0, "")
        self._state: Any = None

    def make(self, make: "Callable[[Progress], Any]") -> None:
        """Makes the state."""

        def say(done: float, text: str = "") -> None:
            self._said = (done, text)

        self._state = make(say)

    def said(self) -> tuple[float, str]:
        """How far the making is."""
        return self._said

    def work(self, work: Callable[[Any, Any], Any], item: Any) -> Any:
        """What is found of an item."""
        return work(self._state, item)


class _Workers(Generic[Key]):
    """The workers of one `Cluster.map`, and what each is doing.

    Ray would start a lost worker anew by itself, but give its item to that one alone, which may wait for room for ever.
    """

    def __init__(self, cluster: Cluster, make: Any, work: Any, items: Mapping[Key, Any], progress: "Retold") -> None:
        self._ray, self._cluster, self._items, self._progress = _ray(), cluster, items, progress
        self._make, self._work = self._ray.put(make), self._ray.put(work)
        self._queue, self._left, self._idle = deque(items), len(items), []
        self._starting: dict[Any, Any] = {}  # the call that makes its state, and the worker
        self._working: dict[Any, tuple[Any, Key]] = {}  # the call, the worker and the item's key
        self._ended: Counter[Key | None] = Counter()
        self._asked: Any = None
        kind = self._ray.remote(_Worker)
        self._kind = kind.options(
            num_cpus=1,
            num_gpus=cluster.gpus,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(_n_threads())}},
            max_restarts=0,
            max_concurrency=2,
            scheduling_strategy="SPREAD",
        )
        for other in [*(_resting or ())]:
            if other != cluster:  # and may have the room that these need
                self._kill(_resting.pop(other) if _resting else [])

    def results(self, *, one_first: bool) -> Iterator[tuple[Key, Any]]:
        """Each key and result as it comes."""
        self._progress(self._progress.last[0], "starting workers")
        self._most = 1 if one_first else self._cluster.n_workers()
        while self._left:
            self._begin_missing()
            done, _ = self._ray.wait([*self._starting, *self._working], timeout=_LOOK_S)
            if not done:
                self._look()
            for call in done:
                worker, *key = self._working.pop(call, None) or (self._starting.pop(call),)
                try:
                    result = self._ray.get(call)
                except self._ray.exceptions.RayTaskError as error:
                    self._idle.append(worker)
                    raise error.cause from error
                except self._ray.exceptions.RayError as error:
                    self._replace(worker, key, error)
                    continue
                if key:
                    self._left -= 1
                    yield key[0], result
                else:
                    self._most, self._ended[None] = self._cluster.n_workers(), 0
                self._give(worker)

    def _begin_missing(self) -> None:
        """Has as many workers as are asked for and have something to do."""
        there = len(self._starting) + len(self._working) + len(self._idle)
        for _ in range(min(self._most, self._left) - there):
            resting = _resting.get(self._cluster) if _resting else None
            worker = resting.pop() if resting else self._kind.remote(gpu=self._cluster.gpus > 0)
            self._starting[worker.make.remote(self._make)] = worker

    def _give(self, worker: Any) -> None:
        """The next item, to a worker that has none."""
        if not self._queue:
            self._idle.append(worker)
            return
        key = self._queue.popleft()
        self._working[worker.work.remote(self._work, self._items[key])] = worker, key

    def _replace(self, worker: Any, key: list[Key], error: Exception) -> None:
        """Puts the item of a worker that has ended back."""
        what = key[0] if key else None
        self._ended[what] += 1
        if self._ended[what] == _TRIES:
            msg = (
                f"{_TRIES} workers ended {f'at {what}' if key else 'before they began'}, perhaps because memory ran "
                "out; ask for fewer workers."
            )
            raise ChildProcessError(msg) from error
        self._ray.kill(worker)
        self._queue.extendleft(key)
        if self._idle and self._queue:
            self._give(self._idle.pop())

    def _look(self) -> None:
        """Tells what the first of those that start says, or again what was told last."""
        answered = self._asked is not None and bool(self._ray.wait([self._asked], timeout=0)[0])
        done, text = 0.0, ""
        if answered:
            with suppress(self._ray.exceptions.RayError):  # it has ended, which its call says too
                done, text = self._ray.get(self._asked)
        if self._starting and (answered or self._asked is None):
            self._asked = next(iter(self._starting.values())).said.remote()
        if text and not self._working:
            self._progress(done, text)
        else:
            self._progress.again()

    def end(self) -> None:
        """Ends those that are busy at once, and the others too unless they are kept."""
        self._kill([*self._starting.values(), *(worker for worker, _ in self._working.values())])
        if _resting is None:
            self._kill(self._idle)
            return
        for worker in self._idle:
            worker.forget.remote()
        _resting.setdefault(self._cluster, []).extend(self._idle)

    def _kill(self, workers: Iterable[Any]) -> None:
        for worker in workers:
            self._ray.kill(worker)
