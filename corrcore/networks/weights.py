"""Where a network's weights are found on this machine, and what is said where they are not."""

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from corrcore.settings import Settings

Weights = Mapping[str, torch.Tensor]
"""Tensors by the names that the network's module gives its parameters."""

EMBEDDED = Path(__file__).parent / "embedded"


class WeightsNotFoundError(FileNotFoundError):
    """A network's weights are not on this machine. The text says where we looked and how to get them."""


class WeightsDamagedError(OSError):
    """A file of weights cannot be read. The text names it and says how to mend it."""


def find(name: str, *, checkpoint: str = "", embedded: Path | None = None) -> Weights:
    """A network's weights: ``NAME.safetensors`` in the folder ``CORRCORE_WEIGHTS``, else torchvision's checkpoint where it
    was downloaded, else those embedded with this package.

    A damaged checkpoint is said in a RuntimeWarning where embedded weights can take its place. Raises WeightsDamagedError
    where they cannot, and WeightsNotFoundError where there is nothing.
    """
    folder = Settings.from_environment().weights
    if folder is not None and (own := folder / f"{name}.safetensors").is_file():
        return read(own)
    downloaded = checkpoint_path(checkpoint)
    if checkpoint and downloaded.is_file():
        try:
            return read(downloaded)
        except WeightsDamagedError as error:
            if embedded is None:
                raise
            warnings.warn(f"{error} Until then the embedded weights are used.", RuntimeWarning, stacklevel=2)
    if embedded is not None:
        return read(embedded)
    raise WeightsNotFoundError(how_to_get(name, f"the weights of {name}", checkpoint))


def read(path: Path) -> Weights:
    """The tensors in a ``.safetensors`` file, or in a checkpoint of torch; no other code in it is run.

    Raises WeightsNotFoundError and WeightsDamagedError.
    """
    if not path.is_file():
        msg = f"there is no file of weights {path}; give the path of a .safetensors file or a torch checkpoint."
        raise WeightsNotFoundError(msg)
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    except PermissionError as error:
        msg = f"the weights in {path} may not be read by this user; make the file readable."
        raise WeightsDamagedError(msg) from error
    except (SafetensorError, OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        msg = f"the weights in {path} cannot be read, they are damaged or cut short; delete the file and get it again."
        raise WeightsDamagedError(msg) from error
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        msg = f"{path} holds no weights by name; give a file of a network's state."
        raise WeightsDamagedError(msg)
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in found.items()}


def _read_checkpoint(path: Path) -> object:
    return torch.load(path, map_location="cpu", weights_only=True)


def checkpoint_path(checkpoint: str) -> Path:
    """Where torch keeps what torchvision has downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / checkpoint


def how_to_get(name: str, what: str, checkpoint: str) -> str:
    """A sentence that says where `what` was looked for, and how to get it."""
    if not checkpoint:
        return f"{what} are not on this machine; give a file of weights, or put {name}.safetensors in CORRCORE_WEIGHTS."
    return (
        f"{what} need torchvision's checkpoint {checkpoint_path(checkpoint)}, which is not there; get it on a machine "
        f"with a network by `python -c \"import torchvision; torchvision.models.get_model('{name}', "
        f"weights='DEFAULT')\"`, or put {name}.safetensors in the folder that CORRCORE_WEIGHTS names."
    )


def digest(prefix: str, weights: Weights) -> str:
    """A name for weights and what goes with them, the same on every machine."""
    state = hashlib.blake2b(prefix.encode(), digest_size=16)
    for name in sorted(weights):
        state.update(f"{name} {tuple(weights[name].shape)} {weights[name].dtype}".encode())
        state.update(weights[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
