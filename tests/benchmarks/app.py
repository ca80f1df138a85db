"""How long one waits for the app: for the first picture after a cold start, and for a change of k.

    python tests/benchmarks/app.py [--rounds 3] [--index samples]

Every round starts the server and opens the Reconstruction page in a browser: once with an empty cache, as on a new
machine (the index of the samples is built then), then with what is there. The change of k is the time of one run of the
page, without the browser, whose features are cached.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from playwright.sync_api import Error, Page, sync_playwright
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PORT = 8599


def first_picture(page: Page, index: str, cache: str | None) -> float:
    """Seconds from starting the server to the last layer's picture in the browser."""
    environment = {**os.environ, **({"CORRCORE_CACHE": cache} if cache else {})}
    begun = time.perf_counter()
    command = [sys.executable, "-m", "streamlit", "run", "dashboard/Home.py"]
    command += ["--server.headless=true", f"--server.port={PORT}"]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                page.goto(f"http://localhost:{PORT}/reconstruction?index={index}")
                break
            except Error:
                time.sleep(0.05)
        page.locator('img[alt*="rebuilt: conv5"]').first.wait_for(timeout=120_000)
        return time.perf_counter() - begun
    finally:
        server.terminate()
        server.wait()


def changes_of_k(index: str) -> list[float]:
    at = AppTest.from_file(str(ROOT / "dashboard/app_pages/reconstruction.py"), default_timeout=300)
    at.query_params["index"] = index
    at.run()
    while any(button.label == "Cancel" for button in at.button):
        time.sleep(0.2)
        at.run()
    seconds = []
    for k in (7, 20, 50, 11, 33):
        at.slider(key="k").set_value(k)
        begun = time.perf_counter()
        at.run()
        seconds.append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--index", default="samples")
    options = parser.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as fresh:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        if options.index == "samples":
            print(f"cold start, empty cache: first picture after {first_picture(page, 'samples', fresh):.1f} s")
        times = [first_picture(page, options.index, None) for _ in range(options.rounds + 1)][1:]
        print(f"cold start: first picture after {median(times):.1f} s (of {[round(each, 1) for each in times]})")
        browser.close()
    times = changes_of_k(options.index)
    print(f"change of k: {1000 * median(times):.0f} ms (of {[round(1000 * each) for each in times]})")


if __name__ == "__main__":
    main()
