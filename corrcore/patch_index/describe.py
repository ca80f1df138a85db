"""Describing photos, side by side: what each adds to an index's files, and what of an earlier build still holds."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from corrcore.patch_index.files import PIXELS, BuildSettings, PhotoEntry, Picture, SkippedPhoto, data_files, layer_files
from corrcore.patch_index.journal import Entry, JournalWriter, checksum

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


@dataclass(frozen=True)
class Told:
    """A build's progress, told in photos."""

    progress: Progress | None
    n_photos: int

    def __call__(self, done: int, text: str) -> None:
        """That so many photos are done."""
        if self.progress is not None:
            self.progress(done / self.n_photos, f"{done} of {self.n_photos} photos{text}")


def unchanged(
    photos: Sequence[Photo],
    entries: Sequence[Entry],
    settings: BuildSettings,
    extractor: Extractor,
    told: Callable[[int, str], None],
) -> list[Entry]:
    """The entries of an earlier build that are still of these photos, up to the first that is not.

    A photo that could not be used is tried again, for it may have been mended or its drive connected.
    """
    kept: list[Entry] = []

    def is_same(pair: tuple[Photo, Entry], stopped: threading.Event) -> bool:
        photo, entry = pair
        if photo.name != entry.photo:
            return False
        if isinstance(entry, PhotoEntry):
            return _stamp(photo) == entry.stamp
        return _describe(photo, settings, extractor, stopped)[0] == entry

    def report() -> None:
        told(len(kept), " are done and checked")

    pairs = list(zip(photos, entries, strict=False))
    for (_, entry), same in zip(pairs, _in_background(is_same, pairs, report) if pairs else (), strict=True):
        if not same:
            break
        kept.append(entry)
    return kept


def describe_rest(
    photos: Sequence[Photo],
    journal: JournalWriter,
    settings: BuildSettings,
    extractor: Extractor,
    told: Callable[[int, str], None],
    *,
    n_threads: int | None = None,
) -> None:
    """Describes those of `photos` that the journal does not have yet in several threads, and writes them in order."""
    begun, before = time.monotonic(), len(journal.entries)

    def report() -> None:
        done = len(journal.entries)
        told(done, f", {(done - before) / max(time.monotonic() - begun, 1e-3):.1f} per second")

    def describe(photo: Photo, stopped: threading.Event) -> tuple[Entry, Arrays]:
        return _describe(photo, settings, extractor, stopped)

    rest = photos[before:]
    for entry, arrays in _in_background(describe, rest, report, n_threads=n_threads) if rest else ():
        journal.add(entry, arrays)
        report()


class _StoppedError(Exception):
    """Work that nobody waits for any more."""


def _in_background(
    work: Callable[[Item, threading.Event], Result],
    items: Sequence[Item],
    beat: Callable[[], None],
    *,
    n_threads: int | None = None,
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
            concurrency.map_in_order(lambda item: work(item, stopped), items, put, n_threads=n_threads)
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
