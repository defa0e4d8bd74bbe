"""Reading the plan of a service out of what its parts came to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from ...targets.service_plan import (
    Explained,
    FleetEpoch,
    InstanceType,
    PlannedRoute,
    RouteStep,
    ServedClass,
    ServicePlan,
)
from ...targets.study import Study
from ..job.problem import LEAST_ACCURACY
from ..service.problem import Column, Engine, Hardware, RequestClass
from ..service.without import Without, busiest
from .conflict import unmet
from .day import DayPlan, Part
from .problem import FleetProblem

SOLVES = 48  # plans of one epoch that explaining a day may take
LIMITS = 3  # of those, for what holds a class back


def service_plan(study: Study, fleet: FleetProblem, day: DayPlan) -> ServicePlan:
    """Return a day's plan as data that stands for itself: each part is a group of instances."""
    firsts: list[int] = []  # where the instance types of each part begin
    instances: list[InstanceType] = []
    for group, part in enumerate(day.parts):
        firsts.append(len(instances))
        pools = part.problem.pools
        instances += [instance_type(engine, pools, group) for engine in part.problem.engines]
    served = {member for part in day.parts for members in part.members for member in members}
    kinds = fleet.problem.classes
    classes = tuple(
        ServedClass(
            name=kind.name,
            accuracy=asked_accuracy(kind),
            latency_s=kind.latency_s,
            wait_s=kind.wait_s,
            late=kind.late,
            requests=fleet.requests[k] if k in served else (0.0,) * len(fleet.requests[k]),
            work_cv=kind.work_cv,
        )
        for k, kind in enumerate(kinds)
    )
    return ServicePlan(
        study=study.name,
        policy=day.policy,
        objective=study.objective,
        period_s=study.workflows[0].arrivals.period_s,
        instances=tuple(instances),
        classes=classes,
        epochs=tuple(_epochs(day, firsts)),
        unserved=unmet(study, fleet, day),
    )


def explained(fleet: FleetProblem, day: DayPlan) -> tuple[Explained, ...]:
    """Return why classes are served as they are, in the busiest epoch; the busiest classes first.

    No more than `SOLVES` plans are made for that; policies that choose nothing explain nothing.
    """
    found: list[Explained] = []
    left = SOLVES
    for part in day.parts if day.policy in ("separate", "joint") else ():
        number = busiest(part.epochs)
        epoch = part.epochs[number]
        without: Without | None = None
        for k in sorted(range(len(part.members)), key=lambda k: -sum(epoch.requests[k])):
            left -= len(part.problem.classes[k].stages) + LIMITS
            if left < 0 or not sum(epoch.requests[k]):
                break
            without = without or Without(part.problem, epoch, part.plans[number])
            found.append(without.explained(k, part.members[k][0], number))
    return tuple(sorted(found, key=lambda each: each.kind))


def asked_accuracy(kind: RequestClass) -> float | None:
    """Return what a class asks, None for what every measured configuration has."""
    asked = kind.accuracy
    return None if asked is None or asked <= LEAST_ACCURACY else asked


def instance_type(engine: Engine, pools: Sequence[Hardware], group: int) -> InstanceType:
    """Return an engine as a kind of instance that classes of a group share."""
    pool = pools[engine.pool] if engine.pool >= 0 else None
    return InstanceType(
        name=engine.name,
        group=group,
        gpu=pool.gpu if pool is not None and engine.gpus else None,
        gpus=engine.gpus,
        usd_per_s=engine.usd_per_s,
        idle_w=engine.idle_w,
        startup_s=engine.startup_s,
    )


def _epochs(day: DayPlan, firsts: list[int]) -> Iterator[FleetEpoch]:
    start_s = 0.0
    for number in range(len(day.parts[0].plans) if day.parts else 0):
        plans = [part.plans[number] for part in day.parts]
        duration_s = day.parts[0].epochs[number].duration_s
        yield FleetEpoch(
            start_s=start_s,
            duration_s=duration_s,
            instances=tuple(n for plan in plans for n in plan.instances),
            routes=tuple(
                route
                for part, first in zip(day.parts, firsts, strict=True)
                for route in _routes(part, number, first)
            ),
            usd=sum(plan.usd for plan in plans),
            energy_j=sum(plan.energy_j for plan in plans),
            value=sum(plan.value for plan in plans),
            bound=sum(plan.bound for plan in plans),
        )
        start_s += duration_s


def _routes(part: Part, number: int, first: int) -> Iterator[PlannedRoute]:
    numbers = {index: first + index for index in range(len(part.problem.engines))}
    for k, members in enumerate(part.members):
        for route in part.plans[number].routes(k):
            for member in members:
                yield planned_route(
                    part.problem.classes[k], route.column, route.share, member, numbers
                )


def planned_route(
    kind: RequestClass, column: Column, share: float, member: int, numbers: Mapping[int, int]
) -> PlannedRoute:
    """Return a route of class number `member`; `numbers` are those of instances, by engine."""
    return PlannedRoute(
        kind=member,
        share=share,
        configuration=column.label(kind),
        busy=tuple((numbers[engine], seconds) for engine, seconds in column.busy),
        latency_s=_known(column.latency_s),
        accuracy=column.accuracy,
        energy_j=column.energy_j,
        usd=column.usd,
        steps=tuple(_steps(kind, column, numbers)),
    )


def _steps(kind: RequestClass, column: Column, numbers: Mapping[int, int]) -> Iterator[RouteStep]:
    for stage, choice in zip(kind.stages, column.choices, strict=True):
        variant = stage.variants[choice]
        yield RouteStep(
            step=stage.name,
            configuration=variant.configuration,
            instance=None if variant.engine is None else numbers[variant.engine],
            load=variant.load,
            busy_s=variant.busy_s,
            latency_s=_known(variant.latency_s),
            quality=variant.quality,
            source=variant.source,
            error_band=variant.error_band,
        )


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
