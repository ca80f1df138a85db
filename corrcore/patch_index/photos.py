"""The photos of an index, to be looked at again."""

from dataclasses import dataclass

from corrcore.features import Image
from corrcore.patch_index.index import PatchIndex


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


def photos_of(index: PatchIndex, n: int) -> list[IndexedPhoto]:
    """So many photos, spread over an index; all if there are fewer."""
    n = min(n, len(index.photos))
    return [IndexedPhoto(index, number * len(index.photos) // n) for number in range(n)]
