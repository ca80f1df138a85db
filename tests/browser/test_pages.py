"""Every page, with every section: legible, whole at three widths in both themes, and operable by keyboard.

One visit per page. Its sections are opened by keyboard; each is looked at in both themes and at all widths by changing
those of the same tab. `audit.js` is what is asked of the page, beside axe-core's rules.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Error, Locator, Page, expect

from dashboard.navigation import PAGES

from .conftest import App

pytestmark = pytest.mark.browser

PATIENCE_MS = 120_000
WIDTHS = (390, 2560, 1280)  # in pixels; the last is what a page is worked at
SCHEMES = ("light", "dark")
GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 27)"}
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
AUDIT = Path(__file__).with_name("audit.js").read_text("utf-8")
RUN_AXE = """async rules => {
    const found = await axe.run(document, {resultTypes: ["violations"], runOnly: rules})
    return found.violations.flatMap(rule => rule.nodes.map(
        node => [rule.impact, `${rule.id}: ${node.target.join(" ")} ${node.html.slice(0, 200)}`]))
}"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
RULES_OF_COLOURS = ["color-contrast", "link-in-text-block"]
SECTIONS = "[class*=st-key-][class*=section] [role=radiogroup], .st-key-table [role=radiogroup]"
MOST_STOPS = 400  # of the Tab key, on a page


def finished(app: App, page: Page) -> None:
    """Wait until no work that the page began is left: a run may be about to begin, so it is asked twice."""
    working = page.locator("[data-testid=stProgress], [data-stale=true]")
    quiet = 0
    while quiet < 2:
        app.settle(page)
        quiet = 0 if working.count() else quiet + 1
        expect(working).to_have_count(0, timeout=PATIENCE_MS)
        page.wait_for_timeout(200)


def open_by_keyboard(app: App, page: Page, section: Locator) -> None:
    """Opens a section with the arrow keys and Enter."""
    name = section.inner_text()
    section.locator("xpath=..").locator("[aria-checked=true]").focus()
    for _ in range(20):
        if page.evaluate("document.activeElement.innerText") == name:
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("radio", name=name, exact=True)).to_be_checked()
    finished(app, page)


def sections(app: App, page: Page) -> Iterator[str]:
    """The names of a page's sections, each once it is open; the one that is open at first is the first."""
    picker = page.locator(SECTIONS).last
    if not picker.count():
        yield ""
        return
    radios = picker.get_by_role("radio")
    for number in range(radios.count()):
        if number:
            open_by_keyboard(app, page, radios.nth(number))
        yield radios.nth(number).inner_text()


def cut(page: Page) -> list[str]:
    """What is cut off, once the page has had a second to take a new width."""
    for _ in range(10):
        if not (found := page.evaluate("audit.cut()")):
            break
        page.wait_for_timeout(100)
    return found


def faults_of_looks(page: Page) -> list[str]:
    """What is illegible or wrong by axe-core in each theme, and cut off at each width."""
    found = []
    for scheme, rules in zip(SCHEMES, (RULES, RULES_OF_COLOURS), strict=True):
        page.emulate_media(color_scheme=scheme)
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", GROUNDS[scheme])
        told = page.evaluate(RUN_AXE, rules)
        found += [f"{scheme}: {fault}" for impact, fault in told if impact in ("serious", "critical")]
        found += [f"{scheme}: faint {text}" for text in page.evaluate("audit.faint()")]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found += [f"{width} px: {fault}" for fault in cut(page)]
    return found


def faults_of_keyboard(app: App, page: Page, start: str) -> list[str]:
    """What the Tab key does not reach from an element on, or reaches without showing it."""
    page.evaluate("audit.still()")
    page.locator(start).last.evaluate("audit.remember")
    found, code = [], False
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate("audit.step()")
        if code and (stop is None or stop["again"]):  # Streamlit takes its copying button away while it has the focus
            stop = page.evaluate("audit.resume()")
        if stop is None:
            return found + [f"{name} is not reached" for name in page.evaluate("audit.missed()")]
        found += [f"{stop['name']} {fault}" for fault in stop["wrong"]]
        if stop["again"]:
            found.append(f"{stop['name']} has the focus again before the end")
        code = stop["code"]
        if stop["table"]:  # a cell, of which the page may show more
            finished(app, page)
    return [*found, f"the page has no end after {MOST_STOPS} stops"]


def faults_of_keys(page: Page) -> list[str]:
    """Pictures that do not answer to keys; popovers must."""
    found = []
    for picture in page.get_by_role("application").all():
        picture.focus()
        page.keyboard.press("ArrowRight")
        if not picture.get_by_role("status").inner_text():
            found.append(f"{picture.get_attribute('aria-label')} does not answer to an arrow key")
    for button in page.get_by_test_id("stPopoverButton").all():
        button.focus()
        page.keyboard.press("Enter")
        body = page.get_by_test_id("stPopoverBody")
        expect(body).to_be_visible()
        for _ in range(5):  # it is seen before it listens, and a key in between is nobody's
            page.keyboard.press("Escape")
            with suppress(Error):
                body.wait_for(state="detached", timeout=1000)
                break
        expect(body).to_have_count(0)
        expect(button).to_be_focused()
    return found


@pytest.mark.parametrize("spec", PAGES, ids=lambda spec: spec.path)
def test_pages_are_legible_whole_and_operable_by_keyboard(app, spec):
    page = app.open("" if spec is PAGES[0] else spec.path, reduced_motion="reduce")
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=PATIENCE_MS)
    finished(app, page)
    page.add_style_tag(content="* {transition: none !important; animation: none !important}")
    page.evaluate(AXE)
    page.evaluate(f"window.audit = {AUDIT}")
    faults = {}
    for name in sections(app, page):
        start = f"{SECTIONS} >> [aria-checked=true]" if faults else "a[href] >> nth=0"
        faults[name] = [*faults_of_looks(page), *faults_of_keyboard(app, page, start)]
    faults["keys"] = faults_of_keys(page)
    finished(app, page)
    assert not any(faults.values()), "\n".join(f"{name}: {each}" for name, found in faults.items() for each in found)
