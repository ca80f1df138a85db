"""What must be known of a torch module to ask its layers, and how it is opened."""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from corrcore.features import Roles
from corrcore.networks.fitting import Adapt, Build, fitted
from corrcore.networks.identify import like
from corrcore.networks.lookup import Sources, find
from corrcore.networks.overlapping import overlapped
from corrcore.networks.weights import Weights, read
from corrcore.settings import prepared_path

if TYPE_CHECKING:
    from corrcore.networks.module import ModuleNetwork

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModuleSpec:
    """What must be known of a torch module to ask its layers.

    `build` makes it, with any weights. `layers` and `global_layers` map names shown to people to the submodules whose
    first output they are: `layers` are grids, by depth, found by rule where none are given; `global_layers` (fully
    connected ones) describe a whole image squeezed to `global_size` pixels a side. `roles` are by depth unless given.
    Pixels, 0-1 RGB, are normalised by `mean` and `std`. `embedded` is a file with the weights of all `layers`;
    `checkpoint` is torchvision's download with everything, `others` are downloads that do as well, `hub` is a
    repository of the Hugging Face hub and its files (see `lookup.Sources`); `fetch` downloads the first. `adapt` takes
    weights that do not fit (see `fitting.Adapt`). `grid_stride` is that of a grid which is `finer` than the network's.
    `train_px` is the side of the images that it was trained on (see `ReceptiveField.balanced`).
    """

    name: str
    build: Callable[[], nn.Module]
    layers: Mapping[str, str] | None = None
    roles: Roles | None = None
    checkpoint: str = ""
    embedded: Path | None = None
    global_layers: Mapping[str, str] = field(default_factory=dict)
    global_size: int = 224
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    hub: tuple[str, ...] = ()
    fetch: Callable[[], object] | None = None
    adapt: Adapt | None = None
    grid_stride: int | None = None
    others: tuple[str, ...] = ()
    train_px: int | None = None

    @property
    def sources(self) -> Sources:
        """Where its weights may be."""
        return Sources(self.plain_name, self.checkpoint, self.hub, self.embedded, self.fetch is not None, self.others)

    @property
    def plain_name(self) -> str:
        """The name without the grid's stride."""
        return self.name.removesuffix(f"@{self.grid_stride}")

    @property
    def builder(self) -> Build:
        """What makes the module that is asked: that of `build`, with overlapping patches where the grid is finer."""
        if self.grid_stride is None:
            return self.build
        return functools.partial(overlapped, self.build, self.grid_stride, name=self.plain_name)

    def finer(self, grid_stride: int) -> "ModuleSpec":
        """The same vision transformer with a cell every `grid_stride` pixels: see `corrcore.networks.overlapping`.

        Its name says so: "dinov2-s@7". Opening it raises ValueError where the network has no such grid.
        """
        return replace(self, name=f"{self.plain_name}@{grid_stride}", grid_stride=grid_stride)

    def open(
        self,
        *,
        weights: Weights | str | os.PathLike | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> "ModuleNetwork":
        """The network with `weights`, by default those `corrcore.networks.lookup.find` finds on this machine.

        Names may begin otherwise than the module's (see `corrcore.networks.fitting`). Raises ValueError for weights of
        another network, which is named where it is a known one.
        """
        from corrcore.networks.module import ModuleNetwork  # which says of itself that it is made of a specification

        path = None
        if weights is None:
            weights, path = find(self.sources)
        elif isinstance(weights, (str, os.PathLike)):
            path = prepared_path(weights)
            weights = read(path)
        if path is not None and path == self.embedded:
            return ModuleNetwork(self, weights, device=device, dtype=dtype)
        found, build = fitted(weights, self.name, self.build, layers=self.layers, adapt=self.adapt)
        if not found.ok:
            other = like(weights, self.plain_name)
            remedy = f"; the weights fit {other}." if other else ". Give weights of this network."
            msg = f"{'' if path is None else f'{path}: '}{found.wrong()}{remedy}"
            raise ValueError(msg)
        spec = self if build is self.build else replace(self, build=build)
        return ModuleNetwork(spec, found.weights, device=device, dtype=dtype)
