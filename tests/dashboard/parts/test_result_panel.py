"""Where a result belongs."""

from .scripts import run


def test_empty_state_names_what_is_missing_and_its_button_mends_it():
    def script() -> None:
        import streamlit as st

        from dashboard.parts.result_panel import empty_state

        if empty_state("No index yet", "It takes two minutes.", button="Build it"):
            st.text("building")

    at = run(script)
    assert at.subheader[0].value == "No index yet"
    assert at.markdown[0].value == "It takes two minutes."
    assert not at.text
    at.button[0].click().run()
    assert at.text[0].value == "building"


def test_empty_state_without_a_remedy_has_no_button():
    def script() -> None:
        from dashboard.parts.result_panel import empty_state

        empty_state("No photo", "The folder holds none.")

    assert not run(script).button
