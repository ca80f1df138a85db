"""A database of patches: the descriptors of many photos, and their pixels, ready to be searched and cut.

An index is a folder: one memory-mapped file a layer of half-precision unit descriptors (and of their 8-bit codes,
see `corrcore.neighbours`), one file of raw pixels, from which patches and receptive fields are cut without decoding
anything, and a manifest. Photos may enter at several scales and mirrored (Long, Zhang and Darrell 2014, Section 3,
use at least one million patches a layer).

While it is built, the folder carries the suffix ``.partial`` and a journal says how many photos are safely on disk,
so that a build that is cancelled or killed goes on where it was. Only a finished index ever bears its name.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable
from uuid import uuid4

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch.nn import functional as F

from corrcore import concurrency, images
from corrcore.concurrency import default_device
from corrcore.datasets.samples import one_of_each_scene
from corrcore.engines.knn import DescriptorTable, Neighbours, quantise
from corrcore.features import Extractor, Image
from corrcore.geometry import CellGrid, ReceptiveField
from corrcore.store import default_folder

FORMAT = 2
SAMPLES = "samples"  # what names of indexes begin with that are not the user's
DELETING = ".deleting"
LONGER_SIDE_PX = 500  # PASCAL VOC's
CHECKPOINT_EVERY = 32  # photos between two points to which a killed build returns
SAMPLE_SCALES = (1.0, 0.7, 0.5)
CROP_PIXELS = 1 << 22  # pixels gathered at once when crops are cut


class IndexNotFoundError(FileNotFoundError):
    """There is no finished index in a folder. The text says how to build one."""


class IndexDamagedError(OSError):
    """An index's files do not fit its manifest. The text says which, and how to mend it."""


@runtime_checkable
class Photo(Protocol):
    """What an index is built from: a name, and pixels when asked."""

    @property
    def name(self) -> str: ...

    def load(self) -> Image: ...

    # A `stamp`, where a photo has one, changes with its content: a build is not continued with other photos.


Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Cells:
    """Where patches of one layer lie: the picture (a photo at a scale, perhaps mirrored), and the cell in its grid."""

    pictures: Int[np.ndarray, " cells"]
    rows: Int[np.ndarray, " cells"]
    columns: Int[np.ndarray, " cells"]


class PatchIndex:
    """A finished index, opened. Nothing but its manifest is read until it is searched, on `device` (CUDA, else CPU).

    `digest` names the content: results are cached under it. `photos` are the names of the photos in it and
    `held_out` those that were deliberately left out. Row ``i`` of the picture arrays (`photo_of`, `scales`,
    `mirrored`, `widths`, `heights`) is one photo at one scale, perhaps mirrored.
    """

    def __init__(self, folder: str | os.PathLike, *, device: torch.device | str | None = None) -> None:
        self.folder = Path(folder)
        self.device = torch.device(device) if device is not None else default_device()
        manifest = self.folder / "manifest.json"
        if not manifest.is_file():
            msg = (
                f"there is no patch index in {self.folder}; build one with "
                f"`corrcore index build PHOTOS --name {self.folder.name}` or on the app's Data page."
            )
            raise IndexNotFoundError(msg)
        self.manifest: dict[str, Any] = json.loads(manifest.read_text())
        if self.manifest.get("format") != FORMAT:
            found = self.manifest.get("format")
            msg = f"{self.folder} has format {found!r}, this version reads {FORMAT}; delete it and build it again."
            raise IndexDamagedError(msg)
        self.name = self.folder.name
        self.digest: str = self.manifest["digest"]
        self.backbone: str = self.manifest["settings"]["backbone"]
        self.backbone_digest: str = self.manifest["settings"]["backbone_digest"]
        self.layers: tuple[str, ...] = tuple(self.manifest["settings"]["layers"])
        self.photos: tuple[str, ...] = tuple(entry["photo"] for entry in self._entries)
        self.held_out: tuple[str, ...] = tuple(self.manifest["held_out"])
        pictures = [(n, *copy) for n, entry in enumerate(self._entries) for copy in entry["copies"]]
        self.photo_of = np.array([picture[0] for picture in pictures])
        self.scales = np.array([picture[1] for picture in pictures])
        self.mirrored = np.array([picture[2] for picture in pictures], dtype=bool)
        self.widths, self.heights = (np.array([picture[axis] for picture in pictures]) for axis in (3, 4))
        # A mirrored picture is cut from the pixels of the one before it.
        stored = np.where(self.mirrored, 0, self.widths * self.heights)
        self._first_pixel = np.cumsum(stored) - np.maximum(stored, np.roll(stored, 1) * self.mirrored)
        self._n_pixels = int(stored.sum())
        self._grids = {
            layer: np.array([grid for entry in self._entries for grid in entry["grids"][layer]])
            for layer in self.layers
        }
        self._first_row = {
            layer: np.concatenate([[0], np.cumsum(grid.prod(axis=1))]) for layer, grid in self._grids.items()
        }
        self._tables: dict[str, DescriptorTable] = {}
        self._tables_lock = threading.Lock()

    @cached_property
    def _entries(self) -> list[dict[str, Any]]:
        with (self.folder / "photos.jsonl").open() as lines:
            return [entry for line in lines if "copies" in (entry := json.loads(line))]

    @property
    def skipped(self) -> dict[str, str]:
        """Photos that could not be used, and why."""
        return self.manifest["skipped"]

    @property
    def n_bytes(self) -> int:
        """Size on disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def n_patches(self, layer: str, *, exclude: Collection[int] = ()) -> int:
        """Patches of a layer, without those of the photos in `exclude`: the most neighbours a search can find."""
        rows = np.diff(self._first_row[self._known(layer)])
        return int(rows[~np.isin(self.photo_of, list(exclude))].sum())

    def field(self, layer: str) -> ReceptiveField:
        return ReceptiveField(**self.manifest["fields"][self._known(layer)])

    def photos_like(self, image: Image) -> list[int]:
        """The photos with exactly these pixels, as they were or as shrunk to `longer_side`.

        That is what an image must not be rebuilt from.
        """
        digest = images.digest(image)
        return [number for number, entry in enumerate(self._entries) if digest in entry["digests"]]

    def check_made_by(self, extractor: Extractor) -> None:
        """Raises ValueError unless the network is the one that described the photos."""
        if self.backbone_digest != extractor.digest:
            msg = (
                f"index {self.name} was made by {self.backbone} with weights {self.backbone_digest[:8]}; "
                f"got {extractor.name} with {extractor.digest[:8]}. Choose that network, or build the index again."
            )
            raise ValueError(msg)

    def photo(self, number: int) -> Image:
        """A photo's pixels as they were indexed at its largest scale."""
        pictures = np.flatnonzero((self.photo_of == number) & ~self.mirrored)
        return self.picture(int(pictures[np.argmax(self.scales[pictures])]))

    def picture(self, number: int) -> Image:
        """The pixels of one picture: a photo at a scale, perhaps mirrored."""
        width, height, first = self.widths[number], self.heights[number], self._first_pixel[number]
        pixels = np.array(self._pixels[first : first + width * height]).reshape(height, width, 3)
        return np.ascontiguousarray(pixels[:, ::-1]) if self.mirrored[number] else pixels

    def search(
        self,
        layer: str,
        descriptors: Float[torch.Tensor, "queries channels"],
        k: int,
        *,
        exclude: Iterable[int] = (),
        progress: Progress | None = None,
    ) -> Neighbours:
        """The `k` patches of a layer most similar to each descriptor by cosine, exactly; ties go to the lower id.

        No patch of the photos in `exclude` is considered, at no scale and not mirrored. Raises ValueError where `k`
        is more than what is left.
        """
        table = self._table(layer)
        self._release(keep=layer)
        first_row = self._first_row[layer]
        pictures = np.flatnonzero(np.isin(self.photo_of, list(exclude)))
        ranges = [(int(first_row[picture]), int(first_row[picture + 1])) for picture in pictures]
        report = None if progress is None else lambda done: progress(done, f"searching {layer}")
        return table.search(descriptors, k, exclude=ranges, progress=report)

    def descriptors(self, layer: str, ids: Int[np.ndarray, " cells"]) -> Float[torch.Tensor, "cells channels"]:
        """The unit descriptors of patches, in single precision."""
        return torch.from_numpy(np.asarray(self._table(layer).descriptors[ids], dtype=np.float32))

    def locate(self, layer: str, ids: Int[np.ndarray, " cells"]) -> Cells:
        """The picture, row and column of patches."""
        pictures = np.searchsorted(self._first_row[self._known(layer)], ids, side="right") - 1
        rows, columns = np.divmod(ids - self._first_row[layer][pictures], self._grids[layer][pictures, 1])
        return Cells(pictures, rows, columns)

    def ids(self, layer: str, cells: Cells) -> Int[np.ndarray, " cells"]:
        """The ids of cells: the inverse of `locate`."""
        columns = self._grids[self._known(layer)][cells.pictures, 1]
        return self._first_row[layer][cells.pictures] + cells.rows * columns + cells.columns

    def grid(self, layer: str, picture: int) -> CellGrid:
        """The cells of a layer over one picture."""
        rows, columns = self._grids[self._known(layer)][picture]
        size = (int(self.widths[picture]), int(self.heights[picture]))
        return CellGrid(self.field(layer), int(rows), int(columns), size)

    def cut_patches(self, layer: str, ids: Int[np.ndarray, " cells"]) -> UInt8[np.ndarray, "cells side side 3"]:
        """The patches themselves, one stride wide. A cell near the border may own pixels outside: those are black."""
        return self._cut(layer, ids, self.field(layer).stride)[0]

    def cut_receptive_fields(
        self, layer: str, ids: Int[np.ndarray, " cells"]
    ) -> tuple[UInt8[np.ndarray, "cells side side 3"], Bool[np.ndarray, "cells side side"]]:
        """The whole receptive fields of patches, and which of their pixels lie inside the picture."""
        return self._cut(layer, ids, self.field(layer).size)

    def verify(self, *, progress: Progress | None = None) -> None:
        """Reads everything and compares it with the checksums taken when it was written; raises IndexDamagedError."""
        files = {name: (self.folder / name).open("rb") for name in _data_files(self.layers)}
        try:
            for number, entry in enumerate(self._entries):
                check = 0
                for name, n_bytes in _entry_bytes(entry, self.manifest["channels"]).items():
                    check = zlib.crc32(files[name].read(n_bytes), check)
                if check != entry["check"]:
                    msg = f"{self.folder} is damaged at photo {entry['photo']!r}; delete the folder and build it again."
                    raise IndexDamagedError(msg)
                if progress is not None:
                    progress((number + 1) / len(self._entries), "verifying")
            longer = [name for name, file in files.items() if file.read(1)]
            if longer or self.digest != _content(self.manifest["settings"], self._entries):
                msg = f"{self.folder} does not hold what its manifest says; delete the folder and build it again."
                raise IndexDamagedError(msg)
        finally:
            for file in files.values():
                file.close()

    def _cut(
        self, layer: str, ids: Int[np.ndarray, " cells"], side: int
    ) -> tuple[UInt8[np.ndarray, "cells side side 3"], Bool[np.ndarray, "cells side side"]]:
        cells, field = self.locate(layer, ids), self.field(layer)
        width, height = self.widths[cells.pictures, None], self.heights[cells.pictures, None]
        x = field.first_pixel(cells.columns, side)[:, None] + np.arange(side)
        y = field.first_pixel(cells.rows, side)[:, None] + np.arange(side)
        valid = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
        # A row of a crop is one run of the file, copied whole. Runs that leave their picture bring neighbouring
        # pixels along, which are not valid. Mirrored pictures are cut at the mirrored place and turned round.
        mirrored = self.mirrored[cells.pictures]
        left = np.where(mirrored, width[:, 0] - x[:, -1] - 1, x[:, 0])
        starts = (self._first_pixel[cells.pictures] + left)[:, None] + np.clip(y, 0, height - 1) * width
        whole = np.all(valid, axis=(1, 2))
        crops = np.empty((len(ids), side, side, 3), np.uint8)
        step = max(1, CROP_PIXELS // side**2)
        for begin in range(0, len(ids), step):
            part = slice(begin, begin + step)
            crops[part] = self._runs(starts[part], side)
            turned, cut = begin + np.flatnonzero(mirrored[part]), begin + np.flatnonzero(~whole[part])
            crops[turned] = crops[turned, :, ::-1]
            crops[cut] *= valid[cut, ..., None]
        return crops, valid

    def _runs(self, starts: Int[np.ndarray, "n rows"], length: int) -> UInt8[np.ndarray, "n rows length 3"]:
        """Runs of pixels of the file; what lies before its first or after its last pixel is anything."""
        if length > self._n_pixels:
            flat = np.clip(starts[..., None] + np.arange(length), 0, self._n_pixels - 1)
            return self._pixels[flat]
        within = np.clip(starts, 0, self._n_pixels - length)
        windows = np.lib.stride_tricks.sliding_window_view(self._pixels.reshape(-1), 3 * length)
        runs = windows[3 * within].reshape(*starts.shape, length, 3)
        for place in zip(*np.nonzero(within != starts), strict=True):
            runs[place] = np.roll(runs[place], within[place] - starts[place], axis=0)
        return runs

    @cached_property
    def _pixels(self) -> Shaped[np.ndarray, "pixels 3"]:
        return self._map("pixels.u8", np.uint8, (self._n_pixels, 3))

    def _table(self, layer: str) -> DescriptorTable:
        with self._tables_lock:
            if layer not in self._tables:
                rows, channels = self.n_patches(layer), self.manifest["channels"][layer]
                table = DescriptorTable(
                    self._map(f"{layer}.f16", np.float16, (rows, channels)),
                    self._map(f"{layer}.i8", np.int8, (rows, channels)),
                    self._map(f"{layer}.f32", np.float32, (rows,)),
                )
                self._tables[layer] = table.to(self.device)
            return self._tables[layer]

    def _release(self, *, keep: str) -> None:
        """Searching one layer lets go of the others' pages: memory stays that of the largest layer."""
        for layer, table in list(self._tables.items()):
            if layer != keep:
                table.release()

    def _map(self, name: str, dtype: type, shape: tuple[int, ...]) -> np.memmap:
        path = self.folder / name
        expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
        size = path.stat().st_size if path.is_file() else 0
        if size != expected:
            msg = f"{path} must have {expected} bytes; it has {size}. Delete {self.folder} and build it again."
            raise IndexDamagedError(msg)
        return np.memmap(path, dtype, "r", shape=shape)

    def _known(self, layer: str) -> str:
        if layer not in self.layers:
            msg = f"layer of index {self.name} must be one of {', '.join(self.layers)}; got {layer!r}."
            raise ValueError(msg)
        return layer


def build(
    photos: Sequence[Photo],
    folder: str | os.PathLike,
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
    `progress(share, text)` is called after every photo; an exception raised in it stops the build, and the next
    call with the same arguments goes on from the last checkpoint, as it does after a kill.

    Raises FileExistsError where `folder` exists, ValueError for bad arguments or when no photo could be used.
    """
    folder = Path(folder)
    layers = tuple(layers or extractor.roles.reconstruction)
    scales = tuple(float(scale) for scale in scales)
    if folder.exists():
        msg = f"{folder} already exists; choose another name or delete it first."
        raise FileExistsError(msg)
    if not scales or min(scales) <= 0 or max(scales) > 4:
        msg = f"scales must be between 0 and 4 (1 keeps a photo's own size); got {scales}."
        raise ValueError(msg)
    names = [photo.name for photo in photos]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        msg = f"every photo of an index needs a name of its own; {twice!r} stands twice."
        raise ValueError(msg)
    settings = {
        "backbone": extractor.name,
        "backbone_digest": extractor.digest,
        "layers": list(layers),
        "scales": list(scales),
        "mirror": mirror,
        "longer_side": longer_side,
    }
    stamps = [getattr(photo, "stamp", "") for photo in photos]
    identity = _digest(json.dumps([FORMAT, settings, names, stamps, list(held_out)]))
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    with _locked(partial, folder), _Writer(partial, identity, names, layers) as writer:
        begun, before = time.monotonic(), len(writer.entries)

        def describe(photo: Photo) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
            return _describe(photo.name, _prepare(photo, scales, longer_side), extractor, layers, mirror)

        def add(described: tuple[dict[str, Any], dict[str, list[np.ndarray]]]) -> None:
            writer.add(described)
            if progress is not None:
                done = len(writer.entries)
                rate = (done - before) / (time.monotonic() - begun)
                progress(done / len(photos), f"{done} of {len(photos)} photos, {rate:.1f} a second")

        concurrency.map_in_order(describe, photos[before:], add)
        writer.checkpoint()
        entries = writer.entries
        used = [entry for entry in entries if "copies" in entry]
        if not used:
            reason = next(iter(entries), {"skipped": "there were none"})["skipped"]
            shutil.rmtree(partial)
            msg = f"none of {len(photos)} photos could be used; the first: {reason}"
            raise ValueError(msg)
        manifest = {
            "format": FORMAT,
            "digest": _content(settings, used),
            "settings": settings,
            "fields": {layer: asdict(extractor.receptive_field(layer)) for layer in layers},
            "channels": used[0]["channels"],
            "skipped": {entry["photo"]: entry["skipped"] for entry in entries if "skipped" in entry},
            "held_out": list(held_out),
        }
        writer.finish(manifest)
        partial.rename(folder)  # while the lock is held: nobody else begins in between
        _sync_folder(folder.parent)
    return PatchIndex(folder, device=extractor.device)


def samples(
    extractor: Extractor, *, root: str | os.PathLike | None = None, progress: Progress | None = None
) -> PatchIndex:
    """The index of the photographs that come with this package's dependencies, built at first use in seconds.

    Each at three scales and mirrored: enough patches to see every page at work, far too few for good pictures.
    """
    content = _digest(json.dumps([FORMAT, extractor.digest, SAMPLE_SCALES, LONGER_SIDE_PX]))[:12]
    folder = Path(root or default_root()) / f"{SAMPLES}-{extractor.name}-{content}"
    if not folder.exists():
        try:
            photos = list(one_of_each_scene().values())
            return build(photos, folder, extractor=extractor, scales=SAMPLE_SCALES, mirror=True, progress=progress)
        except FileExistsError:  # another process has begun it meanwhile
            waiting = time.monotonic()
            while not folder.exists() and time.monotonic() - waiting < 60:
                time.sleep(0.1)
    return PatchIndex(folder, device=extractor.device)


def default_root() -> Path:
    """Where indexes live by name: ``indexes`` in the cache folder. They are never evicted."""
    return default_folder() / "indexes"


def delete(folder: str | os.PathLike) -> None:
    """Removes an index, or what there is of it if its build was stopped.

    Raises IndexNotFoundError if there is none, and FileExistsError while it is being built.
    """
    folder = Path(folder)
    found = [path for path in (folder, folder.with_name(folder.name + ".partial")) if path.exists()]
    if not found:
        msg = f"there is no patch index in {folder}, finished or begun; `corrcore index list` shows those there are."
        raise IndexNotFoundError(msg)
    for left in folder.parent.glob(f"{folder.name}.*{DELETING}"):  # by a deletion that was stopped
        shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as stack:
        if (lock := found[-1] / "lock").exists():
            opened = stack.enter_context(lock.open())
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                msg = f"{folder} is being built now; cancel the build first."
                raise FileExistsError(msg) from None
        # Renamed first: half a deletion never looks like an index.
        gone = [path.rename(path.with_name(f"{folder.name}.{uuid4().hex}{DELETING}")) for path in found]
    for path in gone:
        shutil.rmtree(path)


def list_indexes(root: str | os.PathLike) -> list[str]:
    """The names of the finished indexes in a folder."""
    return sorted(file.parent.name for file in Path(root).glob("*/manifest.json") if not file.parent.suffix)


def list_unfinished(root: str | os.PathLike) -> list[str]:
    """The names of the indexes whose build was stopped, or is running."""
    return sorted(folder.stem for folder in Path(root).glob("*.partial"))


def checked_name(name: str) -> str:
    """An index's name as given, if it can be a folder's name anywhere."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        msg = f"an index's name must be 1 to 64 letters, digits, '-' or '_'; got {name!r}."
        raise ValueError(msg)
    if name == SAMPLES or name.startswith(f"{SAMPLES}-"):
        msg = (
            f"an index's name must not begin with {SAMPLES!r}, which is the photographs' that come along; got {name!r}."
        )
        raise ValueError(msg)
    return name


@dataclass(frozen=True)
class _Prepared:
    """A decoded photo at each scale, or why it is left out."""

    digests: tuple[str, ...] = ()
    pictures: tuple[tuple[float, Image], ...] = ()
    reason: str = ""


def _prepare(photo: Photo, scales: Sequence[float], longer_side: int | None) -> _Prepared:
    try:
        image = photo.load()
    except (images.ImageError, OSError) as error:
        return _Prepared(reason=str(error))
    digests = [images.digest(image)]
    if longer_side is not None and max(image.shape[:2]) > longer_side:
        image = images.resize(image, longer_side=longer_side)
        digests.append(images.digest(image))
    height, width = image.shape[:2]
    pictures = []
    for scale in scales:
        size = {"height": max(1, round(height * scale)), "width": max(1, round(width * scale))}
        pictures.append((scale, image if scale == 1 else images.resize_to(image, **size)))
    return _Prepared(tuple(digests), tuple(pictures))


def _describe(
    name: str, prepared: _Prepared, extractor: Extractor, layers: Sequence[str], mirror: bool
) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """A photo's journal entry, and the arrays to be appended to each data file."""
    smallest = max(extractor.smallest_side(layer) for layer in layers)
    pictures = [(scale, image) for scale, image in prepared.pictures if min(image.shape[:2]) >= smallest]
    if not pictures:
        reason = prepared.reason or f"{name} is smaller than {smallest} x {smallest} px at every scale."
        return {"photo": name, "skipped": reason}, {}
    entry: dict[str, Any] = {"photo": name, "digests": list(prepared.digests), "copies": [], "channels": {}}
    entry["grids"] = {layer: [] for layer in layers}
    arrays: dict[str, list[np.ndarray]] = {file: [] for file in _data_files(layers)}
    for scale, image in pictures:
        height, width = image.shape[:2]
        batch = [image, np.ascontiguousarray(image[:, ::-1])] if mirror else [image]
        entry["copies"].extend([scale, number > 0, width, height] for number in range(len(batch)))
        arrays["pixels.u8"].append(image)
        for grids in extractor.extract_batch(batch, layers):
            for layer, grid in grids.items():
                rows, columns, entry["channels"][layer] = grid.descriptors.shape
                entry["grids"][layer].append([rows, columns])
                unit = F.normalize(grid.flat().float(), dim=1).half().cpu()
                codes, scale_of_row = quantise(unit)
                for file, array in zip(_layer_files(layer), (unit.numpy(), codes, scale_of_row), strict=True):
                    arrays[file].append(np.asarray(array))
    return entry, arrays


def _layer_files(layer: str) -> tuple[str, str, str]:
    return f"{layer}.f16", f"{layer}.i8", f"{layer}.f32"


def _data_files(layers: Sequence[str]) -> list[str]:
    return ["pixels.u8", *(file for layer in layers for file in _layer_files(layer))]


def _entry_bytes(entry: dict[str, Any], channels: dict[str, int]) -> dict[str, int]:
    """How many bytes a photo takes in each data file."""
    sizes = {"pixels.u8": sum(3 * width * height for _, mirrored, width, height in entry["copies"] if not mirrored)}
    for layer, grids in entry["grids"].items():
        cells = sum(rows * columns for rows, columns in grids)
        for file, width in zip(_layer_files(layer), (2 * channels[layer], channels[layer], 4), strict=True):
            sizes[file] = cells * width
    return sizes


def _content(settings: dict[str, Any], entries: list[dict[str, Any]]) -> str:
    """The name of an index's content."""
    return _digest(json.dumps([FORMAT, settings, entries]))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@contextmanager
def _locked(partial: Path, folder: Path) -> Iterator[None]:
    """One builder a folder; the lock goes with the process, however it ends."""
    path = partial / "lock"
    meanwhile = f"{folder} was built by another process meanwhile; use it or choose another name."
    try:
        opened = path.open("w")
    except FileNotFoundError:
        raise FileExistsError(meanwhile) from None
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"another process is building {folder} now; wait for it or choose another name."
            raise FileExistsError(msg) from None
        # Another builder may have finished between our first look and the lock.
        if folder.exists() or not path.exists() or os.fstat(lock.fileno()).st_ino != path.stat().st_ino:
            raise FileExistsError(meanwhile)
        yield


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Writer:
    """Appends photos to the data files and, at every checkpoint, to the journal: data first, both synced.

    A journal that belongs to other photos or settings is begun anew. Whatever was written after the last
    checkpoint is cut off when a build goes on.
    """

    def __init__(self, partial: Path, identity: str, names: Sequence[str], layers: Sequence[str]) -> None:
        self._partial = partial
        self._journal_path = partial / "photos.jsonl"
        self._pending: list[dict[str, Any]] = []
        self.entries = self._resume(identity, names, layers)
        self._data: dict[str, BinaryIO] = {name: (partial / name).open("ab") for name in _data_files(layers)}
        self._journal = self._journal_path.open("ab")
        if not self.entries:
            self._write_line({"identity": identity})
            self._sync()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, OSError):
            self.checkpoint()  # a cancelled build loses nothing
        for file in (*self._data.values(), self._journal):
            file.close()

    def _resume(self, identity: str, names: Sequence[str], layers: Sequence[str]) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        lengths = dict.fromkeys(_data_files(layers), 0)
        journal_length = 0
        on_disk = {name: _size(self._partial / name) for name in lengths}
        lines = self._journal_path.read_bytes().splitlines(keepends=True) if self._journal_path.exists() else []
        if lines and lines[0] == _line({"identity": identity}):
            journal_length = len(lines[0])
            for name, line in zip(names, lines[1:], strict=False):
                if not line.endswith(b"\n"):
                    break  # torn by a kill
                entry = json.loads(line)
                if entry["photo"] != name:
                    break
                sizes = _entry_bytes(entry, entry["channels"]) if "copies" in entry else {}
                if any(lengths[name] + size > on_disk[name] for name, size in sizes.items()):
                    break
                for name, size in sizes.items():
                    lengths[name] += size
                entries.append(entry)
                journal_length += len(line)
        if not entries:
            journal_length = 0
        for path, length in [(self._partial / name, length) for name, length in lengths.items()] + [
            (self._journal_path, journal_length)
        ]:
            with path.open("ab") as file:
                file.truncate(length)
        return entries

    def add(self, described: tuple[dict[str, Any], dict[str, list[np.ndarray]]]) -> None:
        entry, arrays = described
        check = 0  # against accidents; what was indexed is known by the photos' own digests
        for name, parts in arrays.items():
            for part in parts:
                data = np.ascontiguousarray(part).data
                check = zlib.crc32(data, check)
                self._data[name].write(data)
        if arrays:
            entry["check"] = check
        self.entries.append(entry)
        self._pending.append(entry)
        if len(self._pending) >= CHECKPOINT_EVERY:
            self.checkpoint()

    def checkpoint(self) -> None:
        for file in self._data.values():
            file.flush()
            os.fsync(file.fileno())
        pending, self._pending = self._pending, []
        self._journal.write(b"".join(map(_line, pending)))
        self._sync()

    def finish(self, manifest: dict[str, Any]) -> None:
        path = self._partial / "manifest.json"
        with path.open("w") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def _write_line(self, record: dict[str, Any]) -> None:
        self._journal.write(_line(record))

    def _sync(self) -> None:
        self._journal.flush()
        os.fsync(self._journal.fileno())


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
