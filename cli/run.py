"""`mkb run`: run a plan or a workflow."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import common, compile_flags
from .output import Output
from .plans import plan_of

if TYPE_CHECKING:
    from ..targets.plan import Plan

_RUNS = Path(".murakkab/runs")


@click.command
@click.argument("file", metavar="PLAN|FILE.mkb")
@click.option("--input", "pairs", metavar="N=V", multiple=True, help="A parameter's value.")
@click.option("--inputs", "inputs_file", metavar="F", help="A JSON object of inputs.")
@click.option("--dry-run", is_flag=True, help="Say what would be called; call nothing.")
@click.option(
    "--record", metavar="F", type=click.Path(path_type=Path), help="Keep the record here."
)
@compile_flags
@common
@click.pass_obj
def command(
    output: Output,
    /,
    file: str,
    pairs: tuple[str, ...],
    inputs_file: str | None,
    dry_run: bool,
    record: Path | None,
    **flags: Any,
) -> None:
    """Run a plan or a workflow.

    A FILE.mkb is compiled first, with the flags of `compile`. A value is read by the declared type
    of its parameter: text as it is, a path for media, JSON for lists and records, `@FILE` for the
    content of a file. The result goes to stdout, progress and a report to stderr; the record is
    kept under `.murakkab/runs` for `mkb show`.
    """
    from ..targets.library import load_library
    from .inputs import inputs

    plan = plan_of(file, output, flags)
    workflow = plan.module().sole()
    if not dry_run or pairs or inputs_file:
        values = inputs(workflow, pairs, inputs_file, output)
    if dry_run:
        _forecast(plan, output)
        return
    from ..runtime.driver import run_plan
    from ..runtime.values import encode
    from . import report
    from .live import shown_progress

    library = load_library(flags["libraries"])
    path = record if record is not None else _fresh_record(plan.workflow)
    with shown_progress(plan, output) as on_event:
        done = asyncio.run(
            run_plan(plan, values, library=library, record=path, on_event=on_event, signals=True)
        )
    result = encode(done.value)
    document = done.record.document
    output.result(report.readable(result), {"result": result, "run": document})
    output.aside(f"\n{report.totals(document)}\n\n{report.steps(document)}\n")
    output.aside(f"record: {path} (`mkb show {path}`)")


def _fresh_record(workflow: str) -> Path:
    """Return the path of a record that does not exist yet."""
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}-{workflow}"
    folder = _RUNS / stamp
    again = 2
    while folder.exists():
        folder = _RUNS / f"{stamp}-{again}"
        again += 1
    return folder / "run.json"


def _forecast(plan: Plan, output: Output) -> None:
    from dataclasses import asdict

    from .summary import decisions, predictions
    from .tables import indent

    document = {
        "calls": [
            {
                "step": step.step,
                "executor": step.executor,
                "engine": step.engine,
                "calls": step.calls,
                "call_s": dict(step.call_s),
                "energy_j": step.energy_j,
                "cost_usd": step.cost_usd,
            }
            for step in plan.steps
            if step.executor is not None
        ],
        "predicted": asdict(plan.predicted),
    }
    parts = [
        f"`{plan.workflow}` would call:",
        indent(decisions(plan, plan.module(), None)),
        indent(predictions(plan)),
        "nothing was called",
    ]
    output.result("\n\n".join(parts), document)
