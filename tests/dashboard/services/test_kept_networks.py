"""Networks in memory: those used last, by size, per device."""

import gc
import threading
import weakref
from dataclasses import dataclass

import pytest

from dashboard.services.kept_networks import Held, KeptNetworks


@dataclass(eq=False)
class Sized:
    """All that is asked of a network: how large it is, and where."""

    n_bytes: int
    device: str = "cpu"


def ask(kept, name, n_bytes=1, device="cpu"):
    return kept.get(name, lambda: Sized(n_bytes, device))


def names(kept):
    return [each.name for each in kept.held()]


def test_a_network_is_opened_once():
    kept = KeptNetworks(10)
    assert ask(kept, "a") is ask(kept, "a")
    assert kept.held() == [Held("a", 1, "cpu")]


def test_the_least_recently_used_go_when_there_is_no_room():
    kept = KeptNetworks(10)
    for name in ("a", "b", "c"):
        ask(kept, name, 3)
    ask(kept, "a")
    assert names(kept) == ["a", "c", "b"]
    ask(kept, "d", 6)
    assert names(kept) == ["d", "a"]
    assert sum(each.n_bytes for each in kept.held()) <= 10


def test_many_small_networks_stay_and_one_that_is_too_large_stays_alone():
    kept = KeptNetworks(10)
    for number in range(10):
        ask(kept, str(number))
    assert len(kept.held()) == 10
    ask(kept, "huge", 50)
    assert names(kept) == ["huge"]
    ask(kept, "a")
    assert names(kept) == ["a"]


def test_every_device_has_a_budget_of_its_own():
    kept = KeptNetworks(10)
    ask(kept, "a", 8)
    ask(kept, "b", 8, "cuda:0")
    assert names(kept) == ["b", "a"]
    ask(kept, "c", 8, "cuda:0")
    assert names(kept) == ["c", "a"]


def test_what_is_let_go_is_gone_from_memory():
    kept = KeptNetworks(10)
    gone = weakref.ref(ask(kept, "a", 8))
    assert gone() is not None
    ask(kept, "b", 8)
    gc.collect()
    assert gone() is None


def test_a_network_that_cannot_be_opened_is_not_kept_and_is_asked_again():
    kept = KeptNetworks(10)

    def fail():
        msg = "no weights"
        raise OSError(msg)

    with pytest.raises(OSError, match="no weights"):
        kept.get("a", fail)
    assert "a" not in kept
    assert ask(kept, "a").n_bytes == 1


def test_threads_that_ask_for_the_same_at_once_get_the_same():
    kept, opened, both = KeptNetworks(10), [], threading.Event()

    def make():
        opened.append(1)
        both.wait(0.2)  # long enough for the others to ask
        return Sized(1)

    found = []
    threads = [threading.Thread(target=lambda: found.append(kept.get("a", make))) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(opened) == 1
    assert len({id(each) for each in found}) == 1
