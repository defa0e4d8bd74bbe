"""`mkb explain`: why each step runs as it does, and what each alternative would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from .display import safe
from .options import common
from .output import Output, read_input
from .plans import read_plan

if TYPE_CHECKING:
    from ..ir.workflow import Workflow
    from ..targets.plan import Alternative, Plan, Prediction, StepPlan


@click.command
@click.argument("file", metavar="PLAN")
@click.argument("step", metavar="[STEP]", required=False)
@common
@click.pass_obj
def command(output: Output, /, file: str, step: str | None) -> None:
    """Say why each step (or STEP alone) runs as it does.

    Shows what was chosen, what each alternative would change in the whole plan, what is impossible
    and why, and how far the choice is proved. Of the plan of a service, says what each class runs
    in the busiest epoch, what it would run instead, and what holds it back.
    """
    text = read_input(file, output)
    from ..targets.service_plan import ServicePlan, is_service_plan

    if is_service_plan(text):
        from .services import document, explanation

        service = ServicePlan.from_json(text, file)
        output.result(explanation(service, step), document(service, step))
        return
    plan = read_plan(text, file)
    chosen = [s for s in plan.steps if step in (None, s.step)]
    if not chosen:
        names = [s.step for s in plan.steps]
        hint = did_you_mean(step or "", names) or f"its steps are {', '.join(names)}"
        raise InputError(Diagnostic("unknown-step", f"`{file}` has no step `{step}`", help=hint))
    if output.as_json:
        from dataclasses import asdict

        output.document(
            {
                "steps": [asdict(s) for s in chosen],
                "notes": plan.notes,
                "remarks": [asdict(remark) for remark in plan.remarks],
                "solver": asdict(plan.solver),
                "service": None if plan.service is None else plan.service.document(),
            }
        )
        return
    workflow = plan.module().sole()
    parts = [explained(plan, workflow, s) for s in chosen]
    if step is None:
        from .remarks import account
        from .summary import proof

        told = account(plan.remarks)
        parts += [told] if told else []
        parts += [proof(plan.solver), *(f"note: {safe(note)}" for note in plan.notes)]
    if plan.service is not None:
        from .services import explanation

        parts.append(explanation(plan.service, step))
    output.result("\n\n".join(parts), {})


def explained(plan: Plan, workflow: Workflow, step: StepPlan) -> str:
    """Return what is known about the choice made for one step."""
    from ..passes.compositions.expansion import COMPOSED
    from . import figures, steps
    from .expressions import Expressions
    from .tables import indent

    op = next(op for op in workflow.calls() if op.out().name == step.step)
    title = f"{step.step} = {Expressions.of(workflow).call(op)}"
    place = f"  ({op.locs[0]})" if op.locs else ""
    lines = [click.style(safe(title), bold=True) + safe(place)]
    if step.executor is None:
        lines.append("  left out: the plan is better without this optional work")
    else:
        each = figures.seconds(step.call_s["p50"])
        lines += [
            f"  runs on   {steps.executor(step)}",
            f"  stands    {steps.standing(steps.engine(plan, step))}",
            *_started(plan, step),
            *_stands_by(step),
            f"  takes     {figures.several(step.calls, 'call')} of {each}, "
            f"{figures.joules(step.energy_j)}, {figures.dollars(step.cost_usd)}",
            f"  quality   {figures.share(step.quality)}",
            f"  figures   {safe(step.source)}, ±{figures.percent(step.error_band)}",
        ]
    pins = [f"{key[4:]} {value}" for key, value in op.attrs if key.startswith("pin.")]
    if pins:
        lines.append(f"  pinned    {safe(', '.join(pins))}")
    whole = dict(plan.module().attrs).get(COMPOSED + step.step)
    if isinstance(whole, str):
        lines.append(f"  part of   {safe(whole)}")
    if step.alternatives:
        lines.append(indent(_alternatives(step.alternatives, plan.predicted)))
    notes = [note for note in plan.notes if f"`{step.task}`" in note or f"`{step.step}`" in note]
    lines += [f"  note: {safe(note)}" for note in notes]
    return "\n".join(lines)


def _stands_by(step: StepPlan) -> list[str]:
    """Return a line where something else does the step's calls should its engine stay away."""
    from . import figures

    other = step.substitute
    if other is None:
        return []
    knobs = figures.knobs(other.knobs)
    what = safe(other.executor + (f" [{knobs}]" if knobs else ""))
    share, each = figures.share(other.quality), figures.dollars(other.cost_usd)
    return [f"  else      {what} on `{safe(other.engine)}`, quality {share}, {each} a call"]


def _started(plan: Plan, step: StepPlan) -> list[str]:
    """Return lines where a step's engine comes to its GPUs within the run, or shares them."""
    from . import steps
    from .reloads import neighbours, reload, verb

    engine = steps.engine(plan, step)
    told, beside = reload(plan, engine), neighbours(plan, engine)
    lines = [f"  {verb(engine):<9} {told}"] if engine is not None and told else []
    return [*lines, *([f"  beside    {beside}"] if beside else [])]


def _alternatives(found: tuple[Alternative, ...], now: Prediction) -> str:
    """Return what each alternative would change in the whole plan, or why it is out."""
    from . import figures
    from .tables import table

    rows = [
        [
            safe(a.variant),
            safe(a.slot),
            figures.difference(figures.seconds, a.latency_s, now.latency_s["p50"]),
            figures.difference(figures.joules, a.energy_j, now.energy_j),
            figures.difference(figures.dollars, a.cost_usd, now.cost_usd),
            figures.difference(figures.share, a.accuracy, now.accuracy),
            figures.difference(figures.count, a.gpus, now.gpus),
        ]
        for a in found
        if a.why_not is None
    ]
    lines = []
    if rows:
        header = ("next best", "where", "latency", "energy", "cost", "accuracy", "GPUs")
        lines.append(table(header, rows, left=2))
    for a in found:
        if a.why_not is not None:
            where = f" on {a.slot}" if a.slot else ""
            lines.append(safe(f"not {a.variant}{where}: {a.why_not}"))
    return "\n".join(lines)
