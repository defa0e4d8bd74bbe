"""The journal of `mkb run`: begun with a run, or taken up to go on with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ir.diagnostics import Diagnostic, InputError
from ..runtime.journal.memo import Memo, memo_of
from ..runtime.journal.naming import step_of
from ..runtime.values import ValueProblem, parse_input
from .output import Output
from .runs import journal_of

if TYPE_CHECKING:
    from ..ir.types import Type
    from ..runtime.journal.journal import Journal
    from ..targets.plan import Plan

_AGAIN = "again"


def begun(
    asked: Path | None,
    record: Path,
    plan: Plan,
    values: Mapping[str, Any],
    memo: Memo,
    output: Output,
) -> Journal | None:
    """Begin the journal that is `asked` for, or one beside the record, deleted when all is done.

    Where that cannot be written, the run has none, and that is said.
    """
    from ..runtime.journal.journal import begin

    text = memo.to_json(plan)
    if asked is not None:
        return begin(asked, plan, values, memo=text)
    try:
        return begin(record.with_name("run.db"), plan, values, memo=text)
    except InputError as error:
        output.aside(f"{error.diagnostics[0].message}; this run cannot be taken up again")
        return None


def taken_up(path: Path, settled: Sequence[str]) -> Journal:
    """Take up the journal of a run, or of the folder of one; `settled` are words on effects.

    Raises `InputError` where it cannot be, or the words do not fit.
    """
    from ..runtime.journal.journal import resume
    from ..runtime.program import compile_program

    journal = resume(journal_of(path))
    program = compile_program(journal.plan().module())
    kinds = {step.name: step.task.result for step in program.steps}
    try:
        for words in settled:
            _settle(journal, kinds, words)
    except InputError:
        journal.end()
        raise
    return journal


def _settle(journal: Journal, kinds: Mapping[str, Type], words: str) -> None:
    instance, equals, result = words.partition("=")
    if not equals or not result:
        hint = "write `--settle 'STEP=RESULT'` with its result, or `--settle STEP=again`"
        raise _usage(f"`--settle {words}` does not say of a step what became of it", hint)
    name = step_of(instance)
    kind = kinds.get(name)
    if kind is None:
        doubts = ", ".join(f"`{doubt}`" for doubt in journal.in_question()) or "none"
        raise _usage(f"`--settle {words}`: there is no step `{name}`", f"in question: {doubts}")
    again = result == _AGAIN
    try:
        value = None if again else parse_input(kind, result, Path())
    except ValueProblem as problem:
        raise _usage(f"`--settle {words}`: {problem}", None) from None
    journal.settle(instance, value, again=again)


def dispose(journal: Journal) -> None:
    """Delete the journal of a run whose result has been told, unless it is to be kept."""
    from ..runtime.journal.database import remove

    memo = memo_of(journal)
    if memo.disposable and memo.believed:
        remove(journal.path)


def refuse_other(journal: Journal, plan: Plan | None, values: Mapping[str, Any] | None) -> None:
    """Raise `InputError` where a plan or inputs that are given are not those of the journal."""
    import hashlib

    from ..runtime.journal.journal import inputs_digest

    wrong = None
    if plan is not None:
        sha256 = hashlib.sha256(plan.to_json().encode()).hexdigest()
        wrong = "plan" if sha256 != journal.header.plan_sha256 else None
    if wrong is None and values is not None:
        wrong = "inputs" if inputs_digest(values) != journal.header.inputs_sha256 else None
    if wrong is not None:
        message = f"journal `{journal.path}` is of a run with other {wrong}"
        hint = f"leave the {wrong} out: the journal has them" if wrong == "inputs" else None
        hint = hint or "leave the plan out: the journal has it"
        raise InputError(Diagnostic("other-run", message, help=hint))


def _usage(message: str, help: str | None) -> InputError:
    return InputError(Diagnostic("usage", message, help=help))
