"""Gradients of numbers that a network gives by the pixels of an image."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float

from corrcore.precision import single_precision


def iter_gradients(
    pixels: Float[torch.Tensor, "1 colours height width"],
    numbers: Callable[[torch.Tensor], Iterable[Float[torch.Tensor, ""]]],
) -> Iterator[Float[np.ndarray, "colours height width"]]:
    """The gradient of each of the numbers that `numbers` makes of an image, by its pixels; it runs once for all."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = pixels.detach().clone().requires_grad_()
        found = iter(numbers(leaf.clone()))  # a copy, for modules that begin by writing into what they are given
    while True:
        with torch.inference_mode(False), torch.enable_grad():
            number = next(found, None)
            if number is None:
                return
            with single_precision(leaf.device):
                (gradient,) = torch.autograd.grad(number, leaf, retain_graph=True)
        yield gradient[0].double().cpu().numpy()


def weighted(
    grid: Float[torch.Tensor, "rows columns channels"], weights: Float[np.ndarray, " given"] | None
) -> Float[torch.Tensor, "rows columns"]:
    """Each cell's numbers summed with `weights`. Raises ValueError for weights that are not one for each channel."""
    if weights is None:
        return grid.sum(-1)
    if len(weights) != grid.shape[-1]:
        msg = f"weights must be one for each channel, {grid.shape[-1]}; got {len(weights)}."
        raise ValueError(msg)
    return grid @ torch.from_numpy(weights).to(grid.device, grid.dtype)
