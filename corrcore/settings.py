"""Every environment variable that corrcore reads, in one place."""

import importlib.util
import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

EXECUTORS = ("threads", "ray")
AUTO = "auto"  # the address of the Ray cluster that runs on this machine


def prepared_path(text: str | os.PathLike[str]) -> Path:
    """A path as a user writes it: ``~`` is the home folder, and a relative path is made absolute at once.

    Raises ValueError for an empty path, and for ``~`` where no home folder is known.
    """
    if not os.fspath(text):
        msg = "a path is empty; name a file or a folder."
        raise ValueError(msg)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        msg = f"the home folder in {os.fspath(text)} is not known; write the path in full."
        raise ValueError(msg) from None


def host_and_port(address: str) -> tuple[str, int]:
    """Of the head of a Ray cluster. Raises ValueError for what is no HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        msg = f"the address of a Ray cluster is HOST:PORT, such as head:6379, or {AUTO}; got {address}."
        raise ValueError(msg)
    return host.strip("[]"), int(port)


def check_gpus(gpus: float) -> None:
    """Raises ValueError for what no worker of a Ray cluster can have of GPUs."""
    if not 0 <= gpus < math.inf or (gpus > 1 and gpus % 1):
        msg = f"gpus of a worker must be a share from 0 to 1, or a whole number; got {gpus:g}."
        raise ValueError(msg)


@dataclass(frozen=True)
class Limits:
    """What may be asked of the app (``CORRCORE_UPLOADS_MB_PER_HOUR`` and so on).

    Uploads and jobs are of a session; an address may have those of five, and all sessions together hold the uploads of
    four. Requests are of an address. `queue_length` jobs wait and run at most, views and long work each, and
    `jobs_per_visitor` of them are one session's. One long job may take `job_memory_mb` (None: three quarters of the
    memory there is) and `job_minutes`. `max_sessions` browser windows are served at once. Of what views have computed
    `results_mb` are kept on disk, those that were used last.
    """

    uploads_mb_per_hour: int = 200
    uploads_mb_held: int = 100
    jobs_per_hour: int = 600
    requests_per_minute: int = 2000
    queue_length: int = 20
    jobs_per_visitor: int = 5
    job_memory_mb: int | None = None
    job_minutes: int = 720
    max_sessions: int = 200
    results_mb: int = 4000

    @property
    def results_bytes(self) -> int:
        """`results_mb` in bytes."""
        return self.results_mb * 10**6


@dataclass(frozen=True)
class Settings:
    """What the environment asks for.

    `cache` is where results and indexes are kept (``CORRCORE_CACHE``, else the user's cache folder), `data` a folder of
    data sets (``CORRCORE_DATA``) or None, `weights` a folder of networks' weights (``CORRCORE_WEIGHTS``) or None,
    `read_only` whether everybody is a visitor of the app (``CORRCORE_READ_ONLY``), `limits` what may be asked of it,
    and `job_processes` whether its long work runs in processes of its own (unless ``CORRCORE_JOB_PROCESSES=0``).
    `approximate` says whether the app searches indexes that are compressed approximately (``CORRCORE_APPROXIMATE``).
    `frame_ancestors` are further sites that may show the app in a frame (``CORRCORE_FRAME_ANCESTORS``), and `log_json`
    says whether it logs lines of JSON (``CORRCORE_LOG=json``). Long work runs where `executor` says: "threads" of this
    machine, or "ray" (``CORRCORE_EXECUTOR``), the cluster at `ray_address` (``CORRCORE_RAY_ADDRESS``) or else one on
    this machine, with so many `ray_workers` and `ray_gpus` for each (``CORRCORE_RAY_WORKERS``, ``CORRCORE_RAY_GPUS``).
    That cluster also holds and searches the indexes named in `ray_indexes` (``CORRCORE_RAY_INDEXES``, with commas),
    each shard of them `ray_replicas` times (``CORRCORE_RAY_REPLICAS``).
    `faults` says what of the environment was passed over.
    """

    cache: Path
    data: Path | None = None
    weights: Path | None = None
    read_only: bool = False
    limits: Limits = Limits()
    job_processes: bool = True
    approximate: bool = False
    frame_ancestors: tuple[str, ...] = ()
    log_json: bool = False
    executor: str = EXECUTORS[0]
    ray_address: str | None = None
    ray_workers: int | None = None
    ray_gpus: float = 0.0
    ray_indexes: tuple[str, ...] = ()
    ray_replicas: int = 1
    faults: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads the variables anew at every call, so that a change of them counts.

        Raises ValueError for a path with ``~`` where no home folder is known, and where there is no folder of one's own
        to keep results in.
        """
        limits, faults = _limits(environment)
        sites, no_sites = _sites(environment.get("CORRCORE_FRAME_ANCESTORS", ""))
        where, no_cluster = _executor(environment)
        cache, data, weights = (environment.get(f"CORRCORE_{name}") for name in ("CACHE", "DATA", "WEIGHTS"))
        return cls(
            cache=prepared_path(cache) if cache else _user_cache(),
            data=prepared_path(data) if data else None,
            weights=prepared_path(weights) if weights else None,
            read_only=bool(environment.get("CORRCORE_READ_ONLY")),
            limits=limits,
            job_processes=environment.get("CORRCORE_JOB_PROCESSES") != "0",
            approximate=bool(environment.get("CORRCORE_APPROXIMATE")),
            frame_ancestors=sites,
            log_json=environment.get("CORRCORE_LOG") == "json",
            **where,
            faults=(*faults, *no_sites, *no_cluster),
        )

    @property
    def indexes(self) -> Path:
        """The folder of patch indexes."""
        return self.cache / "indexes"

    def problems(self, indexes: str | os.PathLike[str] | None = None) -> list[str]:
        """What is wrong with the settings, a sentence each, for the command line and the app to show.

        `indexes` is the folder of indexes where it is another than `self.indexes`.
        """
        found = list(self.faults)  # os.path below, as a Path's own questions raise where a folder may not be read
        if self.cache == _temporary_cache():
            found.append(
                f"no home folder is known, so results are kept in {self.cache}, which may be emptied at any time; "
                "set CORRCORE_CACHE to a folder that stays."
            )
        if os.path.exists(self.cache) and not os.path.isdir(self.cache):
            found.append(f"CORRCORE_CACHE must be a folder; {self.cache} is a file. Results are not kept.")
        if self.data is not None:
            if not os.path.exists(self.data):
                found.append(f"CORRCORE_DATA must be a folder of data sets; {self.data} does not exist.")
            elif not os.path.isdir(self.data):
                found.append(f"CORRCORE_DATA must be a folder of data sets; {self.data} is a file.")
        if self.weights is not None and not os.path.isdir(self.weights):
            found.append(f"CORRCORE_WEIGHTS must be a folder of networks' weights; {self.weights} is none.")
        for asked, variable in ((self.executor == "ray", "EXECUTOR=ray"), (self.ray_indexes, "RAY_INDEXES")):
            if asked and importlib.util.find_spec("ray") is None:
                found.append(f"CORRCORE_{variable} needs Ray; install it with: pip install 'corrcore[ray]'")
        root = os.fspath(indexes or self.indexes)
        missing = [name for name in self.ray_indexes if not os.path.exists(os.path.join(root, name))]
        if missing:
            found.append(
                f"CORRCORE_RAY_INDEXES names {', '.join(missing)}, and {root} has no such index; `corrcore index list` "
                "shows those there are."
            )
        return found


def _limits(environment: Mapping[str, str]) -> tuple[Limits, tuple[str, ...]]:
    """The limits asked for, and a sentence for each that is no number; the usual one is in force then."""
    found, faults = {}, []
    for field in fields(Limits):
        variable = f"CORRCORE_{field.name.upper()}"
        if not (text := environment.get(variable)):
            continue
        if text.isascii() and text.isdigit() and int(text) > 0:
            found[field.name] = int(text)
        else:
            faults.append(f"{variable} must be a whole number above 0, not {text!r}; {field.default} is in force.")
    return Limits(**found), tuple(faults)


def _executor(environment: Mapping[str, str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Where long work runs, and a sentence for each variable about it that says nothing of the kind."""
    found: dict[str, Any] = {"ray_address": environment.get("CORRCORE_RAY_ADDRESS") or None}
    faults = []
    if (address := found["ray_address"]) not in (None, AUTO):
        try:
            host_and_port(address)
        except ValueError as error:  # it stays, so that nothing runs elsewhere than asked
            faults.append(f"CORRCORE_RAY_ADDRESS: {error}")
    if (executor := environment.get("CORRCORE_EXECUTOR") or EXECUTORS[0]) in EXECUTORS:
        found["executor"] = executor
    else:
        faults.append(f"CORRCORE_EXECUTOR must be {' or '.join(EXECUTORS)}, not {executor!r}; {EXECUTORS[0]} it is.")
    names = environment.get("CORRCORE_RAY_INDEXES", "").split(",")
    found["ray_indexes"] = tuple(name.strip() for name in names if name.strip())
    for field in ("ray_workers", "ray_replicas"):
        variable = f"CORRCORE_{field.upper()}"
        if not (text := environment.get(variable)):
            continue
        if text.isascii() and text.isdigit() and int(text) > 0:
            found[field] = int(text)
        else:
            faults.append(f"{variable} must be a whole number above 0, not {text!r}; it is passed over.")
    if gpus := environment.get("CORRCORE_RAY_GPUS"):
        if not re.fullmatch(r"\d*\.?\d+", gpus, re.ASCII):
            faults.append(f"CORRCORE_RAY_GPUS must be a number such as 0.25, not {gpus!r}; 0 is in force.")
        else:
            try:
                check_gpus(float(gpus))
                found["ray_gpus"] = float(gpus)
            except ValueError as error:
                faults.append(f"CORRCORE_RAY_GPUS: {str(error).rstrip('.')}; 0 is in force.")
    return found, tuple(faults)


def _sites(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sites of a list, in a form that can say nothing else in a header, and a sentence for each that is none."""
    found, faults = [], []
    for site in text.split():
        if re.fullmatch(r"(https?://)?(\*\.)?[\w-]+(\.[\w-]+)*(:\d+)?", site, re.ASCII):
            found.append(site)
        else:
            faults.append(f"CORRCORE_FRAME_ANCESTORS must be sites, such as https://*.hf.space; {site!r} is none.")
    return tuple(found), tuple(faults)


def _user_cache() -> Path:
    """The user's cache folder; without a home, a folder for the user among the temporary files."""
    try:
        folder = user_cache_path("corrcore", appauthor=False)
    except RuntimeError:
        folder = Path()
    if folder.is_absolute():
        return folder
    folder = _temporary_cache()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        usable = not folder.is_symlink() and folder.stat().st_uid == os.geteuid()
    except OSError:
        usable = False
    if not usable:
        msg = f"no home folder is known, and {folder} cannot be used; set CORRCORE_CACHE to a folder of your own."
        raise ValueError(msg)
    return folder


def _temporary_cache() -> Path:
    return Path(tempfile.gettempdir(), f"corrcore-{os.geteuid()}")
