"""`mkb run`: run a plan or a workflow."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from ..targets.endpoint import unusable_url
from .bounds import bound_flags, bounds
from .caching import cache, cache_flags
from .failures import RUN_FAILED
from .options import common, compile_flags
from .output import Output
from .plans import plan_of, refuse_changed_weights
from .runs import RUNS, fresh_record

if TYPE_CHECKING:
    from ..runtime.cache.recalling import Cache
    from ..runtime.driver import RunResult
    from ..runtime.journal.journal import Journal
    from ..runtime.spending import Bounds
    from ..targets.plan import Plan

_FILE: click.ParamType[Path] = click.Path(path_type=Path)
_LEFT_OUT_SHOWN = 10
_OF_PLANS = ("--library", "--endpoint")


@click.command
@click.argument("file", metavar="[PLAN|FILE.mkb]", required=False)
@click.option("--input", "pairs", metavar="N=V", multiple=True, help="A parameter's value.")
@click.option("--inputs", "inputs_file", metavar="F", help="A JSON object of inputs.")
@click.option("--dry-run", is_flag=True, help="Say what would be called; call nothing.")
@click.option("--results", metavar="F", type=_FILE, help="Write the resulting list here.")
@click.option("--record", metavar="F", type=_FILE, help="Keep the record here.")
@click.option("--journal", metavar="F", type=_FILE, help="Keep the journal here, and keep it.")
@click.option("--no-journal", is_flag=True, help="Write none: faster where steps take no time.")
@click.option("--resume", metavar="F", type=_FILE, help="Go on with the run of this journal.")
@click.option(
    "--settle", "settled", metavar="STEP=R", multiple=True, help="What came of an effect in doubt."
)
@click.option("--allow-changed", is_flag=True, help="Go on with executors that have changed.")
@click.option("--keep-going", is_flag=True, help="Leave items of a `for` out that fail.")
@bound_flags
@cache_flags
@compile_flags
@common
@click.pass_obj
def command(
    output: Output,
    /,
    file: str | None,
    pairs: tuple[str, ...],
    inputs_file: str | None,
    dry_run: bool,
    results: Path | None,
    record: Path | None,
    journal: Path | None,
    no_journal: bool,
    resume: Path | None,
    settled: tuple[str, ...],
    allow_changed: bool,
    keep_going: bool,
    budgets: tuple[str, ...],
    deadline: str | None,
    folder: Path | None,
    cache_size: str | None,
    cache_sampled: bool,
    **flags: Any,
) -> None:
    """Run a plan or a workflow.

    A FILE.mkb is compiled first, with the flags of `compile`. A value is read by the declared type
    of its parameter: text as it is, a path for media, JSON for lists and records, `@FILE` for the
    content of a file. A list given as `@FILE.jsonl` has an item on each line, and `--results`
    writes one so: neither is held in memory. The result goes to stdout, progress and a report to
    stderr; the record is kept under `.murakkab/runs` for `mkb show`. A plan for target `sim` runs
    in virtual time, on made-up values where none are given.

    What a run has completed is in its journal before anything else goes on with it. `--resume`
    goes on with a run that ended early, however it did, and does nothing of that again. It needs
    neither plan nor inputs: the journal has them.
    """
    stated = {"--dry-run": dry_run, "--journal": journal, "--no-journal": no_journal}
    of_resuming = {"--settle": settled, "--allow-changed": allow_changed}
    _refuse_contradictions(file, resume, stated, of_resuming)
    given = Given(pairs, inputs_file, record, results)
    kept = cache(folder, cache_size, output, sampled=cache_sampled)
    conduct = Conduct(bounds(budgets, deadline), kept, keep_going, allow_changed)
    run = partial(_run, conduct=conduct, output=output)
    if dry_run:
        plan = plan_of(str(file), output, flags, of_plans=_OF_PLANS)
        given.values(plan, output, needed=False)
        _forecast(plan, output)
    elif resume is not None:
        from .journals import taken_up

        run(_resumed(file, taken_up(resume, settled), given, flags, output))
    else:
        run(_new(str(file), journal, given, flags, output, journaled=not no_journal))


def _refuse_contradictions(
    file: str | None,
    resume: Path | None,
    stated: Mapping[str, object],
    of_resuming: Mapping[str, object],
) -> None:
    if resume is None:
        if file is None:
            raise click.MissingParameter(param=click.get_current_context().command.params[0])
        for flag, given in of_resuming.items():
            if given:
                raise click.UsageError(f"`{flag}` goes with `--resume`")
        if stated["--journal"] and stated["--no-journal"]:
            raise click.UsageError("`--journal` and `--no-journal` contradict each other")
        return
    for flag, given in stated.items():
        if given:
            raise click.UsageError(f"`--resume` and `{flag}` contradict each other")


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line gives a run: inputs, and where its record and its result go."""

    pairs: Sequence[str]
    file: str | None
    record: Path | None
    results: Path | None

    def values(self, plan: Plan, output: Output, *, needed: bool) -> dict[str, Any] | None:
        """Return the inputs; None where there are none, and none are needed."""
        from .inputs import inputs

        if not (needed or self.pairs or self.file is not None):
            return None
        return inputs(plan.module().sole(), self.pairs, self.file, output)


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a run goes about it: what it may use up, its cache, and what it goes on without."""

    bounds: Bounds
    cache: Cache | None
    keep_going: bool
    allow_changed: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a run needs; `values` are None where a simulation makes them up."""

    plan: Plan
    values: dict[str, Any] | None
    record: Path
    libraries: Sequence[Path]
    endpoints: Mapping[str, str]
    journal: Journal | None
    results: Path | None


def _new(
    file: str,
    journal: Path | None,
    given: Given,
    flags: Mapping[str, Any],
    output: Output,
    *,
    journaled: bool,
) -> Prepared:
    """Prepare a new run; `journal` is where its journal is to be kept for good."""
    plan = plan_of(file, output, flags, of_plans=_OF_PLANS)
    simulated = _simulated(plan)
    values = given.values(plan, output, needed=not simulated)
    if not simulated:
        refuse_changed_weights(file, plan, flags["libraries"])
    elif journal is not None:
        raise click.UsageError("a simulation keeps no journal: it loses nothing")
    elif given.results is not None:
        raise click.UsageError("a simulation has no results to write: its values are made up")
    if given.results is not None:
        from ..runtime.results import refuse_unfit

        refuse_unfit(plan.module().sole(), values or {}, given.results)
    beside = journaled and journal is None and not simulated  # where the journal goes
    fresh = fresh_record(plan.workflow) if beside or given.record is None else given.record
    endpoints = _endpoints(dict(flags["endpoints"]), plan, compiled=file.endswith(".mkb"))
    found = None
    if journaled and not simulated:
        from ..runtime.journal.memo import Memo
        from .journals import begun

        noted = tuple(str(library.absolute()) for library in flags["libraries"])
        results = None if given.results is None else str(given.results.absolute())
        memo = Memo(noted, dict(endpoints), journal is None, results)
        found = begun(journal, fresh, plan, values or {}, memo, output)
    record, libraries = given.record or fresh, flags["libraries"]
    return Prepared(plan, values, record, libraries, endpoints, found, given.results)


def _resumed(
    file: str | None, journal: Journal, given: Given, flags: Mapping[str, Any], output: Output
) -> Prepared:
    """Prepare to go on with a run; a plan or inputs that are given must be those of its journal."""
    from ..runtime.journal.memo import memo_of, refuse_unbelieved
    from .journals import refuse_other

    again = plan_of(file, output, flags, of_plans=_OF_PLANS) if file is not None else None
    plan = journal.plan()
    refuse_other(journal, again, given.values(plan, output, needed=False))
    memo = memo_of(journal)
    refuse_unbelieved(
        journal,
        memo,
        library=bool(flags["libraries"]),
        endpoint=bool(flags["endpoints"]),
        results=given.results is not None,
    )
    return Prepared(
        plan=plan,
        values=journal.inputs(),
        record=given.record or fresh_record(plan.workflow),
        libraries=flags["libraries"] or [Path(name) for name in memo.libraries],
        endpoints={
            **memo.endpoints,
            **_endpoints(dict(flags["endpoints"]), plan, compiled=False),
        },
        journal=journal,
        results=given.results or (Path(memo.results) if memo.results is not None else None),
    )


def _run(prepared: Prepared, conduct: Conduct, output: Output) -> None:
    done = _carried_out(prepared, conduct, output)
    from ..runtime.values import encode
    from . import report

    if done.lost_items:
        output.report(_left_out(done, prepared.journal))
    result = encode(done.value)
    document = done.record.document
    text = report.readable(result) if prepared.results is None else report.in_file(result)
    output.result(text, {"result": result, "run": document})
    if _simulated(prepared.plan):
        output.aside("\nsimulated in virtual time: the values are made up")
    output.aside(f"\n{report.totals(document)}\n\n{report.steps(document)}\n")
    if changed := report.changed(document):
        output.aside(changed)
    path = prepared.record
    shown = path.parent if path.parent.parent == RUNS else path
    if done.unrecorded is None:
        output.aside(f"`mkb show {shown}` tells what each step made")
    else:
        message = f"the record `{path}` cannot be written: {done.unrecorded}"
        output.report([Diagnostic("unwritten-record", message, severity="warning")])
    if done.lost_items:
        click.get_current_context().exit(RUN_FAILED)
    if prepared.journal is not None:
        from .journals import dispose

        dispose(prepared.journal)  # only now: what was not printed is not lost either


def _left_out(done: RunResult, journal: Journal | None) -> Iterator[Diagnostic]:
    """Yield a warning for each item that was left out, of the first, and what to do."""
    shown = done.lost[:_LEFT_OUT_SHOWN]
    more = done.lost_items - len(shown)
    help = None if journal is None else f"`mkb run --resume {journal.path}` tries them again"
    for failure in shown:
        yield Diagnostic("item-left-out", str(failure), severity="warning", help=failure.help)
    rest = f", {more} more than are shown" if more else ""
    items = "1 item was" if done.lost_items == 1 else f"{done.lost_items} items were"
    yield Diagnostic("item-left-out", f"{items} left out{rest}", severity="warning", help=help)


def _simulated(plan: Plan) -> bool:
    return plan.target == "sim"


def _carried_out(prepared: Prepared, conduct: Conduct, output: Output) -> RunResult:
    """Run the plan on its target."""
    if conduct.cache is not None and _simulated(prepared.plan):
        raise click.UsageError("a simulation has no results to keep: its values are made up")
    from .live import shown_progress

    plan, record = prepared.plan, prepared.record
    with shown_progress(plan, prepared.values, output) as (on_event, on_engine):
        if _simulated(plan):
            from ..runtime.simulated import simulate_plan

            simulation = simulate_plan(
                plan, prepared.values, record=record, on_event=on_event, bounds=conduct.bounds
            )
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
            endpoints=prepared.endpoints,
            warm=FOLDER,
            on_engine=on_engine,
        )

        running = run_plan(
            plan,
            prepared.values or {},
            library=load_named(plan.executors(), prepared.libraries),
            record=record,
            on_event=on_event,
            signals=True,
            on_interrupt=lambda at_work: output.aside(_draining(at_work)),
            serving=serving,
            tracing=tracing,
            journal=prepared.journal,
            bounds=conduct.bounds,
            keep_going=conduct.keep_going,
            allow_changed=conduct.allow_changed,
            results=prepared.results,
            cache=conduct.cache,
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
