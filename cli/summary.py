"""What `mkb compile` says: what was decided, beside the plan without optimisation."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click

from ..ir.workflow import Module
from ..targets.failure_policy import USUAL
from ..targets.plan import Plan, Prediction, Solver, StepPlan
from . import figures, steps
from .display import safe
from .reloads import reloads
from .services import held
from .tables import indent, table

_PERCENTILES = ("p50", "p95")


def summary(plan: Plan, module: Module, reference: Plan | None = None) -> str:
    """Return a plan's decisions and predictions as text.

    `module` is its placed module; `reference` is the same workflow compiled with `-O0`.
    """
    head = f"workflow `{plan.workflow}` for target `{plan.target}` on cluster `{plan.cluster}`"
    parts = [
        click.style(safe(head), bold=True),
        indent(decisions(plan, module, reference)),
        indent(predictions(plan)),
        indent(service(plan)),
        indent(reloads(plan)),
        indent(failures(plan)),
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
            row.append(_other(row[1], before.get(step.step)))
        rows.append([*row, *_taken(plan, step)])
    header = ["step", "executor", *(["-O0"] if reference else []), *_TAKEN]
    return table(header, rows, left=len(header) - len(_TAKEN) + 1)


def _other(executor: str, reference: StepPlan | None) -> str:
    """Return what `-O0` runs a step with, where that is something else."""
    if reference is None:
        return ""
    chosen = steps.executor(reference)
    return "same" if chosen == executor else chosen


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
        lines = [table(("predicted", "this plan"), [row[:2] for row in _compared(ours, ours)])]
        return "\n".join((*lines, *_carbon(plan)))
    lines = [table(("predicted", "-O0", "this plan", "change"), _compared(other, ours))]
    for broken in other.breaks:
        lines.append(f"-O0 would break `{safe(broken)}`")
    for broken in ours.breaks:
        lines.append(f"this plan breaks `{safe(broken)}`")
    return "\n".join((*lines, *_carbon(plan)))


def failures(plan: Plan) -> str:
    """Return what a run does about failures, where that is not the usual; else nothing."""
    stated = [
        f"{f.name} = {_stated(now)}"
        for f in fields(plan.failure)
        if (now := getattr(plan.failure, f.name)) != getattr(USUAL, f.name)
    ]
    return f"on failure: {', '.join(stated)}" if stated else ""


def _stated(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "off"
    return "off" if value is None else f"{value:g}"


def _carbon(plan: Plan) -> list[str]:
    """Return what the energy of a request stands for, where the grid is known."""
    found = plan.carbon
    if found is None:
        return []
    grams = figures.grams(found.carbon_g)
    grid = f"`{safe(found.region)}`, {found.g_per_kwh:g} g / kWh in {found.year}"
    return [f"carbon: {grams} CO2e a request ({grid})"]


def service(plan: Plan) -> str:
    """Return what is held for all requests, where a plan is of a service; else nothing."""
    if plan.service is None:
        return ""
    (kind,), (epoch,) = plan.service.classes, plan.service.epochs
    routes = [figures.percent(route.share) for route in epoch.routes]
    rate = figures.count(sum(kind.requests) / epoch.duration_s)
    said = f"for {rate} requests a second"
    if len(routes) > 1:
        said += f", by {len(routes)} routes ({', '.join(routes)}): shown is the first"
    return f"{held(plan.service)}\n{said}"


def proof(solver: Solver) -> str:
    """Return how good the placement is known to be."""
    lines = [f"placement: {safe(solver.status)}"]
    for goal in solver.objectives:
        shown = figures.METRICS.get(goal.metric, figures.count)
        gap = f"at best {shown(goal.bound)}, gap {figures.percent(goal.gap)}"
        gap = "proved" if goal.gap <= 1e-9 else gap
        lines.append(f"  {safe(goal.metric)} {shown(goal.value)}, {gap}")
    return "\n".join(lines)


def comparison(one: Plan, other: Plan, names: tuple[str, str]) -> str:
    """Return what differs between two plans: executors, places and predictions side by side.

    `names` are what people know the plans by.
    """
    first, second = steps.by_name(one), steps.by_name(other)
    rows = []
    for name in dict.fromkeys((*first, *second)):
        before, after = _chosen(one, first.get(name)), _chosen(other, second.get(name))
        shown = [
            now and "same" if now == was else now for was, now in zip(before, after, strict=True)
        ]
        rows.append([safe(name), *before, *shown])
    heads = [safe(name) for name in names]
    parts = [
        table(("step", heads[0], "where", heads[1], "where"), rows, left=5),
        table(("predicted", *heads, "change"), _compared(one.predicted, other.predicted)),
    ]
    if (one.target, one.cluster) != (other.target, other.cluster):
        places = [
            f"{head} is for target `{safe(plan.target)}` on cluster `{safe(plan.cluster)}`"
            for head, plan in zip(heads, (one, other), strict=True)
        ]
        said = "accuracy is relative to the best each of them could do"
        parts.append("\n".join((*places, said)))
    return "\n\n".join(parts)


def _chosen(plan: Plan, step: StepPlan | None) -> tuple[str, str]:
    if step is None:
        return "", ""
    return steps.executor(step), steps.standing(steps.engine(plan, step))


def _compared(before: Prediction, after: Prediction) -> list[list[str]]:
    rows = [
        _row(f"latency {key}", figures.seconds, before.latency_s[key], after.latency_s[key])
        for key in _PERCENTILES
    ]
    return [
        *rows,
        _row("energy", figures.joules, before.energy_j, after.energy_j),
        _row("cost", figures.dollars, before.cost_usd, after.cost_usd),
        _row("accuracy", figures.share, before.accuracy, after.accuracy),
        _row("GPUs", figures.count, before.gpus, after.gpus),
        _row("start-up", figures.seconds, before.startup_s, after.startup_s),
        ["error band", *(f"±{figures.percent(p.error_band)}" for p in (before, after)), ""],
    ]


def _row(name: str, shown: figures.Shown, before: float, after: float) -> list[str]:
    return [name, shown(before), shown(after), figures.change(after, before)]
