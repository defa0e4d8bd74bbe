"""The driver: strings parse, check, passes and lowering together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..ir.diagnostics import CompileError, Diagnostic, InputError, Span
from ..ir.ops import Attr, Op, Region
from ..ir.workflow import MetricName, Module, Workflow
from ..passes.alternatives import alternatives
from ..passes.base import Context, Observer, Pass
from ..passes.bind import Bind
from ..passes.formulate import Formulation
from ..passes.measured import faults
from ..passes.pipeline import LEVELS, parse_pipeline, print_pipeline, run_pipeline
from ..passes.place import Place
from ..passes.problem import Placement
from ..passes.substitute import Substitute
from ..targets.attach import attach, with_endpoints
from ..targets.cluster import load_cluster
from ..targets.costmodel import ProfileCostModel
from ..targets.detect import detect_host
from ..targets.library import availability, load_library
from ..targets.lock_file import Lock, load_lock, lock_path, pinned, stale
from ..targets.lower import lower, prediction
from ..targets.plan import Alternative, Plan, Prediction
from ..targets.profiles import load_profiles
from ..targets.registry import target_named
from ..targets.target import Target
from ..targets.workflow_profiles import load_workflow_profiles
from .entries import clashing_knobs, misspelt_interfaces
from .frontend import Checked, check_file, check_text, select, standard_interfaces
from .program import outdated


@dataclass(frozen=True, slots=True)
class Request:
    """What to compile, for what, and how; the fields are the flags of `mkb compile`.

    `source` is a file, or the program itself as text. `target` left out is `local`, `sim` where
    a cluster is described, or else `vllm` where there are endpoints. `minimize` comes before,
    `require` in addition to, what the file says. `passes` overrides the pipeline of `level`.
    `effort` is the solver's deterministic time. `endpoints` are addresses at which executors run
    already, by executor; they come before the cluster's. `locked` has the lock beside a source file
    say which commits of models are meant.
    """

    source: Path | str
    workflow: str | None = None
    target: str | None = None
    cluster: Path | None = None
    libraries: tuple[Path, ...] = ()
    profiles: tuple[Path, ...] = ()
    level: int = 2
    sequential: bool = False
    passes: str | None = None
    minimize: str | None = None
    require: tuple[str, ...] = ()
    effort: float = 10.0
    endpoints: tuple[tuple[str, str], ...] = ()
    locked: bool = True


@dataclass(frozen=True, slots=True)
class Compiled:
    """A finished compilation: the flow IR, the placed module, its plan, and the warnings."""

    flow: Module
    placed: Module
    plan: Plan
    context: Context
    warnings: tuple[Diagnostic, ...]
    sources: Mapping[str, str]


STAGES = ("flow", "logical", "fused", "placed")


def compile_workflow(
    request: Request,
    observe: Observer | None = None,
    sources: dict[str, str] | None = None,
) -> Compiled:
    """Compile to a plan; CompileError for the author's faults, InputError for unusable inputs.

    `sources` receives the texts of the files read, also when the program is wrong.
    """
    texts: dict[str, str] = {} if sources is None else sources
    passes = complete(_pipeline(request))
    target, context = environment(request)
    checked = _checked(request, texts)
    flow = _with_flags(select(checked, request.workflow), request)
    _refuse_other_profiles(flow, context)
    misspelt = misspelt_interfaces(context.library, context.interfaces, checked.module.tasks)
    try:
        placed, others = _placed(flow, checked, passes, context, observe)
    except CompileError as error:
        # an entry for a misspelt interface is what a task that nothing carries out may lack
        raise CompileError([*error.diagnostics, *misspelt]) from None
    baseline, why = _baseline(flow, checked, context, request)
    notes = [*_notes(placed, context), *why]
    if baseline is not None and _may_be_plan(baseline, placed, flow.sole()):
        placed, others = baseline[0], {}
        notes.append("the reference configuration is the best found, so the plan is -O0's")
    plan = lower(
        placed,
        target,
        context.cluster.name,
        flow=flow,
        pipeline=print_pipeline(passes),
        baseline=None if baseline is None else baseline[1],
        alternatives=others,
        digests=digests(checked.sources, context),
        notes=tuple(notes),
    )
    stale = (*_stale_lock(request, plan, context), *outdated(flow, context.measured))
    warnings = (*checked.warnings, *misspelt, *stale)
    return Compiled(flow, placed, plan, context, warnings, checked.sources)


def stage(
    request: Request,
    emit: str,
    observe: Observer | None = None,
    sources: dict[str, str] | None = None,
) -> Module:
    """Return the module as it is after one of STAGES, without doing what comes after.

    `fused` is what stands before hardware is looked at: everything ahead of the first pass that
    prices variants.
    """
    passes = _pipeline(request)
    checked = _checked(request, {} if sources is None else sources)
    flow = _with_flags(select(checked, request.workflow), request)
    if emit == "flow":
        return flow
    _, context = environment(request)
    _refuse_other_profiles(flow, context)
    if emit == "logical":
        passes = (Bind(),)
    elif emit == "fused":
        passes = complete(passes)
        priced = next(i for i, step in enumerate(passes) if isinstance(step, (Substitute, Place)))
        passes = passes[:priced]
    else:
        passes = complete(passes)
    return run_pipeline(_with_places(flow, checked, passes), passes, context, observe)


def _refuse_other_profiles(flow: Module, context: Context) -> None:
    """Raise InputError where a profile of this workflow speaks of what is not in it."""
    found = list(faults(context.measured, flow.sole(), context.library))
    if found:
        raise InputError(found)


def environment(request: Request) -> tuple[Target, Context]:
    """Load the library, cluster and profiles that a request names; the target it is for."""
    target = target_named(request.target or _usual_target(request))
    if target.described and request.cluster is None:
        raise InputError(
            Diagnostic(
                "no-cluster",
                f"target `{target.name}` needs a described cluster",
                help="give one with `--cluster FILE`; `mkb targets detect` writes this host's",
            )
        )
    cluster = load_cluster(request.cluster) if request.cluster is not None else detect_host()
    cluster = with_endpoints(cluster, request.endpoints)
    library = load_library(request.libraries)
    interfaces = standard_interfaces()
    clashing = clashing_knobs(library, interfaces)
    if clashing:
        raise InputError(clashing)
    lock = _lock(request)
    if lock is not None:
        library = pinned(library, lock[0], lock[1].parent)
    library = attach(library, cluster)
    missing = {}
    if target.installed:
        found = {e.name: availability(e) for e in library.executors if e.runner in target.runners}
        missing = {name: why for name, why in found.items() if why is not None}
    context = Context(
        interfaces=interfaces,
        library=library,
        cluster=cluster,
        costs=ProfileCostModel(load_profiles(request.profiles)),
        runners=target.runners,
        missing=missing,
        effort=request.effort,
        measured=load_workflow_profiles(request.profiles),
    )
    return target, context


def _lock(request: Request) -> tuple[Lock, Path] | None:
    """Return the lock beside a workflow's file and where it is, if there is one."""
    if not request.locked or not isinstance(request.source, Path):
        return None
    if request.source.suffix != ".mkb":
        return None
    lock = load_lock(request.source)
    return None if lock is None else (lock, lock_path(request.source))


def _stale_lock(request: Request, plan: Plan, context: Context) -> tuple[Diagnostic, ...]:
    lock = _lock(request)
    if lock is None:
        return ()
    names = [engine.executor for engine in plan.engines if engine.loads_model]
    executors = [executor for name in names if (executor := context.library.get(name)) is not None]
    return stale(*lock, context.library, executors)


def _usual_target(request: Request) -> str:
    if request.cluster is not None:
        return "sim"
    return "vllm" if request.endpoints else "local"


def complete(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """Return a pipeline that ends in a plan: `bind` first, a placement last, where they lack."""
    if not any(isinstance(step, Bind) for step in passes):
        passes = (Bind(), *passes)
    if not any(isinstance(step, Place) for step in passes):
        passes = (*passes, Place(policy="reference"))
    return passes


def _pipeline(request: Request) -> tuple[Pass, ...]:
    if request.passes is not None:
        return parse_pipeline(request.passes)
    if request.level not in LEVELS:
        known = ", ".join(map(str, LEVELS))
        raise InputError(Diagnostic("usage", f"no level {request.level}: there are {known}"))
    passes = parse_pipeline(LEVELS[request.level])
    if not request.sequential:
        return passes
    return tuple(Place(policy="sequential") if isinstance(step, Place) else step for step in passes)


def _checked(request: Request, sources: dict[str, str]) -> Checked:
    if isinstance(request.source, Path):
        return check_file(request.source, sources)
    return check_text(request.source, sources=sources)


def _with_flags(module: Module, request: Request) -> Module:
    """Put what the command line asks before what the file says."""
    workflow = module.sole()
    goals: tuple[MetricName, ...] = workflow.goals
    if request.minimize is not None:
        asked = _clauses("minimize", request.minimize).goals
        goals = (*asked, *(goal for goal in goals if goal not in asked))
    more = tuple(
        need for text in request.require for need in _clauses("require", text).requirements
    )
    return module.with_workflow(
        replace(workflow, goals=goals, requirements=workflow.requirements + more)
    )


def _clauses(word: str, text: str) -> Workflow:
    """Read what a flag asks as the clause of that word; a wrong one is a wrong command line."""
    flag = f"--{word}"
    if not text.strip():
        raise _unusable_flag(flag, text, "it says nothing", None)
    try:
        checked = check_text(f"workflow flags() -> Int {word} {text} {{ return 0 }}", flag)
    except CompileError as error:
        said = "; ".join(d.message for d in error.diagnostics)
        hint = next((d.help for d in error.diagnostics if d.help), None)
        raise _unusable_flag(flag, text, said, hint) from None
    asked, *more = checked.module.workflows
    stated = len(asked.requirements) + len(asked.expectations)
    if more or bool(asked.goals) + stated != 1:
        raise _unusable_flag(flag, text, "it says more than one thing", "give a flag for each")
    return asked


def _unusable_flag(flag: str, text: str, why: str, help: str | None) -> InputError:
    return InputError(Diagnostic("usage", f"`{flag} {text}`: {why}", help=help))


def _placed(
    flow: Module,
    checked: Checked,
    passes: tuple[Pass, ...],
    context: Context,
    observe: Observer | None,
) -> tuple[Module, dict[str, tuple[Alternative, ...]]]:
    decisions: list[tuple[Formulation, Placement]] = []
    listening = replace(context, decided=lambda *decision: decisions.append(decision))
    placed = run_pipeline(_with_places(flow, checked, passes), passes, listening, observe)
    if not decisions:
        return placed, {}
    formulation, placement = decisions[-1]
    return placed, alternatives(formulation, placement.modes)


def _baseline(
    flow: Module, checked: Checked, context: Context, request: Request
) -> tuple[tuple[Module, Prediction] | None, list[str]]:
    """Return `-O0` of the same program and its prediction, or why there is none."""
    passes = parse_pipeline(LEVELS[0])
    try:
        placed = run_pipeline(_with_places(flow, checked, passes), passes, context)
    except CompileError as error:
        return None, [f"no -O0 to compare with: {error.diagnostics[0].message}"]
    return (placed, prediction(placed)), []


def _may_be_plan(baseline: tuple[Module, Prediction], placed: Module, workflow: Workflow) -> bool:
    """Tell whether `-O0` beats a plan; not where accuracy had to be measured, and its was not."""
    known = dict(baseline[0].attrs).get("accuracy_measured") is not False
    return known and _is_better(baseline[1], prediction(placed), workflow)


def _is_better(one: Prediction, other: Prediction, workflow: Workflow) -> bool:
    """Tell whether a feasible `-O0` beats a plan on the stated objectives, beyond rounding."""
    if one.breaks:
        return False
    for metric in workflow.objectives:
        a, b = _metric(one, metric), _metric(other, metric)
        if abs(a - b) > 1e-6 * max(abs(a), abs(b)):
            return a < b
    return False


def _metric(predicted: Prediction, metric: MetricName) -> float:
    read: dict[MetricName, Callable[[], float]] = {
        "latency": lambda: predicted.latency_s["p50"],
        "energy": lambda: predicted.energy_j,
        "cost": lambda: predicted.cost_usd,
        "gpus": lambda: float(predicted.gpus),
        "accuracy": lambda: -predicted.accuracy,
    }
    return read[metric]()


def _with_places(module: Module, checked: Checked, passes: tuple[Pass, ...]) -> Module:
    """Tell `bind` where pins stand, so that it can point at them."""
    if not passes or not isinstance(passes[0], Bind):
        return module
    workflow = module.sole()
    return module.with_workflow(
        replace(workflow, body=_region_with_places(workflow.body, checked.pin_spans))
    )


def _region_with_places(region: Region, places: Mapping[Span, Mapping[str, Span]]) -> Region:
    ops: list[Op] = []
    for op in region.ops:
        if op.regions:
            nested = tuple(_region_with_places(r, places) for r in op.regions)
            op = replace(op, regions=nested)
        elif op.kind == "call" and op.locs and op.locs[0] in places:
            at: dict[str, Attr] = {
                f"at.{name}": (s.line, s.column, s.end_line, s.end_column)
                for name, s in places[op.locs[0]].items()
            }
            op = op.with_attrs(at)
        ops.append(op)
    return replace(region, ops=tuple(ops))


def _notes(placed: Module, context: Context) -> list[str]:
    notes = [
        f"`{key.removeprefix('note.bind.')}`: {value}"
        for key, value in placed.attrs
        if key.startswith("note.bind.")
    ]
    accuracy = dict(placed.attrs).get("note.accuracy")
    notes += [] if accuracy is None else [str(accuracy)]
    return notes + [note.message for note in context.library.notes]


def digests(sources: Mapping[str, str], context: Context) -> dict[str, str]:
    """Return the digests of everything a plan is made from, the program's texts by file name."""
    source = hashlib.sha256()
    for name in sorted(sources):
        source.update(_apart(sources[name].encode()))
    profiles = context.costs.digest
    if context.measured.rows:
        profiles = hashlib.sha256(f"{profiles} {context.measured.digest}".encode()).hexdigest()
    return {
        "source": source.hexdigest(),
        "library": context.library.digest,
        "profiles": profiles,
        "cluster": context.cluster.digest,
    }


def _apart(content: bytes) -> bytes:
    """Mark where a file ends, so that text moved from one to the next changes the digest."""
    return len(content).to_bytes(8, "big") + content
