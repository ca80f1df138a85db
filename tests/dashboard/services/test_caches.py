"""What sessions share."""

from corrcore import patch_index
from corrcore.patch_index import build
from dashboard.parts import photo_picker
from dashboard.services import caches
from tests.patch_index.exact import Means, noise_photos


def test_results_are_in_the_folder_that_the_environment_names_now(tmp_path, monkeypatch):
    for folder in (tmp_path / "first", tmp_path / "second", tmp_path / "first"):
        monkeypatch.setenv("CORRCORE_CACHE", str(folder))
        assert caches.results().folder == folder / "results"
        assert caches.results() is caches.results()


def test_layers_lie_as_deep_without_weights_as_with_them(tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    caches.kept_networks().clear()
    assert caches.layers_of("vgg16").index("conv4_3") == 12
    assert caches.layers_of("alexnet") == caches.network("alexnet").layers
    assert caches.layers_of("torchvision:lenet") == ()


def test_compressed_indexes_are_searched_approximately_where_the_environment_asks(tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    index = build(noise_photos(34), patch_index.path_of("it"), extractor=Means(), layers=("l1", "l2"), mirror=True)
    monkeypatch.setenv("CORRCORE_APPROXIMATE", "1")
    assert caches.open_index("it").exact  # for want of compressed descriptors
    index.compress()
    opened = caches.open_index("it")
    assert not opened.exact
    assert photo_picker.python_index(opened).endswith('/ "it", probing=patch_index.Probing())')
    (index.folder / "l2.ivfpq.json").unlink()  # as where compressing was stopped
    assert caches.open_index("it").exact
    monkeypatch.setenv("CORRCORE_APPROXIMATE", "")
    opened = caches.open_index("it")
    assert opened.exact
    assert photo_picker.python_index(opened).endswith('/ "it")')
