"""A finished index, opened: searched by layer, and cut into patches and receptive fields."""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from corrcore import images
from corrcore.concurrency import Progress, default_device, travelling
from corrcore.engines.knn import Compression, DescriptorTable, Neighbours, Probing, SearchCluster
from corrcore.engines.knn.compressed import CompressedTable, load_faiss
from corrcore.engines.knn.held import HeldTable
from corrcore.features import Extractor, Image
from corrcore.geometry import WINDOW_STRIDES, CellGrid, ReceptiveField
from corrcore.patch_index import copies
from corrcore.patch_index.columns import PhotoColumns
from corrcore.patch_index.compressed import CompressedLayer, compress_layers, paths_of, search_digest
from corrcore.patch_index.files import (
    PIXELS,
    IndexDamagedError,
    IndexNotFoundError,
    PhotoEntry,
    command,
    content_digest,
    data_files,
    layer_files,
    missing_text,
    read_entries,
    read_manifest,
)
from corrcore.patch_index.journal import read_photo
from corrcore.settings import prepared_path


@dataclass(frozen=True)
class Cells:
    """Where patches of one layer lie: the picture (a photo at a scale, perhaps mirrored), and the cell in its grid.

    `photos` are numbers of the index's photos. All arrays have the shape of the ids that were located.
    """

    pictures: Int[np.ndarray, "*shape"]
    photos: Int[np.ndarray, "*shape"]
    scales: Float[np.ndarray, "*shape"]
    mirrored: Bool[np.ndarray, "*shape"]
    rows: Int[np.ndarray, "*shape"]
    columns: Int[np.ndarray, "*shape"]


class PatchIndex:
    """A finished index, opened. Nothing but its manifest and journal is read until it is searched, on `device`
    (CUDA, else CPU) or by the cluster `search_on`, with the same results; nothing is written or locked but by
    `compress`. With `probing` searches are made here and are approximate, by descriptors that `compress` has written
    before: `exact` is False, and the `digest` is another.

    `digest` names the content: results are cached under it. `extractor` names what described the photos. `photos` are
    the names of the photos in it, and `held_out` those that were left out on purpose. Row ``i`` of the picture arrays
    (`photo_of`, `scales`, `mirrored`, `widths`, `heights`) is one photo at one scale, perhaps mirrored. An index that
    is pickled is opened again by its path, and searched where it is opened.

    Raises IndexUnfinishedError or IndexNotFoundError where there is no index, and IndexDamagedError where it is of
    another format, or its manifest or journal is not whole; with `probing`, too, where there are no compressed
    descriptors, or another index's, and ValueError where faiss is missing.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        device: torch.device | str | None = None,
        search_on: SearchCluster | None = None,
        probing: Probing | None = None,
    ) -> None:
        if search_on is not None and probing is not None:
            msg = "an index is searched on a cluster exactly; give search_on or probing."
            raise ValueError(msg)
        self.folder, self.search_on = prepared_path(folder), search_on
        self.device = torch.device(device) if device is not None else default_device()
        self.manifest = read_manifest(self.folder)
        self.name = self.folder.name
        self.extractor = self.manifest.settings.extractor
        self.extractor_digest = self.manifest.settings.extractor_digest
        self.layers = self.manifest.settings.layers
        self.probing = probing
        self.digest = self.manifest.digest if probing is None else self._search_digest(probing)
        self.window_strides = WINDOW_STRIDES
        self.held_out = self.manifest.held_out
        self._photos = PhotoColumns(read_entries(self.folder, self.layers), self.layers)
        self.photos, self._pictures, self._grids = self._photos.names, self._photos.pictures, self._photos.grids
        self.photo_of, self.scales = self._pictures.photo_of, self._pictures.scales
        self.mirrored, self.widths, self.heights = (
            self._pictures.mirrored,
            self._pictures.widths,
            self._pictures.heights,
        )
        self._first_row = {
            layer: np.concatenate([[0], np.cumsum(grid.prod(axis=1))]) for layer, grid in self._grids.items()
        }
        self._tables: dict[str, DescriptorTable | HeldTable | CompressedTable] = {}
        self._tables_lock = threading.Lock()
        self._mapped: dict[str, tuple[np.memmap, np.memmap, np.memmap]] = {}
        self._by_window: dict[int, PatchIndex] = {WINDOW_STRIDES: self}

    def __reduce__(self) -> tuple[Callable[[str, int], "PatchIndex"], tuple[str, int]]:
        opened = partial(_reopened, device=travelling(self.device), probing=self.probing)
        return opened, (str(self.folder), self.window_strides)

    @property
    def exact(self) -> bool:
        """Whether searches find all nearest neighbours."""
        return self.probing is None

    @property
    def search_text(self) -> str:
        """How it is searched, in words."""
        return "exact search" if self.probing is None else self.probing.text

    @property
    def windowed(self) -> bool:
        """Whether another square stands for the field of some layer."""
        return any(field.windowed for field in self.manifest.receptive_fields.values())

    def with_window(self, strides: int) -> "PatchIndex":
        """The same index with another square standing for fields without a size (`ReceptiveField.window_px`); itself
        where all fields have one.

        It shares what is open and has the same digest: what depends on the window is to be filed under its size, too.
        Raises ValueError for fewer than 6 strides.
        """
        own = self.manifest.receptive_fields
        fields = {layer: replace(field, window_strides=strides) for layer, field in own.items()}
        with self._tables_lock:
            if not self.windowed:
                return self
            if strides not in self._by_window:
                other = PatchIndex.__new__(PatchIndex)
                other.__dict__.update(self.__dict__)
                other.window_strides = strides
                other.manifest = replace(self.manifest, receptive_fields=fields)
                self._by_window[strides] = other
            return self._by_window[strides]

    @property
    def skipped(self) -> dict[str, str]:
        """Photos that could not be used, and why."""
        return dict(self.manifest.skipped)

    @property
    def n_pictures(self) -> int:
        """Photos at every scale, mirrored or not."""
        return len(self._pictures)

    @property
    def n_bytes(self) -> int:
        """Size on disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def n_patches(self, layer: str, *, exclude: Collection[int] = ()) -> int:
        """Patches of a layer, without those of the photos in `exclude`: the most neighbours a search can find."""
        rows = np.diff(self._first_row[self._known(layer)])
        return int(rows[~np.isin(self.photo_of, list(exclude))].sum())

    def receptive_field(self, layer: str) -> ReceptiveField:
        """Size, stride and offset of a layer. Raises ValueError for a layer the index does not have."""
        return self.manifest.receptive_fields[self._known(layer)]

    def photos_like(self, image: Image, *, near: bool = True) -> list[int]:
        """The photos an image must not be rebuilt from: itself, and its copies.

        Itself is a photo with exactly these pixels, as they were or as shrunk to `longer_side`; with `near`, also one
        that shows the same enlarged, shrunk, recompressed or mirrored (`corrcore.patch_index.copies` has the threshold
        and its false alarms).
        """
        fingerprint = copies.fingerprint(image) if near else None
        return self._photos.like(images.digest(image), fingerprint, self.photo)

    def check_made_by(self, extractor: Extractor) -> None:
        """Raises ValueError unless the extractor is the one that described the photos."""
        if self.extractor_digest != extractor.digest:
            msg = (
                f"index {self.name} was made by {self.extractor} with weights {self.extractor_digest[:8]}; "
                f"got {extractor.name} with {extractor.digest[:8]}. Choose that network, or build the index again."
            )
            raise ValueError(msg)

    def photo(self, number: int) -> Image:
        """A photo's pixels as they were indexed at its largest scale."""
        return self.picture(self._pictures.largest(number))

    def picture(self, number: int) -> Image:
        """The pixels of one picture: a photo at a scale, perhaps mirrored."""
        return self._pictures.pixels(number, self._pixels)

    def picture_title(self, number: int) -> str:
        """A picture's photo by name, and whether it is mirrored."""
        return self.photos[self.photo_of[number]] + (", mirrored" if self.mirrored[number] else "")

    def search(
        self,
        layer: str,
        descriptors: Float[torch.Tensor, "queries channels"],
        k: int,
        *,
        exclude: Iterable[int] = (),
        progress: Progress | None = None,
    ) -> Neighbours:
        """The `k` patches of a layer most similar to each descriptor by cosine; ties go to the lower id. All of them,
        unless the index was opened with `probing` (`Neighbours.exact`).

        No patch of the photos in `exclude` is considered, at no scale and not mirrored. Raises ValueError where `k`
        is more than what is left.
        """
        table = self._table(self._known(layer))
        self._release(keep=layer)
        first_row = self._first_row[layer]
        pictures = np.flatnonzero(np.isin(self.photo_of, list(exclude)))
        ranges = [(int(first_row[picture]), int(first_row[picture + 1])) for picture in pictures]
        report = None if progress is None else lambda done: progress(done, f"searching {layer}")
        return table.search(descriptors, k, exclude=ranges, progress=report)

    def descriptors(self, layer: str, ids: Int[np.ndarray, " cells"]) -> Float[torch.Tensor, "cells channels"]:
        """The unit descriptors of patches, in single precision."""
        return torch.from_numpy(np.asarray(self._arrays(layer)[0][ids], dtype=np.float32))

    def locate(self, layer: str, ids: Int[np.ndarray, "*shape"]) -> Cells:
        """The photo, picture, row and column of patches."""
        pictures = np.searchsorted(self._first_row[self._known(layer)], ids, side="right") - 1
        rows, columns = np.divmod(ids - self._first_row[layer][pictures], self._grids[layer][pictures, 1])
        return Cells(pictures, self.photo_of[pictures], self.scales[pictures], self.mirrored[pictures], rows, columns)

    def centres(self, layer: str, ids: Int[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 2"]:
        """The centres of patches, (x, y) in pixels of their photos as indexed at scale 1, not mirrored.

        To within a pixel, for the sizes of scaled pictures are rounded.
        """
        cells, field = self.locate(layer, ids), self.receptive_field(layer)
        x, y = (field.offset + field.stride * each for each in (cells.columns, cells.rows))
        x = np.where(cells.mirrored, self.widths[cells.pictures] - 1 - x, x)
        return (np.stack([x, y], axis=-1) + 0.5) / cells.scales[..., None] - 0.5

    def id_at(self, layer: str, picture: int, row: int, column: int) -> int:
        """The id of the patch of one cell of a picture: the inverse of `locate`."""
        return int(self._first_row[self._known(layer)][picture] + row * self._grids[layer][picture, 1] + column)

    def grid(self, layer: str, picture: int) -> CellGrid:
        """The cells of a layer over one picture."""
        rows, columns = self._grids[self._known(layer)][picture]
        size = (int(self.widths[picture]), int(self.heights[picture]))
        return CellGrid(self.receptive_field(layer), int(rows), int(columns), size)

    def cut_patches(self, layer: str, ids: Int[np.ndarray, " cells"]) -> UInt8[np.ndarray, "cells side side 3"]:
        """The patches themselves, one stride wide. A cell near the border may own pixels outside: those are black."""
        return self._cut(layer, ids, self.receptive_field(layer).stride)[0]

    def cut_receptive_fields(
        self, layer: str, ids: Int[np.ndarray, " cells"]
    ) -> tuple[UInt8[np.ndarray, "cells side side 3"], Bool[np.ndarray, "cells side side"]]:
        """The squares around patches that stand for their receptive fields (`ReceptiveField.window_px`), and which
        pixels lie inside the picture.
        """
        return self._cut(layer, ids, self.receptive_field(layer).window_px)

    def see_no_border(self, layer: str, ids: Int[np.ndarray, " cells"]) -> Bool[np.ndarray, " cells"]:
        """Whether patches' receptive fields, and the squares that stand for them, lie inside the picture."""
        cells, field = self.locate(layer, ids), self.receptive_field(layer)
        inside = np.ones(len(ids), bool)
        for each in (field, field.window):
            for along, sides in ((cells.columns, self.widths), (cells.rows, self.heights)):
                first = each.first_pixel(along, each.window_px)
                inside &= (first >= 0) & (first + each.window_px <= sides[cells.pictures])
        return inside

    def compress(self, compression: Compression | None = None, *, progress: Progress | None = None) -> None:
        """Writes compressed descriptors of every layer beside the index, for searches with `probing`.

        A layer that has them, made in the same way, is passed over. Raises as `corrcore.engines.knn.compress` does,
        IndexNotWrittenError, and LockedError where another process does so now.
        """
        rows = {layer: self._arrays(layer)[0] for layer in self.layers}
        compress_layers(self.folder, self.manifest.digest, rows, compression or Compression(), progress=progress)

    @property
    def is_compressed(self) -> bool:
        """Whether there are compressed descriptors of every layer beside it, of this index or another."""
        return not self.uncompressed

    @property
    def uncompressed(self) -> tuple[str, ...]:
        """The layers that are not compressed: some, where `compress` was stopped."""
        return tuple(layer for layer in self.layers if not paths_of(self.folder, layer)[1].exists())

    def compressed(self) -> dict[str, CompressedLayer]:
        """What is said of the compressed descriptors of each layer that has them, which `compress` writes.

        Raises IndexDamagedError where they are another index's, or not whole.
        """
        left = self.uncompressed
        return {layer: self._compressed(layer) for layer in self.layers if layer not in left}

    def _compressed(self, layer: str) -> CompressedLayer:
        return CompressedLayer.read(self.folder, layer, self.manifest.digest)

    def verify(self, *, progress: Progress | None = None) -> None:
        """Reads everything, with the compressed descriptors that there are, and compares it with the checksums taken
        when it was written; raises IndexDamagedError.
        """
        with ExitStack() as stack:
            files = {}
            for name in data_files(self.layers):
                if not (path := self.folder / name).exists():
                    raise IndexNotFoundError(missing_text(path))
                files[name] = stack.enter_context(path.open("rb"))

            def whole() -> Iterator[PhotoEntry]:
                for number, entry in enumerate(read_entries(self.folder, self.layers), start=1):
                    if read_photo(files, entry) is None:
                        msg = f"{self.folder} is damaged at photo {entry.photo!r}; {self._rebuild}"
                        raise IndexDamagedError(msg)
                    if progress is not None:
                        progress(min(1.0, number / len(self.photos)), "verifying")
                    yield entry

            found = content_digest(self.manifest.settings, whole())
            longer = any(file.read(1) for file in files.values())
        if longer or self.manifest.digest != found:
            msg = f"{self.folder} does not hold what its manifest says; {self._rebuild}"
            raise IndexDamagedError(msg)
        for layer, made in self.compressed().items():
            made.verify(self.folder, layer)

    @property
    def _rebuild(self) -> str:
        return f"remove it with {command('delete', self.folder)} and build it again."

    def _cut(
        self, layer: str, ids: Int[np.ndarray, " cells"], side: int
    ) -> tuple[UInt8[np.ndarray, "cells side side 3"], Bool[np.ndarray, "cells side side"]]:
        cells, field = self.locate(layer, ids), self.receptive_field(layer)
        left, top = field.first_pixel(cells.columns, side), field.first_pixel(cells.rows, side)
        return self._pictures.cut(cells.pictures, left, top, side, self._pixels)

    @cached_property
    def _pixels(self) -> Shaped[np.ndarray, "pixels 3"]:
        return self._map(PIXELS, np.uint8, (self._pictures.n_pixels, 3))

    def _search_digest(self, probing: Probing) -> str:
        load_faiss()
        layers = {layer: self._compressed(layer) for layer in self.layers}
        return search_digest(self.manifest.digest, layers, probing)

    def _table(self, layer: str) -> DescriptorTable | HeldTable | CompressedTable:
        with self._tables_lock:
            if layer not in self._tables:
                if self.probing is not None:
                    path, _ = paths_of(self.folder, layer)
                    self._tables[layer] = CompressedTable(self._arrays(layer)[0], path, probing=self.probing)
                elif self.search_on is None:
                    self._tables[layer] = self._placed(DescriptorTable(*self._arrays(layer)))
                else:
                    arrays = {each: self._arrays(each) for each in self.layers}
                    self._tables |= self.search_on.hold(arrays, title=f"index {self.name}")
            return self._tables[layer]

    def _placed(self, table: DescriptorTable) -> DescriptorTable:
        """On the device; where that has no room, though other layers leave it, in the files, for the processor."""
        for _ in range(2):
            try:
                return table.to(self.device)
            except torch.OutOfMemoryError:
                self._tables.clear()
        return table

    def _arrays(self, layer: str) -> tuple[np.memmap, np.memmap, np.memmap]:
        if layer not in self._mapped:
            rows, channels = self.n_patches(layer), self.manifest.channels[layer]
            descriptors, codes, scales = layer_files(layer)
            self._mapped[layer] = (
                self._map(descriptors, np.float16, (rows, channels)),
                self._map(codes, np.int8, (rows, channels)),
                self._map(scales, np.float32, (rows,)),
            )
        return self._mapped[layer]

    def _release(self, *, keep: str) -> None:
        """Searching one layer lets go of the others' pages: memory stays that of the largest layer."""
        for layer, table in list(self._tables.items()):
            if layer != keep:
                table.release()

    def _map(self, name: str, dtype: type, shape: tuple[int, ...]) -> np.memmap:
        path = self.folder / name
        expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if not path.exists():
            raise IndexNotFoundError(missing_text(path))
        if (size := path.stat().st_size) != expected:
            msg = f"{path} must have {expected} bytes; it has {size}. It is damaged: {self._rebuild}"
            raise IndexDamagedError(msg)
        return np.memmap(path, dtype, "r", shape=shape)

    def _known(self, layer: str) -> str:
        if layer not in self.layers:
            msg = f"layer of index {self.name} must be one of {', '.join(self.layers)}; got {layer!r}."
            raise ValueError(msg)
        return layer


def _reopened(folder: str, window_strides: int, *, device: str | None, probing: Probing | None) -> PatchIndex:
    return PatchIndex(folder, device=device, probing=probing).with_window(window_strides)
