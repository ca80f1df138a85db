"""What `run` promises of any experiment, told by the smallest one."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from corrcore import decoding
from corrcore.experiments import Context, Threads, run
from corrcore.experiments.executors import outcome
from tests.experiments.conftest import CAT, Drawn, StopError, loads, stop_at, with_split
from tests.experiments.sizes import Sizes

MEASURE = Sizes("toy", CAT)


@pytest.fixture
def many(cats):
    """Eight val cats."""
    val = [
        replace(cat, name=f"val {n}", photo=Drawn(f"val {n}", cat.photo.pixels))
        for n, cat in enumerate([*cats.instances(CAT, "train"), *cats.instances(CAT, "val")])
    ]
    return with_split(cats, "val", val)


def of(data):
    return Context(opened_datasets={"toy": data})


def test_every_sample_is_measured_once_and_in_order(many):
    result = run(MEASURE, context=of(many))
    expected = {one.name: np.prod(one.size) for one in many.instances(CAT, "val")}
    assert dict(result.records) == pytest.approx(expected)
    assert list(result.records) == list(expected)
    assert loads(many, "val") == list(expected)
    assert result.summary == pytest.approx(np.mean(list(expected.values())))
    assert (result.asked, result.finished, result.notes) == (8, True, {"power": 1.0})


def test_threads_find_what_one_thread_finds(many, store):
    one, several = run(MEASURE, context=of(many)), run(MEASURE, context=of(many), store=store, executor=Threads(3))
    assert several.to_json() == one.to_json()
    assert list(several.records) == list(one.records)


class Backwards:
    """An executor whose outcomes come in another order, as a cluster's do; every worker prepares for itself."""

    def measure(self, experiment, context, samples, *, noted, then):
        for name, sample in reversed(samples.items()):
            state = experiment.prepare(context)
            noted(experiment.notes(state))
            then(name, outcome(experiment, sample, state))


def test_records_stand_in_the_samples_order_in_whatever_order_they_come(many, store):
    result = run(MEASURE, context=of(many), store=store, executor=Backwards())
    assert list(result.records) == [one.name for one in many.instances(CAT, "val")]
    assert result.to_json() == run(MEASURE, context=of(many)).to_json()
    lines = store.path(MEASURE, of(many)).read_text().splitlines()
    assert len(lines) == 1 + 2 + 8  # the header, what is asked and noted once, and records


@pytest.mark.parametrize("executor", [Threads(1), Threads(3), Backwards()], ids=["one thread", "three", "backwards"])
def test_a_stopped_run_measures_only_what_is_left(many, store, executor):
    with pytest.raises(StopError):
        run(MEASURE, context=of(many), store=store, executor=executor, progress=stop_at("3 of"))
    kept = store.load(MEASURE, of(many))
    assert (len(kept.records), kept.asked, kept.finished) == (3, 8, False)
    for one in many.instances(CAT, "val"):
        one.photo.loads.clear()
    resumed = run(MEASURE, context=of(many), store=store, executor=executor)
    assert len(loads(many, "val")) == 5
    assert resumed.to_json() == run(MEASURE, context=of(many)).to_json()


def test_progress_tells_at_once_that_something_is_done_and_counts_to_the_end(many, store):
    told = []
    run(MEASURE, context=of(many), store=store, progress=lambda *each: told.append(each))
    assert told[0] == (0, "opening data, network and results")
    assert told[1:] == [(n / 8, f"{n} of 8: val {n - 1}") for n in range(1, 9)]
    told.clear()
    run(MEASURE, context=of(many), store=store, progress=lambda *each: told.append(each))
    assert told[1:] == [(1, "8 of 8: nothing new")]


def test_progress_is_told_before_anything_is_opened():
    told = []
    with pytest.raises(OSError, match="/nowhere"):
        run(Sizes("/nowhere", CAT), progress=lambda *each: told.append(each))
    assert len(told) == 1


def test_a_limit_has_a_file_of_its_own_and_limits_all_of_it(many, store, sizes):
    limited = run(replace(MEASURE, limit=3), context=of(many), store=store)
    assert (len(limited.records), limited.asked, limited.finished) == (3, 3, True)
    everything = run(MEASURE, context=of(many), store=store)
    assert everything.asked == 8
    assert limited.records.items() <= everything.records.items()
    found = {path.name: result.asked for path, result in store.scan().results.items()}
    assert found == {"sizes toy cat.jsonl": 8, "sizes toy cat, limit 3.jsonl": 3}


def broken(data, error):
    @dataclass(frozen=True)
    class Broken(Drawn):
        def load(self):
            raise error

    first, *others = data.instances(CAT, "val")
    return with_split(data, "val", [replace(first, photo=Broken(first.photo.name, first.photo.pixels)), *others])


@pytest.mark.parametrize("error", [decoding.ImageError("it is cut off."), ValueError("it is cut off.")], ids=repr)
def test_what_cannot_be_measured_is_skipped_with_the_reason_and_not_tried_again(cats, store, error):
    result = run(MEASURE, context=of(broken(cats, error)), store=store)
    first, second = (one.name for one in cats.instances(CAT, "val"))
    assert result.skipped == {first: "it is cut off."}
    assert (list(result.records), result.finished) == ([second], True)
    assert not run(MEASURE, context=of(cats), store=store).records.keys() - {second}


def test_errors_of_the_code_are_no_reason_to_skip(cats, store):
    with pytest.raises(ZeroDivisionError):
        run(MEASURE, context=of(broken(cats, ZeroDivisionError())), store=store)


def test_where_none_can_be_measured_the_first_reason_is_said(cats):
    alone = with_split(cats, "val", cats.instances(CAT, "val")[:1])
    with pytest.raises(ValueError, match="no sample of 1 could be measured; the first: it is cut off"):
        run(MEASURE, context=of(broken(alone, decoding.ImageError("it is cut off."))))


def test_nothing_to_measure_is_said(cats):
    with pytest.raises(ValueError, match="nothing to measure for sizes; give at least one photo, object or seed"):
        run(MEASURE, context=of(with_split(cats, "val", [])))


def test_what_was_made_last_is_remembered_alone():
    """So that twenty categories, one after another, are not all in memory."""
    context, made = Context(), []

    def make(value):
        return lambda: made.append(value) or value

    assert [context.latest("pool", key, make(key)) for key in ("a", "a", "b", "a")] == ["a", "a", "b", "a"]
    assert context.latest("other", "a", make("of another kind")) == "of another kind"
    assert made == ["a", "b", "a", "of another kind"]
