"""What each decision was worth: every step's other configurations, priced against the plan."""

from __future__ import annotations

from collections.abc import Sequence

from ..targets.plan import Alternative
from .formulate import Formulation
from .modes import Way
from .problem import Metrics
from .schedule import Reason, broken, evaluate

# How many alternatives of a step are worth telling.
MOST = 6


def alternatives(
    formulation: Formulation, chosen: Sequence[int]
) -> dict[str, tuple[Alternative, ...]]:
    """Return, for each step, what one change there alone would make of the whole plan.

    Each configuration and slot other than the chosen one is laid out at its fastest load with
    everything else as it is. One that breaks a requirement, does not fit, or changes what later
    steps were planned for says so.
    """
    found = {}
    for index, (step, listed) in enumerate(zip(formulation.steps, formulation.ways, strict=True)):
        now = listed[chosen[index]]
        others = _others(formulation, listed, now)
        found[step.op.out().name] = tuple(
            _priced(formulation, chosen, index, other) for other in others[:MOST]
        )
    return found


def _others(formulation: Formulation, listed: Sequence[Way], now: Way) -> list[int]:
    """Return one way for each other (configuration, slot), the fastest in the plan's case."""
    best: dict[tuple[str, str], int] = {}
    mine = (now.configuration.label, str(now.slot))
    for index, way in enumerate(listed):
        key = (way.configuration.label, str(way.slot))
        if key == mine or way.case != now.case:
            continue
        known = best.get(key)
        if known is None or way.times[0].duration_s < listed[known].times[0].duration_s:
            best[key] = index
    return sorted(best.values(), key=lambda i: (-listed[i].quality, listed[i].energy_j, i))


def _priced(formulation: Formulation, chosen: Sequence[int], index: int, other: int) -> Alternative:
    problem = formulation.problem
    way = formulation.ways[index][other]
    label, slot = way.configuration.label, str(way.slot) if way.slot is not None else ""
    modes = list(chosen)
    modes[index] = other
    if way.emits != formulation.ways[index][chosen[index]].emits:
        modes = _followed(formulation, modes)
    outcome = evaluate(problem, modes)
    if isinstance(outcome, Reason):
        return Alternative(label, slot, why_not=outcome.text)
    metrics: Metrics = outcome.metrics
    unmet = broken(problem, metrics)
    return Alternative(
        variant=label,
        slot=slot,
        latency_s=metrics.latency_s[0],
        energy_j=metrics.energy_j,
        cost_usd=metrics.cost_usd,
        accuracy=metrics.accuracy * formulation.accuracy,
        why_not=f"it would break {' and '.join(f'`{x.text}`' for x in unmet)}" if unmet else None,
    )


def _followed(formulation: Formulation, modes: list[int]) -> list[int]:
    """Let later steps keep their choice in the case that the change leads to, where they can."""
    followed = list(modes)
    emitted: dict[str, int] = {}
    for index, (step, listed) in enumerate(zip(formulation.steps, formulation.ways, strict=True)):
        now = listed[followed[index]]
        if any(emitted.get(name) != output for name, output in now.case):
            same = [
                i
                for i, way in enumerate(listed)
                if all(emitted.get(name) == output for name, output in way.case)
            ]
            if same:
                followed[index] = min(same, key=lambda i: _unlike(listed[i], now))
        emitted[step.op.out().name] = listed[followed[index]].emits
    return followed


def _unlike(way: Way, wanted: Way) -> tuple[bool, bool, int]:
    return (
        way.configuration.label != wanted.configuration.label,
        str(way.slot) != str(wanted.slot),
        abs(way.concurrency * way.replicas - wanted.concurrency * wanted.replicas),
    )
