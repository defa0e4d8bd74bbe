"""Check a placement of one job against the definition, independently of how it was found."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from .problem import Hold, Mode, Placement, Problem
from .schedule import broken
from .timeline import busy_replicas, tails

SLACK_S = 1e-6
RELATIVE = 1e-6


def check(problem: Problem, placement: Placement) -> list[str]:
    """Return every rule the placement breaks, in words; empty when it is sound.

    The p50 timeline is checked in full. Of other percentiles' latencies only what a timeline is not
    needed for: none is shorter than its longest path.
    """
    modes = [step.modes[m] for step, m in zip(problem.steps, placement.modes, strict=True)]
    return [
        *_choices(problem, modes),
        *_order(problem, modes, placement),
        *_slots(problem, modes, placement),
        *_holds(problem, modes, placement),
        *_capacity(problem, placement.holds),
        *_metrics(problem, modes, placement),
        *(f"breaks the limit {limit.text}" for limit in broken(problem, placement.metrics)),
    ]


def _choices(problem: Problem, modes: Sequence[Mode]) -> Iterator[str]:
    configuration = tuple(mode.choice for mode in modes)
    if problem.accuracies is not None and configuration not in problem.accuracies:
        yield "the configuration was not measured"
    groups: dict[str, set[int]] = {}
    for step, mode in zip(problem.steps, modes, strict=True):
        if any(modes[before].emits != wanted for before, wanted in mode.when):
            yield f"{step.name} assumes what an earlier step does not emit"
        if mode.engine is not None and problem.engines[mode.engine].resident:
            groups.setdefault(problem.engines[mode.engine].group, set()).add(mode.engine)
    for group, engines in groups.items():
        if len(engines) > 1:
            yield f"{len(engines)} engines of group {group} are in use"


def _order(problem: Problem, modes: Sequence[Mode], found: Placement) -> Iterator[str]:
    starts, ends = found.starts_s, found.ends_s
    for index, step in enumerate(problem.steps):
        own = modes[index].times[0]
        if starts[index] < -SLACK_S:
            yield f"{step.name} starts before time zero"
        least = starts[index] + own.duration_s
        if step.streams:
            least = max(least, *(ends[before] + own.last_s for before in step.streams))
        if ends[index] < least - SLACK_S:
            yield f"{step.name} ends too early"
        if any(starts[index] < ends[before] - SLACK_S for before in step.after):
            yield f"{step.name} starts before a step it comes after has ended"
        for before in step.streams:
            if starts[index] < starts[before] + modes[before].times[0].first_s - SLACK_S:
                yield f"{step.name} starts before its first input"


def _slots(problem: Problem, modes: Sequence[Mode], found: Placement) -> Iterator[str]:
    for number, engine in enumerate(problem.engines):
        runs = [
            (found.starts_s[s], found.ends_s[s], mode.slots)
            for s, mode in enumerate(modes)
            if mode.engine == number
        ]
        if _peak(runs) > engine.slots:
            yield f"{engine.label} has more calls in flight than slots"


def _holds(problem: Problem, modes: Sequence[Mode], found: Placement) -> Iterator[str]:
    """Check that holds are there for every use, long enough, and stand on nodes and GPUs."""
    held = {h.engine: h for h in found.holds if problem.engines[h.engine].resident}
    count = sum(problem.engines[h.engine].resident for h in found.holds)
    used = {mode.engine for mode in modes if mode.engine is not None}
    if len(held) != count or set(held) != {e for e in used if problem.engines[e].resident}:
        yield "the engines held are not those in use, once each"
    for s, mode in enumerate(modes):
        if mode.engine is None:
            continue
        engine = problem.engines[mode.engine]
        start, end = found.starts_s[s], found.ends_s[s]
        hold = held.get(mode.engine)
        if engine.resident and hold is not None:
            up = hold.start_s + (0.0 if hold.prestarted else engine.late_s)
            if start < up - SLACK_S or end > hold.end_s + SLACK_S:
                yield f"{problem.steps[s].name} runs while {engine.label} is not up"
        elif not engine.resident and engine.pool >= 0 and mode.slots:
            need = busy_replicas(engine, mode.slots)
            mine = [
                h
                for h in found.holds
                if h.engine == mode.engine
                and len(h.replicas) == need
                and abs(h.start_s - start) < SLACK_S
                and abs(h.end_s - end) < SLACK_S
            ]
            if not mine:
                yield f"{problem.steps[s].name} runs without what it needs"
    for hold in found.holds:
        engine = problem.engines[hold.engine]
        if engine.standing and (hold.start_s > SLACK_S or hold.end_s < max(found.ends_s) - SLACK_S):
            yield f"{engine.label} stands by all the time but is held for a part of it"
        if hold.prestarted and hold.start_s > SLACK_S:
            yield f"{engine.label} is started before the job but held later"
        if engine.pool >= 0 and engine.resident and len(hold.replicas) != engine.replicas:
            yield f"{engine.label} does not have its replicas"
        if any(len(set(gpus)) != engine.gpus for _, gpus in hold.replicas):
            yield f"{engine.label} does not have its GPUs"


def _capacity(problem: Problem, holds: Sequence[Hold]) -> Iterator[str]:
    for index, pool in enumerate(problem.pools):
        here = [h for h in holds if problem.engines[h.engine].pool == index]
        for node in range(pool.nodes):
            spans = [
                (h.start_s, h.end_s, problem.engines[h.engine], gpus)
                for h in here
                for n, gpus in h.replicas
                if n == node
            ]
            where = f"node {node} of {pool.name}"
            if _peak([(a, b, e.cores) for a, b, e, _ in spans]) > pool.cores:
                yield f"{where} has too few cores"
            memory = _peak([(a, b, e.memory_bytes) for a, b, e, _ in spans])
            if memory > pool.memory_bytes * (1 + RELATIVE):
                yield f"{where} has too little memory"
            for gpu in {gpu for *_, gpus in spans for gpu in gpus}:
                if not 0 <= gpu < pool.gpus:
                    yield f"{where} has no GPU {gpu}"
                if _peak([(a, b, 1) for a, b, _, gpus in spans if gpu in gpus]) > 1:
                    yield f"GPU {gpu} of {where} is held twice at a time"
        if any(not 0 <= node < pool.nodes for h in here for node, _ in h.replicas):
            yield f"{pool.name} has no such node"


def _metrics(problem: Problem, modes: Sequence[Mode], found: Placement) -> Iterator[str]:
    energy = math.fsum(mode.energy_j for mode in modes)
    usd = math.fsum(mode.usd for mode in modes)
    for hold in found.holds:
        engine = problem.engines[hold.engine]
        if engine.resident:
            energy += engine.startup_j + engine.idle_w * (hold.end_s - hold.start_s)
            usd += engine.startup_usd + engine.usd_per_s * (hold.end_s - hold.start_s)
    gpus = 0.0
    for index, pool in enumerate(problem.pools):
        for node in range(pool.nodes):
            gpus += _peak(
                [
                    (h.start_s, h.end_s, len(taken))
                    for h in found.holds
                    if problem.engines[h.engine].pool == index
                    for n, taken in h.replicas
                    if n == node
                ]
            )
    accuracy = math.prod(mode.quality for mode in modes)
    if problem.accuracies is not None:
        accuracy = problem.accuracies.get(tuple(mode.choice for mode in modes), math.nan)
    metrics = found.metrics
    pairs = [
        ("latency", max(found.ends_s, default=0.0), metrics.latency_s[0]),
        ("energy", energy, metrics.energy_j),
        ("cost", usd, metrics.cost_usd),
        ("gpus", gpus, metrics.gpus),
        ("accuracy", accuracy, metrics.accuracy),
    ]
    for name, expected, stated in pairs:
        if abs(expected - stated) > RELATIVE * max(1e-12, abs(expected)):
            yield f"{name} is {expected:.9g}, not {stated:.9g}"
    for percentile, name in enumerate(problem.percentiles):
        least = max(tails(problem, modes, percentile), default=0.0)
        if metrics.latency_s[percentile] < least * (1 - RELATIVE) - SLACK_S:
            yield f"latency at {name} is shorter than the longest path"
    if any(higher < lower for lower, higher in pairwise(metrics.latency_s)):
        yield "latency at a percentile is below that at a lower one"


def _peak(spans: Sequence[tuple[float, float, float]]) -> float:
    """Return the greatest sum of amounts at one time; what ends makes room for what starts."""
    changes = []
    for start, end, amount in spans:
        if end - start > SLACK_S:
            changes += [(start + SLACK_S, amount), (end, -amount)]
    level = peak = 0.0
    for _, change in sorted(changes):
        level += change
        peak = max(peak, level)
    return peak
