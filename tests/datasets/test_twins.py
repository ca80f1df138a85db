"""Left and right, as data sets name them."""

import pytest

from corrcore.datasets import toy
from corrcore.datasets.twins import twins


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("L_Eye", "R_Eye"),
        ("L_F_Paw", "R_F_Paw"),
        ("left_eye", "right_eye"),
        ("Wing Left", "Wing Right"),
        ("BackUpperLeft", "BackUpperRight"),
        ("eye-l", "eye-r"),
        ("LEFT HIP", "RIGHT HIP"),
    ],
)
def test_each_is_the_others_twin(left, right):
    assert twins(["Nose", right, left]) == (None, 2, 1)


@pytest.mark.parametrize("names", [["L_Eye", "Nose"], ["0", "1", "2"], ["Tail", "Hull", "Rudder"], ["Lid", "Rid"]])
def test_without_a_counterpart_there_is_no_twin(names):
    assert twins(names) == (None,) * len(names)


def test_twins_of_an_animal_are_the_others_of_each_other():
    names = toy.load(n_train=1, n_val=1).keypoint_names["toy cat"]
    found = twins(names)
    paired = {name: names[twin] for name, twin in zip(names, found, strict=True) if twin is not None}
    assert set(names) - set(paired) == {"Nose", "Throat", "Withers", "TailBase"}
    assert all(paired[other] == name and name[0] != other[0] for name, other in paired.items())
