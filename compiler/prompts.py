"""Checks of prompts: their placeholders name parameters, and their parameters are used."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property

from ..ir.diagnostics import Label, Span
from ..ir.template import Placeholder, TemplateError, parse_template
from ..ir.types import NEVER, Base, ListOf, Option, Record, Type
from . import ast
from .findings import Findings
from .names import FileNames, TaskInfo


def check_prompts(task: TaskInfo, names: FileNames, findings: Findings, *, warn: bool) -> None:
    """Check the placeholders of a task's `system` and `prompt`; `warn` allows warnings.

    `names` are those of the file, for the way it calls types and the places of placeholders.
    """
    used: set[str] = set()
    for literal in (*task.decl.systems, *task.decl.prompts):
        used |= _Checking(task, literal, names, findings).run()
    # other executors than language models may want what the prompt leaves out
    if not warn or not task.decl.prompts or task.decl.usings:
        return
    for param in task.params:
        if param.name not in used:
            findings.warn(
                "unused-parameter",
                f"the prompt does not use parameter `{param.name}`",
                param.span,
                Label(task.decl.prompts[0].span, "the prompt"),
                help=f"a language model sees only the prompt: put `{{{param.name}}}` into it",
            )


class _Checking:
    def __init__(
        self, task: TaskInfo, literal: ast.Literal, names: FileNames, findings: Findings
    ) -> None:
        self.task = task
        self.literal = literal
        self.text = str(literal.value)
        self.names = names
        self.findings = findings

    def run(self) -> set[str]:
        """Check one text; return the parameters it uses (all of them where it is malformed)."""
        try:
            parts = parse_template(self.text)
        except TemplateError as error:
            self.findings.error(
                "bad-placeholder",
                str(error),
                self.place(error.offset, error.end),
                help=self.advice(error),
            )
            return {param.name for param in self.task.params}
        used: set[str] = set()
        for part in parts:
            if isinstance(part, Placeholder):
                self.placeholder(part)
                used.add(part.name)
        return used

    def place(self, start: int, end: int) -> Span:
        """Return where the part of the text from one brace to another stands in the source.

        `start` is the offset of a brace, `end` is just after one. Neither escapes nor the removal
        of indentation add or drop a brace: the n-th of the text is the n-th of the source.
        """
        at, places = self.braces
        line, column = places[bisect_left(at, start)]
        end_line, end_column = places[bisect_left(at, end) - 1]
        return Span(self.literal.span.file, line, column, end_line, end_column + 1)

    @cached_property
    def braces(self) -> tuple[Sequence[int], Sequence[tuple[int, int]]]:
        """The braces' offsets in the text, and where they stand in the source: line and column."""
        span = self.literal.span
        written = self.names.lines[span.line - 1 : span.end_line]
        places = [
            (span.line + row, column)
            for row, line in enumerate(written)
            for column, char in enumerate(line, start=1)
            if char in "{}"
            and (row > 0 or column >= span.column)
            and (row < len(written) - 1 or column < span.end_column)
        ]
        return [at for at, char in enumerate(self.text) if char in "{}"], places

    def advice(self, error: TemplateError) -> str:
        faulty = self.text[error.offset : error.end]
        if len(faulty) > 40 or "\n" in faulty:
            faulty = faulty[0]
        doubled = faulty.replace("{", "{{").replace("}", "}}")
        return f"a placeholder is `{{name}}` or `{{name.field}}`; literal braces are `{doubled}`"

    def placeholder(self, placeholder: Placeholder) -> None:
        known = {param.name: param.type for param in self.task.params}
        if placeholder.name not in known:
            self.findings.error(
                "unknown-placeholder",
                f"`{placeholder}` names no parameter of `{self.task.name.text}`",
                self.place(placeholder.start, placeholder.end),
                Label(self.task.name.span, "the task"),
                help=self.findings.suggest(placeholder.name, known)
                or f"write `{{{placeholder}}}` for literal braces",
            )
            return
        kind = known[placeholder.name]
        for name in placeholder.path[1:]:
            kind = self.field(placeholder, kind, name)

    def field(self, placeholder: Placeholder, kind: Type, name: str) -> Type:
        # the field of an absent record is absent, and an absent value is inserted as nothing
        inner = kind.item if isinstance(kind, Option) else kind
        if isinstance(inner, Record):
            found = inner.field(name)
            if found is not None:
                return found
            self.findings.error(
                "unknown-field",
                f"`{placeholder}`: no field `{name}` in `{self.names.shown(inner)}`",
                self.place(placeholder.start, placeholder.end),
                help=self.findings.suggest(name, dict(inner.fields)),
            )
        elif inner != NEVER:
            self.findings.error(
                "unknown-field",
                f"`{placeholder}`: `{self.names.shown(inner)}` has no fields",
                self.place(placeholder.start, placeholder.end),
                help="a list is inserted whole" if isinstance(inner, ListOf) else _opaque(inner),
            )
        return NEVER


def _opaque(kind: Type) -> str | None:
    return "`Json` is inserted whole" if kind == Base("Json") else None
