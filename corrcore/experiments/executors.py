"""Where samples are measured: one after another here, side by side in threads, or on the workers of a cluster.

An executor gets the experiment as the dataclass it is, and prepares it where it measures.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from corrcore import concurrency
from corrcore.cluster import Cluster
from corrcore.concurrency import Progress, Retold
from corrcore.experiments.base import Experiment
from corrcore.experiments.context import Context
from corrcore.experiments.results import Outcome, ResultStore

Then = Callable[[str, Outcome], None]
Noted = Callable[[Mapping[str, Any]], None]


@runtime_checkable
class Executor(Protocol):
    """Prepares an experiment once per worker, measures samples, and hands over each outcome, in any order."""

    def measure(
        self, experiment: Experiment, context: Context, samples: Mapping[str, Any], *, noted: Noted, then: Then
    ) -> None:
        """`noted` is told what `prepare` chose, `then` what became of each sample."""
        ...


@dataclass(frozen=True)
class Threads:
    """Measures `n` samples side by side in this process; one by default, which leaves the threads to each task."""

    n: int = 1

    def measure(
        self, experiment: Experiment, context: Context, samples: Mapping[str, Any], *, noted: Noted, then: Then
    ) -> None:
        """See `Executor.measure`; outcomes come in the samples' order."""
        state = experiment.prepare(context)
        noted(experiment.notes(state))

        def work(item: tuple[str, Any]) -> tuple[str, Outcome]:
            return item[0], outcome(experiment, item[1], state)

        concurrency.map_in_order(work, list(samples.items()), lambda found: then(*found), n_threads=self.n)


@dataclass(frozen=True)
class RayActors:
    """Measures on `n` workers of a Ray cluster, each with `gpus` of a GPU; see `Cluster`.

    What a worker needs travels there with the context, and everything that is measured comes back here, where it is
    kept. Photos, indexes, the folder of results and the cache folder lie on all machines under the same paths.
    """

    n: int | None = None
    gpus: float = 0.0
    address: str | None = None

    def measure(
        self, experiment: Experiment, context: Context, samples: Mapping[str, Any], *, noted: Noted, then: Then
    ) -> None:
        """See `Executor.measure`; raises as `Cluster.map` does. What workers have begun when it ends is dropped."""
        if context.store is not None:
            self._run_parts(experiment, context)
        told: list[Mapping[str, Any]] = []

        def take(name: str, found: tuple[Mapping[str, Any], Outcome]) -> None:
            notes, outcome = found
            if not told:
                told.append(notes)
                noted(notes)
            then(name, outcome)

        Cluster(self.address, self.n, self.gpus).map(
            _Preparing(experiment, context, experiment.settings()),
            _measure,
            samples,
            take,
            progress=context.progress if isinstance(context.progress, Retold) else None,
            one_first=context.store is not None,
        )

    def _run_parts(self, experiment: Experiment, context: Context) -> None:
        """On all workers, so that none is alone with them in `prepare`."""
        from corrcore.experiments.run import run  # which imports this module

        for what, part in experiment.parts().items():
            report = concurrency.part(context.progress, 0, 1, f"{what}: ")
            run(part, context=context, store=ResultStore(context.store), executor=self, progress=report)


def executor_on(cluster: Cluster | None, *, n_threads: int = 1) -> Executor:
    """On a cluster's workers, or in threads of this process where there is none."""
    if cluster is None:
        return Threads(n_threads)
    return RayActors(cluster.workers, cluster.gpus, cluster.address)


@dataclass(frozen=True)
class _Preparing:
    """What makes a worker's state."""

    experiment: Experiment
    context: Context
    settings: Mapping[str, Any]

    def __call__(self, progress: Progress) -> tuple[Experiment, Any]:
        if self.experiment.settings() != self.settings:
            msg = f"{socket.gethostname()} has another version of corrcore; install the same on all machines."
            raise ValueError(msg)
        return self.experiment, self.experiment.prepare(replace(self.context, progress=progress))


def _measure(state: tuple[Experiment, Any], sample: Any) -> tuple[Mapping[str, Any], Outcome]:
    """What `prepare` chose, and what became of a sample."""
    experiment, prepared = state
    return experiment.notes(prepared), outcome(experiment, sample, prepared)


def outcome(experiment: Experiment, sample: Any, state: Any) -> Outcome:
    """A sample's record, or why there is none; what the system refuses may pass another time."""
    try:
        return Outcome(experiment.measure(sample, state))
    except OSError as error:
        return Outcome(skipped=str(error), passing=True)
    except ValueError as error:
        return Outcome(skipped=str(error))
