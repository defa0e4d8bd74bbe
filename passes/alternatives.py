"""What each decision was worth: every step's other configurations, priced against the plan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..ir.workflow import MetricName
from ..targets.plan import Alternative
from .formulate import Formulation
from .job.greedy import rank
from .job.problem import Placement, stated
from .job.schedule import Reason, broken, evaluate
from .modes import Way

# How many alternatives of a step are worth telling; so many of them that could be had.
MOST = 6
NEXT = 4
# Steps laid out in all, about two seconds; bounds what is tried in large jobs.
LAID_OUT = 100_000


def alternatives(
    formulation: Formulation, chosen: Sequence[int]
) -> dict[str, tuple[Alternative, ...]]:
    """Return, for each step, what one change there alone would make of the whole plan.

    Each configuration and slot other than the chosen one is laid out with everything else as it is,
    at the load that does best by requirements and objectives. One that breaks a requirement, does
    not fit, or changes what later steps were planned for says so. The next best by the objectives
    comes first; what cannot be had comes last, what is nearest to the requirements before the rest.
    """
    steps = len(formulation.steps)
    layouts = max(1, LAID_OUT // max(1, steps * steps))  # for each step
    found = {}
    for index, (step, listed) in enumerate(zip(formulation.steps, formulation.ways, strict=True)):
        others = _others(listed, listed[chosen[index]])
        keys = sorted(others, key=lambda key: _order(listed[others[key][0]]))
        keys = keys[: max(MOST, layouts)]
        loads = max(1, layouts // max(1, len(keys)))
        ranked = [_best(formulation, chosen, index, _spread(others[key], loads)) for key in keys]
        found[step.op.out().name] = _few([other for _, other in sorted(ranked, key=_rank)])
    return found


def _rank(ranked: tuple[tuple[float, ...], Alternative]) -> tuple[float, ...]:
    return ranked[0]


def _few(ranked: Sequence[Alternative]) -> tuple[Alternative, ...]:
    """Return MOST, NEXT that could be had and others that could not among them.

    What is out for one reason in several slots is told once.
    """
    possible = [other for other in ranked if other.why_not is None]
    out: dict[tuple[str, str], Alternative] = {}
    for other in ranked:
        if other.why_not is not None:
            out.setdefault((other.variant, other.why_not), other)
    kept = possible[: max(NEXT, MOST - len(out))]
    return (*kept, *list(out.values())[: MOST - len(kept)])


def _others(listed: Sequence[Way], now: Way) -> Mapping[tuple[str, str], list[int]]:
    """Return the ways of each other (configuration, slot) in the plan's case, fastest first."""
    mine = (now.configuration.label, str(now.slot))
    found: dict[tuple[str, str], list[int]] = {}
    for index in sorted(range(len(listed)), key=lambda i: listed[i].times[0].duration_s):
        way = listed[index]
        key = (way.configuration.label, str(way.slot))
        if key != mine and way.case == now.case:
            found.setdefault(key, []).append(index)
    return found


def _order(way: Way) -> tuple[float, float, str, str]:
    return (-way.quality, way.energy_j, way.configuration.label, str(way.slot))


def _spread(loads: Sequence[int], most: int) -> Sequence[int]:
    """Return `most` of the loads at equal distances, the fastest among them."""
    if len(loads) <= most:
        return loads
    return [loads[k * len(loads) // most] for k in range(most)]


def _best(
    formulation: Formulation, chosen: Sequence[int], index: int, others: Sequence[int]
) -> tuple[tuple[float, ...], Alternative]:
    """Return the best of the ways of one configuration in one slot in the plan, with its rank."""
    way = formulation.ways[index][others[0]]
    label, slot = way.configuration.label, str(way.slot) if way.slot is not None else ""
    laid = [_laid_out(formulation, chosen, index, other) for other in others]
    placed = [found for found in laid if not isinstance(found, Reason)]
    if not placed:
        reason = next(found for found in laid if isinstance(found, Reason))
        return (math.inf,), Alternative(label, slot, why_not=reason.text)
    problem = formulation.problem
    best = min(placed, key=lambda found: rank(problem, found))
    metrics = best.metrics
    missed = [
        f"`{x.text}` ({_value(formulation, x.metric, metrics.of(x.metric, x.percentile))})"
        for x in broken(problem, metrics)
    ]
    return rank(problem, best), Alternative(
        variant=label,
        slot=slot,
        latency_s=metrics.latency_s[0],
        energy_j=metrics.energy_j,
        cost_usd=metrics.cost_usd,
        accuracy=metrics.accuracy * formulation.accuracy,
        gpus=metrics.gpus,
        why_not=f"it would break {' and '.join(missed)}" if missed else None,
    )


def _value(formulation: Formulation, metric: MetricName, value: float) -> str:
    return stated(metric, value * (formulation.accuracy if metric == "accuracy" else 1.0))


def _laid_out(
    formulation: Formulation, chosen: Sequence[int], index: int, other: int
) -> Placement | Reason:
    modes = list(chosen)
    modes[index] = other
    if formulation.ways[index][other].emits != formulation.ways[index][chosen[index]].emits:
        modes = _followed(formulation, modes)
    return evaluate(formulation.problem, modes)


def _followed(formulation: Formulation, modes: list[int]) -> list[int]:
    """Let later steps keep their choice in the case that the change leads to, where they can."""
    followed = list(modes)
    emitted: dict[str, int] = {}
    for index, (step, listed) in enumerate(zip(formulation.steps, formulation.ways, strict=True)):
        now = listed[followed[index]]
        if any(emitted.get(name) != output for name, output in now.case):
            same = [
                i
                for i, way in enumerate(listed)
                if all(emitted.get(name) == output for name, output in way.case)
            ]
            if same:
                followed[index] = min(same, key=lambda i: _unlike(listed[i], now))
        emitted[step.op.out().name] = listed[followed[index]].emits
    return followed


def _unlike(way: Way, wanted: Way) -> tuple[bool, bool, int]:
    return (
        way.configuration.label != wanted.configuration.label,
        str(way.slot) != str(wanted.slot),
        abs(way.concurrency * way.replicas - wanted.concurrency * wanted.replicas),
    )
