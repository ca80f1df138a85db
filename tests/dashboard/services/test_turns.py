"""Pages take turns."""

import threading
import time

import pytest

from dashboard.services.turns import Turns


def test_no_more_than_so_many_run_at_once_and_all_run():
    turns, running, most, ended = Turns(2), [], [], []

    def page(number: int) -> None:
        with turns.taken():
            running.append(number)
            most.append(len(running))
            time.sleep(0.02)
            running.remove(number)
            ended.append(number)

    threads = [threading.Thread(target=page, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert (sorted(ended), max(most)) == (list(range(8)), 2)


def test_one_who_waits_for_something_else_lets_others_go_on():
    turns, other = Turns(1), threading.Event()

    def page() -> None:
        with turns.taken():
            other.set()

    with turns.taken():
        with turns.taken():  # within the same turn
            pass
        thread = threading.Thread(target=page)
        thread.start()
        assert not other.wait(0.1)
        with turns.given_up():
            assert other.wait(5)
        thread.join(5)
        another = threading.Thread(target=page)
        other.clear()
        another.start()
        assert not other.wait(0.1)  # the turn is back
    assert other.wait(5)
    another.join(5)


def test_a_page_that_ends_early_gives_its_turn_back():
    turns = Turns(1)
    for _ in range(2):
        with pytest.raises(KeyError), turns.taken():
            raise KeyError
    with turns.given_up(), turns.taken():
        pass
