"""Why a job cannot be placed: the fewest requirements that contradict, and what would do instead.

Limits and capacities become literals named by sentences. CP-SAT's assumptions give a first set that
cannot hold together; leaving out one sentence after the other makes it minimal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .greedy import closest
from .jobmodel import WHOLE, JobModel
from .jobscale import LOG_UNITS, Scale
from .jobsearch import deterministic_solver, minimise
from .problem import Conflict, Limit, Problem
from .schedule import broken

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

CHECK_BUDGET = 5.0  # deterministic seconds for each question of feasibility
NEAREST_BUDGET = 5.0  # … for each nearest value


def explain(problem: Problem) -> Conflict:
    """Return a minimal set of limits and capacities that no placement meets together.

    `nearest` has, for each limit in the set, the value that can be met with all other limits kept:
    a placement with it exists. Where none can be met at all (another conflict beside this one) the
    limit has no entry. Both are as good as the solver's fixed deterministic limit allows.
    """
    built, literals = _questions(problem)
    core = _first_core(built, literals)
    for sentence in list(core):
        rest = [other for other in core if other != sentence]
        if _status(built, [literals[other] for other in rest]) == "INFEASIBLE":
            core = rest
    if not core:
        return Conflict(("the variants of the steps contradict each other",), ())
    nearest = []
    for limit in problem.limits:
        value = _nearest(problem, limit) if limit.text in core else None
        if value is not None and (limit.text, value) not in nearest:
            nearest.append((limit.text, value))
    return Conflict(tuple(core), tuple(nearest))


def not_found(problem: Problem) -> Conflict:
    """Return what the placement nearest to the limits breaks, where none was found within limits.

    No proof: there may be a placement all the same.
    """
    near = closest(problem)
    if near is None:
        return Conflict(tuple(dict.fromkeys(x.text for x in problem.limits)), (), proved=False)
    missed = broken(problem, near.metrics)
    values = {x.text: near.metrics.of(x.metric, x.percentile) for x in missed}
    return Conflict(tuple(values), tuple(values.items()), proved=False)


def _questions(problem: Problem) -> tuple[JobModel, dict[str, cp_model.IntVar]]:
    """Return a model and its literals by sentence: the author's limits first, then capacities."""
    relaxed = len(problem.steps) > WHOLE
    built = JobModel(
        problem, Scale.of(problem), _percentiles(problem), explaining=True, relaxed=relaxed
    )
    literals: dict[str, cp_model.IntVar] = {}
    for limit in problem.limits:
        literal = literals.setdefault(limit.text, built.model.new_bool_var(limit.text))
        for constraint in built.limit(limit):
            constraint.only_enforce_if(literal)
    return built, literals | built.granted


def _percentiles(problem: Problem) -> list[int]:
    return sorted({0} | {x.percentile for x in problem.limits if x.metric == "latency"})


def _first_core(built: JobModel, literals: dict[str, cp_model.IntVar]) -> list[str]:
    built.model.add_assumptions(list(literals.values()))
    solver = deterministic_solver(CHECK_BUDGET)
    status = solver.status_name(solver.solve(built.model))
    named = set(solver.sufficient_assumptions_for_infeasibility())
    if status != "INFEASIBLE" or not named:
        return list(literals)
    return [sentence for sentence, literal in literals.items() if literal.index in named]


def _status(built: JobModel, assumed: Sequence[cp_model.IntVar]) -> str:
    built.model.clear_assumptions()
    built.model.add_assumptions(list(assumed))
    solver = deterministic_solver(CHECK_BUDGET)
    return solver.status_name(solver.solve(built.model))


def _nearest(problem: Problem, limit: Limit) -> float | None:
    """Return the closest value of a limit's metric that the other limits leave room for."""
    others = replace(problem, limits=tuple(x for x in problem.limits if x.text != limit.text))
    percentiles = sorted({*_percentiles(others), limit.percentile})
    relaxed = len(problem.steps) > WHOLE
    built = JobModel(others, Scale.of(problem), percentiles, relaxed=relaxed)
    for other in others.limits:
        built.limit(other)
    upwards = limit.op in (">=", ">")  # as large as can be, though not larger than asked for
    sign = -1 if upwards and limit.metric != "accuracy" else 1
    outcome = minimise(built, sign * built.metric(limit.metric, limit.percentile), NEAREST_BUDGET)
    if outcome.solver is None:
        return None
    value = sign * outcome.value
    if limit.metric == "accuracy":
        return math.exp(-value / LOG_UNITS)
    return value * built.scale.unit(limit.metric)
