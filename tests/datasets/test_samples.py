import subprocess
import sys

import numpy as np
import pytest

from corrcore.datasets import samples as samples_module
from corrcore.datasets.samples import samples


@pytest.mark.parametrize("name", samples())
def test_sample_loads_as_a_colour_photograph(name):
    image = samples()[name].load()
    assert image.dtype == np.uint8
    assert min(image.shape[:2]) >= 300
    # Not a grey picture stored as three equal channels.
    assert np.ptp(image.astype(int), axis=2).mean() > 10


def test_sample_is_the_picture_its_package_gives():
    skimage_data = pytest.importorskip("skimage.data")
    np.testing.assert_array_equal(samples()["chelsea"].load(), skimage_data.chelsea())
    np.testing.assert_array_equal(samples()["motorcycle-right"].load(), skimage_data.stereo_motorcycle()[1])


def test_samples_names_are_keys_fit_for_an_address():
    for name, sample in samples().items():
        assert sample.name == name
        assert name.replace("-", "").isalnum()
        assert name == name.lower()


def test_samples_say_where_they_come_from_and_their_licence():
    for sample in samples().values():
        assert sample.title
        assert sample.licence
        assert ("scikit-image" in sample.source) == (sample.package == "skimage")


def test_samples_of_one_scene_are_the_stereo_pair():
    scenes = [sample.scene for sample in samples().values()]
    assert {scene for scene in scenes if scenes.count(scene) > 1} == {"motorcycle"}


def test_load_imports_neither_package_nor_touches_the_network():
    code = (
        "import sys\n"
        "from corrcore.datasets.samples import samples\n"
        "events = []\n"
        "sys.addaudithook(lambda event, _: events.append(event))\n"
        "for sample in samples().values(): sample.load()\n"
        "print({'skimage', 'sklearn', 'pooch'} & set(sys.modules), [e for e in events if e.startswith('socket')])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set() []"


@pytest.mark.parametrize("spec", [None, sys.__spec__])
def test_load_without_the_package_or_file_names_what_to_install(monkeypatch, spec):
    monkeypatch.setattr(samples_module.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(FileNotFoundError, match=r"'china' is .*china\.jpg in scikit-learn.* install scikit-learn"):
        samples()["china"].load()
