"""Long work as a command in a process of its own, or here where that cannot be."""

import os
from collections.abc import Callable, Sequence

from corrcore.concurrency import Progress
from corrcore.settings import Settings
from dashboard.services import processes
from dashboard.services.processes import Limits


def of_command(command: Callable[[], Sequence[str]], here: Callable[..., object]) -> Callable[..., object]:
    """Work that runs a command, which keeps on disk what it makes; `here` does the same in this process.

    That is for what no command can say, where nothing can be kept on disk, and where the environment asks for it.
    """
    settings = Settings.from_environment()

    def work(*, progress: Progress) -> object:
        try:
            arguments = command() if settings.job_processes and _is_writable(settings) else None
        except ValueError:
            arguments = None
        if arguments is None:
            return here(progress=progress)
        limits = settings.limits
        memory = processes.default_memory() if limits.job_memory_mb is None else limits.job_memory_mb * 10**6
        return processes.run(arguments, progress=progress, limits=Limits(memory, limits.job_minutes * 60))

    return work


def _is_writable(settings: Settings) -> bool:
    there = next((each for each in (settings.cache, *settings.cache.parents) if each.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK)
