"""Lower a placed module to a plan: the figures its attributes hold, as the plan's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..ir.ops import Attr, Attrs, Op
from ..ir.printer import print_module
from ..ir.workflow import PERCENTILES, Engine, Module
from .cluster import Cluster
from .endpoint import EndpointPlan
from .failure_policy import USUAL, FailurePolicy
from .plan import (
    Alternative,
    Carbon,
    EnginePlan,
    Place,
    Plan,
    Prediction,
    Proof,
    Solver,
    StepPlan,
    SubstitutePlan,
)
from .references import Grid
from .target import Target


@dataclass(frozen=True, slots=True)
class Tables:
    """What a plan repeats of its IR in a form that needs no parser; steps lack alternatives."""

    engines: tuple[EnginePlan, ...]
    steps: tuple[StepPlan, ...]
    predicted: Prediction
    solver: Solver


def tables(module: Module) -> Tables:
    """Return the tables a placed module gives.

    Raises LookupError, ValueError or OverflowError for a module that no placement has written.
    """
    attrs = dict(module.attrs)
    return Tables(
        engines=tuple(map(_engine, module.engines)),
        steps=tuple(map(_step, module.sole().calls())),
        predicted=prediction(module),
        solver=Solver(str(attrs["solver.status"]), _proofs(module.attrs)),
    )


def lower(
    module: Module,
    target: Target,
    cluster: Cluster,
    *,
    flow: Module,
    pipeline: str,
    baseline: Prediction | None,
    alternatives: Mapping[str, tuple[Alternative, ...]],
    digests: Mapping[str, str],
    notes: tuple[str, ...],
    failure: FailurePolicy = USUAL,
) -> Plan:
    """Return the plan of a placed module for a target, made from `flow`.

    `alternatives` are by step name.
    """
    made = tables(module)
    return Plan(
        schema="murakkab/plan/1",
        kind="job",
        workflow=module.sole().name,
        target=target.name,
        cluster=cluster.name,
        passes=pipeline,
        ir=print_module(module),
        engines=made.engines,
        steps=tuple(
            replace(step, alternatives=tuple(map(_rounded, alternatives.get(step.step, ()))))
            for step in made.steps
        ),
        predicted=made.predicted,
        baseline=baseline,
        solver=made.solver,
        digests=dict(digests),
        notes=notes,
        flow=print_module(flow),
        carbon=None if cluster.grid is None else _carbon(cluster.grid, made.predicted),
        failure=failure,
    )


def _carbon(grid: Grid, predicted: Prediction) -> Carbon:
    return Carbon(
        region=grid.region,
        g_per_kwh=grid.g_per_kwh,
        year=grid.year,
        source=grid.source,
        carbon_g=float(f"{grid.grams(predicted.energy_j):.9g}"),
    )


def prediction(module: Module) -> Prediction:
    """Return what a placed module's attributes predict of one request."""
    attrs = dict(module.attrs)
    breaks = attrs.get("predicted.breaks", ())
    return Prediction(
        latency_s={q: _number(attrs, f"predicted.latency_s.{q}") for q in PERCENTILES},
        energy_j=_number(attrs, "predicted.energy_j"),
        cost_usd=_number(attrs, "predicted.cost_usd"),
        accuracy=_number(attrs, "predicted.accuracy"),
        gpus=int(_number(attrs, "predicted.gpus")),
        startup_s=_number(attrs, "predicted.startup_s"),
        error_band=_number(attrs, "predicted.error_band"),
        breaks=tuple(map(str, breaks)) if isinstance(breaks, tuple) else (),
    )


def _engine(engine: Engine) -> EnginePlan:
    attrs = dict(engine.attrs)
    model, revision = attrs.get("model"), attrs.get("revision")
    pool = str(attrs.get("pool", ""))
    places = attrs.get("places", ())
    return EnginePlan(
        name=engine.name,
        executor=str(attrs["executor"]),
        executor_digest=str(attrs["executor_digest"]),
        runner=str(attrs["runner"]),
        model=None if model is None else str(model),
        slot=str(attrs["slot"]),
        device=str(attrs["device"]),
        tp=int(_number(attrs, "tp")),
        replicas=int(_number(attrs, "replicas")),
        concurrency=int(_number(attrs, "concurrency")),
        places=tuple(_place(pool, str(p)) for p in places) if isinstance(places, tuple) else (),
        start_s=_number(attrs, "start_s"),
        end_s=_number(attrs, "end_s"),
        startup_s=_number(attrs, "startup_s"),
        cores=int(_number(attrs, "cores")),
        memory_share=_number(attrs, "memory_share"),
        kv_cache_bytes=_number(attrs, "kv_cache_bytes"),
        prestarted=attrs.get("prestarted") is True,
        wake_s=_number(attrs, "wake_s"),
        endpoint=_endpoint(attrs),
        revision=None if revision is None else str(revision),
        gpu=_text(attrs.get("gpu")),
    )


def _endpoint(attrs: Mapping[str, Attr]) -> EndpointPlan | None:
    url = attrs.get("endpoint.url")
    if url is None:
        return None
    price = attrs.get("endpoint.usd_per_mtok")
    return EndpointPlan(
        url=str(url),
        key_env=_text(attrs.get("endpoint.key_env")),
        model=_text(attrs.get("endpoint.model")),
        requests_per_min=_limit(attrs.get("endpoint.requests_per_min")),
        tokens_per_min=_limit(attrs.get("endpoint.tokens_per_min")),
        max_usd=_limit(attrs.get("endpoint.max_usd")),
        usd_per_mtok=(_float(price[0]), _float(price[1])) if isinstance(price, tuple) else None,
    )


def _text(value: Attr) -> str | None:
    return None if value is None else str(value)


def _limit(value: Attr) -> float | None:
    return None if value is None else _float(value)


def _place(pool: str, text: str) -> Place:
    node, _, gpus = text.partition(":")
    return Place(pool, int(node), tuple(int(g) for g in gpus.split(",") if g))


def _step(op: Op) -> StepPlan:
    attrs = dict(op.attrs)
    executor = attrs.get("executor")
    engine = attrs.get("engine")
    items = attrs.get("predicted.items")
    return StepPlan(
        step=op.out().name,
        task=str(op.symbol),
        executor=None if executor is None else str(executor),
        knobs={k.removeprefix("knob."): v for k, v in op.attrs if k.startswith("knob.")},
        engine=None if engine is None else str(engine),
        slot=str(attrs.get("predicted.slot", "")),
        calls=_number(attrs, "predicted.calls"),
        call_s={q: _number(attrs, f"predicted.call_s.{q}") for q in PERCENTILES},
        start_s=_number(attrs, "predicted.start_s"),
        end_s=_number(attrs, "predicted.end_s"),
        energy_j=_number(attrs, "predicted.energy_j"),
        cost_usd=_number(attrs, "predicted.cost_usd"),
        quality=_number(attrs, "predicted.quality"),
        items=items if isinstance(items, float) else None,
        source=str(attrs.get("predicted.source", "declared")),
        error_band=_number(attrs, "predicted.error_band"),
        substitute=_substitute(attrs),
    )


def _substitute(attrs: Mapping[str, Attr]) -> SubstitutePlan | None:
    if attrs.get("substitute.engine") is None:
        return None
    prefix = "substitute.knob."
    return SubstitutePlan(
        executor=str(attrs["substitute.executor"]),
        knobs={k.removeprefix(prefix): v for k, v in attrs.items() if k.startswith(prefix)},
        engine=str(attrs["substitute.engine"]),
        quality=_number(attrs, "substitute.quality"),
        call_s=_number(attrs, "substitute.call_s"),
        energy_j=_number(attrs, "substitute.energy_j"),
        cost_usd=_number(attrs, "substitute.cost_usd"),
    )


def _rounded(other: Alternative) -> Alternative:
    """Keep nine significant digits, like the IR's figures: a plan's text holds all that it has."""
    return replace(
        other,
        latency_s=_nine_digits(other.latency_s),
        energy_j=_nine_digits(other.energy_j),
        cost_usd=_nine_digits(other.cost_usd),
        accuracy=_nine_digits(other.accuracy),
    )


def _nine_digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.9g}")


def _proofs(attrs: Attrs) -> tuple[Proof, ...]:
    proofs = []
    for key, value in attrs:
        if key.startswith("solver.objective_") and isinstance(value, tuple):
            metric, found, bound, gap = value
            proofs.append((key, Proof(str(metric), *map(_float, (found, bound, gap)))))
    return tuple(proof for _, proof in sorted(proofs, key=lambda pair: pair[0]))


def _number(attrs: Mapping[str, Attr], name: str) -> float:
    """Return a figure; what left-out work does not have is zero."""
    return _float(attrs.get(name, 0.0))


def _float(value: Attr) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
