"""On a cluster of two machines: the same files and the same neighbours as here, whatever is killed meanwhile."""

import gc
import os
import pickle
import shutil
import signal
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from corrcore.cli import main
from corrcore.cluster import Cluster
from corrcore.engines.knn import SearchCluster
from corrcore.patch_index import IndexUnfinishedError, OnCluster, PatchIndex, build
from tests.conftest import ArrayPhoto, smooth_noise
from tests.machines import words_of
from tests.patch_index.exact import Gate, Means, Stop, Told, noise_photos, stop_after

pytestmark = pytest.mark.slow
TWICE = [ArrayPhoto(f"again{number}.png", photo.pixels) for number, photo in enumerate(noise_photos(4))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An index in which every descriptor stands twice, in either half."""
    photos = [*noise_photos(4), *TWICE]
    options = {"extractor": Means(), "layers": ("l1", "l2"), "scales": (1.0, 0.6)}
    return build(photos, tmp_path_factory.mktemp("on-ray") / "it", **options).folder


@pytest.fixture(scope="module")
def held(machines, folder):
    return PatchIndex(folder, search_on=SearchCluster(machines.cluster))


QUERIES = torch.from_numpy(np.random.default_rng(0).integers(-100, 156, (40, 3))).float()


def holders(machines, but=()):
    """The processes that hold shards, and are there already."""
    gc.collect()  # indexes that are let go of end theirs
    return [each for each in machines.processes() if words_of(each)[:1] == ["ray::_Holder"] and each not in but]


def resume(actors):
    for actor in actors:
        with suppress(psutil.NoSuchProcess):
            actor.resume()


@contextmanager
def suspended(actors):
    """Lets them wait; whatever happens, those that are left go on afterwards."""
    for actor in actors:
        actor.suspend()
    try:
        yield
    finally:
        resume(actors)


def same(found, expected):
    return (found.ids == expected.ids).all() and found.similarities.tobytes() == expected.similarities.tobytes()


def test_a_held_index_finds_what_it_finds_here(held, folder):
    here = PatchIndex(folder)
    all_ = here.n_patches("l1", exclude=(2,))
    for layer, k, exclude in (("l1", 1, ()), ("l2", 7, (0, 5)), ("l1", all_, (2,)), ("l1", 3, (0, 1, 2, 3))):
        assert same(held.search(layer, QUERIES, k, exclude=exclude), here.search(layer, QUERIES, k, exclude=exclude))
    with pytest.raises(ValueError, match="k must be between 1 and"):
        held.search("l1", QUERIES, 10**6)
    with pytest.raises(ValueError, match="queries must be finite"):
        held.search("l1", QUERIES * torch.nan, 1)
    assert pickle.loads(pickle.dumps(held)).search_on is None  # a worker searches by itself


def in_the_cluster():
    """The processes through which indexes are searched."""
    return [each for each in psutil.Process().children() if "held import main" in " ".join(words_of(each))]


@pytest.mark.parametrize("lost", ["actor", "machine", "process between"])
def test_a_search_in_which_something_is_killed_finds_the_same(machines, held, folder, lost):
    held.search("l1", QUERIES, 3)
    actors = holders(machines)
    assert len(actors) == 2
    told = []

    def progress(done, text):
        if not told:
            if lost == "process between":
                in_the_cluster()[0].kill()
            elif lost == "machine":
                machines.kill_machine_of(actors[0].pid)
            else:
                actors[0].kill()
            resume(actors)
        told.append(done)

    with suspended(actors):  # so that none answers before one is killed
        found = held.search("l1", QUERIES, 3, progress=progress)
    assert same(found, PatchIndex(folder).search("l1", QUERIES, 3))
    assert told


def test_a_search_that_is_cancelled_ends_at_once_and_the_next_one_is_answered(machines, held, folder):
    def progress(done, text):
        raise Stop

    with suspended(holders(machines)), pytest.raises(Stop):
        held.search("l2", QUERIES, 3, progress=progress)
    assert same(held.search("l2", QUERIES, 3), PatchIndex(folder).search("l2", QUERIES, 3))


def test_of_two_replicas_one_answers_at_once_where_the_other_is_lost(machines, folder):
    machines.wait_for_all()
    others = holders(machines)
    index = PatchIndex(folder, search_on=SearchCluster(machines.cluster, replicas=2))
    expected = PatchIndex(folder).search("l1", QUERIES, 3)
    assert same(index.search("l1", QUERIES, 3), expected)
    end = time.monotonic() + 60
    while len(actors := holders(machines, but=others)) < 2 and time.monotonic() < end:
        time.sleep(0.1)  # whichever is there first has answered
    assert len(actors) == 2  # on two machines, unless one has just joined: then Ray may pass it over
    asked, found = threading.Event(), []
    told = {"progress": lambda done, text: asked.set()}
    first = threading.Thread(target=lambda: found.append(index.search("l1", QUERIES, 3, **told)))

    def progress(done, text):  # both are asked now, one by each search
        while actors:
            actors.pop().resume() if len(actors) == 1 else actors.pop().kill()

    with suspended([*actors]):
        first.start()
        asked.wait(timeout=60)
        found.append(index.search("l1", QUERIES, 3, progress=progress))
        first.join(timeout=60)
    assert len(found) == 2
    assert all(same(each, expected) for each in found)


def test_what_cannot_be_held_is_a_sentence(machines, folder, tmp_path):
    with_gpus = SearchCluster(Cluster(machines.address, workers=2, gpus=0.5), room_s=0.5)
    with pytest.raises(ChildProcessError, match=r"shard 1 of 2 of index it has found no room .* needs 0.5 of a GPU"):
        PatchIndex(folder, search_on=with_gpus).search("l1", QUERIES, 3)
    others = holders(machines)
    gone = PatchIndex(shutil.copytree(folder, tmp_path / "gone"), search_on=SearchCluster(machines.cluster))
    gone.search("l1", QUERIES, 3)
    shutil.rmtree(tmp_path / "gone")
    holders(machines, but=others)[0].kill()
    with pytest.raises(ChildProcessError, match=r"shard . of 2 of index gone cannot be held \(FileNotFoundError.*gone"):
        gone.search("l1", QUERIES, 3)


# --- Building --------------------------------------------------------------------------------------------------------

OPTIONS = {"extractor": Means(), "layers": ("l1", "l2"), "scales": (1.0, 0.6), "mirror": True}
PHOTOS = noise_photos(10)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return all_files(build(PHOTOS, tmp_path_factory.mktemp("whole") / "it", **OPTIONS))


def all_files(index):
    return {path.name: path.read_bytes() for path in index.folder.iterdir()}


def test_a_build_in_which_a_worker_and_a_machine_are_killed_is_the_same_files(machines, tmp_path, whole):
    first, last = (Gate(PHOTOS[number].name, PHOTOS[number].pixels, tmp_path) for number in (0, 9))
    told = []

    def progress(done, text):
        told.append(text)
        if first.reader is not None and last.reader is not None:  # the others wait to be joined
            damaged = tmp_path / "it.partial" / "shards" / "000000004" / "l1.f16"
            damaged.write_bytes(damaged.read_bytes()[::-1])
            os.kill(first.reader, signal.SIGKILL)
            first.open()
        elif last.reader is not None and done >= 0.8:
            machines.kill_machine_of(last.reader)
            last.open()

    describer = OnCluster(machines.cluster, shard_photos=2)
    index = build([first, *PHOTOS[1:9], last], tmp_path / "it", describer=describer, progress=progress, **OPTIONS)
    assert all_files(index) == whole
    assert any(text.startswith("6 of 10 photos, ") for text in told)


class Fatal(ArrayPhoto):
    """Ends whatever process reads it, but for this one."""

    def load(self):
        if self.name != f"{os.getpid()}.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load()


def test_photos_that_end_workers_are_named(machines, tmp_path):
    photos = [*PHOTOS[:2], Fatal(f"{os.getpid()}.png", PHOTOS[2].pixels), PHOTOS[3]]
    with pytest.raises(ChildProcessError, match=rf"ended at photos 3 to 4 \({os.getpid()}\.png \.\.\. photo3\.png\)"):
        build(photos, tmp_path / "it", describer=OnCluster(machines.cluster, shard_photos=2), **OPTIONS)


def test_a_build_that_is_stopped_is_gone_on_with_here_and_there(machines, tmp_path, whole):
    gate = Gate(PHOTOS[0].name, PHOTOS[0].pixels, tmp_path)
    photos = [gate, *(Told(photo.name, photo.pixels, tmp_path) for photo in PHOTOS[1:])]
    describer = OnCluster(machines.cluster, shard_photos=3)

    def stop(done, text):
        if gate.reader is not None and done > 0.5:
            raise Stop

    with pytest.raises(Stop):
        build(photos, tmp_path / "it", describer=describer, progress=stop, **OPTIONS)
    with pytest.raises(IndexUnfinishedError, match=r"[67] of 10 photos are done"):
        PatchIndex(tmp_path / "it")
    gate.open()
    with pytest.raises(Stop):
        build(photos, tmp_path / "it", progress=stop_after(4), **OPTIONS)
    assert all_files(build(photos, tmp_path / "it", describer=describer, **OPTIONS)) == whole
    assert [photo.n_read for photo in photos[3:9]] == [1] * 6


def test_the_command_builds_on_a_cluster_what_it_builds_here(machines, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.fromarray(smooth_noise(200, 180, number)).save(tmp_path / "photos" / f"{number}.png")
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "photos")
    words = ["--root", str(tmp_path / "indexes"), "index", "build", f"zip://{archive}", "--layers=conv3", "--mirror"]
    assert main([*words, "--name=here"]) == 0
    assert main([*words, "--name=there", "--executor=ray", f"--address={machines.address}", "--workers=2"]) == 0
    here, there = (PatchIndex(tmp_path / "indexes" / name) for name in ("here", "there"))
    assert all_files(there) == all_files(here)
