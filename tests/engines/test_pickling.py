"""Whatever the engines' and the descriptors' doors let out can be sent to another process."""

import dataclasses
import inspect
import pickle

import numpy as np
import pytest
import torch

from corrcore import concurrency
from corrcore.cluster import Cluster
from corrcore.descriptors import sift
from corrcore.engines import knn, mrf, svm

ROWS = np.eye(6, 4, dtype=np.float16)
FEATURES, LABELS = np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1])
TABLE = knn.DescriptorTable(ROWS, *knn.quantise(ROWS))
OBJECTS = [
    TABLE,
    TABLE.search(torch.eye(1, 4), 2),
    knn.Pass("all", 3),
    knn.SearchCluster(Cluster(workers=2), replicas=2),
    knn.Compression(seed=3),
    knn.Probing(n_lists=5),
    mrf.minimise(np.ones((2, 2, 2, 2)), smoothness=0.1),
    svm.fit(FEATURES, LABELS, device="cpu"),
    svm.Rows(torch.from_numpy(FEATURES)),
    sift.Sift(device="cpu"),
    concurrency.part(print, 0.5, 0.5),
    concurrency.Retold(print, (0.5, "half")),
]


def public_classes() -> set[type]:
    """Those that modules say are public, or are defined in them without an underscore. Protocols have none."""
    return {
        value
        for module in (knn, mrf, svm, sift, concurrency)
        for name in getattr(module, "__all__", vars(module))
        if inspect.isclass(value := getattr(module, name)) and not name.startswith("_")
        if not getattr(value, "_is_protocol", False)
        if hasattr(module, "__all__") or value.__module__ == module.__name__
    }


def parts(value: object) -> object:
    """What can be compared with ``==``."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return np.asarray(value).tolist(), str(value.dtype)
    if dataclasses.is_dataclass(value):
        return [parts(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return {name: parts(part) for name, part in vars(value).items()} if hasattr(value, "__dict__") else value


@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: type(thing).__name__)
def test_what_is_pickled_comes_back(thing):
    again = pickle.loads(pickle.dumps(thing))
    assert type(again) is type(thing)
    assert parts(again) == parts(thing)


def test_every_public_class_is_tried():
    assert {type(thing) for thing in OBJECTS} == public_classes()
