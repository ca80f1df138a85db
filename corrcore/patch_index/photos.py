"""The photos of an index, to be looked at again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from corrcore.features import Image
from corrcore.patch_index.index import PatchIndex

T = TypeVar("T")


@dataclass(frozen=True)
class IndexedPhoto:
    """A photo of an index, at the size that it was described at."""

    index: PatchIndex
    number: int

    @property
    def name(self) -> str:
        """Its file's name."""
        return self.index.photos[self.number]

    @property
    def stamp(self) -> str:
        """Another for every photo of every index."""
        return f"{self.index.digest} {self.number}"

    def load(self) -> Image:
        """Its pixels."""
        return self.index.photo(self.number)


def photos_of(index: PatchIndex) -> list[IndexedPhoto]:
    """All of them."""
    return [IndexedPhoto(index, number) for number in range(len(index.photos))]


def spread(photos: Sequence[T], n: int) -> list[T]:
    """So many of some photos, from all over; all if there are fewer.

    >>> spread("abcdefg", 3)
    ['a', 'c', 'e']
    """
    n = min(n, len(photos))
    return [photos[number * len(photos) // n] for number in range(n)]
