"""Where a result belongs."""

import pytest
from streamlit.testing.v1 import AppTest

from .scripts import run


def panel(kept: list, begun: list, automatic: bool, fails: bool) -> None:  # an AppTest script stands alone
    import streamlit as st

    from dashboard.parts.result_panel import result_panel

    def work(*, progress) -> None:
        begun.append(1)
        if fails:
            raise ValueError("smoothness must be above 0; got 0.")
        kept.append(42)

    found = result_panel(
        "No table yet",
        "It takes a second.",
        ("table", id(kept)),
        work,
        read=lambda: kept[0] if kept else None,
        automatic=automatic,
        button="Compute it",
    )
    if found is not None:
        st.text(f"result {found}")


def settled(at: AppTest) -> AppTest:
    """The script once its work is done."""
    for _ in range(50):
        at.run()
        assert not at.exception
        if not at.get("progress"):
            return at
    raise AssertionError("the work does not end")


def test_a_result_that_is_there_is_given_and_nothing_begins():
    begun: list[int] = []
    at = run(panel, [7], begun, True, False)
    assert at.text[0].value == "result 7"
    assert not at.button
    assert not begun


def test_a_button_makes_the_result():
    kept, begun = [], []
    at = run(panel, kept, begun, False, False)
    assert (at.subheader[0].value, at.button[0].label) == ("No table yet", "Compute it")
    assert not begun
    at.button[0].click()
    at = settled(at)
    assert at.text[0].value == "result 42"
    assert begun == [1]


def test_what_begins_by_itself_needs_no_button():
    begun: list[int] = []
    at = settled(run(panel, [], begun, True, False))
    assert at.text[0].value == "result 42"
    assert begun == [1]


@pytest.mark.parametrize("automatic", [True, False])
def test_a_failure_says_why_and_is_tried_again_only_by_the_button(automatic):
    begun: list[int] = []
    at = run(panel, [], begun, automatic, True)
    if not automatic:
        at.button[0].click()
    at = settled(at)
    at = settled(at)
    assert at.error[0].value == "smoothness must be above 0; got 0."
    assert begun == [1]
    at.button[0].click()
    settled(at)
    assert begun == [1, 1]


def test_on_a_shared_server_nothing_begins(monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    begun: list[int] = []
    at = run(panel, [], begun, True, False)
    assert at.info[0].value == "No table yet. This server is shared and computes nothing for its visitors."
    assert not at.button
    assert not begun


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
