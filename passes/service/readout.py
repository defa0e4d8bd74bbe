"""From the plan of a program's service to a placement: the largest route, laid out for one request.

Instances are replicas, up all the time; a request pays its share of holding them. What is predicted
is of the service: cost, energy and GPUs of all instances, accuracy on average, and latency on the
slowest route.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ...ir.workflow import PERCENTILES
from ...targets.service_plan import FleetEpoch, ServedClass, ServicePlan
from ..fleet.program import label_of
from ..fleet.readout import asked_accuracy, instance_type, planned_route
from ..formulate import Formulation, problem_of
from ..job.problem import Bound, Limit, Metrics, Placement
from ..job.schedule import Reason, evaluate
from ..modes import RESIDENT_RUNNERS, Terms, Way, replicated
from .problem import Column, EpochPlan, Route, ServiceProblem
from .program import ServedProgram
from .without import Without

PROVED = 1e-6  # relative


def place_routes(
    service: ServedProgram,
    problem: ServiceProblem,
    plan: EpochPlan,
    limits: tuple[Limit, ...],
) -> tuple[Formulation, Placement] | Reason:
    """Return the placement of the largest route, or why its instances do not fit the nodes."""
    laid = [_laid_out(service, problem, plan, route, limits) for route in plan.routes(0)]
    placements: list[Placement] = []
    for _, placement in laid:
        if isinstance(placement, Reason):
            return placement
        placements.append(placement)
    metrics = _of_service(service, problem, plan, placements)
    metric = problem.objective
    unit = 1.0 if metric == "gpus" else service.rate * service.epoch.duration_s
    found, bound = metrics.of(metric), plan.bound / unit
    if metric == "gpus":
        bound = float(math.ceil(bound - PROVED))  # there are whole ones
    bound = min(bound, found)
    gap = (found - bound) / found if found > 0 else 0.0
    placement = replace(
        placements[0],
        metrics=metrics,
        status="optimal" if gap <= PROVED else "feasible",
        bounds=(Bound(metric, found, bound, gap),),
    )
    return replace(laid[0][0], service=_document(service, problem, plan)), placement


def _laid_out(
    service: ServedProgram,
    problem: ServiceProblem,
    plan: EpochPlan,
    route: Route,
    limits: tuple[Limit, ...],
) -> tuple[Formulation, Placement | Reason]:
    """Return one request on a route, whose instances stand side by side."""
    offer = service.offer
    ways = _ways(service, problem, plan, route.column)
    found = tuple((way,) for way in ways)
    accuracies = None
    if offer.measured is not None:
        accuracies = {tuple(way.configuration.label for way in ways): route.column.accuracy}
    laid = problem_of(offer.workflow, service.context, offer.steps, found, limits, accuracies)
    formulation = Formulation(laid, offer.steps, found, offer.scale, offer.measured)
    return formulation, evaluate(laid, [0] * len(ways))


def _ways(
    service: ServedProgram, problem: ServiceProblem, plan: EpochPlan, column: Column
) -> list[Way]:
    """Return the ways of a column, in the cases that it leads to, on the instances there are."""
    terms = Terms(service.context, PERCENTILES, service.rate)
    offer = service.offer
    emitted: dict[str, int] = {}
    ways: list[Way] = []
    stages = problem.classes[0].stages
    for step, listed, stage, choice in zip(
        offer.steps, offer.ways, stages, column.choices, strict=True
    ):
        variant = stage.variants[choice]
        # no two ways have one label and one case
        way = next(
            way
            for way in listed
            if label_of(way) == variant.label
            and all(emitted.get(name) == output for name, output in way.case)
        )
        executor = way.configuration.executor
        if variant.engine is not None and executor is not None:
            stands = executor.runner in RESIDENT_RUNNERS
            stands = stands and problem.engines[variant.engine].pool >= 0
            way = replicated(way, plan.instances[variant.engine] if stands else 1, terms)
        emitted[step.op.out().name] = way.emits
        ways.append(way)
    return ways


def _of_service(
    service: ServedProgram,
    problem: ServiceProblem,
    plan: EpochPlan,
    placements: Sequence[Placement],
) -> Metrics:
    """Return what a request takes of the service, over all its routes."""
    if len(placements) == 1:
        return placements[0].metrics
    requests = service.rate * service.epoch.duration_s
    accuracy = sum(route.share * route.column.accuracy for route in plan.routes(0))
    spans = zip(*(placement.metrics.latency_s for placement in placements), strict=True)
    return Metrics(
        latency_s=tuple(map(max, spans)),
        energy_j=plan.energy_j / requests,
        cost_usd=plan.usd / requests,
        gpus=sum(e.gpus * n for e, n in zip(problem.engines, plan.instances, strict=True)),
        accuracy=accuracy / service.offer.scale,
    )


def _document(service: ServedProgram, problem: ServiceProblem, plan: EpochPlan) -> ServicePlan:
    """Return the plan of the service; of all engines there might be, those that are held."""
    kind, epoch = problem.classes[0], service.epoch
    held = [index for index, n in enumerate(plan.instances) if n]
    numbers = {index: number for number, index in enumerate(held)}
    routes = [planned_route(kind, r.column, r.share, 0, numbers) for r in plan.routes(0)]
    return ServicePlan(
        study=kind.name,
        policy="joint",
        objective=problem.objective,
        period_s=epoch.period_s,
        instances=tuple(
            instance_type(service.engines.all[index], problem.pools, 0) for index in held
        ),
        classes=(
            ServedClass(
                name=kind.name,
                accuracy=asked_accuracy(kind),
                latency_s=kind.latency_s,
                wait_s=0.0,
                late=kind.late,
                requests=epoch.requests[0],
            ),
        ),
        epochs=(
            FleetEpoch(
                start_s=0.0,
                duration_s=epoch.duration_s,
                instances=tuple(plan.instances[index] for index in held),
                routes=tuple(routes),
                usd=plan.usd,
                energy_j=plan.energy_j,
                value=plan.value,
                bound=plan.bound,
            ),
        ),
        unserved=(),
        explained=(Without(problem, epoch, plan).explained(0, 0, 0),),
    )
