"""Indexes by name: where they live, what they may be called, which there are, and deleting one."""

import atexit
import os
import re
import shutil
import tempfile
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

import torch

from corrcore.cluster import Cluster
from corrcore.concurrency import Progress
from corrcore.datasets import drawn
from corrcore.engines.knn import Probing, SearchCluster
from corrcore.features import Extractor
from corrcore.patch_index.build import LONGER_SIDE_PX, build
from corrcore.patch_index.files import (
    DELETING,
    FORMAT,
    JOURNAL,
    LOCK,
    MANIFEST,
    PARTIAL,
    IndexNotFoundError,
    IndexNotWrittenError,
    command,
    default_root,
    digest,
    partial_of,
    unfinished_text,
    writing_to,
)
from corrcore.patch_index.index import PatchIndex
from corrcore.settings import Settings, prepared_path
from corrcore.store.locks import LockedError, exclusive

SAMPLES = "samples"  # what names of indexes begin with that are not the user's
_SAMPLE_SCALES = (1.0, 0.7)
_SAMPLES_PATIENCE_S = 300  # a deep network takes minutes where cores are few


class State(StrEnum):
    """How far an index has come."""

    FINISHED = "finished"
    UNFINISHED = "not finished"
    UNREADABLE = "unreadable"
    HALF_DELETED = "half deleted"


@dataclass(frozen=True)
class Listing:
    """One index of a folder: opened where it is finished and whole, else with a line on what is wrong.

    The line says what to do about it.
    """

    name: str
    state: State
    index: PatchIndex | None = None
    note: str = ""


def checked_name(name: str) -> str:
    """The name of a new index as given, if it can be a folder's name anywhere. Raises ValueError if not."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        msg = f"an index's name must be 1 to 64 letters, digits, '-' or '_'; got {name!r}."
        raise ValueError(msg)
    if name == SAMPLES or name.startswith(f"{SAMPLES}-"):
        msg = f"an index's name must not begin with {SAMPLES!r}, which the index of drawn animals has; got {name!r}."
        raise ValueError(msg)
    return name


def path_of(name: str, root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of an index by any name that is listed. Raises ValueError for a name that would leave `root`."""
    if name in ("", ".", "..") or any(mark in name for mark in (os.sep, os.altsep, "\0") if mark):
        msg = f"an index's name must be the name of a folder in the folder of indexes, and no path; got {name!r}."
        raise ValueError(msg)
    return prepared_path(default_root() if root is None else root) / name


def open_index(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    device: torch.device | str | None = None,
    approximate: bool = False,
) -> PatchIndex:
    """The index of a name, to be searched on a cluster where the environment says so; `approximate` searches are made
    here, by its compressed descriptors. Raises as `PatchIndex` does.
    """
    if approximate:
        return PatchIndex(path_of(name, root), device=device, probing=Probing())
    settings, search_on = Settings.from_environment(), None
    if name in settings.ray_indexes:
        cluster = Cluster(settings.ray_address, settings.ray_workers, settings.ray_gpus)
        search_on = SearchCluster(cluster, settings.ray_replicas)
    return PatchIndex(path_of(name, root), device=device, search_on=search_on)


def list_indexes(root: str | os.PathLike[str] | None = None) -> list[str]:
    """The names of what bears the name of a finished index in a folder, readable or not."""
    return sorted(name for name, state in _states(root).items() if state is State.FINISHED)


def list_unfinished(root: str | os.PathLike[str] | None = None) -> list[str]:
    """The names of the indexes whose build was stopped, or is running."""
    return sorted(name for name, state in _states(root).items() if state is State.UNFINISHED)


def survey(root: str | os.PathLike[str] | None = None) -> list[Listing]:
    """Every index in a folder by name, however it is. Nothing is written or locked, and no bad one hides the others."""
    return [_listing(path_of(name, root), state) for name, state in sorted(_states(root).items())]


def look_up(name: str, root: str | os.PathLike[str] | None = None) -> Listing:
    """The index of a name that is listed. Raises IndexNotFoundError for another, ValueError for what is no name."""
    folder, states = path_of(name, root), _states(root)
    if name not in states:
        PatchIndex(folder, device="cpu")  # says what is missing
    return _listing(folder, states.get(name, State.FINISHED))


def _listing(folder: Path, state: State) -> Listing:
    if state is State.UNFINISHED:
        return Listing(folder.name, state, note=unfinished_text(folder))
    if state is State.HALF_DELETED:
        note = f"the deletion of {folder} was stopped; {command('delete', folder)} ends it."
        return Listing(folder.name, state, note=note)
    try:
        return Listing(folder.name, state, PatchIndex(folder, device="cpu"))
    except OSError as error:
        return Listing(folder.name, State.UNREADABLE, note=str(error))


def delete(folder: str | os.PathLike[str]) -> None:
    """Removes an index, or what there is of it if its build or its deletion was stopped. Of a link, only the link.

    Raises IndexNotFoundError if there is none, FileExistsError while it is being built, and OSError where it cannot be
    removed.
    """
    folder = prepared_path(folder)
    found = [path for path in (folder, partial_of(folder)) if _looks_like_index(path)]
    left = [path for path in _entries(folder.parent) if _deleted_name(path) == folder.name]
    if not found and not left:
        those = command("list", folder, named=False)
        msg = f"there is no patch index in {folder}, finished or begun; {those} shows those there are."
        raise IndexNotFoundError(msg)
    with ExitStack() as stack, writing_to(folder):
        for path in found:
            if (path / LOCK).exists():
                try:
                    stack.enter_context(exclusive(path / LOCK))
                except LockedError:
                    msg = f"{folder} is being built now; cancel the build first."
                    raise FileExistsError(msg) from None
        # Renamed first: half a deletion never looks like an index.
        left += [path.rename(path.with_name(f"{folder.name}.{uuid4().hex}{DELETING}")) for path in found]
    with writing_to(folder):
        for path in left:
            path.unlink() if path.is_symlink() else shutil.rmtree(path)


def samples_path(extractor: Extractor, *, root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the index of drawn animals that `samples` builds, whether it is there or not."""
    pictures = [photo.stamp for photo in drawn.to_search().values()]
    content = digest([FORMAT, extractor.digest, _SAMPLE_SCALES, LONGER_SIDE_PX, pictures])[:12]
    return path_of(f"{SAMPLES}-{extractor.name}-{content}", root)


def samples(
    extractor: Extractor, *, root: str | os.PathLike[str] | None = None, progress: Progress | None = None
) -> PatchIndex:
    """The index of the drawn animals that come along (`corrcore.datasets.drawn`), built at first use in seconds.

    Each at two scales: enough for eyes to be rebuilt from other eyes, of drawings. Photographs want an index of
    photographs. Where it cannot be kept it is built in a temporary folder, with a RuntimeWarning, and is gone with this
    process.
    """
    folder = samples_path(extractor, root=root)
    photos = list(drawn.to_search().values())
    begun = time.monotonic()
    while not folder.exists():
        try:
            return build(photos, folder, extractor=extractor, scales=_SAMPLE_SCALES, progress=progress)
        except IndexNotWrittenError as error:
            warnings.warn(f"{error} The samples are indexed for this process alone.", RuntimeWarning, stacklevel=2)
            temporary = tempfile.mkdtemp(prefix="corrcore-")
            atexit.register(shutil.rmtree, temporary, ignore_errors=True)
            folder = Path(temporary, folder.name)
        except FileExistsError:  # another process has begun it meanwhile, and may die
            if time.monotonic() - begun > _SAMPLES_PATIENCE_S:
                raise
            time.sleep(0.1)
    return PatchIndex(folder, device=extractor.device)


def _entries(root: Path) -> list[Path]:
    """What is in a folder; nothing where it is not there. Raises OSError with a sentence where it cannot be read."""
    try:
        return list(root.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        msg = f"{root} cannot be read ({error.strerror}); give a folder of indexes that you may read."
        raise OSError(msg) from error


def _states(root: str | os.PathLike[str] | None) -> dict[str, State]:
    """By the names of folders alone. A finished index hides what is left of an older build of its name."""
    states: dict[str, State] = {}
    for path in _entries(prepared_path(default_root() if root is None else root)):
        if (name := _deleted_name(path)) is not None:
            states.setdefault(name, State.HALF_DELETED)
        elif _looks_like_index(path) and path.name.endswith(PARTIAL):
            name = path.name.removesuffix(PARTIAL)
            if states.get(name) is not State.FINISHED:
                states[name] = State.UNFINISHED
        elif _looks_like_index(path):
            states[path.name] = State.FINISHED
    return states


def _looks_like_index(path: Path) -> bool:
    """Whether a folder holds an index or a part of one; a link to what is away, and a locked folder, may."""
    if path.is_symlink() and not path.exists():
        return True
    if not path.is_dir():
        return False
    if path.name.endswith(PARTIAL) or not os.access(path, os.R_OK | os.X_OK):
        return True
    return any(os.path.lexists(path / name) for name in (MANIFEST, JOURNAL))


def _deleted_name(path: Path) -> str | None:
    """The name of the index of which a folder is what a deletion left."""
    name, dot, _ = path.name.removesuffix(DELETING).rpartition(".")
    return name if dot and path.name.endswith(DELETING) else None
