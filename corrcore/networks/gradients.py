"""Gradients of a cell's numbers by the pixels of an image."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int


def iter_gradients(
    pixels: Float[torch.Tensor, "1 colours height width"],
    describe: Callable[[torch.Tensor], Float[torch.Tensor, "rows columns channels"]],
    cells: Int[np.ndarray, "cells 2"],
    weights: Float[np.ndarray, " channels"] | None = None,
) -> Iterator[Float[np.ndarray, "colours height width"]]:
    """The gradient of each cell's numbers, summed with `weights`, by `pixels`; `describe` runs once for all cells.

    Raises IndexError for cells that are not there, and ValueError for weights that are not one for each channel.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = pixels.detach().clone().requires_grad_()
        grid = describe(leaf.clone())  # for modules that begin by writing into what they are given
        if weights is None:
            sums = grid.sum(-1)
        elif len(weights) != grid.shape[-1]:
            msg = f"weights must be one for each channel, {grid.shape[-1]}; got {len(weights)}."
            raise ValueError(msg)
        else:
            sums = grid @ torch.from_numpy(weights).to(grid.device, grid.dtype)
    for row, column in cells:
        with torch.inference_mode(False), torch.enable_grad():
            (gradient,) = torch.autograd.grad(sums[int(row), int(column)], leaf, retain_graph=True)
        yield gradient[0].double().cpu().numpy()
