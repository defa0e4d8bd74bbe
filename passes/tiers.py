"""Tiers (`best`, `good`, `fair`, `basic`): positions in a workflow's own configuration space."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..ir.workflow import MetricName
from .job.problem import Times
from .modes import Way
from .varying import Case
from .work import StepWork

# Up to this many combinations the latency distribution is exact; beyond it, a sample of this many.
MAX_COMBINATIONS = 20_000
_SEED = 20260
# Products of qualities nearer than this are one value; it keeps the distribution small.
_DIGITS = 9


def tier_value(
    metric: MetricName,
    percent: int,
    steps: Sequence[StepWork],
    found: Sequence[Sequence[Way]],
    accuracy: float,
    percentile: int = 0,
    measured: Mapping[tuple[str, ...], float] | None = None,
) -> float:
    """Return a tier's threshold: absolute accuracy, or seconds of latency at a percentile.

    The configuration space is every combination of executor, knobs and optional work, each on its
    fastest hardware; the threshold is the nearest rank (docs/language.md, Tiers). For latency
    the rank is of speed: `best` is the fastest combination. `percentile` is an index into the times
    of the ways: what a tail is held to is ranked by its tail. Where configurations were `measured`
    (absolute accuracy by label for each step), they are the space.
    """
    if metric == "accuracy" and measured is not None:
        return nearest_rank(measured.values(), percent)
    if metric == "accuracy":
        qualities = ({w.configuration.label: w.quality for w in listed} for listed in found)
        return accuracy * product_rank((q.values() for q in qualities), percent)
    return -nearest_rank((-s for s in _latencies(steps, found, percentile, measured)), percent)


def nearest_rank(values: Iterable[float], percent: int) -> float:
    """Return the value at a percentile by nearest rank: 100 is the largest."""
    ordered = sorted(values)
    return ordered[_rank(percent, len(ordered))]


def _rank(percent: int, count: int) -> int:
    return max(math.ceil(percent / 100 * count) - 1, 0)


def product_rank(factors: Iterable[Iterable[float]], percent: int) -> float:
    """Return the nearest rank among the products of one of each list of qualities."""
    counts: dict[float, int] = {1.0: 1}
    for qualities in map(tuple, factors):
        product: dict[float, int] = {}
        for value, times in counts.items():
            for quality in qualities:
                key = round(value * quality, _DIGITS)
                product[key] = product.get(key, 0) + times
        counts = product
    wanted = _rank(percent, sum(counts.values()))
    passed = 0
    for value in sorted(counts):
        passed += counts[value]
        if passed > wanted:
            return value
    return 1.0


def _latencies(
    steps: Sequence[StepWork],
    found: Sequence[Sequence[Way]],
    percentile: int,
    measured: Mapping[tuple[str, ...], float] | None,
) -> Iterator[float]:
    """Yield the critical path of each combination, capacity left aside, at a percentile."""
    numbers = {step.op.out().name: index for index, step in enumerate(steps)}
    tables = [_fastest(listed, percentile) for listed in found]
    every = combinations([tuple(table) for table in tables]) if measured is None else measured
    for labels in every:
        emitted: dict[str, int] = {}
        ends: list[float] = []
        starts: list[float] = []
        firsts: list[float] = []
        for step, table, label in zip(steps, tables, labels, strict=True):
            emits, cases = table[label]
            times = _matching(cases, emitted)
            emitted[step.op.out().name] = emits
            before = [ends[numbers[name]] for name in step.waits.after]
            inside = [numbers[name] for name in step.waits.streams - step.waits.after]
            start = max([0.0, *before, *(starts[i] + firsts[i] for i in inside)])
            end = max([start + times.duration_s, *(ends[i] + times.last_s for i in inside)])
            starts.append(start)
            ends.append(end)
            firsts.append(times.first_s)
        yield max(ends, default=0.0)


def _fastest(listed: Sequence[Way], percentile: int) -> dict[str, tuple[int, dict[Case, Times]]]:
    """Return, for each configuration, its output class and its fastest times in each case."""
    table: dict[str, tuple[int, dict[Case, Times]]] = {}
    for way in listed:
        _, cases = table.setdefault(way.configuration.label, (way.emits, {}))
        best = cases.get(way.case)
        if best is None or way.times[percentile].duration_s < best.duration_s:
            cases[way.case] = way.times[percentile]
    return table


def _matching(cases: Mapping[Case, Times], emitted: Mapping[str, int]) -> Times:
    for case, times in cases.items():
        if all(emitted.get(step) == output for step, output in case):
            return times
    # no way in this case (the prompt would not fit): the slowest known stands for it
    return max(cases.values(), key=lambda times: times.duration_s)


def combinations(choices: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield every choice of one from each, or a sample where there are too many."""
    if math.prod(map(len, choices)) <= MAX_COMBINATIONS:
        yield from itertools.product(*choices)
        return
    draw = random.Random(_SEED)
    for _ in range(MAX_COMBINATIONS):
        yield tuple(draw.choice(options) for options in choices)
