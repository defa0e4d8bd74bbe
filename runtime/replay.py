"""Replaying the plan of a service second by second: who waits, and for how long.

Requests of a period come evenly over it. What may not wait goes first. Of what may wait, requests
go in the order in which their time runs out; those whose time has run out go last. Requests go by
the plan's routes, and by those that have room where others have none. No request knows of the
future, so what a plan promises with the whole day before it is put to the test here.

With a seed, requests come by chance: Poisson arrivals, and work that varies by the class's
coefficient of variation. Requests then count by the work that they bring.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from ..targets.service_plan import FleetEpoch, PlannedRoute, ServicePlan

STEP_S = 5.0
_LEAST = 1e-9  # requests; less is none


@dataclass(frozen=True, slots=True)
class ClassReplay:
    """What became of the requests of a class.

    `in_time` is the share that began within the wait its class permits (within a step of coming,
    where it permits none) on a route that meets its limits; `wait_p95_s` what 95 % waited at most.
    """

    name: str
    requests: float
    in_time: float
    wait_p95_s: float
    meets: bool


class _Queue:
    """The requests of one class that wait, oldest first, as pairs [time they came, how many]."""

    def __init__(self) -> None:
        self.due: deque[list[float]] = deque()
        self.late: deque[list[float]] = deque()
        self.waits: dict[float, float] = {}
        self.came = 0.0  # by chance
        self.unfit = 0.0  # begun on a route that misses a limit

    def demote(self, now_s: float, wait_s: float) -> None:
        """Put those last whose time has run out."""
        while self.due and now_s - self.due[0][0] > wait_s + _LEAST:
            self.late.append(self.due.popleft())

    def take(self, queue: deque[list[float]], amount: float, now_s: float) -> None:
        """Note that the oldest requests begin."""
        while amount > _LEAST and queue:
            came_s, waiting = queue[0]
            begun = min(waiting, amount)
            wait_s = round(now_s - came_s, 6)
            self.waits[wait_s] = self.waits.get(wait_s, 0.0) + begun
            amount -= begun
            if begun >= waiting - _LEAST:
                queue.popleft()
            else:
                queue[0][1] = waiting - begun


def replay(
    plan: ServicePlan, *, seed: int | None = None, step_s: float = STEP_S
) -> tuple[ClassReplay, ...]:
    """Return what becomes of each class's requests; what is left at the day's end is worked off.

    `seed` has chance decide when requests come and what they take.
    """
    chance = None if seed is None else Random(seed)
    queues = [_Queue() for _ in plan.classes]
    for epoch in plan.epochs:
        routes = _by_class(plan, epoch)
        for step in range(round(epoch.duration_s / step_s)):
            now_s = epoch.start_s + step * step_s
            period = int(now_s / plan.period_s)
            for queue, kind in zip(queues, plan.classes, strict=True):
                come = kind.requests[period] * step_s / plan.period_s
                if chance is not None:
                    come = _by_chance(come, kind.work_cv, chance)
                    queue.came += come
                if come > _LEAST:
                    queue.due.append([now_s, come])
            _step(plan, queues, routes, _room(epoch, step_s), now_s)
    if plan.epochs:
        _work_off(plan, queues, plan.epochs[-1], step_s)
    return tuple(
        _outcome(plan, k, queue, step_s)
        for k, queue in enumerate(queues)
        if sum(plan.classes[k].requests)
    )


def _by_chance(expected: float, work_cv: float, chance: Random) -> float:
    """Return the work of requests that come by chance, in mean requests.

    The sum of a Poisson number of requests has variance n * (1 + cv^2); few are far from normal, so
    that small numbers are drawn one by one.
    """
    if expected > 50.0:
        deviation = math.sqrt(expected * (1 + work_cv**2))
        return max(chance.gauss(expected, deviation), 0.0)
    spread = math.sqrt(math.log1p(work_cv**2))
    total, left = 0.0, chance.expovariate(1.0)
    while left < expected:
        total += chance.lognormvariate(-spread * spread / 2, spread)
        left += chance.expovariate(1.0)
    return total


def _by_class(plan: ServicePlan, epoch: FleetEpoch) -> list[list[PlannedRoute]]:
    return [[r for r in epoch.routes if r.kind == k] for k in range(len(plan.classes))]


def _room(epoch: FleetEpoch, step_s: float) -> list[float]:
    return [n * step_s for n in epoch.instances]


def _work_off(plan: ServicePlan, queues: list[_Queue], epoch: FleetEpoch, step_s: float) -> None:
    now_s = epoch.start_s + epoch.duration_s
    routes = _by_class(plan, epoch)
    for _ in range(round(epoch.duration_s / step_s)):
        if not any(queue.due or queue.late for queue in queues):
            return
        _step(plan, queues, routes, _room(epoch, step_s), now_s)
        now_s += step_s


def _step(
    plan: ServicePlan,
    queues: Sequence[_Queue],
    routes: Sequence[Sequence[PlannedRoute]],
    room: Sequence[float],
    now_s: float,
) -> None:
    """Begin what there is room for in one step.

    Where the plan's routes leave requests that may not wait, all go by the routes that take least
    of the instances instead: in a peak, instances run at the loads at which they do most.
    """
    kinds = plan.classes
    for queue, kind in zip(queues, kinds, strict=True):
        queue.demote(now_s, kind.wait_s if kind.wait_s else float("inf"))
    first = [k for k, queue in enumerate(queues) if queue.due]
    first.sort(key=lambda k: (kinds[k].wait_s > 0, queues[k].due[0][0] + kinds[k].wait_s))
    asked = [(k, queues[k].due) for k in first]
    asked += [(k, queue.late) for k, queue in enumerate(queues) if queue.late]
    wanted = [(k, sum(amount for _, amount in waiting)) for k, waiting in asked]
    begun = _filled(routes, wanted, room, _as_planned)
    if any(
        kinds[k].wait_s == 0 and sum(amounts) < want - _LEAST
        for (k, want), amounts in zip(wanted, begun, strict=True)
    ):
        dense = [sorted(found, key=lambda route: _taken(plan, route)) for found in routes]
        again = _filled(dense, wanted, room, _in_order)
        if sum(map(sum, again)) > sum(map(sum, begun)):
            routes, begun = dense, again
    for (k, waiting), amounts in zip(asked, begun, strict=True):
        queues[k].take(waiting, sum(amounts), now_s)
        queues[k].unfit += sum(
            amount
            for route, amount in zip(routes[k], amounts, strict=True)
            if not kinds[k].accepts(route)
        )


_Order = Callable[[Sequence[PlannedRoute], float], Iterator[tuple[int, float]]]


def _as_planned(routes: Sequence[PlannedRoute], wanted: float) -> Iterator[tuple[int, float]]:
    """Offer each route its share of the requests, and then what is left to each."""
    for number, route in enumerate(routes):
        yield number, wanted * route.share
    yield from _in_order(routes, wanted)


def _in_order(routes: Sequence[PlannedRoute], wanted: float) -> Iterator[tuple[int, float]]:
    """Offer each route all that is left."""
    for number in range(len(routes)):
        yield number, wanted


def _taken(plan: ServicePlan, route: PlannedRoute) -> float:
    """Return the dollars' worth of instances that a request takes."""
    return sum(plan.instances[i].usd_per_s * seconds for i, seconds in route.busy)


def _filled(
    routes: Sequence[Sequence[PlannedRoute]],
    wanted: Sequence[tuple[int, float]],
    room: Sequence[float],
    order: _Order,
) -> list[list[float]]:
    """Return how many requests begin on each route of a class, for classes one after the other."""
    free = list(room)
    begun: list[list[float]] = []
    for k, left in wanted:
        amounts = [0.0] * len(routes[k])
        for number, offered in order(routes[k], left):
            route = routes[k][number]
            amount = min([left, offered, *(free[i] / s for i, s in route.busy if s > 0)])
            if amount <= _LEAST:
                continue
            for i, seconds in route.busy:
                free[i] = max(free[i] - amount * seconds, 0.0)
            left -= amount
            amounts[number] += amount
        begun.append(amounts)
    return begun


def _outcome(plan: ServicePlan, k: int, queue: _Queue, step_s: float) -> ClassReplay:
    kind = plan.classes[k]
    total = queue.came or sum(kind.requests)
    permitted_s = max(kind.wait_s, step_s)
    in_time = sum(n for wait_s, n in queue.waits.items() if wait_s <= permitted_s + _LEAST)
    below, p95_s = 0.0, float("inf")
    for wait_s in sorted(queue.waits):
        below += queue.waits[wait_s]
        if below >= 0.95 * total * (1 - 1e-9):
            p95_s = wait_s
            break
    share = max(min(in_time / total, 1.0) - queue.unfit / total, 0.0)
    return ClassReplay(
        name=kind.name,
        requests=total,
        in_time=share,
        wait_p95_s=p95_s,
        meets=share >= 1 - kind.late - 1e-6,
    )
