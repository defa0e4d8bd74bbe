"""The verbs of the command line for Python: `compile`, `run`, `resume`, and for event loops.

plan = murakkab.compile("video_qa.mkb", minimize="energy")
run = murakkab.run(plan, {"query": "Where is the red coat?", "video": Path("station.mp4")})
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from .compiler.driver import Request, compile_workflow
from .ir.diagnostics import Diagnostic, InputError
from .ir.types import Option
from .targets.failure_policy import failure_policy
from .targets.library import Library, load_named
from .targets.plan import Plan

if TYPE_CHECKING:
    from .runtime.journal.journal import Journal

File = str | Path


def compile(
    path_or_text: File,
    *,
    workflow: str | None = None,
    target: str | None = None,
    cluster: File | None = None,
    library: Sequence[File] = (),
    profiles: Sequence[File] = (),
    catalog: Sequence[File] = (),
    endpoints: Mapping[str, str] | None = None,
    level: int = 2,
    minimize: str | None = None,
    require: Sequence[str] = (),
    failover: bool = False,
    on_failure: Mapping[str, Any] | None = None,
) -> Plan:
    """Compile a workflow to a plan.

    `path_or_text` is a file (a `Path`, or a text that ends in `.mkb`) or the program itself.
    `workflow` picks one where the file holds several. `target` left out is `local`, `sim` where
    a `cluster` file is given, or else `vllm` where there are `endpoints`: addresses of
    OpenAI-compatible servers that already run, by executor. `library`, `profiles` and `catalog` are
    files added to the shipped ones. `level` is that of `-O`. `minimize` (`"energy then cost"`)
    comes before what the file minimises, `require` (`["accuracy >= 0.8"]`) is added to its
    requirements. `failover` plans substitutes for steps on servers that may stay away; `on_failure`
    changes fields of the plan's failure policy: `{"attempts": 5, "hedge_after": None}`.

    Raises `CompileError` where the program is wrong or cannot be met, and `InputError` where a file
    or an argument cannot be used; both carry their `diagnostics`.
    """
    is_file = isinstance(path_or_text, Path) or path_or_text.rstrip().endswith(".mkb")
    request = Request(
        source=Path(path_or_text) if is_file else str(path_or_text),
        workflow=workflow,
        target=target,
        cluster=None if cluster is None else Path(cluster),
        libraries=tuple(map(Path, library)),
        profiles=tuple(map(Path, profiles)),
        catalogs=tuple(map(Path, catalog)),
        level=level,
        minimize=minimize,
        require=tuple(require),
        endpoints=tuple((endpoints or {}).items()),
        failover=failover,
        failure=failure_policy(on_failure or {}),
    )
    return compile_workflow(request).plan


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: the workflow's result, and the record of what happened.

    The result holds Python values (`str`, `int`, `float`, `bool`, `list`, `dict`, `None`,
    `runtime.media.Media`); the record is the document of schema `murakkab/run/1`.
    """

    result: Any
    record: Mapping[str, Any]


class RunOptions(TypedDict, total=False):
    """How `run`, `arun`, `resume` and `aresume` go about it; all may be left out.

    `record` is a file that the record is kept in, also when the run fails. `cache` is a folder of
    results for other runs to take, and to take from. With `keep_going`, items of a `for` or `where`
    that fail are left out of its list; they are in the record. `max_usd`, `max_joules` and
    `deadline_s` end the run, with `RunError`, before it uses up more.
    """

    record: File | None
    cache: File | None
    keep_going: bool
    max_usd: float | None
    max_joules: float | None
    deadline_s: float | None


async def arun(
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    library: Sequence[File] = (),
    journal: File | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Run a plan without blocking the event loop.

    `inputs` has a value for each parameter, by name: media as a path (`str` or `Path`), the rest as
    Python values; a parameter of type `T?` may be left out. `library` names the user's own executor
    files the plan was compiled with. `journal` is a new file that keeps every completed call:
    `resume` goes on with it after a failure or a crash.

    Raises `InputError` where the plan cannot be run here or the journal cannot be written, and
    `runtime.errors.RunError` where inputs do not fit or a step fails.
    """
    values = _values(plan, inputs)
    if plan.target == "sim":
        _refuse_kept_results(journal=journal, cache=options.get("cache"))
        return await _carried_out(plan, values, None, None, **options)
    executors = load_named(plan.executors(), tuple(map(Path, library)))
    if journal is None:
        return await _carried_out(plan, values, executors, None, **options)
    from .runtime.binding import bind_inputs
    from .runtime.journal.journal import begin
    from .runtime.journal.memo import Memo

    bind_inputs(plan.module().sole(), values)  # what cannot begin need not be gone on with
    memo = Memo(tuple(str(Path(file).absolute()) for file in library))
    begun = begin(Path(journal), plan, values, memo=memo.to_json(plan))
    return await _carried_out(plan, values, executors, begun, **options)


async def aresume(
    journal: File,
    *,
    library: Sequence[File] | None = None,
    allow_changed: bool = False,
    **options: Unpack[RunOptions],
) -> Run:
    """Go on with the run of a journal, which has its plan, its inputs and what was completed.

    One that is done gives its result again. `library` left out is what the run was begun with.
    With `allow_changed` executors may have changed since: what they completed stays as it is.
    `RunError.journal` names the file after a failure.

    Raises what `arun` does, and `InputError` where the journal is damaged, or another process is
    writing it.
    """
    from .runtime.journal.journal import resume
    from .runtime.journal.memo import memo_of, refuse_unbelieved

    taken_up = resume(Path(journal))
    try:
        plan, values = taken_up.plan(), taken_up.inputs()
        memo = memo_of(taken_up)
        refuse_unbelieved(taken_up, memo, library=library is not None, endpoint=True, results=True)
        files = memo.libraries if library is None else library
        executors = load_named(plan.executors(), tuple(map(Path, files)))
    except InputError:
        taken_up.end()
        raise
    return await _carried_out(
        plan, values, executors, taken_up, allow_changed=allow_changed, **options
    )


def run(
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    library: Sequence[File] = (),
    journal: File | None = None,
    **options: Unpack[RunOptions],
) -> Run:
    """Run a plan to its end: `arun` for programs that have no event loop of their own."""
    return asyncio.run(arun(plan, inputs, library=library, journal=journal, **options))


def resume(
    journal: File,
    *,
    library: Sequence[File] | None = None,
    allow_changed: bool = False,
    **options: Unpack[RunOptions],
) -> Run:
    """Go on with a run to its end: `aresume` for programs without an event loop of their own."""
    running = aresume(journal, library=library, allow_changed=allow_changed, **options)
    return asyncio.run(running)


async def _carried_out(
    plan: Plan,
    values: Mapping[str, Any],
    library: Library | None,
    journal: Journal | None,
    *,
    allow_changed: bool = False,
    record: File | None = None,
    cache: File | None = None,
    keep_going: bool = False,
    max_usd: float | None = None,
    max_joules: float | None = None,
    deadline_s: float | None = None,
) -> Run:
    """Run a plan with an executor library; a simulation needs none, and nothing fails in it."""
    from .runtime.spending import Bounds

    kept = None if record is None else Path(record)
    bounds = Bounds(max_usd, max_joules, deadline_s)
    if library is None:
        from .runtime.simulated import simulate_plan

        done = await simulate_plan(plan, values, record=kept, bounds=bounds)
    else:
        from .runtime.cache.recalling import Cache
        from .runtime.driver import run_plan

        done = await run_plan(
            plan,
            values,
            library=library,
            record=kept,
            journal=journal,
            bounds=bounds,
            keep_going=keep_going,
            allow_changed=allow_changed,
            cache=None if cache is None else Cache(Path(cache)),
        )
    return Run(done.value, done.record.document)


def _refuse_kept_results(**kept: File | None) -> None:
    for name, file in kept.items():
        if file is not None:
            message = f"a simulation has no use for a {name}: its values are made up"
            raise InputError(Diagnostic("usage", message))


def _values(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Read inputs by the declared types; what is no parameter is left for the runtime to refuse."""
    from .runtime.errors import RunError
    from .runtime.values import ValueProblem, check_value, from_json

    values = dict(inputs)
    for param in plan.module().sole().params:
        if param.name not in values:
            if isinstance(param.type, Option):
                values[param.name] = None
            continue
        value = values[param.name]
        if check_value(param.type, value) is None:
            continue
        try:
            values[param.name] = from_json(param.type, _plain(value), Path())
        except ValueProblem as problem:
            raise RunError(f"input `{param.name}`: {problem}") from None
    return values


def _plain(value: Any) -> Any:
    """Return a value with paths as text, the form in which JSON names media."""
    match value:
        case Path():
            return str(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
    return value
