"""Points of one's own on the Match page, in a real browser: set, dragged, named, kept in a link, and in files."""

import csv
import json
import re

import pytest
from playwright.sync_api import Page, expect

from corrcore import images
from corrcore.datasets import drawn
from dashboard import first_views

from .conftest import App, link

pytestmark = pytest.mark.browser

PATIENCE_MS = 90_000
FIRST, SECOND = (drawn.unseen()[name] for name in first_views.MATCHED)
OWN = "match?match_section=Your+points"


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where on the screen a pixel of the first photo is."""
    frame = page.get_by_role("application", name=re.compile("the first photo"))
    expect(frame).to_be_visible(timeout=PATIENCE_MS)
    box = frame.bounding_box()
    assert box
    height, width = FIRST.load().shape[:2]
    return box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"]


def expect_points(app: App, page: Page, pattern: str) -> None:
    expect(page).to_have_url(re.compile(f"points={pattern}(&|$)"), timeout=PATIENCE_MS)
    app.settle(page)


def test_points_are_set_dragged_named_deleted_and_shown_to_a_colleague(app):
    page = app.open(OWN)
    expect(page.get_by_text("Click the first photo to set a point: it is looked for")).to_be_visible()
    page.mouse.click(*place(page, *FIRST.eye))
    expect_points(app, page, "12[12]%2C12[567]%2C1")
    page.mouse.click(*place(page, 200, 200))
    expect_points(app, page, ".*%3B(199|200|201)%2C(199|200|201)%2C2")
    page.mouse.move(*place(page, 200, 200))
    page.mouse.down()
    page.mouse.move(*place(page, 240, 120), steps=4)
    page.mouse.up()
    expect_points(app, page, ".*%3B(239|240|241)%2C(119|120|121)%2C2")
    table = page.get_by_test_id("stDataFrame")
    table.click(position={"x": 80, "y": 52})
    page.keyboard.press("Enter")
    page.locator(".gdg-input").fill("left eye")
    page.keyboard.press("Enter")
    expect_points(app, page, "12[12]%2C12[567]%2Cleft[+]eye%3B.*")
    labels = page.locator(".point span")
    expect(labels.first).to_have_text("left eye")
    colleague = app.open(link(page).removeprefix(app.url))
    expect(colleague.locator(".point span")).to_have_text(labels.all_inner_texts(), timeout=PATIENCE_MS)
    with colleague.expect_download() as download:
        colleague.get_by_role("button", name="CSV", exact=True).click()
    rows = list(csv.DictReader(download.value.path().read_text("utf-8").splitlines()))
    assert {row["point"] for row in rows} == {"left eye", "2"}
    table.click(position={"x": 12, "y": 87})  # the second row, then its deletion
    page.keyboard.press("Delete")
    expect_points(app, page, "12[12]%2C12[567]%2Cleft[+]eye")
    page.go_back()
    expect_points(app, page, ".*%3B(239|240|241)%2C(119|120|121)%2C2")


def test_points_come_from_a_file_and_one_that_has_none_changes_nothing(app, tmp_path):
    page = app.open(f"{OWN}&points=5,6,mine")
    page.get_by_role("button", name="Take points from").click()
    field = page.get_by_test_id("stPopoverBody").locator("input[type=file]")
    (tmp_path / "other.csv").write_text("name,x,y\nfar,9999,1\n", "utf-8")
    field.set_input_files(tmp_path / "other.csv")
    expect(page.get_by_text("far at (9999, 1) is outside")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".point span").first).to_have_text("mine")
    coco = {
        "images": [{"id": 1, "file_name": "any.jpg"}],
        "categories": [{"id": 1, "keypoints": ["ear", "tail", "hidden"]}],
        "annotations": [{"image_id": 1, "category_id": 1, "keypoints": [100, 80, 2, 240, 150, 2, 0, 0, 0]}],
    }
    (tmp_path / "points.json").write_text(json.dumps(coco), "utf-8")
    field.set_input_files(tmp_path / "points.json")
    expect_points(app, page, "100%2C80%2Cear%3B240%2C150%2Ctail")
    expect(page.locator(".point span").first).to_have_text("ear")


def test_a_picture_that_is_pasted_is_the_photo(app):
    page = app.open("match")
    page.get_by_role("button", name="Change the second photo").click()
    popover = page.get_by_test_id("stPopoverBody")
    popover.get_by_text("Upload", exact=True).first.click()
    expect(popover.locator("input[type=file]")).to_have_count(1)
    expect(popover.get_by_text("paste (Ctrl+V)")).to_be_visible()
    mirrored = images.encode(images.hflip(SECOND.load()), format="PNG")
    page.evaluate(
        """bytes => {
            const held = new DataTransfer()
            held.items.add(new File([new Uint8Array(bytes)], "image.png", {type: "image/png"}))
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: held, bubbles: true, cancelable: true}))
        }""",
        list(mirrored),
    )
    expect(page).to_have_url(re.compile("photo_2=upload"), timeout=PATIENCE_MS)
    expect(page.get_by_role("application", name=re.compile("image.png, the second photo"))).to_be_visible()
