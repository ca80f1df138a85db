"""The queue, seen from outside: order, refusals, cancelling, failures, and stopping."""

import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from dashboard.services.jobs import LANES, LONG, Cancelled, Queue, QueueFull


class Gate:
    """A job that says when it has begun, reports progress until it is let go, and then returns a value."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.cancelled = False

    def __call__(self, value: object = None, *, progress) -> object:
        self.begun.set()
        try:
            while not self.open.wait(0.005):
                progress(0.5, "at the gate")
        except Cancelled:
            self.cancelled = True
            raise
        return value


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = Queue(slots=1, capacity=20)
    yield queue
    assert queue.close()


def _value(value: object, *, progress) -> object:
    return value


def test_submit_runs_the_function_with_its_arguments_and_keeps_the_result(queue):
    def weigh(parts, *, unit, progress):
        progress(0.25, "weighing")
        return f"{sum(parts)} {unit}"

    job = queue.submit(weigh, [1, 2, 3], unit="kg", label="Weigh", owner="me")
    assert job.wait(5)
    assert (job.state, job.result, job.error, job.progress) == ("done", "6 kg", "", 1.0)


def test_fifty_jobs_for_twenty_places_give_thirty_refusals_and_run_in_order(queue):
    gate, order, accepted, refused = Gate(), [], [], []

    def work(number, *, progress):
        if number == 0:
            gate(progress=progress)
        order.append(number)

    for number in range(50):
        try:
            accepted.append(queue.submit(work, number, label=f"Job {number}", owner="me"))
        except QueueFull as error:
            refused.append((number, str(error)))
        if number == 0:
            assert gate.begun.wait(5)

    assert [number for number, _ in refused] == list(range(20, 50))
    assert {text for _, text in refused} == {
        "The server is busy: 19 waiting and 1 running, and it takes no more than 20. Try again in a few minutes."
    }
    assert [job.place for job in accepted] == [None, *range(19)]
    gate.open.set()
    assert all(job.wait(5) for job in accepted)
    assert order == list(range(20))


def test_submit_after_refusals_is_accepted_once_there_is_room():
    queue, gate = Queue(capacity=1), Gate()
    job = queue.submit(gate, label="First", owner="me")
    with pytest.raises(QueueFull):
        queue.submit(_value, 1, label="Second", owner="me")
    gate.open.set()
    assert job.wait(5)
    assert queue.submit(_value, 1, label="Second", owner="me").wait(5)
    assert queue.close()


def test_two_slots_run_two_jobs_at_once():
    queue, gates = Queue(slots=2), [Gate(), Gate(), Gate()]
    jobs = [queue.submit(gate, label="Gate", owner="me") for gate in gates]
    assert gates[0].begun.wait(5)
    assert gates[1].begun.wait(5)
    assert [job.state for job in jobs] == ["running", "running", "waiting"]
    for gate in gates:
        gate.open.set()
    assert jobs[2].wait(5)
    assert queue.close()


def test_cancel_of_a_waiting_job_never_starts_it_and_moves_the_others_up(queue):
    gate, ran = Gate(), []
    first = queue.submit(gate, label="First", owner="me")
    second = queue.submit(lambda progress: ran.append("second"), label="Second", owner="me")
    third = queue.submit(lambda progress: ran.append("third"), label="Third", owner="me")
    assert gate.begun.wait(5)
    second.cancel()
    assert (second.state, second.finished, third.place) == ("cancelled", True, 0)
    gate.open.set()
    assert first.wait(5)
    assert third.wait(5)
    assert ran == ["third"]


def test_cancel_of_a_running_job_raises_in_its_next_report_and_frees_the_slot(queue):
    gate = Gate()
    job = queue.submit(gate, label="Gate", owner="me")
    assert gate.begun.wait(5)
    job.cancel()
    assert job.wait(5)
    assert gate.cancelled
    assert (job.state, job.result, job.cancelling) == ("cancelled", None, False)
    assert queue.submit(_value, 7, label="Next", owner="me").wait(5)


def test_cancel_of_a_job_that_never_reports_drops_its_result(queue):
    begun, leave = threading.Event(), threading.Event()

    def deaf(*, progress):
        begun.set()
        leave.wait(5)
        return "too late"

    job = queue.submit(deaf, label="Deaf", owner="me")
    assert begun.wait(5)
    job.cancel()
    assert job.cancelling
    leave.set()
    assert job.wait(5)
    assert (job.state, job.result) == ("cancelled", None)


def test_cancel_of_a_finished_job_leaves_its_result(queue):
    job = queue.submit(_value, 7, label="Seven", owner="me")
    assert job.wait(5)
    job.cancel()
    assert (job.state, job.result, job.cancelling) == ("done", 7, False)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            ValueError("layer must be one of conv1 to conv5; got conv9."),
            "layer must be one of conv1 to conv5; got conv9.",
        ),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (RuntimeError("CUDA out of memory.\nSee the documentation."), "CUDA out of memory."),
        (MemoryError(), "Break failed: not enough memory."),
    ],
)
def test_expected_error_becomes_its_sentence_and_the_next_job_runs(queue, error, text):
    def fail(*, progress):
        raise error

    job = queue.submit(fail, label="Break", owner="me")
    after = queue.submit(_value, "fine", label="Next", owner="me")
    assert after.wait(5)
    assert (job.state, job.error, job.result) == ("failed", text, None)
    assert after.result == "fine"


@pytest.mark.parametrize("error", [KeyError("secret"), SystemExit(3)])
def test_unexpected_error_is_named_and_its_traceback_is_logged(queue, caplog, error):
    def fail(*, progress):
        raise error

    with caplog.at_level(logging.ERROR, logger="dashboard.jobs"):
        job = queue.submit(fail, label="Break", owner="me")
        assert job.wait(5)
        assert queue.submit(_value, 1, label="Next", owner="me").wait(5)
    name = type(error).__name__
    assert job.error == f"Break failed: an unexpected {name}. The server's log has the details."
    assert "Traceback" in caplog.text
    assert name in caplog.text


def test_progress_is_kept_between_zero_and_one_with_an_estimate_of_what_remains(queue):
    gate = Gate()
    job = queue.submit(gate, label="Gate", owner="me")
    assert job.remaining is None
    assert gate.begun.wait(5)
    deadline = time.monotonic() + 5
    while job.elapsed < 1.05 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (job.progress, job.text) == (0.5, "at the gate")
    assert job.remaining == pytest.approx(job.elapsed, rel=0.1)  # half done: as much again
    job._report(7.0)
    assert 0 <= job.progress <= 1
    gate.open.set()
    assert job.wait(5)
    elapsed = job.elapsed
    time.sleep(0.02)
    assert (job.elapsed, job.remaining) == (elapsed, None)


def test_submit_with_a_key_returns_the_job_that_waits_runs_or_is_done(queue):
    gate = Gate()
    running = queue.submit(gate, "result", label="Gate", owner="me", key="a")
    waiting = queue.submit(_value, 1, label="One", owner="me", key="b")
    assert gate.begun.wait(5)
    assert queue.submit(gate, label="Gate", owner="me", key="a") is running
    assert queue.submit(_value, 1, label="One", owner="me", key="b") is waiting
    gate.open.set()
    assert waiting.wait(5)
    assert queue.submit(gate, label="Gate", owner="me", key="a") is running
    assert running.result == "result"
    assert queue.find("a") is running


def test_equal_work_of_two_owners_is_done_once_and_is_cancelled_when_both_have_left(queue):
    gate = Gate()
    mine = queue.submit(gate, "result", label="Gate", owner="me", key="a")
    assert gate.begun.wait(5)
    assert queue.submit(_value, 2, label="Two", owner="you", key="a") is mine
    assert mine.owners == {"me", "you"}
    mine.leave("me")
    assert not mine.cancelling
    gate.open.set()
    assert mine.wait(5)
    assert mine.result == "result"
    alone = Gate()
    left = queue.submit(alone, label="Gate", owner="me", key="b")
    assert queue.submit(alone, label="Gate", owner="you", key="b") is left
    assert alone.begun.wait(5)
    left.leave("me")
    left.leave("you")
    assert left.wait(5)
    assert (left.state, alone.cancelled) == ("cancelled", True)


def test_submit_after_a_failure_or_a_cancel_runs_anew(queue):
    def fail(*, progress):
        raise ValueError("no")

    failed = queue.submit(fail, label="Break", owner="me", key="a")
    assert failed.wait(5)
    assert queue.find("a") is failed
    mended = queue.submit(_value, 1, label="Mend", owner="me", key="a")
    assert mended.wait(5)
    assert mended.result == 1

    gate = Gate()
    stopped = queue.submit(gate, label="Gate", owner="me", key="b")
    assert gate.begun.wait(5)
    stopped.cancel()
    anew = queue.submit(_value, 2, label="Anew", owner="me", key="b")
    assert anew is not stopped
    assert anew.wait(5)
    assert queue.find("b") is anew


def test_finished_jobs_beyond_the_number_kept_are_forgotten():
    queue = Queue(kept=2)
    for number in range(4):
        assert queue.submit(_value, number, label="Number", owner="me", key=number).wait(5)
    assert [queue.find(number) is not None for number in range(4)] == [False, False, True, True]
    assert queue.close()


def test_finished_jobs_whose_results_take_too_much_memory_are_forgotten():
    queue = Queue(kept_bytes=1000)
    for number in range(3):
        assert queue.submit(_value, bytes(400), label="Bytes", owner="me", key=number).wait(5)
    assert [queue.find(number) is not None for number in range(3)] == [False, True, True]
    assert queue.submit(_value, bytes(5000), label="Bytes", owner="me", key="large").wait(5)
    assert queue.find("large") is not None  # somebody waits for it
    assert queue.find(2) is None
    assert queue.close()


def test_worker_lets_go_of_arguments_and_results_of_a_finished_job(queue):
    class Large:
        pass

    argument, result = Large(), Large()
    gone = [weakref.ref(argument), weakref.ref(result)]
    holder = [result]
    job = queue.submit(lambda given, progress: holder.pop(), argument, label="Large", owner="me")
    assert job.wait(5)
    del argument, result, job
    deadline = time.monotonic() + 5
    while any(reference() is not None for reference in gone) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert [reference() for reference in gone] == [None, None]


def test_cancelled_job_lets_go_of_its_arguments(queue):
    class Large:
        pass

    gate, argument = Gate(), Large()
    gone = weakref.ref(argument)
    queue.submit(gate, label="Gate", owner="me")
    job = queue.submit(_value, argument, label="Large", owner="me", key="kept")
    assert gate.begun.wait(5)
    job.cancel()
    del argument
    gc.collect()
    assert gone() is None


def test_close_in_the_middle_cancels_what_runs_and_waits_and_refuses_more():
    queue, gate = Queue(), Gate()
    jobs = [queue.submit(gate, label="Gate", owner="me") for _ in range(5)]
    assert gate.begun.wait(5)
    began = time.monotonic()
    assert queue.close()
    assert time.monotonic() - began < 5
    assert [job.state for job in jobs] == ["cancelled"] * 5
    assert gate.cancelled
    with pytest.raises(RuntimeError, match="The server is stopping and takes no more work."):
        queue.submit(_value, 1, label="Late", owner="me")


def test_close_leaves_a_deaf_job_behind_in_time():
    queue, begun, leave = Queue(), threading.Event(), threading.Event()

    def deaf(*, progress):
        begun.set()
        leave.wait(10)

    queue.submit(deaf, label="Deaf", owner="me")
    assert begun.wait(5)
    began = time.monotonic()
    assert not queue.close(timeout=0.2)
    assert time.monotonic() - began < 2
    leave.set()
    assert queue.close()


def test_workers_are_named_daemons():
    queue = Queue(slots=2)
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("corrcore-job-")]
    expected = {f"corrcore-job-{lane}-{slot}" for lane in LANES for slot in range(2)}
    assert expected <= {worker.name for worker in workers}
    assert all(worker.daemon for worker in workers)
    assert queue.close()


@pytest.mark.parametrize("option", ["slots", "capacity", "share"])
def test_queue_without_room_is_refused(option):
    with pytest.raises(ValueError, match=f"{option} of a queue must be at least 1; got 0."):
        Queue(**{option: 0})


def test_long_work_is_everybodys_until_it_ends_and_then_runs_anew(queue):
    gate = Gate()
    mine = queue.submit(gate, "result", label="Gate", owner="me", key="a", lane=LONG)
    assert gate.begun.wait(5)
    assert queue.submit(gate, label="Gate", owner="you", key="a", lane=LONG) is mine
    waiting = queue.submit(_value, 1, label="One", owner="you", key="b", lane=LONG)
    assert queue.unfinished(LONG) == [mine, waiting]
    assert (waiting.running_before, mine.running_before) == (mine, None)
    gate.open.set()
    assert waiting.wait(5)
    assert queue.unfinished(LONG) == []
    assert queue.find("a") is mine
    anew = queue.submit(_value, 2, label="Anew", owner="you", key="a", lane=LONG)
    assert anew is not mine
    assert anew.wait(5)
    assert queue.ended() == {(LONG, "done"): 3}


def test_a_picture_does_not_wait_behind_a_measurement(queue):
    gate = Gate()
    measuring = queue.submit(gate, label="Measure", owner="me", lane=LONG)
    assert gate.begun.wait(5)
    looked_at = queue.submit(_value, 1, label="Look", owner="you")
    assert looked_at.wait(5)
    assert not measuring.finished
    gate.open.set()
    assert measuring.wait(5)


def test_one_owner_gets_no_more_than_a_share_of_the_queue():
    queue = Queue(share=2)
    gate = Gate()
    first = queue.submit(gate, label="Gate", owner="me", lane=LONG)
    queue.submit(_value, 1, label="One", owner="me", lane=LONG)
    refusal = "You have 2 jobs here already, as many as one visitor may; wait for one, or cancel one."
    with pytest.raises(QueueFull, match=f"^{refusal}$"):
        queue.submit(_value, 2, label="Two", owner="me", lane=LONG)
    others = queue.submit(_value, 3, label="Three", owner="you", lane=LONG)
    gate.open.set()
    assert first.wait(5)
    assert others.wait(5)
    assert queue.submit(_value, 4, label="Four", owner="me", lane=LONG).wait(5)
    assert queue.close()


def test_one_group_leaves_half_of_the_queue_to_others():
    queue, gate = Queue(capacity=4), Gate()
    jobs = [queue.submit(gate, label="Gate", owner=f"{n}", group="192.0.2.7") for n in range(2)]
    with pytest.raises(QueueFull, match="Your network has as many jobs here as one may"):
        queue.submit(gate, label="Gate", owner="3", group="192.0.2.7")
    jobs += [queue.submit(gate, label="Gate", owner="4", group=group) for group in ("192.0.2.8", "")]
    gate.open.set()
    assert all(job.wait(5) for job in jobs)
    assert queue.close()


def test_only_new_work_that_there_is_room_for_asks_to_be_admitted():
    queue, gate, asked = Queue(capacity=1), Gate(), []

    def refuse() -> None:
        raise PermissionError("no more today")

    with pytest.raises(PermissionError, match="no more today"):
        queue.submit(gate, label="Gate", owner="me", key="a", admit=refuse)
    assert queue.find("a") is None
    job = queue.submit(gate, label="Gate", owner="me", key="a", admit=lambda: asked.append("a"))
    assert queue.submit(gate, label="Gate", owner="you", key="a", admit=refuse) is job
    with pytest.raises(QueueFull):
        queue.submit(_value, 1, label="One", owner="me", admit=lambda: asked.append("b"))
    assert asked == ["a"]
    gate.open.set()
    assert job.wait(5)
    assert queue.close()


def test_what_is_next_begins_when_what_runs_is_over(queue):
    gate = Gate()
    running = queue.submit(gate, label="Gate", owner="me")
    following, last = (queue.submit(_value, n, label="Number", owner="me") for n in range(2))
    assert gate.begun.wait(5)
    assert following.begins_in is None  # no pace to go by
    deadline = time.monotonic() + 5
    while running.remaining is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert following.begins_in == pytest.approx(running.remaining, abs=0.1)  # half is done
    assert (running.begins_in, last.begins_in) == (None, None)
    gate.open.set()
    assert last.wait(5)
