"""The frontier of two metrics: every placement that no other beats in one without losing the other.

The epsilon-constraint method (Haimes, Lasdon and Wismer, IEEE Trans. SMC 1971) with a second stage:
one metric is minimised under a bound of the other, then the other with the first held, so that each
point found is efficient, not only weakly so (Mavrotas, Applied Math. and Computation 2009). The
bound starts at one end of the frontier and is each time set just below the point found last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...ir.workflow import MetricName
from .problem import Limit, Metrics, Placement, Problem, stated
from .scale import Scale
from .schedule import TOLERANCE, broken
from .solver import FIRST_SHARE, solve

# Which of two metrics is bounded: the one of few values, else that which the solver bounds well.
_BOUNDED: tuple[MetricName, ...] = ("gpus", "accuracy", "latency", "cost", "energy")
LEAST_POINTS = 2  # the ends


@dataclass(frozen=True, slots=True)
class Axis:
    """A metric to trade; `percentile` indexes Problem.percentiles for latency (0 elsewhere)."""

    metric: MetricName
    percentile: int = 0

    def of(self, metrics: Metrics) -> float:
        """Return the metric's value in base units, negative for accuracy: the less the better."""
        value = metrics.of(self.metric, self.percentile)
        return -value if self.metric == "accuracy" else value

    def at_most(self, value: float) -> Limit:
        """Return the limit that holds the metric to a value of `of`."""
        op, value = (">=", -value) if self.metric == "accuracy" else ("<=", value)
        return self._limit(op, value)

    def below(self, value: float) -> Limit:
        """Return the limit that asks for less than a value of `of`."""
        op, value = (">", -value) if self.metric == "accuracy" else ("<", value)
        return self._limit(op, value)

    def _limit(self, op: str, value: float) -> Limit:
        text = f"{self.metric} {op} {stated(self.metric, value)} (a point of the frontier)"
        return Limit(self.metric, op, value, text, self.percentile)


@dataclass(frozen=True, slots=True)
class Frontier:
    """Placements from the best in the first axis to the best in the second.

    Each is the least of one axis under a bound of the other, and of those within a step of that the
    least of the other; `Placement.bounds` has for both how far that was proved. Not `complete`:
    there are more points between these, which were not looked for.
    """

    axes: tuple[Axis, Axis]
    points: tuple[Placement, ...]
    complete: bool

    def gap(self, point: Placement) -> float | None:
        """Return the larger of a point's relative gaps on the axes; None where one is unknown."""
        gaps = {bound.metric: bound.gap for bound in point.bounds}
        known = [gaps[axis.metric] for axis in self.axes if axis.metric in gaps]
        return max(known) if len(known) == len(self.axes) else None


def frontier(
    problem: Problem,
    axes: tuple[Axis, Axis],
    *,
    most: int,
    budget: float,
    told: Callable[[], None] | None = None,
) -> Frontier:
    """Return the frontier of a problem over two axes, or `most` points spread evenly over it.

    `budget` is in CP-SAT's deterministic seconds for each point. The other objectives of the
    problem decide between placements that are equal on both axes. Exact where each point is proved,
    up to what the solver's rounding of durations to ticks makes of a metric (`scale`): points
    nearer to each other than that on an axis count as one.

    `told` is called with each placement found, of which not all need be points in the end.

    Raises `Infeasible` as `solve` does, ValueError for two axes of one metric or fewer than
    LEAST_POINTS points.
    """
    if axes[0].metric == axes[1].metric:
        raise ValueError(f"both axes are `{axes[0].metric}`")
    if most < LEAST_POINTS:
        raise ValueError(f"a frontier has its ends: {LEAST_POINTS} points or more, not {most}")
    ends = _Search(problem, axes, budget, None, told)
    smaller, kept = _quick_enough(problem, ends.latency_limits())
    known = _renumbered(ends.start, [{m: i for i, m in enumerate(each)} for each in kept])
    search = _Search(smaller, axes, budget, known, told)
    points, complete = search.each(most)
    if not complete:
        points = search.spread(points, most)
    ordered = sorted(
        search.apart([*points, search.end]), key=lambda point: axes[0].of(point.metrics)
    )
    whole = [dict(enumerate(numbers)) for numbers in kept]
    return Frontier(axes, tuple(_renumbered(point, whole) for point in ordered), complete)


def _quick_enough(
    problem: Problem, limits: Sequence[Limit]
) -> tuple[Problem, Sequence[Sequence[int]]]:
    """Return the problem without modes that alone take longer than a limit; those kept, by step.

    Shorter modes have shorter ticks: the solver then tells more points apart, and is quicker.
    """
    kept = [
        [
            number
            for number, mode in enumerate(step.modes)
            if all(
                mode.times[x.percentile].duration_s <= x.value * (1 + 2 * TOLERANCE) for x in limits
            )
        ]
        for step in problem.steps
    ]
    steps = tuple(
        replace(step, modes=tuple(step.modes[number] for number in numbers))
        for step, numbers in zip(problem.steps, kept, strict=True)
    )
    return replace(problem, steps=steps), kept


def _renumbered(point: Placement, numbers: Sequence[Mapping[int, int]]) -> Placement:
    """Return a placement with the modes of each step by other numbers."""
    modes = (others[m] for others, m in zip(numbers, point.modes, strict=True))
    return replace(point, modes=tuple(modes))


class _Search:
    """The problem with its ends known: `start` is best in the free axis, `end` in the bounded."""

    def __init__(
        self,
        problem: Problem,
        axes: tuple[Axis, Axis],
        budget: float,
        known: Placement | None,
        told: Callable[[], None] | None,
    ) -> None:
        self.told = told
        self.bounded, self.free = sorted(axes, key=lambda axis: _BOUNDED.index(axis.metric))
        aimed = max(axis.percentile for axis in axes)
        self.problem, self.budget = replace(problem, aimed=aimed), budget
        self.rounding_s = (len(problem.steps) + 1) * Scale.of(problem).tick_s
        self.start = self._solved(self.free, self.bounded, self.problem, known)
        self.end = self._solved(self.bounded, self.free, self.problem, self.start)

    def latency_limits(self) -> list[Limit]:
        """Return the limits on latency that all points between the ends meet."""
        stated = [x for x in self.problem.limits if x.metric == "latency" and x.op in ("<", "<=")]
        for axis in (self.free, self.bounded):
            if axis.metric == "latency":
                slower = max(axis.of(self.start.metrics), axis.of(self.end.metrics))
                stated.append(axis.at_most(slower))
        return stated

    def each(self, most: int) -> tuple[list[Placement], bool]:
        """Return the points from the start on, `most` at the most, and whether they reach the end.

        The end is among them or as good as the last, as far as metrics are told apart.
        """
        points = [self.start]
        while True:
            last = points[-1]
            less = self.bounded.of(last.metrics) - self._step(self.bounded, last)
            limit = self.bounded.below(less)
            if broken(replace(self.problem, limits=(limit,)), self.end.metrics):
                return points, True
            if len(points) == most:
                return points, False
            points.append(self._under(limit, points))

    def spread(self, known: Sequence[Placement], most: int) -> list[Placement]:
        """Return the points at even bounds from the start to the end.

        `known` are all points from the start up to some bound: what lies there is not solved again.
        """
        best, worst = self.bounded.of(self.end.metrics), self.bounded.of(self.start.metrics)
        points = [self.start]
        for number in range(1, most - 1):
            bound = worst + (best - worst) * number / (most - 1)
            if self.bounded.of(points[-1].metrics) <= bound:
                continue  # it is the answer to this bound too
            within = (point for point in known if self.bounded.of(point.metrics) <= bound)
            found = next(within, None)
            points.append(found or self._under(self.bounded.at_most(bound), points))
        return points

    def apart(self, points: Sequence[Placement]) -> list[Placement]:
        """Return the points that none beats; of those told apart on one axis only, the best there.

        A point that another beats by more is found only where the solver ran out of its budget.
        """
        kept = points
        for axis, other in ((self.free, self.bounded), (self.bounded, self.free)):
            kept = self._thinned(kept, axis, other)
        return list(kept)

    def _under(self, limit: Limit, points: Sequence[Placement]) -> Placement:
        """Return the best placement in the free axis under a limit that the end meets."""
        limited = replace(self.problem, limits=(*self.problem.limits, limit))
        kept = [p for p in (*points, self.end) if not broken(limited, p.metrics)]
        best = min(kept, key=lambda point: self.free.of(point.metrics))
        return self._solved(self.free, self.bounded, limited, best)

    def _solved(
        self, first: Axis, second: Axis, problem: Problem, known: Placement | None
    ) -> Placement:
        """Return the placement that is best on one axis and, within a step of that, on the other.

        Two solves: with the first axis held to the very value of a placement, the rounding of
        durations would keep out placements that are as good but for it.
        """
        budget = self.budget * FIRST_SHARE
        alone = replace(problem, objectives=(first.metric,))
        best = solve(alone, budget=budget, warm_start=known)
        limit = first.at_most(first.of(best.metrics) + self._step(first, best))
        others = (m for m in problem.objectives if m not in (first.metric, second.metric))
        held = replace(
            problem,
            limits=(*problem.limits, limit),
            objectives=(second.metric, first.metric, *others),
        )
        found = solve(held, budget=self.budget - budget, warm_start=best)
        if self.told is not None:
            self.told()
        return _with_bound(found, first, best)

    def _step(self, axis: Axis, point: Placement) -> float:
        """Return by how much a metric must differ from a point's to be told apart from it.

        The solver rounds each step's duration up to ticks, and with it what engines take while they
        are held.
        """
        least = TOLERANCE * abs(axis.of(point.metrics))
        engines = [self.problem.engines[hold.engine] for hold in point.holds]
        held = [engine for engine in engines if engine.resident]
        rates: dict[MetricName, float] = {
            "latency": 1.0,
            "energy": math.fsum(engine.idle_w for engine in held),
            "cost": math.fsum(engine.usd_per_s for engine in held),
        }
        return max(least, rates.get(axis.metric, 0.0) * self.rounding_s)

    def _thinned(self, points: Sequence[Placement], axis: Axis, other: Axis) -> Sequence[Placement]:
        """Return, from the best on an axis on, those better on the other than all before.

        Of those within a step of the first of them on the axis, the last.
        """
        kept: list[Placement] = []
        reach = least = math.inf
        for point in sorted(points, key=lambda p: (axis.of(p.metrics), other.of(p.metrics))):
            value, beside = axis.of(point.metrics), other.of(point.metrics)
            if beside >= least:
                continue
            if kept and value <= reach:
                kept.pop()
            else:
                reach = value + self._step(axis, point)
            kept.append(point)
            least = beside
        return kept


def _with_bound(found: Placement, axis: Axis, best: Placement) -> Placement:
    """Return a placement with the bound on an axis that `best`, within a step of it, has."""
    kept = [bound for bound in found.bounds if bound.metric != axis.metric]
    value = found.metrics.of(axis.metric, axis.percentile)
    kept += [replace(b, value=value, bound=b.bound if b.gap else value) for b in best.bounds]
    proved = len(kept) == len(found.bounds) and all(bound.gap == 0 for bound in kept)
    return replace(found, bounds=tuple(kept), status="optimal" if proved else "feasible")
