"""A module with its weights in place, on a device and in a precision."""

import torch
from torch import nn

from corrcore.networks.weights import Weights


def place(model: nn.Module, weights: Weights, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The module itself, with those of the weights that it has and its own buffers on a device."""

    def placed(weight: torch.Tensor) -> torch.Tensor:
        layout = torch.channels_last if weight.ndim == 4 else torch.preserve_format
        return weight.to(device, dtype if weight.is_floating_point() else weight.dtype, memory_format=layout)

    state = model.state_dict()  # whose versions some modules ask for
    kept = {name: placed(weight) for name, weight in weights.items() if name in state}
    for name in list(state):
        if name not in kept:
            del state[name]
    state.update(kept)
    model.load_state_dict(state, strict=False, assign=True)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if not buffer.is_meta:
                setattr(module, name, placed(buffer))
    return model.requires_grad_(False)
