"""The verbs of the command line for Python: `compile`, `run`, `arun`.

plan = murakkab.compile("video_qa.mkb", minimize="energy")
run = murakkab.run(plan, {"query": "Where is the red coat?", "video": Path("station.mp4")})
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compiler.driver import Request, compile_workflow
from .ir.types import Option
from .targets.library import load_named
from .targets.plan import Plan

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
) -> Plan:
    """Compile a workflow to a plan.

    `path_or_text` is a file (a `Path`, or a text that ends in `.mkb`) or the program itself.
    `workflow` picks one where the file holds several. `target` left out is `local`, `sim` where
    a `cluster` file is given, or else `vllm` where there are `endpoints`: addresses of
    OpenAI-compatible servers that already run, by executor. `library`, `profiles` and `catalog` are
    files added to the shipped ones. `level` is that of `-O`. `minimize` (`"energy then cost"`)
    comes before what the file minimises, `require` (`["accuracy >= 0.8"]`) is added to its
    requirements.

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


async def arun(
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    library: Sequence[File] = (),
    record: File | None = None,
) -> Run:
    """Run a plan without blocking the event loop.

    `inputs` has a value for each parameter, by name: media as a path (`str` or `Path`), the rest as
    Python values; a parameter of type `T?` may be left out. `library` names the user's own executor
    files the plan was compiled with. `record` is a file that the record is kept in, also when the
    run fails.

    Raises `InputError` where the plan cannot be run here, and `runtime.errors.RunError` where
    inputs do not fit or a step fails.
    """
    from .runtime.driver import run_plan
    from .runtime.simulated import simulate_plan

    values = _values(plan, inputs)
    kept = None if record is None else Path(record)
    if plan.target == "sim":
        done = await simulate_plan(plan, values, record=kept)
    else:
        executors = load_named(plan.executors(), tuple(map(Path, library)))
        done = await run_plan(plan, values, library=executors, record=kept)
    return Run(done.value, done.record.document)


def run(
    plan: Plan,
    inputs: Mapping[str, Any],
    *,
    library: Sequence[File] = (),
    record: File | None = None,
) -> Run:
    """Run a plan to its end: `arun` for programs that have no event loop of their own."""
    return asyncio.run(arun(plan, inputs, library=library, record=record))


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
