"""The networks in memory: those used last, up to a number of bytes per device. Knows no torch, for Home needs none."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:  # which brings torch along
    from corrcore.features import Extractor

BUDGET_BYTES = 10**9  # per device


@dataclass(frozen=True)
class Held:
    """A network in memory: how large its weights are, and where."""

    name: str
    n_bytes: int
    device: str


class KeptNetworks:
    """Networks by name, opened once for all threads; per device, the least recently used are let go beyond a budget.

    The one that was asked for last is kept however large it is. A network that does not say how large it is counts as
    nothing.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self.budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._opening: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, Extractor] = OrderedDict()

    def get(self, name: str, make: "Callable[[], Extractor]") -> "Extractor":
        """The network of a name; `make` opens it where it is not in memory. Raises what that does."""
        with self._lock:
            opening = self._opening.setdefault(name, threading.Lock())
        with opening:  # whoever asks meanwhile waits for the same one
            with self._lock:
                if name in self._kept:
                    self._kept.move_to_end(name)
                    return self._kept[name]
            made = make()
            with self._lock:
                self._kept[name] = made
                self._let_go(str(made.device))
            return made

    def __contains__(self, name: str) -> bool:
        with self._lock:
            return name in self._kept

    def held(self) -> list[Held]:
        """What is in memory, the one that was asked for last first."""
        with self._lock:
            return [Held(name, _n_bytes(each), str(each.device)) for name, each in reversed(self._kept.items())]

    def clear(self) -> None:
        """Let all go."""
        with self._lock:
            self._kept.clear()

    def _let_go(self, device: str) -> None:
        there = [name for name, each in self._kept.items() if str(each.device) == device]
        total = sum(_n_bytes(self._kept[name]) for name in there)
        for name in there[:-1]:
            if total <= self.budget_bytes:
                return
            total -= _n_bytes(self._kept.pop(name))


def _n_bytes(network: "Extractor") -> int:
    return getattr(network, "n_bytes", 0)


@st.cache_resource(max_entries=1, show_spinner=False)
def kept_networks() -> KeptNetworks:
    """Those of all sessions."""
    return KeptNetworks()
