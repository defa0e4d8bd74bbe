"""Write a placement back into the IR: calls become invocations of engines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from types import MappingProxyType

from ..ir.ops import Attr, Attrs, Op, Region, Symbol, attributes
from ..ir.workflow import PERCENTILES, Engine, Module
from ..targets.cost import Slot
from ..targets.endpoint import EndpointPlan
from .formulate import Formulation
from .job.problem import Hold, Placement
from .measured import Measured
from .modes import Way
from .turns import gpu_bytes
from .work import StepWork

_DIGITS = 9  # significant digits of predictions: more than any model can mean


def read_out(
    module: Module,
    formulation: Formulation,
    placement: Placement,
    spare: Mapping[str, Way] = MappingProxyType({}),
) -> Module:
    """Return the placed module: engines, invocations with predictions, and the proof.

    `spare` are the ways that stand by for steps, by step.
    """
    workflow = module.sole()
    ways = [listed[index] for listed, index in zip(formulation.ways, placement.modes, strict=True)]
    names = _engine_names([*ways, *spare.values()])
    shares = _shares(formulation, placement, ways)
    invokes = {
        step.op.out().name: _invocation(
            step,
            way,
            names,
            (placement.starts_s[i], placement.ends_s[i]),
            shares[i],
            spare.get(step.op.out().name),
        )
        for i, (step, way) in enumerate(zip(formulation.steps, ways, strict=True))
    }
    holds = {formulation.problem.engines[h.engine].label: h for h in placement.holds}
    engines = tuple(
        Engine(name, _engine_attrs(label, holds.get(label), ways, spare.values()))
        for label, name in names.items()
    )
    return Module(
        "placed",
        (replace(workflow, body=_region(workflow.body, invokes)),),
        module.tasks,
        engines,
        attributes({**dict(module.attrs), **_summary(formulation, placement, ways)}),
    )


def _region(region: Region, invokes: Mapping[str, Op]) -> Region:
    ops = []
    for op in region.ops:
        if op.kind == "call":
            op = invokes[op.out().name]
        elif op.regions:
            op = replace(op, regions=tuple(_region(r, invokes) for r in op.regions))
        ops.append(op)
    return replace(region, ops=tuple(ops))


def _engine_names(ways: list[Way]) -> dict[str, str]:
    """Name engines after the executor that first uses them; two of one executor are numbered."""
    names: dict[str, str] = {}
    taken: dict[str, int] = {}
    for way in ways:
        executor = way.configuration.executor
        if way.engine is None or executor is None or way.engine.label in names:
            continue
        number = taken[executor.name] = taken.get(executor.name, 0) + 1
        names[way.engine.label] = executor.name if number == 1 else f"{executor.name}-{number}"
    return names


def _shares(
    formulation: Formulation, placement: Placement, ways: list[Way]
) -> list[tuple[float, float]]:
    """Return joules and dollars of each step; holding an engine is shared out by working time."""
    totals = [(way.energy_j, way.usd) for way in ways]
    for hold in placement.holds:
        engine = formulation.problem.engines[hold.engine]
        if not engine.resident:
            continue
        held_s = hold.end_s - hold.start_s
        joules = engine.startup_j + engine.idle_w * held_s
        usd = engine.startup_usd + engine.usd_per_s * held_s
        users = [
            (i, way.times[0].duration_s)
            for i, way in enumerate(ways)
            if way.engine is not None and way.engine.label == engine.label
        ]
        working_s = sum(seconds for _, seconds in users) or 1.0
        for i, seconds in users:
            share = seconds / working_s
            totals[i] = (totals[i][0] + joules * share, totals[i][1] + usd * share)
    return totals


def _invocation(
    step: StepWork,
    way: Way,
    names: Mapping[str, str],
    span_s: tuple[float, float],
    share: tuple[float, float],
    spare: Way | None,
) -> Op:
    op = step.op
    kept = {k: v for k, v in op.attrs if k != "candidates" and not k.startswith("at.")}
    executor, estimate = way.configuration.executor, way.estimate
    if way.engine is None or estimate is None or executor is None:
        attrs = {**kept, "skip": True, "predicted.quality": _short(way.quality)}
        return Op("invoke", op.operands, op.result, op.symbol, attributes(attrs), (), op.locs)
    outputs = step.outputs.get(way.case) or next(iter(step.outputs.values()))
    size = outputs[step.configurations.index(way.configuration)]
    attrs = {
        **kept,
        "engine": Symbol(names[way.engine.label]),
        "executor": Symbol(executor.name),
        "predicted.calls": _short(way.count.calls),
        "predicted.start_s": _short(span_s[0]),
        "predicted.end_s": _short(span_s[1]),
        "predicted.energy_j": _short(share[0]),
        "predicted.cost_usd": _short(share[1]),
        "predicted.quality": _short(way.quality),
        "predicted.source": estimate.source,
        "predicted.error_band": _short(estimate.error_band),
        "predicted.slot": str(way.slot),
        **{f"predicted.call_s.{q}": _short(estimate.latency.at(q)) for q in PERCENTILES},
        **{f"knob.{name}": value for name, value in way.configuration.knobs},
    }
    if size.item is not None:
        attrs["predicted.items"] = _short(size.length)
    if spare is not None:
        attrs |= _substitute_attrs(spare, names)
    return Op("invoke", op.operands, op.result, op.symbol, attributes(attrs), (), op.locs)


def _substitute_attrs(way: Way, names: Mapping[str, str]) -> dict[str, Attr]:
    executor, engine, estimate = way.configuration.executor, way.engine, way.estimate
    if executor is None or engine is None or estimate is None:
        raise ValueError("what does nothing cannot stand by")
    return {
        "substitute.engine": Symbol(names[engine.label]),
        "substitute.executor": Symbol(executor.name),
        "substitute.quality": _short(way.quality),
        "substitute.call_s": _short(estimate.latency.at("p50")),
        "substitute.energy_j": _short(way.energy_j / way.count.calls if way.count.calls else 0.0),
        "substitute.cost_usd": _short(way.usd / way.count.calls if way.count.calls else 0.0),
        **{f"substitute.knob.{name}": value for name, value in way.configuration.knobs},
    }


def _engine_attrs(
    label: str, hold: Hold | None, ways: Iterable[Way], spare: Iterable[Way] = ()
) -> Attrs:
    """Return an engine's attributes; a hosted service is held by nobody.

    One that only stands by has none but spare users.
    """
    users = [way for way in ways if way.engine is not None and way.engine.label == label]
    if not users:
        users = [way for way in spare if way.engine is not None and way.engine.label == label]
    option, executor, slot = users[0].engine, users[0].configuration.executor, users[0].slot
    estimate = max(
        (way.estimate for way in users if way.estimate is not None),
        key=lambda e: (e.gpu_memory_bytes, e.kv_cache_bytes),
        default=None,
    )
    if option is None or executor is None or slot is None or estimate is None:
        raise ValueError(f"engine {label} has no executor")
    in_flight = sum(way.concurrency * way.replicas for way in users)
    replicas = hold.replicas if hold is not None else ()
    places = tuple(
        f"{node}:{','.join(map(str, gpus))}" if gpus else str(node) for node, gpus in replicas
    )
    return attributes(
        {
            "executor": Symbol(executor.name),
            "executor_digest": executor.digest,
            "runner": executor.runner,
            "model": executor.model,
            "revision": executor.revision,
            "gpu": slot.pool.gpu.type if slot.gpus and slot.pool and slot.pool.gpu else None,
            "slot": str(slot),
            "pool": slot.pool.name if slot.pool is not None else None,
            "device": slot.device,
            "tp": max(slot.gpus, 1),
            "replicas": option.replicas,
            "concurrency": min(option.slots, in_flight),
            "places": places,
            "start_s": _short(hold.start_s if hold is not None and not hold.beside else 0.0),
            "end_s": _short(hold.end_s if hold is not None else 0.0),
            "startup_s": _short(option.startup_s),
            "prestarted": hold is None or hold.prestarted or hold.beside or not option.startup_s,
            "wake_s": _short(option.wake_s if hold is not None and hold.woken else 0.0),
            "cores": estimate.cores,
            "memory_share": _memory_share(gpu_bytes(users), slot),
            "kv_cache_bytes": _short(estimate.kv_cache_bytes),
            **_endpoint_attrs(executor.endpoint),
        }
    )


def _memory_share(gpu_memory_bytes: float, slot: Slot) -> float:
    """Return the share of a GPU's memory that a replica needs, rounded up to a hundredth."""
    gpu = slot.pool.gpu if slot.pool is not None and slot.gpus else None
    if gpu is None:
        return 0.0
    return min(1.0, math.ceil(100.0 * gpu_memory_bytes / gpu.memory_bytes) / 100.0)


def _endpoint_attrs(endpoint: EndpointPlan | None) -> dict[str, Attr]:
    if endpoint is None:
        return {}
    return {f"endpoint.{field.name}": getattr(endpoint, field.name) for field in fields(endpoint)}


def _summary(formulation: Formulation, placement: Placement, ways: list[Way]) -> dict[str, Attr]:
    metrics = placement.metrics
    problem = formulation.problem
    started = [
        problem.engines[hold.engine].startup_s for hold in placement.holds if hold.prestarted
    ]
    # those that take turns come up one after the other, before what stands in their places
    turns = (h.engine for h in placement.holds if h.woken or h.beside)
    started = [max(started, default=0.0) + sum(problem.engines[e].startup_s for e in turns)]
    # what runs in process gets ready one thing after the other, beside the servers
    in_process = {
        way.engine.group: way.estimate.startup_s
        for way in ways
        if way.engine is not None and way.estimate is not None and not way.engine.resident
    }
    started.append(sum(in_process.values()))
    bands = [(w.energy_j, w.estimate.error_band) for w in ways if w.estimate is not None]
    total = sum(energy for energy, _ in bands)
    # where nothing takes energy that is known of, the least certain step counts
    band = max((b for _, b in bands), default=0.0)
    if total:
        band = sum(e * b for e, b in bands) / total
    attrs: dict[str, Attr] = {
        "predicted.energy_j": _short(metrics.energy_j),
        "predicted.cost_usd": _short(metrics.cost_usd),
        "predicted.accuracy": _short(metrics.accuracy * formulation.accuracy),
        "predicted.gpus": metrics.gpus,
        "predicted.startup_s": _short(max(started)),
        "predicted.error_band": _short(band),
        "solver.status": placement.status,
    }
    for percentile, seconds in zip(problem.percentiles, metrics.latency_s, strict=True):
        attrs[f"predicted.latency_s.{percentile}"] = _short(seconds)
    for rank, bound in enumerate(placement.bounds, start=1):
        # the solver's accuracy is relative to the reference plan's
        unit = formulation.accuracy if bound.metric == "accuracy" else 1.0
        proof = (bound.value * unit, bound.bound * unit, bound.gap)
        attrs[f"solver.objective_{rank}"] = (bound.metric, *map(_short, proof))
    from .job.schedule import broken

    if formulation.measured is not None:
        attrs |= _provenance(formulation.measured, ways)
    breaks = tuple(limit.text for limit in broken(problem, metrics))
    if breaks:
        attrs["predicted.breaks"] = breaks
    return attrs


def _provenance(measured: Measured, ways: list[Way]) -> dict[str, Attr]:
    """Return where the accuracy of a workflow that was measured comes from."""
    row = measured.rows.get(tuple(way.configuration.label for way in ways))
    said = "accuracy was not measured; it is put in proportion to configurations that were"
    if row is not None:
        said = f"accuracy was measured on {row.n} items: {row.source}"
    return {"accuracy_measured": row is not None, "note.accuracy": said}


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
