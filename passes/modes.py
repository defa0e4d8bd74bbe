"""Modes: every way to carry out a step on a cluster, priced by the cost model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..ir.ops import Attr, Op
from ..targets.cluster import Pool
from ..targets.cost import Estimate, Slot, Work
from ..targets.library import Executor
from ..targets.sizes import Size
from .base import Context
from .configurations import LEFT_OUT_QUALITY, Configuration, work_of
from .job.problem import EngineOption, Mode, Times
from .pins import Pin, pins_of
from .varying import Case, combine
from .work import Count, StepWork

# Replica counts worth considering; those beyond the items there are to work on would stand idle.
REPLICAS = (1, 2, 4, 8)
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
    slots: int = 0  # of the engine's, while it runs


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms ways are priced.

    rate: requests per second, when a service is planned: its engines are held all the time, so a
    request pays its share of holding them (`1 / rate` seconds, or what it occupies where that is
    more) and no start-up. None: one job, which pays from start-up to last use. reference: `-O0`:
    engines of a step's own, as many replicas as keep up with the rate. single: one replica, filled
    by other requests: for who counts replicas himself.
    """

    context: Context
    percentiles: tuple[str, ...]
    rate: float | None = None
    reference: bool = False
    single: bool = False
    # what has been worked out already: figures depend on the terms alone
    priced: dict[tuple[object, ...], list[_Priced]] = field(
        default_factory=dict, compare=False, repr=False
    )
    slots: dict[tuple[str, tuple[Pin, ...]], tuple[Slot, ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def pool_index(self, slot: Slot) -> int:
        """Return a slot's pool as the solver numbers it; -1 for a hosted service."""
        return -1 if slot.pool is None else self.context.cluster.pools.index(slot.pool)


def ways(step: StepWork, terms: Terms) -> Iterator[Way]:
    """Yield every way to carry out a step, in every case of what comes before it."""
    slots = [slots_of(step.op, config.executor, terms) for config in step.configurations]
    situations = combine(lambda *both: both, step.sizes, step.counts, worst=_busier)
    # the reference is the best that can run here, not the best there is
    here = [
        config.quality
        for config, found in zip(step.configurations, slots, strict=True)
        if found and _holds_prompt(step, config, (sizes for sizes, _ in situations.values()))
    ]
    best = max(here, default=1.0)
    weight = step.op.number("weight", 1.0)
    owner = step.op.out().name if terms.reference else ""
    for config, emits, found in zip(step.configurations, step.classes, slots, strict=True):
        for case, (sizes, count) in situations.items():
            if config.executor is None:
                nothing = tuple(Times(0.0, 0.0, 0.0) for _ in terms.percentiles)
                left_out = LEFT_OUT_QUALITY**weight
                yield Way(config, case, emits, count, left_out, nothing, 0.0, 0.0)
                continue
            work = work_of(step.task, config, sizes, step.expected)
            if _overflows(config.executor, work):
                continue
            for priced in _priced(config, config.executor, count, found, work, owner, terms):
                yield Way(config, case, emits, count, (config.quality / best) ** weight, *priced)


# What of a way does not depend on where in the workflow its step stands, in Way's order.
_Priced = tuple[tuple[Times, ...], float, float, Slot, int, int, Estimate, EngineOption, int]


def _priced(
    config: Configuration,
    executor: Executor,
    count: Count,
    slots: tuple[Slot, ...],
    work: Work,
    owner: str,
    terms: Terms,
) -> list[_Priced]:
    """Price a configuration on every slot at every load; equal work is priced once."""
    key = (config.label, tuple(map(str, slots)), work, count, owner)
    found = terms.priced.get(key)
    if found is None:
        found = terms.priced[key] = [
            _price(count, slot, load, _engine(executor, slot, count, load, owner, terms), terms)
            for slot in slots
            for load in _loads(config, executor, count, slot, work, terms)
        ]
    return found


def _busier(
    a: tuple[Mapping[str, Size], Count], b: tuple[Mapping[str, Size], Count]
) -> tuple[Mapping[str, Size], Count]:
    return a if a[1].calls >= b[1].calls else b


def _holds_prompt(
    step: StepWork, config: Configuration, situations: Iterable[Mapping[str, Size]]
) -> bool:
    """Tell whether an executor's context holds the prompt in any case of what comes before."""
    executor = config.executor
    return executor is not None and any(
        not _overflows(executor, work_of(step.task, config, sizes, step.expected))
        for sizes in situations
    )


def _overflows(executor: Executor, work: Work) -> bool:
    """Tell whether the largest expected prompt and answer exceed a model's context."""
    limit = executor.context_tokens
    return limit is not None and work.prompt_tokens[1] + work.output_tokens[1] > limit


def slots_of(op: Op, executor: Executor | None, terms: Terms) -> tuple[Slot, ...]:
    """Return where an executor can stand on the cluster, within the step's pins on hardware."""
    if executor is None:
        return ()
    pins = tuple(pin for pin in pins_of(op) if pin.name in ("device", "gpu"))
    key = (executor.name, pins)
    found = terms.slots.get(key)
    if found is None:
        stands = terms.context.costs.slots(executor, terms.context.cluster)
        found = terms.slots[key] = tuple(s for s in stands if _accepted(s, pins))
    return found


def _accepted(slot: Slot, pins: tuple[Pin, ...]) -> bool:
    gpu = slot.pool.gpu.type if slot.pool is not None and slot.pool.gpu is not None else None
    facts: dict[str, Attr] = {"device": slot.device, "gpu": gpu if slot.gpus else None}
    return all(pin.accepts(facts[pin.name]) for pin in pins)


@dataclass(frozen=True, slots=True)
class _Load:
    """Replicas, the calls each may have in flight and has, and what one replica then takes.

    `share` is its calls a second over the most that it does at any load.
    """

    replicas: int
    concurrency: int
    in_flight: int
    most: int
    estimate: Estimate
    share: float = 0.0


def _loads(
    config: Configuration, executor: Executor, count: Count, slot: Slot, work: Work, terms: Terms
) -> Iterator[_Load]:
    offered = terms.context.costs.concurrencies(executor, slot)
    service = terms.rate is not None or terms.single
    demand = (terms.rate or 0.0) * count.calls
    sized = demand > 0.0 and terms.reference and _stands(executor, slot)
    knobs, ask = dict(config.knobs), terms.context.costs.estimate
    best = 0.0  # calls a second of a replica at its best load
    if not service and executor.runner in RESIDENT_RUNNERS:
        best = max(ask(executor, knobs, slot, work, c).calls_per_s for c in offered)
    for replicas in (1,) if terms.single or sized else _replicas(executor, slot, count, service):
        share = math.ceil(max(count.parallel, 1.0) / replicas)
        for concurrency in offered:
            # other requests fill a service's engines; a job has only its own calls
            in_flight = concurrency if service else min(concurrency, share)
            estimate = ask(executor, knobs, slot, work, in_flight)
            if sized:
                replicas = max(math.ceil(demand / estimate.calls_per_s), 1)
            if terms.reference or demand <= replicas * estimate.calls_per_s:
                rate = estimate.calls_per_s / best if best else 0.0
                yield _Load(replicas, concurrency, in_flight, max(offered), estimate, rate)
            if not service and concurrency >= share:
                break  # more in flight than there is to do gains nothing


def _replicas(executor: Executor, slot: Slot, count: Count, service: bool) -> list[int]:
    if slot.pool is None or not _stands(executor, slot):
        return [1]
    fit = slot.pool.nodes * _replicas_of_a_node(executor, slot, slot.pool)
    busy = REPLICAS[-1] if service else math.ceil(count.parallel)
    return [n for n in REPLICAS if n <= max(1, min(fit, busy))]


def _stands(executor: Executor, slot: Slot) -> bool:
    """Tell whether an executor is a server on the cluster, of which there may be several."""
    return executor.runner in RESIDENT_RUNNERS and slot.pool is not None


def _replicas_of_a_node(executor: Executor, slot: Slot, pool: Pool) -> int:
    """Return how many replicas fit a node; a CPU server of no stated cores takes all that help."""
    if slot.gpus:
        return pool.gpus // slot.gpus
    return pool.cpu.cores // executor.cores if executor.cores else 1


def _price(count: Count, slot: Slot, load: _Load, engine: EngineOption, terms: Terms) -> _Priced:
    estimate = load.estimate
    working_s = count.calls / estimate.calls_per_s  # of one replica, all calls together
    watts = estimate.busy_w - (estimate.idle_w if engine.resident else 0.0)
    held_usd = 0.0 if engine.resident else estimate.usd_per_s * working_s
    in_flight = load.in_flight * load.replicas
    # calls of two steps on one server slow each other: together they get no more done than it can
    slots = max(load.concurrency * load.replicas, math.ceil(load.share * engine.slots - 1e-9))
    return (
        tuple(_times(estimate, count, in_flight, q) for q in terms.percentiles),
        max(watts, 0.0) * working_s,
        estimate.usd_per_call * count.calls + held_usd,
        slot,
        load.concurrency,
        load.replicas,
        estimate,
        engine,
        slots,
    )


def replicated(way: Way, replicas: int, terms: Terms) -> Way:
    """Return a way on so many replicas, at the terms' rate; as it is where nothing stands."""
    executor, slot, estimate = way.configuration.executor, way.slot, way.estimate
    if executor is None or slot is None or estimate is None or way.engine is None:
        return way
    most = way.engine.slots // way.engine.replicas
    load = _Load(replicas, way.concurrency, way.concurrency, most, estimate)
    engine = _engine(executor, slot, way.count, load, "", terms)
    priced = _price(way.count, slot, load, engine, terms)
    return Way(way.configuration, way.case, way.emits, way.count, way.quality, *priced)


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


def _server(executor: Executor) -> str:
    """Return what tells one model server from another, short where that is the model alone."""
    told = [executor.model or executor.name]
    if executor.revision is not None:
        told.append(f"at {executor.revision}")
    if executor.runner != "vllm":
        told.append(f"by {executor.runner}")
    if executor.endpoint is not None:
        there = executor.endpoint
        told.append(f"of {there.url}")
        # one address may serve several models, and several accounts
        told += [part for part in (there.model, there.key_env) if part is not None]
    flags = dict(executor.settings).get("server_args")
    if flags is not None:
        told.append(str(flags))
    if executor.cores:
        told.append(f"with {executor.cores} cores")
    return " ".join(told)


def _engine(
    executor: Executor, slot: Slot, count: Count, load: _Load, owner: str, terms: Terms
) -> EngineOption:
    resident = executor.runner in RESIDENT_RUNNERS
    estimate, replicas = load.estimate, load.replicas
    # one server serves every executor of its model; what runs in process holds cores only while it
    # runs, so its load is part of what it is
    group = f"{_server(executor) if resident else executor.name} on {slot}"
    # what answers at an address is one server, whoever asks it
    own = terms.reference and slot.pool is not None
    if not resident or own:
        group += f" c{load.concurrency}"
    if owner and own:
        group += f" for {owner}"
    paid_s = estimate.startup_s
    if terms.rate is not None:
        paid_s = max(1.0 / terms.rate, count.calls / estimate.calls_per_s / replicas)
    held = resident and terms.rate is None
    stands = slot.pool is not None
    return EngineOption(
        label=f"{group} r{replicas}",
        pool=terms.pool_index(slot),
        resident=resident,
        replicas=replicas,
        gpus=slot.gpus,
        cores=estimate.cores if stands else 0,
        memory_bytes=estimate.memory_bytes if stands else 0.0,
        gpu_memory_bytes=estimate.gpu_memory_bytes,
        slots=replicas * load.most if resident else load.concurrency,
        startup_s=estimate.startup_s if resident else 0.0,
        startup_j=paid_s * estimate.idle_w * replicas if resident else 0.0,
        startup_usd=paid_s * estimate.usd_per_s * replicas if resident else 0.0,
        idle_w=estimate.idle_w * replicas if held else 0.0,
        usd_per_s=estimate.usd_per_s * replicas if held else 0.0,
        group=group,
        standing=resident and terms.rate is not None and not terms.reference,
        wake_s=estimate.wake_s,
        asleep_bytes=estimate.asleep_bytes,
    )


def as_mode(way: Way, engine: int | None, when: tuple[tuple[int, int], ...], choice: int) -> Mode:
    """Return the solver's view of a way; `choice` is the number of its configuration."""
    where = f" on {way.slot} c{way.concurrency} r{way.replicas}" if way.slot is not None else ""
    return Mode(
        label=way.configuration.label + where,
        engine=engine,
        slots=way.slots if engine is not None else 0,
        times=way.times,
        energy_j=way.energy_j,
        usd=way.usd,
        quality=way.quality,
        emits=way.emits,
        when=when,
        choice=choice,
    )
