"""What a day's plan comes to: GPUs, energy, cost, accuracy, and requests beyond their limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .fleet import DayPlan, Part, columns_of
from .fleetproblem import FleetProblem
from .serviceproblem import RequestClass

TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Hour:
    """One epoch: GPUs held by type, dollars, joules, instances by engine."""

    start_s: float
    duration_s: float
    gpus: tuple[tuple[str, int], ...]
    usd: float
    energy_j: float
    instances: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole day of a policy.

    `gpus_max` is the most held at once, `by_type` for each type of GPU. `accuracy` is the mean over
    requests, `violations` the share of requests whose configuration misses a limit of their class;
    both count classes that are served. `gap` is relative, of the objective over the day.
    """

    policy: str
    gpus_max: int
    by_type: tuple[tuple[str, int], ...]
    energy_j: float
    usd: float
    accuracy: float
    violations: float
    solve_s: float
    gap: float
    hours: tuple[Hour, ...]
    unserved: tuple[tuple[str, str], ...]


def summarise(fleet: FleetProblem, day: DayPlan) -> Summary:
    """Return what a day's plan comes to."""
    hours = tuple(_hours(day))
    types = sorted({name for hour in hours for name, _ in hour.gpus})
    by_type = tuple((t, max((dict(h.gpus).get(t, 0) for h in hours), default=0)) for t in types)
    served = [item for part in day.parts for item in _served(fleet, part)]
    requests = sum(amount for amount, _, _ in served)
    plans = [plan for part in day.parts for plan in part.plans]
    value = sum(plan.value for plan in plans)
    return Summary(
        policy=day.policy,
        gpus_max=max((sum(count for _, count in hour.gpus) for hour in hours), default=0),
        by_type=by_type,
        energy_j=sum(hour.energy_j for hour in hours),
        usd=sum(hour.usd for hour in hours),
        accuracy=sum(a * accuracy for a, accuracy, _ in served) / requests if requests else 0.0,
        violations=sum(a for a, _, missed in served if missed) / requests if requests else 0.0,
        solve_s=day.solve_s,
        gap=max(1 - sum(plan.bound for plan in plans) / value, 0.0) if value else 0.0,
        hours=hours,
        unserved=day.unserved,
    )


def _hours(day: DayPlan) -> Iterator[Hour]:
    count = max((len(part.plans) for part in day.parts), default=0)
    start_s = 0.0
    for number in range(count):
        gpus: dict[str, int] = {}
        instances: dict[str, int] = {}
        usd = energy_j = 0.0
        for part in day.parts:
            plan = part.plans[number]
            usd, energy_j = usd + plan.usd, energy_j + plan.energy_j
            for engine, n in zip(part.problem.engines, plan.instances, strict=True):
                if n:
                    instances[engine.name] = instances.get(engine.name, 0) + n
                if n and engine.gpus:
                    kind = part.problem.pools[engine.pool].gpu or ""
                    gpus[kind] = gpus.get(kind, 0) + n * engine.gpus
        duration_s = day.parts[0].epochs[number].duration_s
        yield Hour(
            start_s=start_s,
            duration_s=duration_s,
            gpus=tuple(sorted(gpus.items())),
            usd=usd,
            energy_j=energy_j,
            instances=tuple(sorted(instances.items())),
        )
        start_s += duration_s


def _served(fleet: FleetProblem, part: Part) -> Iterator[tuple[float, float, bool]]:
    """Yield requests of each class and column, their accuracy, and whether a limit is missed.

    A class that stands for several of the study's shares its requests out among them.
    """
    for k, members in enumerate(part.members):
        sums = [sum(fleet.requests[m]) for m in members]
        total = sum(sums)
        for column, amount in columns_of(part, k):
            for member, own in zip(members, sums, strict=True):
                kind = fleet.problem.classes[member]
                share = amount * own / total if total else 0.0
                yield share, column.accuracy, misses(kind, column.latency_s, column.accuracy)


def misses(kind: RequestClass, latency_s: float, accuracy: float) -> bool:
    """Tell whether a configuration misses a limit of a class."""
    slow = kind.latency_s is not None and latency_s > kind.latency_s * (1 + TOLERANCE)
    poor = kind.accuracy is not None and accuracy < kind.accuracy * (1 - TOLERANCE)
    return slow or poor
