"""What sessions share."""

from dashboard.services import caches


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
