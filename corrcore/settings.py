"""Every environment variable that corrcore reads, in one place."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path


def prepared_path(text: str | os.PathLike[str]) -> Path:
    """A path as a user writes it: ``~`` is the home folder, and a relative path is made absolute at once."""
    return Path(text).expanduser().absolute()


@dataclass(frozen=True)
class Settings:
    """What the environment asks for.

    `cache` is where results and indexes are kept (``CORRCORE_CACHE``, else the user's cache folder), `data` a folder of
    data sets (``CORRCORE_DATA``) or None, `weights` a folder of networks' weights (``CORRCORE_WEIGHTS``) or None, and `read_only` whether visitors of the app only look (``CORRCORE_READ_ONLY``).
    """

    cache: Path
    data: Path | None = None
    weights: Path | None = None
    read_only: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads the variables anew at every call, so that a change of them counts."""
        cache, data, weights = (environment.get(f"CORRCORE_{name}") for name in ("CACHE", "DATA", "WEIGHTS"))
        return cls(
            cache=prepared_path(cache) if cache else user_cache_path("corrcore", appauthor=False),
            data=prepared_path(data) if data else None,
            weights=prepared_path(weights) if weights else None,
            read_only=bool(environment.get("CORRCORE_READ_ONLY")),
        )
