"""Tables that a Ray cluster holds: shards of rows in actors, searched side by side and merged.

Actors map the tables' files, so every machine has to see these under the same paths; with a share of a GPU, an actor
copies the rows that it searches there. An actor that is lost, with its process or its machine, is begun anew wherever
there is room, and what it was asked is asked again: of a replica, if there is one.
"""

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from corrcore.engines.knn.held import Arrays, SearchCluster
from corrcore.engines.knn.shards import Question, merged, questions, starts_of
from corrcore.engines.knn.table import DescriptorTable, Neighbours
from corrcore.workers import Waiting

_LOOK_S = 0.1  # between two looks at whether a search is to stop
_TRIES = 3  # of one shard of one search whose actors end


def hold(where: SearchCluster, tables: Mapping[str, Arrays], *, title: str) -> dict[str, "ShardedTable"]:
    """The tables by name, in actors, from this process, which joins the cluster; messages call them `title`.

    Raises as `Cluster.join` does, and ValueError where the cluster has fewer workers than there are replicas.
    """
    where.cluster.join()
    n_workers = where.cluster.n_workers()
    if n_workers < where.replicas:
        msg = f"replicas must be at most {n_workers} (workers of the cluster); got {where.replicas}."
        raise ValueError(msg)
    n_shards = n_workers // where.replicas
    starts = {name: starts_of(len(arrays[0]), n_shards) for name, arrays in tables.items()}
    shards: list[dict[str, DescriptorTable]] = [{} for _ in range(n_shards)]
    for name, arrays in tables.items():
        for shard, (start, stop) in zip(shards, pairwise(starts[name]), strict=True):
            shard[name] = DescriptorTable(*(array[start:stop] for array in arrays))
    actors = _Actors(shards, where, title)
    return {name: ShardedTable(actors, name, starts[name]) for name in tables}


class ShardedTable:
    """A table that actors hold, as the process sees it that is in their cluster."""

    def __init__(self, actors: "_Actors", name: str, starts: Sequence[int]) -> None:
        self._actors, self._name, self._starts = actors, name, starts

    def search(
        self,
        queries: Float64[np.ndarray, "queries channels"],
        k: int,
        excluded: Sequence[tuple[int, int]],
        told: Callable[[float], None],
    ) -> Neighbours:
        """What `DescriptorTable.search` finds. Raises as `HeldTable.search` does."""
        found = self._actors.search(self._name, queries, questions(self._starts, k, excluded), told)
        return merged(self._starts, found, k)


@dataclass(eq=False)
class _Actor:
    """An actor: the machine it was sent to, what answers once it is there, and which searches wait for it."""

    shard: int
    place: str | None
    handle: Any
    here: Any
    begun: float = field(default_factory=time.monotonic)
    waiting: set[int] = field(default_factory=set)


class _Actors:
    """The replicas of every shard."""

    def __init__(self, shards: Sequence[Mapping[str, DescriptorTable]], where: SearchCluster, title: str) -> None:
        import ray

        self._ray: Any = ray
        self._title, self._shards = title, shards
        self._gpus, self._room_s = where.cluster.gpus, where.room_s
        # No processor is set aside for an actor, which waits most of the time: other work has them meanwhile.
        kind = self._ray.remote(num_cpus=0, num_gpus=self._gpus, max_restarts=0, concurrency_groups={"beside": 1})
        self._kind = kind(_Holder)
        self._numbers, self._lock = itertools.count(), threading.Lock()
        self._replicas: list[list[_Actor]] = [[] for _ in shards]
        for shard in range(len(shards)):
            for _ in range(where.replicas):
                self._begin(shard)

    def search(
        self,
        name: str,
        queries: Float64[np.ndarray, "queries channels"],
        todo: Sequence[Question],
        told: Callable[[float], None],
    ) -> list[tuple[int, Neighbours]]:
        """The number and the findings of every shard that is asked."""
        number, sent = next(self._numbers), self._ray.put(queries)
        waiting: dict[Any, tuple[_Actor, Question]] = {}
        found: list[tuple[int, Neighbours]] = []
        ended: Counter[int] = Counter()

        def ask(question: Question) -> None:
            actor = self._choose(question.shard, number)
            waiting[actor.handle.search.remote(number, name, sent, question)] = actor, question

        try:
            for question in todo:
                ask(question)
            while waiting:
                told(len(found) / len(todo))
                for call in self._ray.wait(list(waiting), timeout=_LOOK_S)[0]:
                    actor, question = waiting.pop(call)
                    actor.waiting.discard(number)
                    try:
                        found.append((question.shard, self._ray.get(call)))
                    except self._ray.exceptions.RayTaskError as error:
                        raise error.cause from None
                    except self._ray.exceptions.RayError as error:
                        ended[question.shard] += 1
                        self._replace(actor, ended[question.shard], error)
                        ask(question)
                self._check_room(actor for actor, _ in waiting.values())
        finally:
            for actor, _ in waiting.values():
                actor.waiting.discard(number)
                actor.handle.give_up.options(concurrency_group="beside").remote(number)
        told(1.0)
        return found

    def _begin(self, shard: int) -> None:
        """One more actor for a shard, asked for on a machine that has as few of this shard, and of all, as there is.

        Ray may put it elsewhere, as where that machine has just joined.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        needed = "GPU" if self._gpus else "CPU"
        machines = [each["NodeID"] for each in self._ray.nodes() if each["Alive"] and each["Resources"].get(needed)]
        own = [each.place for each in self._replicas[shard]]
        all_ = [each.place for replicas in self._replicas for each in replicas]
        place = min(machines, key=lambda machine: (own.count(machine), all_.count(machine)), default=None)
        strategy = "DEFAULT" if place is None else NodeAffinitySchedulingStrategy(place, soft=True)
        handle = self._kind.options(scheduling_strategy=strategy).remote(self._shards[shard], gpu=self._gpus > 0)
        here = handle.here.options(concurrency_group="beside").remote()
        self._replicas[shard].append(_Actor(shard, place, handle, here))

    def _choose(self, shard: int, number: int) -> _Actor:
        """The replica that is there and for which the fewest searches wait."""
        with self._lock:
            actor = min(self._replicas[shard], key=lambda each: (not self._is_here(each), len(each.waiting)))
            actor.waiting.add(number)
            return actor

    def _is_here(self, actor: _Actor) -> bool:
        return bool(self._ray.wait([actor.here], timeout=0)[0])

    def _replace(self, actor: _Actor, times: int, error: Exception) -> None:
        """Begins an actor anew, unless another search has done so; says what is wrong where that does not help."""
        which = f"shard {actor.shard + 1} of {len(self._shards)} of {self._title}"
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
        if getattr(error, "actor_init_failed", False):
            msg = f"{which} cannot be held ({reason}); see that every machine has the same files under the same paths."
            raise ChildProcessError(msg) from error
        if times == _TRIES:
            msg = f"{which} was lost {times} times ({reason}); if memory ran out, take more workers."
            raise ChildProcessError(msg) from error
        with self._lock:
            replicas = self._replicas[actor.shard]
            if actor in replicas:
                self._ray.kill(actor.handle)
                replicas.remove(actor)
                self._begin(actor.shard)

    def _check_room(self, actors: Any) -> None:
        for actor in actors:
            if not self._is_here(actor):
                who = f"shard {actor.shard + 1} of {len(self._shards)} of {self._title}"
                instead = "take fewer workers, or search it here"
                Waiting(who, self._room_s, actor.begun, gpus=self._gpus).check(self._ray, instead)


class _Holder:
    """What runs in an actor: it holds a shard of every table and searches it, one search at a time."""

    def __init__(self, tables: Mapping[str, DescriptorTable], *, gpu: bool) -> None:
        if not gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._tables, self._device = tables, torch.device("cuda" if gpu else "cpu")
        self._last: tuple[str, DescriptorTable] | None = None
        self._given_up: set[int] = set()

    def here(self) -> None:
        """Answers once the actor is there."""

    def give_up(self, number: int) -> None:
        """Ends a search that nobody waits for any more."""
        self._given_up.add(number)

    def search(
        self, number: int, name: str, queries: Float64[np.ndarray, "queries channels"], asked: Question
    ) -> Neighbours:
        """What it finds. Raises InterruptedError for a search that was given up."""

        def look(_: float) -> None:
            if number in self._given_up:
                raise InterruptedError

        look(0.0)
        return self._table(name).search(torch.from_numpy(queries), asked.k, exclude=asked.exclude, progress=look)

    def _table(self, name: str) -> DescriptorTable:
        if self._last is None or self._last[0] != name:
            if self._last is not None:
                self._last[1].release()
            self._last = None  # before the next one takes its place in a GPU's memory
            self._last = name, self._tables[name].to(self._device)
        return self._last[1]
