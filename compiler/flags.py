"""What the command line asks of a workflow: objectives and requirements beside the file's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..ir.diagnostics import CompileError, Diagnostic, InputError
from ..ir.workflow import MetricName, Module, Workflow
from .frontend import check_text


def with_flags(module: Module, minimize: str | None, require: Sequence[str]) -> Module:
    """Put what the command line asks before what the file says.

    Raises InputError where it is not what a clause of that word can say.
    """
    workflow = module.sole()
    goals: tuple[MetricName, ...] = workflow.goals
    if minimize is not None:
        asked = _clauses("minimize", minimize).goals
        goals = (*asked, *(goal for goal in goals if goal not in asked))
    more = tuple(need for text in require for need in _clauses("require", text).requirements)
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
