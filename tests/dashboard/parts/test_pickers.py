"""What several pages let one choose."""

import pytest
from streamlit.testing.v1 import AppTest

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
    monkeypatch.delenv("CORRCORE_WEIGHTS", raising=False)
    return tmp_path


def test_a_network_without_weights_says_so_in_the_menu_and_where_they_belong(nowhere):
    at = run(network_script)
    assert at.selectbox[0].options == ["alexnet", "vgg16 · no weights", "caffenet · no weights"]
    at.selectbox[0].set_value("vgg16").run()
    assert not at.text
    [error] = at.error
    assert error.value.startswith("The weights of vgg16 ")
    assert "in the folder CORRCORE\\_WEIGHTS" in error.value
    at.selectbox[0].set_value("alexnet").run()
    assert at.text[0].value == "alexnet"


@pytest.mark.parametrize("asked", ["vgg16", "vgg16 · no weights"])
def test_a_link_names_a_network_whether_its_weights_are_here_or_not(nowhere, monkeypatch, asked):
    at = AppTest.from_function(network_script, default_timeout=20)
    at.query_params["network"] = asked
    at.run()
    assert at.selectbox[0].value == "vgg16"
    assert not at.warning
    (nowhere / "vgg16.safetensors").touch()  # damaged, but there
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(nowhere))
    at = AppTest.from_function(network_script, default_timeout=20)
    at.query_params["network"] = asked
    at.run()
    assert (at.selectbox[0].options[:2], at.selectbox[0].value) == (["alexnet", "vgg16"], "vgg16")
    assert not at.warning
