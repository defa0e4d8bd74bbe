"""Why classes of a study are not served: the fewest demands that conflict, and what would do.

A class asks too much where no configuration has its accuracy and its latency: each of them may be
out of reach alone, or only the two together. Requests ask too much where the hardware cannot serve
them: classes are left out one by one, and stay out where those that are left still ask too much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ...targets.service_plan import Unmet
from ...targets.study import Study
from ..service.columns import Columns
from ..service.planner import Planner
from ..service.problem import Epoch, NoRoom, RequestClass, ServiceProblem, Unserved
from .day import DayPlan
from .margins import with_margin
from .problem import FleetProblem

DIGITS = 4  # that are shown: nearest values are rounded to where they can be had
HALVINGS = 40  # of the interval in which the least latency lies
CLASSES = 12  # beyond so many, which of them are too much together is not looked for


def unmet(study: Study, fleet: FleetProblem, day: DayPlan) -> tuple[Unmet, ...]:
    """Return the classes that a policy does not serve, each with what it asks too much of."""
    kinds = {kind.name: kind for kind in fleet.problem.classes}
    limited = {
        name: _asks_too_much(kinds[name], reason) for name, reason in day.unserved if name in kinds
    }
    lacking = [name for name, told in limited.items() if not told.conflict]
    if day.policy == "separate":
        limited |= {name: _no_room(study, fleet, [name], limited[name]) for name in lacking}
    elif lacking:
        shared = _no_room(study, fleet, lacking, limited[lacking[0]])
        limited |= {name: replace(shared, name=name) for name in lacking}
    return tuple(limited.get(name, Unmet(name, reason)) for name, reason in day.unserved)


def _asks_too_much(kind: RequestClass, reason: str) -> Unmet:
    """Return which limits of a class conflict; none where they do not."""
    try:
        Columns(kind)
    except Unserved:
        pass
    else:
        return Unmet(kind.name, reason)
    if not all(stage.variants for stage in kind.stages):
        return Unmet(kind.name, reason, ("capacity that stays",))
    latency, accuracy = f"latency <= {kind.latency_s} s", f"accuracy >= {kind.accuracy}"
    if kind.latency_s is not None and not _served(replace(kind, accuracy=None)):
        least_s = _least_latency(replace(kind, accuracy=None))
        # configurations that were measured, and are less accurate, may be as fast
        blamed = (latency,) if kind.table is None else (latency, accuracy)
        return Unmet(kind.name, reason, blamed, ((latency, least_s),))
    if kind.accuracy is not None and not _served(replace(kind, latency_s=None)):
        best = _best_accuracy(replace(kind, latency_s=None))
        return Unmet(kind.name, reason, (accuracy,), ((accuracy, best),))
    nearest = ((latency, _least_latency(kind)), (accuracy, _best_accuracy(kind)))
    return Unmet(kind.name, reason, (latency, accuracy), nearest)


def _served(kind: RequestClass) -> bool:
    try:
        Columns(kind)
    except Unserved:
        return False
    return True


def _best_accuracy(kind: RequestClass) -> float:
    """Return the best accuracy within the latency of a class, rounded down."""
    columns = Columns(replace(kind, accuracy=None))
    column = columns.cheapest(lambda variant: -math.log(variant.quality)).column
    assert column is not None  # `Columns` has raised `Unserved` where there is none
    return _rounded(column.accuracy, up=False)


def _least_latency(kind: RequestClass) -> float:
    """Return the least latency with the accuracy of a class, rounded up."""
    finite = [
        max((v.latency_s for v in stage.variants if math.isfinite(v.latency_s)), default=math.inf)
        for stage in kind.stages
    ]
    low, high = 0.0, sum(finite)
    if not math.isfinite(high):
        return high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _served(replace(kind, latency_s=middle)):
            high = middle
        else:
            low = middle
    return _rounded(high, up=True)


def _rounded(value: float, *, up: bool) -> float:
    """Round to the digits that are shown, to the side on which the value can be had."""
    if value <= 0.0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - DIGITS + 1)
    whole = math.ceil(value / unit - 1e-6) if up else math.floor(value / unit + 1e-6)
    return float(f"{whole * unit:.{DIGITS}g}")


def _no_room(study: Study, fleet: FleetProblem, names: Sequence[str], told: Unmet) -> Unmet:
    """Say which classes are too much for the hardware, and how many GPUs would be enough."""
    members = [k for k, kind in enumerate(fleet.problem.classes) if kind.name in names]
    problem = _only(fleet.problem, members)
    epoch = _busiest(study, fleet, members)
    if study.sizing == "mean":
        (epoch,) = with_margin((epoch,), problem.classes)
    kept = list(range(len(members)))
    if len(kept) <= CLASSES:
        for k in tuple(kept):
            rest = [i for i in kept if i != k]
            if rest and not _fits(problem, epoch, rest):
                kept = rest
    asked = [f"the requests of {problem.classes[k].name}" for k in kept]
    there = sum(pool.gpus for pool in problem.pools)
    hardware = f"{there} GPUs" if there else "no GPUs"
    enough = _enough(problem, epoch)  # for all: with less, the others lack them
    nearest = ((hardware, float(enough)),) if enough is not None and enough > there else ()
    return replace(told, conflict=(*asked, hardware), nearest=nearest)


def _busiest(study: Study, fleet: FleetProblem, members: Sequence[int]) -> Epoch:
    """Return an epoch whose requests come all the time as in the busiest period.

    What may wait does not here, so that hardware which is enough is enough.
    """
    period_s = study.workflows[0].arrivals.period_s
    rows = [fleet.requests[k] for k in members]
    peak = max(range(len(rows[0])), key=lambda t: sum(row[t] for row in rows))
    return Epoch(tuple((row[peak] / period_s * study.epoch_s,) for row in rows), study.epoch_s)


def _fits(problem: ServiceProblem, epoch: Epoch, kept: Sequence[int]) -> bool:
    try:
        Planner(_only(problem, kept)).plan(_of(epoch, kept))
    except NoRoom:
        return False
    return True


def _enough(problem: ServiceProblem, epoch: Epoch) -> int | None:
    """Return how many GPUs would serve an epoch, None where GPUs are not what lacks."""
    pools = tuple(replace(pool, gpus=10**7, cores=10**9) for pool in problem.pools)
    try:
        plan = Planner(replace(problem, pools=pools, objective="gpus")).plan(epoch)
    except NoRoom:
        return None
    return sum(e.gpus * n for e, n in zip(problem.engines, plan.instances, strict=True))


def _only(problem: ServiceProblem, kept: Sequence[int]) -> ServiceProblem:
    return replace(problem, classes=tuple(problem.classes[k] for k in kept))


def _of(epoch: Epoch, kept: Sequence[int]) -> Epoch:
    return replace(epoch, requests=tuple(epoch.requests[k] for k in kept))
