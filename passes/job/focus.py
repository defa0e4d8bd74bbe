"""Solve a job with its engines given: far smaller than the whole problem, often proved in seconds.

Which engines to use is what a relaxation decides well; when to run what on them is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...ir.workflow import MetricName
from .model import JobModel
from .problem import Placement, Problem, Step
from .scale import Scale
from .schedule import Reason, evaluate
from .search import minimise, read


def focus(
    problem: Problem, modes: Sequence[int], metric: MetricName, budget: float
) -> tuple[Placement | None, float]:
    """Place the job on the resident engines that `modes` use; return what was found, and the cost.

    Searches `budget` deterministic seconds from the list schedule of `modes`; the cost is what it
    took of them. Transient engines and work left out stay open. None: nothing met the limits.
    """
    engines = {step.modes[m].engine for step, m in zip(problem.steps, modes, strict=True)}
    kept = [_kept(problem, step, engines) for step in problem.steps]
    steps = tuple(
        replace(step, modes=tuple(step.modes[m] for m in numbers))
        for step, numbers in zip(problem.steps, kept, strict=True)
    )
    smaller = replace(problem, steps=steps, objectives=(metric,))
    built = JobModel(smaller, Scale.of(smaller), smaller.timelines)
    for limit in problem.limits:
        built.limit(limit)
    inner = [numbers.index(m) for numbers, m in zip(kept, modes, strict=True)]
    laid = evaluate(built.problem, inner)
    if not isinstance(laid, Reason):
        built.hint(laid)
    outcome = minimise(built, built.metric(metric), budget)
    found = None if outcome.solver is None else read(built, smaller, outcome.solver)
    if found is None:
        return None, outcome.spent
    outer = tuple(numbers[m] for numbers, m in zip(kept, found.modes, strict=True))
    return replace(found, modes=outer), outcome.spent


def _kept(problem: Problem, step: Step, engines: set[int | None]) -> list[int]:
    return [
        number
        for number, mode in enumerate(step.modes)
        if mode.engine is None
        or mode.engine in engines
        or not problem.engines[mode.engine].resident
    ]
