"""Where a network's weights are on this machine, in which order they are looked for, and what is said where they are
not.

First a file in the folder ``CORRCORE_WEIGHTS``, then what torch and the Hugging Face hub have downloaded before, then
what comes along with this package. Nothing is downloaded here.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from corrcore.networks.weights import SUFFIXES, Weights, WeightsDamagedError, WeightsNotFoundError, read
from corrcore.settings import Settings


@dataclass(frozen=True)
class Sources:
    """What a network's weights are called wherever they may be.

    `checkpoint` is the file in torch's folder of downloads, `hub` the Hugging Face hub's repository and the files of it
    that hold them, the best one first; `embedded` comes along with this package. `fetched` is whether ``corrcore
    network fetch`` gets them. `others` are files in torch's folder that do as well where `checkpoint` is not there.
    """

    name: str
    checkpoint: str = ""
    hub: tuple[str, ...] = ()
    embedded: Path | None = None
    fetched: bool = False
    others: tuple[str, ...] = ()


def stems(name: str) -> list[str]:
    """The names that a network's file may have in the folder of weights, without their suffix.

    >>> stems("timm:vit_small_patch14_dinov2.lvd142m")[:2]
    ['timm-vit_small_patch14_dinov2.lvd142m', 'vit_small_patch14_dinov2.lvd142m']
    >>> stems("timm:vit_small_patch14_dinov2.lvd142m")[2:]
    ['timm-vit_small_patch14_dinov2', 'vit_small_patch14_dinov2', 'dinov2-s']
    """
    from corrcore.networks.registry import aliases

    family, colon, inner = name.partition(":")
    if not colon:
        return [name]
    found = []
    for each in (inner, inner.partition(".")[0]):  # timm's names end with what the weights have learnt from
        found += [f"{family}-{each}", each]
    return list(dict.fromkeys([*found, *(alias for alias, full in aliases().items() if full == name)]))


def locate(sources: Sources) -> Path | None:
    """The file that a network's weights are read from; None where there is none."""
    return next(_places(sources), None)


def may_be_here(name: str) -> bool:
    """Whether any file on this machine could be a network's: told without its library, whose import takes a second."""
    hub = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface"), "hub")
    folders = checkpoint_path("").expanduser(), Path(hub).expanduser()
    return bool(_own(name)) or any(folder.is_dir() and any(folder.iterdir()) for folder in folders)


def find(sources: Sources) -> tuple[Weights, Path]:
    """A network's weights and the file they are from, the first that is there.

    A damaged download is said in a RuntimeWarning where embedded weights can take its place. Raises WeightsDamagedError
    where they cannot, and WeightsNotFoundError where there is nothing.
    """
    path = locate(sources)
    if path is None:
        raise WeightsNotFoundError(how_to_get(f"the weights of {sources.name}", sources))
    try:
        return read(path), path
    except WeightsDamagedError as error:
        if sources.embedded is None or path in _own(sources.name):
            raise
        warnings.warn(f"{error} Until then the embedded weights are used.", RuntimeWarning, stacklevel=2)
    return read(sources.embedded), sources.embedded


def download(sources: Sources, fetch: Callable[[], object]) -> Path:
    """Downloads a network's weights by the library's own loader, `fetch`, and says where they are then.

    Raises WeightsNotFoundError where that fails.
    """
    try:
        fetch()
    except Exception as error:  # loaders raise whatever the libraries below them do
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        msg = (
            f"the weights of {sources.name} could not be downloaded ({reason}); try again later, or put "
            f"{file_for(sources.name)} in the folder CORRCORE_WEIGHTS."
        )
        raise WeightsNotFoundError(msg) from error
    path = next(_downloads(sources), None)
    if path is None:
        msg = f"the weights of {sources.name} were downloaded to where they are not looked for; give their file."
        raise WeightsNotFoundError(msg)
    return path


def _places(sources: Sources) -> Iterator[Path]:
    yield from _own(sources.name)
    yield from _downloads(sources)
    if sources.embedded is not None:
        yield sources.embedded


def _downloads(sources: Sources) -> Iterator[Path]:
    for checkpoint in (sources.checkpoint, *sources.others):
        if checkpoint and (downloaded := checkpoint_path(checkpoint)).is_file():
            yield downloaded
    if sources.hub and (cached := _in_hub_cache(sources.hub[0], sources.hub[1:])):
        yield cached


def _own(name: str) -> list[Path]:
    """A network's files in the folder of weights."""
    folder = Settings.from_environment().weights
    if folder is None:
        return []
    paths = (folder / f"{stem}{suffix}" for stem in stems(name) for suffix in SUFFIXES)
    return [path for path in paths if path.is_file()]


def checkpoint_path(checkpoint: str) -> Path:
    """Where torch keeps what torchvision has downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / checkpoint


def _in_hub_cache(repository: str, files: Sequence[str]) -> Path | None:
    """A file that the Hugging Face hub's own library has downloaded before."""
    try:
        from huggingface_hub import try_to_load_from_cache  # only here: it comes with timm, which is an extra
    except ImportError:
        return None
    cached = (try_to_load_from_cache(repository, file) for file in files)
    return next((Path(path) for path in cached if isinstance(path, str)), None)


def fetch_command(name: str) -> str:
    """What downloads a network's weights on the command line, where its library has them."""
    return f"corrcore network fetch {name}"


def file_for(name: str) -> str:
    """The file that a network's weights may be put into, in the folder of weights; .pth is as good."""
    return f"{stems(name)[0]}.safetensors"


def folder_text() -> str:
    """The folder of weights in words, and where it is."""
    folder = Settings.from_environment().weights
    return f"the folder CORRCORE_WEIGHTS ({'not set' if folder is None else folder})"


def how_to_get(what: str, sources: Sources) -> str:
    """A sentence that says that `what` is not here, and how to get it."""
    put = f"put {file_for(sources.name)} (or .pth) in {folder_text()}"
    if not sources.fetched:
        return f"{what} are not on this machine; give a file of weights, or {put}."
    of = sources.hub[0] if sources.hub else sources.checkpoint
    return f"{what} ({of}) are not on this machine; `{fetch_command(sources.name)}` downloads them, or {put}."
