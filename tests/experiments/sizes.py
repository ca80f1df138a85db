"""The smallest experiment: how large the boxes of a category's val objects are. It needs no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from corrcore.experiments import Context, Experiment, Result
from corrcore.experiments.base import subsample
from corrcore.experiments.options import option


@dataclass(frozen=True)
class Sizes(Experiment[Any, float, float, float]):
    """The mean area of boxes.

    More is not to be told of it.
    """

    dataset: str
    category: str
    power: float = option(1.0, "of the area")
    limit: int | None = None

    kind: ClassVar[str] = "sizes"
    title: ClassVar[str] = "Sizes of boxes"
    versions: ClassVar[tuple[int, ...]] = (1,)

    def provenance(self, context: Context) -> Mapping[str, Any]:
        data = context.dataset(self.dataset)
        return {"data": data.name, "data_digest": data.digest}

    def folder(self, context: Context) -> str:
        return f"{context.dataset(self.dataset).name} boxes"  # of all annotations: only headers tell them apart

    def samples(self, context: Context) -> Mapping[str, Any]:
        val = context.dataset(self.dataset).instances(self.category, "val")
        return {one.name: one for one in subsample(val, self.limit)}

    def prepare(self, context: Context) -> float:
        return self.power

    def notes(self, state: float) -> Mapping[str, Any]:
        return {"power": state}

    def note_lines(self, notes: Mapping[str, Any]) -> Sequence[str]:
        return [f"areas to the power of {notes['power']:g}"]

    def measure(self, sample: Any, state: float) -> float:
        sample.photo.load()
        width, height = sample.size
        return float(width * height) ** state

    def read_record(self, plain: Any) -> float:
        return float(plain)

    def summarise(self, result: Result[float, float]) -> float:
        return sum(result.records.values()) / len(result.records)

    def summary_rows(self, summary: float) -> Sequence[Mapping[str, str]]:
        return [{"area, px": f"{summary:.0f}"}]
