"""What a plan pays for models that do not stand side by side: starts within the run."""

from __future__ import annotations

from ..targets.plan import EnginePlan, Plan
from . import figures
from .display import safe


def paid(plan: Plan) -> float:
    """Return the seconds of start-up that fall within the run, over all engines."""
    return sum(engine.startup_s for engine in plan.engines if not engine.prestarted)


def reload(plan: Plan, engine: EnginePlan | None) -> str:
    """Say when an engine is started within the run, and where; empty for one that is up before."""
    if engine is None or engine.prestarted:
        return ""
    told = f"{figures.seconds(engine.start_s)} into the run, {_before(engine)}"
    before = sorted(other.name for other in plan.engines if _makes_room(other, engine))
    if before:
        told += f", in the place of {' and '.join(f'`{safe(name)}`' for name in before)}"
    return told


def reloads(plan: Plan) -> str:
    """Return a line for each engine that is started within the run, and what that comes to."""
    late = [engine for engine in plan.engines if not engine.prestarted]
    lines = [f"`{safe(engine.name)}` starts {reload(plan, engine)}" for engine in late]
    if lines:
        count = figures.several(len(late), "engine")
        seconds = figures.seconds(paid(plan))
        lines.append(
            f"{count} started within the run: {seconds} of start-up, part of what it takes"
        )
    return "\n".join(lines)


def _before(engine: EnginePlan) -> str:
    return f"{figures.seconds(engine.startup_s)} before its first call"


def _makes_room(other: EnginePlan, engine: EnginePlan) -> bool:
    """Tell whether an engine stands on GPUs, and gives them up before another comes to them."""
    return other.end_s <= engine.start_s and any(
        (a.pool, a.node) == (b.pool, b.node) and set(a.gpus) & set(b.gpus)
        for a in other.places
        for b in engine.places
    )
