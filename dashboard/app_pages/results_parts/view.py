"""What is shown: results of one experiment as one table, its numbers by row and category."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from corrcore.experiments import ALPHAS, Classification, KeypointTable, Result, Row
from corrcore.metrics import Average, Estimate, mean_of
from dashboard import figures
from dashboard.app_pages.results_parts import kinds, paper
from dashboard.app_pages.results_parts.source import Source
from dashboard.services import caches

MEAN = "mean"
AVERAGES: dict[str, Average] = {"per keypoint type": "macro", "per image": "per_image"}
AVERAGES_OF_PAIRS: dict[str, Average] = {"per point": "micro", "per image": "per_image"}


def network_of(result: Result) -> str:
    """The network whose layers were asked."""
    return getattr(result.experiment, "network", "")


def weights_of(result: Result) -> str:
    """The digest of that network's weights."""
    return str(result.provenance.get("extractors", {}).get(network_of(result), ""))


@dataclass(frozen=True, eq=False)
class Entry:
    """A result that is a table, and its file."""

    path: Path
    result: Result
    table: KeypointTable

    @property
    def file(self) -> str:
        """Its folder and name in the store."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def network(self) -> str:
        """The network whose layers were asked."""
        return network_of(self.result)

    @property
    def weights(self) -> str:
        """The digest of the network's weights."""
        return weights_of(self.result)

    @property
    def is_of_pairs(self) -> bool:
        """Whether its objects are pairs of photos."""
        return self.table.partners is not None

    @property
    def averages(self) -> dict[str, Average]:
        """What PCK is averaged over."""
        return AVERAGES_OF_PAIRS if self.is_of_pairs else AVERAGES

    @property
    def measures_places(self) -> bool:
        """Whether keypoints have places, which are right within an alpha; else they are only named."""
        return self.table.boxes is not None


@dataclass(frozen=True, eq=False)
class View:
    """Results by category, measured alike on one data set by one network; `alpha` and `over` where places are
    measured.
    """

    kind: kinds.Kind
    entries: Mapping[str, Entry]
    source: Source
    how: str
    alpha: float | None
    over: Average | None

    @property
    def first(self) -> Entry:
        """One of them, for what all have in common."""
        return next(iter(self.entries.values()))

    @property
    def tables(self) -> Mapping[str, KeypointTable]:
        """The tables by category."""
        return {category: entry.table for category, entry in self.entries.items()}

    @property
    def network(self) -> str:
        """The network whose layers were asked."""
        return self.first.network

    @property
    def options(self) -> dict[str, Any]:
        """What tables are asked with."""
        return {} if self.alpha is None else {"alpha": self.alpha, "over": self.over}

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every row that some category has."""
        return tuple(dict.fromkeys(row for table in self.tables.values() for row in table.rows))

    @property
    def columns(self) -> tuple[str, ...]:
        """Categories, and their mean where there are several."""
        return (*self.entries, MEAN) if len(self.entries) > 1 else tuple(self.entries)

    @cached_property
    def estimates(self) -> Mapping[tuple[Row, str], Estimate]:
        """The numbers by row and column; the mean is of rows that every category has."""
        found = {
            (row, category): table.accuracy(row, **self.options)
            for category, table in self.tables.items()
            for row in table.rows
        }
        for row in self.rows if len(self.entries) > 1 else ():
            if all((row, category) in found for category in self.entries):
                each = [found[row, category] for category in self.entries]
                found[row, MEAN] = mean_of(each, rng=np.random.default_rng(0))
        return found

    @property
    def styles(self) -> dict[str, figures.RowStyle]:
        """How charts draw rows, by their titles."""
        known = tuple(row.feature.layer for row in self.rows if row.feature is not None)
        layers = caches.layers_of(self.network) or known
        return {row.title: figures.row_style(row, layers) for row in self.rows}

    def extent(self, category: str) -> tuple[int, int]:
        """How many val objects, or pairs, a category's table is of, and how many there are, as far as that is known."""
        entry = self.entries[category]
        n = len(entry.table.objects)
        if entry.is_of_pairs:
            return n, max(n, entry.result.asked)
        asked = entry.result.asked if entry.measures_places else n
        return n, len(self.source.val(category)) or max(n, asked)

    def heading(self, column: str) -> str:
        """A column's heading, which says so where a category is there in part only."""
        if column not in self.entries:
            parts = sum(n < of for n, of in map(self.extent, self.entries))
            return f"{column} ({parts} in part)" if parts else column
        n, of = self.extent(column)
        return column if n >= of else f"{column} ({n} of {of})"

    @property
    def _in_print(self) -> dict[str, str]:
        return {"data": str(self.first.result.provenance.get("data", "")), "network": self.network}

    def published(self, row: Row, column: str) -> float | None:
        """The published number, where it is one of the same kind; its mean is over the categories that are here."""
        if self.over == "per_image" or self.alpha not in (None, ALPHAS[0]):
            return None
        asked = self.entries if column == MEAN else [column]
        numbers = [paper.number(self.kind.kind, row, each, **self._in_print) for each in asked]
        known = [number for number in numbers if number is not None]
        return float(np.mean(known)) if known and len(known) == len(numbers) else None

    @property
    def has_published(self) -> bool:
        """Whether any number has a published one beside it."""
        return any(self.published(row, column) is not None for row in self.rows for column in self.columns)

    @property
    def published_means(self) -> Mapping[Row, float]:
        """Where only means over all of the paper's categories are in print: these."""
        if self.kind.kind != "transfer" or self.over != "macro" or self.alpha is None:
            return {}
        return paper.transfer_means(self.alpha, **self._in_print)

    def digits(self, column: str) -> int:
        """How many a published number has; means over the categories here have one digit more than Table 3."""
        return 0 if issubclass(self.kind, Classification) and column != MEAN else 1

    @property
    def usual_rows(self) -> tuple[Row, ...]:
        """Those to begin with: in print, else features with the prior of one object or none, and what is not
        aligned.
        """
        printed = [row for row in self.rows if paper.has_row(self.kind.kind, row, **self._in_print)]
        plain = [row for row in self.rows if (row.feature or not row.priors) and row.priors <= 1 and not row.refined]
        return tuple(printed or plain or self.rows)

    @property
    def average(self) -> str:
        """How PCK is averaged, in words; empty where nothing was chosen."""
        return next((title for title, over in self.first.averages.items() if over == self.over), "")

    @property
    def metric(self) -> str:
        """What the numbers are."""
        return "Accuracy, %" if self.alpha is None else f"PCK at α = {self.alpha}, {self.average}, %"

    @property
    def file(self) -> str:
        """What files to take along are called: by the table, and how it was measured."""
        measured_at = "" if self.alpha is None else f"alpha {self.alpha} {self.average}, "
        how = re.sub(r"[^0-9a-zA-Z., +-]", "", measured_at + self.how)
        name = f"table {self.kind.number} {self.kind.kind}" if self.kind.number else self.kind.kind
        return f"{name}, {how}"

    @property
    def highest(self) -> float:
        """The end of the colours: the next ten above the highest number."""
        return float(max(np.ceil(max(each.value for each in self.estimates.values()) / 10) * 10, 10))
