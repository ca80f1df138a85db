"""Where results lie on disk, and what is read of them: the only place that knows.

A result is one file of JSON lines: a header that says of what it is, then a line per record as it is measured, appended
under a lock, so that two processes that measure the same lose nothing.
"""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corrcore.experiments import registry
from corrcore.experiments.base import Experiment, Result, to_jsonable
from corrcore.experiments.context import Context, default_store
from corrcore.store.locks import exclusive

LOCK_TIMEOUT_S = 30.0


class OlderResultError(ValueError):
    """A file of results that other code or other data have made; `header` has what it is of."""

    def __init__(self, message: str, header: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.header = dict(header)


@dataclass(frozen=True)
class Outcome:
    """What became of one sample: a record, or the reason there is none; `passing` if it may be measured another time."""

    record: Any = None
    skipped: str = ""
    passing: bool = False


@dataclass(eq=False)
class ResultFile:
    """One result's file, opened by `ResultStore.open`: what it has, and appending to it."""

    path: Path | None
    header: Mapping[str, Any]
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, None] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    _read_to: int = 0

    def ask(self, names: Sequence[str]) -> None:
        """Says which samples are asked for; they come on top of those asked for before."""
        if any(name not in self.asked for name in names):
            self._append({"asked": list(names)})

    def note(self, notes: Mapping[str, Any]) -> None:
        """Keeps what was chosen on the way."""
        if notes and to_jsonable(notes) != self.notes:
            self._append({"notes": to_jsonable(notes)})

    def add(self, name: str, stamp: str, outcome: Outcome) -> None:
        """Keeps what became of a sample."""
        if outcome.skipped:
            entry = {"name": name, "stamp": None if outcome.passing else stamp, "skipped": outcome.skipped}
        else:
            entry = {"name": name, "stamp": stamp, "measured": to_jsonable(outcome.record)}
        self._append(entry)

    def is_measured(self, name: str, stamp: str) -> bool:
        """Whether there is a record of a sample as it is now; other writers' are read."""
        self.refresh()
        return self.entries.get(name, {}).get("stamp") == stamp

    def refresh(self) -> None:
        """Reads what was appended since."""
        if self.path is None or not self.path.exists() or self.path.stat().st_size <= self._read_to:
            return
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # torn by a kill, or being written
                self._read_to += len(line)
                self._take(json.loads(line))

    def _take(self, line: dict[str, Any]) -> None:
        if "name" in line:
            self.entries[line["name"]] = line
        elif "asked" in line:
            self.asked |= dict.fromkeys(line["asked"])
        elif "notes" in line:
            self.notes = line["notes"]

    def _append(self, line: dict[str, Any]) -> None:
        if self.path is None:
            self._take(line)
            return
        with _locked(self.path), self.path.open("r+b") as file:
            end = _end_of_whole_lines(file)
            file.seek(end)
            file.truncate()
            file.write(_line(line))
            file.flush()
            os.fsync(file.fileno())
        self.refresh()


def _end_of_whole_lines(file: Any) -> int:
    """Where the last whole line ends: what follows was torn by a kill."""
    size = file.seek(0, os.SEEK_END)
    step = min(size, 1 << 20)
    file.seek(size - step)
    tail = file.read(step)
    return size - step + tail.rfind(b"\n") + 1


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode() + b"\n"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with exclusive(path.with_name(f".{path.name}.lock"), timeout=LOCK_TIMEOUT_S):
        yield


@dataclass(frozen=True)
class Stored:
    """What a folder of results has: those of the code as it is, those of older code with their headers, and files that
    cannot be read, with the reason. Searches that are parts of other experiments are left out.
    """

    results: Mapping[Path, Result]
    older: Mapping[Path, Mapping[str, Any]]
    unreadable: Mapping[Path, str]


class ResultStore:
    """A folder of results, by default the one that the app's pages read."""

    def __init__(self, folder: str | os.PathLike | None = None) -> None:
        self.folder = Path(folder).expanduser().absolute() if folder is not None else default_store()

    def path(self, experiment: Experiment, context: Context) -> Path:
        """The file of a resolved experiment."""
        return self.folder / experiment.folder(context) / experiment.file_name(context)

    def open(self, experiment: Experiment, context: Context) -> ResultFile:
        """An experiment's file to go on with; what other code or other data have left there is begun anew.

        Where nothing can be written, results are kept in memory, with one RuntimeWarning.
        """
        path, header = self.path(experiment, context), header_of(experiment, context)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path):
                if _header_in(path) != header:
                    temporary = path.with_name(f".{path.name}.{os.getpid()}")
                    temporary.write_bytes(_line(header))
                    temporary.replace(path)
        except OSError as error:
            msg = f"{path.parent} cannot be written: results are not kept ({error.strerror or error})."
            warnings.warn(msg, RuntimeWarning, stacklevel=3)
            return ResultFile(None, header)
        file = ResultFile(path, header)
        file.refresh()
        return file

    def load(self, experiment: Experiment, context: Context) -> Result | None:
        """What is kept of a resolved experiment on data, weights and code as they are; None where nothing is."""
        path = self.path(experiment, context)
        if _header_in(path) != header_of(experiment, context):
            return None
        file = ResultFile(path, header_of(experiment, context))
        file.refresh()
        return result_of(experiment, file)

    def read(self, path: Path) -> Result:
        """The result in a file, whatever data it is of.

        Raises OlderResultError for one that older code wrote, and ValueError for what is no result.
        """
        header = _header_in(path)
        if header is None:
            msg = f"{path} holds no results of an experiment."
            raise ValueError(msg)
        settings = header["settings"]
        kind = registry.find(settings.get("experiment", ""))
        if kind is None:
            msg = f"{path} is of {settings.get('experiment')!r}, an experiment that is not known here."
            raise ValueError(msg)
        try:
            experiment = kind.from_settings(settings)
            if experiment.settings()["versions"] != settings["versions"]:
                msg = (
                    f"{path} is of versions {settings['versions']}; the code's are {experiment.settings()['versions']}."
                )
                raise OlderResultError(msg, header)
            file = ResultFile(path, header)
            file.refresh()
            return result_of(experiment, file)
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            msg = f"{path} is not as results are written: {type(error).__name__}, {error}."
            raise ValueError(msg) from error

    def forget(self, experiment: Experiment, context: Context) -> None:
        """Deletes what is kept of a resolved experiment."""
        self.path(experiment, context).unlink(missing_ok=True)

    def scan(self, *, read: Any = None) -> Stored:
        """All results there are; `read` reads a file, `self.read` unless given: whoever asks often keeps what was read."""
        found, older, unreadable = {}, {}, {}
        for path in sorted(self.folder.glob("*/*.jsonl")):
            try:
                result = (read or self.read)(path)
            except OlderResultError as error:
                older[path] = error.header
            except (OSError, ValueError) as error:
                unreadable[path] = str(error)
            else:
                if result.experiment.listed:
                    found[path] = result
        return Stored(found, older, unreadable)


def header_of(experiment: Experiment, context: Context) -> dict[str, Any]:
    """What is written first: results under another header are others."""
    return {
        "settings": to_jsonable(experiment.settings()),
        "provenance": to_jsonable(experiment.provenance(context)),
    }


def _header_in(path: Path) -> dict[str, Any] | None:
    """None where there is no file of results."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and isinstance(header.get("settings"), dict) else None


def result_of(experiment: Experiment, file: ResultFile) -> Result:
    """What a file has, as a result."""
    names = list(file.asked) or list(file.entries)
    return Result(
        experiment,
        file.header["provenance"],
        {
            name: experiment.read_record(file.entries[name]["measured"])
            for name in names
            if "measured" in file.entries.get(name, {})
        },
        {name: file.entries[name]["skipped"] for name in names if "skipped" in file.entries.get(name, {})},
        len(names),
        file.notes,
    )
