"""What sessions share."""

from dashboard.services import caches


def test_results_are_in_the_folder_that_the_environment_names_now(tmp_path, monkeypatch):
    for folder in (tmp_path / "first", tmp_path / "second", tmp_path / "first"):
        monkeypatch.setenv("CORRCORE_CACHE", str(folder))
        assert caches.results().folder == folder / "results"
        assert caches.results() is caches.results()
