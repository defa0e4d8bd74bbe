"""The plan of a service: instances held in each epoch of a day, and where requests go.

It is complete: what a policy claims of cost, energy and requirements can be worked out from it
alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

SCHEMA = "murakkab/service-plan/1"


@dataclass(frozen=True, slots=True)
class InstanceType:
    """A kind of instance. Classes of other groups do not share it, whatever its name.

    `gpu` is a type of the catalogue, None for what needs no GPU; `usd_per_s` and `idle_w` are of
    one instance.
    """

    name: str
    group: int
    gpu: str | None
    gpus: int
    usd_per_s: float
    idle_w: float
    startup_s: float


@dataclass(frozen=True, slots=True)
class ServedClass:
    """Requests with the same requirements: limits, and how many come in each period of the day.

    `accuracy` and `latency_s` are None where nothing is required; `late` is the share that may wait
    longer than `wait_s`. `work_cv` is the coefficient of variation of what a request takes.
    """

    name: str
    accuracy: float | None
    latency_s: float | None
    wait_s: float
    late: float
    requests: tuple[float, ...]
    work_cv: float = 0.0

    def accepts(self, route: PlannedRoute) -> bool:
        """Tell whether requests on a route meet the limits."""
        slow = self.latency_s is not None and route.latency_s > self.latency_s * (1 + 1e-9)
        poor = self.accuracy is not None and route.accuracy < self.accuracy * (1 - 1e-9)
        return not slow and not poor


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """A share of a class's requests in an epoch, and the configuration that serves them.

    A request keeps instance types busy for seconds: pairs (index into ServicePlan.instances,
    instance-seconds). `energy_j` and `usd` come on top of holding the instances.
    """

    kind: int  # index into ServicePlan.classes
    share: float
    configuration: str
    busy: tuple[tuple[int, float], ...]
    latency_s: float
    accuracy: float
    energy_j: float
    usd: float


@dataclass(frozen=True, slots=True)
class FleetEpoch:
    """A stretch of time with one fleet: instances by type, routes, and what was predicted.

    `value` is of the objective; no plan is below `bound`.
    """

    start_s: float
    duration_s: float
    instances: tuple[int, ...]
    routes: tuple[PlannedRoute, ...]
    usd: float
    energy_j: float
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """A day of a service by one policy; `unserved` are classes left out, each with the reason."""

    study: str
    policy: str
    objective: str
    period_s: float
    instances: tuple[InstanceType, ...]
    classes: tuple[ServedClass, ...]
    epochs: tuple[FleetEpoch, ...]
    unserved: tuple[tuple[str, str], ...]

    def to_json(self) -> str:
        """Return the document; equal plans have equal bytes."""
        document = {"schema": SCHEMA, "kind": "service", **asdict(self)}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def gpus(self, epoch: FleetEpoch) -> dict[str, int]:
        """Return the GPUs that an epoch holds, by type."""
        found: dict[str, int] = {}
        for kind, n in zip(self.instances, epoch.instances, strict=True):
            if kind.gpu is not None and n * kind.gpus:
                found[kind.gpu] = found.get(kind.gpu, 0) + n * kind.gpus
        return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class DaySummary:
    """What a plan of a day comes to.

    `gpus_max` is the most held at once, `by_type` for each type of GPU. `accuracy` is the mean over
    the requests served, `violations` the share of them on a route that misses a limit of their
    class. `gap` is relative, of the objective over the day.
    """

    gpus_max: int
    by_type: tuple[tuple[str, int], ...]
    energy_j: float
    usd: float
    accuracy: float
    violations: float
    gap: float


def summarise(plan: ServicePlan) -> DaySummary:
    """Return what a plan comes to."""
    held = [plan.gpus(epoch) for epoch in plan.epochs]
    types = sorted({name for gpus in held for name in gpus})
    requests = accuracy = missed = 0.0
    for epoch in plan.epochs:
        first = round(epoch.start_s / plan.period_s)
        last = first + round(epoch.duration_s / plan.period_s)
        for route in epoch.routes:
            kind = plan.classes[route.kind]
            amount = route.share * sum(kind.requests[first:last])
            requests += amount
            accuracy += amount * route.accuracy
            missed += 0.0 if kind.accepts(route) else amount
    value = sum(epoch.value for epoch in plan.epochs)
    bound = sum(epoch.bound for epoch in plan.epochs)
    return DaySummary(
        gpus_max=max((sum(gpus.values()) for gpus in held), default=0),
        by_type=tuple((t, max(gpus.get(t, 0) for gpus in held)) for t in types),
        energy_j=sum(epoch.energy_j for epoch in plan.epochs),
        usd=sum(epoch.usd for epoch in plan.epochs),
        accuracy=accuracy / requests if requests else 0.0,
        violations=missed / requests if requests else 0.0,
        gap=max(1 - bound / value, 0.0) if value else 0.0,
    )
