"""Makes the kept pictures from the drawings they are of."""

from pathlib import Path

from corrcore import images
from corrcore.datasets import toy
from corrcore.datasets.drawn import QUALITY, to_search, unseen
from corrcore.datasets.records import Instance


def instance_of(name: str) -> Instance:
    """The object of the toy data set that a kept picture shows."""
    _, kind, split, number = name.split("-")
    data = toy.load(n_train=int(number) + 1, n_val=int(number) + 1)
    return data.instances(f"toy {kind}", split)[int(number)]


def write(folder: Path) -> None:
    """Draws all animals and keeps them in a folder, in place of those that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*to_search(), *unseen()):
        picture = images.encode(instance_of(name).photo.load(), format="WEBP", quality=QUALITY)
        (folder / f"{name}.webp").write_bytes(picture)
