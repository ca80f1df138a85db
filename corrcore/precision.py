"""Single precision that is single precision on every device."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOCK = threading.Lock()
_INSIDE: list[bool] = []  # one for everybody within `single_precision`: what torch's switch was before the first


@contextmanager
def single_precision(device: torch.device) -> Iterator[None]:
    """Within, a CUDA device convolves float32 as float32, and not as TF32, whose products have three digits.

    Torch has one switch for all threads. It stays off until the last one within has left, and then is what it was.
    Where TF32 is asked for by torch's newer names for it, operator by operator, that is left alone.
    """
    if device.type != "cuda":
        yield
        return
    with _LOCK:
        try:
            _INSIDE.append(_INSIDE[0] if _INSIDE else torch.backends.cudnn.allow_tf32)
        except RuntimeError:  # the newer names are in use, and torch refuses to mix them with the older
            _INSIDE.append(False)
        else:
            torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        with _LOCK:
            before = _INSIDE.pop()
            if before and not _INSIDE:
                torch.backends.cudnn.allow_tf32 = True
