"""Data sets and readers: registered in one place, opened by name or by folder everywhere."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corrcore import datasets
from corrcore.datasets import DatasetNotFoundError, DatasetSpec, KeypointDataset, ReaderSpec, registry, toy
from corrcore.datasets.records import Instance

from .voc_tree import Tree


class OnePixel:
    """A photo of one grey pixel."""

    name, stamp = "grey.png", "1"

    def load(self):
        return np.full((1, 1, 3), 128, np.uint8)


def tiny():
    dot = Instance("dot", "dots", OnePixel(), (-0.5, -0.5, 0.5, 0.5), np.zeros((1, 2)))
    return KeypointDataset("tiny", "One dot", "0", True, {"dots": ("Middle",)}, {("dots", "val"): [dot]}, {})


def has_dots(folder: Path):
    return (folder / "dots.txt").is_file()


def read_dots(folder: Path):
    return replace(tiny(), title=(folder / "dots.txt").read_text())


TINY = DatasetSpec("tiny", "One dot", True, tiny)
DOTS = ReaderSpec("dots", "Dots", "dots.txt", has_dots, read_dots)


@pytest.fixture
def registered():
    datasets.register(TINY)
    yield TINY
    datasets.unregister(TINY.name)


@pytest.fixture
def dots_reader():
    datasets.register(DOTS)
    yield DOTS
    datasets.unregister(DOTS.name)


def dots(folder, title="Two dots"):
    folder.mkdir(parents=True)
    (folder / "dots.txt").write_text(title)
    return folder


def test_a_data_set_registered_in_one_place_opens_by_name_everywhere(registered):
    assert registry.open("tiny").title == "One dot"
    assert datasets.open_dataset("tiny").title == "One dot"
    assert datasets.names()[-1] == "tiny"
    offered = datasets.available()
    assert offered.names == datasets.names()
    assert offered.spec("tiny").load().title == "One dot"


def test_a_name_is_forgotten_with_its_data_set(registered):
    datasets.unregister("tiny")
    with pytest.raises(DatasetNotFoundError, match="there is no data set 'tiny' here; there are toy"):
        registry.open("tiny")
    with pytest.raises(ValueError, match="name must be that of a registered data set or reader; got 'tiny'"):
        datasets.unregister("tiny")
    datasets.register(TINY)


@pytest.mark.parametrize("spec", [TINY, DOTS])
def test_a_name_is_given_once(spec, registered, dots_reader):
    with pytest.raises(ValueError, match=f"must be new; '{spec.name}' is registered already"):
        datasets.register(spec)


@pytest.mark.parametrize("name", datasets.names())
def test_a_spec_says_what_its_data_set_says(name):
    spec, opened = datasets.available().spec(name), datasets.open_dataset(name)
    assert (spec.name, spec.title, spec.synthetic) == (opened.name, opened.title, opened.synthetic)


def test_a_folder_is_opened_by_the_reader_that_recognises_it(tmp_path, dots_reader):
    assert datasets.open_dataset(dots(tmp_path / "mine")).title == "Two dots"
    assert datasets.open_dataset(str(Tree(tmp_path / "VOC").root)).categories == ("cat",)


def test_a_relative_folder_named_like_a_data_set_is_opened_as_a_path(tmp_path, monkeypatch, dots_reader, registered):
    dots(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    assert datasets.open_dataset(Path("tiny")).title == "Two dots"
    assert datasets.open_dataset("tiny").title == "One dot"


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch, dots_reader):
    dots(tmp_path / "mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert datasets.open_dataset("~/mine").title == "Two dots"
    assert datasets.available("~").names[-1] == "mine"


def test_what_cannot_be_opened_is_said_with_what_can(tmp_path, dots_reader):
    with pytest.raises(DatasetNotFoundError, match=r"/nowhere is no folder; .*JPEGImages, .*dots\.txt .*a name: toy\."):
        datasets.open_dataset("/nowhere")
    with pytest.raises(DatasetNotFoundError, match=r"no data set that is known here; known are JPEGImages.*\(Dots\)"):
        datasets.open_dataset(tmp_path)
    dots(tmp_path / "inner")
    with pytest.raises(DatasetNotFoundError, match=r"give one of the data sets in it: inner\."):
        datasets.open_dataset(tmp_path)


def test_a_folder_of_data_sets_offers_all_that_are_recognised(tmp_path, dots_reader):
    Tree(tmp_path / "VOC2011")
    dots(tmp_path / "mine")
    dots(tmp_path / ".hidden")
    (tmp_path / "other").mkdir()
    (tmp_path / "notes.txt").touch()
    offered = datasets.available(tmp_path)
    assert offered.names == (*datasets.names(), "VOC2011", "mine")
    assert not offered.faults
    assert offered.spec("mine").load().title == "Two dots"
    assert offered.spec("mine").folder == tmp_path / "mine"
    assert not offered.spec("VOC2011").synthetic
    assert offered.spec("VOC2011").load().categories == ("cat",)


def test_the_data_set_itself_may_be_named_instead_of_the_folder_that_holds_it(tmp_path):
    tree = Tree(tmp_path / "VOC2011")
    offered = datasets.available(tree.root)
    assert offered.names == (*datasets.names(), "VOC2011")
    assert offered.spec("VOC2011").load().categories == ("cat",)


def test_a_folder_named_like_a_registered_data_set_is_offered_beside_it(tmp_path, dots_reader):
    dots(tmp_path / "toy")
    offered = datasets.available(tmp_path)
    assert offered.names == ("toy", "toy (2)")
    assert offered.spec("toy").synthetic
    assert offered.spec("toy (2)").load().title == "Two dots"


@pytest.mark.parametrize("path", ["nowhere", "file"])
def test_a_folder_of_data_sets_that_is_none_is_said(tmp_path, path):
    (tmp_path / "file").touch()
    offered = datasets.available(tmp_path / path)
    assert offered.names == datasets.names()
    assert [fault.startswith(f"{tmp_path / path} is no folder") for fault in offered.faults] == [True]
    with pytest.raises(DatasetNotFoundError, match="there is no data set 'VOC2011' here; .* is no folder"):
        offered.spec("VOC2011")


def test_a_folder_without_data_sets_is_said(tmp_path):
    Tree(tmp_path / "deep" / "VOC2011")  # one level too deep
    (fault,) = datasets.available(tmp_path).faults
    assert fault.startswith(f"{tmp_path} holds no data set that is known here; known are JPEGImages")


def test_a_folder_that_a_reader_cannot_look_into_is_named_and_the_others_stay(tmp_path, dots_reader):
    def forbidden(folder):
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return False

    dots(tmp_path / "locked")
    dots(tmp_path / "mine")
    datasets.unregister("dots")
    datasets.register(ReaderSpec("wary", "Wary", "nothing", forbidden, read_dots))
    datasets.register(DOTS)
    try:
        offered = datasets.available(tmp_path)
    finally:
        datasets.unregister("wary")
    assert offered.names[-1] == "mine"
    assert offered.faults == (f"{tmp_path}/locked cannot be read (Permission denied); allow it.",)


def travelling(tmp_path):
    """All that a worker may be sent, by name."""
    Tree(tmp_path / "VOC2011")
    offered = datasets.available(tmp_path)
    opened = {f"data set {spec.name}": spec.load() for spec in offered.specs}
    instances = {f"instance of {name}": next(iter(data.splits.values()))[0] for name, data in opened.items()}
    photos = {f"photo of {name}": instance.photo for name, instance in instances.items()}
    readers = {f"reader {reader.name}": reader for reader in datasets.readers()}
    return opened | instances | photos | readers | {"offer": offered}


def test_all_that_a_worker_may_need_can_be_sent_to_it(tmp_path, dots_reader, registered):
    for name, value in travelling(tmp_path).items():
        sent = pickle.loads(pickle.dumps(value))
        assert type(sent) is type(value), name
        if isinstance(value, KeypointDataset):
            assert sent.digest == value.digest
            sent, value = (next(iter(data.splits.values()))[0] for data in (sent, value))
        if isinstance(value, Instance):
            np.testing.assert_array_equal(sent.keypoints, value.keypoints)
            sent, value = sent.photo, value.photo
        if hasattr(value, "stamp"):
            assert sent.stamp == value.stamp
            np.testing.assert_array_equal(sent.load(), value.load())


def test_a_drawing_travels_light_once_it_was_drawn():
    photo = toy.load(n_train=1, n_val=1).instances("toy cat", "train")[0].photo
    photo.load()
    assert len(pickle.dumps(photo)) < 1000
