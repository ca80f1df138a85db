"""What all sessions share, behind ``st.cache_resource`` and ``st.cache_data``."""

import atexit
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from corrcore import datasets, networks
from corrcore import patch_index as indexes
from corrcore import store as stores
from corrcore.datasets import Available, drawn
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.datasets.samples import samples
from corrcore.experiments import Context, Experiment, OlderResultError, Result, ResultStore, Stored
from corrcore.experiments.results import header_of
from corrcore.features import Extractor
from corrcore.networks.overview import weights_here
from corrcore.patch_index import SAMPLES, PatchIndex
from corrcore.settings import Settings
from corrcore.store import Bundle, Cache
from corrcore.tasks import reconstruction
from corrcore.tasks.alignment import DescribedCrop
from corrcore.tasks.reconstruction import Reconstruction
from dashboard.services.kept_networks import kept_networks
from dashboard.services.sizes import Recent

MB = 1_000_000
FIRST_LOOKS = Bundle(Path(__file__).parents[1] / "first_looks.zip")  # made by `python -m dashboard.first_looks`


@st.cache_resource(max_entries=1, show_spinner=False)
def described_crops() -> Recent[DescribedCrop]:
    """Described objects of data sets, half a megabyte each by two features."""
    return Recent(100 * MB)


@st.cache_resource(max_entries=1, show_spinner=False)
def described_photos() -> Recent[Any]:
    """Photos that were matched last, a megabyte each by a layer of 256 channels."""
    return Recent(100 * MB)


@st.cache_resource(max_entries=1, show_spinner=False)
def alignments() -> Recent[Any]:
    """What was aligned last, of data sets, for whoever looks at the same."""
    return Recent(100 * MB)


@st.cache_resource(max_entries=1, show_spinner=False)
def maps() -> Recent[Any]:
    """Scores of every pixel of what was looked at last, some 10 MB a feature."""
    return Recent(150 * MB)


@st.cache_resource(max_entries=1, show_spinner=False)
def detectors() -> Recent[Any]:
    """Keypoint detectors and priors as they were read last, some 60 MB a category of photos."""
    return Recent(250 * MB)


@st.cache_resource(max_entries=1, show_spinner=False)
def seen_objects() -> Recent[Any]:
    """Objects as detectors saw them, some megabyte each."""
    return Recent(100 * MB)


def available() -> Available:
    """The annotated data sets on offer: those with a name, and those in the folder that ``CORRCORE_DATA`` names."""
    return datasets.available(Settings.from_environment().data)


def dataset_names() -> list[str]:
    """Their names."""
    return list(available().names)


@st.cache_resource(max_entries=3, show_spinner="Reading the annotations")
def dataset(name: str) -> KeypointDataset:
    """One of them. Raises ValueError and OSError where it cannot be read."""
    return available().spec(name).load()


def state_of(instances: Sequence[Instance]) -> str:
    """Another for other objects, and for photos that were changed: what is computed from them is kept under it."""
    objects = [[one.name, list(one.box), str(one.photo.stamp)] for one in instances]
    return stores.key(task="objects", objects=objects)


def results() -> Cache:
    """Results kept on disk, for all sessions: in the folder that the environment names now."""
    settings = Settings.from_environment()
    return _results_in(settings.cache, settings.limits.results_bytes)


@st.cache_resource(max_entries=1, show_spinner=False)
def _results_in(folder: Path, max_bytes: int) -> Cache:
    return Cache(folder, max_bytes=max_bytes, beneath=FIRST_LOOKS)


def store() -> ResultStore:
    """Where experiments keep what they find."""
    return ResultStore()


def context(source: str, network_name: str) -> Context:
    """Where experiments on a data set run: what they name is open already."""
    return Context(
        store=store().folder,
        opened_datasets={source: dataset(source)},
        opened_networks={network_name: network(network_name)},
        along=FIRST_LOOKS,
    )


def finished(experiment: Experiment, context: Context) -> Result | None:
    """What is kept of a resolved experiment, once all that it asks for is there; its summary is made once.

    A result that grows has what others asked for besides. Raises ValueError and OSError for data that do not fit.
    """
    store().bring(experiment, context)
    path, header = store().path(experiment, context), stores.key(header=header_of(experiment, context))
    try:
        status = path.stat()
    except OSError:
        return None
    found = _loaded(str(path), status.st_mtime_ns, status.st_size, header, experiment, context)
    if found is None or not found.records:
        return None
    there = all(name in found.records or name in found.skipped for name in experiment.samples(context))
    return found if there else None


@st.cache_resource(max_entries=100, show_spinner="Reading the results")
def _loaded(
    path: str,  # noqa: ARG001 - these four name what is read
    stamp: int,  # noqa: ARG001
    size: int,  # noqa: ARG001
    header: str,  # noqa: ARG001
    _experiment: Experiment,
    _context: Context,
) -> Result | None:
    """A third of a megabyte at most."""
    return store().load(_experiment, _context)


def stored() -> Stored:
    """All results of this machine; files are read again when they change."""

    def read(path: Path) -> Result:
        found = _result(str(path), path.stat().st_mtime_ns, path.stat().st_size)
        if isinstance(found, Exception):
            raise found.with_traceback(None)
        return found

    return store().scan(read=read)


@st.cache_resource(max_entries=300, show_spinner="Reading the results")
def _result(path: str, stamp: int, size: int) -> Result | Exception:  # noqa: ARG001 - read anew when written anew
    """A third of a megabyte at most, made of files of several; or why there is none."""
    try:
        return ResultStore().read(Path(path))
    except OlderResultError as error:
        return OlderResultError(str(error), error.header)
    except ValueError as error:
        return ValueError(str(error))  # without what led to it, which holds the file's content


def network(name: str) -> Extractor:
    """A network by any of its names. Raises WeightsNotFoundError where its weights are not on this machine."""
    full, kept = networks.full_name(name), kept_networks()
    if full in kept:
        return kept.get(full, lambda: networks.open(full))
    settle()
    with st.spinner("Loading the network"):
        return kept.get(full, lambda: networks.open(full))


def known_networks() -> tuple[str, ...]:
    """Those that are registered, and those of libraries by short names, one library after the other."""
    families, names = networks.families(), networks.aliases()
    return (*networks.names(), *sorted(names, key=lambda name: families.index(names[name].partition(":")[0])))


def offered_networks() -> dict[str, str]:
    """The known networks whose weights are here, as far as can be told without reading them, and what they are from."""
    found = {name: weights_here(name) for name in known_networks()}
    return {name: _origin(name, where) for name, where in found.items() if where}


def _origin(name: str, where: str) -> str:
    """A library's name, or that of what comes along with this package; else a file's or the network's own weights."""
    family, colon, _ = networks.full_name(name).partition(":")
    if colon:
        return family
    return where if where in ("embedded", "its own") else "a file"


def layers_of(name: str) -> tuple[str, ...]:
    """A network's layers by depth: those that it is registered with, else those it has when it is open; none where it
    cannot be opened.
    """
    try:
        registered = networks.spec(name) if name in networks.names() else None
        return tuple(getattr(registered, "layers", None) or network(name).layers)
    except (OSError, ValueError):
        return ()


@st.cache_resource(max_entries=1, show_spinner=False)
def settle() -> None:
    """Takes everything that was imported out of garbage collection.

    Streamlit collects after each run of a page and each look at a job's progress; going through what torch brings
    along takes 0.3 s, in which no thread can do anything else.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@st.cache_resource(max_entries=1, show_spinner=False)
def sample_indexes() -> dict[str, PatchIndex]:
    """The open indexes of the drawn animals, by what describes them: where none can be kept, only these are."""
    return {}


def sample_index(network_name: str) -> PatchIndex | None:
    """The index of the drawn animals by a network; None where it has yet to be made."""
    extractor, opened = network(network_name), sample_indexes()
    index = opened.get(extractor.digest)
    if index is not None and not index.folder.exists():  # deleted meanwhile
        opened.pop(extractor.digest, None)
        index = None
    if index is None and (folder := indexes.samples_path(extractor)).exists():
        index = opened[extractor.digest] = PatchIndex(folder, device=extractor.device)
    return index


@st.cache_resource(max_entries=4, show_spinner=False)
def _opened(name: str, stamp: int, *, approximate: bool) -> PatchIndex:  # noqa: ARG001 - anew when it was built anew
    index = indexes.open_index(name)
    return indexes.open_index(name, approximate=True) if approximate and index.is_compressed else index


def open_index(name: str) -> PatchIndex:
    """An index that was built on this machine, by its name; searched as the environment asks for it."""
    folder = indexes.path_of(name)
    stamps = [path.stat().st_mtime_ns for path in folder.glob("*.json")]
    return _opened(name, max(stamps, default=0), approximate=Settings.from_environment().approximate)


def delete_index(name: str) -> None:
    indexes.delete(indexes.path_of(name))
    _opened.clear()  # open files would keep its gigabytes on disk
    sample_indexes().clear()


def index_names() -> list[str]:
    """The indexes on offer: that of the drawn animals, then those built on this machine."""
    return [
        SAMPLES,
        *(name for name in indexes.list_indexes(indexes.default_root()) if not name.startswith(f"{SAMPLES}-")),
    ]


@st.cache_data(max_entries=64, show_spinner=False)
def sample_photo(name: str) -> np.ndarray:
    """A drawn animal or a photograph to look at, by its name."""
    return {**drawn.unseen(), **samples()}[name].load()


def rebuilt(key: tuple | None, k: int, result: Reconstruction, index: PatchIndex) -> np.ndarray:
    """A rebuilt picture, remembered under `key`, which names the reconstruction; with none it is not remembered."""
    return reconstruction.rebuild(result.retrieval, index, k=k) if key is None else _rebuilt(key, k, result, index)


@st.cache_data(max_entries=64, show_spinner=False)
def _rebuilt(key: tuple, k: int, _result: Reconstruction, _index: PatchIndex) -> np.ndarray:  # noqa: ARG001
    return reconstruction.rebuild(_result.retrieval, _index, k=k)
