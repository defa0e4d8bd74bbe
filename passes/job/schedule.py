"""What a choice of modes comes to: its timeline, holds and metrics; and which of two is better."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .problem import Hold, Limit, Metrics, Mode, Placement, Problem
from .timeline import Reason, Timeline, lay_out, tails

TOLERANCE = 1e-6  # relative, in every comparison of metrics: what rounding to ticks may cost
__all__ = ["Reason", "broken", "evaluate", "is_better", "placement", "spent"]


def evaluate(
    problem: Problem, modes: Sequence[int], priority: Sequence[float] | None = None
) -> Placement | Reason:
    """Place the job with the given mode index per step; limits are not looked at (see `broken`).

    `priority` orders steps that compete for an engine, low values first; left out, the step with
    the longest way to the end of the job comes first. Every percentile is laid out with the same
    modes, priority and nodes; no step starts earlier than at a lower one, though a list schedule of
    longer steps may happen to be shorter (Graham 1969). A Reason is returned where the modes
    contradict each other or do not fit. O(n log n) in the number of steps, but for the search of
    nodes.
    """
    chosen = [step.modes[index] for step, index in zip(problem.steps, modes, strict=True)]
    reason = _contradiction(problem, chosen)
    if reason is not None:
        return reason
    order = priority if priority is not None else [-tail for tail in tails(problem, chosen)]
    timeline = lay_out(problem, chosen, order)
    if isinstance(timeline, Reason):
        return timeline
    seats = timeline.seats
    spans, starts = [timeline.makespan_s], timeline.starts_s
    for percentile in range(1, len(problem.percentiles)):
        other = lay_out(problem, chosen, order, percentile, seats, starts)
        if isinstance(other, Reason):
            return other
        spans.append(other.makespan_s)
        starts = other.starts_s
    return placement(problem, modes, timeline, spans)


def placement(
    problem: Problem, modes: Sequence[int], timeline: Timeline, spans_s: Sequence[float]
) -> Placement:
    """Read a placement out of a timeline; `spans_s` is the makespan at each percentile."""
    chosen = [step.modes[index] for step, index in zip(problem.steps, modes, strict=True)]
    holds = _holds(problem, chosen, timeline)
    accuracy = problem.accuracy(chosen)
    assert accuracy is not None  # what was not measured is refused before it is laid out
    energy, usd = spent(problem, chosen, holds)
    metrics = Metrics(
        latency_s=tuple(spans_s),
        energy_j=energy,
        cost_usd=usd,
        gpus=peak_gpus(problem, holds),
        accuracy=accuracy,
    )
    return Placement(
        modes=tuple(modes),
        starts_s=timeline.starts_s,
        ends_s=timeline.ends_s,
        holds=holds,
        metrics=metrics,
        status="greedy",
    )


def spent(problem: Problem, chosen: Sequence[Mode], holds: Sequence[Hold]) -> tuple[float, float]:
    """Return the joules and dollars of modes, and of engines held so."""
    energy = math.fsum(mode.energy_j for mode in chosen)
    usd = math.fsum(mode.usd for mode in chosen)
    for hold in holds:
        engine = problem.engines[hold.engine]
        if engine.resident:
            held = hold.end_s - hold.start_s
            energy += engine.startup_j + engine.idle_w * held
            usd += engine.startup_usd + engine.usd_per_s * held
    return energy, usd


def broken(problem: Problem, metrics: Metrics, tolerance: float = TOLERANCE) -> list[Limit]:
    """Return the limits that the metrics do not meet."""
    return [limit for limit in problem.limits if not _meets(limit, metrics, tolerance)]


def is_better(problem: Problem, one: Metrics, other: Metrics) -> bool:
    """Say whether `one` is better than `other` by the objectives in their order."""
    for metric in problem.objectives:
        mine, yours = one.of(metric, problem.aimed), other.of(metric, problem.aimed)
        if abs(mine - yours) > TOLERANCE * max(abs(mine), abs(yours)):
            return mine > yours if metric == "accuracy" else mine < yours
    return False


def peak_gpus(problem: Problem, holds: Sequence[Hold]) -> int:
    """Return the sum over nodes of the most GPUs held there at any time."""
    changes: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for hold in holds:
        engine = problem.engines[hold.engine]
        for node, gpus in hold.replicas:
            log = changes.setdefault((engine.pool, node), [])
            log += [(hold.start_s, len(gpus)), (hold.end_s, -len(gpus))]
    total = 0
    for log in changes.values():
        level = peak = 0
        for _, change in sorted(log):
            level += change
            peak = max(peak, level)
        total += peak
    return total


def _contradiction(problem: Problem, chosen: Sequence[Mode]) -> Reason | None:
    """Return why the modes cannot be chosen together, whatever the timeline."""
    if problem.accuracy(chosen) is None:
        return Reason("this combination of configurations was not measured")
    groups: dict[str, int] = {}
    for step, mode in zip(problem.steps, chosen, strict=True):
        for before, wanted in mode.when:
            if chosen[before].emits != wanted:
                text = f"`{step.name}` as {mode.label} assumes another variant of"
                return Reason(f"{text} `{problem.steps[before].name}`")
        if mode.engine is None:
            continue
        engine = problem.engines[mode.engine]
        if mode.slots > engine.slots:
            return Reason(f"`{step.name}` has more calls in flight than {engine.label} takes")
        # servers of one executor on one kind of hardware exclude each other; calls that just run
        # hold nothing in between, so that nothing is gained by keeping them to one shape
        if engine.resident and groups.setdefault(engine.group, mode.engine) != mode.engine:
            other = problem.engines[groups[engine.group]]
            return Reason(f"{engine.label} and {other.label} are alternatives to each other")
    return None


def _holds(problem: Problem, chosen: Sequence[Mode], timeline: Timeline) -> tuple[Hold, ...]:
    """Give every stay its GPUs: the lowest free ones of its nodes, in the order of start."""
    first: dict[int, float] = {}
    for mode, start in zip(chosen, timeline.starts_s, strict=True):
        if mode.engine is not None:
            first[mode.engine] = min(start, first.get(mode.engine, math.inf))
    free_from = [[[0.0] * pool.gpus for _ in range(pool.nodes)] for pool in problem.pools]
    holds: list[Hold] = []
    for stay in sorted(timeline.stays, key=lambda s: (s.start_s, s.end_s, s.engine, s.step or 0)):
        engine = problem.engines[stay.engine]
        start = stay.start_s
        late = engine.resident and first[stay.engine] < start + engine.late_s * (1 - TOLERANCE)
        replicas = tuple(
            (node, _grab(free_from[engine.pool][node], engine.gpus, start, stay.end_s))
            for node in stay.seats
        )
        if engine.beside:
            late = start <= 0.0
        beside = engine.beside and not late
        woken = engine.sleeps and not late and not beside
        holds.append(Hold(stay.engine, start, stay.end_s, late, replicas, woken, beside))
    return tuple(holds)


def _grab(free_from: list[float], gpus: int, start_s: float, end_s: float) -> tuple[int, ...]:
    order = sorted(range(len(free_from)), key=lambda g: (free_from[g] > start_s, g))
    mine = tuple(sorted(order[:gpus]))
    for gpu in mine:
        free_from[gpu] = end_s
    return mine


def _meets(limit: Limit, metrics: Metrics, tolerance: float) -> bool:
    value, bound = metrics.of(limit.metric, limit.percentile), limit.value
    slack = tolerance * max(abs(bound), abs(value))
    match limit.op:
        case "<=":
            return value <= bound + slack
        case ">=":
            return value >= bound - slack
        case "<":
            return value < bound
        case ">":
            return value > bound
        case "!=":
            return abs(value - bound) > slack
    return abs(value - bound) <= slack
