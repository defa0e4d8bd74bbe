"""Lay the steps of one job out in time, given how each is carried out.

A deterministic list schedule: time moves from event to event, and whenever a step is ready and its
engine has room, the step of the highest priority starts. It never leaves an engine idle on purpose,
so it is feasible and fast, not always the best; `solver` searches beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from .problem import EngineOption, Mode, Pool, Problem

Seats = tuple[int, ...]  # the node of each replica


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a choice of modes has no timeline, in words."""

    text: str


@dataclass(frozen=True, slots=True)
class Stay:
    """An engine, or one run on a transient engine (`step`), standing on nodes for a while."""

    engine: int
    start_s: float
    end_s: float
    seats: Seats
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Start and end of every step in seconds, and who stands where for how long."""

    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    stays: tuple[Stay, ...]

    @property
    def makespan_s(self) -> float:
        """Return the end of the last step."""
        return max(self.ends_s, default=0.0)

    @property
    def seats(self) -> dict[int, Seats]:
        """Return the nodes of each resident engine."""
        return {stay.engine: stay.seats for stay in self.stays if stay.step is None}


def busy_replicas(engine: EngineOption, slots: int) -> int:
    """Return how many replicas of a transient engine a step with `slots` calls in flight holds."""
    return math.ceil(slots * engine.replicas / engine.slots) if slots else 0


def tails(problem: Problem, modes: Sequence[Mode], percentile: int = 0) -> list[float]:
    """Return, for each step, the seconds from its start to the end of the job on its longest path.

    Engines and capacity are left aside; the list scheduler's priority.
    """
    tail = [0.0] * len(modes)
    for index in reversed(range(len(modes))):
        own = modes[index].times[percentile]
        tail[index] = max(tail[index], own.duration_s)
        for before in problem.steps[index].after:
            length = modes[before].times[percentile].duration_s
            tail[before] = max(tail[before], length + tail[index])
        for before in problem.steps[index].streams:
            times = modes[before].times[percentile]
            wait = max(times.first_s + tail[index], times.duration_s + own.last_s)
            tail[before] = max(tail[before], wait)
    return tail


def due(
    problem: Problem, modes: Sequence[Mode], starts: Sequence[float], percentile: int = 0
) -> tuple[float, ...]:
    """Return when steps that start so have ended: their own work, and that on their last input."""
    ends: list[float] = []
    for step, mode, start in zip(problem.steps, modes, starts, strict=True):
        times = mode.times[percentile]
        inputs = (ends[before] + times.last_s for before in step.streams)
        ends.append(max([start + times.duration_s, *inputs]))
    return tuple(ends)


def lay_out(
    problem: Problem,
    modes: Sequence[Mode],
    priority: Sequence[float],
    percentile: int = 0,
    seats: Mapping[int, Seats] | None = None,
    not_before: Sequence[float] | None = None,
) -> Timeline | Reason:
    """Return the list schedule of `modes` (one a step), steps of low `priority` value first.

    `seats` fixes the nodes of resident engines; others are seated where they fit first. No step
    starts before its time in `not_before`. A Reason is returned where engines that are needed at
    the same time do not fit on the nodes together.
    """
    fixed = dict(seats) if seats is not None else pack(problem, modes)
    held = [0.0] * len(modes) if not_before is None else not_before
    return _Simulation(problem, modes, priority, percentile, fixed, held).run()


def pack(problem: Problem, modes: Sequence[Mode]) -> dict[int, Seats]:
    """Seat all resident engines in use at the same time; empty when they do not fit so.

    First fit by falling size, the fullest node first.
    """
    used = {mode.engine for mode in modes if mode.engine is not None}
    resident = [e for e in used if problem.engines[e].resident and problem.engines[e].pool >= 0]
    resident.sort(key=lambda e: (-problem.engines[e].gpus, -problem.engines[e].cores, e))
    nodes = [[_Node(pool) for _ in range(pool.nodes)] for pool in problem.pools]
    found: dict[int, Seats] = {}
    for index in resident:
        engine = problem.engines[index]
        seats = _seat(nodes[engine.pool], engine, engine.replicas)
        if seats is None:
            return {}
        for node in seats:
            nodes[engine.pool][node].take(0.0, engine, 1)
        found[index] = seats
    return found


class _Node:
    """What is free on a node from each moment on; the last entry holds until further notice."""

    __slots__ = ("free", "times")

    def __init__(self, pool: Pool) -> None:
        self.times = [0.0]
        self.free = [(pool.gpus, pool.cores, pool.memory_bytes)]

    def room(self, engine: EngineOption, at: int = -1) -> int:
        """Return how many replicas fit in the entry `at`."""
        gpus, cores, memory = self.free[at]
        fits = [10**6]
        if engine.gpus:
            fits.append(gpus // engine.gpus)
        if engine.cores:
            fits.append(cores // engine.cores)
        if engine.memory_bytes:
            fits.append(int((memory + 1e-6 * engine.memory_bytes) // engine.memory_bytes))
        return min(fits)

    def since(self, engine: EngineOption, count: int) -> float:
        """Return the moment since which `count` replicas have fitted without a break."""
        at = len(self.times) - 1
        while at > 0 and self.room(engine, at - 1) >= count:
            at -= 1
        return self.times[at]

    def take(self, start_s: float, engine: EngineOption, count: int) -> None:
        """Take replicas' resources from `start_s` on; a negative count gives them back."""
        at = len(self.times)
        while at > 0 and self.times[at - 1] > start_s:
            at -= 1
        if self.times[at - 1] < start_s:
            self.times.insert(at, start_s)
            self.free.insert(at, self.free[at - 1])
            at += 1
        for entry in range(at - 1, len(self.times)):
            gpus, cores, memory = self.free[entry]
            self.free[entry] = (
                gpus - count * engine.gpus,
                cores - count * engine.cores,
                memory - count * engine.memory_bytes,
            )


def _seat(nodes: Sequence[_Node], engine: EngineOption, replicas: int) -> Seats | None:
    """Seat replicas on the nodes that are fullest but have room; None when they do not fit."""
    rooms = [node.room(engine) for node in nodes]
    if sum(max(0, room) for room in rooms) < replicas:
        return None
    seats: list[int] = []
    for node in sorted(range(len(nodes)), key=lambda n: (nodes[n].free[-1][:2], n)):
        seats += [node] * max(0, min(rooms[node], replicas - len(seats)))
    return tuple(sorted(seats))


class _Simulation:
    """The state of one list schedule while it is being made."""

    def __init__(
        self,
        problem: Problem,
        modes: Sequence[Mode],
        priority: Sequence[float],
        percentile: int,
        seats: dict[int, Seats],
        not_before: Sequence[float],
    ) -> None:
        self.problem, self.modes, self.priority = problem, modes, priority
        self.times = [mode.times[percentile] for mode in modes]
        self.seats = seats
        count = len(modes)
        self.starts, self.ends = [0.0] * count, [0.0] * count
        self.pending = [len(step.after) + len(step.streams) for step in problem.steps]
        self.ready_s = list(not_before)
        self.followers: list[list[int]] = [[] for _ in range(count)]
        self.listeners: list[list[int]] = [[] for _ in range(count)]
        for index, step in enumerate(problem.steps):
            for before in step.after:
                self.followers[before].append(index)
            for before in step.streams:
                self.listeners[before].append(index)
        self.nodes = [[_Node(pool) for _ in range(pool.nodes)] for pool in problem.pools]
        self.free_slots = [engine.slots for engine in problem.engines]
        self.left = [0] * len(problem.engines)  # steps not yet ended on each engine
        for mode in modes:
            if mode.engine is not None:
                self.left[mode.engine] += 1
        self.opened: dict[int, tuple[float, float, Seats]] = {}  # held from, usable from, seats
        self.queues: dict[int, list[tuple[float, int]]] = {}
        self.stays: list[Stay] = []
        self.running: dict[int, Seats] = {}  # steps on transient engines
        self.events: list[tuple[float, int, int]] = []  # (time, 0 end / 1 ready / 2 engine up, id)
        self.done = 0

    def run(self) -> Timeline | Reason:
        for number in sorted({e for e, left in enumerate(self.left) if left}):
            if self.problem.engines[number].standing and not self.open(0.0, number):
                return Reason(f"no room for {self.problem.engines[number].label} beside the others")
        for index, waits in enumerate(self.pending):
            if not waits:
                heappush(self.events, (self.ready_s[index], 1, index))
        while self.events:
            now = self.events[0][0]
            while self.events and self.events[0][0] <= now:
                _, kind, index = heappop(self.events)
                if kind == 0:
                    self.finish(now, index)
                elif kind == 1:
                    self.arrive(now, index)
            self.dispatch(now)
        if self.done < len(self.modes):
            waiting = {self.problem.engines[e].label for e, queue in self.queues.items() if queue}
            return Reason(f"no room for {', '.join(sorted(waiting))} beside the engines in use")
        end = max(self.ends, default=0.0)
        self.stays += [
            Stay(number, 0.0, end, seats)
            for number, (_, _, seats) in self.opened.items()
            if self.problem.engines[number].standing
        ]
        return Timeline(tuple(self.starts), tuple(self.ends), tuple(self.stays))

    def arrive(self, now: float, index: int) -> None:
        engine = self.modes[index].engine
        if engine is None:
            self.start(now, index)
            return
        heappush(self.queues.setdefault(engine, []), (self.priority[index], index))

    def dispatch(self, now: float) -> None:
        waiting = sorted((queue[0], engine) for engine, queue in self.queues.items() if queue)
        for _, engine in waiting:
            queue = self.queues[engine]
            while queue and self.admit(now, queue[0][1], engine):
                self.start(now, heappop(queue)[1])

    def admit(self, now: float, index: int, number: int) -> bool:
        """Take what the step needs on its engine, or say that it must wait."""
        engine, slots = self.problem.engines[number], self.modes[index].slots
        if self.free_slots[number] < slots:
            return False
        if engine.resident:
            if number not in self.opened and not self.open(now, number):
                return False
            if self.opened[number][1] > now:
                return False
        elif engine.pool >= 0:
            nodes = self.nodes[engine.pool]
            seats = _seat(nodes, engine, busy_replicas(engine, slots))
            if seats is None:
                return False
            for node in seats:
                nodes[node].take(now, engine, 1)
            self.running[index] = seats
        self.free_slots[number] -= slots
        return True

    def open(self, now: float, number: int) -> bool:
        """Hold nodes for a resident engine, from as late as its start-up allows."""
        engine = self.problem.engines[number]
        since, seats = 0.0, self.seats.get(number, ())
        if engine.pool >= 0:
            nodes = self.nodes[engine.pool]
            seats = seats or _seat(nodes, engine, engine.replicas) or ()
            counts = {node: seats.count(node) for node in seats}
            if not seats or any(nodes[n].room(engine) < k for n, k in counts.items()):
                return False
            since = max(nodes[n].since(engine, k) for n, k in counts.items())
        usable = max(now, since + engine.late_s if since > 0 else 0.0)
        held = max(since, usable - engine.late_s)
        self.opened[number] = (held, usable, seats)
        for node in seats if engine.pool >= 0 else ():
            self.nodes[engine.pool][node].take(held, engine, 1)
        if usable > now:
            heappush(self.events, (usable, 2, number))
        return True

    def start(self, now: float, index: int) -> None:
        times = self.times[index]
        end = now + times.duration_s
        for before in self.problem.steps[index].streams:
            end = max(end, self.ends[before] + times.last_s)
        self.starts[index], self.ends[index] = now, end
        heappush(self.events, (end, 0, index))
        for listener in self.listeners[index]:
            self.release(listener, now + times.first_s)

    def finish(self, now: float, index: int) -> None:
        self.done += 1
        for follower in self.followers[index]:
            self.release(follower, self.ends[index])
        number = self.modes[index].engine
        if number is None:
            return
        engine = self.problem.engines[number]
        self.free_slots[number] += self.modes[index].slots
        self.left[number] -= 1
        if engine.resident:
            if not self.left[number] and not engine.standing:
                held, _, seats = self.opened[number]
                self.leave(Stay(number, held, self.ends[index], seats))
            return
        if engine.pool >= 0:
            seats = self.running.pop(index)
            self.leave(Stay(number, self.starts[index], self.ends[index], seats, index))

    def leave(self, stay: Stay) -> None:
        engine = self.problem.engines[stay.engine]
        self.stays.append(stay)
        for node in stay.seats:
            self.nodes[engine.pool][node].take(stay.end_s, engine, -1)

    def release(self, index: int, at_s: float) -> None:
        """One predecessor fewer; the step is ready once none is left."""
        self.pending[index] -= 1
        self.ready_s[index] = max(self.ready_s[index], at_s)
        if not self.pending[index]:
            heappush(self.events, (self.ready_s[index], 1, index))
