"""Where samples are measured: one after another here, or side by side in threads.

An executor gets the experiment as the dataclass it is, and prepares it where it measures: a cluster's workers
can do so too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from corrcore import concurrency
from corrcore.experiments.base import Experiment
from corrcore.experiments.context import Context
from corrcore.experiments.results import Outcome

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


def outcome(experiment: Experiment, sample: Any, state: Any) -> Outcome:
    """A sample's record, or why there is none; what the system refuses may pass another time."""
    try:
        return Outcome(experiment.measure(sample, state))
    except OSError as error:
        return Outcome(skipped=str(error), passing=True)
    except ValueError as error:
        return Outcome(skipped=str(error))
