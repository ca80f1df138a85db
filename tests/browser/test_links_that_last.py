"""A link from an e-mail shows the same after a restart, and on another machine that has the same data elsewhere."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from corrcore import networks, patch_index
from corrcore.datasets import drawn, toy
from corrcore.datasets.folder import photos as photos_of
from tests.browser.conftest import App
from tests.browser.test_app import PATIENCE_MS, link
from tests.datasets.voc_tree import annotation, point

pytestmark = pytest.mark.browser

CATEGORY = "toy cat"
PICTURES = """async () => {
    const all = root => [...root.querySelectorAll("*")].flatMap(each => each.shadowRoot ? all(each.shadowRoot) : each);
    const images = all(document).filter(each => each.tagName === "IMG" && each.naturalWidth > 40);
    return Promise.all(images.map(async image => {
        const bytes = await (await fetch(image.src)).arrayBuffer();
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        return image.alt + " " + Array.from(digest).map(each => each.toString(16).padStart(2, "0")).join("");
    }));
}"""


@dataclass(frozen=True)
class View:
    """A page with choices: how it is asked for, what is clicked on it, and what it says when it is complete."""

    asked: str
    clicked: str  # the alternative text of a picture
    keys: tuple[str, ...]  # of the choices that the link then has to hold
    complete: str


VIEWS = (
    View("reconstruction?index=mine&photo=indexed:d.png&k=9", "rebuilt: conv4, k = 9", ("index", "at"), "this patch"),
    View(
        "receptive_fields?index=mine&photo=indexed:b.png",
        r"^b\.png",
        ("index", "at"),
        "The dot is the agreement radius",
    ),
    View(
        "alignment?data=animals&object=OBJECT&smoothness=0.1",
        "warped by conv4$",
        ("data", "object", "neighbour"),
        "How this is computed",
    ),
    View(
        "responses?data=animals&object=OBJECT&keypoint=Nose&features=conv4",
        "conv4",
        ("data", "object", "at"),
        "How this is computed",
    ),
)


def machine(root: Path) -> dict[str, str]:
    """What a machine has below a folder, and the environment that says so: a data set, photos, and an index of them."""
    write_dataset(root / "sets" / "animals")
    photos = root / "photos"
    photos.mkdir()
    for name, animal in zip("abcd", drawn.to_search().values(), strict=False):
        Image.fromarray(animal.load()).save(photos / f"{name}.png")
    indexes = root / "cache" / "indexes"
    extractor = networks.open("alexnet", device="cpu")
    patch_index.build(
        photos_of(photos).photos, indexes / "mine", extractor=extractor, layers=("conv3", "conv4", "conv5")
    )
    return {"CORRCORE_CACHE": str(root / "cache"), "CORRCORE_DATA": str(root / "sets")}


def write_dataset(root: Path) -> None:
    """Some drawn cats in PASCAL VOC's layout."""
    data = toy.load(n_train=4, n_val=2)
    (root / "JPEGImages").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "keypoints" / "cat").mkdir(parents=True)
    number = 0
    for split in ("train", "val"):
        listed = []
        for instance in data.instances(CATEGORY, split):
            number += 1
            image = f"2008_{number:06}"
            listed.append(image)
            Image.fromarray(instance.photo.load()).save(root / "JPEGImages" / f"{image}.jpg", quality=95)
            left, top, right, bottom = (round(edge) for edge in instance.box)
            box = {"xmin": left + 1, "ymin": top + 1, "width": right - left, "height": bottom - top}
            named = zip(data.keypoint_names[CATEGORY], instance.keypoints, strict=True)
            points = [point(name, x + 1, y + 1) for name, (x, y) in named if np.isfinite(x)]
            text = annotation(image, 1, box=box, points=points)
            (root / "keypoints" / "cat" / f"{image}_1.xml").write_text(text)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{image}\n" for image in listed))


def complete(app: App, page: Page, view: View) -> None:
    """Wait until all is there; what has to be learnt first is, on every machine of its own."""
    train, end = page.get_by_role("button", name="Train", exact=True), page.get_by_text(view.complete).first
    expect(train.or_(end).first).to_be_visible(timeout=PATIENCE_MS)
    if train.is_visible():
        train.click()
    expect(end).to_be_visible(timeout=PATIENCE_MS)
    app.settle(page)


def shown(page: Page) -> tuple[list[str], list[str]]:
    """What a page says, without how long it took, and what its pictures hold."""
    said = page.get_by_test_id("stMain").inner_text().splitlines()
    return [line for line in said if line.strip()], page.evaluate(PICTURES)


@pytest.fixture(scope="module")
def machines(tmp_path_factory) -> tuple[dict[str, str], dict[str, str]]:
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there") / "deeper" / "down"
    there.mkdir(parents=True)
    return machine(here), machine(there)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: urlsplit(view.asked).path)
def test_a_link_shows_the_same_after_a_restart_and_on_another_machine(serve: Callable[..., App], machines, view):
    here, there = machines
    app = serve("dashboard/Home.py", **here)
    page = app.open(view.asked.replace("OBJECT", "2008_000006_1"))
    complete(app, page, view)
    page.get_by_role("img", name=re.compile(view.clicked)).last.click(position={"x": 40, "y": 30})
    expect(page).to_have_url(re.compile(rf"[?&]{view.keys[-1]}="), timeout=PATIENCE_MS)
    complete(app, page, view)
    sent, before = link(page), shown(page)
    page.wait_for_timeout(1000)
    while before != (before := shown(page)):  # until nothing is added any more
        page.wait_for_timeout(1000)
    assert before[1]
    assert all(f"{key}=" in sent for key in view.keys)
    for environment in ({**here, "RESTARTED": "yes"}, there):
        other = serve("dashboard/Home.py", **environment)
        page = other.open(sent.removeprefix(app.url))
        complete(other, page, view)
        expect(page.get_by_text("This link asks for")).to_have_count(0)
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while shown(page) != before and time.monotonic() < deadline:  # charts come a little later
            page.wait_for_timeout(500)
        said, pictures = shown(page)
        assert "\n".join(said) == "\n".join(before[0])
        assert pictures == before[1]
