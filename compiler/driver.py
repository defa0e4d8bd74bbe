"""The driver: strings parse, check, passes and lowering together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..ir.diagnostics import CompileError, Diagnostic, InputError
from ..ir.remarks import Remarks
from ..ir.workflow import Module
from ..passes.alternatives import alternatives
from ..passes.base import Context, Observer, Pass
from ..passes.bind import Bind
from ..passes.choose import Choose
from ..passes.formulate import Formulation
from ..passes.job.problem import Placement
from ..passes.measured import faults
from ..passes.pipeline import LEVELS, parse_pipeline, print_pipeline, run_pipeline
from ..passes.place import Place
from ..passes.substitute import Substitute
from ..targets.attach import attach, with_contexts, with_endpoints
from ..targets.catalog import load_catalog
from ..targets.cluster import load_cluster
from ..targets.costmodel import ProfileCostModel
from ..targets.detect import detect_host
from ..targets.failure_policy import USUAL, FailurePolicy
from ..targets.library import availability, load_library
from ..targets.lock_file import Lock, load_lock, lock_path, pinned, stale
from ..targets.lower import lower, prediction, tables
from ..targets.plan import Alternative, Plan
from ..targets.profiles import load_profiles
from ..targets.registry import target_named
from ..targets.target import Target
from ..targets.workflow_profiles import load_workflow_profiles
from .baseline import Reference
from .entries import clashing_knobs, misspelt_interfaces
from .flags import with_flags
from .frontend import Checked, check_file, check_text, select, standard_interfaces
from .pin_places import with_places
from .program import outdated


@dataclass(frozen=True, slots=True)
class Request:
    """What to compile, for what, and how; the fields are the flags of `mkb compile`.

    `source` is a file, or the program itself as text. `target` left out is `local`, `sim` where
    a cluster is described, or else `vllm` where there are endpoints. `minimize` comes before,
    `require` in addition to, what the file says. `passes` overrides the pipeline of `level`.
    `failover` gives steps substitutes, `failure` says what a run does about calls that fail.
    `effort` is the solver's deterministic time. `endpoints` are
    addresses at which executors run already, by executor; they come before the cluster's. `locked`
    has the lock beside a source file say which commits of models are meant.
    """

    source: Path | str
    workflow: str | None = None
    target: str | None = None
    cluster: Path | None = None
    libraries: tuple[Path, ...] = ()
    profiles: tuple[Path, ...] = ()
    catalogs: tuple[Path, ...] = ()
    level: int = 2
    sequential: bool = False
    failover: bool = False
    failure: FailurePolicy = USUAL
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


@dataclass(frozen=True, slots=True)
class Begun:
    """A compilation up to its passes: what all plans of one request have in common.

    `passes` end in a placement; `misspelt` warns of library entries that no task can use.
    """

    target: Target
    context: Context
    checked: Checked
    flow: Module
    passes: tuple[Pass, ...]
    misspelt: tuple[Diagnostic, ...]
    failure: FailurePolicy

    def through(
        self, passes: Sequence[Pass], context: Context, observe: Observer | None = None
    ) -> Module:
        """Return the program after passes, from the first on."""
        module = with_places(self.flow, self.checked.pin_spans, passes)
        try:
            return run_pipeline(module, passes, context, observe)
        except CompileError as error:
            raise self.explained(error) from None

    def explained(self, error: CompileError) -> CompileError:
        """Return an error with the entries that a task that nothing carries out may lack."""
        return CompileError([*error.diagnostics, *self.misspelt])

    def reference(self) -> tuple[Reference | None, tuple[str, ...]]:
        """Return `-O0` of the same program, or why there is none."""
        passes = parse_pipeline(LEVELS[0])
        if any(isinstance(step, Place) and step.failover for step in self.passes):
            passes = _with_substitutes(passes)
        module = with_places(self.flow, self.checked.pin_spans, passes)
        try:
            placed = run_pipeline(module, passes, self.context)
        except CompileError as error:
            return None, (f"no -O0 to compare with: {error.diagnostics[0].message}",)
        return Reference(placed, prediction(placed)), ()

    def plan(
        self,
        placed: Module,
        others: Mapping[str, tuple[Alternative, ...]],
        reference: Reference | None,
        notes: Sequence[str],
    ) -> Plan:
        """Return the plan of a placed module; `others` are the alternatives by step."""
        return lower(
            placed,
            self.target,
            self.context.cluster,
            flow=self.flow,
            pipeline=print_pipeline(self.passes),
            baseline=None if reference is None else reference.predicted,
            alternatives=others,
            digests=digests(self.checked.sources, self.context),
            notes=(*_notes(placed, self.context), *notes),
            failure=self.failure,
        )

    def warnings(self, request: Request, plans: Sequence[Plan]) -> tuple[Diagnostic, ...]:
        """Return what is worth knowing of the program and what went into its plans."""
        stale = (x for plan in plans for x in _stale_lock(request, plan, self.context))
        old = outdated(self.flow, self.context.measured)
        return (*self.checked.warnings, *self.misspelt, *dict.fromkeys(stale), *old)


STAGES = ("flow", "logical", "fused", "placed")


def begin(request: Request, sources: dict[str, str]) -> Begun:
    """Read everything that a request names and check the program.

    `sources` receives the texts of the files read, also when the program is wrong.
    """
    passes = complete(_pipeline(request))
    target, context = environment(request)
    checked = _checked(request, sources)
    flow = _flow(checked, request)
    _refuse_other_profiles(flow, context)
    misspelt = misspelt_interfaces(context.library, context.interfaces, checked.module.tasks)
    return Begun(target, context, checked, flow, passes, tuple(misspelt), request.failure)


def compile_workflow(
    request: Request,
    observe: Observer | None = None,
    sources: dict[str, str] | None = None,
) -> Compiled:
    """Compile to a plan; CompileError for the author's faults, InputError for unusable inputs.

    `sources` receives the texts of the files read, also when the program is wrong.
    """
    begun = begin(request, {} if sources is None else sources)
    decisions: list[tuple[Formulation, Placement]] = []
    remarks = Remarks()
    listening = replace(
        begun.context, decided=lambda *decision: decisions.append(decision), remarked=remarks
    )
    placed = begun.through(begun.passes, listening, observe)
    others: Mapping[str, tuple[Alternative, ...]] = {}
    service = None
    if decisions:
        formulation, placement = decisions[-1]
        others = alternatives(formulation, placement.modes)
        service = formulation.service
    reference, notes = begun.reference()
    free = request.passes is None and not request.sequential  # else it is what was asked for
    if free and reference is not None and reference.may_replace(placed, begun.flow.sole()):
        placed, others, service, remarks = reference.placed, {}, None, Remarks()
        notes = (*notes, "the reference configuration is the best found, so the plan is -O0's")
    elif reference is not None:
        notes = (*notes, *_fewer_calls(reference.placed, placed))
    plan = begun.plan(placed, others, reference, notes)
    plan = replace(plan, service=service, remarks=remarks.all())
    warnings = begun.warnings(request, [plan])
    return Compiled(begun.flow, placed, plan, begun.context, warnings, begun.checked.sources)


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
    flow = _flow(checked, request)
    if emit == "flow":
        return flow
    _, context = environment(request)
    _refuse_other_profiles(flow, context)
    if emit == "logical":
        passes = (Bind(),)
    elif emit == "fused":
        passes = complete(passes)
        priced = next(
            i for i, step in enumerate(passes) if isinstance(step, (Choose, Substitute, Place))
        )
        passes = passes[:priced]
    else:
        passes = complete(passes)
    return run_pipeline(with_places(flow, checked.pin_spans, passes), passes, context, observe)


def _flow(checked: Checked, request: Request) -> Module:
    """Return the workflow that is asked for, with what the command line asks of it."""
    return with_flags(select(checked, request.workflow), request.minimize, request.require)


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
    catalog = load_catalog(request.catalogs)
    hardware = request.cluster
    cluster = detect_host() if hardware is None else load_cluster(hardware, request.catalogs)
    cluster = with_endpoints(cluster, request.endpoints)
    library = with_contexts(load_library(request.libraries), catalog)
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
        costs=ProfileCostModel(load_profiles(request.profiles), catalog),
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
    if request.sequential:
        passes = _with(passes, Place, policy="sequential")
    return _with_substitutes(passes) if request.failover else passes


def _with_substitutes(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    """Have a placement name substitutes: what no plan needs must be there to choose from."""
    return _with(_with(passes, Substitute, prune=False), Place, failover=True)


def _with(passes: tuple[Pass, ...], kind: type[Pass], **options: Any) -> tuple[Pass, ...]:
    return tuple(replace(p, **options) if isinstance(p, kind) else p for p in passes)


def _checked(request: Request, sources: dict[str, str]) -> Checked:
    if isinstance(request.source, Path):
        return check_file(request.source, sources)
    return check_text(request.source, sources=sources)


def _notes(placed: Module, context: Context) -> list[str]:
    notes = [
        f"`{key.removeprefix('note.bind.')}`: {value}"
        for key, value in placed.attrs
        if key.startswith("note.bind.")
    ]
    rewritten = ("note.choose.", "note.fuse.")
    notes += [str(value) for key, value in placed.attrs if key.startswith(rewritten)]
    accuracy = dict(placed.attrs).get("note.accuracy")
    notes += [] if accuracy is None else [str(accuracy)]
    return notes + [note.message for note in context.library.notes]


def _fewer_calls(written: Module, placed: Module) -> list[str]:
    """Return a note of the calls that a run makes less often than as it is written."""
    before, after = (
        sum(step.calls for step in tables(module).steps if step.executor is not None)
        for module in (written, placed)
    )
    if round(after) >= round(before):
        return []
    return [f"a run makes {after:.0f} calls; as it is written it would make {before:.0f}"]


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
