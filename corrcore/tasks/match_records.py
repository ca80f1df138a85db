"""Matches as records: what the command prints and writes, and the app gives to take along."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from corrcore.datasets.points import rounded
from corrcore.features import Feature
from corrcore.tasks.matching import Method, PointMatches

_DIGITS = 6  # of similarities

Record = Mapping[str, Any]


def records_of(
    names: Sequence[str],
    found: Mapping[Feature, PointMatches],
    method: Method,
    *,
    source: str,
    target: str,
    pair: str = "",
    confidences: Mapping[Feature, Float[np.ndarray, " points"]] | None = None,
) -> Iterator[Record]:
    """A record per named point and feature, of what JSON can hold: numbers that there are not are None.

    Places are (x, y) in pixels of their own photo, similarities cosines, `cycle_error` is in pixels of the source,
    `min_marginal_margin` in units of the alignment's energy, which nn has none of. `confidences` are of the features of
    which there are some (`confidence.known`), from 0 to 1.
    """
    sure = confidences or {}
    for number, name in enumerate(names):
        for feature, matches in found.items():
            runner_up = matches.runners_up[number]
            yield {
                "pair": pair or f"{source} to {target}",
                "source": source,
                "target": target,
                "point": name,
                "at": rounded(matches.points[number]),
                "feature": str(feature),
                "method": method,
                "place": rounded(matches.places[number]),
                "similarity": _number(matches.similarities[number]),
                "runner_up": None if np.isnan(runner_up).any() else rounded(runner_up),
                "runner_up_similarity": _number(matches.runner_up_similarities[number]),
                "margin": _number(matches.margins[number]),
                "min_marginal_margin": _number(matches.min_marginal_margins[number]),
                "cycle_error": _number(matches.cycle_errors[number], 3),
                "mutual": bool(matches.mutual[number]),
                "confidence": _number(sure[feature][number], 3) if feature in sure else None,
            }


def _number(value: float | np.floating, digits: int = _DIGITS) -> float | None:
    return None if math.isnan(value) else round(float(value), digits)


def to_csv(records: Iterable[Record]) -> str:
    """Records as lines; a place has a column for x and one for y, and what there is not is empty."""
    file = io.StringIO()
    lines = [_flat(record) for record in records]
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def _flat(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name in ("at", "place", "runner_up"):
            prefix = "" if name == "at" else f"{name}_"
            found[f"{prefix}x"], found[f"{prefix}y"] = value or ("", "")
        else:
            found[name] = json.dumps(value) if isinstance(value, bool) else value
    return found
