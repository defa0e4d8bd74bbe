"""Engines that take turns on GPUs: asleep until their turn, instead of being started then.

A model server may be started before the job and put to sleep, its weights in host memory; to wake
it takes seconds where its start takes a minute. Plans in which all engines stand side by side gain
nothing from it and are left as they are.
"""

from __future__ import annotations

from dataclasses import replace

from .formulate import Formulation
from .jobsearch import better
from .problem import EngineOption, Infeasible, Placement, Problem

MOST_TRIES = 4  # each without the largest of those that slept in the one before


def asleep(
    formulation: Formulation, known: Placement | None, budget: float
) -> tuple[Formulation, Placement] | None:
    """Return the plan with engines that sleep, where it is better than `known`.

    None where `known` starts no engine within the job, where no server can sleep, and where what
    was found needs more host memory than there is: weights of all that sleep, beside what runs.
    """
    problem = formulation.problem
    if known is not None and not any(_started(problem, known)):
        return None
    engines = tuple(replace(engine, sleeps=_can_sleep(engine)) for engine in problem.engines)
    sleeping = replace(problem, engines=engines)
    for _ in range(MOST_TRIES):
        if not any(engine.sleeps for engine in sleeping.engines):
            return None
        found = _solved(sleeping, budget)
        if found is None or (known is not None and better(problem, known, found) is known):
            return None
        if not overfull(sleeping, found):
            return replace(formulation, problem=sleeping), found
        sleeping = _lighter(sleeping, found)
    return None


def _solved(problem: Problem, budget: float) -> Placement | None:
    from .jobsolver import solve

    try:
        return solve(problem, budget=budget, explaining=False)
    except Infeasible:
        return None


def _lighter(problem: Problem, found: Placement) -> Problem:
    """Return the problem in which what slept with the most weights is started in time instead."""
    slept = (hold.engine for hold in found.holds if hold.woken)
    most = max(slept, key=lambda e: problem.engines[e].asleep_bytes * problem.engines[e].replicas)
    heavy = problem.engines[most].group
    return replace(
        problem,
        engines=tuple(
            replace(engine, sleeps=engine.sleeps and engine.group != heavy)
            for engine in problem.engines
        ),
    )


def _can_sleep(engine: EngineOption) -> bool:
    return engine.resident and not engine.standing and 0.0 < engine.wake_s < engine.startup_s


def _started(problem: Problem, found: Placement) -> list[bool]:
    """Return, for each engine that is started within the job, whether it might sleep instead."""
    return [_can_sleep(problem.engines[hold.engine]) for hold in found.holds if not hold.prestarted]


def overfull(problem: Problem, found: Placement) -> bool:
    """Tell whether a node has too little memory for what is held there and what sleeps there.

    An engine sleeps from time zero until it is held and has woken. The solvers count what is held
    alone: which engines sleep at a time is known when all are placed.
    """
    spans: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
    for hold in found.holds:
        engine = problem.engines[hold.engine]
        for node, _ in hold.replicas:
            here = spans.setdefault((engine.pool, node), [])
            here.append((hold.start_s, hold.end_s, engine.memory_bytes))
            if hold.woken:
                here.append((0.0, hold.start_s, engine.memory_bytes))
                here.append((0.0, hold.start_s + engine.wake_s, engine.asleep_bytes))
    return any(
        sum(size for start, end, size in here if start <= moment < end)
        > problem.pools[pool].memory_bytes * (1 + 1e-6)
        for (pool, _), here in spans.items()
        for moment, _, _ in here
    )
