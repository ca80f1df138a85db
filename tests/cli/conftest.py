import pytest

from corrcore.cli import main
from tests.cli.matched import POINTS, coco, save, window


@pytest.fixture
def run(tmp_path):
    """Runs a command as a terminal does, with indexes in a folder of its own; its exit code."""
    return lambda *words: main(["--root", str(tmp_path / "indexes"), *map(str, words)])


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two windows of one picture, 32 px apart, and points of the first in a file."""
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CORRCORE_DATA", raising=False)
    source, target = save(tmp_path / "a.png", window(96, 96)), save(tmp_path / "b.png", window(128, 80))
    (tmp_path / "points.json").write_text(coco("a.png", {"hidden": None} | POINTS))
    return source, target, tmp_path / "points.json"
