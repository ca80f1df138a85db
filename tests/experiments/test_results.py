"""What lies on disk: nothing is lost, and nothing of other data, weights or code is taken for current."""

import json
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from corrcore import experiments
from corrcore.datasets import toy
from corrcore.experiments import Context, OlderResultError, ResultStore, run
from corrcore.experiments.results import Outcome, ResultLostError
from tests.experiments.conftest import CAT, Away, loads, with_split
from tests.experiments.sizes import Sizes

MEASURE = Sizes("toy", CAT)


@pytest.fixture
def context(cats):
    return Context(opened_datasets={"toy": cats})


@pytest.fixture
def path(store, context):
    return store.path(MEASURE, context)


def of(data):
    return Context(opened_datasets={"toy": data})


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- Nothing is lost -------------------------------------------------------------------------------------------------


def append(folder: str, numbers: range) -> None:
    """What each of several writers does."""
    file = ResultStore(folder).open(MEASURE, of(toy.load(n_train=1, n_val=1)))
    for number in numbers:
        file.add(f"object {number}", "stamp", Outcome(float(number)))


def kept(folder):
    file = ResultStore(folder).open(MEASURE, of(toy.load(n_train=1, n_val=1)))
    return {name: each["measured"] for name, each in file.entries.items()}


def test_several_threads_that_append_to_one_file_lose_no_record(tmp_path):
    writers = [threading.Thread(target=append, args=(str(tmp_path), range(first, 240, 6))) for first in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they are interrupted between reading and writing
    try:
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    finally:
        sys.setswitchinterval(interval)
    assert kept(tmp_path) == {f"object {n}": float(n) for n in range(240)}


WRITER = """
import sys
from tests.experiments.test_results import append
print("ready", flush=True)
sys.stdin.readline()
append(sys.argv[1], range(int(sys.argv[2]), 200, 2))
"""


@pytest.mark.slow
def test_two_processes_that_append_to_one_file_lose_no_record(tmp_path):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in ("0", "1")
    ]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n"] * 2
    for writer in writers:  # at once
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert kept(tmp_path) == {f"object {n}": float(n) for n in range(200)}


@pytest.mark.parametrize(
    "torn", [b'{"name":"a","stamp":"as it w', b'{"name":"' + b"x" * (3 << 20)], ids=["short", "3 MB"]
)
def test_a_line_torn_by_a_kill_is_measured_again(sizes, store, context, path, cats, torn):
    whole = run(MEASURE, context=context, store=store)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + torn)
    again = run(MEASURE, context=context, store=store)
    assert again.records == whole.records
    assert [entry["name"] for entry in entries(path)[3:]] == list(whole.records)
    assert store.read(path).records == whole.records


def test_a_damaged_line_is_measured_again_and_the_others_are_not(sizes, store, context, path, cats):
    whole = run(MEASURE, context=context, store=store)
    lines = path.read_bytes().splitlines(keepends=True)
    assert b'"measured"' in lines[-1]
    path.write_bytes(b"".join([*lines[:-1], b"\0\0\0\n"]))
    assert len(store.read(path).records) == 1
    before = loads(cats, "val")
    assert run(MEASURE, context=context, store=store).records == whole.records
    assert len(loads(cats, "val")) == len(before) + 1


def test_a_run_whose_file_another_has_begun_anew_does_not_append_to_it(store, context, cats):
    ours = store.open(MEASURE, context)
    ours.add("a", "stamp", Outcome(1.0))
    theirs = store.open(MEASURE, of(replace(cats, digest="another")))
    theirs.add("b", "stamp", Outcome(2.0))
    with pytest.raises(ResultLostError, match="begun anew by another run; run this one again"):
        ours.add("c", "stamp", Outcome(3.0))
    assert set(store.open(MEASURE, of(replace(cats, digest="another"))).entries) == {"b"}


def test_a_run_whose_results_were_forgotten_says_so(store, context):
    ours = store.open(MEASURE, context)
    ours.add("a", "stamp", Outcome(1.0))
    store.forget(MEASURE, context)
    with pytest.raises(ResultLostError, match="was deleted"):
        ours.add("b", "stamp", Outcome(2.0))
    again = store.open(MEASURE, context)
    again.add("c", "stamp", Outcome(3.0))
    with pytest.raises(ResultLostError, match="begun anew"):
        ours.add("b", "stamp", Outcome(2.0))


# --- What is current -------------------------------------------------------------------------------------------------


class NextVersion(Sizes):
    versions = (2,)


def test_a_result_of_other_data_is_not_current_and_is_begun_anew(sizes, store, cats, path):
    first = run(MEASURE, context=of(cats), store=store)
    moved = [replace(one, box=(0.0, 0.0, 10.0, 10.0)) for one in cats.instances(CAT, "val")]
    other = of(replace(with_split(cats, "val", moved), digest="another"))
    assert store.path(MEASURE, other) == path
    assert store.load(MEASURE, of(cats)).records == first.records
    assert store.load(MEASURE, other) is None
    assert set(run(MEASURE, context=other, store=store).records.values()) == {100.0}
    assert store.load(MEASURE, of(cats)) is None
    assert len([entry for entry in entries(path) if "settings" in entry]) == 1


def test_a_result_of_other_code_is_older_and_is_begun_anew(sizes, store, context, path, cats):
    run(MEASURE, context=context, store=store)
    experiments.unregister("sizes")
    experiments.register(NextVersion)
    newer = NextVersion("toy", CAT)
    assert store.load(newer, context) is None
    with pytest.raises(OlderResultError, match=r"is of versions \[3, 1\]; the code's are \[3, 2\]"):
        store.read(path)
    found = store.scan()
    assert not found.results
    assert found.older[path]["settings"]["category"] == CAT
    before = len(loads(cats, "val"))
    run(newer, context=context, store=store)
    assert len(loads(cats, "val")) == before + 2
    assert list(store.scan().results) == [path]


def test_a_sample_whose_photo_changed_is_measured_anew_and_the_others_are_not(sizes, store, cats):
    first = run(MEASURE, context=of(cats), store=store)
    one, two = cats.instances(CAT, "val")
    changed = replace(one, photo=replace(one.photo, stamp="another"), box=(0.0, 0.0, 10.0, 10.0))
    before = len(loads(cats, "val"))
    again = run(MEASURE, context=of(with_split(cats, "val", [changed, two])), store=store)
    assert again.records == {**first.records, one.name: 100.0}
    assert len(loads(cats, "val")) == before + 1


def test_samples_that_are_gone_are_not_counted(sizes, store, cats):
    run(MEASURE, context=of(cats), store=store)
    kept, _ = cats.instances(CAT, "val")
    fewer = of(with_split(cats, "val", [kept]))
    result = run(MEASURE, context=fewer, store=store)
    assert (list(result.records), result.asked) == ([kept.name], 1)
    assert list(store.load(MEASURE, fewer).records) == [kept.name]


def test_one_data_set_named_in_two_ways_has_one_result(sizes, store, cats):
    context = Context(opened_datasets={"toy": cats, "/a/folder": cats})
    run(MEASURE, context=context, store=store)
    before = len(loads(cats, "val"))
    assert run(Sizes("/a/folder", CAT), context=context, store=store).finished
    assert len(loads(cats, "val")) == before
    assert store.load(MEASURE, context).finished


def test_what_was_never_measured_is_none_and_no_folder_has_no_results(sizes, store, context):
    assert store.load(MEASURE, context) is None
    found = store.scan()
    assert not found.results | found.older | found.unreadable


# --- What is shown ---------------------------------------------------------------------------------------------------


def test_a_stopped_result_says_how_much_of_it_there_is(sizes, store, context, cats):
    first, second = cats.instances(CAT, "val")
    file = store.open(MEASURE, context)
    file.ask([first.name, second.name])
    file.add(first.name, MEASURE.stamp(first), Outcome(1.0))
    [found] = store.scan().results.values()
    assert (len(found.records), found.asked, found.finished) == (1, 2, False)
    assert run(MEASURE, context=context, store=store).finished


def test_what_cannot_be_read_is_told_with_the_reason(sizes, store, context, path):
    result = run(MEASURE, context=context, store=store)
    header, *rest = path.read_text().splitlines()
    settings = json.loads(header)["settings"]
    broken = {
        "empty": "",
        "a list": "[1, 2]\n",
        "cut off": header[:40],
        "no provenance": json.dumps({"settings": settings}) + "\n",
        "of another kind": header.replace('"sizes"', '"colours"') + "\n",
        "of no category": header.replace('"category"', '"colour"') + "\n",
        "of other records": "\n".join([header, *rest]).replace('"measured":', '"measured":[],"was":') + "\n",
    }
    for name, text in broken.items():
        path.with_name(f"{name}.jsonl").write_text(text)
    path.with_name("binary.jsonl").write_bytes(b"\xff\xfe\x00")
    found = store.scan()
    assert {each: one.records for each, one in found.results.items()} == {path: result.records}
    assert {each.stem for each in found.unreadable} == {*broken, "binary"}
    reasons = {each.stem: reason for each, reason in found.unreadable.items()}
    assert reasons["of another kind"].endswith("is of 'colours', an experiment that is not known here.")
    assert reasons["empty"].endswith("holds no results of an experiment.")
    assert reasons["of other records"].endswith("delete it.")


def test_what_is_no_number_stays_so(sizes, store, context):
    file = store.open(MEASURE, context)
    for name, value in (("none", float("nan")), ("endless", float("inf"))):
        file.add(name, "stamp", Outcome([value, 1.0]))
    written = {entry["name"]: entry["measured"] for entry in entries(file.path) if "name" in entry}
    assert written == {"none": [None, 1.0], "endless": ["inf", 1.0]}


# --- Where nothing can be written ------------------------------------------------------------------------------------


def test_where_nothing_can_be_written_it_is_measured_and_said_once(sizes, unwritable, cats, recwarn):
    context = of(cats)
    result = run(MEASURE, context=context, store=ResultStore(unwritable))
    assert result.finished
    assert [str(each.message).split(":")[0] for each in recwarn] == [f"{unwritable / 'toy boxes'} cannot be written"]


def test_what_lies_where_nothing_can_be_written_is_read(sizes, tmp_path, cats):
    store = ResultStore(tmp_path)
    run(MEASURE, context=of(cats), store=store)
    path = store.path(MEASURE, of(cats))
    lock = path.with_name(f".{path.name}.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()  # so that it cannot be taken, by whomever
    before = len(loads(cats, "val"))
    with pytest.warns(RuntimeWarning, match="results are not kept"):
        assert run(MEASURE, context=of(cats), store=store).finished
    assert len(loads(cats, "val")) == before


def test_a_file_is_no_folder_of_results(tmp_path):
    (tmp_path / "it").write_text("")
    with pytest.raises(
        NotADirectoryError, match=r"results are kept in a folder; .*it is a file, so give another place"
    ):
        ResultStore(tmp_path / "it")


def test_a_folder_may_be_named_from_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ResultStore("~/results").folder == tmp_path / "results"


def test_a_photo_that_could_not_be_reached_is_tried_again(sizes, store, cats):
    first, second = cats.instances(CAT, "val")
    away = with_split(cats, "val", [replace(first, photo=Away(first.photo.name, first.photo.pixels)), second])
    without = run(MEASURE, context=of(away), store=store)
    assert without.skipped == {first.name: "the disk is away"}
    assert without.finished
    assert list(without.records) == [second.name]
    again = run(MEASURE, context=of(cats), store=store)
    assert not again.skipped
    assert list(again.records) == [first.name, second.name]
