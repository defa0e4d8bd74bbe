"""Why a job cannot be placed: the fewest requirements that contradict, and what would do instead.

A deletion filter: requirements and capacities are left out one by one, and stay out where what is
left still contradicts itself. Each question is a model of its own without the sentences in doubt:
the solver's presolve refutes it at once, where it searches long for assumptions that conflict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from .jobmodel import WHOLE, JobModel
from .jobscale import LOG_UNITS, Scale
from .jobsearch import deterministic_solver, minimise
from .problem import Conflict, Limit, Placement, Problem
from .schedule import Reason, broken, evaluate

CHECK_BUDGET = 0.5  # deterministic seconds for each question of feasibility
NEAREST_BUDGET = 1.0  # … for each nearest value


def explain(problem: Problem, near: Placement | None) -> Conflict:
    """Return a minimal set of limits and capacities that no placement meets together.

    `near` is a placement that breaks limits, if one is known. `nearest` has, for each limit in the
    set, the value that can be met with all other limits kept: a placement with it exists. Where
    none can be met at all (another conflict beside this one) the limit has no entry. Both are as
    good as the solver's fixed deterministic limit allows.
    """
    core = _core(problem, near)
    if not core:
        return Conflict(("the variants of the steps contradict each other",), ())
    nearest = []
    for limit in problem.limits:
        value = _nearest(problem, limit, near) if limit.text in core else None
        if value is not None and (limit.text, value) not in nearest:
            nearest.append((limit.text, value))
    return Conflict(tuple(core), tuple(nearest))


def not_found(problem: Problem, near: Placement | None) -> Conflict:
    """Return what the placement nearest to the limits breaks, where none was found within limits.

    No proof: there may be a placement all the same.
    """
    if near is None:
        return Conflict(tuple(dict.fromkeys(x.text for x in problem.limits)), (), proved=False)
    missed = broken(problem, near.metrics)
    values = {x.text: near.metrics.of(x.metric, x.percentile) for x in missed}
    return Conflict(tuple(values), tuple(values.items()), proved=False)


def _core(problem: Problem, near: Placement | None) -> list[str]:
    """Return sentences that contradict each other, none of which can be left out."""
    missed = set() if near is None else {limit.text for limit in broken(problem, near.metrics)}
    limits = list(dict.fromkeys(limit.text for limit in problem.limits))
    capacities = list(_model(problem, limits, frozenset()).capacities)
    kept = [*capacities, *limits]
    # capacities first, all at once: most often requirements contradict each other without them
    attempts = [capacities, *([sentence] for sentence in kept)]
    for doubtful in attempts:
        rest = [sentence for sentence in kept if sentence not in doubtful]
        if len(rest) == len(kept) or (near is not None and missed.isdisjoint(rest)):
            continue  # nothing left out, or a placement is known that meets the rest
        if _contradict(problem, rest, capacities):
            kept = rest
    return [*(x for x in kept if x in limits), *(x for x in kept if x in capacities)]


def _contradict(problem: Problem, kept: Iterable[str], capacities: Iterable[str]) -> bool:
    """Tell whether it is proved that nothing meets these sentences together."""
    built = _model(problem, kept, frozenset(capacities).difference(kept))
    solver = deterministic_solver(CHECK_BUDGET)
    return solver.status_name(solver.solve(built.model)) == "INFEASIBLE"


def _model(problem: Problem, kept: Iterable[str], waived: frozenset[str]) -> JobModel:
    """Return the model with these of the limits, and all capacities but those waived."""
    limits = tuple(limit for limit in problem.limits if limit.text in kept)
    percentiles = sorted({0} | {x.percentile for x in limits if x.metric == "latency"})
    relaxed = len(problem.steps) > WHOLE
    built = JobModel(problem, Scale.of(problem), percentiles, waived, relaxed=relaxed)
    for limit in limits:
        built.limit(limit)
    return built


def _nearest(problem: Problem, limit: Limit, near: Placement | None) -> float | None:
    """Return the closest value of a limit's metric that the other limits leave room for."""
    others = replace(problem, limits=tuple(x for x in problem.limits if x.text != limit.text))
    percentiles = {0, limit.percentile}
    percentiles |= {x.percentile for x in others.limits if x.metric == "latency"}
    relaxed = len(problem.steps) > WHOLE
    built = JobModel(others, Scale.of(problem), sorted(percentiles), relaxed=relaxed)
    for other in others.limits:
        built.limit(other)
    known = None
    if near is not None and not broken(others, near.metrics):
        known = near.metrics.of(limit.metric, limit.percentile)
        laid = evaluate(built.problem, near.modes, near.starts_s)
        if not isinstance(laid, Reason):
            built.hint(laid)
    upwards = limit.op in (">=", ">")  # as large as can be, though not larger than asked for
    sign = -1 if upwards and limit.metric != "accuracy" else 1
    outcome = minimise(built, sign * built.metric(limit.metric, limit.percentile), NEAREST_BUDGET)
    if outcome.solver is None:
        return known
    # as the model rounds it, so that it is found feasible when it is asked for
    value = sign * outcome.value
    if limit.metric == "accuracy":
        return math.exp(-value / LOG_UNITS)
    return value * built.scale.unit(limit.metric)
