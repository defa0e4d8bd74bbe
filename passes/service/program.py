"""A program with `expect rate` as a problem of the planner of services: one class, one epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...ir.workflow import PERCENTILES, Module
from ..base import Context
from ..fleet.program import Engines, Offer, Program
from .planner import Planner
from .problem import (
    Epoch,
    EpochPlan,
    Hardware,
    Objective,
    RequestClass,
    ServiceProblem,
    Stage,
)
from .table import measured_class

HOUR_S = 3600.0  # that is planned
EFFORT = 10_000  # of branching: about 2 s


@dataclass(frozen=True, slots=True)
class Limits:
    """What every request must have: accuracy (0: any), and seconds by index of percentile."""

    accuracy: float
    latency_s: Mapping[int, float]


class ServedProgram:
    """One program at one rate: its problem, and plans of it within limits."""

    def __init__(self, module: Module, context: Context, rate: float) -> None:
        """Price every way; raises `CompileError` where a step has none."""
        self.offer = Offer(Program(module, context))
        self.context, self.rate = context, rate
        self.engines = Engines()
        self.stages = [
            self.offer.stages(percentile, rate, self.engines) for percentile in PERCENTILES
        ]
        self._pools = tuple(
            Hardware(
                pool.name,
                pool.gpu.type if pool.gpu is not None else None,
                pool.nodes * pool.gpus,
                pool.nodes * pool.cpu.cores,
            )
            for pool in context.cluster.pools
        )
        self.epoch = Epoch(((rate * HOUR_S,),), HOUR_S)

    def problem(self, limits: Limits, objective: Objective) -> ServiceProblem:
        """Return the problem of the program's requests.

        Where latency is limited at several percentiles, a stage takes as much of the first limit as
        it takes of the one that it takes most of: what is found is within all.
        """
        first = next(iter(limits.latency_s), 0)
        kind = RequestClass(
            name=self.offer.workflow.name,
            stages=self._within(limits.latency_s) or self.stages[0],
            accuracy=limits.accuracy or None,
            latency_s=limits.latency_s.get(first),
            scale=self.offer.scale,
        )
        # its instances stand all the time: none is started for a request
        engines = tuple(replace(engine, startup_s=0.0) for engine in self.engines.all)
        if self.offer.measured is not None:
            kind = measured_class(kind, self.offer.measured.accuracies, engines)
        return ServiceProblem((kind,), engines, self._pools, objective)

    def _within(self, latency_s: Mapping[int, float]) -> tuple[Stage, ...]:
        listed = [(self.stages[q], limit) for q, limit in latency_s.items()]
        if len(listed) < 2:
            return listed[0][0] if listed else ()
        unit = listed[0][1]
        stages: list[Stage] = []
        for number, stage in enumerate(listed[0][0]):
            variants = [
                replace(
                    variant,
                    latency_s=max(
                        of[number].variants[index].latency_s * unit / limit for of, limit in listed
                    ),
                )
                for index, variant in enumerate(stage.variants)
            ]
            stages.append(replace(stage, variants=tuple(variants)))
        return tuple(stages)

    def plan(self, problem: ServiceProblem) -> EpochPlan:
        """Return the best plan found; raises `Unserved` or `NoRoom` where there is none."""
        return Planner(problem, EFFORT).plan(self.epoch)
