"""Rows and records on places have every number, and say what there is not."""

import numpy as np

from corrcore.features import Feature
from corrcore.tasks.position import Position, SelfMatches
from corrcore.tasks.position_records import position_record, position_row

NONE = SelfMatches(float("nan"), float("nan"), float("nan"), 0)


def found(directions):
    moved = {"shifted": SelfMatches(0.914, 0.021, 3.4, 50), "padded": NONE, "mirrored": NONE}
    return Position("conv3", np.array([[0.1, 0.15]]), moved, 0.034, 0.0117, directions, (448, 448), 7, {})


def test_a_row_has_numbers_with_their_units():
    assert position_row("alexnet:conv3", found(np.full(8, 0.01))) == {
        "layer": "alexnet:conv3",
        "positional share": "12.5 %",
        "shifted: content / place, error": "91 / 2 %, 3 px",
        "padded: content / place, error": "",
        "mirrored: content / place, error": "",
        "found again (by chance)": "3 (1.2) %",
        "positional directions": "8 % in 8 or more",
    }
    assert position_row("conv3", found(np.empty(0)))["positional directions"] == "0 % in 0"


def test_a_record_has_null_for_what_no_cell_says():
    record = position_record(Feature("alexnet", "conv3"), found(np.array([0.25])))
    assert record["moved"]["shifted"] == {"content": 0.914, "place": 0.021, "error_px": 3.4, "cells": 50}
    assert record["moved"]["padded"] == {"content": None, "place": None, "error_px": None, "cells": 0}
    assert record["in_positional_directions"] == [0.25]
