"""The objects of a data set, described one by one: what is told meanwhile, and what becomes of photos that are none."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from corrcore import concurrency
from corrcore.concurrency import Progress
from corrcore.datasets.records import Instance

Description = TypeVar("Description")


def every_object(
    instances: Sequence[Instance],
    describe: Callable[[Instance], Description],
    keep: Callable[[int, Description], None],
    *,
    noun: str = "object",
    progress: Progress | None = None,
) -> dict[int, str]:
    """Describes objects side by side, and hands each description to `keep` by the object's number, in order.

    Returns those that `describe` raised ValueError for, such as ImageError, by number with the reason. An OSError,
    which may pass, ends the work: what was learnt without that object would stay. `noun` is what messages call them.

    Raises ValueError where none could be described.
    """
    left_out: dict[int, str] = {}
    done = 0

    def work(number: int) -> tuple[int, Description] | None:
        try:
            return number, describe(instances[number])
        except OSError:
            raise
        except ValueError as error:
            left_out[number] = str(error)
            return None

    def then(found: tuple[int, Description] | None) -> None:
        nonlocal done
        done += 1
        if found is not None:
            keep(*found)
        if progress is not None:
            progress(done / len(instances), f"describing {noun}s: {done} of {len(instances)}")

    concurrency.map_in_order(work, range(len(instances)), then)
    if len(left_out) == len(instances):
        reason = next(iter(left_out.values()), "there are none.")
        msg = f"no {noun} of {len(instances)} could be described; the first: {reason}"
        raise ValueError(msg)
    return dict(sorted(left_out.items()))
