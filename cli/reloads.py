"""How models come to share GPUs: side by side in memory, or by reloads within the run."""

from __future__ import annotations

from ..targets.plan import EnginePlan, Plan
from . import figures
from .display import safe


def paid(plan: Plan) -> float:
    """Return the seconds of starting and waking that fall within the run, over all engines."""
    return sum(engine.late_s for engine in plan.engines)


def reload(plan: Plan, engine: EnginePlan | None) -> str:
    """Say when an engine is started or woken within the run, and where; empty for others."""
    if engine is None or engine.prestarted:
        return ""
    took = figures.seconds(engine.late_s)
    told = f"{figures.seconds(engine.start_s)} into the run, {took} before its first call"
    before = sorted(other.name for other in plan.engines if _makes_room(other, engine))
    if before:
        told += f", in the place of {' and '.join(f'`{safe(name)}`' for name in before)}"
    if engine.wake_s:
        told += f" (a start would take {figures.seconds(engine.startup_s)})"
    return told


def neighbours(plan: Plan, engine: EnginePlan | None) -> str:
    """Say who is in the memory of an engine's GPUs beside it; empty where it has them alone."""
    if engine is None:
        return ""
    told = [
        f"`{safe(other.name)}` ({figures.percent(other.memory_share)})"
        for other in plan.engines
        if other is not engine and _shares(other, engine)
    ]
    own = figures.percent(engine.memory_share)
    return f"{' and '.join(told)} in the memory of the same GPUs, {own} its own" if told else ""


def _shares(other: EnginePlan, engine: EnginePlan) -> bool:
    """Tell whether two engines are in the memory of a GPU at the same time."""
    together = other.start_s < engine.end_s and engine.start_s < other.end_s
    return together and engine.memory_share > 0.0 and _on_one_gpu(other, engine)


def verb(engine: EnginePlan) -> str:
    """Return what a reload of an engine is: it starts, or wakes."""
    return "wakes" if engine.wake_s else "starts"


def reloads(plan: Plan) -> str:
    """Return a line for each engine that shares a GPU or comes to one within the run, and sums."""
    late = [engine for engine in plan.engines if not engine.prestarted]
    shared = ((engine, neighbours(plan, engine)) for engine in plan.engines)
    lines = [f"`{safe(engine.name)}` stands beside {told}" for engine, told in shared if told]
    lines += [f"`{safe(engine.name)}` {verb(engine)} {reload(plan, engine)}" for engine in late]
    for done in ("starts", "wakes"):
        mine = [engine for engine in late if verb(engine) == done]
        if mine:
            count = figures.several(len(mine), "engine")
            seconds = figures.seconds(sum(engine.late_s for engine in mine))
            what = "started" if done == "starts" else "woken"
            of = "start-up" if done == "starts" else "falling asleep and waking"
            lines.append(f"{count} {what} within the run: {seconds} of {of}, part of what it takes")
    return "\n".join(lines)


def _makes_room(other: EnginePlan, engine: EnginePlan) -> bool:
    """Tell whether an engine stands on GPUs, and gives them up before another comes to them."""
    return other.end_s <= engine.start_s and _on_one_gpu(other, engine)


def _on_one_gpu(other: EnginePlan, engine: EnginePlan) -> bool:
    return any(
        (a.pool, a.node) == (b.pool, b.node) and bool(set(a.gpus) & set(b.gpus))
        for a in other.places
        for b in engine.places
    )
