"""What strangers send: nothing of it is opened, imported, fetched or unpickled, and no page breaks."""

import os

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates

from tests.dashboard.strangers import (
    Witness,
    forged_queries,
    forged_states,
    forged_values,
    of_its_kind,
    plant,
    widget_ids,
)

PATHS = (
    "match",
    "reconstruction",
    "receptive_fields",
    "alignment",
    "classification",
    "responses",
    "prediction",
    "results",
    "data",
)
ATTEMPTS = (1, 5)  # of the values; tests/drills/abuse.py makes all of them
NUMBERS = (-1.0, 1e15, 0.5)


@pytest.fixture(scope="module")
def witness():
    return Witness()


@pytest.fixture
def planted(tmp_path, monkeypatch):
    plant(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not os.path.exists("/tmp/corrcore_canary_ran")


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
def test_forged_links_and_choices_open_nothing_and_break_no_page(path, open_page, witness, planted):
    at, values = open_page(path), forged_values(planted)
    usual = at._tree.get_widget_states()
    for number in ATTEMPTS:
        with witness.nothing_opened():
            open_page(path, **forged_queries(values[number])[path])
    for number, text in zip(NUMBERS, ("", values[1], values[5]), strict=True):
        states = WidgetStates()
        states.widgets.extend(of_its_kind(each, text, number) for each in usual.widgets)
        with witness.nothing_opened():
            at._run(states)
        assert not at.exception, at.exception


@pytest.mark.slow
@pytest.mark.parametrize("path", ["reconstruction", "data"])
def test_states_of_another_kind_open_nothing(path, open_page, witness, planted):
    at = open_page(path)
    usual, values = at._tree.get_widget_states(), forged_values(planted)[:6]
    for kind in range(0, len(forged_states("x", values)), 5):
        states = WidgetStates()
        states.widgets.extend(forged_states(name, values)[kind] for name in widget_ids(usual))
        with witness.nothing_opened():
            at._run(states)
