"""The Receptive fields page: what every widget and every click changes."""

import io
import json
import re

import numpy as np
import pytest

from corrcore import patch_index
from corrcore.datasets import drawn
from corrcore.tasks.averaging import Agreement
from dashboard import first_views
from dashboard.app_pages.receptive_fields_parts.profiles import in_words

from .conftest import settled

FIRST = drawn.unseen()[first_views.AVERAGED]
LAYERS = ["conv3", "conv4", "conv5"]


def seed_boxes(at):
    [element] = [element for element in at.get("bidi_component") if element.proto.id.endswith("-seed_photo")]
    return [box["box"] for box in json.loads(element.proto.json)["boxes"]]


def n_averages(at):
    return len(at.get("image"))


@pytest.fixture
def at(open_page):
    return open_page("receptive_fields")


def test_an_average_a_layer_and_a_k(at):
    assert n_averages(at) == 9
    texts = [caption.value for caption in at.caption]
    for k in (5, 50, 500):
        assert sum(text.split(" · ")[0] == f"k = {k}" for text in texts) == 3


def test_the_first_seed_is_an_eye_whose_neighbours_agree_at_the_centre_and_less_outwards(at, offered):
    at.run()
    arrays = np.load(io.BytesIO(offered["receptive-fields.npz"]()))
    assert tuple(arrays["seed_pixel_of_photo"]) == FIRST.eye
    for layer in LAYERS:
        agreement = arrays[f"{layer}_agreement"]
        assert agreement[0] > 0.4
        assert agreement[0] - agreement[-1] > 0.2
    table = at.dataframe[0].value
    assert list(table["layer"]) == LAYERS
    assert list(table["from cell to cell"]) == ["16 px"] * 3
    for radius, half in zip(table["agreement radius"], table["half the receptive field"], strict=True):
        assert 0 < float(radius.removesuffix(" px")) < float(half.removesuffix(" px")) / 2
    assert any("the same at the centre and differ outwards" in text.value for text in at.markdown)


def profile(*agreement):
    return Agreement(np.arange(len(agreement)) * 4 + 2.0, np.array(agreement), 99)


@pytest.mark.parametrize(
    ("agreement", "words"),
    [
        ((0.9, 0.5, 0.1), "Half of the agreement that is lost up to the rim is lost within 6 px"),
        ((0.4, 0.4, 0.4), "agreement does not fall"),
        ((0.2, 0.4, 0.5), "agreement does not fall"),
        ((-0.45, 0.0, 0.2), "below zero at the centre"),
        ((0.02, 0.1, 0.2), "no agreement at the centre"),
        ((float("nan"), 0.1, 0.2), "no agreement at the centre"),
    ],
    ids=str,
)
def test_every_kind_of_profile_is_explained(agreement, words):
    [sentence] = in_words({"conv3": profile(*agreement)})
    assert sentence.startswith("conv3: ")
    assert words in sentence


def test_layers_of_one_kind_share_a_sentence():
    falls, flat = profile(0.9, 0.5, 0.1), profile(0.4, 0.4, 0.4)
    first, second = in_words({"conv3": falls, "conv4": flat, "conv5": falls})
    assert first.startswith("conv3 and conv5: ")
    assert "within 6 and 6 px" in first
    assert second.startswith("conv4: ")


def test_a_click_in_the_photo_moves_the_seed(at, click):
    before = seed_boxes(at)
    click(at, "seed_photo", 40, 47)
    settled(at)
    assert seed_boxes(at) != before
    assert at.query_params["at"] in ("40,47", ["40,47"])
    assert n_averages(at) == 9


def test_a_seed_number_names_one_random_descriptor(at):
    at.segmented_control(key="seed_from").set_value("Random descriptor")
    settled(at.run())
    first = seed_boxes(at)
    at.number_input(key="seed").set_value(8)
    settled(at.run())
    assert seed_boxes(at) != first
    at.number_input(key="seed").set_value(7)
    settled(at.run())
    assert seed_boxes(at) == first


def test_a_link_restores_the_seed(open_page, at):
    at.segmented_control(key="seed_from").set_value("Random descriptor")
    settled(at.run())
    at.number_input(key="seed").set_value(11)
    settled(at.run())
    again = open_page("receptive_fields", seed_from="Random descriptor", seed="11")
    assert seed_boxes(again) == seed_boxes(at)


@pytest.mark.parametrize(
    "query", [{"seed_from": "Random descriptor"}, {"photo": "sample:coffee", "at": "90,80"}], ids=str
)
def test_the_lines_of_python_make_the_first_column(open_page, offered, query):
    open_page("receptive_fields", **query)
    space = {}
    exec(offered["python"], space)
    arrays = np.load(io.BytesIO(offered["receptive-fields.npz"]()))
    np.testing.assert_array_equal(space["found"].averages.ids, arrays["conv3_neighbour_ids"])
    np.testing.assert_allclose(space["found"].averages.averages[1].mean, arrays["conv3_mean_k50"])
    np.testing.assert_allclose(space["found"].agreement.agreement, arrays["conv3_agreement"])


def test_measuring_over_seeds_gives_intervals(open_page):
    at = open_page("receptive_fields", n_seeds="10")
    [button] = [button for button in at.button if button.label == "Measure over 10 random seeds"]
    button.click()
    settled(at.run(), timeout_s=240)
    table = at.dataframe[1].value
    assert list(table["layer"]) == LAYERS
    assert all(re.fullmatch(r"\d+ to \d+ px|\d+ px or more|does not fall", text) for text in table["95 % interval"])
    assert all(value.endswith(" of 10") for value in table["seeds that agree"])


def test_an_index_of_another_network_is_searched_by_it(open_page, vgg_index):
    at = open_page("receptive_fields", index=vgg_index)
    assert list(at.dataframe[0].value["layer"]) == ["conv3_3", "conv4_3", "conv5_3"]
    assert n_averages(at) >= 8  # conv5_3 has fewer than 500 patches


def test_fields_without_a_size_are_shown_in_a_window_of_the_size_that_one_chooses(
    open_page, offered, transformer_index
):
    at = open_page("receptive_fields", index=transformer_index).run()
    assert list(at.dataframe[0].value["half the receptive field"]) == ["88 px"]
    wide = np.load(io.BytesIO(offered["receptive-fields.npz"]()))
    settled(at.number_input(key="window").set_value(7).run()).run()
    assert not at.exception
    assert list(at.dataframe[0].value["half the receptive field"]) == ["56 px"]
    narrow = np.load(io.BytesIO(offered["receptive-fields.npz"]()))
    assert (wide["blocks.5_mean_k5"].shape, narrow["blocks.5_mean_k5"].shape) == ((176, 176, 3), (112, 112, 3))
    np.testing.assert_array_equal(narrow["blocks.5_neighbour_ids"], wide["blocks.5_neighbour_ids"])
    np.testing.assert_allclose(narrow["blocks.5_mean_k5"], wide["blocks.5_mean_k5"][32:-32, 32:-32])
    assert ".with_window(7)" in offered["python"]
    sides = sorted(box[2] - box[0] for box in seed_boxes(at))
    assert sides == [16, 112]  # its patch, and its window


def test_networks_whose_fields_have_a_size_need_no_window(at):
    assert not [each for each in at.number_input if each.key == "window"]


def test_effective_fields_are_not_measured_anew_for_another_window(cache_folder, transformer_index):
    index = patch_index.PatchIndex(patch_index.path_of(transformer_index))
    assert index.with_window(7) is not index
    assert patch_index.IndexedPhoto(index, 1).stamp == patch_index.IndexedPhoto(index.with_window(7), 1).stamp
