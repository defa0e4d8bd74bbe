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


def nested(workflow: Workflow) -> Iterator[tuple[int, Op]]:
    """Yield every call in program order with the depth of its region."""
    yield from _nested(workflow.body, 0)


def _nested(region: Region, depth: int) -> Iterator[tuple[int, Op]]:
    for op in region.ops:
        if op.kind in ("call", "invoke"):
            yield depth, op
        for inner in op.regions:
            yield from _nested(inner, depth + 1)
