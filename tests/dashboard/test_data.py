"""The Data page: building an index, and what is said when it cannot be built."""

import shutil

import numpy as np
import pytest
from PIL import Image

from corrcore import patch_index as indexes
from dashboard.services import caches

from .conftest import settled


@pytest.fixture
def photos(tmp_path):
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (90, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    return tmp_path


@pytest.fixture
def at(open_page):
    yield open_page("data")
    for name in ("mine", "mine.partial"):
        shutil.rmtree(indexes.default_root() / name, ignore_errors=True)


def build(at, folder, name, *, mirror=False, hold_out=0):
    at.text_input(key="build_folder").set_value(str(folder))
    at.text_input(key="build_name").set_value(name)
    at.toggle(key="build_mirror").set_value(mirror)
    at.number_input(key="build_hold_out").set_value(hold_out)
    at.button(key="build").click()
    return settled(at.run())


def test_the_samples_are_listed(at):
    assert list(at.dataframe[0].value["name"]) == ["samples"]


def test_a_folder_becomes_an_index_on_offer(at, photos, open_page):
    build(at, photos, "mine", mirror=True, hold_out=1)
    at.run()
    assert at.success[0].value.startswith("mine is ready")
    index = indexes.PatchIndex(indexes.default_root() / "mine")
    assert len(index.photos) + len(index.held_out) + len(index.skipped) == 7
    assert index.mirrored.any()
    table = at.run().dataframe[0].value
    assert list(table["name"]) == ["samples", "mine"]
    page = open_page("reconstruction", index="mine")
    assert page.selectbox(key="index").value == "mine"


@pytest.mark.parametrize(
    ("folder", "name", "sentence"),
    [
        ("", "mine", "Name the folder"),
        ("/nowhere/at/all", "mine", "is no folder; give one that holds photos"),
        (None, "../up", "must be 1 to 64 letters"),
        (None, "", "must be 1 to 64 letters"),
    ],
    ids=str,
)
def test_what_cannot_be_built_is_said_in_a_sentence(at, photos, folder, name, sentence):
    build(at, photos if folder is None else folder, name)
    assert len(at.error) == 1
    assert sentence in at.error[0].value


def test_holding_out_every_photo_is_refused(at, photos):
    build(at, photos, "mine", hold_out=7)
    assert "photos to hold out must be between 0 and 6" in at.error[0].value


def test_a_shared_server_offers_no_building(open_page, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("data")
    assert not [button for button in at.button if button.key == "build"]
    assert "shared" in at.info[0].value


def test_photos_left_out_are_listed_with_the_reason(at, photos):
    build(at, photos, "mine")
    table = at.run().dataframe[1].value
    assert list(table["photo"]) == ["broken.jpg"]
    assert "broken.jpg" in table["why"][0]


def test_what_was_left_out_of_the_folder_is_said(at, photos):
    (photos / "new.heic").touch()
    build(at, photos, "mine")
    said = [caption.value for caption in at.run().caption]
    assert any(
        "Of this folder 1 left out: in a format that is not read here" in each.replace("\\", "") for each in said
    )


def test_an_index_can_be_deleted(at, photos):
    build(at, photos, "mine")
    at.run()
    at.selectbox(key="delete_name").set_value("mine")
    at.button(key="delete").click()
    at.run()
    assert list(at.dataframe[0].value["name"]) == ["samples"]
    assert not (indexes.default_root() / "mine").exists()


def test_a_build_that_was_stopped_is_named_and_can_be_deleted(at):
    (indexes.default_root() / "mine.partial").mkdir()
    at.run()
    assert any("Not finished: mine" in caption.value for caption in at.caption)
    at.button(key="delete").click()
    at.run()
    assert not (indexes.default_root() / "mine.partial").exists()


def test_an_index_built_anew_under_its_name_is_opened_anew(at, photos):
    build(at, photos, "mine")
    at.run()
    assert caches.open_index("mine").photos[0] == "0.png"
    at.selectbox(key="delete_name").set_value("mine")
    at.button(key="delete").click()
    at.run()
    (photos / "0.png").unlink()
    build(at, photos, "mine")
    assert caches.open_index("mine").photos[0] == "1.png"
