"""What experiments name, opened once: data sets, networks, indexes, and the folder that results are kept in."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from corrcore import datasets, networks, patch_index, settings
from corrcore.concurrency import Progress
from corrcore.datasets.records import KeypointDataset
from corrcore.features import Extractor
from corrcore.patch_index import PatchIndex
from corrcore.store import Bundle, Cache

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Context:
    """Where an experiment runs.

    `store` is the folder of results, None to keep nothing; `indexes` the folder of patch indexes. What was opened is
    remembered, and what a caller has open already may be given: `opened_datasets` by the experiments' `dataset`,
    `opened_networks` and `opened_indexes` by name. `progress` is told what `prepare` does. What is not in the folder is
    looked for in the bundle that comes `along`.

    To a worker travel the folders' paths, the records of data sets without their photos, networks with their weights
    (so that all measure by the same), and where indexes lie; photos and indexes are read there.
    """

    store: Path | None = None
    indexes: Path | None = None
    device: torch.device | str | None = None
    progress: Progress | None = None
    along: Bundle | None = None
    opened_datasets: dict[str, KeypointDataset] = field(default_factory=dict)
    opened_networks: dict[str, Extractor] = field(default_factory=dict)
    opened_indexes: dict[str, PatchIndex] = field(default_factory=dict)
    _made: dict[str, tuple[Hashable, Any]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "progress": None, "_made": {}}

    def latest(self, what: str, key: Hashable, make: Callable[[], Made]) -> Made:
        """What was made last of this kind, if under this key, else what `make` makes; what was before is dropped."""
        if what not in self._made or self._made[what][0] != key:
            self._made.pop(what, None)
            self._made[what] = key, make()
        return self._made[what][1]

    def dataset(self, source: str) -> KeypointDataset:
        """A data set by its registered name, a folder's path, or a folder's name under ``CORRCORE_DATA``."""
        if source not in self.opened_datasets:
            offered = datasets.available(settings.Settings.from_environment().data)
            known = source in offered.names and not Path(source).is_dir()
            self.opened_datasets[source] = offered.spec(source).load() if known else datasets.open_dataset(source)
        return self.opened_datasets[source]

    def network(self, name: str) -> Extractor:
        """A network by name, a short one or in full."""
        name = name if name in self.opened_networks else networks.full_name(name)
        if name not in self.opened_networks:
            self.opened_networks[name] = networks.open(name, device=self.device)
        return self.opened_networks[name]

    def index(self, name: str, *, approximate: bool = False) -> PatchIndex:
        """A patch index by name, to be searched exactly or approximately."""
        for key in (name, f"{name}, approximately"):
            if key in self.opened_indexes and self.opened_indexes[key].exact != approximate:
                return self.opened_indexes[key]
        key = f"{name}, approximately" if approximate else name
        found = patch_index.open_index(name, self.indexes, device=self.device, approximate=approximate)
        self.opened_indexes[key] = found
        return found


def default_store() -> Path:
    """Where results lie unless another place is asked for: the pages read them there."""
    return settings.Settings.from_environment().cache / "experiments"


def open_results() -> Cache:
    """What views have computed and is kept on disk: as much as the environment allows, in the folder that it names."""
    found = settings.Settings.from_environment()
    return Cache(found.cache, max_bytes=found.limits.results_bytes)
