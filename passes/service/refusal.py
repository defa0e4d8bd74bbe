"""Why a service cannot be planned: which requirements conflict, alone or with the hardware.

Requirements are left out one by one, and stay out where what is left still cannot be met; the rate
and the hardware are blamed where requirements alone are not. What would do is found by halving,
the others kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...ir.diagnostics import CompileError, Diagnostic
from ..job.problem import Limit, Placement, stated
from .columns import Columns
from .planner import Planner
from .problem import NoRoom, Unserved
from .program import Limits, ServedProgram

HALVINGS = 12
QUICK = 1  # of effort: what is found without branching
LEAST = 1e-4  # of the rate, that might be served


def limits_within(limits: Sequence[Limit], scale: float) -> Limits:
    """Return what every request must have, of limits that the planner can hold."""
    accuracy, latency_s = 0.0, dict[int, float]()
    for limit in limits:
        if limit.metric == "accuracy":
            accuracy = max(accuracy, limit.value * scale)
        elif limit.metric == "latency":
            known = latency_s.get(limit.percentile, math.inf)
            latency_s[limit.percentile] = min(limit.value, known)
    return Limits(accuracy, latency_s)


def refused(
    service: ServedProgram, limits: Sequence[Limit], error: Unserved | NoRoom
) -> CompileError:
    """Return the error of a service of which no plan was found."""
    of_requests = [limit for limit in limits if limit.metric in ("accuracy", "latency")]
    crowded = isinstance(error, NoRoom)
    holds = _fits if crowded else _served
    kept = list(of_requests)
    for limit in of_requests:
        rest = [other for other in kept if other is not limit]
        if not holds(service, rest):
            kept = rest
    said = [f"`{limit.text}`" for limit in kept]
    hints = [_nearest(service, limit, kept, holds) for limit in kept]
    if crowded:
        said += [f"`expect rate = {service.rate:g} / s`", _hardware(service)]
        hints.append(_nearest_rate(service, kept))
    what = "cannot all be met" if len(said) > 1 else "cannot be met"
    return _error(service, f"{' and '.join(said)} {what}", kept, hints)


def missed_by_least(
    service: ServedProgram, missed: Sequence[Limit], placement: Placement
) -> CompileError:
    """Return the error of a limit that not even the plan with the least of its metric meets."""
    hints = [
        f"`{limit.text}` would be feasible at "
        f"{stated(limit.metric, placement.metrics.of(limit.metric, limit.percentile))}"
        for limit in missed
    ]
    said = " and ".join(f"`{limit.text}`" for limit in missed)
    return _error(service, f"{said} cannot be met", missed, hints)


def _error(
    service: ServedProgram, message: str, blamed: Sequence[Limit], hints: Sequence[str | None]
) -> CompileError:
    workflow = service.offer.workflow
    places = {need.text: need.loc for need in workflow.requirements}
    rate = next((fact.loc for fact in workflow.expectations if fact.fact == "rate"), None)
    place = next((places[x.text] for x in blamed if x.text in places), rate or workflow.loc)
    help = "; ".join(hint for hint in hints if hint)
    return CompileError([Diagnostic("infeasible", message, place, help=help or None)])


def _hardware(service: ServedProgram) -> str:
    pools = service.context.cluster.pools
    gpus = sum(pool.nodes * pool.gpus for pool in pools)
    if gpus:
        return f"the cluster's {gpus} GPUs"
    return f"the cluster's {sum(pool.nodes * pool.cpu.cores for pool in pools)} cores"


def _served(service: ServedProgram, limits: Sequence[Limit]) -> bool:
    """Tell whether some configuration is within limits."""
    problem = service.problem(limits_within(limits, service.offer.scale), "cost")
    try:
        Columns(problem.classes[0])
    except Unserved:
        return False
    return True


def _fits(service: ServedProgram, limits: Sequence[Limit], rate: float | None = None) -> bool:
    """Tell whether a plan within limits was found, at another rate if one is given."""
    problem = service.problem(limits_within(limits, service.offer.scale), "gpus")
    rate = service.rate if rate is None else rate
    epoch = replace(service.epoch, requests=((rate * service.epoch.duration_s,),))
    try:
        Planner(problem, QUICK).plan(epoch)
    except (Unserved, NoRoom):
        return False
    return True


_Holds = Callable[[ServedProgram, Sequence[Limit]], bool]


def _nearest(
    service: ServedProgram, limit: Limit, kept: Sequence[Limit], holds: _Holds
) -> str | None:
    """Say at what value a limit would be feasible with the others kept."""

    def at(value: float) -> bool:
        others = [other for other in kept if other is not limit]
        return holds(service, [*others, replace(limit, value=value)])

    upwards = limit.metric == "latency"
    good, bad = limit.value, limit.value
    while not at(good):
        good = good * 2 if upwards else good / 2
        if not 1e-6 < good < 1e9:
            return None
    for _ in range(HALVINGS):
        middle = (good + bad) / 2
        if at(middle):
            good = middle
        else:
            bad = middle
    value = good * (service.offer.scale if limit.metric == "accuracy" else 1.0)
    return f"`{limit.text}` would be feasible at {stated(limit.metric, value)}"


def _nearest_rate(service: ServedProgram, kept: Sequence[Limit]) -> str | None:
    """Say what rate would be feasible."""
    good, bad = 0.0, service.rate
    for _ in range(HALVINGS):
        middle = (good + bad) / 2
        if _fits(service, kept, middle):
            good = middle
        else:
            bad = middle
    return f"a rate of {good:.3g} / s would be feasible" if good > LEAST * service.rate else None
