"""Compiled workflows in a study: a stage for every step, variants from the cost model.

A step's variant is a configuration in a slot at a load (calls in flight on an instance). With `n`
calls a request, in rounds that follow one another, and `r` calls a second that an instance makes:

    instance-seconds = n / r        latency = rounds * (latency of a call at the percentile)

Calls of a `for` go to many instances, side by side. Where what a step takes depends on what
earlier steps emit, the dearest case counts: a stage knows nothing of the others' choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.workflow import Module
from ..targets.cluster import Pool
from .base import Context
from .formulate import variants
from .modes import Way
from .serviceproblem import Engine, Stage, Variant
from .work import StepWork


@dataclass(frozen=True, slots=True)
class Program:
    """A workflow that was compiled up to placement, and what it can run on."""

    module: Module
    context: Context


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


def program_stages(
    program: Program, rate: float, percentile: str, engines: Engines
) -> tuple[Stage, ...]:
    """Return the stages of a workflow at so many requests per second.

    Raises `CompileError` where a step has no way to run.
    """
    steps, found = variants(program.module, program.context, rate=rate)
    numbers = {step.op.out().name: index for index, step in enumerate(steps)}
    return tuple(
        Stage(
            step.op.out().name,
            _variants(step, listed, percentile, engines),
            tuple(sorted(numbers[name] for name in step.waits.after | step.waits.streams)),
        )
        for step, listed in zip(steps, found, strict=True)
    )


def _variants(
    step: StepWork, listed: Sequence[Way], percentile: str, engines: Engines
) -> tuple[Variant, ...]:
    """Return a step's variants, the dearest case of each."""
    worst: dict[str, Variant] = {}
    for way in listed:
        if way.replicas > 1:
            continue  # the planner counts instances itself
        variant = _variant(way, percentile, engines)
        before = worst.setdefault(variant.label, variant)
        worst[variant.label] = Variant(
            label=variant.label,
            engine=variant.engine,
            busy_s=max(before.busy_s, variant.busy_s),
            latency_s=max(before.latency_s, variant.latency_s),
            quality=min(before.quality, variant.quality),
            energy_j=max(before.energy_j, variant.energy_j),
            usd=max(before.usd, variant.usd),
            load=variant.load,
        )
    return tuple(worst.values())


def _variant(way: Way, percentile: str, engines: Engines) -> Variant:
    estimate, slot = way.estimate, way.slot
    label = way.configuration.label
    if estimate is None or slot is None or way.engine is None:
        return Variant(label, None, 0.0, 0.0, way.quality)
    working_s = way.count.calls / estimate.calls_per_s
    latency_s = way.count.sequential * estimate.latency.at(percentile)
    usd = estimate.usd_per_call * way.count.calls
    label += f" on {slot} c{way.concurrency}"
    if slot.pool is None:
        return _hosted(way, label, latency_s, usd, engines)
    if not way.engine.resident:
        # what runs in process takes cores while it runs, and nothing besides
        engine = engines.number(_cores(slot.pool, way.engine.pool))
        return Variant(
            label=label,
            engine=engine,
            busy_s=working_s * estimate.cores,
            latency_s=latency_s,
            quality=way.quality,
            energy_j=estimate.busy_w * working_s,
            usd=usd + estimate.usd_per_s * working_s,
            load=way.concurrency,
        )
    engine = engines.number(
        Engine(
            name=way.engine.group,
            pool=way.engine.pool,
            gpus=slot.gpus,
            cores=estimate.cores,
            usd_per_s=estimate.usd_per_s,
            idle_w=estimate.idle_w,
            startup_s=estimate.startup_s,
        )
    )
    return Variant(
        label=label,
        engine=engine,
        busy_s=working_s,
        latency_s=latency_s,
        quality=way.quality,
        energy_j=max(estimate.busy_w - estimate.idle_w, 0.0) * working_s,
        usd=usd,
        load=way.concurrency,
    )


def _hosted(way: Way, label: str, latency_s: float, usd: float, engines: Engines) -> Variant:
    """Return a variant on a hosted service: one instance, whose seconds are its rate limit."""
    executor = way.configuration.executor
    assert executor is not None  # work that is left out has no slot
    rate = dict(executor.settings).get("requests_per_min")
    if executor.endpoint is not None:
        rate = executor.endpoint.requests_per_min
    engine, busy_s = None, 0.0
    if isinstance(rate, (int, float)):
        name = f"{executor.name}, {rate:g} requests a minute"
        engine = engines.number(Engine(name, -1, 0, 0, 0.0, 0.0, most=1))
        busy_s = way.count.calls * 60.0 / rate
    return Variant(label, engine, busy_s, latency_s, way.quality, usd=usd, load=way.concurrency)


def _cores(pool: Pool, number: int) -> Engine:
    """Return the engine of a pool's cores, one at a time; calls pay for them, holding does not."""
    return Engine(f"cores of {pool.name}", number, 0, 1, 0.0, 0.0)
