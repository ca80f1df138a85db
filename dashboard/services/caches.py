"""What all sessions share, behind ``st.cache_resource`` and ``st.cache_data``."""

import atexit
import gc
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

import numpy as np
import streamlit as st

from corrcore import concurrency, datasets, decoding, experiments, images, networks, store
from corrcore import patch_index as indexes
from corrcore.datasets.records import Instance, KeypointDataset
from corrcore.datasets.samples import samples
from corrcore.networks import Backbone
from corrcore.patch_index import SAMPLES, PatchIndex
from corrcore.settings import Settings
from corrcore.store import Cache
from corrcore.tasks import reconstruction
from corrcore.tasks.alignment import DescribedCrop
from corrcore.tasks.reconstruction import Reconstruction
from dashboard.services.jobs import Job, Queue

T = TypeVar("T")
THUMBNAIL_PX = 112
SUBJECTS_KEPT = 200  # described objects, half a megabyte each by two features


class _Recent(Generic[T]):
    """The last few things made, for all threads. Two that ask for the same at once may both make it."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made


@st.cache_resource(max_entries=1, show_spinner=False)
def subjects() -> _Recent[DescribedCrop]:
    """Described objects of data sets."""
    return _Recent(SUBJECTS_KEPT)


@st.cache_resource(max_entries=1, show_spinner=False)
def alignments() -> _Recent[Any]:
    """What was aligned last, of data sets, for whoever looks at the same."""
    return _Recent(8)


@st.cache_resource(max_entries=1, show_spinner=False)
def maps() -> _Recent[Any]:
    """Scores of every pixel of what was looked at last, some 10 MB a feature."""
    return _Recent(6)


@st.cache_resource(max_entries=1, show_spinner=False)
def detectors() -> _Recent[Any]:
    """Keypoint detectors and priors as they were read last, some 60 MB a category of photos."""
    return _Recent(4)


@st.cache_resource(max_entries=1, show_spinner=False)
def seen_objects() -> _Recent[Any]:
    """Objects as detectors saw them, half a megabyte each."""
    return _Recent(100)


def available() -> datasets.Available:
    """The annotated data sets on offer: registered ones, and those in the folder that ``CORRCORE_DATA`` names."""
    return datasets.available(Settings.from_environment().data)


def dataset_names() -> list[str]:
    """The names of the annotated data sets on offer."""
    return list(available().names)


@st.cache_resource(max_entries=3, show_spinner="Reading the annotations")
def dataset(name: str) -> KeypointDataset:
    return available().spec(name).load()


def state_of(instances: Sequence[Instance]) -> str:
    """Another for other objects, and for photos that were changed: what is computed from them is kept under it."""
    objects = [[one.name, list(one.box), str(one.photo.stamp)] for one in instances]
    return store.key(task="objects", objects=objects)


@st.cache_data(max_entries=64, show_spinner="Opening the photos")
def object_thumbnails(state: str, _instances: Sequence[Instance]) -> list[np.ndarray]:
    """Square thumbnails of objects, a little of their surroundings around them; grey where a photo cannot be read.

    Kept on disk under `state`, for drawing takes a while.
    """

    def one(instance: Instance) -> np.ndarray:
        left, top, right, bottom = instance.box
        side = 1.1 * max(right - left, bottom - top) / 2
        x, y = (left + right) / 2, (top + bottom) / 2
        edges = (x - side, y - side, x + side, y + side)
        try:
            return images.crop_resized(instance.photo.load(), edges, width=THUMBNAIL_PX, height=THUMBNAIL_PX)
        except (decoding.ImageError, OSError):
            return np.full((THUMBNAIL_PX, THUMBNAIL_PX, 3), 160, np.uint8)

    def all_of_them() -> tuple[dict[str, np.ndarray], dict[str, object]]:
        found: list[np.ndarray] = []
        concurrency.map_in_order(one, _instances, found.append)
        return {str(number): picture for number, picture in enumerate(found)}, {}

    key = store.key(task="object thumbnails", objects=state, side=THUMBNAIL_PX)
    kept = results().get_or_compute(key, all_of_them).arrays
    return [kept[str(number)] for number in range(len(_instances))]


@st.cache_resource(max_entries=1, show_spinner=False)
def results() -> Cache:
    """Results kept on disk, for all sessions."""
    return Cache()


def tables() -> experiments.Tables:
    """All tables computed on this machine; files are read again when they change."""

    def read(path: Path) -> experiments.Table | None:
        found = _table(str(path), path.stat().st_mtime_ns)
        if isinstance(found, ValueError):
            raise found.with_traceback(None)
        return found

    return experiments.tables(read=read)


@st.cache_resource(max_entries=300, show_spinner="Reading the results")
def _table(path: str, stamp: int) -> experiments.Table | ValueError | None:  # noqa: ARG001 - read anew when written anew
    """A third of a megabyte at most, made of files of several; or why there is none."""
    try:
        return experiments.read_table(path)
    except experiments.OlderResultError as error:
        return experiments.OlderResultError(str(error), error.about)
    except ValueError as error:
        return type(error)(str(error))  # without what led to it, which holds the file's content


@st.cache_resource(max_entries=3, show_spinner=False)
def queue(purpose: str = "views") -> Queue:
    """The queue for pictures that somebody waits for, or that for what takes minutes. They end with the server."""
    made = Queue(capacity=20 if purpose == "views" else 5)
    atexit.register(made.close)
    return made


def submit_view(work: Callable[..., T], label: str, key: Hashable) -> Job[T]:
    """Work for the picture this session looks at now; what it looked at before is cancelled.

    A job that failed or was cancelled stays so, until `forget_view` is called or something else is looked at.
    """
    before, job_before = st.session_state.get("view", (None, None))
    if job_before is not None and before == key:
        return job_before
    if job_before is not None:
        job_before.cancel()
    job = queue().submit(work, label=label, owner=owner(), key=key)
    st.session_state["view"] = (key, job)
    return job


def measurement(key: Hashable) -> Job[Any] | None:
    """This session's work of minutes, running or ended, if it began any under this key."""
    return queue("measurements").find(owner(), key)


def read_only() -> bool:
    """Whether visitors cannot build indexes or compute tables."""
    return bool(os.environ.get("CORRCORE_READ_ONLY"))


def forget_view() -> None:
    """Let the next `submit_view` begin again."""
    st.session_state.pop("view", None)


@st.cache_resource(max_entries=2, show_spinner="Loading the network")
def network(name: str) -> Backbone:
    _settle()
    return networks.load(name)


@st.cache_resource(max_entries=1, show_spinner=False)
def _settle() -> None:
    """Takes everything that was imported out of garbage collection.

    Streamlit collects after each run of a page and each look at a job's progress; going through what torch brings
    along takes 0.3 s, in which no thread can do anything else.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@st.cache_resource(max_entries=1, show_spinner="First start: describing the sample photographs")
def sample_index() -> PatchIndex:
    return indexes.samples(network("alexnet"))


@st.cache_resource(max_entries=4, show_spinner=False)
def _opened(name: str, stamp: int) -> PatchIndex:  # noqa: ARG001 - opened anew when it was built anew
    return PatchIndex(indexes.default_root() / name)


def open_index(name: str) -> PatchIndex:
    """An index by the name it is offered under."""
    if name == SAMPLES:
        return sample_index()
    manifest = indexes.default_root() / indexes.checked_name(name) / "manifest.json"
    return _opened(name, manifest.stat().st_mtime_ns if manifest.exists() else 0)


def delete_index(name: str) -> None:
    indexes.delete(indexes.default_root() / name)
    _opened.clear()  # open files would keep its gigabytes on disk


def index_names() -> list[str]:
    """The indexes on offer: the samples', then those built on this machine."""
    return [
        SAMPLES,
        *(name for name in indexes.list_indexes(indexes.default_root()) if not name.startswith(f"{SAMPLES}-")),
    ]


@st.cache_data(max_entries=64, show_spinner=False)
def sample_photo(name: str) -> np.ndarray:
    return samples()[name].load()


@st.cache_data(max_entries=32, show_spinner=False)
def indexed_thumbnails(
    digest: str,  # noqa: ARG001 - what the numbers count in
    numbers: tuple[int, ...],
    _index: PatchIndex,
) -> list[np.ndarray]:
    """Square thumbnails of an index's photos."""
    return [thumbnail(_index.photo(number)) for number in numbers]


@st.cache_data(max_entries=2, show_spinner=False)
def sample_thumbnails(names: tuple[str, ...]) -> list[np.ndarray]:
    return [thumbnail(sample_photo(name)) for name in names]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """The square middle of a picture, small."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    return images.resize_to(square, height=THUMBNAIL_PX, width=THUMBNAIL_PX)


def rebuilt(key: tuple | None, k: int, result: Reconstruction, index: PatchIndex) -> np.ndarray:
    """A rebuilt picture, remembered under `key`, which names the reconstruction; with none it is not remembered."""
    return reconstruction.rebuild(result.retrieval, index, k=k) if key is None else _rebuilt(key, k, result, index)


@st.cache_data(max_entries=64, show_spinner=False)
def _rebuilt(key: tuple, k: int, _result: Reconstruction, _index: PatchIndex) -> np.ndarray:  # noqa: ARG001
    return reconstruction.rebuild(_result.retrieval, _index, k=k)


def owner() -> str:
    """Whose work it is: a name for this session that no other knows."""
    return st.session_state.setdefault("owner", uuid4().hex)
