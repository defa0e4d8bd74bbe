"""What a plan is bound to before it runs: values of its parameters, executors of a library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..ir.diagnostics import Diagnostic, InputError, did_you_mean
from ..ir.workflow import Workflow
from ..targets.library import Executor, Library
from ..targets.plan import Plan
from .errors import RunError
from .values import check_value


def bind_inputs(workflow: Workflow, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the parameters' values in their order; raises `RunError` naming what does not fit."""
    params = {param.name: param.type for param in workflow.params}
    known = ", ".join(f"`{name}`" for name in params) or "none"
    wrong = [
        f"the workflow has no parameter `{name}`: {did_you_mean(name, params) or f'it has {known}'}"
        for name in inputs
        if name not in params
    ]
    for name, kind in params.items():
        if name not in inputs:
            wrong.append(f"input `{name}` ({kind}) is missing")
            continue
        problem = check_value(kind, inputs[name])
        if problem is not None:
            wrong.append(f"input `{name}`: {problem}")
    if wrong:
        raise RunError("; ".join(wrong))
    return tuple(inputs[name] for name in params)


def plan_executors(
    plan: Plan, library: Library, *, resumed: bool = False, allow_changed: bool = False
) -> dict[str, Executor]:
    """Return the executors the plan was made with; a changed one would not do what it says.

    Their models are of the plan's revisions, which a lock may have made more exact. A run that is
    `resumed` may go on with executors that have changed, if that is what its user wants.
    """
    hint = "compile the workflow again"
    if resumed:
        hint = "`--allow-changed` goes on with it as it is now; what is completed stays as it is"
    digests = {engine.executor: engine.executor_digest for engine in plan.engines}
    revisions = _revisions(plan)
    found: dict[str, Executor] = {}
    problems: list[Diagnostic] = []
    for name in sorted(plan.executors()):
        executor = library.get(name)
        if executor is None:
            problems.append(
                Diagnostic(
                    "unknown-executor",
                    f"the plan runs `{name}`, which is not in the library",
                    help="pass the library file it was compiled with: `--library FILE`",
                )
            )
        elif not allow_changed and executor.digest != digests.get(name, executor.digest):
            problems.append(
                Diagnostic(
                    "changed-executor",
                    f"`{name}` has changed since the plan was compiled",
                    help=hint,
                )
            )
        else:
            found[name] = replace(executor, revision=revisions.get(name, executor.revision))
    if problems:
        raise InputError(problems)
    return found


def changed_executors(plan: Plan, executors: Mapping[str, Executor]) -> list[str]:
    """Return the names of executors that are not those the plan was made with."""
    digests = {engine.executor: engine.executor_digest for engine in plan.engines}
    return [n for n, e in executors.items() if e.digest != digests.get(n, e.digest)]


def _revisions(plan: Plan) -> dict[str, str]:
    """Return the revisions of executors' models; those that share an engine share its model."""
    of_engines = {e.name: e.revision for e in plan.engines if e.revision is not None}
    users = [(engine.executor, engine.name) for engine in plan.engines]
    users += [(executor, engine) for engine, executor in plan.users()]
    return {executor: of_engines[engine] for executor, engine in users if engine in of_engines}
