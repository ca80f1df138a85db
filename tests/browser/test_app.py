"""What a visitor does, in a real browser: a photo of their own, a patch, its neighbours, a link for a colleague."""

import io
import re
import time

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from corrcore import images
from corrcore.datasets.samples import samples

from .conftest import link

pytestmark = pytest.mark.browser

PATIENCE_MS = 90_000


def picture(page: Page, alt: str):
    return page.get_by_role("img", name=re.compile(alt))


def rebuilt(page: Page) -> None:
    """Wait for the last picture of the figure."""
    expect(page.get_by_text("How this is computed")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("this patch").first).to_be_visible(timeout=PATIENCE_MS)


def patch_caption(page: Page):
    return page.get_by_text(re.compile(r"Yellow: the patch at \(\d+, \d+\)"))


def jpeg_of(name: str) -> bytes:
    """A photo the index does not have: a sample, mirrored and darkened."""
    changed = (images.hflip(samples()[name].load()) * 0.8).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(changed).save(file, "JPEG", quality=95)
    return file.getvalue()


def test_the_first_picture_is_there_soon_after_a_cold_start(serve, tmp_path):
    begun = time.monotonic()
    app = serve("dashboard/Home.py", CORRCORE_DATA="", CORRCORE_CACHE=str(tmp_path))
    page = app.open()
    expect(page.get_by_text("conv5", exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    print(f"first picture after {time.monotonic() - begun:.1f} s")


def test_an_uploaded_photo_is_rebuilt_and_a_clicked_patch_shows_its_neighbours(app):
    page = app.open("reconstruction")
    rebuilt(page)
    page.get_by_role("radio", name="Upload").or_(page.get_by_role("button", name="Upload", exact=True)).first.click()
    page.locator('input[type="file"]').set_input_files(
        {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": jpeg_of("coffee")}
    )
    expect(page.get_by_role("img", name=re.compile(r"^mine\.jpg, with one patch")).first).to_be_visible(
        timeout=PATIENCE_MS
    )
    rebuilt(page)
    before = patch_caption(page).inner_text()
    page.get_by_role("img", name=re.compile(r"mine\.jpg rebuilt: conv5, k = 5")).first.click(
        position={"x": 40, "y": 40}
    )
    expect(patch_caption(page)).not_to_have_text(before, timeout=PATIENCE_MS)
    rebuilt(page)
    assert page.get_by_text(re.compile(r"^0\.\d\d · ")).count() >= 15
    assert "upload%3A" in link(page)
    page.get_by_role("button", name="Link", exact=True).click()
    expect(page.get_by_text("whoever opens this link has to upload it, too")).to_be_visible()


def test_a_copied_link_shows_the_same_to_somebody_else(app):
    page = app.open("reconstruction?photo=sample:flower&k=9")
    rebuilt(page)
    before = patch_caption(page).inner_text()
    page.get_by_role("img", name=re.compile("rebuilt: conv4, k = 9")).first.click(position={"x": 60, "y": 50})
    expect(page).to_have_url(re.compile("at="), timeout=PATIENCE_MS)
    expect(patch_caption(page)).not_to_have_text(before, timeout=PATIENCE_MS)
    rebuilt(page)
    app.settle(page)
    caption = patch_caption(page).inner_text()
    sources = page.get_by_text(re.compile(r"^0\.\d\d · ")).all_inner_texts()
    address = link(page)
    colleague = app.open(address.removeprefix(app.url))
    rebuilt(colleague)
    expect(patch_caption(colleague)).to_have_text(caption)
    expect(colleague.get_by_role("img", name=re.compile("rebuilt: conv4, k = 9")).first).to_be_visible()
    expect(colleague.get_by_text(re.compile(r"^0\.\d\d · "))).to_have_text(sources, timeout=PATIENCE_MS)


def test_a_link_to_an_upload_says_that_it_needs_the_file(app):
    page = app.open("reconstruction?photo=upload:0123456789")
    expect(page.get_by_text("stays with whoever uploaded it")).to_be_visible(timeout=PATIENCE_MS)


def test_choices_survive_a_change_of_page(app):
    page = app.open("reconstruction?photo=sample:china")
    rebuilt(page)
    page.get_by_role("link", name="Receptive fields").click()
    expect(page.get_by_text("The dot is the agreement radius")).to_be_visible(timeout=PATIENCE_MS)
    expect(page).to_have_url(re.compile(r"receptive_fields.*photo=sample%3Achina"))
    page.get_by_role("link", name="Reconstruction").click()
    rebuilt(page)
    expect(page).to_have_url(re.compile(r"reconstruction.*photo=sample%3Achina"))


def test_what_is_chosen_is_written_in_white_on_its_own_colour_in_both_themes(app):
    """The theme's tests hold this pair's contrast; Streamlit itself would write it in that colour on the ground."""
    page = app.open("reconstruction")
    rebuilt(page)
    for scheme, primary in (("dark", "rgb(34, 127, 149)"), ("light", "rgb(15, 107, 125)")):
        page.emulate_media(color_scheme=scheme)
        for chosen, other in (("Samples", "Upload"), ("Neighbours of the patch", "Numbers")):
            button = page.get_by_role("radio", name=chosen)
            expect(button).to_have_css("background-color", primary)
            expect(button.get_by_text(chosen)).to_have_css("color", "rgb(255, 255, 255)")
            expect(page.get_by_role("radio", name=other)).not_to_have_css("background-color", primary)
        layer = page.get_by_role("button", name="conv3", exact=True)
        expect(layer).to_have_css("background-color", primary)
        expect(layer.get_by_text("conv3")).to_have_css("color", "rgb(255, 255, 255)")


def test_downloads_hold_what_is_shown(app):
    page = app.open("reconstruction?photo=sample:coffee")
    rebuilt(page)
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name="NPZ").click()
    arrays = np.load(download.value.path())
    assert arrays["conv3_k1"].shape == arrays["conv5_k5"].shape
    assert arrays["conv4_neighbour_ids"].shape[1] == 50
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name="PNG").click()
    figure = Image.open(download.value.path())
    assert figure.format == "PNG"
    figure.close()


def test_a_tables_cell_leads_to_its_calls_and_a_wrong_one_to_responses_whose_scores_the_pointer_reads(app):
    page = app.open("classification?seen=in+a+box+of+250+px")  # which computes it
    expect(page.get_by_text("How this is computed")).to_be_visible(timeout=PATIENCE_MS)
    page = app.open("results?table=3+Classification")
    table = page.get_by_test_id("stDataFrame").first
    expect(table).to_be_visible(timeout=PATIENCE_MS)
    area = table.bounding_box()
    assert area is not None
    page.mouse.click(area["x"] + 0.6 * area["width"], area["y"] + 90)  # of the first row
    opened = page.get_by_role("link", name="Open toy cat on the Classification page")
    expect(opened).to_be_visible(timeout=PATIENCE_MS)
    assert "cell=conv1" in page.url
    with page.expect_popup() as popup:
        opened.click()
    page = popup.value
    call = page.get_by_role("link", name=re.compile("^(L |R |Nose|Throat|TailBase|Withers)")).first
    expect(call).to_be_visible(timeout=PATIENCE_MS)
    keypoint = call.inner_text()
    with page.expect_popup() as opened:
        call.click()
    page = opened.value
    shown = page.get_by_role("application", name=re.compile(", scores by "))
    expect(shown).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text(f"{keypoint} along the row")).to_be_visible(timeout=PATIENCE_MS)
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name="NPZ").click()
    [scores] = np.load(download.value.path())["scores"]
    height, width = scores.shape
    shown.scroll_into_view_if_needed()
    box = shown.bounding_box()
    assert box is not None
    for x, y in ((width // 2, height // 2), (40, 60), (width - 50, 45)):
        page.mouse.move(box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["height"] / height)
        tip = page.locator(".tip").last  # the first is the gallery's
        expect(tip).to_contain_text(f"x {x}, y {y}: ")
        assert float(tip.inner_text().rpartition(" ")[2]) == pytest.approx(scores[y, x], abs=2e-3)
    for path in (page.url, f"{app.url}/classification?seen=in+a+box+of+250+px"):
        narrow = app.open(path.removeprefix(app.url), width=390, color_scheme="dark")
        expect(narrow.get_by_text("How this is computed")).to_be_visible(timeout=PATIENCE_MS)
        assert narrow.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_a_clicked_neighbour_is_looked_at_more_closely(app):
    page = app.open("alignment")
    second = page.get_by_role("img", name=re.compile("warped by conv4$")).nth(1)
    expect(second).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("1, chosen", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    numbers = page.get_by_text(re.compile("^Rim of the wheel"))
    before = numbers.inner_text()
    second.click()
    expect(page.get_by_text("2, chosen", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("1, chosen", exact=True)).to_have_count(0)
    expect(page).to_have_url(re.compile(r"neighbour=upper%3Atoy-cat-train-"))
    expect(numbers).not_to_have_text(before, timeout=PATIENCE_MS)
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_the_pointer_reads_a_detectors_scores_and_a_box_is_drawn_on_a_photo_of_ones_own(app):
    page = app.open("prediction?keypoint=Nose")
    shown = page.get_by_role("application", name=re.compile("Nose: Detector"))
    expect(shown).to_be_visible(timeout=PATIENCE_MS)
    arrays = downloaded_arrays(page)
    [left, top, right, bottom] = arrays["box"]
    centres, scores = arrays["conv5_cells_px"], arrays["conv5_scores"]
    nose = arrays["keypoints"].tolist().index("Nose")
    shown.scroll_into_view_if_needed()
    area = shown.bounding_box()
    assert area is not None
    for across, down in ((0.5, 0.5), (0.3, 0.8)):
        page.mouse.move(area["x"] + across * area["width"], area["y"] + down * area["height"])
        tip = shown.locator("xpath=..").locator(".tip")
        expect(tip).to_contain_text("x ")
        x, y, score = map(float, re.fullmatch(r"x (-?\d+), y (-?\d+): (-?[\d.]+)", tip.inner_text()).groups())
        away = (centres - [x, y]) / (right - left, bottom - top)  # cells are squares of the stretched box
        row, column = np.unravel_index(np.linalg.norm(away, axis=-1).argmin(), centres.shape[:2])
        near = scores[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2, nose]  # the pixel's number is rounded
        assert np.abs(near - score).min() <= 2e-3
    page.get_by_role("radio", name="A photo of yours").click()
    file = {"name": "mine.jpg", "mimeType": "image/jpeg", "buffer": jpeg_of("coffee")}
    page.locator('input[type="file"]').set_input_files(file)
    drawn = page.get_by_role("application", name=re.compile("draw the object's box"))
    expect(drawn).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("The box is the whole photo.")).to_be_visible()
    app.settle(page)
    drawn.scroll_into_view_if_needed()
    area = drawn.bounding_box()
    assert area is not None
    for across, down, does in ((0.2, 0.3, page.mouse.down), (0.7, 0.9, page.mouse.up)):
        page.mouse.move(area["x"] + across * area["width"], area["y"] + down * area["height"], steps=3)
        does()
    expect(page.get_by_role("button", name="The whole photo")).to_be_visible(timeout=PATIENCE_MS)
    app.settle(page)
    expect(page.get_by_role("application", name="mine.jpg, Nose: Detector")).to_be_visible(timeout=PATIENCE_MS)
    box = downloaded_arrays(page)["box"]
    height, width = samples()["coffee"].load().shape[:2]
    np.testing.assert_allclose(box, np.array([0.2 * width, 0.3 * height, 0.7 * width, 0.9 * height]), atol=4)


def downloaded_arrays(page: Page):
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name="NPZ").click()
    return np.load(download.value.path())
