"""Describing photos on a Ray cluster: shards are written by its workers where they lie, and joined here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from corrcore.cluster import Cluster
from corrcore.concurrency import Progress, Retold
from corrcore.decoding import printable
from corrcore.features import Extractor
from corrcore.patch_index.describe import Photo
from corrcore.patch_index.files import BuildSettings, IndexDamagedError
from corrcore.patch_index.journal import JournalWriter, read_checkpoint
from corrcore.patch_index.shards import Counted, Describer, Here, Shard, planned

_TRIES = 3  # to read what was written


@dataclass(frozen=True)
class OnCluster:
    """Describes photos on a cluster's workers, `shard_photos` of them at a time; each worker keeps the network.

    Workers write into the index's own folder, which all machines see under the same path, as they do the photos unless
    these are at addresses. What a worker that ends has safely on disk of its shard is gone on with by another.
    """

    cluster: Cluster
    shard_photos: int = 32

    def describe(
        self,
        photos: Sequence[Photo],
        journal: JournalWriter,
        settings: BuildSettings,
        extractor: Extractor,
        told: Counted,
    ) -> None:
        """See `Describer.describe`; raises as `Cluster.map` does, and IndexDamagedError for a disk that forgets."""
        for _ in range(_TRIES):
            begun = len(journal.entries)
            shards = planned(journal.folder, len(photos), done=begun, size=self.shard_photos)
            if not shards:
                return
            joiner = _Joiner(journal, settings, told)
            items = {_title(shard, photos): (shard, photos[shard.start : shard.stop]) for shard in shards}
            making = _Describing(extractor, settings)
            self.cluster.map(making, _fill, items, joiner.take, progress=joiner.progress)
        msg = f"what is written to {journal.folder} does not stay as it was; check its drive."
        raise IndexDamagedError(msg)


def describer_on(cluster: Cluster | None, *, n_threads: int | None = None) -> Describer:
    """On a cluster's workers, or in threads of this process where there is none."""
    return Here(n_threads) if cluster is None else OnCluster(cluster)


@dataclass(frozen=True)
class _Describing:
    """What a worker keeps, and what makes it: the network travels once."""

    extractor: Extractor
    settings: BuildSettings

    def __call__(self, _: Progress) -> "_Describing":
        return self


def _fill(state: _Describing, item: tuple[Shard, Sequence[Photo]]) -> Shard:
    """Describes the photos of a shard, in a worker."""
    shard, photos = item
    shard.fill(photos, state.settings, state.extractor, lambda *_: None)
    return shard


def _title(shard: Shard, photos: Sequence[Photo]) -> str:
    """A shard's photos, counted from 1, for what is said of it."""
    first, last = (printable(photos[number].name) for number in (shard.start, shard.stop - 1))
    return f"photos {shard.start + 1} to {shard.stop} ({first} ... {last})"


class _Joiner:
    """Appends shards to the journal, each when it is the next, and tells how many photos are described."""

    def __init__(self, journal: JournalWriter, settings: BuildSettings, told: Counted) -> None:
        self._journal, self._settings, self._told = journal, settings, told
        self._begun, self._n_before = time.monotonic(), len(journal.entries)
        self._n_described, self._waiting = self._n_before, dict[int, Shard]()
        self.progress = Retold(self._tell)

    def _tell(self, _: float, text: str) -> None:
        self._told(self._n_described, f", {text}" if text else "")

    def take(self, _: str, shard: Shard) -> None:
        """A shard that is described."""
        self._waiting[shard.start] = shard
        self._n_described += shard.stop - shard.start
        rate = (self._n_described - self._n_before) / max(time.monotonic() - self._begun, 1e-3)
        self.progress(0.0, f"{rate:.1f} per second")
        while (following := self._waiting.pop(len(self._journal.entries), None)) is not None:
            entries = read_checkpoint(following.folder, self._settings)
            self._journal.adopt(following.folder, entries, lambda *_: self.progress.again())
            following.remove()
