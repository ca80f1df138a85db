"""Choices in the URL: what is said of links stays until another choice, and is said of links only; Back takes a
choice back.
"""

import pytest
from streamlit.testing.v1 import AppTest


def script(offered: dict) -> None:  # an AppTest script stands alone
    import streamlit as st

    from dashboard.parts import url_state

    url_state.check_link("fruit", offered["fruit"])
    st.selectbox("Fruit", offered["fruit"], key="fruit", bind="query-params")
    url_state.check_link("layers", offered["layers"])
    st.multiselect("Layers", offered["layers"], offered["layers"], key="layers", bind="query-params")
    names = offered["photo"]
    asked = url_state.asked("photo", names[0])
    url_state.check_choice("photo", asked, asked in names, "There is no photo {} here; this is another.")
    shown = asked if asked in names else names[0]
    url_state.show("photo", shown)
    st.text(shown)
    for name in names:
        st.button(name, on_click=url_state.choose, args=("photo", name))


@pytest.fixture
def offered():
    return {"fruit": ["apple", "pear", "plum"], "layers": ["conv3", "conv4"], "photo": ["cat", "cow", "dog"]}


def visit(offered, **query: str) -> AppTest:
    at = AppTest.from_function(script, args=(offered,), default_timeout=20)
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception
    return at


def warnings(at: AppTest) -> list[str]:
    return [warning.value for warning in at.warning]


def query(at: AppTest, name: str) -> str | None:
    value = at.query_params.get(name)
    return value[0] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"fruit": "kiwi"}, "This link asks for fruit kiwi, which does not exist here; another is shown."),
        ({"layers": "fc7"}, "This link asks for layers fc7, which does not exist here; another is shown."),
        ({"photo": "owl*"}, r"There is no photo owl\* here; this is another."),
    ],
)
def test_what_a_link_asks_for_and_there_is_not_is_said_in_every_run(offered, asked, sentence):
    at = visit(offered, **asked)
    for _ in range(3):
        assert warnings(at) == [sentence]
        at.run()


def test_it_is_said_until_another_choice_and_not_again(offered):
    at = visit(offered, fruit="kiwi", photo="owl").run()
    at.selectbox(key="fruit").set_value("plum").run()
    assert warnings(at) == ["There is no photo owl here; this is another."]
    at.button[2].click().run()
    assert at.text[0].value == "dog"
    assert warnings(at) == []
    at.selectbox(key="fruit").set_value("apple").run()
    assert warnings(at) == []


def test_choosing_nothing_is_no_link(offered):
    at = visit(offered)
    at.multiselect(key="layers").set_value([]).run()
    assert warnings(at) == []
    at = visit(offered, layers="")
    assert warnings(at) == []


def test_what_goes_away_with_another_choice_is_no_link(offered):
    at = visit(offered, fruit="pear", photo="cow")
    assert at.text[0].value == "cow"
    offered |= {"fruit": ["fig", "date"], "photo": ["owl"]}  # as another data set does
    at.run()
    assert warnings(at) == []
    assert at.text[0].value == "owl"


def test_a_choice_goes_into_the_url_and_back_takes_it_out(offered):
    at = visit(offered)
    assert query(at, "photo") is None
    at.button[1].click().run()
    assert (query(at, "photo"), at.text[0].value) == ("cow", "cow")
    del at.query_params["photo"]
    at.run()
    assert at.text[0].value == "cat"
    assert query(at, "photo") is None


def test_a_choice_goes_along_to_another_page_whose_url_does_not_have_it(offered):
    at = visit(offered)
    at.button[1].click().run()
    session = at.session_state["corrcore"]
    session.path, session.in_url = "another page", {}  # as `arrive` leaves it
    del at.query_params["photo"]
    at.run()
    assert at.text[0].value == "cow"


def keyed_script() -> None:  # an AppTest script stands alone
    import streamlit as st

    from dashboard.parts import url_state

    titles = {"sift20": "SIFT, radius 20 px", "conv3": "conv3"}
    url_state.spell_out("features", titles)
    url_state.check_link("features", [*titles, *titles.values()])
    st.multiselect("Features", list(titles), ["conv3"], format_func=titles.get, key="features", bind="query-params")


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (["sift20"], ["sift20"]),
        (["SIFT, radius 20 px"], ["sift20"]),
        (["conv3", "sift20"], ["conv3", "sift20"]),
        (["sift20", "fc7"], ["sift20"]),
    ],
)
def test_links_name_options_by_their_keys_or_their_titles(asked, chosen):
    at = AppTest.from_function(keyed_script, default_timeout=20)
    at.query_params["features"] = asked
    for _ in range(2):
        at.run()
        assert not at.exception
        assert at.multiselect(key="features").value == chosen
        assert len(warnings(at)) == ("fc7" in asked)
    at.multiselect(key="features").set_value(["conv3"]).run()
    assert at.multiselect(key="features").value == ["conv3"]


def numbers_script() -> None:  # an AppTest script stands alone
    import numpy as np
    import streamlit as st

    from dashboard.parts import url_state

    url_state.check_number("opacity", 0, 1)
    st.slider("Opacity", 0.0, 1.0, 0.6, key="opacity", bind="query-params")
    picture = np.zeros((50, 80, 3), np.uint8)
    url_state.check_pixel(picture)
    st.text(str(url_state.pixel_of(picture)))
    st.button("elsewhere", on_click=url_state.choose, args=("at", "5,6"))


@pytest.mark.parametrize("asked", ["17", "nan", "half", "99999999999999999999"])
def test_a_number_that_a_widget_does_not_take_is_said(asked):
    at = AppTest.from_function(numbers_script, default_timeout=20)
    at.query_params["opacity"] = asked
    for _ in range(2):
        at.run()
        sentence = f"This link asks for opacity {asked}, which is no number from 0 to 1; another is shown."
        assert warnings(at) == [sentence]
        assert at.slider(key="opacity").value == 0.6
    at.slider(key="opacity").set_value(0.3).run()
    assert warnings(at) == []


@pytest.mark.parametrize("asked", ["1e99,7", "99999,-5", "80,10", "here"])
def test_a_pixel_that_is_not_in_the_picture_is_said(asked):
    at = AppTest.from_function(numbers_script, default_timeout=20)
    at.query_params["at"] = asked
    at.run()
    assert warnings(at) == [f"This link asks for the pixel {asked}, which is not in this picture; another is shown."]
    assert at.text[0].value == "(40, 25)"
    at.button[0].click().run()
    assert warnings(at) == []
    assert at.text[0].value == "(5, 6)"


def default_script(usual: list[str]) -> None:  # an AppTest script stands alone
    import streamlit as st

    from dashboard.parts import url_state

    url_state.follow_default("prior", usual[0])
    st.selectbox("Prior", usual, key="prior", bind="query-params")


def test_what_other_data_begin_with_is_shown_unless_something_else_was_chosen():
    usual = ["one", "five", "none"]
    at = AppTest.from_function(default_script, args=(usual,), default_timeout=20).run()
    usual[:] = ["five", "one", "none"]
    assert at.run().selectbox(key="prior").value == "five"
    at.selectbox(key="prior").set_value("none").run()
    usual[:] = ["one", "five", "none"]
    assert at.run().selectbox(key="prior").value == "none"
    assert not at.exception
