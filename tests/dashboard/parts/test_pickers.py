"""What several pages let one choose."""

import pytest
from streamlit.testing.v1 import AppTest

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
