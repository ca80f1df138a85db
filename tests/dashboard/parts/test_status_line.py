"""The foot of every page: what is in memory, and how to get what is not here."""

import subprocess
import sys

import pytest

from corrcore import networks
from corrcore.wording import size_text
from dashboard.parts.status_line import ways_to_get
from dashboard.services import caches
from dashboard.services.kept_networks import kept_networks

from .scripts import run


def line_script() -> None:  # an AppTest script stands alone
    from dashboard.parts.status_line import status_line

    status_line()


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    """Nothing in memory, and no weights but those that come along."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("CORRCORE_WEIGHTS", raising=False)
    kept_networks().clear()
    yield tmp_path
    kept_networks().clear()


def test_it_says_which_networks_are_in_memory_how_large_and_where():
    assert not run(line_script).caption
    network = caches.network("alexnet")
    [said] = run(line_script).caption
    assert network.n_bytes == sum(each.nbytes for each in network._model.state_dict().values() if not each.is_meta)
    assert said.value == f"In memory\\: AlexNet, {size_text(network.n_bytes)} on {network.device}"
    assert 5e6 < network.n_bytes < 20e6


def page_script() -> None:  # an AppTest script stands alone
    from dashboard.parts.status_line import status_line
    from dashboard.services import caches

    say = status_line()
    caches.network("alexnet")
    say()


def test_what_a_page_has_opened_is_said_once_it_has_run():
    [said] = run(page_script).caption
    assert "AlexNet" in said.value


def test_every_known_network_without_weights_is_named_with_both_ways_to_get_it(empty, monkeypatch):
    ways = ways_to_get()
    assert "- **VGG16**: `corrcore network fetch vgg16` or `vgg16.safetensors`" in ways
    assert "- **CaffeNet**: `caffenet.safetensors`" in ways
    assert "- **MobileNetV2** · torchvision: `corrcore network fetch mobilenetv2` or `mobilenetv2.safetensors`" in ways
    assert len(ways) == 2 + len(networks.aliases())
    assert not any("AlexNet" in each for each in ways)
    (empty / "vgg16.safetensors").touch()
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(empty))
    assert not any("VGG16" in each for each in ways_to_get())


def test_the_files_it_names_are_those_that_are_looked_for(empty, monkeypatch):
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(empty))
    for line in ways_to_get():
        (empty / line.rpartition("`")[0].rpartition("`")[2]).touch()
    assert ways_to_get() == []


def test_a_page_without_networks_in_memory_costs_no_torch():
    code = "import sys, dashboard.parts.status_line; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
