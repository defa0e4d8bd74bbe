"""Place one job: modes, engines, nodes and timeline in one CP-SAT model, solved lexicographically.

Read top to bottom: data, model (`model`: variables, constraints), objectives one after the
other, read-out. One fixed seed and limits in deterministic time only: equal inputs give equal
answers on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ...ir.workflow import MetricName
from .conflict import explain, not_found
from .focus import focus
from .greedy import closest
from .model import WHOLE, JobModel
from .problem import Bound, Conflict, Infeasible, Placement, Problem
from .refutation import Refutation
from .relaxation import relax
from .scale import TICKS, Scale
from .schedule import TOLERANCE, Reason, evaluate
from .search import Outcome, better, minimise, read

FIRST_SHARE = 0.6  # of the budget that is left, for each objective but the last
FOCUS_SHARE = 0.3  # of the budget, for the engines that the relaxation chooses
DIRECT = 12  # steps up to which the whole model proves more in the time the relaxation takes


def solve(
    problem: Problem,
    *,
    budget: float = 20.0,
    warm_start: Placement | None = None,
    explaining: bool = True,
) -> Placement:
    """Return the best placement found for the objectives in their order, with a bound for each.

    `budget` is in CP-SAT's deterministic seconds, shared by the objectives. `warm_start` is an
    earlier placement of the same problem; the answer is never worse than it or than greedy, which
    up to `DIRECT` steps is spared where the warm start meets the limits.
    The bound of an objective holds given the values of those before it, and up to the rounding of
    the model, whose durations are rounded up to ticks (`scale`): a proved objective has gap 0.
    Above `DIRECT` steps a relaxation bounds a first objective that is energy or cost, and chooses
    engines for it; the model is solved with these engines first, then with all.
    Above `WHOLE` steps the answer is the best of greedy, the warm start and the modes that a linear
    relaxation prefers; bounds are that relaxation's, each for its objective alone.

    Raises `Infeasible` when the limits cannot be met, or nothing that meets them was found within
    the budget (`Conflict.proved` tells), ValueError for a step without modes. `explaining` off
    spares the search for what conflicts.
    """
    for step in problem.steps:
        if not step.modes:
            raise ValueError(f"step `{step.name}` has no mode to choose from")
    # data
    near = start = better(problem, _again(problem, warm_start), None)
    if start is None or len(problem.steps) > DIRECT:
        near = closest(problem)
        start = better(problem, start, near)
    if len(problem.steps) > WHOLE:
        return _large(problem, start, near)
    if start is None and _refuted(problem):
        raise Infeasible(explain(problem, near) if explaining else Conflict((), ()))
    # variables and constraints
    built = JobModel(problem, Scale.of(problem), problem.timelines)
    for limit in problem.limits:
        built.limit(limit)
    if start is not None:
        _hint(built, start)
    # objectives
    best, left, outcomes, least = start, budget, list[Outcome](), 0.0
    metric = problem.objectives[0] if problem.objectives else None
    if len(problem.steps) > DIRECT and metric in ("energy", "cost"):
        best, least, spent = _engines_first(problem, metric, start, budget * FOCUS_SHARE)
        left -= spent
        floor = math.floor(least * (1 - TOLERANCE) / built.scale.unit(metric))
        built.model.add(built.metric(metric) >= floor)
        if best is not None:
            _hint(built, best)
    for position, metric in enumerate(problem.objectives):
        share = 1.0 if position == len(problem.objectives) - 1 else FIRST_SHARE
        expression = built.metric(metric, problem.aimed)
        outcome = minimise(built, expression, left * share)
        left -= outcome.spent
        if outcome.status == "INFEASIBLE":
            if best is None:
                raise Infeasible(explain(problem, near) if explaining else Conflict((), ()))
            break  # a placement meets the limits by less than a tick
        outcomes.append(outcome)
        if outcome.solver is None:
            continue
        best = better(problem, best, read(built, problem, outcome.solver))
        built.model.add(expression <= outcome.value)
        built.keep(outcome.solver)
    # read-out
    if best is None:
        raise Infeasible(not_found(problem, near))
    return _stated(problem, built, best, outcomes, start, least)


def _refuted(problem: Problem) -> bool:
    """Tell whether the linear relaxation refutes the limits, long before the whole model would."""
    return Refutation(problem).refutes({limit.text for limit in problem.limits})


def _engines_first(
    problem: Problem, metric: MetricName, start: Placement | None, budget: float
) -> tuple[Placement | None, float, float]:
    """Let the relaxation choose the engines; return the best placement, a bound, and what it took.

    The relaxation's work is bounded by the nodes of its search and does not count.
    """
    value = None if start is None else start.metrics.of(metric)
    found = relax(problem, metric, whole=True, at_most=value)
    if found is None:
        return start, 0.0, 0.0
    if found.modes is None:
        return start, found.bound, 0.0
    laid = evaluate(problem, found.modes)
    best = better(problem, start, None if isinstance(laid, Reason) else laid)
    focused, spent = focus(problem, found.modes, metric, budget)
    return better(problem, best, focused), found.bound, spent


def _large(problem: Problem, start: Placement | None, near: Placement | None) -> Placement:
    best, bounds = start, []
    for metric in problem.objectives:
        found = relax(problem, metric, whole=False)
        if found is None:
            if best is None:
                raise Infeasible(explain(problem, near))
            break
        bounds.append((metric, found.bound))
        if found.modes is not None:
            laid = evaluate(problem, found.modes)
            best = better(problem, best, None if isinstance(laid, Reason) else laid)
    if best is None:
        raise Infeasible(not_found(problem, near))
    stated = tuple(
        _gap(metric, best.metrics.of(metric, problem.aimed), bound) for metric, bound in bounds
    )
    return replace(best, status="greedy" if best is start else "feasible", bounds=stated)


def _gap(metric: MetricName, value: float, bound: float) -> Bound:
    if metric == "accuracy":
        return Bound(metric, value, bound, max(0.0, bound - value) / bound)
    return Bound(metric, value, bound, max(0.0, value - bound) / value if value > 0 else 0.0)


def _again(problem: Problem, found: Placement | None) -> Placement | None:
    """Return an earlier placement laid out again, or as it is where that is better."""
    if found is None:
        return None
    laid = evaluate(problem, found.modes, found.starts_s)
    return better(problem, found, None if isinstance(laid, Reason) else laid)


def _hint(built: JobModel, start: Placement) -> None:
    laid = evaluate(built.problem, start.modes, start.starts_s)
    if not isinstance(laid, Reason):
        built.hint(laid)


def _stated(
    problem: Problem,
    built: JobModel,
    best: Placement,
    outcomes: Sequence[Outcome],
    start: Placement | None,
    least: float,
) -> Placement:
    """Return the placement with its status and bounds; `least` bounds the first objective."""
    bounds = tuple(
        _bound(built, best, metric, outcome, 0.0 if position else least)
        for position, (metric, outcome) in enumerate(
            zip(problem.objectives, outcomes, strict=False)
        )
    )
    proved = len(bounds) == len(problem.objectives) and all(bound.gap == 0 for bound in bounds)
    status = "optimal" if proved else "greedy" if best is start else "feasible"
    return replace(best, status=status, bounds=bounds)


def _bound(
    built: JobModel, best: Placement, metric: MetricName, outcome: Outcome, least: float
) -> Bound:
    value = best.metrics.of(metric, built.problem.aimed)
    bound = max(least, outcome.bound * built.scale.unit(metric))
    stated = _gap(metric, value, math.exp(-bound) if metric == "accuracy" else bound)
    # a proof about ticks; the placement read out may differ from it by one tick a step
    near = stated.gap <= (len(best.modes) + 1) / TICKS
    if stated.gap == 0 or (outcome.status == "OPTIMAL" and near):
        return Bound(metric, value, value, 0.0)
    return stated
