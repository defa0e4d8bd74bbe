"""Constraints of the job model on what nodes have: GPUs, cores, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from .problem import EngineOption, Pool
from .timeline import busy_replicas

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

    from .model import JobModel

MEMORY_PARTS = 1_000_000  # of a node's memory: the unit it is counted in
PEAK = 100_000  # GPUs a node could have while it is asked whether more of them would do


@dataclass(frozen=True, slots=True)
class _Guest:
    """What may stand in a pool for a while: an engine held, or a run (`step`, `mode`)."""

    engine: EngineOption
    interval: cp_model.IntervalVar
    replicas: int
    seats: Sequence[cp_model.LinearExprT]  # replicas on each node
    rival: str  # guests of one name exclude each other


def constrain_capacity(built: JobModel, percentile: int) -> None:
    """Let no node hold more than it has, at any time of the timeline at `percentile`."""
    for index, pool in enumerate(built.problem.pools):
        guests = _guests(built, index, percentile)
        if not guests:
            continue
        for amount in _amounts(pool, guests):
            _constrain(built, index, guests, amount, percentile)
        if percentile == 0 and pool.nodes > 1:
            _order_nodes(built, index)


@dataclass(frozen=True, slots=True)
class _Amount:
    """A resource of a pool's nodes: capacity, what each guest's replica takes, a sentence."""

    name: str
    capacity: int
    each: tuple[int, ...]
    sentence: str


def _amounts(pool: Pool, guests: Sequence[_Guest]) -> list[_Amount]:
    unit = max(1.0, pool.memory_bytes / MEMORY_PARTS)
    memory = tuple(math.ceil(g.engine.memory_bytes / unit - 1e-6) for g in guests)
    gib = pool.memory_bytes * pool.nodes / 2**30
    amounts = [
        _Amount(
            "gpus",
            pool.gpus,
            tuple(g.engine.gpus for g in guests),
            gpus_sentence(pool),
        ),
        _Amount(
            "cores",
            pool.cores,
            tuple(g.engine.cores for g in guests),
            f"pool `{pool.name}` has {_counted(pool.cores * pool.nodes, 'core')}",
        ),
        _Amount(
            "memory",
            int(pool.memory_bytes / unit + 1e-6),
            memory,
            f"pool `{pool.name}` has {gib:.4g} GiB of memory",
        ),
    ]
    return [amount for amount in amounts if any(amount.each)]


def gpus_sentence(pool: Pool) -> str:
    """Return how many GPUs a pool has, as conflicts say it."""
    return f"pool `{pool.name}` has {_counted(pool.gpus * pool.nodes, 'GPU')}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _guests(built: JobModel, pool: int, percentile: int) -> list[_Guest]:
    problem, track = built.problem, built.tracks[percentile]
    guests = []
    for e, steps in built.on.items():
        engine = problem.engines[e]
        if engine.pool != pool:
            continue
        if engine.resident:
            hold = built.model.new_optional_interval_var(
                track.hold_from[e], track.held[e], track.hold_to[e], built.used[e], f"hold{e}"
            )
            guests.append(_Guest(engine, hold, engine.replicas, built.seated[e], engine.group))
            continue
        for s, modes in steps.items():
            for m in modes:
                replicas = busy_replicas(engine, problem.steps[s].modes[m].slots)
                seats = built.seats_of_run(s, m)
                run = built.runs[percentile, s, m]
                guests.append(_Guest(engine, run, replicas, seats, f"step {s}"))
    return guests


def _constrain(
    built: JobModel, index: int, guests: Sequence[_Guest], amount: _Amount, percentile: int
) -> None:
    model, pool = built.model, built.problem.pools[index]
    counted = amount.name == "gpus" and percentile == 0
    whole = [each * guest.replicas for each, guest in zip(amount.each, guests, strict=True)]
    most: dict[str, int] = {}
    for guest, demand in zip(guests, whole, strict=True):
        most[guest.rival] = max(demand, most.get(guest.rival, 0))
    fits = sum(most.values()) <= amount.capacity  # all of it at once, on any one node
    if not fits:
        built.capacities[amount.sentence] = None
    if not counted and (fits or amount.sentence in built.waived):
        return
    intervals = [guest.interval for guest in guests]
    if pool.nodes > 1:
        total: cp_model.LinearExprT = amount.capacity * pool.nodes
        if counted:
            total = model.new_int_var(0, PEAK * pool.nodes, f"peaks{index}")
            model.add(total == sum(built.peaks[index, n] for n in range(pool.nodes)))
        model.add_cumulative(intervals, whole, total)
    for n in range(pool.nodes):
        capacity = built.peaks[index, n] if counted else amount.capacity
        demands: list[cp_model.LinearExprT] = list(whole)
        if pool.nodes > 1:
            demands = [a * g.seats[n] for a, g in zip(amount.each, guests, strict=True)]
        model.add_cumulative(intervals, demands, capacity)


def _order_nodes(built: JobModel, index: int) -> None:
    """Nodes are alike: the one with the most on it comes first."""
    engines = built.problem.engines
    here = [e for e in built.resident if engines[e].pool == index]
    if not here:
        return
    loads = [
        sum((100 * engines[e].gpus + engines[e].cores + 1) * built.seated[e][n] for e in here)
        for n in range(built.problem.pools[index].nodes)
    ]
    for left, right in pairwise(loads):
        built.model.add(left >= right)
