"""What AppTest lacks: clicks on a picture."""

import base64
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
import torch
from safetensors.torch import save_file
from streamlit.components.v2 import manifest_scanner
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.testing.v1 import AppTest

from corrcore import datasets, decoding, networks, patch_index
from corrcore.datasets import DatasetSpec, KeypointDataset, drawn
from dashboard.parts import exports
from dashboard.services import caches

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def installed_packages_are_looked_through_once() -> Iterator[None]:
    """AppTest makes a server for every script, which looks for components in the metadata of all packages."""
    with pytest.MonkeyPatch.context() as patch:
        scan = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture
def click() -> Callable[..., AppTest]:
    """``click(at, key, x, y)`` clicks a pixel of the `image_click` with a key, and runs the script as `AppTest.run`."""
    numbers = iter(range(1, 1000))

    def click(at: AppTest, key: str, x: int, y: int) -> AppTest:
        return send(at, key, [{"x": x, "y": y, "id": next(numbers)}])

    return click


def send(at: AppTest, key: str, payload: object) -> AppTest:
    """What a browser sends for a click, right or wrong; a browser's JavaScript is all that AppTest leaves out."""
    [element] = [element for element in at.get("bidi_component") if element.proto.id.endswith(f"-{key}")]
    trigger = WidgetState(id=f"$$STREAMLIT_INTERNAL_KEY_{element.proto.id}__events")
    trigger.json_trigger_value = json.dumps([{"event": "click", "value": payload}])
    states = at._tree.get_widget_states()
    states.widgets.append(trigger)
    return at._run(states)


def component(at: AppTest, key: str) -> dict[str, Any]:
    """What a picture that answers was given."""
    [element] = [element for element in at.get("bidi_component") if element.proto.id.endswith(f"-{key}")]
    return json.loads(element.proto.json)


def picture(at: AppTest, key: str) -> np.ndarray:
    """The picture of an `image_click` with a key."""
    return decoding.decode(base64.b64decode(component(at, key)["image"].split(",")[1]))


def keys(at: AppTest) -> set[str]:
    """The last parts of the keys of all pictures that answer."""
    return {element.proto.id.rsplit("-", 1)[-1] for element in at.get("bidi_component")}


def texts(at: AppTest) -> list[str]:
    """Everything that is said on a page."""
    return [each.value for each in (*at.markdown, *at.caption, *at.info, *at.warning, *at.error)]


def parameters(at: AppTest) -> dict[str, str]:
    """The folded panel's parameters in force."""
    table = at.get("table")[0].value
    return {str(name): str(value) for name, value in table.itertuples(index=False)}


@contextmanager
def offered_as(name: str, data: KeypointDataset) -> Iterator[None]:
    """A data set on offer under a name, for a while."""
    datasets.register(DatasetSpec(name, data.title, data.synthetic, lambda: data))
    caches.dataset.clear()
    try:
        yield
    finally:
        datasets.unregister(name)
        caches.dataset.clear()


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of its own for all pages' tests, the samples' index in it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORRCORE_CACHE", str(folder))
        st.cache_resource.clear()
        yield folder
        st.cache_resource.clear()


@pytest.fixture
def open_page(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """``open_page("data", index="voc")``: a page opened with a query, its long work done."""
    monkeypatch.delenv("CORRCORE_DATA", raising=False)  # which would fill a field of the Data page

    def open_page(name: str, **query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "dashboard" / "app_pages" / f"{name}.py"), default_timeout=60)
        for key, value in query.items():
            at.query_params[key] = value
        return settled(at.run())

    return open_page


@pytest.fixture(scope="session")
def vgg_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of VGG16's weights; tests that need them are skipped where there are none beside the data."""
    data = os.environ.get("CORRCORE_DATA")
    file = Path(data or "", "..", "weights", "vgg16_torchvision_conv_fp16.npz")
    if not data or not file.exists():
        pytest.skip("there are no weights of VGG16 beside CORRCORE_DATA")
    kept = np.load(file)
    tensors = {
        f"{module}.{kind}": torch.from_numpy(kept[f"{layer}.{kind}"])
        for layer, module in _convolutions().items()
        for kind in ("weight", "bias")
    }
    folder = tmp_path_factory.mktemp("weights")
    save_file(tensors, folder / "vgg16.safetensors")
    return folder


def _convolutions() -> dict[str, str]:
    """VGG16's convolutions by the names of their layers: one before the rectifier that the layer is read at."""
    found = {}
    for layer, module in networks.spec("vgg16").layers.items():
        if layer.startswith("conv"):
            found[layer] = f"features.{int(module.removeprefix('features.')) - 1}"
    return found


@pytest.fixture
def vgg_index(cache_folder: Path, vgg_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a small index by VGG16."""
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(vgg_weights))
    photos = [animal for name, animal in drawn.to_search().items() if name.endswith(("-000", "-010"))]
    folder = patch_index.path_of("by-vgg16")
    patch_index.build(photos, folder, extractor=networks.open("vgg16"), scales=(0.5,))
    yield folder.name
    patch_index.delete(folder)


@pytest.fixture
def transformer_index(cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an index by a small vision transformer with random weights, whose cells see the whole image."""
    pytest.importorskip("timm", reason="networks of timm need timm")
    name = "timm:vit_tiny_patch16_224"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tensors = networks.spec(name).build().state_dict()
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(tmp_path))
    save_file(
        {key: value.contiguous() for key, value in tensors.items()}, tmp_path / "vit_tiny_patch16_224.safetensors"
    )
    photos = list(drawn.to_search().values())[:2]
    folder = patch_index.path_of("by-vit")
    patch_index.build(photos, folder, extractor=networks.open(name, device="cpu"), layers=("blocks.5",))
    yield folder.name
    patch_index.delete(folder)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the page offers to take along: makers of files by name, filled in by each run."""
    found: dict[str, Any] = {}

    def export_row(*, downloads: dict[str, Any], python: str, state: object = None) -> None:
        found.clear()
        found.update(downloads, python=python)

    monkeypatch.setattr(exports, "export_row", export_row)
    return found


def settled(at: AppTest, timeout_s: float = 60) -> AppTest:
    """The page once no job of its runs any more; without an exception on it."""
    deadline = time.monotonic() + timeout_s
    while any(button.label == "Cancel" for button in at.button) and time.monotonic() < deadline:
        time.sleep(0.2)
        at.run()
    assert not at.exception, at.exception
    return at
