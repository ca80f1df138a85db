"""What the server says of its work: one line per piece of long work and per error, without contents and names.

A line has what was done, how long it took and how it ended. Of an error it has the kind and the place in the code;
messages are left out, for they quote what visitors bring: names of files, paths, values. No streamlit.
"""

import json
import logging
import time
import traceback
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIELDS = ("event", "what", "seconds", "ended")  # of a record's own, all of them words of this code or numbers
ERRORS_KEPT = 50
_ROOT = Path(__file__).parents[2]
_OURS = ("dashboard", "corrcore", "uvicorn.error")


@dataclass(frozen=True)
class LoggedError:
    """An error as it may be shown to whoever runs the server: when, of which kind, and where in the code."""

    at: float
    kind: str
    where: str


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if "event" not in line and isinstance(record.msg, str):
            line["message"] = record.msg  # as it stands in the code, without what is filled in
        if (error := _error(record)) is not None:
            line |= {"error": error.kind, "where": error.where}
        return json.dumps(line)


class LastErrors(logging.Handler):
    """Keeps the last errors."""

    def __init__(self, most: int = ERRORS_KEPT) -> None:
        super().__init__(logging.ERROR)
        self._kept: deque[LoggedError] = deque(maxlen=most)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one."""
        where = f"{_within(record.pathname)}:{record.lineno}"
        self._kept.append(_error(record) or LoggedError(record.created, record.levelname.capitalize(), where))

    def newest_first(self) -> list[LoggedError]:
        """Those that are kept."""
        return list(reversed(self._kept))

    def clear(self) -> None:
        """Forgets them."""
        self._kept.clear()


errors = LastErrors()


def configure(as_json: bool) -> None:
    """Keeps errors from now on, and writes to the standard error: warnings, or lines of JSON on all.

    Streamlit's loggers pass nothing on, so each is given what ours are.
    """
    console = logging.StreamHandler()
    console.setLevel(logging.INFO if as_json else logging.WARNING)
    console.setFormatter(JsonFormatter() if as_json else None)
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = [errors, console]
        logger.setLevel(logging.INFO)
        logger.propagate = False
    for logger in list(logging.root.manager.loggerDict.values()):
        streamlits = getattr(logger, "streamlit_console_handler", None)
        if isinstance(logger, logging.Logger) and streamlits is not None:
            logger.addHandler(errors)
            if as_json:
                streamlits.setFormatter(JsonFormatter())


def _error(record: logging.LogRecord) -> LoggedError | None:
    """The exception that a record tells of: its kind, and the innermost place of our own code that it came through."""
    if not record.exc_info or record.exc_info[1] is None:
        return None
    frames = traceback.extract_tb(record.exc_info[2])
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_ROOT)] or list(frames)
    where = f"{_within(own[-1].filename)}:{own[-1].lineno} {own[-1].name}" if own else record.name
    return LoggedError(record.created, type(record.exc_info[1]).__name__, where)


def _within(path: str) -> str:
    """A file of the code by its path below the code's folder, another by its name."""
    return str(Path(path).relative_to(_ROOT)) if Path(path).is_relative_to(_ROOT) else Path(path).name
