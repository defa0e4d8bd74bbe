"""What instances and requests add to the objective of a service, to its bill and its energy."""

from __future__ import annotations

from collections.abc import Sequence

from .problem import Column, Engine, Epoch, NoRoom, ServiceProblem, Variant


def no_room(problem: ServiceProblem) -> NoRoom:
    """Return the error of requests that the hardware cannot serve."""
    pools = ", ".join(f"{pool.gpus} GPUs of `{pool.name}`" for pool in problem.pools if pool.gpus)
    return NoRoom(f"the requests need more than there is ({pools or 'no GPUs'})")


def engine_price(problem: ServiceProblem, engine: Engine, held_s: float) -> tuple[float, float]:
    """Return what holding an instance so long adds to the objective, and what starting it does."""
    match problem.objective:
        case "cost":
            return engine.usd_per_s * held_s, engine.usd_per_s * engine.startup_s
        case "energy":
            return engine.idle_w * held_s, engine.idle_w * engine.startup_s
    return float(engine.gpus), 0.0


def direct_price(problem: ServiceProblem, item: Column | Variant) -> float:
    """Return what a request adds to the objective beyond the instances."""
    match problem.objective:
        case "cost":
            return item.usd
        case "energy":
            return item.energy_j
    return 0.0


def totals(
    problem: ServiceProblem,
    epoch: Epoch,
    instances: Sequence[int],
    started: Sequence[int],
    columns: Sequence[Sequence[Column]],
    served: Sequence[Sequence[Sequence[float]]],
) -> tuple[float, float]:
    """Return the dollars and joules of an epoch, start-ups included."""
    usd = energy_j = 0.0
    for engine, n, new in zip(problem.engines, instances, started, strict=True):
        held_s = n * epoch.duration_s + new * engine.startup_s
        usd += engine.usd_per_s * held_s
        energy_j += engine.idle_w * held_s
    for found, rows in zip(columns, served, strict=True):
        for column, row in zip(found, rows, strict=True):
            usd += column.usd * sum(row)
            energy_j += column.energy_j * sum(row)
    return usd, energy_j
