"""The JavaScript half of the components, in a real Chromium, against what the screen shows and what corrcore says."""

import io
import itertools
import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, expect

from corrcore.geometry import CellGrid, ReceptiveField

from .conftest import ROOT, App

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 97, 61

SCRIPT = '''
import io

import numpy as np
import streamlit as st
from PIL import Image

from dashboard.components import Outline, compare, image_click


@st.cache_data(max_entries=4)
def picture(blue: int, file_format: str = "PNG") -> bytes:
    """Every pixel says where it is: red is its x, green its y."""
    y, x = np.mgrid[:61, :97]
    file = io.BytesIO()
    pixels = np.stack([x, y, np.full_like(x, blue)], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(file, file_format, lossless=True)
    return file.getvalue()


def note(x: int, y: int) -> None:
    st.session_state.at = f"{x},{y}"
    st.session_state.setdefault("calls", []).append((x, y))


def note_drag(start: tuple[int, int], end: tuple[int, int]) -> None:
    st.session_state.setdefault("calls", []).append((start, end))


asked = st.query_params
width = int(asked.get("width", 0)) or "stretch"
st.session_state["runs"] = st.session_state.get("runs", 0) + 1


@st.fragment
def inspect() -> None:
    at = st.text_input("Pixel", key="at", bind="query-params")
    clicked = image_click(
        picture(128, asked.get("format", "PNG")),
        alt="A gradient",
        key="picture",
        grid=eval(asked["grid"]) if "grid" in asked else None,
        boxes=[Outline((10, 20, 30, 50), "rgb(255, 0, 0)", label="here")] if "boxes" in asked else [],
        selected=tuple(map(int, at.split(","))) if at else None,
        on_click=note,
        on_drag=note_drag if "drags" in asked else None,
        width=width,
        max_height=int(asked.get("max_height", 0)) or None,
    )
    st.text(f"result {clicked}")
    st.text(f"calls {st.session_state.get('calls', [])}")


inspect()
runs = st.session_state.runs
compare(picture(0), picture(255), labels=("query", "rebuilt"), alt=f"Run {runs}", key="pair", width=388)
st.text(f"runs {runs}")
st.button("Again")
'''


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(SCRIPT, "utf-8")
    return path


@pytest.fixture
def app(serve: Callable[..., App], script: Path) -> App:
    return serve(script)


def visit(app: App, path: str = "", **options: Any) -> Page:
    """A page whose components have come to life: they load after the script has run."""
    page = app.open(path, **options)
    for key in ("picture", "pair"):
        expect(page.locator(f".st-key-{key} img[alt]").last).to_have_js_property("complete", True)
    return page


def frame(page: Page, key: str = "picture") -> Locator:
    return page.locator(f".st-key-{key} .frame")


def bounds(locator: Locator) -> FloatRect:
    """Where something is on the screen, in CSS pixels."""
    box = locator.bounding_box()
    assert box
    return box


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where on the screen a point of the picture is, in CSS pixels; its own centre is at (x, y)."""
    box = bounds(frame(page))
    return box["x"] + (x + 0.5) / WIDTH * box["width"], box["y"] + (y + 0.5) / HEIGHT * box["height"]


def sharpness(page: Page) -> str:
    return frame(page).locator("img").evaluate("image => getComputedStyle(image).imageRendering")


def screen(page: Page) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def expect_marks(page: Page, *paths: str) -> None:
    """What marks the picture: the selected place, then the one under the pointer."""
    marks = page.locator(".st-key-picture .marks .line")
    expect(marks).to_have_count(len(paths))
    for mark, path in zip(marks.all(), paths, strict=True):
        expect(mark).to_have_attribute("d", path)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "?width=388"),
        ({}, "?width=291&format=WEBP"),
        ({"device_scale_factor": 2}, "?width=97"),
        ({"width": 390, "device_scale_factor": 3}, ""),
    ],
    ids=str,
)
def test_click_reports_the_pixel_that_the_screen_shows(app, options, path):
    page = visit(app, path, **options)
    frame(page).scroll_into_view_if_needed()
    scale = options.get("device_scale_factor", 1)
    shown, box = screen(page), bounds(frame(page))
    rng = random.Random(1)
    corners = [(0, 0), (WIDTH - 1, 0), (0, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1)]
    inner = [(rng.randrange(WIDTH), rng.randrange(HEIGHT)) for _ in range(2)]
    targets = [(place(page, *pixel), pixel) for pixel in corners + inner]
    while "pixelated" in sharpness(page) and len(targets) < 10:
        column = int(scale * (box["x"] + rng.random() * box["width"]))
        row = int(scale * (box["y"] + rng.random() * box["height"]))
        around = shown[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3)
        if (around == around[0]).all():  # not on the line between two pixels, which the screen rounds its own way
            red, green, blue = around[0].tolist()
            assert blue == 128, "beside the picture"
            targets.append((((column + 0.5) / scale, (row + 0.5) / scale), (red, green)))
    for number, (point, _) in enumerate(targets, 1):
        page.mouse.click(*point)
        expect(page.get_by_text("calls")).to_have_text(f"calls {[pixel for _, pixel in targets[:number]]}")


def test_click_on_a_shrunken_picture_reports_the_pixel_at_that_place(app):
    page = visit(app, "?width=40", device_scale_factor=2)
    for pixel in ((0, 0), (96, 60)):
        before = page.get_by_text("result").inner_text()
        page.mouse.click(*place(page, *pixel))
        expect(page.get_by_text("result")).not_to_have_text(before)
        x, y = map(int, re.findall(r"\d+", page.get_by_text("result").inner_text()))
        assert abs(x - pixel[0]) <= 1  # a device pixel is 1.2 pixels of the picture
        assert abs(y - pixel[1]) <= 1


def test_second_click_on_the_same_pixel_is_delivered_too_and_each_once(app):
    page = visit(app, "?width=388")
    for times in (1, 2, 3):
        page.mouse.click(*place(page, 12, 34))
        expect(page.get_by_text("calls")).to_have_text(f"calls {[(12, 34)] * times}")
    page.get_by_label("Pixel").fill("1,1")  # a run that no click caused
    page.get_by_label("Pixel").press("Enter")
    expect(page.get_by_text("result")).to_have_text("result None")
    expect(page.get_by_text("calls")).to_have_text(f"calls {[(12, 34)] * 3}")


def test_quick_clicks_are_all_delivered_in_order(app):
    page = visit(app, "?width=388")
    pixels = [(8 * number, 5 * number) for number in range(10)]
    for pixel in pixels:
        page.mouse.click(*place(page, *pixel))
    expect(page.get_by_text("calls")).to_have_text(f"calls {pixels}")


def test_click_in_a_fragment_runs_the_fragment_alone_and_sets_the_link(app):
    page = visit(app, "?width=388")
    page.mouse.click(*place(page, 12, 34))
    expect(page.get_by_text("result")).to_have_text("result (12, 34)")
    expect(page.get_by_text("runs")).to_have_text("runs 1")
    expect(page).to_have_url(re.compile(r"at=12%2C34"))
    linked = visit(app, page.url.removeprefix(app.url))
    expect(linked.get_by_label("Pixel")).to_have_value("12,34")
    expect_marks(linked, "M12.5 34.5h0")


def test_tap_reports_the_pixel(app):
    page = visit(app, width=390, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.touchscreen.tap(*place(page, 70, 20))
    expect(page.get_by_text("result")).to_have_text("result (70, 20)")
    expect_marks(page, "M70.5 20.5h0")  # no cross stays behind


def test_a_drag_draws_a_rectangle_and_reports_its_corners(app):
    page = visit(app, "?width=388&drags=1")
    page.mouse.move(*place(page, 12, 34))
    page.mouse.down()
    page.mouse.move(*place(page, 40, 20), steps=3)
    expect_marks(page, "M12 20H41V35H12Z")
    page.mouse.move(*place(page, 61, 8), steps=3)
    page.mouse.up()
    expect(page.get_by_text("calls")).to_have_text("calls [((12, 34), (61, 8))]")
    page.mouse.click(*place(page, 5, 6))  # and a click is one still
    expect(page.get_by_text("calls")).to_have_text("calls [((12, 34), (61, 8)), (5, 6)]")


def test_a_finger_draws_a_rectangle_too(app):
    page = visit(app, "?drags=1", width=390, has_touch=True, is_mobile=True, device_scale_factor=2)
    session = page.context.new_cdp_session(page)
    for kind, at in (("touchStart", (12, 34)), ("touchMove", (30, 20)), ("touchMove", (61, 8)), ("touchEnd", None)):
        points = [] if at is None else [dict(zip("xy", place(page, *at), strict=True))]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(page.get_by_text("calls")).to_have_text("calls [((12, 34), (61, 8))]")


def test_without_drags_only_the_place_of_release_is_reported(app):
    page = visit(app, "?width=388")
    page.mouse.move(*place(page, 12, 34))
    page.mouse.down()
    page.mouse.move(*place(page, 61, 8), steps=3)
    page.mouse.up()
    expect(page.get_by_text("calls")).to_have_text("calls [(61, 8)]")


def test_right_click_is_no_click(app):
    page = visit(app, "?width=388")
    page.mouse.click(*place(page, 5, 5), button="right")
    page.keyboard.press("Escape")
    page.mouse.click(*place(page, 12, 34))
    expect(page.get_by_text("calls")).to_have_text("calls [(12, 34)]")


def test_pointer_without_a_grid_draws_a_cross_through_the_pixel_and_takes_it_away(app):
    page = visit(app, "?width=388")
    page.mouse.move(*place(page, 12, 34))
    expect_marks(page, f"M0 34.5H{WIDTH}M12.5 0V{HEIGHT}")
    page.mouse.move(0, 0)
    expect_marks(page)


GRIDS = [
    ReceptiveField(size=11, stride=4, offset=3.0),
    ReceptiveField(size=64, stride=16, offset=15.5),
    ReceptiveField(size=9, stride=4, offset=-1.5),
    ReceptiveField(size=9, stride=5, offset=2.0),
    ReceptiveField(size=2, stride=1, offset=0.5),
]


def grid_of(field: ReceptiveField) -> CellGrid:
    columns, rows = (int((length - field.offset) // field.stride) for length in (WIDTH, HEIGHT))
    return CellGrid(field, rows, columns, (WIDTH, HEIGHT))


def address(grid: CellGrid) -> str:
    field = grid.receptive_field
    return f"?width=388&grid=({field.offset},{field.offset},{field.stride},{grid.columns},{grid.rows})"


def outline(grid: CellGrid, row: int, column: int) -> str:
    box = grid.receptive_field.patch_box(row, column)
    return f"M{box.left} {box.top}H{box.right}V{box.bottom}H{box.left}Z"


@pytest.mark.parametrize("field", GRIDS, ids=str)
def test_pointer_outlines_the_patch_that_corrcore_says_and_arrow_keys_go_from_cell_to_cell(app, field):
    grid = grid_of(field)
    page = visit(app, address(grid) + "&at=40,30")
    row, column = grid.nearest(40, 30)
    selected = outline(grid, row, column)
    rng = random.Random(2)
    for x, y in [(0, 0), (96, 60)] + [(rng.randrange(WIDTH), rng.randrange(HEIGHT)) for _ in range(20)]:
        page.mouse.move(*place(page, x, y))
        expect_marks(page, selected, outline(grid, *grid.nearest(x, y)))
    page.mouse.move(0, 0)
    expect_marks(page, selected)
    frame(page).focus()
    for key, down, right in [
        ("ArrowRight", 0, 1),
        ("ArrowDown", 1, 0),
        ("ArrowLeft", 0, -1),
        ("ArrowUp", -1, 0),
    ] * 2 + [
        ("ArrowDown", 1, 0),
        ("ArrowLeft", 0, -1),
    ]:
        page.keyboard.press(key)
        row, column = min(max(row + down, 0), grid.rows - 1), min(max(column + right, 0), grid.columns - 1)
        expect_marks(page, selected, outline(grid, row, column))
    expect(page.locator(".st-key-picture [role=status]")).to_have_text(f"column {column}, row {row}")
    page.keyboard.press("Enter")
    expect(page.get_by_text("result")).not_to_have_text("result None")
    x, y = map(int, re.findall(r"\d+", page.get_by_text("result").inner_text()))
    assert grid.nearest(x, y) == (row, column)
    assert abs(x - field.centre(column)) <= 0.5
    assert abs(y - field.centre(row)) <= 0.5


def test_arrow_keys_without_a_grid_go_from_pixel_to_pixel_and_stop_at_the_border(app):
    page = visit(app, "?width=388&at=2,59")
    frame(page).focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowDown", "Shift+ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(page.get_by_text("result")).to_have_text("result (10, 60)")


def test_picture_is_reached_by_tab_and_says_what_it_is(app):
    page = visit(app, "?width=388")
    page.get_by_label("Pixel").focus()
    page.keyboard.press("Tab")
    expect(frame(page)).to_be_focused()
    expect(page.get_by_role("application", name="A gradient. Arrow keys move, Enter selects.")).to_have_count(1)
    expect(page.locator(".st-key-picture").get_by_alt_text("A gradient")).to_be_visible()


@pytest.mark.parametrize("width", [97, 388])
def test_box_and_its_label_lie_where_they_belong(app, width):
    page = visit(app, f"?width={width}&boxes=1")
    zoom = width / WIDTH
    left, top = (edge - 0.5 * zoom for edge in place(page, 0, 0))
    line = page.locator(".st-key-picture .boxes .line")
    expect(line).to_be_visible()  # which it is once the picture has its size
    box = line.evaluate(
        "path => { const {x, y, width, height} = path.getBoundingClientRect(); return [x, y, width, height] }"
    )
    assert box == pytest.approx([left + 10 * zoom, top + 20 * zoom, 20 * zoom, 30 * zoom], abs=0.01)
    expect(line).to_have_css("stroke", "rgb(255, 0, 0)")
    expect(line).to_have_css("stroke-width", "2px")
    label = bounds(page.locator(".st-key-picture .labels span"))
    assert label["x"] == pytest.approx(box[0], abs=0.1)
    assert label["y"] + label["height"] == pytest.approx(box[1], abs=0.1)
    assert screen(page)[int(box[1] + box[3] / 2), round(box[0])].tolist() == [255, 0, 0]


@pytest.mark.parametrize(("width", "rendering"), [(97, "auto"), (194, "auto"), (195, "pixelated")])
def test_picture_has_sharp_pixels_once_enlarged_more_than_twice(app, width, rendering):
    page = visit(app, f"?width={width}")
    assert sharpness(page) == rendering


def test_picture_fits_its_column_at_its_own_proportions(app):
    page = visit(app)
    for width in (390, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        column = bounds(page.locator(".st-key-picture"))
        box = bounds(frame(page))
        assert box["width"] == pytest.approx(column["width"], abs=0.5)
        assert box["width"] / box["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.01)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_picture_is_no_higher_than_asked(app):
    box = bounds(frame(visit(app, "?max_height=122")))
    assert (box["width"], box["height"]) == pytest.approx((194, 122), abs=0.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_components_take_the_colours_of_the_theme(app, scheme):
    page = visit(app, "?width=388&at=3,3", color_scheme=scheme)
    body = page.get_by_text("runs").evaluate("element => getComputedStyle(element).color")
    expect(page.locator(".st-key-pair .label.before")).to_have_css("color", body)
    accent = tomllib.loads((ROOT / ".streamlit/config.toml").read_text("utf-8"))["theme"][scheme]["primaryColor"]
    red, green, blue = bytes.fromhex(accent[1:])
    expect(page.locator(".st-key-picture .marks .line")).to_have_css("stroke", f"rgb({red}, {green}, {blue})")


def blue(page: Page, share: float) -> int:
    """What the comparison shows at a share of its width, half way down: 0 is the first picture, 255 the second."""
    box = bounds(frame(page, "pair"))
    row, column = int(box["y"] + box["height"] / 2), int(box["x"] + share * box["width"])
    return int(screen(page)[row, column, 2])


def comparison(app: App, **options: Any) -> Page:
    page = visit(app, "?width=97", **options)
    frame(page, "pair").scroll_into_view_if_needed()
    return page


def test_compare_shows_the_first_picture_left_of_the_divider_and_the_second_right_of_it(app):
    page = comparison(app)
    assert [blue(page, share) for share in (0.02, 0.48, 0.52, 0.98)] == [0, 0, 255, 255]


def test_compare_moves_its_divider_by_keyboard_and_by_dragging_without_a_rerun(app):
    page = comparison(app)
    slider = page.get_by_role("slider", name="Divider between query and rebuilt")
    slider.focus()
    page.keyboard.press("Home")
    assert [blue(page, share) for share in (0.02, 0.98)] == [255, 255]
    page.keyboard.press("End")
    assert [blue(page, share) for share in (0.02, 0.98)] == [0, 0]
    box = bounds(frame(page, "pair"))
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
    page.mouse.up()
    page.mouse.move(0, 0)
    assert [blue(page, share) for share in (0.23, 0.27)] == [0, 255]
    expect(slider).to_have_value("25")
    divider = bounds(page.locator(".st-key-pair .divider"))
    assert divider["x"] + 1 == pytest.approx(box["x"] + 0.25 * box["width"], abs=0.6)
    expect(page.get_by_text("runs")).to_have_text("runs 1")


def test_compare_keeps_its_divider_when_its_data_change(app):
    page = comparison(app)
    page.get_by_role("slider").press("Home")
    page.get_by_role("button", name="Again").click()
    expect(page.get_by_alt_text("Run 2: rebuilt")).to_be_visible()
    assert blue(page, 0.02) == 255


def opacities(page: Page) -> list[float]:
    """How visible the second picture is, every 20 ms for two seconds."""
    return page.locator(".st-key-pair img.after").evaluate(
        """async image => {
            const seen = []
            for (let i = 0; i < 100; i++) {
                seen.push(Number(getComputedStyle(image).opacity))
                await new Promise(resolve => setTimeout(resolve, 20))
            }
            return seen
        }"""
    )


def test_blink_alternates_the_pictures_until_it_is_pressed_again(app):
    page = comparison(app)
    assert set(opacities(page)) == {1}
    button = page.get_by_role("button", name="Blink between query and rebuilt")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    seen = opacities(page)
    assert set(seen) == {0, 1}
    changes = sum(a != b for a, b in itertools.pairwise(seen))
    assert 5 <= changes <= 8  # 1.5 Hz is three changes a second
    assert {blue(page, 0.1) for _ in range(12)} == {0, 255}
    button.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert [blue(page, share) for share in (0.48, 0.52)] == [0, 255]
    expect(page.get_by_text("runs")).to_have_text("runs 1")


def test_blink_moves_nothing_where_less_motion_is_wanted(app):
    page = comparison(app, reduced_motion="reduce")
    page.get_by_role("button", name="Blink").click()
    assert set(opacities(page)) == {1}
    assert [blue(page, share) for share in (0.02, 0.98)] == [255, 255]


VALUES = """
import io

import numpy as np
import streamlit as st
from PIL import Image

from dashboard.components import image_click

y, x = np.mgrid[:40, :60]
values = np.sin(x / 7) * np.cos(y / 5) * 3.5
values[:4] = np.nan
file = io.BytesIO()
Image.new("RGB", (60, 40), "teal").save(file, "PNG")
image_click(file.getvalue(), alt="Scores", key="scores", values=values, width=480)
"""


def test_the_value_under_the_pointer_is_the_arrays(serve, tmp_path):
    script = tmp_path / "values.py"
    script.write_text(VALUES, "utf-8")
    page = serve(script).open()
    picture = page.get_by_role("application")
    expect(picture).to_be_visible()
    box = picture.bounding_box()
    assert box is not None
    for x, y in ((5, 10), (58, 38), (30, 4), (17, 25)):
        page.mouse.move(box["x"] + (x + 0.5) * box["width"] / 60, box["y"] + (y + 0.5) * box["height"] / 40)
        tip = page.locator(".tip")
        expect(tip).to_contain_text(f"x {x}, y {y}: ")
        shown = float(tip.inner_text().rpartition(" ")[2])
        assert shown == pytest.approx(np.sin(x / 7) * np.cos(y / 5) * 3.5, abs=1e-3)
        inside = tip.bounding_box()
        assert inside is not None
        assert box["x"] <= inside["x"] + 1
        assert inside["x"] + inside["width"] <= box["x"] + box["width"] + 1
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 2)
    expect(page.locator(".tip")).to_contain_text(": none")
    page.mouse.move(box["x"] + box["width"] + 60, box["y"])
    expect(page.locator(".tip")).to_be_hidden()


@pytest.mark.parametrize("mobile", [True, False])
def test_a_tap_tells_the_value_until_the_next_one(serve, tmp_path, mobile):
    script = tmp_path / "values.py"
    script.write_text(VALUES, "utf-8")
    page = serve(script).open(width=500, has_touch=True, is_mobile=mobile)
    picture = page.get_by_role("application")
    expect(picture).to_be_visible()
    box = picture.bounding_box()
    assert box is not None
    for x, y in ((5, 10), (58, 38)):
        page.touchscreen.tap(box["x"] + (x + 0.5) * box["width"] / 60, box["y"] + (y + 0.5) * box["height"] / 40)
        expect(page.locator(".tip")).to_contain_text(f"x {x}, y {y}: ")
        page.wait_for_timeout(500)
        expect(page.locator(".tip")).to_contain_text(f"x {x}, y {y}: ")
