"""Five people in real browsers over all pages at once: no error in a console, and nobody sees what is another's.

    python -m tests.drills.browsers [--people 5] [--rounds 2]

Each has a photo of a name and a colour of their own, uploads it, and goes over all pages; the names that a page shows
must be one's own.
"""

import argparse
import asyncio
import io
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from dashboard.navigation import PAGES
from tests.browser.conftest import FLAGS, PROBE, SETTLED, chromium_path
from tests.drills.server import report, serving

PATIENCE_MS = 180_000


def photo(number: int) -> bytes:
    """A photo like nobody else's."""
    pixels = np.random.default_rng(number).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


async def upload(page: Page, url: str, name: str, content: bytes) -> None:
    """Brings a photo to Reconstruction and waits until it is shown."""
    await page.goto(f"{url}/reconstruction")
    await page.wait_for_selector(SETTLED, timeout=PATIENCE_MS)
    await page.get_by_text("How this is computed").wait_for()  # until then the page is made anew under the pointer
    await page.get_by_role("radio", name="Upload").first.click()
    file = {"name": name, "mimeType": "image/png", "buffer": content}
    await page.locator('input[type="file"]').set_input_files(file)  # type: ignore[arg-type]
    await page.get_by_role("img", name=re.compile(re.escape(name))).first.wait_for(timeout=PATIENCE_MS)


async def person(browser: Browser, url: str, number: int, rounds: int) -> tuple[list[str], list[float]]:
    """What went wrong for one, and the seconds until pages had settled."""
    faults: list[str] = []
    times: list[float] = []
    context = await browser.new_context(viewport={"width": 1280, "height": 900})
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)

    def note(message: object) -> None:
        text, where = getattr(message, "text", ""), getattr(message, "location", {}).get("url", "")
        replaced = text.startswith("Client Error: Image source error") or "/media/" in where
        if getattr(message, "type", "") == "error" and not replaced and not PROBE.search(where.removeprefix(url)):
            faults.append(f"console: {text}")

    page.on("console", note)
    page.on("pageerror", lambda error: faults.append(f"page: {error}"))
    own = f"photo-of-person-{number}.png"
    await upload(page, url, own, photo(number))
    for _ in range(rounds):
        for spec in PAGES[1:]:
            begun = time.monotonic()
            await page.get_by_role("link", name=spec.title, exact=True).first.click(timeout=PATIENCE_MS)
            await page.wait_for_selector(SETTLED, timeout=PATIENCE_MS)
            times.append(time.monotonic() - begun)
            text = await page.locator("body").inner_html()
            others = set(re.findall(r"photo-of-person-\d+\.png", text)) - {own}
            faults.extend(f"{spec.path} shows {name} to {number}" for name in others)
            faults.extend([f"exception on {spec.path}"] * await page.get_by_test_id("stException").count())
    await context.close()
    return faults, times


async def all_of_them(url: str, people: int, rounds: int) -> tuple[list[str], list[float]]:
    """Everybody together."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        found = await asyncio.gather(*(person(browser, url, n, rounds) for n in range(people)))
        await browser.close()
    return [fault for faults, _ in found for fault in faults], [one for _, times in found for one in times]


def main(arguments: list[str] | None = None) -> int:
    """Runs the drill; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "cache") as server:
        server.wait("/readyz")
        faults, times = asyncio.run(all_of_them(server.url, options.people, options.rounds))
        faults += server.tracebacks()
    print("\n".join(faults))
    return report(
        [
            ("pages seen", len(times), "", True),
            ("seconds until a page settled, 95th percentile", float(np.percentile(times, 95)), "", True),
            ("faults", len(faults), "0", not faults),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
