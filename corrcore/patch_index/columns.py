"""What an opened index remembers of its photos: columns, which take a tenth of the memory of their journal's lines."""

from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Int, UInt8

from corrcore.features import Image
from corrcore.patch_index import copies
from corrcore.patch_index.files import PhotoEntry
from corrcore.patch_index.pictures import PictureTable


class PhotoColumns:
    """The photos of an index: `names`, their `pictures`, and by layer the rows and columns of each picture's cells.

    Copies of a picture are found by digests and fingerprints (`like`).
    """

    def __init__(self, entries: Iterable[PhotoEntry], layers: Sequence[str]) -> None:
        names: list[str] = []
        counts, pictures = array("q"), array("d")
        cells = {layer: array("q") for layer in layers}
        digests: list[bytes] = []
        digest_counts, prints = array("q"), bytearray()
        self._unprinted: list[int] = []  # photos whose fingerprints were not taken, as in older indexes
        printed = array("q")
        for number, entry in enumerate(entries):
            names.append(entry.photo)
            counts.append(len(entry.pictures))
            digests += [digest.encode() for digest in entry.digests]
            digest_counts.append(len(entry.digests))
            for picture in entry.pictures:
                pictures.extend(picture)
            for layer in layers:
                for grid in entry.grids[layer]:
                    cells[layer].extend(grid)
            if entry.fingerprint is None:
                self._unprinted.append(number)
            elif (own := copies.from_hex(entry.fingerprint)) is not None:
                printed.append(number)
                prints += own.tobytes()
        self.names = tuple(names)
        self.pictures = PictureTable(np.array(pictures).reshape(-1, 4), np.array(counts, np.int64))
        self.grids = {layer: np.array(each, np.int64).reshape(-1, 2) for layer, each in cells.items()}
        self._digests = np.array(digests, dtype="S")
        self._digest_of = np.repeat(np.arange(len(names)), np.array(digest_counts, np.int64))
        self._printed = np.array(printed, np.int64), np.frombuffer(prints, np.uint8).reshape(-1, copies.N_BYTES)

    def like(self, digest: str, fingerprint: copies.Fingerprint | None, load: Callable[[int], Image]) -> list[int]:
        """The photos with a digest, or with nearly this fingerprint. Fingerprints that were not taken are, of what
        `load` gives for a photo's number.
        """
        found = set(self._digest_of[self._digests == digest.encode()].tolist())
        if fingerprint is not None:
            numbers, prints = self._fingerprints(load)
            found.update(numbers[copies.distances(fingerprint, prints) <= copies.MAX_DISTANCE].tolist())
        return sorted(found)

    def _fingerprints(
        self, load: Callable[[int], Image]
    ) -> tuple[Int[np.ndarray, " photos"], UInt8[np.ndarray, "photos 32"]]:
        if self._unprinted:
            taken = {number: own for number in self._unprinted if (own := copies.fingerprint(load(number))) is not None}
            numbers = np.concatenate([self._printed[0], np.array(list(taken), np.int64)])
            prints = np.concatenate([self._printed[1], *(own[None] for own in taken.values())])
            self._printed, self._unprinted = (numbers, prints), []
        return self._printed
