"""What a tensor inside a network sees of the image, and an operation between such tensors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from corrcore.geometry import ReceptiveField


@dataclass(frozen=True)
class Grid:
    """A tensor with a cell per place. `y` and `x` are its dimensions of rows and columns.

    Where both are one, as transformers' tokens are, `y` equals `x`, and `before` and `after` are the tokens there that
    have no place, such as a class token.
    """

    rows: int
    columns: int
    down: ReceptiveField
    across: ReceptiveField
    y: int
    x: int
    before: int = 0
    after: int = 0

    @property
    def tokens(self) -> bool:
        """Whether rows and columns are one dimension."""
        return self.y == self.x

    @property
    def dims(self) -> set[int]:
        """The dimensions that places lie along."""
        return {self.y, self.x}

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """That of its cells; None where it differs from axis to axis."""
        return self.down if self.down == self.across else None

    def moved(self, dims: Callable[[int], int]) -> "Grid":
        """The same where dimensions have other numbers."""
        return replace(self, y=dims(self.y), x=dims(self.x))

    def whole(self) -> "Grid":
        """The same cells, each of which sees the whole image."""
        return replace(self, down=replace(self.down, size=None), across=replace(self.across, size=None))


@dataclass(frozen=True)
class Pooled:
    """A tensor that depends on the whole image and has no places."""


@dataclass(frozen=True)
class Unknown:
    """A tensor that depends on the image in a way that has no rule here: that of an operation, by its name."""

    operation: str


Seen = Grid | Pooled | Unknown


class Call:
    """One operation: its arguments by the names of its schema, its outputs, and what its inputs see."""

    def __init__(
        self, func: Any, args: Any, kwargs: Any, outputs: list[torch.Tensor], of: Callable[[Any], "Seen | None"]
    ) -> None:
        self.func, self.outputs, self.of = func, outputs, of
        self.arguments = {each.name: each.default_value for each in func._schema.arguments}
        self.arguments |= dict(zip(self.arguments, args, strict=False)) | kwargs
        self.inputs = [each for each in flat([*args, *kwargs.values()]) if isinstance(each, torch.Tensor)]
        self.seen = [seen for each in self.inputs if (seen := of(each)) is not None]

    def __getitem__(self, name: str) -> Any:
        """An argument by its name."""
        return self.arguments[name]

    @property
    def first(self) -> torch.Tensor:
        """The first input."""
        return self.inputs[0]

    @property
    def grid(self) -> Grid:
        """What the first input sees; only asked where that is a grid."""
        seen = self.of(self.first)
        if not isinstance(seen, Grid):
            raise TypeError(self.func)
        return seen


def flat(value: Any) -> Iterator[Any]:
    """What is in lists and tuples, in lists of lists too."""
    if isinstance(value, (tuple, list)):
        for inner in value:
            yield from flat(inner)
    else:
        yield value
