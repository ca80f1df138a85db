"""Home's point, and the Match page, in a real browser: clicks, what the pointer reads, uploads, and a link."""

import csv
import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from corrcore import images, networks
from corrcore.datasets import drawn
from corrcore.features import Feature
from corrcore.tasks import matching
from corrcore.tasks.matching import MatchOptions
from dashboard import first_views
from dashboard.parts import photo_picker

from .conftest import link

pytestmark = pytest.mark.browser

PATIENCE_MS = 90_000
FIRST, SECOND = (drawn.unseen()[name] for name in first_views.MATCHED)
CONV4 = Feature("alexnet", "conv4")


def clicked(page: Page, name: str, x: int, y: int, width: int) -> None:
    """Clicks a pixel of a picture of so many pixels across."""
    frame = page.get_by_role("application", name=re.compile(re.escape(name))).first
    box = frame.bounding_box()
    assert box is not None
    scale = box["width"] / width
    frame.click(position={"x": (x + 0.5) * scale, "y": (y + 0.5) * scale})


def said(page: Page) -> list[str]:
    """What is said of the places, once it is there."""
    lines = page.get_by_text(re.compile(r"leads back to \d+ px"))
    expect(lines).to_have_count(3, timeout=PATIENCE_MS)
    return lines.all_inner_texts()


def test_homes_point_leads_to_its_matches_and_a_link_shows_somebody_else_the_same(app):
    page = app.open()
    clicked(page, "click another", 90, 260, FIRST.load().shape[1])
    expect(page).to_have_title("Match · corrcore", timeout=PATIENCE_MS)
    expect(page).to_have_url(re.compile("point=90%2C260|point=90,260"), timeout=PATIENCE_MS)
    before = said(page)
    clicked(page, "the second photo", *SECOND.eye, SECOND.load().shape[1])
    expect(page).to_have_url(re.compile("point_of=second"), timeout=PATIENCE_MS)
    expect(page.get_by_text("Similarity of the first photo")).to_be_visible(timeout=PATIENCE_MS)
    app.settle(page)
    after = said(page)
    assert after != before
    colleague = app.open(link(page).removeprefix(app.url))
    assert said(colleague) == after
    page.go_back()
    expect(page.get_by_text("Similarity of the second photo")).to_be_visible(timeout=PATIENCE_MS)
    app.settle(page)
    assert said(page) == before


def test_the_pointer_reads_the_similarity_of_the_cell_below(app):
    page = app.open("match")
    said(page)
    options, target = MatchOptions(refine=True), SECOND.load()
    first, second = (
        matching.describe(photo, [CONV4], network=networks.open("alexnet"), options=options)[CONV4]
        for photo in (FIRST.load(), target)
    )
    cosines = matching.similarity_map(first, second, np.array(FIRST.eye, float))
    frame = page.get_by_role("application", name=re.compile("similarity by conv4"))
    box = frame.bounding_box()
    assert box is not None
    scale = box["width"] / target.shape[1]
    for x, y in [(82, 125), (200, 260)]:
        frame.hover(position={"x": (x + 0.5) * scale, "y": (y + 0.5) * scale})
        tip = frame.locator(".tip")
        expect(tip).to_contain_text(re.compile(r"x \d+, y \d+: "))
        at_x, at_y, value = re.findall(r"-?[\d.]+", tip.inner_text())
        cell = second.grid.cells.nearest(*second.transform.to_crop(np.array([float(at_x), float(at_y)])).tolist())
        assert abs(int(at_x) - x) <= 1
        assert abs(int(at_y) - y) <= 1
        assert float(value) == pytest.approx(cosines[cell], abs=2e-3)


def put(page: Page, side: str, name: str, content: bytes) -> None:
    """Uploads a file for a side, in its popover."""
    page.get_by_role("button", name=f"Change the {side} photo").click()
    popover = page.get_by_test_id("stPopoverBody")
    popover.get_by_text("Upload", exact=True).first.click()
    popover.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/jpeg", "buffer": content})


def test_two_large_photos_of_ones_own_become_a_table_whatever_else_is_tried(app):
    page = app.open("match")
    said(page)
    put(page, "first", "broken.jpg", b"not a photo")
    expect(page.get_by_text(re.compile("broken.jpg")).last).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("application", name=re.compile("the second photo"))).to_be_visible()
    page.keyboard.press("Escape")
    scales = {}
    for number, side, animal in ((1, "first", FIRST), (2, "second", SECOND)):
        mirrored = images.hflip(animal.load())
        large = images.resize(mirrored, longer_side=4000)  # two of them are more than a session keeps of many
        scales[side] = large.shape[1] / mirrored.shape[1]
        put(page, side, f"{side}.jpg", images.encode(large, format="JPEG"))
        expect(page).to_have_url(re.compile(f"photo_{number}=upload"), timeout=PATIENCE_MS)
        page.keyboard.press("Escape")
        app.settle(page)
    shown = photo_picker.working_size(images.resize(images.hflip(FIRST.load()), longer_side=4000)).shape[1]
    share = (FIRST.load().shape[1] - 0.5 - FIRST.eye[0]) / FIRST.load().shape[1]
    clicked(
        page, "first.jpg, the first photo", int(share * shown), int(FIRST.eye[1] * shown / FIRST.load().shape[1]), shown
    )
    expect(page).to_have_url(re.compile(r"point=26\d\d"), timeout=PATIENCE_MS)
    app.settle(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text("utf-8").splitlines()))
    assert [row["source"] for row in rows] == ["first.jpg"] * 3
    place = np.array([float(rows[0]["place_x"]), float(rows[0]["place_y"])]) / scales["second"]
    assert np.linalg.norm(place - [SECOND.load().shape[1] - 1 - SECOND.eye[0], SECOND.eye[1]]) < 15
