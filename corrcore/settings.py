"""Every environment variable that corrcore reads, in one place."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

_USUAL = {"QUEUE_LENGTH": 20.0, "JOBS_PER_VISITOR": 5.0, "JOB_MEMORY": 0.0, "JOB_HOURS": 12.0}


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


@dataclass(frozen=True)
class Settings:
    """What the environment asks for.

    `cache` is where results and indexes are kept (``CORRCORE_CACHE``, else the user's cache folder), `data` a folder of
    data sets (``CORRCORE_DATA``) or None, `weights` a folder of networks' weights (``CORRCORE_WEIGHTS``) or None, and
    `read_only` whether visitors of the app only look (``CORRCORE_READ_ONLY``).

    Of the app's long work: `queue_length` jobs wait and run at most (``CORRCORE_QUEUE_LENGTH``), `jobs_per_visitor` of
    them one visitor's (``CORRCORE_JOBS_PER_VISITOR``). A job may take `job_memory` bytes (``CORRCORE_JOB_MEMORY``, in
    GB; None for three quarters of what there is) and `job_seconds` (``CORRCORE_JOB_HOURS``). It runs in a process of
    its own unless `job_processes` is false (``CORRCORE_JOB_PROCESSES=0``). `mistakes` are sentences on variables that
    should be numbers and are none: the default holds instead.
    """

    cache: Path
    data: Path | None = None
    weights: Path | None = None
    read_only: bool = False
    queue_length: int = 20
    jobs_per_visitor: int = 5
    job_memory: int | None = None
    job_seconds: float = 12 * 3600.0
    job_processes: bool = True
    mistakes: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads the variables anew at every call, so that a change of them counts.

        Raises ValueError for a path with ``~`` where no home folder is known, and where there is no folder of one's own
        to keep results in.
        """
        cache, data, weights = (environment.get(f"CORRCORE_{name}") for name in ("CACHE", "DATA", "WEIGHTS"))
        numbers, mistakes = _numbers(environment)
        return cls(
            cache=prepared_path(cache) if cache else _user_cache(),
            data=prepared_path(data) if data else None,
            weights=prepared_path(weights) if weights else None,
            read_only=bool(environment.get("CORRCORE_READ_ONLY")),
            queue_length=max(1, round(numbers["QUEUE_LENGTH"])),
            jobs_per_visitor=max(1, round(numbers["JOBS_PER_VISITOR"])),
            job_memory=round(1e9 * numbers["JOB_MEMORY"]) or None,
            job_seconds=3600 * numbers["JOB_HOURS"],
            job_processes=environment.get("CORRCORE_JOB_PROCESSES") != "0",
            mistakes=tuple(mistakes),
        )

    def problems(self) -> list[str]:
        """What is wrong with the settings, a sentence each, for the command line and the app to show."""
        found = list(self.mistakes)  # os.path, as a Path's own questions raise where a folder may not be read
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
        return found


def _numbers(environment: Mapping[str, str]) -> tuple[dict[str, float], list[str]]:
    """The numbers that are asked for or usual, and a sentence for each variable that holds none."""
    numbers, mistakes = dict(_USUAL), []
    for name, usual in _USUAL.items():
        text = environment.get(f"CORRCORE_{name}") or str(usual)
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if text == str(usual) or 0 < value < float("inf"):
            numbers[name] = value
        else:
            mistakes.append(f"CORRCORE_{name} must be a number above 0; got {text!r}, so the usual one holds.")
    return numbers, mistakes


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
