"""The Receptive fields page: what every widget and every click changes."""

import json

import pytest

from corrcore import experiments

from .conftest import settled


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


def test_agreement_radii_stand_beside_field_and_stride(at):
    table = at.dataframe[0].value
    assert list(table["layer"]) == ["conv3", "conv4", "conv5"]
    assert list(table["stride"]) == ["16 px"] * 3
    assert all(
        value in ("does not fall", "no agreement") or value.endswith(" px") for value in table["agreement radius"]
    )


def test_measuring_over_seeds_gives_intervals(at, monkeypatch):
    measure = experiments.agreement_radius
    monkeypatch.setattr(experiments, "agreement_radius", lambda n, **options: measure(n // 6, **options))
    [button] = [button for button in at.button if button.label == "Measure over 30 random seeds"]
    button.click()
    settled(at.run(), timeout_s=240)
    table = at.dataframe[0].value
    assert list(table["layer"]) == ["conv3", "conv4", "conv5"]
    assert all(" to " in value for value in table["95 % interval"])
