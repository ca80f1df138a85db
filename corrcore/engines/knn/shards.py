"""A table searched in shards: runs of consecutive rows, each searched by itself wherever it is.

A row among the `k` nearest of all is among the `k` nearest of its shard, in the same order: by similarity, then by id.
Similarities are exact and do not depend on where a row lies. So what shards find, merged, is bit for bit what one table
finds, ties and excluded rows included.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from corrcore.engines.knn.table import Neighbours


class Question(NamedTuple):
    """What one shard is asked for: so many of its rows, without ranges of them, by ids of its own."""

    shard: int
    k: int
    exclude: tuple[tuple[int, int], ...]


def starts_of(n_rows: int, n_shards: int) -> tuple[int, ...]:
    """The ids at which shards of about one size begin, and the number of rows.

    >>> starts_of(10, 3)
    (0, 3, 6, 10)
    """
    return tuple(n_rows * number // n_shards for number in range(n_shards + 1))


def questions(starts: Sequence[int], k: int, excluded: Iterable[tuple[int, int]]) -> list[Question]:
    """What shards that begin at `starts` are asked for; one whose rows are all excluded is not asked.

    `excluded` are half-open ranges of all rows that do not overlap.
    """
    excluded, asked = list(excluded), []
    for shard, (start, stop) in enumerate(pairwise(starts)):
        cut = ((max(first, start) - start, min(last, stop) - start) for first, last in excluded)
        own = tuple((first, last) for first, last in cut if first < last)
        if rest := stop - start - sum(last - first for first, last in own):
            asked.append(Question(shard, min(k, rest), own))
    return asked


def merged(starts: Sequence[int], found: Sequence[tuple[int, Neighbours]], k: int) -> Neighbours:
    """The `k` nearest of all shards, of each shard's number and the nearest that it found."""
    found = sorted(found, key=lambda each: each[0])
    ids = np.concatenate([each.ids + starts[shard] for shard, each in found], axis=1)
    similarities = np.concatenate([each.similarities for _, each in found], axis=1)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]  # equal ones stay as they are: by ascending id
    return Neighbours(
        np.take_along_axis(ids, order, axis=1),
        np.take_along_axis(similarities, order, axis=1),
        tuple(each_pass for _, each in found for each_pass in each.passes),
    )
