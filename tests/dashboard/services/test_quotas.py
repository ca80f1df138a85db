import threading
from contextlib import ExitStack

import pytest

from corrcore.settings import Limits
from dashboard.services import quotas
from dashboard.services.quotas import FOR_ALL, KEYS_KEPT, MB, PER_ADDRESS, SHARE, QuotaError, Quotas, Spent

FILE = 19 * MB


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def made(clock, **limits):
    return Quotas(Limits(**limits), clock=clock)


def put(found, session="a", address="192.0.2.7", n_bytes=FILE, *, held=None, kept=True):
    with found.upload(session, address, n_bytes, held or {}) as upload:
        upload.kept = kept


def test_forty_uploads_by_one_session_are_refused_at_the_quota(clock):
    found, refused = made(clock, uploads_mb_per_hour=200), []
    for _ in range(40):
        try:
            put(found)
        except QuotaError as error:
            refused.append(error)
    assert len(refused) == 30  # 190 MB have come in
    assert {str(error) for error in refused} == {
        "This session may upload 200 MB within an hour, and that is used up; there is room again in 60 min."
    }
    assert {error.wait_s for error in refused} == {3600}
    clock.now += 3599
    with pytest.raises(QuotaError, match="10 s"):
        put(found)
    clock.now += 1
    put(found)


def test_an_address_may_have_a_few_sessions_worth_however_many_it_opens(clock):
    found = made(clock, uploads_mb_per_hour=20)
    for n in range(PER_ADDRESS):
        put(found, session=f"session {n}")
    with pytest.raises(QuotaError, match=f"Your network may upload {20 * PER_ADDRESS} MB within an hour"):
        put(found, session="another")
    put(found, session="elsewhere", address="192.0.2.8")
    put(found, session="here", address="")  # one's own machine


def test_what_did_not_arrive_is_given_back(clock):
    found = made(clock, uploads_mb_per_hour=20)
    for _ in range(10):
        put(found, kept=False)
    with pytest.raises(ZeroDivisionError), found.upload("a", "192.0.2.7", FILE, {}):
        raise ZeroDivisionError
    put(found)


def test_bytes_under_way_count_before_they_are_there(clock):
    found = made(clock, uploads_mb_per_hour=10_000, uploads_mb_held=40)
    with found.upload("a", "x", FILE, {}), found.upload("a", "x", FILE, {}):
        with pytest.raises(QuotaError, match="keeps as many uploads in memory as it may, 40 MB"):
            put(found)
        put(found, session="b")
    put(found)
    with pytest.raises(QuotaError, match="keeps as many"):
        put(found, held={"a": 30 * MB})


def test_all_together_have_a_bound(clock):
    found = made(clock, uploads_mb_held=20)
    put(found, held={"others": FOR_ALL * 20 * MB - FILE})
    with pytest.raises(QuotaError, match="of all visitors"):
        put(found, session="b", held={"others": FOR_ALL * 20 * MB - FILE + 1})
    sentence = found.why_no_upload("b", "x", 1, {"others": FOR_ALL * 20 * MB})
    assert sentence.startswith("The server keeps as many uploads")
    assert not found.why_no_upload("b", "x", 1, {})


def test_one_address_leaves_half_of_the_memory_for_uploads_to_others(clock):
    found, held = made(clock, uploads_mb_per_hour=10_000, uploads_mb_held=20), {}
    for n in range(FOR_ALL // SHARE):
        put(found, session=f"session {n}", held=held)
        held[f"session {n}"] = FILE
    with pytest.raises(QuotaError, match="Your network keeps as many uploads in memory as one may"):
        put(found, session="another", held=held)
    put(found, session="elsewhere", address="192.0.2.8", held=held)
    put(found, session="here", address="", held=held)
    del held["session 0"]
    put(found, session="another", held=held)


def test_one_address_leaves_half_of_the_windows_to_others(clock):
    found = made(clock, max_sessions=5)
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(found.window("2001:db8::1"))
        with pytest.raises(QuotaError, match="Your network has 2 windows open here"), found.window("2001:db8::2"):
            pass
        for _ in range(9):
            stack.enter_context(found.window(""))
        with found.window("2001:db9::1"):
            pass
    with found.window("2001:db8::2"):
        pass


def test_what_did_not_arrive_gives_nothing_back_later(clock):
    """Nor more than it took: an upload that fails after long was none."""
    found = made(clock, uploads_mb_per_hour=20)
    with found.upload("a", "192.0.2.7", FILE, {}):
        clock.now += 1200
    clock.now += 2401  # an hour after it began
    put(found)
    with pytest.raises(QuotaError, match="used up"):
        put(found)


def test_jobs_are_counted_by_session_and_by_network(clock):
    found = made(clock, jobs_per_hour=3)
    for _ in range(3):
        found.check_job("a", "2001:db8::1")
    with pytest.raises(QuotaError, match=r"This session has begun 3 computations within the hour, .* in 60 min\."):
        found.check_job("a", "2001:db8::1")
    for n in range(3 * PER_ADDRESS - 3):
        found.check_job(f"other {n}", f"2001:db8::{n}")
    with pytest.raises(QuotaError, match="Your network has begun 15 computations"):
        found.check_job("yet another", "2001:db8::99")
    found.check_job("elsewhere", "2001:db9::1")
    for _ in range(100):
        found.check_job("own", "")
    clock.now += 3600
    found.check_job("a", "2001:db8::1")


def test_requests_are_counted_by_the_minute(clock):
    found = made(clock, requests_per_minute=5)
    for _ in range(5):
        found.check_request("192.0.2.7")
        clock.now += 2
    with pytest.raises(QuotaError, match="5 requests within a minute") as error:
        found.check_request("192.0.2.7")
    assert error.value.wait_s == 50
    found.check_request("192.0.2.8")
    found.check_request("")
    clock.now += 50
    found.check_request("192.0.2.7")


def test_counts_of_many_threads_and_keys_stay_right_and_bounded(clock):
    found, refused = made(clock, requests_per_minute=1000), []

    def ask():
        for _ in range(300):
            try:
                found.check_request("192.0.2.7")
            except QuotaError:
                refused.append(1)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(refused) == 500
    spent = Spent(60)
    for n in range(KEYS_KEPT + 50):
        spent.add(n, 1, 0.0)
    assert len(spent._spent) == KEYS_KEPT
    for n in range(10_000):
        spent.add("busy", 1, n * 0.001)
    assert len(spent._spent["busy"]) <= quotas.STEPS + 1


def test_limits_are_the_environments(monkeypatch):
    monkeypatch.setenv("CORRCORE_JOBS_PER_HOUR", "1")
    found = Quotas()
    found.check_job("a", "192.0.2.7")
    with pytest.raises(QuotaError, match="has begun 1 computations"):
        found.check_job("a", "192.0.2.7")
