"""Building an index of photos: described by an extractor, written as they come, gone on with after a stop."""

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Shaped
from torch.nn import functional as F

from corrcore import concurrency, images
from corrcore.concurrency import Progress
from corrcore.decoding import ImageError
from corrcore.engines.knn import quantise
from corrcore.features import Extractor, Image
from corrcore.patch_index import copies
from corrcore.patch_index.files import (
    LOCK,
    PIXELS,
    BuildSettings,
    Manifest,
    PhotoEntry,
    Picture,
    SkippedPhoto,
    content_digest,
    data_files,
    layer_files,
    partial_of,
    writing_to,
)
from corrcore.patch_index.index import PatchIndex
from corrcore.patch_index.journal import Entry, JournalWriter, checksum, read_checkpoint, sync_folder
from corrcore.settings import prepared_path
from corrcore.store.locks import LockedError, exclusive

LONGER_SIDE_PX = 500  # PASCAL VOC's
_BEAT_S = 0.3  # between two calls of a build's progress, at most
_PATIENCE_S = 1.0  # for threads that are reading or describing when a build is cancelled; they end by themselves

Item = TypeVar("Item")
Result = TypeVar("Result")
Arrays = Mapping[str, list[Shaped[np.ndarray, "..."]]]


@runtime_checkable
class Photo(Protocol):
    """What an index is built from: a name, and pixels when asked."""

    @property
    def name(self) -> str:
        """Its own among the photos of an index."""
        ...

    def load(self) -> Image:
        """Its pixels. Raises ImageError or OSError where there are none."""
        ...

    # A `stamp`, where a photo has one, changes with its content: a build does not go on with what was made of another.
    # It may cost a read of the file.


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
    partial = partial_of(folder)
    with _alone(partial, folder):
        kept = _unchanged(photos, read_checkpoint(partial, settings), settings, extractor, progress)
        with JournalWriter(partial, settings, kept=kept, n_photos=len(photos)) as journal:
            _describe_all(photos[len(kept) :], journal, len(photos), settings, extractor, progress)
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


def _unchanged(
    photos: Sequence[Photo],
    entries: Sequence[Entry],
    settings: BuildSettings,
    extractor: Extractor,
    progress: Progress | None,
) -> list[Entry]:
    """The entries of an earlier build that are still of these photos, up to the first that is not.

    A photo that could not be used is tried again, for it may have been mended or its drive connected.
    """
    kept: list[Entry] = []

    def report() -> None:
        if progress is not None:
            progress(len(kept) / len(photos), f"{len(kept)} of {len(photos)} photos are done and checked")

    def is_same(pair: tuple[Photo, Entry], stopped: threading.Event) -> bool:
        photo, entry = pair
        if photo.name != entry.photo:
            return False
        if isinstance(entry, PhotoEntry):
            return _stamp(photo) == entry.stamp
        return _describe(photo, settings, extractor, stopped)[0] == entry

    pairs = list(zip(photos, entries, strict=False))
    for (_, entry), same in zip(pairs, _in_background(is_same, pairs, report) if pairs else (), strict=True):
        if not same:
            break
        kept.append(entry)
    return kept


def _describe_all(
    photos: Sequence[Photo],
    journal: JournalWriter,
    n_photos: int,
    settings: BuildSettings,
    extractor: Extractor,
    progress: Progress | None,
) -> None:
    """Describes photos in several threads and writes them in order."""
    begun, before = time.monotonic(), len(journal.entries)

    def report() -> None:
        if progress is not None:
            done = len(journal.entries)
            rate = (done - before) / max(time.monotonic() - begun, 1e-3)
            progress(done / n_photos, f"{done} of {n_photos} photos, {rate:.1f} per second")

    def describe(photo: Photo, stopped: threading.Event) -> tuple[Entry, Arrays]:
        return _describe(photo, settings, extractor, stopped)

    for entry, arrays in _in_background(describe, photos, report) if photos else ():
        journal.add(entry, arrays)
        report()


class _StoppedError(Exception):
    """Work that nobody waits for any more."""


def _in_background(
    work: Callable[[Item, threading.Event], Result], items: Sequence[Item], beat: Callable[[], None]
) -> Iterator[Result]:
    """Results of `work` in order (`concurrency.map_in_order`), `beat` being called at once and while one is waited for.

    Whatever ends the caller's loop ends the work: its event is set, and what looks at it stops. A read that does not is
    left to itself, for it writes nothing.
    """
    results: queue.Queue[tuple[Result | None, BaseException | None, bool]] = queue.Queue(maxsize=2)
    stopped = threading.Event()

    def put(result: Result | None, error: BaseException | None = None, *, last: bool = False) -> None:
        while not stopped.is_set():
            try:
                results.put((result, error, last), timeout=0.1)
            except queue.Full:
                continue
            return
        raise _StoppedError

    def run() -> None:
        try:
            concurrency.map_in_order(lambda item: work(item, stopped), items, put)
        except _StoppedError:
            return
        except BaseException as error:  # raised again where the results are taken
            failed = error
        else:
            failed = None
        try:
            put(None, failed, last=True)
        except _StoppedError:
            return

    beat()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            try:
                result, error, last = results.get(timeout=_BEAT_S)
            except queue.Empty:
                beat()
                continue
            if error is not None:
                raise error
            if last:
                return
            yield result  # type: ignore[misc] - only the last is None
    finally:
        stopped.set()
        thread.join(_PATIENCE_S)


def _stamp(photo: Photo) -> str:
    """What a photo says of its content; nothing where it has no stamp, or its file is away."""
    try:
        return str(getattr(photo, "stamp", ""))
    except OSError:
        return ""


def _describe(
    photo: Photo, settings: BuildSettings, extractor: Extractor, stopped: threading.Event
) -> tuple[Entry, Arrays]:
    """A photo's journal entry, and the arrays to be appended to each data file."""
    if stopped.is_set():
        raise _StoppedError
    try:
        image = photo.load()
        stamp = str(getattr(photo, "stamp", ""))
    except ImageError as error:
        return SkippedPhoto(photo.name, str(error)), {}
    except OSError as error:
        reason = f"{photo.name} cannot be read ({error.strerror or error}); is its drive connected?"
        return SkippedPhoto(photo.name, reason), {}
    digests = [images.digest(image)]
    if settings.longer_side is not None and max(image.shape[:2]) > settings.longer_side:
        image = images.resize(image, longer_side=settings.longer_side)
        digests.append(images.digest(image))
    smallest = max(extractor.smallest_side(layer) for layer in settings.layers)
    pictures: list[Picture] = []
    grids: dict[str, list[tuple[int, int]]] = {layer: [] for layer in settings.layers}
    channels: dict[str, int] = {}
    arrays: dict[str, list[np.ndarray]] = {file: [] for file in data_files(settings.layers)}
    for scale in settings.scales:
        picture = _scaled(image, scale)
        height, width = picture.shape[:2]
        if min(height, width) < smallest:
            continue
        if stopped.is_set():
            raise _StoppedError
        batch = [picture, images.hflip(picture)] if settings.mirror else [picture]
        pictures.extend(Picture(scale, number > 0, width, height) for number in range(len(batch)))
        arrays[PIXELS].append(picture)
        for found in extractor.extract_batch(batch, settings.layers):
            for layer, grid in found.items():
                rows, columns, channels[layer] = grid.descriptors.shape
                grids[layer].append((rows, columns))
                unit = F.normalize(grid.flat().float(), dim=1).half().cpu()
                codes, code_scales = quantise(unit)
                for file, array in zip(layer_files(layer), (unit.numpy(), codes, code_scales), strict=True):
                    arrays[file].append(array)
    if not pictures:
        return SkippedPhoto(photo.name, f"{photo.name} is smaller than {smallest} x {smallest} px at every scale."), {}
    entry = PhotoEntry(
        photo=photo.name,
        digests=tuple(digests),
        pictures=tuple(pictures),
        channels=channels,
        grids={layer: tuple(sizes) for layer, sizes in grids.items()},
        check=checksum(arrays),
        stamp=stamp,
        fingerprint=copies.to_hex(copies.fingerprint(image)),
    )
    return entry, arrays


def _scaled(image: Image, scale: float) -> Image:
    height, width = image.shape[:2]
    if scale == 1:
        return image
    return images.resize_to(image, height=max(1, round(height * scale)), width=max(1, round(width * scale)))
