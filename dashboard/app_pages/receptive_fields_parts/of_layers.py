"""What a command of `corrcore network` measures of all layers of an index, over photos of it: kept, or made here."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from corrcore.patch_index import IndexedPhoto, PatchIndex, path_of
from corrcore.wording import counted
from dashboard.parts import result_panel
from dashboard.services import processes, sessions

Of = TypeVar("Of")


def measured(
    what: str,
    here: Callable[..., list[Of]],
    kept: Callable[[str], Of | None],
    index: PatchIndex,
    photos: Sequence[IndexedPhoto],
    *,
    key: tuple[Any, ...],
    automatic: bool,
    words: tuple[str, str, str],
) -> list[Of] | None:
    """What is `kept` of every layer, or what makes it: `here`, or ``corrcore network WHAT`` for what takes longer.

    `words` are the question, what answers it, and what the work is called.
    """
    layers = index.layers

    def command() -> list[str]:
        if index.folder != path_of(index.name):
            msg = f"{index.name} is not where commands look for indexes."
            raise ValueError(msg)
        options = [f"--index={index.name}", f"--layer={','.join(layers)}", f"--limit={len(photos)}"]
        return ["network", what, *options, "--", index.extractor]

    def read() -> list[Of] | None:
        job = sessions.long_job(key)
        if job is not None and job.result is not None:  # though it could not be kept
            return job.result
        there = [each for each in map(kept, layers) if each is not None]
        return there if len(there) == len(layers) else None

    question, answer, label = words
    return result_panel.result_panel(
        question,
        answer,
        key,
        here if automatic else processes.of_command(command, here),
        read=read,
        automatic=automatic,
        button=f"Measure over {counted(len(photos), 'photo')}",
        label=label,
    )
