"""Building an index of photos: described by an extractor, written as they come, gone on with after a stop."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from corrcore.concurrency import Progress
from corrcore.features import Extractor
from corrcore.patch_index.describe import Photo, Told
from corrcore.patch_index.files import (
    LOCK,
    SHARDS,
    BuildSettings,
    Manifest,
    PhotoEntry,
    SkippedPhoto,
    content_digest,
    partial_of,
    writing_to,
)
from corrcore.patch_index.index import PatchIndex
from corrcore.patch_index.journal import sync_folder
from corrcore.patch_index.shards import Describer, Here, going_on
from corrcore.settings import prepared_path
from corrcore.store.locks import LockedError, exclusive

LONGER_SIDE_PX = 500  # PASCAL VOC's


def build(
    photos: Sequence[Photo],
    folder: str | os.PathLike[str],
    *,
    extractor: Extractor,
    layers: Sequence[str] | None = None,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    longer_side: int | None = LONGER_SIDE_PX,
    held_out: Sequence[str] = (),
    describer: Describer = Here(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> PatchIndex:
    """Describes photos and writes an index of their patches into `folder`.

    Photos larger than `longer_side` pixels are shrunk to it first (None: never), so that things come at the size the
    network knows. Each then enters at every one of `scales` and, with `mirror`, mirrored as well. Memory stays that of
    a few photos. Photos that cannot be decoded or are too small are left out and named in the result's `skipped`.

    `progress(share, text)` is called at once, after every photo and several times per second in between, in the calling
    thread. An exception raised in it stops the build within a second. The next call with the same settings goes on from
    the last checkpoint, as it does after a kill; photos that have changed meanwhile, and all after them, are described
    anew.

    Raises FileExistsError where `folder` exists or another process builds it, ValueError for bad arguments or when no
    photo could be used, and OSError where the disk is full or cannot be written.
    """
    folder = prepared_path(folder)
    if os.path.lexists(folder):
        msg = f"{folder} already exists; choose another name or delete it first."
        raise FileExistsError(msg)
    settings = _checked(extractor, layers, scales, mirror=mirror, longer_side=longer_side)
    _check_names(photos)
    partial, told = partial_of(folder), Told(progress, len(photos))
    with _alone(partial, folder):
        with going_on(partial, photos, settings, extractor, told) as journal:
            describer.describe(photos, journal, settings, extractor, told)
            used = [entry for entry in journal.entries if isinstance(entry, PhotoEntry)]
            skipped = {entry.photo: entry.reason for entry in journal.entries if isinstance(entry, SkippedPhoto)}
            if used:
                manifest = Manifest(
                    digest=content_digest(settings, used),
                    settings=settings,
                    receptive_fields={layer: extractor.receptive_field(layer) for layer in settings.layers},
                    channels=used[0].channels,
                    skipped=skipped,
                    held_out=tuple(held_out),
                )
                journal.finish(manifest)
                shutil.rmtree(partial / SHARDS, ignore_errors=True)
        if not used:
            shutil.rmtree(partial)
            msg = f"none of {len(photos)} photos could be used; the first: {next(iter(skipped.values()))}"
            raise ValueError(msg)
        with writing_to(folder):
            partial.rename(folder)  # while the lock is held: nobody else begins in between
            sync_folder(folder.parent)
    return PatchIndex(folder, device=extractor.device)


def _checked(
    extractor: Extractor,
    layers: Sequence[str] | None,
    scales: Sequence[float],
    *,
    mirror: bool,
    longer_side: int | None,
) -> BuildSettings:
    layers = tuple(dict.fromkeys(layers or extractor.roles.reconstruction))
    for layer in layers:
        extractor.receptive_field(layer)  # raises for an unknown one
    scales = tuple(float(scale) for scale in scales)
    if not scales or not all(0 < scale <= 4 for scale in scales) or len(set(scales)) < len(scales):
        got = ", ".join(f"{scale:g}" for scale in scales) or "none"
        msg = f"scales must be different numbers above 0 and up to 4 (1 keeps a photo's own size); got {got}."
        raise ValueError(msg)
    if longer_side is not None and longer_side < 1:
        msg = f"longer_side must be at least 1 px, or None to shrink no photo; got {longer_side}."
        raise ValueError(msg)
    return BuildSettings(extractor.name, extractor.digest, layers, scales, mirror, longer_side)


def _check_names(photos: Sequence[Photo]) -> None:
    if not photos:
        msg = "photos must hold at least one photo; got none."
        raise ValueError(msg)
    seen: set[str] = set()
    for photo in photos:
        if photo.name in seen:
            msg = f"every photo of an index needs a name of its own; {photo.name!r} stands twice."
            raise ValueError(msg)
        seen.add(photo.name)


@contextmanager
def _alone(partial: Path, folder: Path) -> Iterator[None]:
    """One builder per folder; the lock goes with the process, however it ends."""
    path = partial / LOCK
    with writing_to(partial):
        partial.mkdir(parents=True, exist_ok=True)
        path.touch()
        file = path.stat().st_ino
    try:
        with exclusive(path):
            # Another builder may have finished, or given up, between our first look and the lock.
            if folder.exists() or not path.exists() or path.stat().st_ino != file:
                if folder.exists():
                    shutil.rmtree(partial, ignore_errors=True)  # made by our look for the lock
                msg = f"{folder} was built by another process meanwhile; use it or choose another name."
                raise FileExistsError(msg)
            yield
    except LockedError:
        msg = f"another process is building {folder} now; wait for it or choose another name."
        raise FileExistsError(msg) from None
