"""`corrcore network field`: its table, its files, and what it refuses."""

import io

import numpy as np
import pytest
from PIL import Image

from corrcore import networks, patch_index
from corrcore.settings import Settings
from corrcore.store import Cache
from corrcore.tasks.effective_field import effective_field, kept_field
from tests.conftest import smooth_noise


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(smooth_noise(150, 140, number)).save(folder / f"{number}.png")
    (folder / "3.png").write_bytes(b"no picture")
    return folder


def test_layers_are_tabled_and_written(run, photos, capsys, tmp_path):
    words = ("network", "field", "alexnet", "--layer", "conv1,conv3", "--photos", photos, "--cells", 1)
    assert run(*words, "--out", tmp_path / "maps.npz") == 0
    said = capsys.readouterr().out
    assert said.startswith("4 photos of 4 in ")
    first, third = [line for line in said.splitlines() if line.strip().startswith("conv")]
    assert "11 px" in first
    assert "99 px" in third
    assert "left out: 3.png" in said
    expected = effective_field(
        networks.open("alexnet"), "conv3", [smooth_noise(150, 140, number) for number in range(3)], n_cells=1
    )
    assert f"{expected.radius_px:.1f} px (39 px if even)" in third
    with np.load(tmp_path / "maps.npz") as arrays:
        np.testing.assert_allclose(arrays["conv3_map"], expected.map, rtol=1e-4, atol=1e-9)
        assert arrays["conv1_theoretical_px"] == 11
    assert run(*words, "--out", tmp_path / "maps.png") == 0
    again = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("conv")]
    assert [line.split()[:-2] for line in again] == [line.split()[:-2] for line in (first, third)]
    picture = np.asarray(Image.open(io.BytesIO((tmp_path / "maps.png").read_bytes())))
    assert picture.shape[0] > 2 * 99


def test_the_photos_of_an_index_are_measured_and_kept_for_whoever_looks(run, photos, capsys, tmp_path):
    index = patch_index.samples(networks.open("alexnet"), root=tmp_path / "indexes")
    words = ("network", "field", "alexnet", "--layer", "conv1", "--limit", 2)
    assert run(*words, "--index", index.name) == 0
    assert capsys.readouterr().out.startswith(f"2 photos of {len(index.photos)} in {index.name}\n")
    with Cache(Settings.from_environment().cache) as results:
        photos_of_it = patch_index.spread(patch_index.photos_of(index), 2)
        kept = kept_field(networks.open("alexnet"), "conv1", photos_of_it, results=results)
    assert kept is not None
    assert kept.n_photos == 2
    assert run("--root", photos, *words, "--index", index.name) == 2
    assert str(photos) in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(*words, "--index", index.name, "--photos", photos)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--layer", "conv9"), "layer of alexnet must be one of conv1"),
        (("--out", "maps.tiff"), "--out must end in .png or .npz; got maps.tiff."),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_a_sentence(run, photos, capsys, words, sentence):
    assert run("network", "field", "alexnet", "--photos", photos, *words) == 2
    assert sentence in capsys.readouterr().err
