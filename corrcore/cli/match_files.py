"""What `corrcore match` tells: rows on a terminal, lines of JSON, and files of points."""

import io
from collections.abc import Iterator, Sequence

import numpy as np

from corrcore.cli.match_pairs import MatchedPair
from corrcore.datasets.points import AnnotatedPhoto, NamedPoints, to_coco
from corrcore.features import Feature
from corrcore.tasks import match_records
from corrcore.tasks.match_records import Record
from corrcore.tasks.matching import Method

SUFFIXES = (".csv", ".json", ".npz")

_ARRAYS = (
    *("places", "similarities", "runners_up", "runner_up_similarities", "margins"),
    "min_marginal_margins",
    *("returned", "cycle_errors", "mutual", "confidences"),
)


def records_of(found: MatchedPair, method: Method) -> Iterator[Record]:
    """A record per point and feature of a pair."""
    pair = found.pair
    yield from match_records.records_of(
        pair.points.names, found.matches, method, source=pair.source.name, target=pair.target.name, pair=pair.name
    )


def table_rows(records: Sequence[Record]) -> list[dict[str, str]]:
    """Records for people, with units; pairs are named where there are several."""
    several = len({record["pair"] for record in records}) > 1
    judged = any(record["confidence"] is not None for record in records)
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
        | ({"confidence": _text(record["confidence"], ".0%")} if judged else {})
        for record in records
    ]


def _text(value: float | None, form: str, unit: str = "") -> str:
    return "none" if value is None else f"{value:{form}}{unit}"


def _place_text(place: Sequence[float]) -> str:
    return f"{place[0]:.1f}, {place[1]:.1f}"


def content(
    suffix: str,
    found: Sequence[MatchedPair],
    method: Method,
    *,
    category: str = "",
    at_least: float | None = None,
) -> bytes | str:
    """A file of what was found, by how its name ends: one of `SUFFIXES`.

    `category` is that of COCO's keypoints, of which places of a lower confidence than `at_least` are hidden.
    """
    if suffix == ".npz":
        return _arrays(found, method)
    if suffix == ".json":
        return to_coco([_annotated(each) for each in found], category=category, at_least=at_least)
    return match_records.to_csv(record for each in found for record in records_of(each, method))


def _annotated(found: MatchedPair) -> AnnotatedPhoto:
    """The places in the target, by feature."""
    names = found.pair.points.names
    return AnnotatedPhoto(
        found.pair.target.name,
        found.pair.sizes[1],
        {str(feature): NamedPoints(names, matches.places) for feature, matches in found.matches.items()},
        {str(feature): matches.confidences for feature, matches in found.matches.items()},
    )


def without_confidence(found: Sequence[MatchedPair]) -> list[Feature]:
    """Features of which no confidence is known, of no place of any pair."""
    return [
        feature
        for feature in found[0].matches
        if all(np.isnan(each.matches[feature].confidences).all() for each in found)
    ]


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
