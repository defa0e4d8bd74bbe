"""Compiled workflows in a study: a stage for every step, variants from the cost model.

A step's variant is a configuration in a slot at a load (calls in flight on an instance). With `n`
calls a request, in rounds of `p` that follow one another, and `r` calls a second that an instance
makes:

    instance-seconds = n / r        latency = rounds * ((waves - 1) * median + tail)

Calls of a round go side by side as far as there are instances for them: as many as the class alone
keeps busy in its quietest epoch, one at least, each with its load's calls in flight. What is more
goes in waves, all of which but the last take the median; the last takes the percentile asked for.
Where what a step takes depends on what earlier steps emit, the dearest case counts: a stage knows
nothing of the others' choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...ir.diagnostics import Diagnostic, InputError
from ...ir.workflow import Module, Requirement, Workflow
from ...targets.cluster import Pool
from ...targets.cost import Estimate
from ..base import Context
from ..formulate import reference_accuracy, variants
from ..measured import measure
from ..modes import Way
from ..service.problem import Engine, Stage, Variant

AT_LEAST, AT_MOST = (">=", ">"), ("<=", "<")


@dataclass(frozen=True, slots=True)
class Program:
    """A workflow that was compiled up to placement, and what it can run on."""

    module: Module
    context: Context


@dataclass(frozen=True, slots=True)
class Needs:
    """What is asked of every request: a value, the name of a tier, or None for nothing.

    `percentile` is that of the latency, None for the study's.
    """

    accuracy: float | str | None
    latency_s: float | str | None
    percentile: str | None = None


class Engines:
    """The engines of a study, numbered as they are met."""

    def __init__(self) -> None:
        """Start with none."""
        self.all: list[Engine] = []
        self._numbers: dict[str, int] = {}

    def number(self, engine: Engine) -> int:
        """Return the number of an engine; one name is one engine."""
        if engine.name not in self._numbers:
            self._numbers[engine.name] = len(self.all)
            self.all.append(engine)
        return self._numbers[engine.name]


class Offer:
    """Every way to carry out each step of a program, priced once for all classes.

    Where whole configurations were measured, there are no others.

    Raises `CompileError` where a step has no way to run.
    """

    def __init__(self, program: Program) -> None:
        """Price every way."""
        self.workflow = program.module.sole()
        self.steps, self.ways = variants(program.module, program.context, single=True)
        self.scale = reference_accuracy(self.workflow)
        self.measured = measure(self.workflow, program.context.measured, self.steps, self.ways)
        if self.measured is not None:
            self.ways = self.measured.only(self.ways)
            self.scale = 1.0  # accuracy is that of whole configurations

    def stages(self, percentile: str, rate: float, engines: Engines) -> tuple[Stage, ...]:
        """Return the stages at a percentile; `rate` are requests a second in the quietest epoch."""
        numbers = {step.op.out().name: index for index, step in enumerate(self.steps)}
        return tuple(
            Stage(
                step.op.out().name,
                _variants(listed, percentile, rate, engines),
                tuple(sorted(numbers[name] for name in step.waits.after | step.waits.streams)),
            )
            for step, listed in zip(self.steps, self.ways, strict=True)
        )


def needs_of(workflow: Workflow) -> Needs:
    """Return what the author requires of every request; of several limits the tightest.

    What is required of cost, energy or GPUs is the objective's and the cluster's. Raises
    `InputError` for what a class cannot be held to.
    """
    accuracy = [need for need in workflow.requirements if need.metric == "accuracy"]
    latency = [need for need in workflow.requirements if need.metric == "latency"]
    findings = [
        *(_refused(need) for need in accuracy if need.op not in AT_LEAST),
        *(_refused(need) for need in latency if need.op not in AT_MOST),
    ]
    percentiles = {need.percentile or "p50" for need in latency}
    if len(percentiles) > 1:
        message = "limits of latency at several percentiles: a class of a study has one"
        findings.append(_finding(message, latency[-1]))
    for listed in (accuracy, latency):
        if len(listed) > 1 and any(isinstance(need.value, str) for need in listed):
            findings.append(_finding(f"`{listed[-1].text}` is one limit of several", listed[-1]))
    if findings:
        raise InputError(findings)
    return Needs(
        _tightest(accuracy, largest=True),
        _tightest(latency, largest=False),
        next(iter(percentiles), None),
    )


def _refused(need: Requirement) -> Diagnostic:
    return _finding(f"a class cannot be held to `{need.text}`", need)


def _finding(message: str, need: Requirement) -> Diagnostic:
    hint = "state `accuracy` or `latency` for the class"
    return Diagnostic("bad-study", message, need.loc, help=hint)


def _tightest(needs: Sequence[Requirement], *, largest: bool) -> float | str | None:
    values = [need.value for need in needs]
    if len(values) == 1:
        return values[0]
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers:
        return None
    return max(numbers) if largest else min(numbers)


def _variants(
    listed: Sequence[Way], percentile: str, rate: float, engines: Engines
) -> tuple[Variant, ...]:
    """Return a step's variants, the dearest case of each."""
    worst: dict[str, Variant] = {}
    for way in listed:
        variant = _variant(way, percentile, rate, engines)
        before = worst.setdefault(variant.label, variant)
        worst[variant.label] = replace(
            variant,
            busy_s=max(before.busy_s, variant.busy_s),
            latency_s=max(before.latency_s, variant.latency_s),
            quality=min(before.quality, variant.quality),
            energy_j=max(before.energy_j, variant.energy_j),
            usd=max(before.usd, variant.usd),
        )
    return tuple(worst.values())


def _variant(way: Way, percentile: str, rate: float, engines: Engines) -> Variant:
    estimate, slot, name = way.estimate, way.slot, way.configuration.label
    if estimate is None or slot is None or way.engine is None:
        return Variant(name, None, 0.0, 0.0, way.quality, configuration=name)
    working_s = way.count.calls / estimate.calls_per_s
    found = Variant(
        label=label_of(way),
        engine=None,
        busy_s=working_s,
        latency_s=_latency_s(way, estimate, percentile, rate),
        quality=way.quality,
        usd=estimate.usd_per_call * way.count.calls,
        load=float(way.concurrency),
        configuration=name,
        source=estimate.source,
        error_band=estimate.error_band,
    )
    if slot.pool is None:
        return _hosted(way, found, engines)
    if not way.engine.resident:
        # what runs in process takes cores while it runs, and nothing besides
        return replace(
            found,
            engine=engines.number(_cores(slot.pool, way.engine.pool)),
            busy_s=working_s * estimate.cores,
            energy_j=estimate.busy_w * working_s,
            usd=found.usd + estimate.usd_per_s * working_s,
        )
    engine = Engine(
        name=way.engine.group,
        pool=way.engine.pool,
        gpus=slot.gpus,
        cores=estimate.cores,
        usd_per_s=estimate.usd_per_s,
        idle_w=estimate.idle_w,
        startup_s=estimate.startup_s,
    )
    return replace(
        found,
        engine=engines.number(engine),
        energy_j=max(estimate.busy_w - estimate.idle_w, 0.0) * working_s,
    )


def label_of(way: Way) -> str:
    """Return what a way's variant is called: ways of one label differ in their cases alone."""
    name = way.configuration.label
    return name if way.slot is None else f"{name} on {way.slot} c{way.concurrency}"


def _latency_s(way: Way, estimate: Estimate, percentile: str, rate: float) -> float:
    """Return the seconds of a step's calls: waves of as many as go side by side."""
    instances = max(rate * way.count.calls // estimate.calls_per_s, 1.0)
    if way.slot is not None and way.slot.pool is None:
        instances = 1.0  # there is one account at a hosted service
    waves = max(way.count.parallel / (way.concurrency * instances), 1.0)
    one, tail = estimate.latency.p50, estimate.latency.at(percentile)
    return way.count.sequential * ((waves - 1.0) * one + tail)


def _hosted(way: Way, found: Variant, engines: Engines) -> Variant:
    """Return a variant on a hosted service: one instance, whose seconds are its rate limit."""
    executor = way.configuration.executor
    assert executor is not None  # work that is left out has no slot
    rate = dict(executor.settings).get("requests_per_min")
    if executor.endpoint is not None:
        rate = executor.endpoint.requests_per_min
    if not isinstance(rate, (int, float)):
        return replace(found, busy_s=0.0)
    name = f"{executor.name}, {rate:g} requests a minute"
    engine = engines.number(Engine(name, -1, 0, 0, 0.0, 0.0, most=1))
    return replace(found, engine=engine, busy_s=way.count.calls * 60.0 / rate)


def _cores(pool: Pool, number: int) -> Engine:
    """Return the engine of a pool's cores, one at a time; calls pay for them, holding does not."""
    return Engine(f"cores of {pool.name}", number, 0, 1, 0.0, 0.0)
