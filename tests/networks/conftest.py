"""What several tests of networks share."""

import pytest


@pytest.fixture
def no_weights_here(tmp_path, monkeypatch):
    """Torch's folder, empty: what was downloaded to this machine must not change what is tested."""
    monkeypatch.delenv("CORRCORE_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    checkpoints = tmp_path / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    return checkpoints
