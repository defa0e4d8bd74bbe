"""Checks of prompts: their placeholders name parameters, and their parameters are used."""

from __future__ import annotations

from ..ir.diagnostics import Label, Span
from ..ir.template import Placeholder, TemplateError, parse_template
from ..ir.types import NEVER, Base, ListOf, Option, Record, Type
from . import ast
from .findings import Findings
from .names import TaskInfo


def check_prompts(task: TaskInfo, findings: Findings, *, warn: bool) -> None:
    """Check the placeholders of a task's `system` and `prompt`; `warn` allows warnings."""
    used: set[str] = set()
    for literal in (*task.decl.systems, *task.decl.prompts):
        used |= _Checking(task, literal, findings).run()
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
    def __init__(self, task: TaskInfo, literal: ast.Literal, findings: Findings) -> None:
        self.task = task
        self.literal = literal
        self.text = str(literal.value)
        self.findings = findings

    def run(self) -> set[str]:
        """Check one text; return the parameters it uses (all of them where it is malformed)."""
        try:
            parts = parse_template(self.text)
        except TemplateError as error:
            self.findings.error(
                "bad-placeholder",
                str(error),
                self.literal.span,
                help=self.advice(error),
            )
            return {param.name for param in self.task.params}
        used: set[str] = set()
        for part in parts:
            if isinstance(part, Placeholder):
                self.placeholder(part)
                used.add(part.name)
        return used

    def advice(self, error: TemplateError) -> str:
        line = self.text.count("\n", 0, error.offset) + 1
        faulty = self.text[error.offset : error.end].split("\n", 1)[0][:40]
        where = f"`{faulty}` in line {line} of the text" if "\n" in self.text else f"`{faulty}`"
        doubled = faulty.replace("{", "{{").replace("}", "}}")
        return f"{where}: a placeholder is `{{name}}` or `{{name.field}}`; write `{doubled}` " + (
            "for literal braces"
        )

    def placeholder(self, placeholder: Placeholder) -> None:
        known = {param.name: param.type for param in self.task.params}
        span = self.literal.span
        if placeholder.name not in known:
            self.findings.error(
                "unknown-placeholder",
                f"`{placeholder}` names no parameter of `{self.task.name.text}`",
                span,
                Label(self.task.name.span, "the task"),
                help=self.findings.suggest(placeholder.name, known)
                or f"write `{{{placeholder}}}` for literal braces",
            )
            return
        kind = known[placeholder.name]
        for name in placeholder.path[1:]:
            kind = self.field(placeholder, kind, name, span)

    def field(self, placeholder: Placeholder, kind: Type, name: str, span: Span) -> Type:
        # the field of an absent record is absent, and an absent value is inserted as nothing
        inner = kind.item if isinstance(kind, Option) else kind
        if isinstance(inner, Record):
            found = inner.field(name)
            if found is not None:
                return found
            self.findings.error(
                "unknown-field",
                f"`{placeholder}`: no field `{name}` in `{inner}`",
                span,
                help=self.findings.suggest(name, dict(inner.fields)),
            )
        elif inner != NEVER:
            self.findings.error(
                "unknown-field",
                f"`{placeholder}`: `{inner}` has no fields",
                span,
                help="a list is inserted whole" if isinstance(inner, ListOf) else _opaque(inner),
            )
        return NEVER


def _opaque(kind: Type) -> str | None:
    return "`Json` is inserted whole" if kind == Base("Json") else None
