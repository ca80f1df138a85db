"""The Reconstruction page: what every widget and every click changes."""

import base64
import io
import json
import re
import threading

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from corrcore import decoding, images
from corrcore import patch_index as indexes
from corrcore.datasets import drawn
from corrcore.datasets.samples import samples
from corrcore.tasks import reconstruction
from dashboard import first_views
from dashboard.services import sessions

from .conftest import ROOT, settled, texts

PICTURES = ("uniform rf", "conv3", "conv4", "conv5")
PAGE = str(ROOT / "dashboard" / "app_pages" / "reconstruction.py")
FIRST = drawn.unseen()[first_views.REBUILT]


def component(at, key):
    [element] = [element for element in at.get("bidi_component") if element.proto.id.endswith(f"-{key}")]
    return json.loads(element.proto.json)


def picture(at, key):
    return decoding.decode(base64.b64decode(component(at, key)["image"].split(",")[1]))


def keys(at):
    return {element.proto.id.rsplit("-", 1)[-1] for element in at.get("bidi_component")}


@pytest.fixture
def at(open_page):
    return open_page("reconstruction")


def test_the_first_pictures_are_those_of_the_package(at, alexnet):
    index, image = indexes.samples(alexnet), FIRST.load()
    for layer in ("conv3", "conv5"):
        found = reconstruction.retrieve(image, layer, extractor=alexnet, index=index, k=5)
        covered = found.cells.covered
        for k in (1, 5):
            expected = reconstruction.rebuild(found, index, k=k)
            expected = expected[covered.top : covered.bottom, covered.left : covered.right]
            shown = picture(at, f"picture {layer} {k}")
            assert shown.shape == expected.shape
            assert abs(shown.astype(int) - expected).mean() < 8  # JPEG


def test_the_first_patch_is_on_an_eye_and_the_page_says_what_it_is_made_of(at):
    captions = [caption.value for caption in at.caption]
    x, y = FIRST.eye
    assert any(f"the patch at ({x}, {y}) of the photo" in caption for caption in captions)
    assert any("60 drawn animals" in caption and "on the Data page" in caption for caption in captions)


def test_visitors_are_not_told_to_build_indexes_or_fetch_networks(open_page, monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    at = open_page("reconstruction", photo="sample:coffee")
    said = " ".join(texts(at))
    assert "A photograph finds little among drawn animals." in said
    assert not re.search("build|Data page|fetch|CORRCORE", said + at.selectbox(key="index").help, re.IGNORECASE)


def test_a_column_a_layer_and_a_row_a_k(at):
    assert {f"picture {title} {k}" for title in PICTURES for k in (1, 5)} <= keys(at)


def test_k_changes_the_second_row_only(at):
    before = picture(at, "picture conv4 1")
    at.slider(key="k").set_value(20)
    settled(at.run())
    assert {f"picture {title} {k}" for title in PICTURES for k in (1, 20)} <= keys(at)
    np.testing.assert_array_equal(picture(at, "picture conv4 1"), before)


def test_layers_can_be_left_out(at):
    at.pills(key="layers").set_value(["conv4"])
    settled(at.run())
    assert "picture conv4 1" in keys(at)
    assert "picture conv3 1" not in keys(at)


def test_without_a_layer_the_page_asks_for_one(at):
    at.pills(key="layers").set_value([])
    settled(at.run())
    assert [info.value for info in at.info] == ["Choose at least one layer."]


def test_a_click_in_any_picture_selects_the_patch_under_it(at, click):
    captions = [caption.value for caption in at.caption]
    click(at, "picture conv5 5", 33, 40)
    settled(at)
    assert at.query_params["at"] in ("40,47", ["40,47"])  # the rim that no patch covers is 7 px wide
    assert any("(40, 47)" in caption.value for caption in at.caption)
    assert [caption.value for caption in at.caption] != captions
    left, top, right, bottom = component(at, "input")["boxes"][-1]["box"]
    assert left <= 33 < right
    assert top <= 40 < bottom
    assert (right - left, bottom - top) == (16, 16)
    assert left % 16 == 0


def test_neighbours_are_shown_with_similarity_and_source(at):
    texts = json.dumps([str(element.proto) for element in at.get("image")])
    assert texts.count("this patch") == 3
    assert texts.count("toy-") >= 3


def test_choosing_another_sample_rebuilds_it(at, click):
    before = picture(at, "picture conv3 1")
    click(at, "gallery", 112 * 3 + 50, 112 + 40)
    settled(at)
    assert picture(at, "picture conv3 1").shape != before.shape
    assert at.query_params["photo"] in ("sample:coffee", ["sample:coffee"])


def test_a_link_restores_photo_patch_layers_and_k(open_page):
    at = open_page("reconstruction", photo="sample:toy-cat-val-008", at="100,90", k="9", layers="conv5")
    assert {"picture conv5 1", "picture conv5 9"} <= keys(at)
    assert "picture conv3 1" not in keys(at)
    assert any("(100, 90)" in caption.value for caption in at.caption)


@pytest.mark.parametrize(
    "query",
    [
        {"photo": "sample:../../etc/passwd"},
        {"photo": "indexed:nothing"},
        {"at": "9999,-3"},
        {"at": "x,y"},
        {"at": "9" * 5000 + ",1"},
        {"k": "abc"},
        {"layers": "conv99"},
        {"index": "../x"},
    ],
    ids=str,
)
def test_a_broken_link_still_shows_a_picture(open_page, query):
    at = open_page("reconstruction", **query)
    assert "input" in keys(at)


def test_a_link_to_an_index_that_is_not_here_says_so(open_page):
    at = AppTest.from_file(str(ROOT / "dashboard/app_pages/reconstruction.py"), default_timeout=60)
    at.query_params["index"] = "gone"
    at.run()
    assert "needs the index gone" in at.warning[0].value


@pytest.mark.parametrize(("name", "value"), [("k", "999"), ("layers", "conv99")])
def test_a_link_that_asks_for_what_is_not_offered_says_so(open_page, name, value):
    at = open_page("reconstruction", **{name: value})
    assert f"asks for {name} {value}, which does not exist here" in at.warning[0].value


def test_a_very_wide_photo_is_rebuilt(at):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 1800, 3), dtype=np.uint8)).save(file, "PNG")
    upload(at, "wide.png", file.getvalue())
    assert "picture conv5 1" in keys(at)


def test_a_link_to_an_upload_says_that_it_needs_the_file(open_page):
    at = open_page("reconstruction", photo="upload:0123456789abcdef")
    assert "stays with whoever uploaded it" in at.info[0].value
    assert "input" not in keys(at)


def upload(at, name, data):
    at.segmented_control(key="photo_from").set_value("Upload")
    at.run()
    at.file_uploader(key="photo_upload").set_value((name, data, "image/png"))
    return settled(at.run())


def test_an_uploaded_photo_is_rebuilt(at):
    image = np.random.default_rng(0).integers(0, 256, (160, 200, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    upload(at, "mine.png", file.getvalue())
    assert any("A photograph finds little among drawn animals" in caption.value for caption in at.caption)
    assert picture(at, "picture conv3 1").shape == (144, 176, 3)


def shown_sources(at):
    return json.dumps([str(element.proto) for element in at.get("image")])


def test_an_uploaded_copy_of_an_indexed_photo_is_not_rebuilt_from_itself(at):
    name, animal = next(iter(drawn.to_search().items()))
    upload(at, "copy.webp", animal.path.read_bytes())
    assert "toy-cat" in shown_sources(at)
    assert name not in shown_sources(at)
    assert not [each for each in at.toggle if each.key == "copies"]


@pytest.mark.parametrize("change", ["enlarged", "recompressed"])
def test_a_changed_copy_is_said_and_left_out_until_it_is_kept(at, change):
    name, animal = next(iter(drawn.to_search().items()))
    image = animal.load()
    if change == "enlarged":
        data = images.encode(images.resize(image, longer_side=480), format="PNG")
    else:
        data = images.encode(image, format="JPEG", quality=30)
    upload(at, "copy.png", data)
    assert any(name in each.value and "left out unless you keep it" in each.value for each in at.info)
    assert name not in shown_sources(at)
    at.toggle(key="copies").set_value(True)
    settled(at.run())
    assert name in shown_sources(at)


def test_a_broken_upload_gets_one_sentence(at):
    upload(at, "broken.png", b"<html>no picture</html>")
    assert len(at.error) == 1
    assert "broken.png" in at.error[0].value


def test_an_upload_smaller_than_one_cell_gets_one_sentence(at):
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, "PNG")
    upload(at, "tiny.png", file.getvalue())
    assert any("at least 31 x 31 px" in error.value for error in at.error)


def test_comparison_shows_the_chosen_picture(at):
    at.segmented_control(key="section").set_value("Compare with the input")
    at.run()
    at.segmented_control(key="compare_layer").set_value("conv3")
    at.segmented_control(key="compare_k").set_value(1)
    settled(at.run())
    after = component(at, "compare")["images"][1]
    assert after == component(at, "picture conv3 1")["image"]


def test_numbers_are_those_of_the_package(at, alexnet):
    at.segmented_control(key="section").set_value("Numbers")
    settled(at.run())
    localised, alike = (table.value for table in at.dataframe)
    assert list(localised.iloc[:, 0]) == list(PICTURES[1:])
    assert list(alike.iloc[:, 0]) == list(PICTURES)
    index, image = indexes.samples(alexnet), FIRST.load()
    for row, layer in enumerate(PICTURES[1:], start=1):
        found = reconstruction.reconstruct(image, layer, extractor=alexnet, index=index, k=50)
        score = f"{found.localisation.score:.2f} ± {found.localisation.score_error:.2f}"
        few = len(found.localisation.offsets) < 30
        assert localised["localisation"][row - 1] == ("too few patches" if few else score)
        assert alike["similarity, k = 5"][row] == f"{found.retrieval.similarities[:, :5].mean():.3f}"


@pytest.fixture
def busy(at):
    """The queue of views busy with another visitor's work, until it is set."""
    go = threading.Event()

    def work(*, progress):
        assert go.wait(60)

    job = sessions.queue().submit(work, label="Another's", owner="another")
    yield go
    go.set()
    job.wait(10)


def waiting(**query):
    """The page while its search waits."""
    at = AppTest.from_file(PAGE, default_timeout=60)
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def test_cancelled_work_stays_cancelled_until_it_is_asked_for_again(busy):
    at = waiting(photo="sample:rocket")
    [cancel] = [button for button in at.button if button.label == "Cancel"]
    cancel.click()
    settled(at.run())
    assert any("was cancelled" in caption.value for caption in at.caption)
    busy.set()
    [again] = [button for button in at.button if button.label == "Try again"]
    again.click()
    settled(at.run())
    assert "picture conv3 1" in keys(at)


def test_a_click_in_the_gallery_cancels_the_search_of_the_photo_before(busy, click):
    at = waiting(photo="sample:china")
    before = at.session_state["corrcore"].view.job
    assert before.state == "waiting"
    click(at, "gallery", 112 * 5 + 50, 112 + 40)
    after = at.session_state["corrcore"].view.job
    assert before.state == "cancelled"
    assert after is not before
    assert "Dahlia" in after.label
    busy.set()
    settled(at.run())
    assert "picture conv3 1" in keys(at)


def test_arrays_can_be_laid_on_the_photo_and_on_the_neighbours_photos(open_page, offered, alexnet):
    open_page("reconstruction", layers="conv4")
    arrays = np.load(io.BytesIO(offered["reconstruction.npz"]()))
    image, (left, top) = arrays["image"], arrays["crop_left_top"]
    shown = arrays["conv4_k1"]
    assert np.array_equal(arrays["photo_size"], image.shape[1::-1])
    index, side = indexes.samples(alexnet), int(arrays["conv4_patch_px"])
    centres = arrays["conv4_cell_centres"].reshape(-1, 2)
    full = np.flatnonzero(arrays["conv4_neighbour_scales"][:, 0] == 1)
    for cell in full[:: max(len(full) // 20, 1)]:
        photo = index.photo(int(arrays["conv4_neighbour_photos"][cell, 0]))
        x, y = np.ceil(arrays["conv4_neighbour_centres"][cell, 0] - side / 2).astype(int)
        if min(x, y) < 0 or x + side > photo.shape[1] or y + side > photo.shape[0]:
            continue
        column, row = np.ceil(centres[cell] - side / 2).astype(int) - (left, top)
        patch = shown[row : row + side, column : column + side]
        np.testing.assert_array_equal(patch, photo[y : y + side, x : x + side])


def test_a_photo_that_was_shrunk_is_told_in_its_own_pixels(at, offered):
    file = io.BytesIO()
    Image.fromarray(images.resize(samples()["coffee"].load(), longer_side=1000)).save(file, "PNG")
    upload(at, "large.png", file.getvalue())
    arrays = np.load(io.BytesIO(offered["reconstruction.npz"]()))
    assert arrays["photo_size"].max() == 1000
    [caption] = [caption.value for caption in at.caption if "the patch at" in caption.value]
    assert "shown at 50% of its size" in caption
    at.query_params["at"] = "100,90"
    settled(at.run())
    x, y = np.floor((np.array([100, 90]) + 0.5) * arrays["photo_size"] / arrays["image"].shape[1::-1]).astype(int)
    assert any(f"({x}, {y})" in caption.value for caption in at.caption)


@pytest.mark.parametrize("photo", ["sample:coffee", f"sample:{FIRST.name}", "indexed:toy-cat-train-003"])
def test_the_lines_of_python_make_the_pictures(open_page, offered, photo):
    at = open_page("reconstruction", photo=photo, layers="conv5", k="2")
    space = {}
    exec(offered["python"], space)
    own = space["pictures"]["conv5"]
    arrays = np.load(io.BytesIO(offered["reconstruction.npz"]()))
    left, top = arrays["crop_left_top"]
    height, width = arrays["conv5_k2"].shape[:2]
    np.testing.assert_array_equal(own[top : top + height, left : left + width], arrays["conv5_k2"])
    assert "picture conv5 2" in keys(at)


def test_an_index_of_another_network_is_searched_by_it(open_page, vgg_index):
    at = open_page("reconstruction", index=vgg_index, photo=f"sample:{FIRST.name}", k="2")
    assert list(at.pills(key="layers").options) == ["conv3_3", "conv4_3", "conv5_3"]
    assert {"picture conv3_3 1", "picture conv5_3 2"} <= keys(at)
    assert any("**by-vgg16** · described by **VGG16**" in caption.value for caption in at.caption)
    assert not [each for each in at.selectbox if each.key == "network"]


def test_localisation_is_measured_in_the_window_of_the_link(open_page, transformer_index, offered):
    at = open_page("reconstruction", index=transformer_index, window="7")
    [element] = [element for element in at.get("bidi_component") if element.proto.id.endswith("-input")]
    assert sorted(box["box"][2] - box["box"][0] for box in json.loads(element.proto.json)["boxes"]) == [16, 112]
    assert "index = patch_index.PatchIndex" in offered["python"]
    assert ".with_window(7)" in offered["python"]
