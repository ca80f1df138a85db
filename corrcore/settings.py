"""Every environment variable that corrcore reads, in one place."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path


def prepared_path(text: str | os.PathLike[str]) -> Path:
    """A path as a user writes it: ``~`` is the home folder, and a relative path is made absolute at once.

    Raises ValueError for an empty path, and for ``~`` where no home folder is known.
    """
    if not os.fspath(text):
        msg = "a path is empty; name a file or a folder."
        raise ValueError(msg)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        msg = f"the home folder in {os.fspath(text)} is not known; write the path in full."
        raise ValueError(msg) from None


@dataclass(frozen=True)
class Settings:
    """What the environment asks for.

    `cache` is where results and indexes are kept (``CORRCORE_CACHE``, else the user's cache folder), `data` a folder of
    data sets (``CORRCORE_DATA``) or None, `weights` a folder of networks' weights (``CORRCORE_WEIGHTS``) or None, and
    `read_only` whether visitors of the app only look (``CORRCORE_READ_ONLY``).

    Of the app's server: `frame_ancestors` are further sites that may show it in a frame
    (``CORRCORE_FRAME_ANCESTORS``), `max_sessions` is how many browser windows it serves at once
    (``CORRCORE_MAX_SESSIONS``), and `log_json` whether it logs lines of JSON (``CORRCORE_LOG=json``).
    """

    cache: Path
    data: Path | None = None
    weights: Path | None = None
    read_only: bool = False
    frame_ancestors: tuple[str, ...] = ()
    max_sessions: int = 200
    log_json: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads the variables anew at every call, so that a change of them counts.

        Raises ValueError for a path with ``~`` where no home folder is known, where there is no folder of one's own to
        keep results in, and for what is no site or no number.
        """
        cache, data, weights = (environment.get(f"CORRCORE_{name}") for name in ("CACHE", "DATA", "WEIGHTS"))
        return cls(
            cache=prepared_path(cache) if cache else _user_cache(),
            data=prepared_path(data) if data else None,
            weights=prepared_path(weights) if weights else None,
            read_only=bool(environment.get("CORRCORE_READ_ONLY")),
            frame_ancestors=_sites(environment.get("CORRCORE_FRAME_ANCESTORS", "")),
            max_sessions=_number("CORRCORE_MAX_SESSIONS", environment.get("CORRCORE_MAX_SESSIONS") or "200"),
            log_json=environment.get("CORRCORE_LOG") == "json",
        )

    def problems(self) -> list[str]:
        """What is wrong with the settings, a sentence each, for the command line and the app to show."""
        found = []  # os.path, as a Path's own questions raise where a folder may not be read
        if self.cache == _temporary_cache():
            found.append(
                f"no home folder is known, so results are kept in {self.cache}, which may be emptied at any time; "
                "set CORRCORE_CACHE to a folder that stays."
            )
        if os.path.exists(self.cache) and not os.path.isdir(self.cache):
            found.append(f"CORRCORE_CACHE must be a folder; {self.cache} is a file. Results are not kept.")
        if self.data is not None:
            if not os.path.exists(self.data):
                found.append(f"CORRCORE_DATA must be a folder of data sets; {self.data} does not exist.")
            elif not os.path.isdir(self.data):
                found.append(f"CORRCORE_DATA must be a folder of data sets; {self.data} is a file.")
        if self.weights is not None and not os.path.isdir(self.weights):
            found.append(f"CORRCORE_WEIGHTS must be a folder of networks' weights; {self.weights} is none.")
        return found


def _sites(text: str) -> tuple[str, ...]:
    """The sites of a list, in a form that can say nothing else in a header."""
    for site in text.split():
        if not re.fullmatch(r"(https?://)?(\*\.)?[\w-]+(\.[\w-]+)*(:\d+)?", site, re.ASCII):
            msg = f"CORRCORE_FRAME_ANCESTORS must be sites, as https://*.hf.space, with spaces between; got {site!r}."
            raise ValueError(msg)
    return tuple(text.split())


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
        msg = f"{name} must be a whole number from 1 on; got {text!r}."
        raise ValueError(msg)
    return int(text)


def _user_cache() -> Path:
    """The user's cache folder; without a home, a folder for the user among the temporary files."""
    try:
        folder = user_cache_path("corrcore", appauthor=False)
    except RuntimeError:
        folder = Path()
    if folder.is_absolute():
        return folder
    folder = _temporary_cache()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        usable = not folder.is_symlink() and folder.stat().st_uid == os.geteuid()
    except OSError:
        usable = False
    if not usable:
        msg = f"no home folder is known, and {folder} cannot be used; set CORRCORE_CACHE to a folder of your own."
        raise ValueError(msg)
    return folder


def _temporary_cache() -> Path:
    return Path(tempfile.gettempdir(), f"corrcore-{os.geteuid()}")
