"""`mkb run`: run a plan or a workflow."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from ..targets.endpoint import unusable_url
from .options import common, compile_flags
from .output import Output
from .plans import plan_of, refuse_changed_weights

if TYPE_CHECKING:
    from ..runtime.driver import RunResult
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
    kept under `.murakkab/runs` for `mkb show`. A plan for target `sim` runs in virtual time, on
    made-up values where none are given.
    """
    from .inputs import inputs

    plan = plan_of(file, output, flags, of_plans=("--library", "--endpoint"))
    given = bool(pairs or inputs_file is not None)
    values = None
    if given or not (dry_run or _simulated(plan)):
        values = inputs(plan.module().sole(), pairs, inputs_file, output)
    if dry_run:
        _forecast(plan, output)
        return
    if not _simulated(plan):
        refuse_changed_weights(file, plan, flags["libraries"])
    path = record if record is not None else _fresh_record(plan.workflow)
    endpoints = _endpoints(dict(flags["endpoints"]), plan, compiled=file.endswith(".mkb"))
    done = _carried_out(plan, values, path, output, flags, endpoints)
    from ..runtime.values import encode
    from . import report

    result = encode(done.value)
    document = done.record.document
    output.result(report.readable(result), {"result": result, "run": document})
    if _simulated(plan):
        output.aside("\nsimulated in virtual time: the values are made up")
    output.aside(f"\n{report.totals(document)}\n\n{report.steps(document)}\n")
    shown = path.parent if path.name == "run.json" else path
    output.aside(f"`mkb show {shown}` tells what each step made")


def _simulated(plan: Plan) -> bool:
    return plan.target == "sim"


def _carried_out(
    plan: Plan,
    values: dict[str, Any] | None,
    record: Path,
    output: Output,
    flags: Mapping[str, Any],
    endpoints: Mapping[str, str],
) -> RunResult:
    """Run the plan on its target; only a simulation can do without values."""
    from .live import shown_progress

    with shown_progress(plan, output) as (on_event, on_engine):
        if _simulated(plan):
            from ..runtime.simulated import simulate_plan

            simulation = simulate_plan(plan, values, record=record, on_event=on_event)
            return asyncio.run(simulation)
        from ..runtime.driver import run_plan
        from ..runtime.serving.fleet import Serving
        from ..runtime.serving.warm import FOLDER
        from ..runtime.tracing import tracing_from_environment
        from ..targets.library import load_named

        tracing = tracing_from_environment(os.environ)
        serving = Serving(
            environ=os.environ,
            logs=record.parent / "logs",
            endpoints=endpoints,
            warm=FOLDER,
            on_engine=on_engine,
        )

        running = run_plan(
            plan,
            values or {},
            library=load_named(plan.executors(), flags["libraries"]),
            record=record,
            on_event=on_event,
            signals=True,
            on_interrupt=lambda at_work: output.aside(_draining(at_work)),
            serving=serving,
            tracing=tracing,
        )
        try:
            return asyncio.run(running)
        finally:
            undelivered = tracing.close() if tracing is not None else None
            output.report([undelivered] if undelivered is not None else [])


def _endpoints(endpoints: Mapping[str, str], plan: Plan, *, compiled: bool) -> Mapping[str, str]:
    """Return the endpoints of what the plan runs; refuse others, and what cannot be an address.

    A plan that was just `compiled` with them need not use all.
    """
    served = [e for e in plan.engines if e.runner in ("vllm", "openai")]
    names = sorted({name for engine in served for name in (engine.name, engine.executor)})
    if compiled:
        return {name: url for name, url in endpoints.items() if name in names}
    for name, url in endpoints.items():
        why = unusable_url(url)
        hint = None
        if name not in names:
            why = f"the plan has no model server `{name}`"
            hint = did_you_mean(name, names) or f"it has {', '.join(names) or 'none'}"
        if why is not None:
            raise InputError(Diagnostic("usage", f"`--endpoint {name}=…`: {why}", help=hint))
    return endpoints


def _draining(at_work: int) -> str:
    calls = "1 call" if at_work == 1 else f"{at_work} calls"
    line = f"finishing {calls} at work; Ctrl-C again to stop {'it' if at_work == 1 else 'them'}"
    return f"\n{line}" if sys.stderr.isatty() else line  # there a bar and `^C` stand in the line


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
