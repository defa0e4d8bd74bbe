"""From a study to the problem of a service: engines of its profiles, variants of its workflows.

A variant is a measured configuration of a workflow on a model's server at one of its measured load
points. With `t` tokens a request, `c` calls one after the other, each `w` wide:

    instance-seconds = t / load        latency = c * TTFT + t / w * TPOT

t of the first is at the study's `sizing`, of the second at its `percentile`, as are TTFT and TPOT
(the next higher percentile where that one was not measured). Energy beyond idle is the draw at the
load point less that of idle GPUs, for the instance-seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from ...ir.diagnostics import Diagnostic, InputError
from ...ir.ops import Attr
from ...targets.cluster import Pool
from ...targets.cost import BANDS, Provenance
from ...targets.profiles import PERCENTILES, Key, TokenPoint
from ...targets.study import Sizing, StaticChoice, Study, StudyClass, StudyWorkflow, knobs_of
from ...targets.workflow_profiles import TOKENS, MeasuredConfiguration
from ..service.problem import Engine, Hardware, RequestClass, ServiceProblem, Stage, Variant
from ..service.table import measured_class
from ..service.tiers import class_tier
from .program import Engines, Needs, Offer, Program, needs_of

ASSUMED_BUSY = 0.6  # of idle to peak draw, for load points whose power was not measured
_Z90 = 1.2816  # standard normal quantile


@dataclass(frozen=True, slots=True)
class FleetProblem:
    """A study's classes, and for each the workflow that it belongs to and its trace.

    `static` are the classes as the policies without an optimiser see them: one a workflow, with one
    variant and no requirements; None where the study does not say which.
    """

    problem: ServiceProblem
    owners: tuple[int, ...]  # by class: index into the study's workflows
    requests: tuple[tuple[float, ...], ...]  # by class, by period of the day
    static: tuple[RequestClass, ...] | None


def fleet_problem(study: Study, programs: Mapping[str, Program] | None = None) -> FleetProblem:
    """Return the problem of a study; `programs` are the compiled workflows of those with files.

    Raises `InputError` or `CompileError` where a workflow has nothing to run on.
    """
    builder = _Builder(study, programs or {})
    classes: list[RequestClass] = []
    owners: list[int] = []
    requests: list[tuple[float, ...]] = []
    for number, workflow in enumerate(study.workflows):
        offered = builder.offered(workflow)
        for kind in workflow.classes:
            classes.append(offered(kind))
            owners.append(number)
            requests.append(tuple(r * kind.share for r in workflow.arrivals.requests))
    fixed = [builder.static(workflow) for workflow in study.workflows]
    problem = ServiceProblem(
        classes=tuple(classes),
        engines=tuple(builder.engines.all),
        pools=tuple(
            Hardware(
                pool.name,
                pool.gpu.type if pool.gpu is not None else None,
                pool.nodes * pool.gpus,
                pool.nodes * pool.cpu.cores,
            )
            for pool in study.cluster.pools
        ),
        objective=study.objective,
    )
    static = tuple(kind for kind in fixed if kind is not None)
    return FleetProblem(
        problem,
        tuple(owners),
        tuple(requests),
        static if len(static) == len(fixed) else None,
    )


class _Builder:
    def __init__(self, study: Study, programs: Mapping[str, Program]) -> None:
        self._study = study
        self._programs = programs
        self.engines = Engines()

    def offered(self, workflow: StudyWorkflow) -> Callable[[StudyClass], RequestClass]:
        """Return what makes the classes of a workflow: figures are worked out once for all."""
        if workflow.file is not None:
            return partial(self._of_program, workflow, Offer(self._programs[workflow.name]))
        stages = (Stage(workflow.name, tuple(self._variants(workflow))),)
        if not stages[0].variants:
            raise InputError(
                Diagnostic(
                    "bad-study",
                    f"no configuration of `{workflow.name}` has load points on the GPUs of cluster "
                    f"`{self._study.cluster.name}`",
                    workflow.loc,
                    help=f"profiles of models need the names that `{workflow.step}.executor` has",
                )
            )
        cv = max(map(_variation, workflow.configurations), default=0.0)
        return partial(self._of_table, workflow, stages, cv)

    def _of_table(
        self, workflow: StudyWorkflow, stages: tuple[Stage, ...], cv: float, kind: StudyClass
    ) -> RequestClass:
        needs = Needs(kind.accuracy, kind.latency_s)
        return replace(self._class(workflow, kind, stages, needs, 1.0), work_cv=cv)

    def _of_program(self, workflow: StudyWorkflow, offer: Offer, kind: StudyClass) -> RequestClass:
        needs = Needs(kind.accuracy, kind.latency_s)
        if needs == Needs(None, None):
            needs = needs_of(offer.workflow)
        rate = self._quietest(workflow) * kind.share
        stages = offer.stages(needs.percentile or self._study.percentile, rate, self.engines)
        table = None if offer.measured is None else offer.measured.accuracies
        found = self._class(workflow, kind, stages, needs, offer.scale, table)
        return found if table is None else measured_class(found, table, self.engines.all)

    def _class(
        self,
        workflow: StudyWorkflow,
        kind: StudyClass,
        stages: tuple[Stage, ...],
        needs: Needs,
        scale: float,
        table: dict[tuple[str, ...], float] | None = None,
    ) -> RequestClass:
        accuracy, latency_s = needs.accuracy, needs.latency_s
        if isinstance(accuracy, str):
            accuracy = class_tier("accuracy", accuracy, stages, scale, table)
        if isinstance(latency_s, str):
            latency_s = class_tier("latency", latency_s, stages, scale, table)
        return RequestClass(
            name=f"{workflow.name}/{kind.name}",
            # capacity that may vanish serves requests that may then wait for other
            stages=stages if kind.wait_s else self.steady(stages),
            accuracy=accuracy,
            latency_s=latency_s,
            wait_s=kind.wait_s,
            scale=scale,
        )

    def _quietest(self, workflow: StudyWorkflow) -> float:
        """Return the requests a second of the epoch that has fewest."""
        trace = workflow.arrivals
        length = max(round(self._study.epoch_s / trace.period_s), 1)
        epochs = [
            trace.requests[first : first + length]
            for first in range(0, len(trace.requests), length)
        ]
        return min(sum(epoch) / len(epoch) for epoch in epochs) / trace.period_s

    def steady(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """Return stages without the variants on capacity that may vanish."""
        pools = self._study.cluster.pools
        if not any(pool.spot for pool in pools):
            return stages

        def stays(variant: Variant) -> bool:
            engine = None if variant.engine is None else self.engines.all[variant.engine]
            return engine is None or engine.pool < 0 or not pools[engine.pool].spot

        return tuple(
            replace(stage, variants=tuple(filter(stays, stage.variants))) for stage in stages
        )

    def _variants(self, workflow: StudyWorkflow) -> Iterator[Variant]:
        for row in workflow.configurations:
            for pool in self._study.cluster.pools:
                for tp, points in self._points(workflow, row, pool):
                    for point in points:
                        yield self._variant(workflow, row, pool, tp, point)

    def static(self, workflow: StudyWorkflow) -> RequestClass | None:
        said = workflow.static
        if said is None:
            return None
        (row,) = [r for r in workflow.configurations if r.choices == said.choices]
        for pool in self._study.cluster.pools:
            if pool.gpu is None or pool.gpu.type != said.gpu:
                continue
            for tp, points in self._points(workflow, row, pool):
                if tp == said.tp:
                    point = _nearest(said, points)
                    variant = self._variant(workflow, row, pool, tp, point)
                    return RequestClass(workflow.name, (Stage(workflow.name, (variant,)),))
        message = f"there are no load points of its model on {said.tp} of `{said.gpu}`"
        raise InputError(Diagnostic("bad-study", message, said.loc))

    def _points(
        self, workflow: StudyWorkflow, row: MeasuredConfiguration, pool: Pool
    ) -> Iterator[tuple[int, tuple[TokenPoint, ...]]]:
        """Yield the degrees of parallelism and load points of a row's model on a pool's GPUs."""
        model = dict(row.choices)[workflow.step].executor
        if pool.gpu is None:
            return
        for (name, device, tp), points in sorted(self._study.profiles.tokens.items()):
            if (name, device) == (model, pool.gpu.type) and tp <= pool.gpus:
                yield tp, points

    def _variant(
        self,
        workflow: StudyWorkflow,
        row: MeasuredConfiguration,
        pool: Pool,
        tp: int,
        point: TokenPoint,
    ) -> Variant:
        model = dict(row.choices)[workflow.step].executor or ""
        engine = self._engine(model, pool, tp)
        knobs = knobs_of(row)
        tokens = _tokens(row, self._study.percentile)
        calls = workflow.calls.evaluate({}, knobs)
        width = workflow.width.evaluate({}, knobs)
        ttft_s = _at(point.ttft_s, self._study.percentile)
        tpot_s = _at(point.tpot_s, self._study.percentile)
        busy_s = _tokens(row, self._study.sizing) / point.load_tokens_per_s
        idle_w = self.engines.all[engine].idle_w
        settings = ", ".join(f"{name} = {value:g}" for name, value in _numbers(knobs))
        label = f"{model}{{{settings}}}" if settings else model
        load = point.load_tokens_per_s
        assert pool.gpu is not None  # `_points` yields pools with GPUs
        source = self._source((model, pool.gpu.type, tp), point)
        return Variant(
            label=f"{label} on {self.engines.all[engine].name} at {load:g} tokens/s",
            engine=engine,
            busy_s=busy_s,
            latency_s=_latency_s(calls, tokens / width, ttft_s, tpot_s),
            quality=row.accuracy,
            energy_j=max(_watts(point, pool, tp) - idle_w, 0.0) * busy_s,
            load=load,
            configuration=label,
            source=source,
            error_band=BANDS[source],
        )

    def _source(self, key: Key, point: TokenPoint) -> Provenance:
        if point.source.startswith("not measured"):
            return "analytic"  # scaled from other hardware by the analytic model
        return self._study.profiles.origins[key]

    def _engine(self, model: str, pool: Pool, tp: int) -> int:
        assert pool.gpu is not None  # `_points` yields pools with GPUs
        return self.engines.number(
            Engine(
                name=f"{model} on {pool.name} x{tp}",
                pool=self._study.cluster.pools.index(pool),
                gpus=tp,
                cores=0,
                usd_per_s=pool.usd_per_s * tp / pool.gpus,
                idle_w=pool.gpu.idle_w * tp,
                startup_s=self._study.startup_s,
            )
        )


def _latency_s(calls: float, tokens: float, ttft_s: float | None, tpot_s: float | None) -> float:
    """Return a request's seconds; infinite where a load point's times were not measured."""
    if ttft_s is None or tpot_s is None:
        return math.inf
    return calls * ttft_s + tokens * tpot_s


def _numbers(knobs: Mapping[str, Attr]) -> Iterator[tuple[str, float]]:
    for name, value in sorted(knobs.items()):
        if isinstance(value, float):
            yield name, value


def _tokens(row: MeasuredConfiguration, sizing: Sizing) -> float:
    """Return the output tokens of a request; the mean is that of the log-normal through both."""
    found = dict(zip(TOKENS, row.tokens, strict=True))
    p50, p90 = found["tokens_output_p50"], found["tokens_output_p90"]
    if p50 is None or p90 is None:
        place = row.places.get("workflow")
        message = "a study needs `tokens_output_p50` and `tokens_output_p90` of every configuration"
        raise InputError(Diagnostic("bad-profile", message, place))
    if sizing == "mean":
        spread = math.log(max(p90, p50) / p50) / _Z90 if p50 > 0 else 0.0
        return p50 * math.exp(spread * spread / 2)
    return p50 if sizing == "p50" else p90


def _variation(row: MeasuredConfiguration) -> float:
    """Return the coefficient of variation of a configuration's tokens, as if log-normal."""
    p50, p90 = _tokens(row, "p50"), _tokens(row, "p90")
    spread = math.log(max(p90, p50) / p50) / _Z90 if p50 > 0 else 0.0
    return math.sqrt(math.expm1(spread * spread))


def _at(values: tuple[float | None, ...], percentile: str) -> float | None:
    """Return a time at a percentile, or at the next higher one that was measured."""
    return next((v for v in values[PERCENTILES.index(percentile) :] if v is not None), None)


def _watts(point: TokenPoint, pool: Pool, tp: int) -> float:
    if point.power_w is not None:
        return point.power_w
    assert pool.gpu is not None  # load points are of GPUs here
    idle_w, peak_w = pool.gpu.idle_w, pool.gpu.tdp_w
    return tp * (idle_w + ASSUMED_BUSY * (peak_w - idle_w))


def _nearest(said: StaticChoice, points: tuple[TokenPoint, ...]) -> TokenPoint:
    return min(points, key=lambda point: abs(point.load_tokens_per_s - said.load_tokens_per_s))
