"""The Data page: building an index, and what is said when it cannot be built."""

import contextlib
import shutil

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from corrcore import datasets
from corrcore import patch_index as indexes
from corrcore.datasets import DatasetSpec
from dashboard.services import caches, people
from dashboard.services.roles import Role

from .conftest import ROOT, settled, texts


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


def names(at):
    """The indexes in the table."""
    tables = [table.value for table in at.dataframe if "patches" in table.value]
    return [name for table in tables for name in table["name"] if name != "Drawn animals"]


def test_the_index_that_comes_along_is_listed_once_it_is_made(open_page):
    open_page("reconstruction")
    at = open_page("data")
    assert "Drawn animals" in list(at.dataframe[0].value["name"])


def test_data_sets_are_listed_with_where_they_come_from(open_page, tmp_path, monkeypatch):
    (tmp_path / "VOC2011" / "JPEGImages").mkdir(parents=True)
    (tmp_path / "VOC2011" / "Annotations").mkdir()
    (tmp_path / "VOC2011" / "ImageSets" / "Main").mkdir(parents=True)
    datasets.register(DatasetSpec("few", "A few drawings", True, datasets.toy.load))
    try:
        open_page("data")
        monkeypatch.setenv("CORRCORE_DATA", str(tmp_path))
        at = AppTest.from_file(str(ROOT / "dashboard" / "app_pages" / "data.py"), default_timeout=60).run()
    finally:
        datasets.unregister("few")
    [table] = [table.value for table in at.dataframe if "what it is" in table.value]
    assert list(table["name"])[:2] == ["Drawn animals", "few"]
    there = datasets.available(tmp_path)
    folders = [str(spec.folder) for spec in there.specs if spec.folder]
    assert [folder for folder in table["folder"] if folder != "comes along"] == folders
    assert [each for each in there.faults if each not in "".join(w.value.replace("\\", "") for w in at.warning)] == []


def test_results_and_their_room_are_listed(at, cache_folder):
    [table] = [table.value for table in at.dataframe if "how much" in table.value]
    assert list(table["folder"]) == [str(cache_folder / "experiments"), str(cache_folder / "results")]
    assert "result" in table["how much"][1]


@pytest.fixture
def faulty(cache_folder):
    """An index of another format, one without a manifest, half a deletion, and one whose build was stopped."""
    root = cache_folder / "indexes"
    made = {"old": "old", "empty": "empty", "gone": "gone.0123.deleting", "half": "half.partial"}
    for folder in made.values():
        (root / folder).mkdir(parents=True)
    (root / "old" / "manifest.json").write_text('{"format": 1}')
    (root / "empty" / "manifest.json").write_text("")
    yield root
    for name in made:
        with contextlib.suppress(indexes.IndexNotFoundError):
            indexes.delete(root / name)


def test_every_faulty_index_is_a_line_with_its_path_and_a_remedy(faulty, open_page):
    at = open_page("data")
    said = [warning.value.replace("\\", "") for warning in at.warning]
    for name in ("old", "empty", "gone", "half"):
        [line] = [text for text in said if text.startswith(f"**{name}**")]
        assert str(faulty / name) in line
        assert "`corrcore" in line
    for name in ("old", "empty", "gone", "half"):
        at.selectbox(key="delete_name").set_value(name)
        at.button(key="delete").click()
        at.run()
        assert not [warning for warning in at.warning if f"**{name}**" in warning.value]


def test_an_index_is_built_by_the_network_that_is_chosen(at, photos, vgg_weights, monkeypatch):
    monkeypatch.setenv("CORRCORE_WEIGHTS", str(vgg_weights))
    at.run()  # they were put there meanwhile
    at.selectbox(key="build_network").set_value("vgg16")
    build(at, photos, "mine")
    assert indexes.PatchIndex(indexes.default_root() / "mine").layers == ("conv3_3", "conv4_3", "conv5_3")


def test_a_folder_becomes_an_index_on_offer(at, photos, open_page):
    build(at, photos, "mine", mirror=True, hold_out=1)
    at.run()
    assert at.success[0].value.startswith("mine is ready")
    index = indexes.PatchIndex(indexes.default_root() / "mine")
    assert len(index.photos) + len(index.held_out) + len(index.skipped) == 7
    assert index.mirrored.any()
    assert names(at.run()) == ["mine"]
    page = open_page("reconstruction", index="mine")
    assert page.selectbox(key="index").value == "mine"


@pytest.mark.slow
def test_an_index_is_built_by_its_command_in_a_process_of_its_own(at, photos, monkeypatch):
    monkeypatch.setenv("CORRCORE_JOB_PROCESSES", "1")
    build(at, photos, "mine", mirror=True, hold_out=1)
    at.run()
    assert not at.error
    assert at.success[0].value.startswith("mine is ready")
    index = indexes.PatchIndex(indexes.default_root() / "mine")
    assert len(index.photos) + len(index.held_out) + len(index.skipped) == 7
    assert (index.mirrored.any(), index.extractor) == (True, "alexnet")


@pytest.mark.parametrize(
    ("folder", "name", "sentence"),
    [
        ("", "mine", "Name the folder"),
        ("/nowhere/at/all", "mine", "is no folder; give one that holds photos"),
        (None, "../up", "must be 1 to 64 letters"),
        (None, "", "Give the index a name"),
        ("", "", "Name the folder"),
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


def test_an_address_is_listed_and_built_as_a_folder_is(at, photos, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", photos)
    build(at, f"zip://{archive}", "mine", hold_out=2)
    index = indexes.open_index("mine")
    assert (len(index.photos), len(index.held_out)) == (5, 2)
    build(at, "ftp://127.0.0.1/photos", "other")
    assert "photos are not read from ftp" in at.error[0].value
    build(at, "s3://me:secret@bucket", "other")
    assert "must hold no password" in at.error[0].value
    assert "secret" not in at.error[0].value


@pytest.mark.parametrize(("role", "text"), [(Role.MEMBER, "that is for its operators"), (Role.OPERATOR, "gone.zip")])
def test_on_a_server_only_operators_give_addresses(at, monkeypatch, tmp_path, role, text):
    monkeypatch.setattr(people, "role", lambda: role)
    build(at, f"zip://{tmp_path}/gone.zip", "mine")
    assert text in at.error[0].value


def test_a_shared_server_offers_no_building(open_page, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("data")
    assert not [button for button in at.button if button.key == "build"]
    assert "shared" in at.info[0].value


def test_visitors_are_told_no_places_and_commands_of_the_server(open_page, monkeypatch, cache_folder):
    def shown():
        at = open_page("data")
        tables = [each.value.to_string() for each in (*at.dataframe, *at.get("table"))]
        return "\n".join([*tables, *(code.value for code in at.code), *texts(at)])

    at_home = shown()
    assert cache_folder.name in at_home
    assert "corrcore index build" in at_home
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    seen = shown()
    assert not [word for word in (cache_folder.name, "CORRCORE_DATA", "corrcore index") if word in seen]


def test_photos_left_out_are_listed_with_the_reason(at, photos):
    build(at, photos, "mine")
    [table] = [table.value for table in at.run().dataframe if "why" in table.value]
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
    assert names(at) == []
    assert not (indexes.default_root() / "mine").exists()


def test_a_build_that_was_stopped_is_named_and_can_be_deleted(at):
    (indexes.default_root() / "mine.partial").mkdir()
    at.run()
    assert any("**mine**, not finished" in warning.value for warning in at.warning)
    at.selectbox(key="delete_name").set_value("mine")
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
