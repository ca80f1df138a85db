"""The Python half of the components; `tests/browser` proves the other half."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from dashboard.components import compare, image_click

from .conftest import send


def encoded(size: tuple[int, int] = (20, 10), file_format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, file_format)
    return file.getvalue()


def clicking(image: bytes) -> None:
    import streamlit as st

    from dashboard.components import Outline, image_click

    def chosen(x: int, y: int) -> None:
        st.session_state.at = f"{x},{y}"
        st.session_state.setdefault("calls", []).append((x, y))

    at = st.text_input("Pixel", key="at", bind="query-params")
    st.session_state.result = image_click(
        image,
        alt="A teal rectangle",
        key="picture",
        boxes=[Outline((-2, 0, 30, 10), "orange", dashed=True, label="field")],
        grid=(1.5, 1.5, 4, 5, 2),
        selected=(int(at.split(",")[0]), int(at.split(",")[1])) if at else None,
        on_click=chosen,
    )


@pytest.fixture
def at() -> AppTest:
    at = AppTest.from_function(clicking, args=(encoded(),), default_timeout=20).run()
    assert not at.exception
    return at


def data(at: AppTest) -> dict:
    [component] = at.get("bidi_component")
    return json.loads(component.proto.json)


@pytest.mark.parametrize(("file_format", "mime"), [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp")])
def test_picture_travels_unchanged_with_its_size_and_type(file_format, mime):
    image = encoded((7, 3), file_format)
    at = AppTest.from_function(clicking, args=(image,), default_timeout=20).run()
    head, body = data(at)["image"].split(",")
    assert head == f"data:image/{mime};base64"
    assert base64.b64decode(body) == image
    assert data(at)["size"] == [7, 3]
    assert data(at)["alt"] == "A teal rectangle"


def test_boxes_and_grid_travel_as_numbers(at):
    assert data(at)["grid"] == [1.5, 1.5, 4, 5, 2]
    [box] = data(at)["boxes"]
    assert box == {"box": [-2, 0, 30, 10], "colour": "orange", "width": 2, "dashed": True, "label": "field"}


def test_no_click_is_none(at):
    assert at.session_state.result is None


def test_click_reaches_callback_before_the_run_and_result_in_it(at, click):
    click(at, "picture", 19, 9)
    assert not at.exception
    assert at.session_state.calls == [(19, 9)]
    assert at.session_state.result == (19, 9)
    assert at.query_params["at"] == "19,9"
    assert data(at)["selected"] == [19, 9]


def test_click_is_delivered_once(at, click):
    click(at, "picture", 3, 4)
    at.run()
    assert at.session_state.result is None
    assert at.session_state.calls == [(3, 4)]


def test_second_click_on_the_same_pixel_is_another_click(at, click):
    click(at, "picture", 3, 4)
    click(at, "picture", 3, 4)
    assert at.session_state.calls == [(3, 4), (3, 4)]
    assert at.session_state.result == (3, 4)


def test_quick_clicks_are_delivered_in_order_and_repeats_of_them_are_not(at):
    first, second, third = ({"x": number, "y": 0, "id": number} for number in (1, 2, 3))
    send(at, "picture", [first, second])
    send(at, "picture", [first, second, third])  # the browser had not seen the answer yet
    assert at.session_state.calls == [(1, 0), (2, 0), (3, 0)]
    assert data(at)["answered"] == 3


@pytest.mark.parametrize(
    "payload",
    [
        [{"x": 20, "y": 0, "id": 1}],
        [{"x": 0, "y": -1, "id": 1}],
        [{"x": 0.5, "y": 0, "id": 1}],
        [{"x": "0", "y": 0, "id": 1}],
        [{"x": 0, "y": 0}],
        [{"x": 0, "y": 0, "id": 1, "point": 0}],  # there is no point on this picture
        [{"x": 0, "y": 0, "id": 1, "point": -1}],
        [{"x": 0, "y": 0, "id": 1, "point": "0"}],
        [{"x": 0, "y": 0, "id": 1, "point": 0, "to": [1, 1]}],
        [None],
        {"x": 0, "y": 0, "id": 1},
        "3,4",
        None,
    ],
)
def test_click_that_no_browser_of_ours_sends_is_dropped(at, payload):
    send(at, "picture", payload)
    assert not at.exception
    assert at.session_state.result is None
    assert "calls" not in at.session_state


def moving(image: bytes) -> None:
    import streamlit as st

    from dashboard.components import PlacedPoint, image_click

    places = st.session_state.setdefault("places", [(3.0, 4.5), (7.0, 8.0)])

    def move(number: int, place: tuple[int, int]) -> None:
        places[number] = place

    points = [PlacedPoint(place, str(number), "red", moves=True) for number, place in enumerate(places)]
    st.session_state.result = image_click(image, alt="Two points", key="picture", points=points, on_move=move)


def test_a_point_that_is_moved_is_told_by_its_number_and_is_no_click():
    at = AppTest.from_function(moving, args=(encoded(),), default_timeout=20).run()
    drawn = {"at": [3.0, 4.5], "label": "0", "colour": "red", "ring": False, "chosen": False, "moves": True}
    assert data(at)["points"][0] == drawn
    send(at, "picture", [{"x": 12, "y": 5, "id": 1, "point": 1}, {"x": 9, "y": 9, "id": 2, "point": 2}])
    assert not at.exception
    assert [each["at"] for each in data(at)["points"]] == [[3.0, 4.5], [12.0, 5.0]]
    assert at.session_state.result is None


@pytest.mark.parametrize("call", [image_click, lambda image, **kw: compare(encoded(), image, labels=("a", "b"), **kw)])
def test_picture_that_is_none_is_refused(call):
    with pytest.raises(ValueError, match="image must be the content of a PNG, JPEG or WebP file; got 6 bytes"):
        call(b"<svg/>", alt="", key="broken")


def test_compare_of_unequal_sizes_is_refused():
    with pytest.raises(ValueError, match=r"must be of one size .* got 20 x 10 and 10 x 20 pixels"):
        compare(encoded((20, 10)), encoded((10, 20)), labels=("a", "b"), alt="", key="unequal")


def test_compare_sends_both_pictures_and_their_labels():
    def script(before: bytes, after: bytes) -> None:
        from dashboard.components import compare

        compare(before, after, labels=("query", "rebuilt"), alt="A cat", key="pair", max_height=300)

    before, after = encoded(), encoded(file_format="JPEG")
    at = AppTest.from_function(script, args=(before, after), default_timeout=20).run()
    assert not at.exception
    sent = data(at)
    assert [base64.b64decode(url.split(",")[1]) for url in sent["images"]] == [before, after]
    assert (sent["labels"], sent["alt"], sent["maxHeight"]) == (["query", "rebuilt"], "A cat", 300)


def test_values_of_another_size_are_refused():
    text = "values must be one per pixel of a picture of 20 x 10; got 10 x 20."
    with pytest.raises(ValueError, match=re.escape(text)):
        image_click(encoded(), alt="", key="values", values=np.zeros((20, 10)))
