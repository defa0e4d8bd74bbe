"""A day of a service planned by a policy.

`static`: one configuration a workflow, its own instances, as many as the day's peak needs, all day
long. `autoscale`: the same, resized for the peak of each epoch. `separate`: each class alone has
the configurations, instances and waiting that are best for it. `osdi26`: the published optimiser
(Murakkab, OSDI 2026, A.5): classes share instances, sized for the sum of the classes' peaks in each
epoch; a load point is part of what an instance is, and a factor says how much more than one
request's work instances do by multiplexing. `joint`: classes share instances, sized for the sum of
their requests in every period, and what may wait fills the troughs of what may not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from ...targets.study import Policy, Study
from ..service.planner import plan_epochs
from ..service.prices import totals
from ..service.problem import (
    Engine,
    Epoch,
    EpochPlan,
    NoRoom,
    RequestClass,
    ServiceProblem,
    Unserved,
    Variant,
)
from .forecast import FORECASTS
from .margins import with_margin
from .problem import FleetProblem

FINEST_S = 10  # of the periods that a day is planned in; waits are rounded down to whole ones


@dataclass(frozen=True, slots=True)
class Part:
    """Classes that share instances: their problem, epochs, and the plan of each epoch.

    `members` are the indices of the study's classes that each class here stands for.
    """

    problem: ServiceProblem
    members: tuple[tuple[int, ...], ...]
    epochs: tuple[Epoch, ...]
    plans: tuple[EpochPlan, ...]


@dataclass(frozen=True, slots=True)
class DayPlan:
    """What a policy makes of a day; parts share nothing with each other.

    `unserved` are classes that the policy could not serve, with the reason.
    """

    policy: Policy
    parts: tuple[Part, ...]
    unserved: tuple[tuple[str, str], ...]
    solve_s: float


def plan_day(study: Study, fleet: FleetProblem, policy: Policy) -> DayPlan:
    """Return the day's plan by one policy."""
    began_s = perf_counter()
    parts: list[Part] = []
    unserved: list[tuple[str, str]] = []
    for problem, members in _groups(fleet, policy, study.multiplexing):
        epochs = _epochs(study, fleet, members)
        part = _part(study, problem, members, epochs, unserved, policy)
        if part is not None:
            parts.append(part)
    return DayPlan(policy, tuple(parts), tuple(unserved), perf_counter() - began_s)


_Group = tuple[ServiceProblem, tuple[tuple[int, ...], ...]]


def _groups(fleet: FleetProblem, policy: Policy, multiplexing: float) -> list[_Group]:
    problem = fleet.problem
    each = tuple((k,) for k in range(len(problem.classes)))
    match policy:
        case "static" | "autoscale":
            assert fleet.static is not None  # `load_study` asks for it
            return [
                (
                    replace(problem, classes=(kind,)),
                    (tuple(k for k, owner in enumerate(fleet.owners) if owner == number),),
                )
                for number, kind in enumerate(fleet.static)
            ]
        case "separate":
            return [
                (replace(problem, classes=(kind,)), (member,))
                for kind, member in zip(problem.classes, each, strict=True)
            ]
        case "osdi26":
            problem = _by_load(problem, multiplexing)
    return [(problem, each)]


def _epochs(
    study: Study, fleet: FleetProblem, members: tuple[tuple[int, ...], ...]
) -> tuple[Epoch, ...]:
    """Return the day's epochs with the requests of every period, in parts where waits need it."""
    traced_s = study.workflows[0].arrivals.period_s
    parts = _parts(fleet, traced_s)
    period_s = traced_s / parts
    length = round(study.epoch_s / period_s)
    rows = [
        [
            sum(r) / parts
            for r in zip(*(fleet.requests[k] for k in ks), strict=True)
            for _ in range(parts)
        ]
        for ks in members
    ]
    found: list[Epoch] = []
    for first in range(0, len(rows[0]), length):
        found.append(Epoch(tuple(tuple(row[first : first + length]) for row in rows), period_s))
    return tuple(found)


def _parts(fleet: FleetProblem, period_s: float) -> int:
    """Return into how many parts a trace's periods go, so that waits are whole numbers of them."""
    seconds = round(period_s)
    waits = [round(kind.wait_s) for kind in fleet.problem.classes if kind.wait_s]
    common = math.gcd(seconds, *waits)
    while seconds % common or common < FINEST_S:
        common += 1
    return seconds // common


def _expected(
    study: Study, problem: ServiceProblem, epochs: tuple[Epoch, ...]
) -> tuple[Epoch, ...]:
    """Return what epochs are planned for: a forecast, with a margin where sizes are means."""
    found = FORECASTS[study.forecast](epochs)
    return with_margin(found, problem.classes) if study.sizing == "mean" else found


def _part(
    study: Study,
    problem: ServiceProblem,
    members: tuple[tuple[int, ...], ...],
    epochs: tuple[Epoch, ...],
    unserved: list[tuple[str, str]],
    policy: Policy,
) -> Part | None:
    """Plan what can be served; classes that cannot be are left out and told."""
    while problem.classes:
        try:
            expected = _expected(study, problem, epochs)
            if policy in ("separate", "joint") and expected == epochs:
                return Part(problem, members, epochs, plan_epochs(problem, epochs))
            if policy not in ("separate", "joint"):
                expected = tuple(map(_at_peak, expected))
            plans = plan_epochs(problem, expected)
            return _resized(Part(problem, members, epochs, plans), constant=policy == "static")
        except Unserved as error:
            unserved.append((error.kind, error.reason))
            kept = [k for k, kind in enumerate(problem.classes) if kind.name != error.kind]
            problem = replace(problem, classes=tuple(problem.classes[k] for k in kept))
            members = tuple(members[k] for k in kept)
            epochs = tuple(replace(e, requests=tuple(e.requests[k] for k in kept)) for e in epochs)
        except NoRoom as error:
            unserved += [(kind.name, error.reason) for kind in problem.classes]
            return None
    return None


def _at_peak(epoch: Epoch) -> Epoch:
    """Return the epoch as if the requests of each class came at its peak all the time."""
    duration_s = epoch.duration_s
    peaks = tuple((max(row) / epoch.period_s * duration_s,) for row in epoch.requests)
    return replace(epoch, requests=peaks, period_s=duration_s)


def _resized(part: Part, *, constant: bool) -> Part:
    """Return plans that were made for other requests with those that really come.

    `constant` holds in every epoch what the largest one needs. Gaps stay what they were.
    """
    most = tuple(map(max, zip(*(plan.instances for plan in part.plans), strict=True)))
    held = (0,) * len(most)
    plans: list[EpochPlan] = []
    for epoch, plan in zip(part.epochs, part.plans, strict=True):
        instances = most if constant else plan.instances
        served = tuple(map(tuple, map(_by_share, _shares(plan), epoch.requests)))
        started = tuple(max(n - m, 0) for n, m in zip(instances, held, strict=True))
        usd, energy_j = totals(part.problem, epoch, instances, started, plan.columns, served)
        gpus = sum(n * e.gpus for n, e in zip(instances, part.problem.engines, strict=True))
        value = {"cost": usd, "energy": energy_j, "gpus": float(gpus)}[part.problem.objective]
        plans.append(
            replace(
                plan,
                instances=instances,
                served=served,
                usd=usd,
                energy_j=energy_j,
                value=value,
                bound=value * (1 - plan.gap),
            )
        )
        held = instances
    return replace(part, plans=tuple(plans))


def _shares(plan: EpochPlan) -> Iterator[list[float]]:
    """Yield, for each class, the share of its requests that goes through each column."""
    for k, columns in enumerate(plan.columns):
        routed = {route.column.choices: route.share for route in plan.routes(k)}
        yield [routed.get(column.choices, 0.0) for column in columns]


def _by_share(shares: Sequence[float], requests: Sequence[float]) -> list[tuple[float, ...]]:
    return [tuple(share * r for r in requests) for share in shares]


def _by_load(problem: ServiceProblem, multiplexing: float) -> ServiceProblem:
    """Return the problem with an engine of its own for every load point, as A.5 has it."""
    engines: list[Engine] = []
    known: dict[tuple[int, float], int] = {}

    def engine_of(variant: Variant) -> int:
        assert variant.engine is not None  # studies have no work that is left out
        key = (variant.engine, variant.load)
        if key not in known:
            known[key] = len(engines)
            before = problem.engines[variant.engine]
            engines.append(replace(before, name=f"{before.name} at {variant.load:g}"))
        return known[key]

    def changed(kind: RequestClass) -> RequestClass:
        stages = tuple(
            replace(
                stage,
                variants=tuple(
                    replace(v, engine=engine_of(v), busy_s=v.busy_s / multiplexing)
                    for v in stage.variants
                ),
            )
            for stage in kind.stages
        )
        return replace(kind, stages=stages, wait_s=0.0)

    classes = tuple(map(changed, problem.classes))
    return replace(problem, classes=classes, engines=tuple(engines))
