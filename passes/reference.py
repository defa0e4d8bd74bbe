"""The reference configuration (`-O0`): what every prediction is compared with."""

from __future__ import annotations

from dataclasses import replace

from .formulate import Formulation
from .modes import Way
from .problem import Problem
from .varying import Case

# An idiomatic asynchronous framework fans a loop out this wide (ARCHITECTURE.md, Passes).
ITEMS_AT_ONCE = 32


def reference_modes(formulation: Formulation, policy: str) -> list[int]:
    """Return the index of the reference mode of every step.

    The best configuration (optional work runs), on a GPU where one of its slots is one and with
    the fewest GPUs that hold it, one replica, up to 32 calls in flight (one when sequential).
    """
    emitted: dict[str, int] = {}
    chosen: list[int] = []
    for step, listed in zip(formulation.steps, formulation.ways, strict=True):
        fitting = [i for i, way in enumerate(listed) if _holds(way.case, emitted)]
        best = min(fitting, key=lambda i: _preference(listed[i], policy))
        emitted[step.op.out().name] = listed[best].emits
        chosen.append(best)
    return chosen


def _holds(case: Case, emitted: dict[str, int]) -> bool:
    return all(emitted.get(step) == output for step, output in case)


def _preference(way: Way, policy: str) -> tuple[object, ...]:
    if way.slot is None:
        return (1,)
    wanted = 1 if policy == "sequential" else ITEMS_AT_ONCE
    return (
        0,
        -way.configuration.quality,
        way.configuration.label,
        way.slot.device != "gpu",
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
