"""A plan's steps in words: what runs them, where, and how a row of a table names that."""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.ops import Op, Region
from ..ir.workflow import Workflow
from ..targets.plan import EnginePlan, Plan, StepPlan
from . import figures
from .display import safe

LEFT_OUT = "left out"


def by_name(plan: Plan) -> dict[str, StepPlan]:
    """Return a plan's steps by name."""
    return {step.step: step for step in plan.steps}


def engine(plan: Plan, step: StepPlan) -> EnginePlan | None:
    """Return the engine a step runs on, or None where it is left out."""
    return next((e for e in plan.engines if e.name == step.engine), None)


def executor(step: StepPlan) -> str:
    """Return `whisper-large-v3 [chunk_seconds=30]`, or `left out`."""
    if step.executor is None:
        return LEFT_OUT
    settings = figures.knobs(step.knobs)
    return safe(step.executor + (f" [{settings}]" if settings else ""))


def standing(found: EnginePlan | None) -> str:
    """Return `a100/gpu x2, 3 replicas, 8 at once`: where an engine stands and how wide it is."""
    if found is None:
        return ""
    parts = [safe(found.slot)]
    if found.replicas > 1:
        parts.append(f"{found.replicas} replicas")
    if found.concurrency > 1:
        parts.append(f"{found.concurrency} at once")
    return ", ".join(parts)


def changes(one: Plan, other: Plan) -> list[str]:
    """Return what another plan of the same steps does otherwise, each in a few words.

    What runs steps comes first, then where, then how many calls at once.
    """
    before = by_name(one)
    changed: dict[tuple[int, str], list[str]] = {}
    for step in other.steps:
        what = _change(one, before[step.step], other, step)
        if what is not None:
            changed.setdefault(what, []).append(f"`{safe(step.step)}`")
    ordered = sorted(changed.items(), key=lambda item: item[0][0])
    return [f"{', '.join(names)} {what}" for (_, what), names in ordered]


def _change(one: Plan, old: StepPlan, other: Plan, new: StepPlan) -> tuple[int, str] | None:
    """Return how a step is changed, in words, and the rank of such a change."""
    was, now = executor(old), executor(new)
    there, here = engine(one, old), engine(other, new)
    moved = None
    if here is not None and (there is None or _stand(there) != _stand(here)):
        moved = f"on {_stand(here)}"
    if was != now:
        if new.executor is None:
            return 0, LEFT_OUT
        if old.executor == new.executor:
            now, was = f"with {figures.knobs(new.knobs)}", figures.knobs(old.knobs)
        else:
            now = f"by {now}"
        return 0, " ".join(filter(None, (now, moved, f"instead of {was}")))
    if here is None or there is None:
        return None
    if moved is not None:
        return 1, f"{moved} instead of {_stand(there)}"
    if there.concurrency != here.concurrency:
        return 2, f"{here.concurrency} at once instead of {there.concurrency}"
    return None


def _stand(found: EnginePlan) -> str:
    several = f", {found.replicas} replicas" if found.replicas > 1 else ""
    return safe(found.slot) + several


def nested(workflow: Workflow) -> Iterator[tuple[int, Op]]:
    """Yield every call in program order with the depth of its region."""
    yield from _nested(workflow.body, 0)


def _nested(region: Region, depth: int) -> Iterator[tuple[int, Op]]:
    for op in region.ops:
        if op.kind in ("call", "invoke"):
            yield depth, op
        for inner in op.regions:
            yield from _nested(inner, depth + 1)
