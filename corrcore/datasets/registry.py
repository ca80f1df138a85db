"""The data sets there are: those with a name, and readers of folders. Each is one `register` away."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from corrcore.datasets.folder import printable_name
from corrcore.datasets.records import DatasetNotFoundError, KeypointDataset
from corrcore.settings import prepared_path


@dataclass(frozen=True)
class DatasetSpec:
    """A data set on offer, opened by `load`. `folder` is where its files lie, None where there are none."""

    name: str
    title: str
    synthetic: bool
    load: Callable[[], KeypointDataset]
    folder: Path | None = None


@dataclass(frozen=True)
class ReaderSpec:
    """A reader of folders of one layout. `layout` says in words what such a folder holds."""

    name: str
    title: str
    layout: str
    recognises: Callable[[Path], bool]
    load: Callable[[Path], KeypointDataset]


@dataclass(frozen=True)
class Available:
    """The data sets on offer, by unique names. `faults` says in sentences why there are not more."""

    specs: tuple[DatasetSpec, ...]
    faults: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names to choose from."""
        return tuple(spec.name for spec in self.specs)

    def spec(self, name: str) -> DatasetSpec:
        """What is offered under a name. Raises DatasetNotFoundError where nothing is."""
        for spec in self.specs:
            if spec.name == name:
                return spec
        msg = f"there is no data set {name!r} here; there are {', '.join(self.names)}."
        raise DatasetNotFoundError(" ".join((msg, *self.faults)))


_datasets: dict[str, DatasetSpec] = {}
_readers: dict[str, ReaderSpec] = {}


def register(spec: DatasetSpec | ReaderSpec) -> None:
    """Offers a data set, or a layout of folders, everywhere. Raises ValueError for a name that is taken."""
    if spec.name in _datasets or spec.name in _readers:
        msg = f"name of a data set or reader must be new; {spec.name!r} is registered already."
        raise ValueError(msg)
    if isinstance(spec, DatasetSpec):
        _datasets[spec.name] = spec
    else:
        _readers[spec.name] = spec


def unregister(name: str) -> None:
    """Forgets a data set or a reader. Raises ValueError where none has this name."""
    if not _datasets.pop(name, None) and not _readers.pop(name, None):
        msg = f"name must be that of a registered data set or reader; got {name!r}."
        raise ValueError(msg)


def names() -> tuple[str, ...]:
    """The data sets that open by their name alone, in the order in which they were registered."""
    return tuple(_datasets)


def readers() -> tuple[ReaderSpec, ...]:
    """The layouts of folders that are known, in the order in which they were registered and are tried."""
    return tuple(_readers.values())


def open(name: str) -> KeypointDataset:  # noqa: A001 - registries are opened alike
    """A registered data set. Raises DatasetNotFoundError for an unknown name."""
    return Available(tuple(_datasets.values())).spec(name).load()


def open_dataset(source: str | os.PathLike) -> KeypointDataset:
    """The annotated objects of a registered name, such as "toy", or of a folder in a layout that a reader knows.

    Raises DatasetNotFoundError, which says what was looked for and where.
    """
    if source in _datasets:
        return _datasets[str(source)].load()
    folder = prepared_path(source)
    if not folder.is_dir():
        msg = f"{folder} is no folder; give one that holds {_layouts()}; or a name: {', '.join(names())}."
        raise DatasetNotFoundError(msg)
    reader = _reader_of(folder)
    if reader is None:
        inner = [spec.name for spec in available(folder).specs if spec.folder is not None]
        hint = f"give one of the data sets in it: {', '.join(inner)}" if inner else f"known are {_layouts()}"
        msg = f"{folder} is laid out as no data set that is known here; {hint}."
        raise DatasetNotFoundError(msg)
    return reader.load(folder)


def available(folder: str | os.PathLike | None = None) -> Available:
    """The registered data sets, and those in a folder of data sets; this may also be a data set itself.

    A folder's data set is called as its folder is. Nothing is read but names of files and folders.
    """
    specs, faults = list(_datasets.values()), []
    if folder is None:
        return Available(tuple(specs))
    root = prepared_path(folder)
    if not root.is_dir():
        fault = f"{root} is no folder; name one that holds data sets, or a data set itself."
        return Available(tuple(specs), (fault,))
    inner, reason = _children(root)
    if reason:
        faults.append(reason)
    for path in (root, *inner):
        try:
            reader = _reader_of(path)
        except OSError as error:
            faults.append(_unreadable(path, error))
            continue
        if reader is not None:
            name = _free_name(printable_name(path.name), {spec.name for spec in specs})
            specs.append(DatasetSpec(name, reader.title, False, partial(reader.load, path), path))
    if len(specs) == len(_datasets) and not faults:
        faults.append(f"{root} holds no data set that is known here; known are {_layouts()}.")
    return Available(tuple(specs), tuple(faults))


def _reader_of(folder: Path) -> ReaderSpec | None:
    return next((reader for reader in readers() if reader.recognises(folder)), None)


def _layouts() -> str:
    return "; ".join(f"{reader.layout} ({reader.title})" for reader in readers())


def _children(root: Path) -> tuple[list[Path], str | None]:
    """The folders in a folder, by name, or the reason why they are unknown."""
    try:
        with os.scandir(root) as entries:
            found = [Path(entry.path) for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError as error:
        return [], _unreadable(root, error)
    return sorted(found), None


def _unreadable(path: Path, error: OSError) -> str:
    return f"{printable_name(path)} cannot be read ({error.strerror or error}); allow it."


def _free_name(name: str, taken: set[str]) -> str:
    """The name, or with a number behind it where something else is called so."""
    return next(free for n in range(1, len(taken) + 2) if (free := name if n == 1 else f"{name} ({n})") not in taken)
