"""The reference configuration (`-O0`): what every prediction is compared with."""

from __future__ import annotations

from dataclasses import replace

from .formulate import Formulation
from .job.problem import Problem
from .modes import Way
from .varying import Case

# An idiomatic asynchronous framework fans a loop out this wide.
ITEMS_AT_ONCE = 32


def reference_modes(formulation: Formulation, policy: str) -> list[int]:
    """Return the index of the reference mode of every step.

    The best configuration (optional work runs), on GPUs where it can run on them, the fewest that
    hold it with up to 32 calls in flight (one when sequential); one replica.
    """
    emitted: dict[str, int] = {}
    chosen: list[int] = []
    for step, listed in zip(formulation.steps, formulation.ways, strict=True):
        fitting = [i for i, way in enumerate(listed) if _holds(way.case, emitted)]
        most = max((way.concurrency for way in listed), default=1)
        wanted = 1 if policy == "sequential" else min(ITEMS_AT_ONCE, most)
        best = min(fitting, key=lambda i: _preference(listed[i], wanted))
        emitted[step.op.out().name] = listed[best].emits
        chosen.append(best)
    return chosen


def _holds(case: Case, emitted: dict[str, int]) -> bool:
    return all(emitted.get(step) == output for step, output in case)


def _preference(way: Way, wanted: int) -> tuple[object, ...]:
    if way.slot is None:
        return (1,)  # left out: never where the work can be done
    return (
        0,
        -way.configuration.quality,
        way.configuration.label,
        way.slot.device != "gpu",
        max(wanted - way.concurrency, 0),
        way.slot.gpus,
        str(way.slot),
        way.replicas,
        abs(way.concurrency - wanted),
    )


def serial(problem: Problem) -> Problem:
    """Return the problem with every step waiting for all before it: one call at a time."""
    steps = tuple(
        replace(step, after=tuple(range(index)), streams=())
        for index, step in enumerate(problem.steps)
    )
    return replace(problem, steps=steps)
