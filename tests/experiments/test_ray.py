"""Experiments on a cluster's workers find what one process finds, whatever ends on the way."""

import os
import re
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

from corrcore.cli import main
from corrcore.datasets import toy
from corrcore.experiments import (
    AgreementRadius,
    Classification,
    Confidence,
    Context,
    Localisation,
    Pairs,
    Prediction,
    RayActors,
    Responses,
    ResultStore,
    Sweep,
    Transfer,
    kinds,
    run,
)
from corrcore.workers import keeping_workers
from tests.conftest import ArrayPhoto, smooth_noise
from tests.experiments.conftest import CAT, Gone, StopError, drawn_once, stop_at, with_split
from tests.experiments.sizes import Sizes

SIFT = ("sift20",)
EXPERIMENTS = {
    each.kind: each
    for each in (
        Transfer("toy", CAT, features=SIFT),
        Classification("toy", CAT, features=("conv3", "sift20"), protocol="small", costs=(0.1, 10.0), folds=2),
        Prediction("toy", CAT, features=("sift40",)),
        Responses("toy", CAT, features=SIFT, keypoints=("Nose",), protocol="small", cost=1.0),
        Pairs("toy", CAT, features=("conv5",), limit=3),
        Confidence("toy", (CAT,), features=("conv5",), limit=8),
        Sweep("toy", CAT, features=("conv5",), objects=2, photos=2),
        Localisation("small", photos="", every=True, layers=("conv3",)),
        AgreementRadius("small", limit=2, layers=("conv3",)),
    )
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for n in range(2):
        Image.fromarray(smooth_noise(120, 110, seed=n)).save(folder / f"{n}.png")
    return str(folder)


@pytest.fixture(scope="module")
def context(alexnet, small_index):
    data = replace(drawn_once(toy.load(n_train=6, n_val=3)), synthetic=True)
    return Context(
        opened_datasets={"toy": data}, opened_networks={"alexnet": alexnet}, opened_indexes={"small": small_index}
    )


@pytest.fixture(scope="module")
def actors(machines):
    with keeping_workers():
        yield RayActors(2, address=machines.address)


def content(result):
    """Byte for byte, but for how long things took."""
    return re.sub(rb'"seconds": [0-9.]+', b"", result.to_json())


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_a_cluster_finds_what_one_process_finds(actors, context, photos, tmp_path, kind):
    experiment = EXPERIMENTS[kind]
    if isinstance(experiment, Localisation):
        experiment = replace(experiment, photos=photos)
    here = run(experiment, context=context, store=ResultStore(tmp_path / "here"))
    there = run(experiment, context=context, store=ResultStore(tmp_path / "there"), executor=actors)
    assert content(there) == content(here)
    files = [sorted(path.name for path in (tmp_path / where).rglob("*.*")) for where in ("here", "there")]
    assert files[0] == files[1]


def test_every_experiment_is_tried():
    assert {kind.kind for kind in kinds()} == set(EXPERIMENTS)


@dataclass(frozen=True)
class Signed(ArrayPhoto):
    """A photo that takes a moment, beside which whoever loads it writes which process it is."""

    stamp: str = "as it was"
    folder: Path = Path()

    def load(self):
        (self.folder / f"{self.name} by {os.getpid()}").touch()
        time.sleep(0.1)
        return self.pixels


@pytest.fixture
def signed(context, tmp_path):
    """Twelve val cats, and what says by which processes they were loaded."""
    cat = context.dataset("toy").instances(CAT, "val")[0]
    photos = [Signed(f"val {n}", cat.photo.pixels, folder=tmp_path) for n in range(12)]
    val = [replace(cat, name=photo.name, photo=photo) for photo in photos]
    data = with_split(context.dataset("toy"), "val", val)

    def loaded():
        found = [path.name.split(" by ") for path in tmp_path.glob("* by *")]
        return [(name, int(pid)) for name, pid in found]

    return Context(opened_datasets={"toy": data}), loaded


def test_killed_workers_are_replaced_and_nothing_is_measured_twice_or_lost(machines, actors, signed, store):
    context, loaded = signed
    killed = []

    def kill(done, text):
        if text.startswith(("2 of", "4 of")[len(killed) :][:1]):  # once each, though it is told again
            pid = next(pid for _, pid in loaded() if pid not in killed)
            killed.append(pid)
            os.kill(pid, signal.SIGKILL) if text.startswith("2 of") else machines.kill_machine_of(pid)

    found = run(Sizes("toy", CAT), context=context, store=store, executor=actors, progress=kill)
    assert len(killed) == 2
    assert {pid for _, pid in loaded()} > set(killed)
    assert found.to_json() == run(Sizes("toy", CAT), context=context).to_json()
    lines = store.path(Sizes("toy", CAT), context).read_text().splitlines()
    assert len(lines) == 1 + 2 + 12  # the header, what is asked and noted once, and records


def test_a_stopped_run_keeps_what_was_measured_and_goes_on(actors, signed, store):
    context, loaded = signed
    with pytest.raises(StopError):
        run(Sizes("toy", CAT), context=context, store=store, executor=actors, progress=stop_at("3 of"))
    kept = store.load(Sizes("toy", CAT), context)
    assert (len(kept.records), kept.asked, kept.finished) == (3, 12, False)
    again = run(Sizes("toy", CAT), context=context, store=store, executor=actors)
    assert again.to_json() == run(Sizes("toy", CAT), context=context).to_json()
    assert not [name for name in kept.records if [name for name, _ in loaded()].count(name) > 2]  # there, and here


def test_errors_of_prepare_are_the_experiments(actors, context, alexnet):
    train = context.dataset("toy").instances(CAT, "train")
    nowhere = [replace(one, photo=Gone(one.photo.name, one.photo.pixels)) for one in train]
    gone = with_split(context.dataset("toy"), "train", nowhere)
    context = replace(context, opened_datasets={"toy": gone})
    experiment = EXPERIMENTS["classification"]
    with pytest.raises(ValueError) as here:
        run(experiment, context=context)
    with pytest.raises(ValueError) as there:
        run(experiment, context=context, executor=actors)
    assert str(there.value) == str(here.value)


def test_a_command_runs_on_a_cluster(machines, actors, sizes, capsys, tmp_path):
    words = ["evaluate", "sizes", "--data=toy", f"--categories={CAT}", "--limit=4"]
    assert main([*words, f"--out={tmp_path}/here"]) == 0
    here = capsys.readouterr().out.splitlines()
    where = ["--executor=ray", f"--address={machines.address}", "--workers=2"]
    assert main([*words, f"--out={tmp_path}/there", *where]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == here[1:]


@pytest.mark.parametrize(
    "words",
    [
        ("network", "field", "alexnet", "--layer=conv1,conv2", "--cells=1"),
        ("train", "detectors", "--data=toy", f"--categories={CAT}", "--features=sift40", "--limit=8"),
        pytest.param(
            ("train", "classifiers", "--data=toy", f"--categories={CAT}", "--features=sift10", "--protocol=small"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda words: words[1],
)
def test_other_long_commands_run_there_and_what_they_make_is_kept_here(
    machines, actors, photos, capsys, tmp_path, monkeypatch, words
):
    words = (*words, f"--photos={photos}") if words[1] == "field" else words
    on_cluster = ("--executor=ray", f"--address={machines.address}", "--workers=2")
    said = []
    for folder, where in (("there", on_cluster), ("there", ()), ("here", ())):
        monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path / folder))
        assert main([*words, *where]) == 0
        said.append(capsys.readouterr())
    outs = {re.sub(r"[0-9.]+ s", "", each.out).replace(f"{tmp_path}/there", f"{tmp_path}/here") for each in said}
    assert len(outs) == 1
    assert not said[1].err  # no progress: nothing is computed
    assert kept(tmp_path / "there") == kept(tmp_path / "here") != []


def kept(folder):
    """The arrays of what is kept, byte for byte: names of files are drawn, and times stand beside the arrays."""
    found = (load_file(path) for path in folder.rglob("*.safetensors"))
    return sorted(sorted((name, array.tobytes()) for name, array in each.items()) for each in found)
