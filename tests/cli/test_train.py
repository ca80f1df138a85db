"""`corrcore train`: what it makes is what experiments, commands and pages find."""

import re
from dataclasses import replace

import pytest

from corrcore.cli.evaluate import field_arguments
from corrcore.experiments import ClassifierTraining, ConfidenceTraining, Context, DetectorTraining
from corrcore.store import Cache
from corrcore.tasks import confidence
from corrcore.tasks.matching import MatchOptions


@pytest.mark.slow
def test_detectors_are_trained_kept_and_listed(run, capsys, tmp_path):
    asked = DetectorTraining("toy", "toy cat", features=("sift16",), limit=8)
    assert run("train", "detectors", *field_arguments(asked), f"--out={tmp_path}") == 0
    told = capsys.readouterr()
    assert "toy cat, in " in told.out
    assert "SIFT, radius 16 px" in told.out
    context = Context(store=tmp_path)
    trained = asked.known(context)
    assert trained is not None
    [detectors] = trained[0].values()
    assert f"{len(detectors.detectors.trained)}" in told.out


@pytest.mark.slow
def test_classifiers_are_trained_and_found_by_whoever_looks_for_them(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    asked = ClassifierTraining("toy", "toy cat", features=("sift10",), protocol="small")
    assert run("train", "classifiers", *field_arguments(asked)) == 0
    assert "toy cat: SIFT, radius 10 px, by " in capsys.readouterr().out
    with Cache(tmp_path) as results:
        trained_on, [feature] = asked.begin(Context(), results)
        classifier = trained_on.kept(feature)
        assert classifier is not None
        assert set(classifier.names) <= set(trained_on.keypoint_names)
        other, _ = replace(asked, protocol="box").begin(Context(), results)
        assert other.kept(feature) is None


def test_a_category_that_is_not_there_is_one_sentence(run, capsys, tmp_path):
    assert run("train", "detectors", "--data", "toy", "--categories", "unicorn", f"--out={tmp_path}") == 2
    assert "unicorn" in capsys.readouterr().err.splitlines()[-1]


def test_confidences_are_learnt_kept_and_known(run, capsys, tmp_path, monkeypatch, alexnet):
    """In one's own file, where whoever looks for them finds them."""
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    asked = ConfidenceTraining("toy", ("toy cat",), features=("conv4",), limit=3, longer_side=200)
    assert run("train", "confidence", *field_arguments(asked)) == 0
    told = capsys.readouterr().out
    assert f"kept in {tmp_path / 'calibrations.json'}" in told
    assert "alexnet:conv4" in told
    [feature] = asked.feature_list
    options = MatchOptions(longer_side=200)
    found = confidence.known(feature, network=alexnet, options=options)
    assert found is not None
    assert (found.learnt_from.categories, found.learnt_from.pairs) == (("toy cat",), 3)
    assert f"{100 * found.learnt_from.right:.1f}" in told


def test_a_file_of_something_else_is_left_as_it_is(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CORRCORE_CACHE", str(tmp_path))
    (tmp_path / "mine.json").write_text("[1]")
    assert run("train", "confidence", "--data", "toy", "--limit", 3, "--out", tmp_path / "mine.json") == 2
    assert "mine.json holds no calibrations" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "mine.json").read_text() == "[1]"


@pytest.mark.parametrize(
    ("out", "complaint"),
    [
        ("mine.txt", r"--out must end in \.json; got mine\.txt"),
        ("none/mine.json", r"--out must lie in a folder that is there"),
    ],
)
def test_where_confidences_cannot_be_kept_is_said_before_they_are_learnt(run, capsys, tmp_path, out, complaint):
    """Before the data are opened: there are none of that name."""
    assert run("train", "confidence", "--data", tmp_path / "nowhere", "--out", tmp_path / out) == 2
    assert re.search(complaint, capsys.readouterr().err.splitlines()[-1])
