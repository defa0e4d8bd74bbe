"""Run CP-SAT on a job model and read placements out of it; the same way on every machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .greedy import closest
from .model import WHOLE, JobModel
from .problem import Mode, Placement, Problem
from .scale import Scale
from .schedule import Reason, broken, evaluate, is_better, placement
from .timeline import Seats, Stay, Timeline, due, lay_out

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

SEED = 1
LEAST_BUDGET = 2.0  # deterministic seconds for the least latency
_FROM_BELOW = (">=", ">", "==")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One solve: status by name, objective and bound in the metric's units, deterministic time.

    `solver` holds the solution, None where none was found.
    """

    status: str
    value: int
    bound: float
    spent: float
    solver: cp_model.CpSolver | None


def minimise(built: JobModel, objective: cp_model.LinearExprT, budget: float) -> Outcome:
    """Minimise an expression over the model within `budget` deterministic seconds."""
    built.model.minimize(objective)
    solver = deterministic_solver(budget)
    status = solver.status_name(solver.solve(built.model))
    found = status in ("OPTIMAL", "FEASIBLE")
    spent = solver.response_proto.deterministic_time
    value = round(solver.objective_value) if found else 0
    return Outcome(status, value, solver.best_objective_bound, spent, solver if found else None)


def reachable_latency(problem: Problem, wanted: float, percentile: int) -> float:
    """Return the latency in seconds that is wanted, or the least there is where nothing reaches it.

    The problem's limits are kept. The least is what is found in a fixed deterministic time, as the
    model has it: rounded up to its ticks, so that it is feasible as a limit.
    """
    aimed = replace(problem, objectives=("latency",), aimed=percentile)
    relaxed, scale = len(problem.steps) > WHOLE, Scale.of(problem)
    known = better(aimed, closest(aimed, hurries=(0.0,)), None)
    if known is not None and known.metrics.latency_s[percentile] <= wanted:
        return wanted
    built = JobModel(aimed, scale, aimed.timelines, relaxed=relaxed)
    for limit in aimed.limits:
        built.limit(limit)
    found = []
    laid = None if known is None else evaluate(built.problem, known.modes, known.starts_s)
    if isinstance(laid, Placement):
        built.hint(laid)
        found.append(laid.metrics.latency_s[percentile])
    outcome = minimise(built, built.metric("latency", percentile), LEAST_BUDGET)
    if outcome.solver is not None:
        found.append(outcome.value)
        order = [outcome.solver.value(start) for start in built.tracks[percentile].starts]
        laid = evaluate(aimed, _modes(built, outcome.solver), order)  # free of the rounding
        if isinstance(laid, Placement) and laid.metrics.latency_s[percentile] <= wanted:
            return wanted
    return max(wanted, min(found, default=0.0) * scale.tick_s)


def deterministic_solver(budget: float) -> cp_model.CpSolver:
    """Return a solver with a fixed seed, limited in deterministic time only."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.random_seed = SEED
    solver.parameters.num_workers = 1  # several, interleaved, proved fifty times slower
    solver.parameters.linearization_level = 2  # engines' fixed costs are bounded by the relaxation
    # pairwise reasoning in cumulatives takes long without counting as deterministic time
    solver.parameters.use_disjunctive_constraint_in_cumulative = False
    solver.parameters.max_deterministic_time = max(budget, 1e-3)
    # Ctrl-C ends the compiler, not just this search
    solver.parameters.catch_sigint_signal = False
    return solver


def read(built: JobModel, problem: Problem, solver: cp_model.CpSolver) -> Placement | None:
    """Read out the better of the solution's own timeline and a list schedule in its order.

    The list schedule is free of the model's rounding; the solution's timeline may start steps late
    on purpose, to hold engines for less long. None where rounding makes both break a limit.
    """
    track, modes = built.tracks[0], _modes(built, solver)
    tick = built.scale.tick_s
    chosen = [step.modes[m] for step, m in zip(built.problem.steps, modes, strict=True)]
    began = tuple(solver.value(start) for start in track.starts)
    starts = tuple(start * tick for start in began)
    ends = tuple(end * tick for end in due(built.problem, chosen, began))
    timeline = Timeline(starts, ends, _stays(built, problem, solver, modes, starts, ends))
    listed = evaluate(problem, modes, starts)
    spans = _spans(built, solver, chosen, began, timeline.seats)
    own = None if spans is None else placement(problem, modes, timeline, spans)
    return better(problem, own, None if isinstance(listed, Reason) else listed)


def _spans(
    built: JobModel,
    solver: cp_model.CpSolver,
    chosen: Sequence[Mode],
    starts: tuple[float, ...],
    seats: Mapping[int, Seats],
) -> list[float] | None:
    """Return the makespan at every percentile of the solver's timeline; None where one has none.

    Each percentile is laid out in the timeline's order, no step earlier than at the one below. The
    solver's starts at a percentile do for those below it too, whose steps only take less. In ticks,
    as the model has them: what is no shorter there is no shorter here.
    """
    problem, order = built.problem, starts
    # a requirement from below is met by the solver's own starts, which may be late
    late = {x.percentile for x in problem.limits if x.metric == "latency" and x.op in _FROM_BELOW}
    spans = [max(due(problem, chosen, starts), default=0.0)]
    for percentile in range(1, len(problem.percentiles)):
        found: list[tuple[float, tuple[float, ...]]] = []
        for known, track in built.tracks.items():
            if known == percentile or (known > percentile and percentile not in late):
                at = tuple(solver.value(start) for start in track.starts)
                found.append((max(due(problem, chosen, at, percentile), default=0.0), at))
        if percentile not in late:
            laid = lay_out(problem, chosen, order, percentile, seats, starts)
            if isinstance(laid, Timeline):
                found.append((laid.makespan_s, laid.starts_s))
        if not found:
            return None
        span, starts = min(found)
        spans.append(span)
    return [span * built.scale.tick_s for span in spans]


def _modes(built: JobModel, solver: cp_model.CpSolver) -> list[int]:
    return [
        next(m for m, literal in enumerate(literals) if solver.boolean_value(literal))
        for literals in built.chosen
    ]


def better(problem: Problem, one: Placement | None, other: Placement | None) -> Placement | None:
    """Return the better of two placements that meets the limits; `one` where they are equal."""
    kept = [p for p in (one, other) if p is not None and not broken(problem, p.metrics)]
    if len(kept) == 2 and is_better(problem, kept[1].metrics, kept[0].metrics):
        return kept[1]
    return kept[0] if kept else None


def _stays(
    built: JobModel,
    problem: Problem,
    solver: cp_model.CpSolver,
    modes: list[int],
    starts: tuple[float, ...],
    ends: tuple[float, ...],
) -> tuple[Stay, ...]:
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    stays: list[Stay] = []
    for s, index in enumerate(modes):
        mode = problem.steps[s].modes[index]
        if mode.engine is None:
            continue
        engine = problem.engines[mode.engine]
        if engine.resident:
            first[mode.engine] = min(starts[s], first.get(mode.engine, math.inf))
            last[mode.engine] = max(ends[s], last.get(mode.engine, 0.0))
        elif engine.pool >= 0:
            counts = built.seats_of_run(s, index)
            seats = _spread([c if isinstance(c, int) else solver.value(c) for c in counts])
            stays.append(Stay(mode.engine, starts[s], ends[s], seats, s))
    # what must be spent at least is counted in the model's start-ups, rounded up
    below = any(x.op in (">=", ">") and x.metric in ("energy", "cost") for x in problem.limits)
    for e, start in first.items():
        # the model leaves a hold's ends loose where no objective pulls at them
        held = solver.value(built.tracks[0].hold_from[e]) * built.scale.tick_s
        up = problem.engines[e].late_s
        if problem.engines[e].standing:
            counts = built.seated.get(e, [])
            whole = _spread([solver.value(c) for c in counts])
            stays.append(Stay(e, 0.0, max(ends), whole))
            continue
        held = max(held, start - (built.scale.ticks(up) * built.scale.tick_s if below else up))
        counts = built.seated.get(e, [])
        stays.append(Stay(e, held, last[e], _spread([solver.value(c) for c in counts])))
    return tuple(stays)


def _spread(counts: list[int]) -> tuple[int, ...]:
    return tuple(node for node, count in enumerate(counts) for _ in range(count))
