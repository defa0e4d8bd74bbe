"""Planning a service epoch by epoch: column generation, then whole numbers of instances.

Where a class has few configurations, all that could be of use are columns and the solver's own
bound holds. Else columns are generated: the linear programme's duals price instance-seconds, the
cheapest configuration of each class under these prices joins it, and when none is cheaper than
what its class pays already the programme's optimum bounds every plan (Dantzig and Wolfe, "The
Decomposition Algorithm for Linear Programs", Econometrica 29, 1961).
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .columns import WIDTH, Columns, Price
from .flow import EPSILON, waited_periods
from .model import GAP, Between, Duals, EpochModel
from .prices import direct_price, engine_price, no_room
from .problem import (
    Column,
    Epoch,
    EpochPlan,
    NoRoom,
    RequestClass,
    ServiceProblem,
    Unfinished,
    Variant,
)

LISTED = 2_048  # configurations of a class up to which all are listed
ROUNDS = 60  # of column generation; the bound is then what is proved so far
CONSOLIDATIONS = 10  # turns of slope scaling
UNUSED = 2.0  # what an engine is scaled by of which the first programme holds none
GENERATED_GAP = 5e-3  # relative, at which plans over generated columns are not branched on
# What branching may take in all epochs together, in entries of linear programmes: about 10 s. It is
# counted, not timed, so that equal problems have equal plans.
EFFORT = 60_000
PROGRAMME, QUESTION = 100, 25  # what building a programme takes besides, and a question of pricing
TOLERANCE = 1e-7  # relative: a column this much cheaper is none


@dataclass(frozen=True, slots=True)
class _Node:
    """What the linear programme says: a bound (infinite: no room), instances, a plan rounded up."""

    bound: float
    amounts: tuple[float, ...]
    rounded: EpochPlan | None


class Planner:
    """Plans epochs of one problem; columns found for one epoch serve the next.

    Raises `Unserved` where a class cannot be met at all.
    """

    def __init__(self, problem: ServiceProblem, effort: int = EFFORT) -> None:
        """Prepare the columns of every class; `effort` is what branching may take in an epoch."""
        self.problem = problem
        self._effort = effort
        self._pricing = [Columns(kind) for kind in problem.classes]
        listed = [_listed(kind) for kind in problem.classes]
        self._spent = 0  # of effort, on the nodes of the epoch at hand
        self._complete = all(columns is not None for columns in listed)
        self._columns: list[list[Column]] = [
            self._first(pricing) if columns is None else columns
            for columns, pricing in zip(listed, self._pricing, strict=True)
        ]

    def _first(self, pricing: Columns) -> list[Column]:
        """Return columns to begin with: the cheapest as if every second of instances were used."""

        def price(variant: Variant) -> float:
            direct = direct_price(self.problem, variant)
            if variant.engine is None:
                return direct
            held, _ = engine_price(self.problem, self.problem.engines[variant.engine], 1.0)
            return direct + held * variant.busy_s

        found = pricing.cheapest(price).column
        assert found is not None  # `Columns` has raised `Unserved` where there is none
        return [found]

    def plan(self, epoch: Epoch) -> EpochPlan:
        """Return the plan of an epoch; raises `NoRoom` where the hardware cannot serve it."""
        if self._complete:
            model = EpochModel(self.problem, epoch, self._columns, whole=True)
            try:
                return model.solve()
            except Unfinished:
                rounded = EpochModel(self.problem, epoch, self._columns, whole=False).rounded()
                if rounded is None:
                    raise no_room(self.problem) from None
                return rounded
        anything = Between.any(self.problem.engines)
        bound = self._generate(epoch, anything).bound
        best = least_of(self._consolidate(epoch), self._whole(epoch, bound))
        if best is None or best.value - bound > GENERATED_GAP * best.value:
            best, bound = self._branch(epoch, best)
        if best is None:
            raise no_room(self.problem)
        return replace(best, bound=min(bound, best.value))

    def _whole(self, epoch: Epoch, bound: float) -> EpochPlan | None:
        """Return the best plan with the columns there are, None where none is found in time."""
        try:
            model = EpochModel(self.problem, epoch, self._columns, whole=True)
            return model.solve(bound, GENERATED_GAP)
        except (NoRoom, Unfinished):
            return None

    def _branch(self, epoch: Epoch, best: EpochPlan | None) -> tuple[EpochPlan | None, float]:
        """Branch on the instances of an engine: fewer than a broken number, or more.

        Columns are generated at every node (branch and price: Barnhart et al., "Branch-and-Price",
        Operations Research 46, 1998), so that what is left when the effort is spent is a bound.
        """
        self._spent, count = 0, itertools.count()
        heap = [(-math.inf, next(count), Between.any(self.problem.engines))]
        while heap and self._spent < self._effort:
            above = math.inf if best is None else best.value * (1 - GAP)
            if heap[0][0] >= above:
                break
            _, _, between = heapq.heappop(heap)
            node = self._generate(epoch, between)
            if node.bound == math.inf:
                continue
            best = least_of(best, node.rounded)
            broken = self._broken(node.amounts)
            if broken is not None:
                for part in between.split(broken, node.amounts[broken]):
                    heapq.heappush(heap, (node.bound, next(count), part))
        bound = min((entry[0] for entry in heap), default=math.inf)
        return best, min(bound, math.inf if best is None else best.value)

    def _broken(self, amounts: Sequence[float]) -> int | None:
        """Return the engine of which the broken part of an instance costs most."""
        found, most = None, 0.0
        for index, (engine, amount) in enumerate(zip(self.problem.engines, amounts, strict=True)):
            part = amount - math.floor(amount)
            price = min(part, 1 - part) * engine_price(self.problem, engine, 1.0)[0]
            if EPSILON < part < 1 - EPSILON and price > most:
                found, most = index, price
        return found

    def _consolidate(self, epoch: Epoch) -> EpochPlan | None:
        """Return the best plan by slope scaling, and add the columns that it needs.

        Every engine costs what a whole number of it would for the share that is used, and the
        programme is solved again, with configurations that are cheap at these prices: what is
        hardly used is left for what is held anyway (Kim and Pardalos, "A solution approach to the
        fixed charge network flow problem using a dynamic slope scaling procedure", Operations
        Research Letters 24, 1999).
        """
        best: EpochPlan | None = None
        slopes = [1.0] * len(self.problem.engines)
        for turn in range(CONSOLIDATIONS):
            model = EpochModel(self.problem, epoch, self._columns, whole=False, slopes=slopes)
            best, amounts = least_of(best, model.rounded()), model.amounts()
            used = [x > EPSILON for x in amounts]
            slopes = [
                math.ceil(x - EPSILON) / x if held else max(slope, UNUSED if turn == 0 else 1.0)
                for x, held, slope in zip(amounts, used, slopes, strict=True)
            ]
            self._add_cheapest(epoch, slopes)
        return best

    def _add_cheapest(self, epoch: Epoch, slopes: Sequence[float]) -> None:
        """Add the configuration of each class that is cheapest where instances cost that more."""
        seconds = [
            slope * engine_price(self.problem, engine, epoch.duration_s)[0] / epoch.duration_s
            for engine, slope in zip(self.problem.engines, slopes, strict=True)
        ]
        for pricing, columns in zip(self._pricing, self._columns, strict=True):
            column = pricing.cheapest(_priced(self.problem, seconds), width=0).column
            if column is not None and all(c.choices != column.choices for c in columns):
                columns.append(column)

    def _generate(self, epoch: Epoch, between: Between) -> _Node:
        """Add columns until none would help; the bound holds for all columns there could be."""
        bound, width = -math.inf, 0
        for _ in range(ROUNDS):
            model = EpochModel(self.problem, epoch, self._columns, whole=False, between=between)
            duals = model.relaxed()
            rows = len(self.problem.engines) + sum(map(len, self._columns))
            self._spent += PROGRAMME + rows * len(epoch.requests[0])
            below, added = 0.0, False
            for k, columns in enumerate(self._columns):
                less, found = self._cheaper(k, epoch, duals, width)
                below += less
                columns += found
                added = added or bool(found)
            bound = max(bound, duals.value + below)
            if not added and width:
                if not duals.fits:
                    return _Node(math.inf, (), None)
                break
            if not added:
                width = WIDTH  # what is found quickly has been found
        return _Node(bound, tuple(model.amounts()), model.rounded())

    def _cheaper(
        self, k: int, epoch: Epoch, duals: Duals, width: int
    ) -> tuple[float, list[Column]]:
        """Return by how much a class could cost less at these prices, and columns that do.

        Requests that do not wait take the best of their own period, each; those that wait could all
        take the best period's. Periods with equal prices are asked once: most are no peak, where
        seconds cost nothing.
        """
        kind, requests = self.problem.classes[k], epoch.requests[k]
        waits = bool(waited_periods(kind, epoch.period_s))
        amounts: dict[tuple[tuple[float, ...], float], float] = {}
        for t, amount in enumerate(requests):
            if amount or waits:
                asked = (tuple(row[t] for row in duals.second), duals.request[k][t])
                amounts[asked] = amounts.get(asked, 0.0) + amount
        known = {column.choices for column in self._columns[k]}
        new: dict[tuple[int, ...], Column] = {}
        less: list[float] = []
        for (seconds, paid), amount in amounts.items():
            below = paid - TOLERANCE * abs(paid)
            self._spent += QUESTION
            found = self._pricing[k].cheapest(_priced(self.problem, seconds), below, width)
            less.append(min(found.bound - paid, 0.0) * (1.0 if waits else amount))
            if found.column is not None and found.column.choices not in known:
                new[found.column.choices] = found.column
        if not waits:
            return sum(less), list(new.values())
        return min(less, default=0.0) * sum(requests), list(new.values())


def least_of(*plans: EpochPlan | None) -> EpochPlan | None:
    """Return the plan of least value, None where there is none."""
    return min((p for p in plans if p is not None), key=lambda plan: plan.value, default=None)


def _priced(problem: ServiceProblem, seconds: Sequence[float]) -> Price:
    def price(variant: Variant) -> float:
        direct = direct_price(problem, variant)
        if variant.engine is None:
            return direct
        return direct + seconds[variant.engine] * variant.busy_s

    return price


def _listed(kind: RequestClass) -> list[Column] | None:
    """Return every configuration that could be of use, None where there are too many to list."""
    if math.prod(len(stage.variants) for stage in kind.stages) > LISTED:
        return None
    choices = itertools.product(*(range(len(stage.variants)) for stage in kind.stages))
    columns = [c for c in (Column.of(kind, choice) for choice in choices) if _meets(kind, c)]
    kept: list[Column] = []
    for column in sorted(columns, key=lambda c: (sum(s for _, s in c.busy), c.energy_j, c.usd)):
        if not any(_serves_for_less(other, column) for other in kept):
            kept.append(column)
    return sorted(kept, key=lambda c: c.choices)


def _meets(kind: RequestClass, column: Column) -> bool:
    slow = kind.latency_s is not None and column.latency_s > kind.latency_s * (1 + 1e-9)
    poor = kind.accuracy is not None and column.accuracy < kind.accuracy * (1 - 1e-9)
    return not slow and not poor


def _serves_for_less(a: Column, b: Column) -> bool:
    """Tell whether one column takes no more than another of anything."""
    busy = dict(b.busy)
    return (
        a.energy_j <= b.energy_j
        and a.usd <= b.usd
        and all(seconds <= busy.get(engine, -1.0) for engine, seconds in a.busy)
    )


def plan_epochs(problem: ServiceProblem, epochs: Sequence[Epoch]) -> tuple[EpochPlan, ...]:
    """Return a plan of each epoch, one after the other.

    What is held in one, and what it leaves waiting, is what the next begins with.
    """
    planner = Planner(problem, EFFORT // max(len(epochs), 1))
    plans: list[EpochPlan] = []
    for number, epoch in enumerate(epochs):
        last = number == len(epochs) - 1
        if plans:
            before = plans[-1]
            epoch = replace(epoch, held=before.instances, backlog=before.backlog)
        plans.append(planner.plan(replace(epoch, last=last)))
    return tuple(plans)
