"""`corrcore train detectors`: what it makes is what the experiment and the page find."""

from dataclasses import replace

import pytest

from corrcore.cli.evaluate import field_arguments
from corrcore.experiments import ClassifierTraining, Context, DetectorTraining
from corrcore.store import Cache


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
