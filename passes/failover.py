"""Failover: who does a step's calls when its engine stays away, or cannot do them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from ..ir.remarks import Reporter
from ..ir.types import ListOf
from ..ir.workflow import Module
from .base import Context
from .formulate import Formulation, variants
from .job.problem import Placement
from .job.schedule import broken
from .modes import Way
from .work import StepWork


def failovers(
    module: Module,
    context: Context,
    formulation: Formulation,
    placement: Placement,
    report: Reporter,
    *,
    reference: bool = False,
) -> dict[str, Way]:
    """Return a substitute for each step that may have one, by step: another way to do its calls.

    It stands on another engine of the plan, or is a hosted service, which costs nothing while
    nobody asks it: nothing is held in reserve. It leaves what later steps were planned for as it
    is. The best by quality is taken, as long as the plan would meet the author's requirements of
    accuracy with every substitute at work at once; the default one, time, energy and cost are not
    looked at, since the alternative is to fail. Steps with effects have none: whether a call that
    failed did something is not known.
    """
    if formulation.service is not None:
        report.refused("substitute", "a service's engines come and go with its load")
        return {}
    steps, everything = variants(module, context, reference=reference)
    chosen = [listed[mode] for listed, mode in zip(formulation.ways, placement.modes, strict=True)]
    engines = {way.engine.label for way in chosen if way.engine is not None}
    required = {n.text for n in module.sole().requirements if n.metric == "accuracy"}
    accuracy, found = placement.metrics.accuracy, {}
    for step, now, ways in zip(steps, chosen, everything, strict=True):
        if now.engine is None or now.slot is None:
            continue  # left out
        if not now.engine.resident and now.slot.pool is not None:
            continue  # in a process of this machine, which is started again
        name = step.op.out().name
        if step.task.effect:
            report.refused("substitute", f"`{name}` has an effect", step.op)
            continue
        others = _others(step, now, ways, engines)
        if not others:
            report.refused("substitute", f"nothing else in the plan can do `{name}`", step.op)
            continue
        best = min(others, key=_order)
        left = accuracy * best.quality / now.quality
        metrics = replace(placement.metrics, accuracy=left)
        missed = [x.text for x in broken(formulation.problem, metrics) if x.text in required]
        if missed:
            told = f"`{best.configuration.label}` for `{name}` could break `{missed[0]}`"
            report.refused("substitute", told, step.op)
            continue
        accuracy, found[name] = left, best
        report.did("substitute", f"`{best.configuration.label}` stands by for `{name}`", step.op)
    return found


def _others(step: StepWork, now: Way, ways: Sequence[Way], engines: Set[str]) -> list[Way]:
    """Return what could take a step over: elsewhere, and alike for what comes after it."""
    return [
        way
        for way in ways
        if way.engine is not None
        and way.slot is not None
        and way.configuration.executor is not None
        and _server(way) != _server(now)
        and (way.engine.label in engines or way.slot.pool is None)
        and (way.case, way.emits) == (now.case, now.emits)
        and (_runner(way) == _runner(now) or not isinstance(step.op.out().type, ListOf))
    ]


def _server(way: Way) -> str:
    """Return what fails as one, at whatever load: the engines of a server, or a hosted executor."""
    if way.engine is not None and way.engine.resident:
        return way.engine.group
    return "" if way.configuration.executor is None else way.configuration.executor.name


def _runner(way: Way) -> str:
    """Return who carries a way out: only one of the same kind can go on with a list half told."""
    return "" if way.configuration.executor is None else way.configuration.executor.runner


def _order(way: Way) -> tuple[float, float, str, str, int]:
    """Best quality first, then the cheapest; of one that takes any load, the widest."""
    label, slot = way.configuration.label, str(way.slot)
    return (-way.quality, way.usd, label, slot, -way.concurrency)
