import json

import numpy as np
import pytest

from corrcore import averaging, experiments, images, reconstruction
from corrcore import index as indexes
from tests.conftest import ArrayPhoto, smooth_noise


@pytest.fixture
def photos():
    return [ArrayPhoto(f"q{n}", smooth_noise(200, 180, seed=50 + n)) for n in range(3)]


def test_localisation_sums_up_what_each_photo_gives(alexnet, small_index, photos, tmp_path):
    out = tmp_path / "result.json"
    result = experiments.localisation(photos, backbone=alexnet, index=small_index, layers=("conv3",), out=out)
    scores = []
    for photo in photos:
        retrieval = reconstruction.retrieve(photo.pixels, "conv3", backbone=alexnet, index=small_index, k=1)
        rng = np.random.default_rng([0, *photo.name.encode()])
        scores.append(reconstruction.localise(photo.pixels, retrieval, small_index, rng=rng).score)
    summary = result["summary"]["conv3"]["score"]
    assert summary["mean"] == pytest.approx(np.mean(scores))
    assert summary["low"] <= summary["mean"] <= summary["high"]
    assert summary["samples"] == 3
    assert json.loads(out.read_text()) == result


def test_a_stopped_experiment_measures_only_what_is_left(alexnet, small_index, photos, tmp_path):
    class StopError(Exception):
        pass

    def stop(done, text):
        if done > 0.5:
            raise StopError

    arguments = {"backbone": alexnet, "index": small_index, "layers": ("conv3",), "out": tmp_path / "result.json"}
    with pytest.raises(StopError):
        experiments.localisation(photos, progress=stop, **arguments)
    loaded = []

    class Watched(ArrayPhoto):
        def load(self):
            loaded.append(self.name)
            return super().load()

    watched = [Watched(photo.name, photo.pixels) for photo in photos]
    resumed = experiments.localisation(watched, **arguments)
    assert loaded == ["q2"]
    assert resumed == experiments.localisation(photos, backbone=alexnet, index=small_index, layers=("conv3",))


def test_results_with_other_settings_are_not_mixed(alexnet, small_index, photos, tmp_path):
    out = tmp_path / "result.json"
    experiments.localisation(photos[:1], backbone=alexnet, index=small_index, layers=("conv3",), out=out)
    with pytest.raises(ValueError, match="holds an experiment with other settings"):
        experiments.localisation(photos, backbone=alexnet, index=small_index, layers=("conv3",), seed=1, out=out)


def test_a_photo_that_cannot_be_read_is_recorded_and_left_out(alexnet, small_index, photos):
    class Broken(ArrayPhoto):
        def load(self):
            msg = "'broken' is cut off."
            raise images.ImageError(msg)

    samples = [Broken("broken", photos[0].pixels), *photos]
    result = experiments.localisation(samples, backbone=alexnet, index=small_index, layers=("conv3",))
    assert result["records"]["broken"]["skipped"] == "'broken' is cut off."
    assert result["summary"]["conv3"]["psnr_db"]["samples"] == 3


def test_nothing_to_measure_is_said(alexnet, small_index):
    with pytest.raises(ValueError, match="nothing to measure"):
        experiments.localisation([], backbone=alexnet, index=small_index)


def test_a_large_photo_is_not_rebuilt_from_its_indexed_self(alexnet, tmp_path):
    large = [ArrayPhoto(str(n), smooth_noise(700, 560, seed=n)) for n in range(2)]
    index = indexes.build(large, tmp_path / "it", backbone=alexnet, layers=("conv3",))
    assert index.photos_like(large[1].pixels) == index.photos_like(index.photo(1)) == [1]
    result = experiments.localisation(large[:1], backbone=alexnet, index=index)
    assert float(result["records"]["0"]["layers"]["conv3"]["psnr_db"]) < 30


def test_effective_radius_leaves_the_seeds_photo_out_and_is_valid_json(small_index, tmp_path, monkeypatch):
    out, asked, average = tmp_path / "radius.json", [], averaging.average

    def watched(descriptor, layer, *, exclude, **options):
        found = average(descriptor, layer, exclude=exclude, **options)
        asked.append((exclude, small_index.photo_of[small_index.locate(layer, found.ids).pictures]))
        return found

    monkeypatch.setattr(averaging, "average", watched)
    result = experiments.effective_radius(4, index=small_index, layers=("conv3",), k=10, out=out)
    assert json.loads(out.read_text(), parse_constant=pytest.fail) == result
    assert set(result["summary"]["conv3"]["effective_radius_px"]) == {"median", "low", "high", "samples"}
    assert len(asked) == 4
    for number, (excluded, used) in enumerate(asked):
        seed = small_index.locate("conv3", np.array([result["records"][str(number)]["layers"]["conv3"]["id"]]))
        assert excluded == (small_index.photo_of[seed.pictures[0]],)
        assert excluded[0] not in used
