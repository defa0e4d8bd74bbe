"""What `mkb compile` says: what was decided, beside the plan without optimisation."""

from __future__ import annotations

from collections.abc import Iterator

import click

from ..ir.workflow import Module
from ..targets.plan import Plan, Prediction, Solver, StepPlan
from . import figures, steps
from .display import safe
from .tables import indent, table

_PERCENTILES = ("p50", "p95")
_METRICS = {
    "energy": figures.joules,
    "cost": figures.dollars,
    "latency": figures.seconds,
    "accuracy": figures.share,
    "gpus": figures.count,
}


def summary(plan: Plan, module: Module, reference: Plan | None = None) -> str:
    """Return a plan's decisions and predictions as text.

    `module` is its placed module; `reference` is the same workflow compiled with `-O0`.
    """
    head = f"workflow `{plan.workflow}` for target `{plan.target}` on cluster `{plan.cluster}`"
    parts = [
        click.style(head, bold=True),
        indent(decisions(plan, module, reference)),
        indent(predictions(plan)),
        indent(proof(plan.solver)),
    ]
    parts += [indent(f"note: {safe(note)}") for note in plan.notes]
    return "\n\n".join(part for part in parts if part)


def decisions(plan: Plan, module: Module, reference: Plan | None) -> str:
    """Return a table of the steps: what runs each and where, how often, and what it takes."""
    known = steps.by_name(plan)
    before = steps.by_name(reference) if reference is not None else {}
    rows = []
    for depth, op in steps.nested(module.sole()):
        step = known[op.out().name]
        row = ["  " * depth + step.step, steps.executor(step)]
        if reference is not None:
            row.append(steps.executor(before[step.step]) if step.step in before else "")
        rows.append([*row, *_taken(plan, step)])
    header = ["step", "executor", *(["-O0"] if reference else []), *_TAKEN]
    return table(header, rows, left=len(header) - len(_TAKEN) + 1)


_TAKEN = ("where", "calls", "a call", "energy")


def _taken(plan: Plan, step: StepPlan) -> list[str]:
    if step.executor is None:
        return [""] * len(_TAKEN)
    return [
        steps.standing(steps.engine(plan, step)),
        figures.count(step.calls),
        figures.seconds(step.call_s.get("p50", 0.0)),
        figures.joules(step.energy_j),
    ]


def predictions(plan: Plan) -> str:
    """Return the predictions of a plan beside those of `-O0`, as a table."""
    ours, other = plan.predicted, plan.baseline
    if other is None:
        return table(("predicted", "this plan"), [row[:2] for row in _compared(ours, ours)])
    lines = [table(("predicted", "this plan", "-O0", "change"), list(_compared(ours, other)))]
    for broken in other.breaks:
        lines.append(f"-O0 would break `{safe(broken)}`")
    for broken in ours.breaks:
        lines.append(f"this plan breaks `{safe(broken)}`")
    return "\n".join(lines)


def proof(solver: Solver) -> str:
    """Return how good the placement is known to be."""
    lines = [f"placement: {solver.status}"]
    for goal in solver.objectives:
        shown = _METRICS.get(goal.metric, figures.count)
        gap = f"at best {shown(goal.bound)}, gap {figures.percent(goal.gap)}"
        gap = "proved" if goal.gap <= 1e-9 else gap
        lines.append(f"  {goal.metric} {shown(goal.value)}, {gap}")
    return "\n".join(lines)


def _compared(ours: Prediction, other: Prediction) -> Iterator[list[str]]:
    for key in _PERCENTILES:
        yield _row(f"latency {key}", figures.seconds, ours.latency_s[key], other.latency_s[key])
    yield _row("energy", figures.joules, ours.energy_j, other.energy_j)
    yield _row("cost", figures.dollars, ours.cost_usd, other.cost_usd)
    yield _row("accuracy", figures.share, ours.accuracy, other.accuracy)
    yield _row("GPUs", figures.count, ours.gpus, other.gpus)
    yield _row("start-up", figures.seconds, ours.startup_s, other.startup_s)
    yield ["error band", *(f"±{figures.percent(p.error_band)}" for p in (ours, other)), ""]


def _row(name: str, shown: figures.Shown, ours: float, other: float) -> list[str]:
    return [name, shown(ours), shown(other), figures.change(ours, other)]
