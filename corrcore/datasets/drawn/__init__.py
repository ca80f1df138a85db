"""Drawn animals that come along as pictures: sixty to search, and eight that are not among them to look at.

They are drawings of `corrcore.datasets.toy` kept as WebP, for drawing them takes ten times as long as reading them. So
the first index anybody sees holds many things of a kind, and eyes are rebuilt from other eyes. Nothing is learnt from
these drawings about photos.

`python -m corrcore.datasets.drawn` draws them anew.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from corrcore import decoding

FOLDER = Path(__file__).with_name("pictures")
QUALITY = 82  # of WebP: 14 kB a picture
N_TO_SEARCH = 30  # of each category, the first ones of toy's train split


@dataclass(frozen=True)
class DrawnAnimal:
    """A kept drawing: object `name` of the toy data set. `eye` is a pixel (x, y) on an eye where one is noted."""

    name: str
    eye: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        """The name for people."""
        _, kind, split, number = self.name.split("-")
        return f"Drawn {kind}, {split} {number}"

    @property
    def path(self) -> Path:
        """Where the picture lies."""
        return FOLDER / f"{self.name}.webp"

    @property
    def stamp(self) -> str:
        """A digest of the file's content."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:32]

    def load(self) -> UInt8[ndarray, "height width 3"]:
        """The picture. Raises ImageError where it is not there."""
        return decoding.decode(self.path)


def to_search() -> Mapping[str, DrawnAnimal]:
    """The animals of the index that comes along, by name."""
    return _to_search()


def unseen() -> Mapping[str, DrawnAnimal]:
    """Animals of the same kinds that are not among those, by name, in the order of a gallery."""
    return _UNSEEN


@functools.cache
def _to_search() -> Mapping[str, DrawnAnimal]:
    names = [f"toy-{kind}-train-{number:03d}" for kind in ("cat", "cow") for number in range(N_TO_SEARCH)]
    return {name: DrawnAnimal(name) for name in names}


_UNSEEN: Mapping[str, DrawnAnimal] = {
    animal.name: animal
    for animal in (
        DrawnAnimal("toy-cow-val-015", (277, 85)),
        DrawnAnimal("toy-cat-val-008", (122, 126)),
        DrawnAnimal("toy-cat-val-014", (197, 152)),
        DrawnAnimal("toy-cow-val-004", (259, 104)),
        DrawnAnimal("toy-cat-val-015", (81, 125)),
        DrawnAnimal("toy-cow-val-001", (187, 97)),
        DrawnAnimal("toy-cat-val-000", (329, 141)),
        DrawnAnimal("toy-cow-val-005", (65, 84)),
    )
}
