"""Where a result belongs."""

import subprocess
import threading
import time
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from corrcore.datasets import toy
from corrcore.experiments import Classification, Context, Responses, ResultStore
from corrcore.experiments import run as run_experiment

from .scripts import run


def panel(kept: list, begun: list, automatic: bool, fails: bool) -> None:  # an AppTest script stands alone
    import streamlit as st

    from dashboard.parts.result_panel import result_panel

    def work(*, progress) -> None:
        begun.append(1)
        if fails:
            raise ValueError("smoothness must be above 0; got 0.")
        kept.append(42)

    found = result_panel(
        "No table yet",
        "It takes a second.",
        ("table", id(kept)),
        work,
        read=lambda: kept[0] if kept else None,
        automatic=automatic,
        button="Compute it",
    )
    if found is not None:
        st.text(f"result {found}")


def settled(at: AppTest, *, seconds: float = 60) -> AppTest:
    """The script once its work is done."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        at.run()
        assert not at.exception
        if not at.get("progress"):
            return at
        time.sleep(0.05)
    raise AssertionError("the work does not end")


def test_a_result_that_is_there_is_given_and_nothing_begins():
    begun: list[int] = []
    at = run(panel, [7], begun, True, False)
    assert at.text[0].value == "result 7"
    assert not at.button
    assert not begun


def test_a_button_makes_the_result():
    kept, begun = [], []
    at = run(panel, kept, begun, False, False)
    assert (at.subheader[0].value, at.button[0].label) == ("No table yet", "Compute it")
    assert not begun
    at.button[0].click()
    at = settled(at)
    assert at.text[0].value == "result 42"
    assert begun == [1]


def test_what_begins_by_itself_needs_no_button():
    begun: list[int] = []
    at = settled(run(panel, [], begun, True, False))
    assert at.text[0].value == "result 42"
    assert begun == [1]


def held_panel(go: object, done: list) -> None:  # an AppTest script stands alone
    from dashboard.parts.result_panel import result_panel

    def work(*, progress) -> None:
        while not go.wait(0.01):
            progress(0.5)
        done.append(1)

    result_panel("No table yet", "Minutes.", ("held", id(done)), work, read=lambda: done or None, button="Compute it")


def test_work_that_goes_on_is_shown_to_whoever_comes():
    go, done = threading.Event(), []
    run(held_panel, go, done).button[0].click().run()
    at = run(held_panel, go, done)  # loaded again, or in another window
    assert [button.label for button in at.button] == ["Cancel"]
    assert at.progress[0].text == "No table yet"
    assert any("Begun in another window" in caption.value for caption in at.caption)
    at.button[0].click()
    at = settled(at)
    assert [button.label for button in run(held_panel, go, done).button] == ["Compute it"]
    assert not run(held_panel, go, done).caption  # that it was cancelled is no news to others
    assert not done


@pytest.mark.parametrize("automatic", [True, False])
def test_a_failure_says_why_and_is_tried_again_only_by_the_button(automatic):
    begun: list[int] = []
    at = run(panel, [], begun, automatic, True)
    if not automatic:
        at.button[0].click()
    at = settled(at)
    at = settled(at)
    assert at.error[0].value == "smoothness must be above 0; got 0."
    assert begun == [1]
    at.button[0].click()
    settled(at)
    assert begun == [1, 1]


def test_for_visitors_begins_only_what_needs_no_button(monkeypatch):
    monkeypatch.setenv("CORRCORE_READ_ONLY", "1")
    begun: list[int] = []
    at = run(panel, [], begun, False, False)
    shared = "this server is shared and begins nothing of the kind for its visitors."
    assert at.info[0].value == f"No table yet: not computed here yet; {shared}"
    assert not at.button
    assert not begun
    at = settled(run(panel, [], begun, True, False))
    assert at.text[0].value == "result 42"
    assert begun == [1]


def test_empty_state_names_what_is_missing_and_its_button_mends_it():
    def script() -> None:
        import streamlit as st

        from dashboard.parts.result_panel import empty_state

        if empty_state("No index yet", "It takes two minutes.", button="Build it"):
            st.text("building")

    at = run(script)
    assert at.subheader[0].value == "No index yet"
    assert at.markdown[0].value == "It takes two minutes."
    assert not at.text
    at.button[0].click().run()
    assert at.text[0].value == "building"


def test_empty_state_without_a_remedy_has_no_button():
    def script() -> None:
        from dashboard.parts.result_panel import empty_state

        empty_state("No photo", "The folder holds none.")

    assert not run(script).button


def experiment_script(experiment, context, automatic: bool) -> None:  # an AppTest script stands alone
    import streamlit as st

    from dashboard.parts.result_panel import experiment_panel

    found = experiment_panel(experiment, context, title="No table yet", text="A second.", automatic=automatic)
    if found is not None:
        st.text(f"{len(found.records)} records of {found.experiment.category}")


SMALL = Classification("few", "toy cat", features=("sift10",), protocol="small", costs=(1.0,))


@pytest.fixture
def few(tmp_path, monkeypatch, alexnet):
    """Where experiments on few drawn animals run, with results of their own."""
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    data = toy.load(n_train=3, n_val=1)
    return Context(opened_datasets={"few": data}, opened_networks={"alexnet": alexnet})


def test_an_experiment_is_run_by_its_button_and_kept(few):
    at = run(experiment_script, SMALL, few, False)
    assert (at.subheader[0].value, at.button[0].label) == ("No table yet", "Compute")
    at.button[0].click()
    at = settled(at)
    assert at.text[0].value == "1 records of toy cat"
    assert list(ResultStore().load(SMALL.resolved(few), few).records) == ["sift10"]
    at = run(experiment_script, SMALL, few, False)  # another visitor
    assert at.text[0].value == "1 records of toy cat"
    assert not at.button


@pytest.mark.parametrize("automatic", [False, True])
def test_the_server_itself_joins_no_cluster(few, monkeypatch, automatic):
    monkeypatch.setenv("CORRCORE_EXECUTOR", "ray")
    monkeypatch.setenv("CORRCORE_RAY_ADDRESS", "127.0.0.1:1")  # where none answers
    at = run(experiment_script, SMALL, few, automatic)
    if not automatic:
        at.button[0].click()
    assert settled(at).text[0].value == "1 records of toy cat"


@pytest.mark.slow
def test_an_experiment_is_measured_by_its_command_in_a_process_of_its_own(few, monkeypatch):
    monkeypatch.setenv("CORRCORE_JOB_PROCESSES", "1")
    begun = []
    monkeypatch.setattr(subprocess, "Popen", _noting(begun))
    experiment = replace(SMALL, dataset="toy", limit=3)
    context = Context(opened_networks=few.opened_networks)
    run(experiment_script, experiment, context, False).button[0].click().run()
    at = settled(run(experiment_script, experiment, context, False), seconds=120)
    assert not at.error
    assert list(ResultStore().load(experiment.resolved(context), context).records) == ["sift10"]
    [command] = begun
    assert command[command.index("evaluate") + 1] == "classification"


def _noting(begun: list) -> type[subprocess.Popen]:
    class Noting(subprocess.Popen):
        def __init__(self, words, **options) -> None:
            begun.append(words)
            super().__init__(words, **options)

    return Noting


def test_what_no_command_can_say_is_measured_here(few, monkeypatch):
    monkeypatch.setenv("CORRCORE_JOB_PROCESSES", "1")
    names = {"toy, cat": few.opened_datasets["few"].keypoint_names["toy cat"]}
    data = few.opened_datasets["few"]
    splits = {("toy, cat", split): data.splits["toy cat", split] for split in ("train", "val")}
    few.opened_datasets["few"] = replace(data, keypoint_names=names, splits=splits)
    at = run(experiment_script, replace(SMALL, category="toy, cat"), few, False)
    at.button[0].click()
    assert settled(at).text[0].value == "1 records of toy, cat"


def test_a_growing_result_is_finished_once_all_that_is_asked_for_is_there(few):
    run_experiment(SMALL, context=few, store=ResultStore())
    more = replace(SMALL, features=("sift20",))
    at = run(experiment_script, more, few, False)
    assert at.button[0].label == "Compute"
    at.button[0].click()
    assert settled(at).text[0].value == "2 records of toy cat"


def test_an_experiment_that_does_not_fit_its_data_says_why(few):
    at = run(experiment_script, replace(SMALL, protocol="tiny"), few, True)
    assert at.error[0].value.startswith("protocol must be one of box, photo, small")
    assert not at.button
    splits = {name: some for name, some in few.opened_datasets["few"].splits.items() if name[1] == "train"}
    few.opened_datasets["few"] = replace(few.opened_datasets["few"], splits=splits)
    at = run(experiment_script, SMALL, few, True)
    assert at.error[0].value == "split of toy cat in toy must be one of train; got 'val'."


def test_a_result_without_a_record_is_none(few):
    data = few.opened_datasets["few"]
    val = [replace(one, photo=Unreadable(one.photo.name)) for one in data.instances("toy cat", "val")]
    few.opened_datasets["few"] = replace(data, splits={**data.splits, ("toy cat", "val"): val})
    keypoint = data.keypoint_names["toy cat"][int(val[0].visible.argmax())]
    maxima = Responses("few", "toy cat", features=("sift10",), keypoints=(keypoint,), protocol="small", cost=1.0)
    at = settled(settled(run(experiment_script, maxima, few, True)))
    assert "No sample of 1 could be measured" in at.error[0].value
    assert at.button[0].label == "Compute"


class Unreadable:
    """A photo that is none."""

    stamp = "x"

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self):
        msg = f"{self.name} is no picture."
        raise ValueError(msg)
