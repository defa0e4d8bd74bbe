"""Exact dominance: a way is dropped only when no optimal plan can need it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from operator import le

from .modes import Way


def undominated(steps: Sequence[Sequence[Way]], *, apart: bool = False) -> list[list[Way]]:
    """Return, for each step, the ways that no other way of the step dominates, in their order.

    A way dominates another when both put out the same in the same case and it is no worse in time
    (each percentile, and first and last item), energy, dollars, quality, and in what its engine
    holds and costs to hold, on the same pool. An engine that another step could share is worth
    more than its own figures say: a way on one is dropped only for a way on the same engine.
    Of equal ways the first stays. `apart` compares only ways of one configuration: where accuracy
    is that of whole configurations, none can stand for another.
    """
    users: dict[str, set[int]] = defaultdict(set)
    for index, ways in enumerate(steps):
        for way in ways:
            if way.engine is not None:
                users[way.engine.group].add(index)
    shared = {group for group, found in users.items() if len(found) > 1}
    return [_frontier(ways, shared, apart) for ways in steps]


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A way with what counts about it, computed once."""

    way: Way
    figures: tuple[float, ...]
    holding: tuple[float, ...]
    slots: int


def _frontier(ways: Sequence[Way], shared: set[str], apart: bool) -> list[Way]:
    alike: dict[tuple[object, ...], list[_Weighed]] = defaultdict(list)
    for way in ways:
        weighed = _Weighed(way, _figures(way), _holding(way), way.slots)
        configuration = way.configuration.label if apart else None
        alike[(way.emits, way.case, configuration)].append(weighed)
    kept: set[int] = set()
    for group in alike.values():
        # sorted by the sum of what counts, a dominator comes before what it dominates
        order = sorted(group, key=lambda w: (sum(w.figures), sum(w.holding), w.way.concurrency))
        frontier: list[_Weighed] = []
        for one in order:
            if not any(_dominates(other, one, shared) for other in frontier):
                frontier.append(one)
        kept |= {id(one.way) for one in frontier}
    return [way for way in ways if id(way) in kept]


def _dominates(one: _Weighed, other: _Weighed, shared: set[str]) -> bool:
    if not _no_worse(one.figures, other.figures):
        return False
    a, b = one.way.engine, other.way.engine
    if a is None or b is None:
        # leaving work out takes nothing, so it may replace what is no better
        return a is None
    if a.label == b.label:
        return one.slots <= other.slots
    if b.group in shared or a.pool != b.pool:
        return False
    return a.group not in shared and _no_worse(one.holding, other.holding)


def _no_worse(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(map(le, a, b))


def _figures(way: Way) -> tuple[float, ...]:
    times = [t for q in way.times for t in (q.duration_s, q.first_s, q.last_s)]
    return (*times, way.energy_j, way.usd, -way.quality)


def _holding(way: Way) -> tuple[float, ...]:
    engine = way.engine
    if engine is None:
        return ()
    n = engine.replicas
    return (
        float(engine.resident),
        # the shape of one replica matters for packing, so each demand must be no larger
        float(engine.gpus),
        float(engine.cores),
        engine.memory_bytes,
        float(n),
        engine.late_s,
        engine.asleep_bytes,
        engine.startup_j,
        engine.startup_usd,
        engine.idle_w,
        engine.usd_per_s,
    )
