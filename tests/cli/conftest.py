import pytest

from corrcore.cli import main


@pytest.fixture
def run(tmp_path):
    """Runs a command as a terminal does, with indexes in a folder of its own; its exit code."""
    return lambda *words: main(["--root", str(tmp_path / "indexes"), *map(str, words)])
