"""One entry each, and nothing else: a network, a data set, an experiment and a page show wherever their kind does."""

import pytest
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

from corrcore import datasets, experiments, networks
from corrcore.cli import main
from corrcore.datasets import DatasetSpec, toy
from corrcore.experiments import Context, ResultStore, run
from dashboard import navigation
from dashboard.navigation import Card, PageSpec
from tests.dashboard.conftest import ROOT, texts
from tests.experiments.sizes import Sizes
from tests.networks import tiny

KEYPOINT_PAGES = ("alignment", "classification", "responses", "prediction")


@pytest.fixture
def joined(cache_folder, tmp_path):
    """The four entries."""
    weights, script = tmp_path / "tiny.safetensors", tmp_path / "tiny_page.py"
    save_file(tiny.weights(), weights)
    script.write_text('import streamlit as st\n\nst.title("A tiny page")\n')
    animals = toy.load(n_train=6, n_val=2)
    page = PageSpec(
        "tiny", "Tiny", ":material/star:", "A page of a test.", Card("Tiny", "Hardly anything.", "See"), script
    )
    networks.register(tiny.spec(embedded=weights))
    datasets.register(DatasetSpec("few", "A few animals", True, lambda: animals))
    experiments.register(Sizes)
    navigation.register(page)
    yield animals
    navigation.unregister("tiny")
    experiments.unregister("sizes")
    datasets.unregister("few")
    networks.unregister("tiny")


def test_a_page_is_in_the_menu_and_on_home(joined):
    at = AppTest.from_file(str(ROOT / "dashboard" / "frame.py"), default_timeout=20).run()
    assert not at.exception
    assert "Tiny" in [heading.value for heading in at.subheader]
    assert "See" in [link.proto.label for link in at.get("page_link")]
    assert [title.value for title in AppTest.from_file(navigation.pages()[-1].file).run().title] == ["A tiny page"]


@pytest.mark.parametrize("page", KEYPOINT_PAGES)
def test_a_network_and_a_data_set_are_on_offer_on_every_page_on_keypoints(joined, page):
    at = AppTest.from_file(str(ROOT / "dashboard" / "app_pages" / f"{page}.py"), default_timeout=60)
    at.query_params["data"] = "few"
    at.run()
    assert not at.exception
    assert "few" in at.selectbox(key="data").options
    assert "tiny · embedded" in at.selectbox(key="network").options


def test_an_experiment_has_its_command_and_is_on_the_results_page(joined, open_page, capsys):
    assert main(["evaluate", "sizes", "--data", "few", "--categories", "toy cat"]) == 0
    told = capsys.readouterr().out
    assert "area, px" in told
    at = open_page("results", table=Sizes.title, data="few")
    assert Sizes.title in at.segmented_control(key="table").options
    area = told.split("area, px")[1].split()[0]
    assert any(area in str(frame.value.to_numpy().tolist()) for frame in at.dataframe), texts(at)


def test_a_network_runs_through_an_experiment_by_its_roles(joined):
    context = Context(opened_datasets={"few": joined})
    found = run(experiments.Classification("few", "toy cat", network="tiny"), context=context)
    assert [row.key for row in found.summary.table.rows][:2] == ["first", "second"]
    assert ResultStore().path(found.experiment, context).parent.name.endswith(" tiny")
