"""What each choice of a service is worth: the busiest epoch planned again without it.

Prices are differences of plans that were found, start-ups left aside, so a search's gap is in them;
none is below zero, for whoever has less to choose from does no better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...targets.service_plan import Explained, Limiting, NextBest
from .planner import Planner
from .problem import (
    Epoch,
    EpochPlan,
    NoRoom,
    RequestClass,
    ServiceProblem,
    Stage,
    Unserved,
    Variant,
)

QUICK = 1  # of effort: what is found without branching
WORTH = 1e-3  # of an epoch's value; what less can be had for does not hold a class back
Choice = tuple[str, int | None]  # a configuration, and the engine that it is on


class Without:
    """One epoch of a problem, and what it takes with less to choose from, or fewer limits."""

    def __init__(self, problem: ServiceProblem, epoch: Epoch, chosen: EpochPlan) -> None:
        """Plan the epoch as the first of its day; `chosen` is what was planned within the day."""
        self.problem, self.chosen = problem, chosen
        self.epoch = replace(epoch, held=(), backlog=(), last=True)
        self.plan = Planner(problem, QUICK).plan(self.epoch)

    def explained(self, k: int, member: int, number: int) -> Explained:
        """Return why a class is served as it is, as class `member` in epoch `number` of a plan."""
        steps = tuple(self._next_best(k, s) for s in range(len(self.problem.classes[k].stages)))
        limits = (x for x in (*self._of_class(k), *self._of_pools()) if x.price > self._little)
        return Explained(member, number, steps, tuple(limits))

    @property
    def _little(self) -> float:
        return WORTH * self.plan.value

    def _next_best(self, k: int, s: int) -> NextBest:
        kind = self.problem.classes[k]
        chosen = _main(kind, self.chosen, k, s)
        others = tuple(v for v in kind.stages[s].variants if _choice(v) != chosen)
        stages = list(kind.stages)
        stages[s] = Stage(stages[s].name, others, stages[s].after)
        found = self._planned(k, replace(kind, stages=tuple(stages))) if others else None
        if found is None:
            return NextBest(stages[s].name, self._told(chosen), "", None)
        other = _main(replace(kind, stages=tuple(stages)), found, k, s)
        price = max(found.value - self.plan.value, 0.0)
        return NextBest(stages[s].name, self._told(chosen), self._told(other), price)

    def _of_class(self, k: int) -> Iterator[Limiting]:
        """Yield what limits cost; not of measured accuracy, for which configurations are gone."""
        kind = self.problem.classes[k]
        if kind.latency_s is not None:
            found = self._planned(k, replace(kind, latency_s=None))
            yield self._less(f"latency <= {kind.latency_s:.4g} s", found)
        if kind.accuracy is not None and kind.table is None:
            found = self._planned(k, replace(kind, accuracy=None))
            yield self._less(f"accuracy >= {kind.accuracy:.4g}", found)

    def _of_pools(self) -> Iterator[Limiting]:
        """Yield what more GPUs would spare, of pools that are full."""
        engines = self.problem.engines
        for index, pool in enumerate(self.problem.pools):
            held = sum(
                engine.gpus * n
                for engine, n in zip(engines, self.plan.instances, strict=True)
                if engine.pool == index
            )
            most = max((e.gpus for e in engines if e.pool == index), default=0)
            if not pool.gpus or held + most <= pool.gpus:
                continue
            pools = list(self.problem.pools)
            pools[index] = replace(pool, gpus=2 * pool.gpus)
            found = _found(replace(self.problem, pools=tuple(pools)), self.epoch)
            yield self._less(f"{pool.gpus} GPUs of {pool.name}", found)

    def _less(self, what: str, found: EpochPlan | None) -> Limiting:
        spared = 0.0 if found is None else self.plan.value - found.value
        return Limiting(what, max(spared, 0.0))

    def _planned(self, k: int, kind: RequestClass) -> EpochPlan | None:
        classes = list(self.problem.classes)
        classes[k] = kind
        return _found(replace(self.problem, classes=tuple(classes)), self.epoch)

    def _told(self, choice: Choice) -> str:
        name, engine = choice
        return name if engine is None else f"{name} on {self.problem.engines[engine].name}"


def busiest(epochs: Sequence[Epoch]) -> int:
    """Return the number of the epoch with most requests."""
    return max(range(len(epochs)), key=lambda i: sum(map(sum, epochs[i].requests)))


def _found(problem: ServiceProblem, epoch: Epoch) -> EpochPlan | None:
    try:
        return Planner(problem, QUICK).plan(epoch)
    except (Unserved, NoRoom):
        return None


def _choice(variant: Variant) -> Choice:
    return variant.configuration, variant.engine


def _main(kind: RequestClass, plan: EpochPlan, k: int, s: int) -> Choice:
    """Return what most requests of a class take at a stage."""
    shares: dict[Choice, float] = {}
    for route in plan.routes(k):
        choice = _choice(kind.stages[s].variants[route.column.choices[s]])
        shares[choice] = shares.get(choice, 0.0) + route.share
    return max(shares, key=lambda choice: shares[choice])
