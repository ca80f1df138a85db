"""The browser's history: one entry per page and per choice, and Back goes back."""

import re

import pytest
from playwright.sync_api import Page, expect

from corrcore.experiments import ResultStore, Transfer, run
from dashboard.navigation import PAGES

pytestmark = pytest.mark.browser

PATIENCE_MS = 90_000


def entries(page: Page) -> int:
    return page.evaluate("history.length")


def patch(page: Page):
    """Where the chosen patch is, once the page shows it."""
    return page.get_by_text(re.compile(r"Yellow: the patch at \(\d+, \d+\)"))


def checked(page: Page, name: str) -> None:
    """Waits for it; while a page is drawn anew, what stood there before may still stand beside it."""
    expect(page.get_by_role("radio", name=name, checked=True)).to_have_count(1, timeout=PATIENCE_MS)


def test_every_page_makes_one_entry_when_it_is_arrived_at(app):
    page = app.open()
    first = entries(page)
    for spec in (*PAGES[1:], PAGES[1]):
        before = entries(page)
        page.get_by_role("link", name=spec.title, exact=True).first.click()
        expect(page).to_have_title(f"{spec.title} · corrcore", timeout=PATIENCE_MS)
        app.settle(page)
        page.wait_for_timeout(250)
        assert entries(page) == before + 1, spec.title
    page.wait_for_timeout(1000)
    assert entries(page) == first + len(PAGES)


def test_another_pages_network_stays_out_of_the_address_of_results(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    run(Transfer("toy", "toy cat", features=("sift20",), smoothness=0.1, limit=1), store=ResultStore())
    app = serve("dashboard/Home.py", CORRCORE_DATA="", CORRCORE_CACHE=str(tmp_path))
    page = app.open("reconstruction")
    expect(page.get_by_role("combobox", name="Network")).to_be_visible(timeout=PATIENCE_MS)
    before = entries(page)
    page.get_by_role("link", name="Results", exact=True).first.click()
    expect(page.get_by_text("How this is computed")).to_be_visible(timeout=PATIENCE_MS)
    app.settle(page)
    page.wait_for_timeout(1000)
    assert (entries(page), page.url.partition("?")[2]) == (before + 1, "")


def test_a_choice_makes_one_entry_and_back_and_forward_go_along_them(app):
    page = app.open("reconstruction")
    expect(patch(page)).to_be_visible(timeout=PATIENCE_MS)
    before, first = entries(page), patch(page).inner_text()
    page.get_by_role("img", name=re.compile("rebuilt: conv4, k = 1")).first.click(position={"x": 40, "y": 40})
    expect(patch(page)).not_to_have_text(first, timeout=PATIENCE_MS)
    second = patch(page).inner_text()
    assert entries(page) == before + 1
    page.get_by_text("Indexed photos", exact=True).click()
    expect(page).to_have_url(re.compile("photo=indexed"), timeout=PATIENCE_MS)
    checked(page, "Indexed photos")
    assert entries(page) == before + 2
    page.go_back()
    checked(page, "Samples")
    expect(patch(page)).to_have_text(second, timeout=PATIENCE_MS)
    page.go_back()
    expect(patch(page)).to_have_text(first, timeout=PATIENCE_MS)
    page.go_forward()
    expect(patch(page)).to_have_text(second, timeout=PATIENCE_MS)
    assert entries(page) == before + 2


def test_a_choice_goes_along_to_another_page_in_place_and_back_leads_past_it(app):
    page = app.open("reconstruction?photo=sample:china")
    expect(patch(page)).to_be_visible(timeout=PATIENCE_MS)
    before = entries(page)
    page.get_by_role("link", name="Receptive fields").click()
    expect(page).to_have_url(re.compile(r"receptive_fields\?.*photo=sample%3Achina"), timeout=PATIENCE_MS)
    expect(page.get_by_text("The dot is the agreement radius")).to_be_visible(timeout=PATIENCE_MS)
    assert entries(page) == before + 1
    page.go_back()
    expect(page).to_have_url(re.compile(r"reconstruction\?photo=sample"), timeout=PATIENCE_MS)
    expect(patch(page)).to_be_visible(timeout=PATIENCE_MS)


def test_the_sentence_on_a_missing_index_stays(app):
    page = app.open("reconstruction?index=gone")
    expect(patch(page)).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_timeout(3000)
    expect(page.get_by_text("This link needs the index gone")).to_be_visible()
