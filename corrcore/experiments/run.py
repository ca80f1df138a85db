"""Runs an experiment: measures what its file does not have yet."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from corrcore.concurrency import Progress, Retold
from corrcore.experiments.base import Experiment, Result
from corrcore.experiments.context import Context
from corrcore.experiments.executors import Executor, Threads
from corrcore.experiments.results import Outcome, ResultFile, ResultStore, header_of


def run(
    experiment: Experiment,
    *,
    context: Context | None = None,
    store: ResultStore | None = None,
    executor: Executor = Threads(1),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Result:
    """Measures every sample that `store` does not have yet; without a store nothing is kept.

    What was stopped goes on where it was; what other code, photos or weights have left is measured anew. Errors of
    `Experiment.prepare` are the experiment's; a sample that cannot be measured is recorded with the reason.

    Raises ValueError for an experiment that does not fit its data, and where there is nothing to measure.
    """
    if progress is not None:
        progress = Retold(progress)
        progress(0.0, "opening data, network and results")
    context = replace(context or Context(), progress=progress)
    experiment = experiment.resolved(context)
    samples = experiment.samples(context)
    if not samples:
        msg = f"there is nothing to measure for {experiment.kind}; give at least one photo, object or seed."
        raise ValueError(msg)
    if store is None:
        file = ResultFile(experiment, None, header_of(experiment, context))
    else:
        file = store.open(experiment, context)
    keeps = store is not None and file.path is not None  # else nothing that `prepare` makes can be kept either
    context = replace(context, store=store.folder if store is not None and keeps else None)
    stamps = {name: experiment.stamp(sample) for name, sample in samples.items()}
    missing = {name: sample for name, sample in samples.items() if not file.is_measured(name, stamps[name])}
    done = len(samples) - len(missing)

    def then(name: str, found: Outcome) -> None:
        nonlocal done
        done += 1
        file.add(name, stamps[name], found)
        if progress is not None:
            progress(done / len(samples), f"{done} of {len(samples)}: {name}")

    def noted(notes: Mapping[str, Any]) -> None:
        file.ask(list(samples))
        file.note(notes)

    if missing:
        executor.measure(experiment, context, missing, noted=noted, then=then)
    else:
        file.ask(list(samples))
        if progress is not None:
            progress(1.0, f"{done} of {len(samples)}: nothing new")
    result = file.result()
    if not result.records:
        _ = result.summary  # raises, with the reason
    return result
