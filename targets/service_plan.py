"""The plan of a service: instances held in each epoch of a day, and where requests go.

It is complete: what a policy claims of cost, energy and requirements can be worked out from it
alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError
from .conformance import load_schema, violation
from .json_document import built, strict_json

SCHEMA = "murakkab/service-plan/1"
_MAX_BYTES = 256 * 1024 * 1024
_CLOSE = 1e-6  # relative, what figures that follow from each other may differ by


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
        slow = self.latency_s is not None and (
            route.latency_s is None or route.latency_s > self.latency_s * (1 + 1e-9)
        )
        poor = self.accuracy is not None and route.accuracy < self.accuracy * (1 - 1e-9)
        return not slow and not poor


@dataclass(frozen=True, slots=True)
class RouteStep:
    """How a route carries out a step: what runs, on which instances, at which load.

    `instance` is an index into ServicePlan.instances, None for work left out and for hosted
    services without a rate limit. `load` is in tokens a second, or calls in flight. `busy_s` are
    the instance-seconds of a request, `latency_s` None where it is not known. `source` says where
    the figures come from (empty: there are none), `error_band` how far off they may be, relative.
    """

    step: str
    configuration: str
    instance: int | None
    load: float
    busy_s: float
    latency_s: float | None
    quality: float
    source: str
    error_band: float


@dataclass(frozen=True, slots=True)
class PlannedRoute:
    """A share of a class's requests in an epoch, and the configuration that serves them.

    A request keeps instance types busy for seconds: pairs (index into ServicePlan.instances,
    instance-seconds). `energy_j` and `usd` come on top of holding the instances. `latency_s` is
    None where it is not known, and nothing is required of it.
    """

    kind: int  # index into ServicePlan.classes
    share: float
    configuration: str
    busy: tuple[tuple[int, float], ...]
    latency_s: float | None
    accuracy: float
    energy_j: float
    usd: float
    steps: tuple[RouteStep, ...] = ()


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
class Unmet:
    """A class that is left out, and why.

    `conflict` are the requirements and resources that contradict each other, none of which can be
    left out, `nearest` what each of them would have to be with the others as they are.
    """

    name: str
    reason: str
    conflict: tuple[str, ...] = ()
    nearest: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class NextBest:
    """What a class would do at a step without its choice there, in the busiest epoch.

    `price` is how much more of the objective the epoch takes then, as a plan that was found says;
    None where there is no plan, and `other` is empty.
    """

    step: str
    chosen: str
    other: str
    price: float | None


@dataclass(frozen=True, slots=True)
class Limiting:
    """What a class's plan is held back by: how much less the busiest epoch takes without it."""

    what: str
    price: float


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a class is served as it is; `epoch` is the one that was looked at."""

    kind: int  # index into ServicePlan.classes
    epoch: int
    steps: tuple[NextBest, ...]
    limits: tuple[Limiting, ...]


@dataclass(frozen=True, slots=True)
class Estimates:
    """Figures of one source that a plan rests on: how many, and the widest error band of them."""

    source: str
    count: int
    error_band: float


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
    unserved: tuple[Unmet, ...]
    explained: tuple[Explained, ...] = ()

    def to_json(self) -> str:
        """Return the text; equal plans have equal bytes."""
        return json.dumps(self.document(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def document(self) -> dict[str, Any]:
        """Return the document that `from_json` reads."""
        return {"schema": SCHEMA, "kind": "service", **asdict(self)}

    @staticmethod
    def from_json(text: str, path: str = "<plan>") -> ServicePlan:
        """Read and validate a plan; raises InputError saying what is wrong with the document."""
        if len(text) > _MAX_BYTES:
            raise _refused(path, f"the document is over {_MAX_BYTES // 2**20} MiB")
        try:
            document = strict_json(text)
            wrong = fault(document)
        except ValueError as error:
            raise _refused(path, f"not valid JSON (truncated?): {error}") from None
        except RecursionError:
            raise _refused(path, "it is nested too deeply") from None
        if wrong is not None:
            raise _refused(path, wrong)
        plan: ServicePlan = built(ServicePlan, document)
        return plan

    def estimates(self) -> tuple[Estimates, ...]:
        """Return the figures that routes rest on, by source: each step, configuration and load."""
        found: dict[str, dict[tuple[object, ...], float]] = {}
        for epoch in self.epochs:
            for route in epoch.routes:
                for step in route.steps:
                    if step.source:
                        key = (step.step, step.configuration, step.instance, step.load)
                        found.setdefault(step.source, {})[key] = step.error_band
        return tuple(Estimates(s, len(of), max(of.values())) for s, of in sorted(found.items()))

    def gpus(self, epoch: FleetEpoch) -> dict[str, int]:
        """Return the GPUs that an epoch holds, by type."""
        found: dict[str, int] = {}
        for kind, n in zip(self.instances, epoch.instances, strict=True):
            if kind.gpu is not None and n * kind.gpus:
                found[kind.gpu] = found.get(kind.gpu, 0) + n * kind.gpus
        return dict(sorted(found.items()))


def fault(document: object) -> str | None:
    """Return what is wrong with a document, None where a plan can be made of it."""
    wrong = violation(document, load_schema("service-plan"))
    return wrong or next(_inconsistent(built(ServicePlan, document)), None)


def is_service_plan(text: str) -> bool:
    """Tell whether a document is meant to be the plan of a service."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("kind") == "service"


def _refused(path: str, why: str) -> InputError:
    message = f"cannot use service plan `{path}`: {why}"
    help = "plan the study again with this version: `mkb fleet STUDY --save DIR`"
    return InputError(Diagnostic("invalid-plan", message, help=help))


def _inconsistent(plan: ServicePlan) -> Iterator[str]:
    """Yield what a schema cannot tell: figures that do not follow from each other."""
    periods = {len(kind.requests) for kind in plan.classes}
    if len(periods) > 1:
        yield "classes have requests for different numbers of periods"
    ends_s = 0.0
    for number, epoch in enumerate(plan.epochs):
        where = f"epochs/{number}"
        if len(epoch.instances) != len(plan.instances):
            counts, kinds = len(epoch.instances), len(plan.instances)
            yield f"{where}: `instances` has {counts} counts, there are {kinds} kinds"
        if abs(epoch.start_s - ends_s) > _CLOSE * max(ends_s, 1.0):
            yield f"{where}: it begins at {epoch.start_s:g} s, the one before ends at {ends_s:g} s"
        ends_s = epoch.start_s + epoch.duration_s
        yield from (f"{where}/{wrong}" for wrong in _wrong_routes(plan, epoch))
    if plan.epochs and abs(ends_s - max(periods, default=0) * plan.period_s) > _CLOSE * ends_s:
        yield f"its epochs end at {ends_s:g} s, its requests do not"
    for explained in plan.explained:
        if explained.kind >= len(plan.classes) or explained.epoch >= len(plan.epochs):
            yield "explained: there is no such class or epoch"


def _wrong_routes(plan: ServicePlan, epoch: FleetEpoch) -> Iterator[str]:
    shares: dict[int, float] = {}
    for number, route in enumerate(epoch.routes):
        where = f"routes/{number}"
        indices = [i for i, _ in route.busy]
        indices += [step.instance for step in route.steps if step.instance is not None]
        if route.kind >= len(plan.classes):
            yield f"{where}: there is no class {route.kind}"
        if any(i >= len(plan.instances) for i in indices):
            yield f"{where}: there is no instance {max(indices)}"
        if route.steps and not math.isclose(
            sum(seconds for _, seconds in route.busy),
            sum(step.busy_s for step in route.steps),
            rel_tol=_CLOSE,
            abs_tol=1e-12,
        ):
            yield f"{where}: `busy` is not what its steps add up to"
        shares[route.kind] = shares.get(route.kind, 0.0) + route.share
    for kind, share in shares.items():
        if not math.isclose(share, 1.0, rel_tol=_CLOSE):
            yield f"routes: the shares of class {kind} add up to {share:g}, not to 1"


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
