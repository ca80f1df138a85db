"""Arrays in one safetensors file, with a manifest: written at once or not at all, checked when read."""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.writing")
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        text = json.dumps({**manifest, "digest": _digest(whole)})
        save_file(whole, temporary, metadata={"corrcore": text})
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Raises ValueError for arrays that are not those that were written."""
    try:
        with safe_open(path, framework="numpy") as file:
            manifest = json.loads((file.metadata() or {}).get("corrcore", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        msg = f"{path} is damaged or none of ours; delete it, and it is made again."
        raise ValueError(msg) from error
    if manifest.get("digest") != _digest(arrays):
        msg = f"{path} is damaged or none of ours; delete it, and it is made again."
        raise ValueError(msg)
    return arrays, manifest


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a small document at once or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.writing")
    temporary.write_text(json.dumps(dict(content), indent=1, allow_nan=False))
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """A document that `write_json` wrote; None where there is none that can be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        state.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        state.update(np.ascontiguousarray(arrays[name]).data)
    return state.hexdigest()
