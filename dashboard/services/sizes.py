"""How large what is kept in memory is, and a memory of the last things made, up to a number of bytes."""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_OVERHEAD = 64  # bytes that any object takes


def n_bytes(value: object) -> int:
    """The bytes of the arrays, tensors, pictures and texts in a value; each counts once.

    >>> import numpy as np
    >>> picture = np.zeros((100, 200, 3), np.uint8)
    >>> n_bytes({"a": picture, "b": [picture]}) // 1000
    60
    """
    return _n_bytes(value, set())


def _n_bytes(value: Any, counted: set[int]) -> int:
    if value is None or id(value) in counted:
        return 0
    counted.add(id(value))
    if isinstance(value, (bytes, bytearray, str)):
        return sys.getsizeof(value)
    own = getattr(value, "nbytes", None)
    if isinstance(own, int):
        base = getattr(value, "base", None)  # a part of an array keeps all of it
        return _OVERHEAD + (own if base is None or not hasattr(base, "nbytes") else _n_bytes(base, counted))
    if isinstance(value, Mapping):
        return _OVERHEAD + sum(_n_bytes(each, counted) for pair in value.items() for each in pair)
    if isinstance(value, (list, tuple, set, frozenset)):
        return _OVERHEAD + sum(_n_bytes(each, counted) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return _OVERHEAD + sum(_n_bytes(getattr(value, each.name, None), counted) for each in fields(value))
    return _OVERHEAD


class Recent(Generic[T]):
    """The last things made, for all threads: as many as `budget_bytes` hold, and the last one however large it is.

    >>> texts = Recent[str](budget_bytes=1000)
    >>> [len(texts.get(name, lambda: 600 * "x")) for name in "ab"], len(texts)
    ([600, 600], 1)
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget, self._lock = budget_bytes, threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._total = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept under a key, else what `make` makes, once for all that ask for it meanwhile; raises what that
        raises.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:
                    return self._kept[key][0]
            try:
                made = make()
                size = n_bytes(made)
            except BaseException:
                with self._lock:
                    self._making.pop(key, None)
                raise
            with self._lock:  # at once, or somebody who asks between finds neither
                self._keep(key, made, size)
                self._making.pop(key, None)
        return made

    def _keep(self, key: Hashable, made: T, size: int) -> None:
        _, before = self._kept.pop(key, (None, 0))
        self._kept[key] = made, size
        self._total += size - before
        while self._total > self._budget and len(self._kept) > 1:
            _, (_, gone) = self._kept.popitem(last=False)
            self._total -= gone

    @property
    def total_bytes(self) -> int:
        """Of what is kept."""
        return self._total

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._kept.clear()
            self._total = 0
