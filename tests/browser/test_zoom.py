"""Pictures that are enlarged alike, points that lie on them, and keys that move one: in a real Chromium."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import App

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 120, 80
SCRIPT = """
import io

import numpy as np
import streamlit as st
from PIL import Image

from dashboard.components import PlacedPoint, image_click

y, x = np.mgrid[:80, :120]
file = io.BytesIO()
Image.fromarray(np.stack([x, y, np.full_like(x, 128)], axis=-1).astype(np.uint8)).save(file, "PNG")
here = st.session_state
places = here.setdefault("places", [(30, 20), (90, 60)])


def note(*said) -> None:
    here.setdefault("calls", []).append(said)


def move(number, place) -> None:
    places[number] = place
    note("moved", number, place)


def follow(x, y) -> None:
    here.at = (x, y)
    note("at", x, y)


version = st.query_params.get("version", "")
for key, more in {
    "left": {"points": [PlacedPoint(at, str(n), moves=True) for n, at in enumerate(places)], "on_move": move},
    "right": {"values": x + y / 100, "points": [PlacedPoint((10.5, 20.25), "truth", "rgb(255, 0, 0)", ring=True)]},
    "own": {"selected": here.get("at", (60, 40)), "follows": True, "on_click": follow, "zoom": ""},
}.items():
    usual = {"zoom": "both", "on_click": lambda x, y: note(x, y)}
    image_click(file.getvalue(), alt=key, key=key + version, width=360, **usual | more)
st.button("Others", on_click=lambda: st.query_params.update(version=version + "x"))
st.text(f"calls {here.get('calls', [])}")
st.html("<div style='height: 2000px'></div>")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zoom") / "script.py"
    path.write_text(SCRIPT, "utf-8")
    return path


@pytest.fixture
def app(serve: Callable[..., App], script: Path) -> App:
    return serve(script)


def visit(app: App, **options: Any) -> Page:
    page = app.open(**options)
    for key in ("left", "right", "own"):
        expect(page.locator(f".st-key-{key} img[alt]").last).to_have_js_property("complete", True)
    return page


def frame(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key} .frame")


def place(page: Page, key: str, x: float, y: float) -> tuple[float, float]:
    """Where on the screen the centre of a pixel is, however much the picture is enlarged."""
    box = page.locator(f".st-key-{key} img").last.bounding_box()
    assert box
    return box["x"] + (x + 0.5) / WIDTH * box["width"], box["y"] + (y + 0.5) / HEIGHT * box["height"]


def window(page: Page, key: str) -> tuple[float, float, float]:
    """How much a picture is enlarged, and the shares of its width and height that lie left of and above the frame."""
    outer, inner = (page.locator(f".st-key-{key} {part}").last.bounding_box() for part in (".frame", "img"))
    assert outer
    assert inner
    return (
        inner["width"] / outer["width"],
        (outer["x"] - inner["x"]) / inner["width"],
        (outer["y"] - inner["y"]) / inner["height"],
    )


def expect_calls(page: Page, *calls: tuple) -> None:
    expect(page.get_by_text("calls")).to_have_text(f"calls {list(calls)}")


def test_the_wheel_enlarges_pictures_of_a_group_alike_around_the_pointer(app):
    page = visit(app)
    at = place(page, "left", 100, 10)
    page.mouse.click(*at)
    expect_calls(page, (100, 10))
    page.mouse.wheel(0, -800)
    expect(frame(page, "left")).to_have_class(re.compile("zoomed"))
    scale, left, top = window(page, "left")
    assert scale == pytest.approx(4, rel=0.01)
    assert place(page, "left", 100, 10) == pytest.approx(at, abs=2)  # wheels are told in whole pixels, here times three
    assert window(page, "right") == pytest.approx((scale, left, top), abs=0.01)
    assert window(page, "own") == pytest.approx((1, 0, 0), abs=0.01)
    page.mouse.click(*place(page, "right", 102, 9))
    expect_calls(page, (100, 10), (102, 9))
    tip = page.locator(".st-key-right .tip")
    expect(tip).to_have_text("x 102, y 9: 102.090")
    outer, inner = frame(page, "right").bounding_box(), tip.bounding_box()
    assert outer
    assert inner
    assert outer["x"] <= inner["x"]
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"]
    page.mouse.wheel(0, 4000)
    assert window(page, "left") == pytest.approx((1, 0, 0), abs=0.01)


def test_before_a_picture_was_clicked_the_wheel_scrolls_the_page(app):
    page = visit(app)
    page.mouse.move(*place(page, "left", 100, 10))
    before = place(page, "left", 0, 0)
    page.mouse.wheel(0, 200)
    for _ in range(50):
        if place(page, "left", 0, 0)[1] < before[1] - 50:
            break
        page.wait_for_timeout(100)
    assert place(page, "left", 0, 0)[1] < before[1] - 50
    assert window(page, "left")[0] == pytest.approx(1)


def test_an_enlarged_picture_is_dragged_and_shown_whole_again(app):
    page = visit(app)
    frame(page, "left").focus()
    for _ in range(3):
        page.keyboard.press("+")
    scale, left, top = window(page, "left")
    assert scale == pytest.approx(1.5**3, rel=0.01)
    assert (left, top) == pytest.approx(((1 - 1 / scale) / 2,) * 2, abs=0.02)
    x, y = place(page, "left", 60, 40)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y - 30, steps=5)
    page.mouse.up()
    moved = window(page, "left")
    assert moved == pytest.approx((scale, left + 60 / 360 / scale, top + 30 / 240 / scale), abs=0.01)
    page.mouse.click(*place(page, "left", 70, 50))
    expect_calls(page, (70, 50))  # and dragging was no click
    page.mouse.move(*place(page, "left", 65, 45))
    expect(page.locator(".st-key-left .marks .line")).to_have_count(1)  # the cross follows the pointer again
    page.locator(".st-key-left .all").click()
    assert window(page, "right") == pytest.approx((1, 0, 0), abs=0.01)
    expect(page.locator(".st-key-left .all")).to_be_hidden()
    expect_calls(page, (70, 50))


def test_arrow_keys_keep_the_place_in_view(app):
    page = visit(app)
    frame(page, "left").focus()
    for _ in range(4):
        page.keyboard.press("+")
    for _ in range(6):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Enter")
    expect_calls(page, (119, 40))
    scale, left, _ = window(page, "left")
    assert left == pytest.approx(1 - 1 / scale, abs=0.01)


def test_two_fingers_enlarge_and_move_the_picture_and_click_nothing(app):
    page = visit(app, width=390, has_touch=True, is_mobile=True, device_scale_factor=2)
    session = page.context.new_cdp_session(page)
    x, y = place(page, "left", 60, 40)

    def touch(kind: str, *fingers: tuple[float, float]) -> None:
        points = [{"x": at_x, "y": at_y, "id": number} for number, (at_x, at_y) in enumerate(fingers)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (x - 20, y))
    touch("touchStart", (x - 20, y), (x + 20, y))
    for apart in (25, 30, 40):
        touch("touchMove", (x - apart, y), (x + apart, y))
    touch("touchEnd", (x - 40, y))
    touch("touchEnd")
    scale, left, _ = window(page, "left")
    assert scale == pytest.approx(2, rel=0.05)
    assert left == pytest.approx(0.25, abs=0.03)
    assert window(page, "right") == pytest.approx(window(page, "left"), abs=0.01)
    page.touchscreen.tap(*place(page, "left", 60, 40))
    expect_calls(page, (60, 40))


def test_a_point_is_dragged_clicked_and_lies_where_it_belongs(app):
    page = visit(app)
    page.mouse.move(*place(page, "left", 30, 20))
    page.mouse.down()
    page.mouse.move(*place(page, "left", 50, 35), steps=4)
    page.mouse.up()
    expect_calls(page, ("moved", 0, (50, 35)))
    x, y = place(page, "left", 90, 60)
    page.mouse.click(x + 6, y - 5)  # beside it: 2 pixels away
    expect_calls(page, ("moved", 0, (50, 35)), (90, 60))
    frame(page, "left").focus()
    page.keyboard.press("+")
    for locator, at in (
        (page.locator(".st-key-left .point").first, place(page, "left", 50, 35)),
        (page.locator(".st-key-right .point.ring"), place(page, "right", 10.5, 20.25)),
    ):
        box = locator.bounding_box()
        assert box
        assert (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2) == pytest.approx(at, abs=0.6)
    assert page.locator(".st-key-left .point").all_inner_texts() == ["0", "1"]


def test_a_finger_drags_a_point(app):
    page = visit(app, width=390, has_touch=True, is_mobile=True, device_scale_factor=2)
    session = page.context.new_cdp_session(page)
    for kind, at in (("touchStart", (30, 20)), ("touchMove", (40, 25)), ("touchMove", (61, 18)), ("touchEnd", None)):
        points = [] if at is None else [dict(zip("xy", place(page, "left", *at), strict=True))]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect_calls(page, ("moved", 0, (61, 18)))


def test_arrow_keys_move_the_point_that_is_followed_and_ask_once_they_stop(app):
    page = visit(app)
    expect(page.get_by_role("application", name="own. Arrow keys move the point.")).to_have_count(1)
    frame(page, "own").focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect_calls(page, ("at", 68, 41))
    page.keyboard.press("ArrowUp")
    expect_calls(page, ("at", 68, 41), ("at", 68, 40))


def test_arrow_keys_move_the_followed_point_from_where_it_is_wherever_the_pointer_rests(app):
    page = visit(app)
    page.mouse.move(*place(page, "own", 90, 60))
    frame(page, "own").focus()
    page.keyboard.press("ArrowRight")
    page.mouse.move(*place(page, "own", 20, 10))
    expect_calls(page, ("at", 61, 40))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")  # at once: the step is not lost
    expect_calls(page, ("at", 61, 40), ("at", 62, 40))


def test_pictures_that_are_replaced_listen_no_more(app):
    page = visit(app)
    page.evaluate(
        """() => {
            window.heard = 0
            const dispatch = Object.getOwnPropertyDescriptor(CustomEvent.prototype, "detail").get
            Object.defineProperty(CustomEvent.prototype, "detail", {
                get() { if (this.type === "corrcore:moved") window.heard++; return dispatch.call(this) }
            })
        }"""
    )
    for number in range(1, 4):
        page.get_by_role("button", name="Others").click()
        expect(page.locator(f".st-key-left{'x' * number} img")).to_have_js_property("complete", True)
        expect(page.locator(f".st-key-left{'x' * (number - 1)} img")).to_have_count(0)
    page.locator(".st-key-leftxxx .frame").focus()
    page.keyboard.press("+")
    expect(page.locator(".st-key-rightxxx .frame")).to_have_class(re.compile("zoomed"))
    assert page.evaluate("window.heard") == 2  # the picture itself and the other one of its group
