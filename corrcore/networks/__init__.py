"""Networks that turn an image into grids of descriptors."""

from corrcore.networks.convolutional import (
    ARCHITECTURES,
    EMBEDDED_WEIGHTS,
    Architecture,
    Backbone,
    Image,
    Step,
    WeightsNotFoundError,
    load,
)

__all__ = [
    "ARCHITECTURES",
    "EMBEDDED_WEIGHTS",
    "Architecture",
    "Backbone",
    "Image",
    "Step",
    "WeightsNotFoundError",
    "load",
]
