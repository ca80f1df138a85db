import io
import json
import logging
import re

import pytest

from dashboard.server import logs
from dashboard.services.jobs import VIEW, Queue


@pytest.fixture
def record_of():
    """``record_of(log_call)``: the record that a call to a logger makes."""
    logger, kept = logging.Logger("dashboard.services.jobs"), []
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    logger.addHandler(handler)

    def record_of(call):
        call(logger)
        return kept.pop()

    return record_of


def read_private(name):
    msg = f"{name} cannot be read"
    raise OSError(msg)


def test_work_is_one_line_of_what_how_long_and_how_it_ended(record_of):
    told = {"event": "work", "what": "views", "seconds": 1.25, "ended": "done", "name_of_a_file": "private.jpg"}
    line = logs.JsonFormatter().format(record_of(lambda logger: logger.info("work ended", extra=told)))
    assert "\n" not in line
    fields = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("time"))
    assert fields == {
        "level": "info",
        "logger": "dashboard.services.jobs",
        "event": "work",
        "what": "views",
        "seconds": 1.25,
        "ended": "done",
    }


def test_an_error_is_its_kind_and_place_without_what_it_says(record_of):
    def fail(logger):
        try:
            read_private("private.jpg")
        except OSError:
            logger.exception("%s failed", "Rebuild private.jpg")

    record = record_of(fail)
    line = logs.JsonFormatter().format(record)
    assert "private.jpg" not in line
    fields = json.loads(line)
    assert (fields["error"], fields["message"]) == ("OSError", "%s failed")
    assert re.fullmatch(r"tests/dashboard/server/test_logs\.py:\d+ read_private", fields["where"])
    errors = logs.LastErrors()
    errors.handle(record)
    [kept] = errors.newest_first()
    assert (kept.kind, kept.where) == (fields["error"], fields["where"])
    assert "private" not in repr(kept).replace("read_private", "")


def test_the_last_errors_are_kept_and_no_more(record_of):
    errors = logs.LastErrors(most=3)
    for number in range(5):
        record = record_of(lambda logger: logger.error("no exception"))
        record.created = number
        errors.handle(record)
    assert [error.at for error in errors.newest_first()] == [4, 3, 2]
    errors.clear()
    assert errors.newest_first() == []


def test_a_queue_tells_how_its_work_ended():
    logger = logging.getLogger("dashboard.services.jobs")
    stream = io.StringIO()
    console = logging.StreamHandler(stream)
    console.setFormatter(logs.JsonFormatter())
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(console)
    try:
        queue = Queue()
        jobs = [
            queue.submit(work, label="private.jpg", owner="me") for work in (lambda progress: 1, lambda progress: 1 / 0)
        ]
        assert all(job.wait(10) for job in jobs)
        assert queue.close()
    finally:
        logger.removeHandler(console)
        logger.setLevel(level)
    assert queue.ended() == {(VIEW, "done"): 1, (VIEW, "failed"): 1}
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["ended"] for line in lines if line.get("event") == "work"] == ["done", "failed"]
    assert "private" not in stream.getvalue()
