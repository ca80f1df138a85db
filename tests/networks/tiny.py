"""A network that takes no time: kernels of even and odd sizes, padded and not, and a layer of the whole image."""

from pathlib import Path

import torch
from torch import nn

from corrcore.features import Roles
from corrcore.networks import ModuleSpec

NAME = "tiny"


def build() -> nn.Module:
    """The module; its weights are those of torch's generator."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 4, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)),
    )


def weights() -> dict[str, torch.Tensor]:
    """Some, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(build().state_dict())


def spec(embedded: Path | None = None) -> ModuleSpec:
    """The one entry that such a network takes."""
    return ModuleSpec(
        NAME,
        build,
        layers={"first": "1", "pooled": "2", "second": "4"},
        roles=Roles(("first", "second"), "second", ("first", "second"), "second", "second", "pooled"),
        embedded=embedded,
        global_layers={"whole": "7"},
        global_size=40,
        mean=(0.5, 0.5, 0.5),
    )
