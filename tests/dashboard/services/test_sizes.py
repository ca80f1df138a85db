"""What is kept is bounded by bytes."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from dashboard.services.sizes import Recent, n_bytes

MB = 1_000_000


@dataclass(frozen=True)
class Picture:
    pixels: np.ndarray
    name: str = "x"


def picture(megabytes: int) -> Picture:
    return Picture(np.zeros(megabytes * MB, np.uint8))


@pytest.mark.parametrize(
    ("value", "megabytes"),
    [
        (np.zeros((1000, 1000, 2), np.float32), 8),
        (torch.zeros(1000, 1000), 4),
        (np.zeros(5 * MB, np.uint8)[:10], 5),  # a part keeps the whole
        (picture(2), 2),
        ({"a": picture(1), "b": [picture(1), (picture(1),)]}, 3),
        (b"x" * MB, 1),
        ([picture(1)] * 5, 1),
        (object(), 0),
    ],
    ids=["array", "tensor", "part", "dataclass", "mapping", "bytes", "the same", "object"],
)
def test_bytes_of_values(value, megabytes):
    assert round(n_bytes(value) / MB, 1) == megabytes


def test_the_last_used_stay_within_the_budget_and_the_last_one_always():
    kept = Recent[Picture](10 * MB)
    made = []

    def get(name: str, megabytes: int) -> None:
        kept.get(name, lambda: made.append(name) or picture(megabytes))

    for name in "abc":
        get(name, 3)
    get("a", 3)  # used again
    get("d", 3)
    assert made == ["a", "b", "c", "d"]
    assert kept.total_bytes < 10 * MB
    get("a", 3)
    assert made == ["a", "b", "c", "d"]
    get("b", 3)
    assert made[-1] == "b"  # the one used least recently was let go
    get("large", 30)
    assert (len(kept), kept.total_bytes // MB) == (1, 30)
    kept.clear()
    assert (len(kept), kept.total_bytes) == (0, 0)


def test_threads_that_ask_for_the_same_have_it_made_once():
    kept, made, begun, go = Recent[int](MB), [], threading.Event(), threading.Event()

    def make() -> int:
        begun.set()
        assert go.wait(5)
        made.append(1)
        return 7

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(kept.get("a", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(5)
    go.set()
    for thread in threads:
        thread.join(5)
    assert (found, made) == ([7] * 4, [1])


def test_what_cannot_be_made_is_made_anew():
    kept = Recent[int](MB)

    def fail() -> int:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            kept.get("a", fail)
    assert kept.get("a", lambda: 1) == 1


def test_what_is_made_twice_counts_once():
    kept = Recent[bytes](1000)
    kept._keep("a", b"x", 400)
    kept._keep("a", b"x", 400)  # by two that began at once
    assert kept.total_bytes == 400
