"""A linear relaxation of placing one job, for jobs too large for the whole model.

Modes are shares, engines are held at least for the work on them, and nothing is limited by what
engines and nodes take at a time: the optimum bounds every placement's, and the modes with the
largest shares are a placement worth laying out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..ir.workflow import MetricName
from .jobcuts import earliest_starts
from .problem import Problem

if TYPE_CHECKING:
    from ortools.linear_solver import pywraplp  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A bound of a metric in its base unit, and the mode of the largest share for each step."""

    bound: float
    modes: tuple[int, ...]


def relax(problem: Problem, metric: MetricName) -> Relaxed | None:
    """Solve the relaxation for one metric with GLOP; None when it has no solution.

    Without a solution the job has none either.
    """
    from ortools.linear_solver import pywraplp

    # variables
    solver = pywraplp.Solver.CreateSolver("GLOP")
    infinity = solver.infinity()
    chosen = [[solver.NumVar(0, 1, "") for _ in step.modes] for step in problem.steps]
    ends = [solver.NumVar(0, infinity, "") for _ in problem.steps]
    starts = [solver.NumVar(0, infinity, "") for _ in problem.steps]
    makespan = solver.NumVar(0, infinity, "")
    resident = [e for e, engine in enumerate(problem.engines) if engine.resident]
    used = {e: solver.NumVar(0, 1, "") for e in resident}
    held = {e: solver.NumVar(0, infinity, "") for e in resident}
    # constraints
    _timing(problem, solver, chosen, starts, ends, makespan)
    _holding(problem, solver, chosen, used, held)
    amounts = {name: _amount(problem, name, chosen, used, held) for name in ("energy", "cost")}
    amounts["latency"] = makespan
    amounts["gpus"] = solver.NumVar(0, infinity, "")
    for e in resident:
        gpus = problem.engines[e].gpus * problem.engines[e].replicas
        solver.Add(amounts["gpus"] >= gpus * used[e])
    amounts["accuracy"] = sum(
        -math.log(mode.quality) * x
        for step, xs in zip(problem.steps, chosen, strict=True)
        for mode, x in zip(step.modes, xs, strict=True)
    )
    for limit in problem.limits:
        if limit.metric == "accuracy" and limit.op in (">=", ">", "==") and limit.value > 0:
            solver.Add(amounts["accuracy"] <= -math.log(limit.value) + 1e-9)
        elif limit.metric != "accuracy" and limit.op in ("<=", "<", "==") and not limit.percentile:
            solver.Add(amounts[limit.metric] <= limit.value * (1 + 1e-9))
    # objective, read-out
    solver.Minimize(amounts[metric])
    if solver.Solve() != pywraplp.Solver.OPTIMAL:
        return None
    bound = solver.Objective().Value()
    shares = [[x.solution_value() for x in xs] for xs in chosen]
    modes = tuple(max(range(len(row)), key=row.__getitem__) for row in shares)
    return Relaxed(math.exp(-bound) if metric == "accuracy" else bound, modes)


def _timing(
    problem: Problem,
    solver: pywraplp.Solver,
    chosen: list[list[pywraplp.Variable]],
    starts: list[pywraplp.Variable],
    ends: list[pywraplp.Variable],
    makespan: pywraplp.Variable,
) -> None:
    for s, step in enumerate(problem.steps):
        pairs = list(zip(chosen[s], step.modes, strict=True))
        solver.Add(sum(chosen[s]) == 1)
        solver.Add(makespan >= ends[s])
        solver.Add(ends[s] >= starts[s] + sum(m.times[0].duration_s * x for x, m in pairs))
        for before in step.after:
            solver.Add(starts[s] >= ends[before])
        for before in step.streams:
            sources = zip(chosen[before], problem.steps[before].modes, strict=True)
            first = sum(m.times[0].first_s * x for x, m in sources)
            solver.Add(starts[s] >= starts[before] + first)
            solver.Add(ends[s] >= ends[before] + sum(m.times[0].last_s * x for x, m in pairs))
        for x, mode in pairs:
            for before, wanted in mode.when:
                sources = zip(chosen[before], problem.steps[before].modes, strict=True)
                solver.Add(x <= sum(y for y, m in sources if m.emits == wanted))


def _holding(
    problem: Problem,
    solver: pywraplp.Solver,
    chosen: list[list[pywraplp.Variable]],
    used: dict[int, pywraplp.Variable],
    held: dict[int, pywraplp.Variable],
) -> None:
    heads = earliest_starts(problem)
    area: dict[int, list[pywraplp.LinearExpr]] = {e: [] for e in used}
    lead: dict[int, float] = {}
    for s, step in enumerate(problem.steps):
        shares: dict[int, list[pywraplp.Variable]] = {}
        for x, mode in zip(chosen[s], step.modes, strict=True):
            if mode.engine in used and mode.engine is not None:
                shares.setdefault(mode.engine, []).append(x)
                area[mode.engine].append(mode.slots * mode.times[0].duration_s * x)
        for e, literals in shares.items():
            solver.Add(used[e] >= sum(literals))
            lead[e] = min(lead.get(e, problem.engines[e].startup_s), heads[s])
    for e, parts in area.items():
        if parts:
            solver.Add(problem.engines[e].slots * (held[e] - lead[e] * used[e]) >= sum(parts))


def _amount(
    problem: Problem,
    metric: str,
    chosen: list[list[pywraplp.Variable]],
    used: dict[int, pywraplp.Variable],
    held: dict[int, pywraplp.Variable],
) -> pywraplp.LinearExpr:
    energy = metric == "energy"
    total = sum(
        (mode.energy_j if energy else mode.usd) * x
        for step, xs in zip(problem.steps, chosen, strict=True)
        for mode, x in zip(step.modes, xs, strict=True)
    )
    for e, variable in used.items():
        engine = problem.engines[e]
        total += (engine.startup_j if energy else engine.startup_usd) * variable
        total += (engine.idle_w if energy else engine.usd_per_s) * held[e]
    return total
