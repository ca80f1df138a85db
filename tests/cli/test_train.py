"""`corrcore train detectors`: what it makes is what the experiment and the page find."""

import pytest

from corrcore.cli.evaluate import field_arguments
from corrcore.experiments import Context, DetectorTraining


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


def test_a_category_that_is_not_there_is_one_sentence(run, capsys, tmp_path):
    assert run("train", "detectors", "--data", "toy", "--categories", "unicorn", f"--out={tmp_path}") == 2
    assert "unicorn" in capsys.readouterr().err.splitlines()[-1]
