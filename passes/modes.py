"""Modes: every way to carry out a step on a cluster, priced by the cost model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..ir.ops import Attr, Op
from ..targets.cost import Estimate, Slot, Work
from .base import Context
from .configurations import LEFT_OUT_QUALITY, Configuration, work_of
from .pins import pins_of
from .problem import EngineOption, Mode, Pool, Times
from .varying import Case, combine
from .work import Count, StepWork

# Replicas beyond the items there are to work on would stand idle; beyond this many, one job's
# start-up costs more than it gains on any cluster we plan for.
MAX_REPLICAS = 8
RESIDENT_RUNNERS = frozenset({"vllm", "torch"})


@dataclass(frozen=True, slots=True)
class Way:
    """A mode with what it stands for: configuration, slot, load, and its estimate in one case."""

    configuration: Configuration
    case: Case
    emits: int
    count: Count
    quality: float  # relative to the step's reference
    times: tuple[Times, ...]
    energy_j: float
    usd: float
    slot: Slot | None = None  # None: left out
    concurrency: int = 0  # calls in flight on one replica
    replicas: int = 0
    estimate: Estimate | None = None
    engine: EngineOption | None = None


def ways(
    step: StepWork,
    context: Context,
    pools: Iterable[Pool],
    percentiles: tuple[str, ...],
    *,
    own_engine: str = "",
) -> Iterator[Way]:
    """Yield every way to carry out a step; `own_engine` keeps its engines from being shared."""
    places = {pool.name: index for index, pool in enumerate(pools)}
    best = max((c.quality for c in step.configurations), default=1.0) or 1.0
    situations = combine(
        lambda sizes, count: (sizes, count),
        step.sizes,
        step.counts,
        worst=lambda a, b: max(a, b, key=lambda pair: pair[1].calls),
    )
    for config, emits in zip(step.configurations, step.classes, strict=True):
        for case, (sizes, count) in situations.items():
            if config.executor is None:
                nothing = tuple(Times(0.0, 0.0, 0.0) for _ in percentiles)
                yield Way(config, case, emits, count, LEFT_OUT_QUALITY, nothing, 0.0, 0.0)
                continue
            work = work_of(step.task, config, sizes, step.output_tokens)
            if _overflows(config, work):
                continue
            for slot in _slots(step.op, config, context):
                yield from _loads(
                    config, case, emits, count, config.quality / best, work, slot,
                    context, percentiles, places, own_engine,
                )  # fmt: skip


def _overflows(config: Configuration, work: Work) -> bool:
    """Tell whether the largest expected prompt and answer exceed a model's context."""
    limit = config.executor.context_tokens if config.executor is not None else None
    return limit is not None and work.prompt_tokens[1] + work.output_tokens[1] > limit


def _slots(op: Op, config: Configuration, context: Context) -> list[Slot]:
    if config.executor is None:
        return []
    pins = [pin for pin in pins_of(op) if pin.name in ("device", "gpu")]
    found = []
    for slot in context.costs.slots(config.executor, context.cluster):
        gpu = slot.pool.gpu.type if slot.pool is not None and slot.pool.gpu is not None else None
        facts: dict[str, Attr] = {"device": slot.device, "gpu": gpu if slot.gpus else None}
        if all(pin.accepts(facts[pin.name]) for pin in pins):
            found.append(slot)
    return found


def _loads(
    config: Configuration,
    case: Case,
    emits: int,
    count: Count,
    quality: float,
    work: Work,
    slot: Slot,
    context: Context,
    percentiles: tuple[str, ...],
    places: dict[str, int],
    own_engine: str,
) -> Iterator[Way]:
    executor = config.executor
    if executor is None:
        return
    resident = executor.runner in RESIDENT_RUNNERS
    offered = context.costs.concurrencies(executor, slot)
    most = _most_replicas(slot, count) if resident else 1
    for replicas in (r for r in (1, 2, 4, 8) if r <= most):
        share = math.ceil(max(count.parallel, 1.0) / replicas)
        for concurrency in _useful(offered, share):
            load = min(concurrency, share)
            estimate = context.costs.estimate(executor, dict(config.knobs), slot, work, load)
            engine = _engine(
                config, slot, estimate, replicas, concurrency, max(offered), resident,
                places, own_engine,
            )  # fmt: skip
            times = tuple(_times(estimate, count, load * replicas, q) for q in percentiles)
            busy = times[0].duration_s * min(replicas, math.ceil(count.parallel))
            watts = estimate.busy_w - (estimate.idle_w if resident else 0.0)
            usd = estimate.usd_per_call * count.calls
            yield Way(
                configuration=config,
                case=case,
                emits=emits,
                count=count,
                quality=quality,
                times=times,
                energy_j=max(watts, 0.0) * busy,
                usd=usd + (0.0 if resident else estimate.usd_per_s * busy),
                slot=slot,
                concurrency=concurrency,
                replicas=replicas,
                estimate=estimate,
                engine=engine,
            )


def _useful(offered: tuple[int, ...], share: int) -> list[int]:
    """Return the load points up to the first that takes all there is to do at once."""
    enough = [c for c in offered if c >= share]
    return [c for c in offered if c < share] + enough[:1]


def _most_replicas(slot: Slot, count: Count) -> int:
    if slot.pool is None:
        return 1
    fit = slot.pool.gpus // slot.gpus if slot.gpus else 1
    return max(1, min(MAX_REPLICAS, slot.pool.nodes * fit, math.ceil(count.parallel)))


def _times(estimate: Estimate, count: Count, in_flight: int, percentile: str) -> Times:
    """Return the seconds of a step's calls: waves of calls, round after round.

    All waves but the last take the median; the tail of the last one decides the percentile. This
    bounds the percentile of the sum from above where waves are independent.
    """
    waves = max(count.parallel / in_flight, 1.0)
    one, tail = estimate.latency.p50, estimate.latency.at(percentile)
    through = count.sequential * ((waves - 1.0) * one + tail)
    single = count.sequential * tail
    return Times(through, single, single)


def _engine(
    config: Configuration,
    slot: Slot,
    estimate: Estimate,
    replicas: int,
    concurrency: int,
    most: int,
    resident: bool,
    places: dict[str, int],
    own_engine: str,
) -> EngineOption:
    executor = config.executor
    server = (executor.model or executor.name) if executor is not None and resident else None
    name = server or (executor.name if executor is not None else "")
    # what runs in process holds its cores only while it runs, so its load is part of what it is
    load = "" if resident else f" c{concurrency}"
    group = f"{name} on {slot}{load}" + (f" for {own_engine}" if own_engine else "")
    startup = estimate.startup_s if resident else 0.0
    return EngineOption(
        label=f"{group} r{replicas}",
        pool=places[slot.pool.name] if slot.pool is not None else -1,
        resident=resident,
        replicas=replicas,
        gpus=slot.gpus,
        cores=estimate.cores if slot.pool is not None else 0,
        memory_bytes=estimate.memory_bytes if slot.pool is not None else 0.0,
        gpu_memory_bytes=estimate.gpu_memory_bytes,
        slots=replicas * most if resident else concurrency,
        startup_s=startup,
        startup_j=startup * estimate.idle_w * replicas,
        startup_usd=startup * estimate.usd_per_s * replicas,
        idle_w=estimate.idle_w * replicas if resident else 0.0,
        usd_per_s=estimate.usd_per_s * replicas if resident else 0.0,
        group=group,
    )


def as_mode(way: Way, engine: int | None, when: tuple[tuple[int, int], ...]) -> Mode:
    """Return the solver's view of a way."""
    slots = way.concurrency * way.replicas if engine is not None else 0
    where = f" on {way.slot} c{way.concurrency} r{way.replicas}" if way.slot is not None else ""
    return Mode(
        label=way.configuration.label + where,
        engine=engine,
        slots=slots,
        times=way.times,
        energy_j=way.energy_j,
        usd=way.usd,
        quality=way.quality,
        emits=way.emits,
        when=when,
    )
