"""Placing a service: a program with `expect rate`, planned by the planner of services.

The rate is what instances are sized for. Objectives of accuracy and latency become limits, the
best that can be had one after the other, and the first of cost, energy and GPUs is minimised
within them. The route that most requests take is what a plan runs; the plan of the service has all
routes, and what it predicts is of the service.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ...ir.workflow import MetricName, Module
from ..base import Context
from ..fleet.program import AT_LEAST, AT_MOST
from ..formulate import DEFAULT_FLOOR, Formulation, limits_of, without_tiers
from ..job.problem import Limit, Placement
from ..job.schedule import Reason, broken
from .flow import EPSILON
from .model import GAP
from .prices import direct_price, engine_price, totals
from .problem import (
    OBJECTIVES,
    Column,
    EpochPlan,
    NoRoom,
    Objective,
    RequestClass,
    ServiceProblem,
    Unserved,
)
from .program import HOUR_S, Limits, ServedProgram
from .readout import place_routes
from .refusal import limits_within, missed_by_least, refused

HALVINGS = 12  # of the interval in which the least latency lies
HELD = {"accuracy": AT_LEAST, "latency": AT_MOST}  # that configurations can be chosen by
SPARED = 4  # times that a plan is sought with a GPU less, where its instances do not fit the nodes


def serve(module: Module, context: Context, rate: float) -> tuple[Formulation, Placement] | None:
    """Return the placement of a service's largest route, with the plan of the service.

    None where the planner of services cannot say: for requirements such as `accuracy <= 0.9`.
    Raises `CompileError` where no plan meets them.
    """
    service = ServedProgram(module, context, rate)
    offer = service.offer
    workflow = offer.workflow
    measured = offer.measured
    table = None if measured is None else measured.accuracies
    needs = without_tiers(workflow, offer.steps, offer.ways, table)
    floor = DEFAULT_FLOOR * (1.0 if measured is None else measured.reference)
    limits = limits_of(needs, offer.scale, floor)
    if any(limit.op not in HELD.get(limit.metric, (limit.op,)) for limit in limits):
        return None
    asked = limits_within(limits, offer.scale)
    missed: tuple[Limit, ...] = ()
    try:
        goal, asked = _first(service, workflow.objectives, asked)
        # what is limited besides is minimised instead where it would else be missed
        for objective in (goal, *(x.metric for x in limits if x.metric in OBJECTIVES)):
            formulation, placement = _planned(service, asked, objective, limits)
            missed = tuple(broken(formulation.problem, placement.metrics))
            if not missed:
                return formulation, placement
    except (Unserved, NoRoom) as error:
        raise refused(service, limits, error) from None
    raise missed_by_least(service, missed, placement)


def _planned(
    service: ServedProgram, asked: Limits, objective: Objective, limits: tuple[Limit, ...]
) -> tuple[Formulation, Placement]:
    """Return the plan of least objective, laid out on the cluster's nodes.

    The planner counts the GPUs of a pool, not where they are: where its plan does not go into the
    nodes, it does with fewer.
    """
    problem, why = service.problem(asked, objective), ""
    for _ in range(SPARED):
        plan = _simplest(service, problem, _fewest(service, problem))
        found = place_routes(service, problem, plan, limits)
        if not isinstance(found, Reason):
            return found
        why = found.text
        held = [0] * len(problem.pools)
        for engine, n in zip(problem.engines, plan.instances, strict=True):
            if engine.pool >= 0:
                held[engine.pool] += engine.gpus * n
        pools = zip(problem.pools, held, strict=True)
        spared = tuple(replace(pool, gpus=max(n - 1, 0)) for pool, n in pools)
        problem = replace(problem, pools=spared)
    raise NoRoom(why)


def _first(
    service: ServedProgram, objectives: Sequence[MetricName], limits: Limits
) -> tuple[Objective, Limits]:
    """Return what is minimised, within the best of what comes before it.

    Where nothing has a price, energy is next.
    """
    for metric in objectives:
        if metric in OBJECTIVES:
            return "energy" if metric == "cost" and _free(service) else metric, limits
        if metric == "accuracy":
            limits = replace(limits, accuracy=_best_accuracy(service, limits))
        else:
            limits = replace(limits, latency_s={**limits.latency_s, 0: _least(service, limits)})
    return "cost", limits


def _free(service: ServedProgram) -> bool:
    """Tell whether nothing costs money here."""
    held = any(engine.usd_per_s for engine in service.engines.all)
    return not held and not any(v.usd for stage in service.stages[0] for v in stage.variants)


def _best_accuracy(service: ServedProgram, limits: Limits) -> float:
    """Return the accuracy that all requests can have: the least sum of logarithms is sought."""
    if service.offer.measured is not None:
        return _best_measured(service, limits, service.offer.measured.accuracies.values())
    problem = service.problem(limits, "cost")
    stages = tuple(
        replace(
            stage,
            variants=tuple(replace(v, usd=-math.log(v.quality)) for v in stage.variants),
        )
        for stage in problem.classes[0].stages
    )
    plan = service.plan(
        replace(
            problem,
            classes=(replace(problem.classes[0], stages=stages),),
            engines=tuple(replace(engine, usd_per_s=0.0) for engine in problem.engines),
        )
    )
    return min(route.column.accuracy for route in plan.routes(0))


def _best_measured(service: ServedProgram, limits: Limits, found: Iterable[float]) -> float:
    """Return the best measured accuracy with which there is a plan: the lower, the more are."""
    ranked = sorted({limits.accuracy, *(a for a in found if a > limits.accuracy)})
    low, high = 0, len(ranked)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            service.plan(service.problem(replace(limits, accuracy=ranked[middle]), "cost"))
            low = middle
        except (Unserved, NoRoom):
            high = middle
    return ranked[low]


def _least(service: ServedProgram, limits: Limits) -> float:
    """Return the least median latency that all requests can have, found by halving."""

    def reached(limits: Limits) -> float:
        problem = service.problem(limits, "cost")
        kind = replace(problem.classes[0], stages=service.stages[0])
        routes = service.plan(problem).routes(0)
        return max(Column.of(kind, route.column.choices).latency_s for route in routes)

    low, high = 0.0, reached(limits)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        try:
            high = min(reached(replace(limits, latency_s={**limits.latency_s, 0: middle})), middle)
        except (Unserved, NoRoom):
            low = middle
    return high


def _fewest(service: ServedProgram, problem: ServiceProblem) -> EpochPlan:
    """Return the best plan; of those with as few GPUs in each pool, the cheapest."""
    plan = service.plan(problem)
    if problem.objective != "gpus":
        return plan
    used = [0] * len(problem.pools)
    for engine, n in zip(problem.engines, plan.instances, strict=True):
        if engine.pool >= 0:
            used[engine.pool] += engine.gpus * n
    pools = tuple(replace(p, gpus=n) for p, n in zip(problem.pools, used, strict=True))
    try:
        cheapest = service.plan(replace(problem, pools=pools, objective="cost"))
    except NoRoom:
        return plan  # it fits within the solver's tolerance only
    return replace(cheapest, value=plan.value, bound=plan.bound)


def _simplest(service: ServedProgram, problem: ServiceProblem, plan: EpochPlan) -> EpochPlan:
    """Return a plan with one route where that is as good as one with several.

    It is the best of the columns that were looked at, changed step by step as long as that makes it
    better: what is planned for equal cost, say, may differ in all else.
    """
    alone = (_alone(service, problem, plan, column) for column in plan.columns[0])
    found = [one for one in alone if one is not None]
    if not found:
        return plan
    best = min(found, key=lambda one: _worth(service, problem, one))
    better = _changed(service, problem, best)
    while better is not None:
        best, better = better, _changed(service, problem, better)
    return plan if best.value > plan.value * (1 + GAP) else best


def _changed(service: ServedProgram, problem: ServiceProblem, plan: EpochPlan) -> EpochPlan | None:
    """Return the plan of one route that is best after a change at one step, None if none is."""
    (kind,), ((column,),) = problem.classes, plan.columns
    best, worth = None, _worth(service, problem, plan)
    for s, stage in enumerate(kind.stages):
        for v in range(len(stage.variants)):
            choices = (*column.choices[:s], v, *column.choices[s + 1 :])
            other = _alone(service, problem, plan, Column.of(kind, choices))
            if other is not None and _worth(service, problem, other) < worth:
                best, worth = other, _worth(service, problem, other)
    return best


def _worth(service: ServedProgram, problem: ServiceProblem, plan: EpochPlan) -> tuple[float, ...]:
    """Return what counts of a plan of one route, most first; rounding does not."""
    ((column,),) = plan.columns
    medians = replace(problem.classes[0], stages=service.stages[0])
    values: dict[MetricName, float] = {
        "cost": plan.usd,
        "energy": plan.energy_j,
        "gpus": sum(e.gpus * n for e, n in zip(problem.engines, plan.instances, strict=True)),
        "latency": Column.of(medians, column.choices).latency_s,
        "accuracy": -column.accuracy,
    }
    goals = (problem.objective, *service.offer.workflow.objectives)
    return tuple(float(f"{values[metric]:.6g}") for metric in goals)


def _alone(
    service: ServedProgram, problem: ServiceProblem, plan: EpochPlan, column: Column
) -> EpochPlan | None:
    """Return the plan in which all requests take one column, None where that does not fit."""
    kind, busy = problem.classes[0], dict(column.busy)
    if not _accepted(kind, column):
        return None
    instances = tuple(
        max(math.ceil(service.rate * busy[index] - EPSILON), 1) if index in busy else 0
        for index in range(len(problem.engines))
    )
    if not _stand(problem, instances):
        return None
    served = ((service.epoch.requests[0],),)
    none = (0,) * len(instances)
    usd, energy_j = totals(problem, service.epoch, instances, none, ((column,),), served)
    value = service.rate * HOUR_S * direct_price(problem, column) + sum(
        n * engine_price(problem, engine, HOUR_S)[0]
        for engine, n in zip(problem.engines, instances, strict=True)
    )
    return EpochPlan(
        instances=instances,
        columns=((column,),),
        served=served,
        usd=usd,
        energy_j=energy_j,
        value=value,
        bound=min(plan.bound, value),
        status=plan.status,
    )


def _stand(problem: ServiceProblem, instances: Sequence[int]) -> bool:
    """Tell whether there is room for so many instances of each engine."""
    held = list(zip(problem.engines, instances, strict=True))
    within = all(engine.most is None or n <= engine.most for engine, n in held)
    return within and all(
        sum(engine.gpus * n for engine, n in held if engine.pool == index) <= pool.gpus
        and sum(engine.cores * n for engine, n in held if engine.pool == index) <= pool.cores
        for index, pool in enumerate(problem.pools)
    )


def _accepted(kind: RequestClass, column: Column) -> bool:
    """Tell whether a column is within the limits of a class."""
    slow = kind.latency_s is not None and column.latency_s > kind.latency_s * (1 + 1e-9)
    poor = kind.accuracy is not None and column.accuracy < kind.accuracy * (1 - 1e-9)
    return not slow and not poor
