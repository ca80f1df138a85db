"""Shards: runs of consecutive photos that are described apart, each in a folder of its own, and joined in order.

A shard's folder holds what an unfinished index's does, for its photos alone, and a build of it goes on where it was.
Joining appends its bytes to the index's files, which costs one copy of them; a photo's bytes depend on nothing but the
photo. So an index is the same files whoever described its photos, in however many shards, and an interrupted build is
gone on with by any describer, with what there is of every shard.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

from corrcore.features import Extractor
from corrcore.patch_index.describe import Photo, describe_rest, unchanged
from corrcore.patch_index.files import LOCK, SHARDS, BuildSettings, writing_to
from corrcore.patch_index.journal import JournalWriter, read_checkpoint
from corrcore.store.locks import exclusive

_PATIENCE_S = 60.0  # for a process that describes a shard for a build that was killed, and ends soon

Counted = Callable[[int, str], None]
"""What is told how many photos are done, and what is being done. What it raises ends the work."""


@runtime_checkable
class Describer(Protocol):
    """Where the photos of an index are described."""

    def describe(
        self,
        photos: Sequence[Photo],
        journal: JournalWriter,
        settings: BuildSettings,
        extractor: Extractor,
        told: Counted,
    ) -> None:
        """Adds every one of `photos` to the journal, which has the first of them already."""
        ...


@dataclass(frozen=True)
class Here:
    """Describes photos in this process, in `n_threads`, or as many as torch is set to use."""

    n_threads: int | None = None

    def describe(
        self,
        photos: Sequence[Photo],
        journal: JournalWriter,
        settings: BuildSettings,
        extractor: Extractor,
        told: Counted,
    ) -> None:
        """See `Describer.describe`. What others have described of shards is taken as far as it is of these photos."""
        for shard in planned(journal.folder, len(photos), done=len(journal.entries)):

            def told_of_shard(done: int, text: str, start: int = shard.start) -> None:
                told(start + done, text)

            begun = read_checkpoint(shard.folder, settings)
            kept = unchanged(photos[shard.start : shard.stop], begun, settings, extractor, told_of_shard)
            if kept:
                journal.adopt(shard.folder, kept, told)
            shard.remove()
            describe_rest(photos[: shard.stop], journal, settings, extractor, told, n_threads=self.n_threads)


@dataclass(frozen=True)
class Shard:
    """The photos from number `start` up to `stop` of a build, and the folder in which they are described."""

    folder: Path
    start: int
    stop: int

    def fill(self, photos: Sequence[Photo], settings: BuildSettings, extractor: Extractor, told: Counted) -> None:
        """Describes its `photos`, from where an earlier call was stopped."""
        with writing_to(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with (
            exclusive(self.folder / LOCK, timeout=_PATIENCE_S),
            going_on(self.folder, photos, settings, extractor, told) as journal,
        ):
            describe_rest(photos, journal, settings, extractor, told)
            journal.checkpoint()

    def remove(self) -> None:
        """Deletes what there is of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def planned(partial: Path, n_photos: int, *, done: int, size: int | None = None) -> list[Shard]:
    """Shards of all photos but the first `done`, in order: where some were begun, and at every multiple of `size`."""
    folder = partial / SHARDS
    begun = {int(path.name) for path in folder.glob("*") if path.name.isdecimal()}
    cuts = {cut for cut in (*begun, *range(0, n_photos, size or n_photos)) if done < cut < n_photos}
    ends = sorted({done, *cuts, n_photos})
    return [Shard(folder / f"{start:09}", start, stop) for start, stop in pairwise(ends)]


@contextmanager
def going_on(
    folder: Path, photos: Sequence[Photo], settings: BuildSettings, extractor: Extractor, told: Counted
) -> Iterator[JournalWriter]:
    """The journal of a folder, with those of its photos that are still the same."""
    kept = unchanged(photos, read_checkpoint(folder, settings), settings, extractor, told)
    with JournalWriter(folder, settings, kept=kept, n_photos=len(photos)) as journal:
        yield journal
