"""What `corrcore match` tells: rows on a terminal, lines of JSON, and files of points."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from corrcore.cli.match_pairs import MatchedPair
from corrcore.datasets.points import AnnotatedPhoto, NamedPoints, rounded, to_coco
from corrcore.tasks.matching import Method

SUFFIXES = (".csv", ".json", ".npz")

_DIGITS = 6  # of similarities

_ARRAYS = (
    *("places", "similarities", "runners_up", "runner_up_similarities", "margins"),
    *("returned", "cycle_errors", "mutual"),
)

Record = Mapping[str, Any]


def records_of(found: MatchedPair, method: Method) -> Iterator[Record]:
    """A record per point and feature, of what JSON can hold: numbers that there are not are None.

    Places are (x, y) in pixels of their own photo, similarities cosines, `cycle_error` is in pixels of the source.
    """
    pair = found.pair
    for number, (name, at) in enumerate(zip(pair.points.names, pair.points.places, strict=True)):
        for feature, matches in found.matches.items():
            runner_up = matches.runners_up[number]
            yield {
                "pair": pair.name,
                "source": pair.source.name,
                "target": pair.target.name,
                "point": name,
                "at": rounded(at),
                "feature": str(feature),
                "method": method,
                "place": rounded(matches.places[number]),
                "similarity": _number(matches.similarities[number]),
                "runner_up": None if np.isnan(runner_up).any() else rounded(runner_up),
                "runner_up_similarity": _number(matches.runner_up_similarities[number]),
                "margin": _number(matches.margins[number]),
                "cycle_error": _number(matches.cycle_errors[number], 3),
                "mutual": bool(matches.mutual[number]),
            }


def _number(value: float, digits: int = _DIGITS) -> float | None:
    return None if math.isnan(value) else round(float(value), digits)


def table_rows(records: Sequence[Record]) -> list[dict[str, str]]:
    """Records for people, with units; pairs are named where there are several."""
    several = len({record["pair"] for record in records}) > 1
    return [
        {
            "pair": record["pair"] if several else "",
            "point": record["point"],
            "at": _place_text(record["at"]),
            "feature": record["feature"],
            "place": _place_text(record["place"]),
            "similarity": _text(record["similarity"], ".3f"),
            "margin": _text(record["margin"], ".3f"),
            "cycle error": _text(record["cycle_error"], ".1f", " px"),
            "mutual": "yes" if record["mutual"] else "no",
        }
        for record in records
    ]


def _text(value: float | None, form: str, unit: str = "") -> str:
    return "none" if value is None else f"{value:{form}}{unit}"


def _place_text(place: Sequence[float]) -> str:
    return f"{place[0]:.1f}, {place[1]:.1f}"


def content(suffix: str, found: Sequence[MatchedPair], method: Method) -> bytes | str:
    """A file of what was found, by how its name ends: one of `SUFFIXES`."""
    if suffix == ".npz":
        return _arrays(found, method)
    if suffix == ".json":
        return _coco(found)
    return _csv(record for each in found for record in records_of(each, method))


def _csv(records: Iterable[Record]) -> str:
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


def _coco(found: Sequence[MatchedPair]) -> str:
    """The places in the targets, an annotation per feature."""
    return to_coco(
        [
            AnnotatedPhoto(
                each.pair.target.name,
                each.pair.sizes[1],
                {
                    str(feature): NamedPoints(each.pair.points.names, matches.places)
                    for feature, matches in each.matches.items()
                },
            )
            for each in found
        ]
    )


def _arrays(found: Sequence[MatchedPair], method: Method) -> bytes:
    """Points of all pairs, one pair's after another's, and each feature's arrays, whose names begin with its own."""
    pairs = [each.pair for each in found]
    arrays = {
        "pairs": np.array([pair.name for pair in pairs]),
        "sources": np.array([pair.source.name for pair in pairs]),
        "targets": np.array([pair.target.name for pair in pairs]),
        "pair_of_point": np.repeat(np.arange(len(pairs)), [len(pair.points) for pair in pairs]),
        "names": np.array([name for pair in pairs for name in pair.points.names]),
        "points": np.concatenate([pair.points.places for pair in pairs]),
        "features": np.array([str(feature) for feature in found[0].matches]),
        "method": np.array(method),
    }
    for feature in found[0].matches:
        for name in _ARRAYS:
            arrays[f"{feature}_{name}"] = np.concatenate([getattr(each.matches[feature], name) for each in found])
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
