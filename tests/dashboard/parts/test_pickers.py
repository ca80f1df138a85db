"""What several pages let one choose."""

import pytest
import torch
from streamlit.testing.v1 import AppTest

from corrcore.networks import registry
from dashboard.parts.pickers import network_named
from dashboard.services.kept_networks import kept_networks

from .scripts import run


def pages_script() -> None:  # an AppTest script stands alone
    import streamlit as st

    from dashboard.parts.pickers import choose_page

    st.text(choose_page(st, "; 228 objects", 15, 3, "sheet"))


@pytest.mark.parametrize(("asked", "shown"), [(999, 15), (15, 15), (7, 7), (1, 1)])
def test_a_page_beyond_the_last_is_the_last(asked, shown):
    at = run(pages_script)
    assert (at.number_input[0].label, at.text[0].value) == ("Page (of 15; 228 objects)", "3")
    at.number_input[0].set_value(asked).run()
    assert (at.number_input[0].value, at.text[0].value) == (shown, str(shown))


def network_script() -> None:  # an AppTest script stands alone
    import streamlit as st

    from dashboard.parts.pickers import choose_network

    place, below = st.columns(2)
    st.text(choose_network(place, below=below).name)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without weights but those that come along."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.delenv("CORRCORE_WEIGHTS", raising=False)
    kept_networks().clear()
    yield tmp_path
    kept_networks().clear()


def test_networks_are_offered_whose_weights_are_here_with_what_they_are_from(nowhere, monkeypatch):
    assert run(network_script).selectbox[0].options == ["AlexNet · embedded"]
    for file in ("vgg16", "tf_efficientnet_lite0", "mobilenet_v2"):
        (nowhere / f"{file}.safetensors").touch()  # damaged, but there
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(nowhere))
    at = run(network_script)
    one_after_the_other = ["VGG16 · a file", "MobileNetV2 · torchvision", "EfficientNet-Lite0 · timm"]
    assert at.selectbox[0].options == ["AlexNet · embedded", *one_after_the_other]


def asked_for(network: str) -> AppTest:
    at = AppTest.from_function(network_script, default_timeout=20)
    at.query_params["network"] = network
    at.run()
    assert not at.exception
    return at


@pytest.mark.parametrize("asked", ["vgg16", "VGG16", "vgg16 · no weights", "VGG16 · a file"])
def test_a_link_to_a_network_without_weights_says_where_they_belong(nowhere, asked):
    at = asked_for(asked)
    assert at.selectbox[0].options == ["AlexNet · embedded", "VGG16 · no weights"]
    assert at.selectbox[0].value == "vgg16"
    assert not at.text
    assert not at.warning
    [error] = at.error
    assert error.value.startswith("The weights of vgg16 ")
    assert "in the folder CORRCORE\\_WEIGHTS" in error.value
    at.selectbox[0].set_value("alexnet").run()
    assert at.text[0].value == "alexnet"


@pytest.mark.parametrize(
    "asked", ["mobilenetv2", "torchvision:mobilenet_v2", "MobileNetV2", "MobileNetV2 · torchvision"]
)
def test_a_link_names_a_network_by_any_of_its_names(nowhere, monkeypatch, asked):
    (nowhere / "mobilenet_v2.safetensors").touch()  # damaged, but there
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(nowhere))
    at = asked_for(asked)
    assert at.selectbox[0].options == ["AlexNet · embedded", "MobileNetV2 · torchvision"]
    assert at.selectbox[0].value == "mobilenetv2"
    assert not at.warning


def test_a_link_to_an_unknown_network_shows_another_and_says_so(nowhere):
    at = asked_for("nonet")
    assert at.text[0].value == "alexnet"
    assert "nonet" in at.warning[0].value


@pytest.mark.parametrize(
    "asked", ["dinov2-s@7", "timm:vit_small_patch14_dinov2.lvd142m@7", "ViT-S/14 as in DINOv2, every 7 px"]
)
def test_a_link_names_a_finer_grid_by_any_of_its_names(asked):
    assert network_named(asked) == network_named(f"{asked} · timm") == "dinov2-s@7"


@pytest.mark.parametrize(
    "asked", ["nonet@7", "dinov2-s@7@7", "ViT-S/14 as in DINOv2, every 7 px, every 7 px", "dinov2-s@x"]
)
def test_a_link_to_no_known_grid_names_no_network(asked):
    assert network_named(asked) is None


def test_a_link_to_a_finer_grid_opens_it_and_puts_it_into_the_menu(nowhere, monkeypatch):
    timm = pytest.importorskip("timm")
    monkeypatch.setitem(registry._ALIASES, "little", "timm:test_vit.r160_in1k")
    torch.save(timm.create_model("test_vit").state_dict(), nowhere / "test_vit.r160_in1k.pth")
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(nowhere))
    at = asked_for("little@8")
    plain, finer = "timm:test_vit.r160_in1k · timm", "timm:test_vit.r160_in1k, every 8 px · timm"
    assert at.selectbox[0].options == ["AlexNet · embedded", plain, finer]
    assert at.text[0].value == "timm:test_vit.r160_in1k@8"
    assert not at.warning
    at.run()
    assert at.text[0].value == "timm:test_vit.r160_in1k@8"
    at.selectbox[0].set_value("little").run()
    assert at.text[0].value == "timm:test_vit.r160_in1k"


def test_a_link_to_a_grid_that_a_network_cannot_have_says_so(nowhere):
    at = asked_for("alexnet@4")
    assert not at.text
    [error] = at.error
    assert "needs a vision transformer" in error.value
