import threading

import pytest
import torch

from corrcore import concurrency


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_results_arrive_in_order_and_in_the_calling_thread(n_threads):
    arrived = []
    concurrency.map_in_order(
        lambda n: n * n, range(40), lambda r: arrived.append((r, threading.get_ident())), n_threads=n_threads
    )
    assert arrived == [(n * n, threading.get_ident()) for n in range(40)]


def test_few_results_wait_at_a_time():
    begun, most = [], 0

    def then(n: int) -> None:
        nonlocal most
        most = max(most, len(begun) - n)

    concurrency.map_in_order(lambda n: (begun.append(n), n)[1], range(200), then, n_threads=3)
    assert len(begun) == 200
    assert most <= 7


def fail_at(place: int, n: int) -> int:
    if n == place:
        msg = f"item {n}"
        raise ZeroDivisionError(msg)
    return n


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("where", ["work", "then"])
def test_the_first_exception_ends_the_run(n_threads, where):
    begun, before = [], threading.active_count()

    def work(n: int) -> int:
        begun.append(n)
        return fail_at(3, n) if where == "work" else n

    with pytest.raises(ZeroDivisionError, match="item 3"):
        concurrency.map_in_order(work, range(100), lambda n: fail_at(3, n), n_threads=n_threads)
    assert len(begun) < 12
    assert threading.active_count() == before


def test_torch_computes_alone_within_each_thread_and_as_before_elsewhere():
    before, within = torch.get_num_threads(), []
    try:
        torch.set_num_threads(3)
        concurrency.map_in_order(lambda _: torch.get_num_threads(), range(9), within.append)
        assert within == [1] * 9
        assert torch.get_num_threads() == 3
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert elsewhere == [3]
    finally:
        torch.set_num_threads(before)


def test_a_caller_that_never_asked_torch_leaves_its_number_alone():
    before, seen = torch.get_num_threads(), []

    def fresh() -> None:
        concurrency.map_in_order(abs, range(6), lambda _: None, n_threads=2)
        seen.append(torch.get_num_threads())

    try:
        torch.set_num_threads(3)
        for work in (fresh, lambda: seen.append(torch.get_num_threads())):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
    finally:
        torch.set_num_threads(before)
    assert seen == [3, 3]


def test_parts_of_parts_are_told_as_shares_of_the_whole():
    told = []
    second = concurrency.part(lambda *call: told.append(call), 0.5, 0.25, "second, ")
    second(0, "begins")
    second(1.0)
    concurrency.part(second, 0.2, 0.4)(0.5, "within")
    assert [text for _, text in told] == ["second, begins", "second, ", "second, within"]
    assert [share for share, _ in told] == pytest.approx([0.5, 0.75, 0.6])


def test_parts_of_work_that_nobody_watches_tell_nobody():
    nobody = concurrency.part(None, 0.5, 0.5)
    nobody(0.3, "unheard")
    concurrency.part(nobody, 0, 0.5)(0.3)


def test_what_progress_raises_passes_through_its_parts():
    def stop(share: float, text: str) -> None:
        raise KeyboardInterrupt(text)

    with pytest.raises(KeyboardInterrupt, match="now"):
        concurrency.part(concurrency.part(stop, 0, 1), 0, 1)(0.5, "now")
