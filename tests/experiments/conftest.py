import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from corrcore import decoding, experiments
from corrcore.datasets import toy
from corrcore.experiments import Context
from tests.conftest import ArrayPhoto
from tests.experiments.sizes import Sizes

CAT = "toy cat"


class StopError(Exception):
    """What stops a run."""


def stop_at(*words: str) -> Callable[[float, str], None]:
    """Progress that stops where it is told something that begins so."""

    def progress(done, text):
        if text.startswith(words):
            raise StopError

    return progress


@dataclass(frozen=True)
class Drawn(ArrayPhoto):
    """A drawing that is drawn once, and counts how often it is asked for."""

    stamp: str = "as it was"
    loads: list[str] = field(default_factory=list)

    def load(self):
        self.loads.append(self.name)
        return self.pixels


@dataclass(frozen=True)
class Gone(ArrayPhoto):
    """A photo whose file is gone."""

    stamp: str = ""

    def load(self):
        msg = "the photo is gone"
        raise decoding.ImageError(msg)


@dataclass(frozen=True)
class Away(ArrayPhoto):
    """A photo that cannot be reached now."""

    stamp: str = "as it was"

    def load(self):
        msg = "the disk is away"
        raise OSError(msg)


def drawn_once(data, category=CAT):
    """A toy data set of one category whose pictures are kept."""
    splits = {
        (category, split): [
            replace(one, photo=Drawn(one.photo.name, one.photo.load()))
            for one in data.visible_instances(category, split)
        ]
        for split in ("train", "val")
    }
    return replace(data, splits=splits, keypoint_names={category: data.keypoint_names[category]})


def with_split(data, split, instances):
    """The same with other objects in a split."""
    return replace(data, splits={**data.splits, (CAT, split): list(instances)})


def loads(data, split):
    """Photos asked for, as often as they were."""
    return [name for one in data.instances(CAT, split) for name in one.photo.loads]


@pytest.fixture(scope="session")
def drawn():
    """Six train cats and two for val; the last train cat is the first one again, in its very photo."""
    data = drawn_once(toy.load(n_train=5, n_val=2))
    first = data.instances(CAT, "train")[0]
    left, top, right, bottom = first.box
    again = replace(first, name="again", box=(left + 4, top + 2, right, bottom))
    return with_split(data, "train", [*data.instances(CAT, "train"), again])


@pytest.fixture
def cats(drawn):
    """The same with counts that begin anew."""
    for split in drawn.splits.values():
        for cat in split:
            cat.photo.loads.clear()
    return drawn


@pytest.fixture
def open_as(alexnet):
    """A context in which this data set is `toy`, and the network is open already."""
    return lambda data: Context(opened_datasets={"toy": data}, opened_networks={"alexnet": alexnet})


@pytest.fixture
def sizes():
    """The smallest experiment, registered."""
    experiments.register(Sizes)
    yield Sizes
    experiments.unregister("sizes")


@pytest.fixture
def store(tmp_path):
    return experiments.ResultStore(tmp_path / "results")


@pytest.fixture
def unwritable(tmp_path):
    """A folder that cannot be written."""
    folder = tmp_path / "unwritable"
    folder.mkdir(mode=0o500)
    return Path("/proc/corrcore") if os.access(folder, os.W_OK) else folder / "results"
