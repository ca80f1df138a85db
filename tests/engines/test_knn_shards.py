"""Shards of a table, searched one by one and merged, against the table in one piece."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from corrcore.engines.knn import DescriptorTable, quantise
from corrcore.engines.knn.shards import merged, questions, starts_of

ROWS = torch.nn.functional.normalize(
    torch.from_numpy(np.random.default_rng(0).integers(-2, 3, (700, 4))).float(), dim=1
).half()  # few different ones: most similarities are ties
ARRAYS = (ROWS.numpy(), *quantise(ROWS))
QUERIES = torch.cat([ROWS[:20].float(), torch.zeros(1, 4)])


@pytest.mark.parametrize("n_shards", [1, 2, 5, 699])
@pytest.mark.parametrize("exclude", [(), ((0, 1), (130, 400), (699, 700)), ((0, 690),)], ids=str)
@pytest.mark.parametrize("k", [1, 7, "all"])
def test_shards_find_what_one_table_finds(n_shards, exclude, k):
    k = len(ROWS) - sum(stop - start for start, stop in exclude) if k == "all" else k
    whole = DescriptorTable(*ARRAYS).search(QUERIES, k, exclude=exclude)
    starts = starts_of(len(ROWS), n_shards)
    shards = [DescriptorTable(*(array[start:stop] for array in ARRAYS)) for start, stop in pairwise(starts)]
    found = [
        (asked.shard, shards[asked.shard].search(QUERIES, asked.k, exclude=asked.exclude))
        for asked in questions(starts, k, exclude)
    ]
    together = merged(starts, found[::-1], k)  # in whatever order they come
    np.testing.assert_array_equal(together.ids, whole.ids)
    assert together.similarities.tobytes() == whole.similarities.tobytes()
