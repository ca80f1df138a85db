"""Where results lie on disk, and what is read of them: the only place that knows.

A result is one file of JSON lines: a header that says of what it is, then a line per record as it is measured, appended
under a lock, so that two processes that measure the same lose nothing.
"""

import json
import os
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from corrcore.experiments import registry
from corrcore.experiments.base import FORMAT, Experiment, Result, to_jsonable
from corrcore.experiments.context import Context, default_store
from corrcore.settings import prepared_path
from corrcore.store import key, write_atomically
from corrcore.store.locks import exclusive

LOCK_TIMEOUT_S = 30.0


class OlderResultError(ValueError):
    """A file of results that other code or other data have made; `header` has what it is of."""

    def __init__(self, message: str, header: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.header = dict(header)


@dataclass(frozen=True)
class Outcome:
    """What became of one sample: a record, or the reason there is none; `passing` if it may be measured another
    time.
    """

    record: Any = None
    skipped: str = ""
    passing: bool = False


class ResultLostError(OSError):
    """The file that results were being appended to is gone, or was begun anew by another run."""


@dataclass(eq=False)
class ResultFile:
    """One result's file: what it has, and appending to it. Without a path all is kept in memory.

    The file is made when there is something to keep. Whoever begins it writes a mark of its own into the header
    (`begun`), so that a run never appends to a file that another has begun anew.
    """

    experiment: Experiment
    path: Path | None
    header: Mapping[str, Any]
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, None] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    _begun: str | None = None
    _read_to: int = 0

    def ask(self, names: Sequence[str]) -> None:
        """Says which samples are asked for; those of a growing experiment come on top of those asked for before."""
        grows = bool(self.experiment.growing)
        if any(name not in self.asked for name in names) or (not grows and len(names) < len(self.asked)):
            self._append({"asked": list(names), "besides": grows})

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
        """Whether there is a record of a sample as it is now."""
        return self.entries.get(name, {}).get("stamp") == stamp

    def refresh(self) -> None:
        """Reads what was appended since, by whomever."""
        if self.path is None:
            return
        try:
            with self.path.open("rb") as file:
                self._read(file)
        except FileNotFoundError:
            if self._begun is not None:
                raise self._lost() from None

    def _read(self, file: Any) -> None:
        """Takes whole lines; the last may be torn by a kill, or being written. Damaged ones are measured again."""
        header = _parsed(file.readline())
        if self._begun is None and _is_of(header, self.header, self.experiment):
            self._begun, self._read_to = header["begun"], file.tell()
        if self._begun is None:
            return
        if header is None or header.get("begun") != self._begun:
            raise self._lost()
        file.seek(self._read_to)
        for line in file:
            if not line.endswith(b"\n"):
                break
            self._read_to += len(line)
            self._take(_parsed(line) or {})

    def _lost(self) -> ResultLostError:
        return ResultLostError(f"{self.path} was deleted or begun anew by another run; run this one again.")

    def _take(self, line: Mapping[str, Any]) -> None:
        if "name" in line:
            self.entries[line["name"]] = dict(line)
        elif "asked" in line:
            self.asked = (self.asked if line.get("besides") else {}) | dict.fromkeys(line["asked"])
        elif "notes" in line:
            self.notes = line["notes"]

    def _append(self, line: dict[str, Any]) -> None:
        if self.path is None:
            self._take(line)
            return
        with _locked(self.path):
            self.refresh()
            if self._begun is None:  # nobody has results of this experiment as it is
                write_atomically(self.path, _line({**self.header, "begun": uuid.uuid4().hex}))
                self.refresh()
            with self.path.open("r+b") as file:
                file.seek(self._read_to)
                file.truncate()
                file.write(_line(line))
                file.flush()
                os.fsync(file.fileno())
            self.refresh()

    def result(self) -> Result:
        """What it has. Raises ValueError for records that are not as results are written."""
        names = list(self.asked) or list(self.entries)
        there = [name for name in names if name in self.entries]
        try:
            return Result(
                self.experiment,
                self.header["provenance"],
                {
                    name: self.experiment.read_record(self.entries[name]["measured"])
                    for name in there
                    if "measured" in self.entries[name]
                },
                {name: self.entries[name]["skipped"] for name in there if "skipped" in self.entries[name]},
                len(names),
                self.notes,
            )
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            msg = f"{self.path} is not as results are written: {type(error).__name__}, {error}; delete it."
            raise ValueError(msg) from error


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None for a line that is no JSON object."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


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
    """A folder of results, by default the one that the app's pages read. Raises NotADirectoryError for a file."""

    def __init__(self, folder: str | os.PathLike | None = None) -> None:
        self.folder = prepared_path(folder) if folder is not None else default_store()
        if self.folder.is_file():
            msg = f"results are kept in a folder; {self.folder} is a file, so give another place."
            raise NotADirectoryError(msg)

    def path(self, experiment: Experiment, context: Context) -> Path:
        """The file of a resolved experiment."""
        return self.folder / experiment.folder(context) / experiment.file_name(context)

    def open(self, experiment: Experiment, context: Context) -> ResultFile:
        """An experiment's file to go on with; what other code or other data have left there is begun anew.

        Where nothing can be written, what is there is read and the rest is kept in memory, with one RuntimeWarning.
        """
        path = self.path(experiment, context)
        file = ResultFile(experiment, path, header_of(experiment, context))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path):
                file.refresh()
        except OSError as error:
            msg = f"{path.parent} cannot be written: results are not kept ({error.strerror or error})."
            warnings.warn(msg, RuntimeWarning, stacklevel=3)
            with suppress(OSError):
                file.refresh()
            file.path = None
        return file

    def bring(self, experiment: Experiment, context: Context) -> None:
        """Puts what comes along of a resolved experiment (`Context.along`) where its results are kept, unless there are
        some. Where nothing can be written it is left.
        """
        path = self.path(experiment, context)
        if context.along is None or path.exists():
            return
        data = context.along.get(header_key(header_of(experiment, context)))
        with suppress(OSError):
            if data is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with _locked(path):
                    if not path.exists():
                        write_atomically(path, data)

    def load(self, experiment: Experiment, context: Context) -> Result | None:
        """What is kept of a resolved experiment on data, weights and code as they are; None where nothing is."""
        path = self.path(experiment, context)
        if (written := _header_in(path)) is None:
            return None
        header = header_of(experiment, context)
        if not _is_of(written, header, experiment):
            return None
        file = ResultFile(experiment, path, header)
        file.refresh()
        return file.result()

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
        if settings.get("versions") != [FORMAT, *kind.versions]:
            msg = f"{path} is of versions {settings.get('versions')}; the code's are {[FORMAT, *kind.versions]}."
            raise OlderResultError(msg, header)
        try:
            experiment = kind.from_settings(settings)
        except (AttributeError, TypeError) as error:
            msg = f"{path} has settings of no {kind.kind}: {error}; delete it."
            raise ValueError(msg) from error
        file = ResultFile(experiment, path, header)
        file.refresh()
        return file.result()

    def forget(self, experiment: Experiment, context: Context) -> None:
        """Deletes what is kept of a resolved experiment."""
        self.path(experiment, context).unlink(missing_ok=True)

    def scan(self, *, read: Callable[[Path], Result] | None = None) -> Stored:
        """All results there are; `read` reads a file, `self.read` unless given: whoever asks often keeps what
        was read.
        """
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


def header_key(header: Mapping[str, Any]) -> str:
    """What a result comes along under: a digest of what it is of."""
    return key(header={name: header[name] for name in ("settings", "provenance")})


def _header_in(path: Path) -> dict[str, Any] | None:
    """None where there is no file of results."""
    try:
        with path.open("rb") as file:
            header = _parsed(file.readline())
    except OSError:
        return None
    whole = header is not None and isinstance(header.get("settings"), dict) and {"provenance", "begun"} <= set(header)
    return header if whole else None


def _is_of(
    found: Mapping[str, Any] | None, wanted: Mapping[str, Any], experiment: Experiment
) -> TypeGuard[Mapping[str, Any]]:
    """Whether a header is of the same settings on the same data; one data set may be named in several ways."""

    def identity(header: Mapping[str, Any]) -> list[Any]:
        usual = type(experiment).from_settings(header["settings"]).settings()  # of what is asked since it was written
        settings = {**usual, **header["settings"]}
        told = {name: each for name, each in settings.items() if name not in experiment.told_by_folder}
        return [told, header["provenance"]]

    try:
        return found is not None and bool(found["begun"]) and identity(found) == identity(wanted)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
