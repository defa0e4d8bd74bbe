"""Expectations: the facts they state, resolved to parameters, bindings and tasks."""

from __future__ import annotations

import math
from collections.abc import Set

from ..ir.diagnostics import Label, Span
from ..ir.ops import Symbol
from ..ir.types import NEVER, Base, Enum, ListOf, Option, Record, Type
from ..ir.workflow import Expectation
from . import ast
from .clauses import fraction
from .context import Binding, Symbols
from .findings import Findings
from .names import TaskInfo, WorkflowInfo
from .units import measured

# attribute -> the units it may have, the types that have it
_ATTRIBUTES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "duration": (("s",), ("Video", "Audio")),
    "pixels": (("",), ("Video", "Image")),
    "fps": (("frames/s", ""), ("Video",)),
    "bytes": (("bytes", ""), ("Video", "Audio", "Image", "File", "Text", "Json")),
    "tokens": (("tokens", ""), ("Text", "Json", "File")),
}


def expectations(
    workflow: WorkflowInfo,
    bound: list[tuple[str, Binding]],
    called: Set[Symbol],
    symbols: Symbols,
    findings: Findings,
) -> tuple[Expectation, ...]:
    """Return what a workflow expects, in base units, with the facts in canonical form.

    `bound` are the names its body binds, the parameters among them; `called` the symbols of the
    tasks it calls, those in inlined workflows included.
    """
    resolving = _Resolving(workflow, bound, called, symbols, findings)
    found: dict[str, Expectation] = {}
    for clause in workflow.decl.clauses:
        if not isinstance(clause, ast.Expect):
            continue
        fact = resolving.fact(clause)
        if fact is None:
            continue
        earlier = found.get(fact.fact)
        if earlier is not None and earlier.loc is not None:
            findings.error(
                "duplicate-expectation",
                f"`{_written(clause)}` is stated twice",
                clause.span,
                Label(earlier.loc, "the first time"),
            )
            continue
        found[fact.fact] = fact
    return tuple(found.values())


def _written(node: ast.Expect) -> str:
    path = ".".join(name.text for name in node.path)
    return f"{node.function}({path})" if node.function else path


class _Resolving:
    def __init__(
        self,
        workflow: WorkflowInfo,
        bound: list[tuple[str, Binding]],
        called: Set[Symbol],
        symbols: Symbols,
        findings: Findings,
    ) -> None:
        self.workflow = workflow
        self.bound = bound
        self.called = called
        self.symbols = symbols
        self.findings = findings

    def fact(self, node: ast.Expect) -> Expectation | None:
        if node.function == "len":
            return self.length(node)
        if node.function == "tokens":
            return self.output(node)
        if len(node.path) > 1:
            return self.attribute(node)
        name = node.path[0].text
        if name == "rate":
            return self.positive(node, self.stated(node, "rate", ("/s",)))
        if name == "accuracy":
            fact = self.stated(node, "accuracy", ("",))
            if fact is not None and fraction(node.value, fact.value, "`accuracy`", self.findings):
                return self.positive(node, fact)
            return None
        self.unknown(node.path[0])
        return None

    def unknown(self, name: ast.Name) -> None:
        self.findings.error(
            "unknown-fact",
            f"`{name.text}` is not something to expect",
            name.span,
            help=self.findings.suggest(name.text, ("rate", "accuracy"))
            or "`rate`, `accuracy`, `video.duration`, `len(scenes)` and `tokens(answer)` are",
        )

    def stated(self, node: ast.Expect, fact: str, units: tuple[str, ...]) -> Expectation | None:
        value = measured(node.value, units, f"`{_written(node)}`", self.findings)
        return None if math.isnan(value) else Expectation(fact, value, node.span)

    def positive(self, node: ast.Expect, fact: Expectation | None) -> Expectation | None:
        if fact is None or fact.value > 0:
            return fact
        self.findings.error("out-of-range", f"`{fact.fact}` is more than 0", node.value.span)
        return None

    def length(self, node: ast.Expect) -> Expectation | None:
        name = node.path[0]
        found = [binding for known, binding in self.bound if known == name.text]
        if not found:
            self.findings.error(
                "unknown-name",
                f"no binding named `{name.text}` in the workflow",
                name.span,
                help=self.findings.suggest(name.text, (known for known, _ in self.bound)),
            )
            return None
        if len(found) > 1:
            self.findings.error(
                "ambiguous-name",
                f"`{name.text}` is bound in several blocks",
                name.span,
                *(Label(binding.span, "one of them") for binding in found[:3]),
                help="give one of them another name",
            )
            return None
        typed = found[0].typed
        if typed.type == NEVER:
            return None  # an error said elsewhere
        inner = typed.type.item if isinstance(typed.type, Option) else typed.type
        if not isinstance(inner, ListOf):
            self.wrong(name.span, f"`{name.text}` is `{self.shown(typed.type)}`, not a list")
            return None
        return self.stated(node, f"len({typed.value.name})", ("",))

    def output(self, node: ast.Expect) -> Expectation | None:
        name = node.path[0]
        callees = self.workflow.names.callees(name.text)
        tasks = [callee for callee in callees if isinstance(callee, TaskInfo)]
        if len(tasks) == 1 and (symbol := self.called_symbol(tasks[0])) is not None:
            return self.stated(node, f"tokens({symbol})", ("tokens", ""))
        if tasks:
            message = f"task `{name.text}` is not called in the workflow"
            self.findings.error("uncalled-task", message, name.span)
            return None
        if callees:
            message = f"`{name.text}` is a workflow: name a task it calls"
            self.findings.error("unknown-task", message, name.span)
            return None
        self.findings.error(
            "unknown-task",
            f"no task named `{name.text}`",
            name.span,
            help=self.findings.suggest(name.text, self.workflow.names.known_tasks()),
        )
        return None

    def called_symbol(self, task: TaskInfo) -> Symbol | None:
        for symbol in sorted(self.called):
            if self.symbols.called[symbol] is task:
                return symbol
        return None

    def attribute(self, node: ast.Expect) -> Expectation | None:
        root, *middle, last = node.path
        params = {param.name: param.type for param in self.workflow.params}
        if root.text not in params:
            self.findings.error(
                "unknown-name",
                f"no parameter named `{root.text}`",
                root.span,
                Label(self.workflow.name.span, "the workflow"),
                help=self.findings.suggest(root.text, params),
            )
            return None
        kind = _item(params[root.text])
        for name in middle:
            kind = self.field(kind, name)
        if last.text not in _ATTRIBUTES:
            self.findings.error(
                "unknown-fact",
                f"no size is called `{last.text}`",
                last.span,
                help=self.findings.suggest(last.text, _ATTRIBUTES)
                or "the sizes are " + ", ".join(f"`{a}`" for a in _ATTRIBUTES),
            )
            return None
        units, types = _ATTRIBUTES[last.text]
        if kind == NEVER:
            return None  # an error said elsewhere
        if "Text" in types and isinstance(kind, Enum):
            kind = Base("Text")
        if not isinstance(kind, Base) or kind.name not in types:
            owners = ", ".join(f"`{t}`" for t in types)
            self.wrong(
                last.span, f"`{self.shown(kind)}` has no `{last.text}`", f"it is known of {owners}"
            )
            return None
        return self.stated(node, _written(node), units)

    def field(self, kind: Type, name: ast.Name) -> Type:
        found = kind.field(name.text) if isinstance(kind, Record) else None
        if found is None and kind != NEVER:
            known = dict(kind.fields) if isinstance(kind, Record) else {}
            self.findings.error(
                "unknown-field",
                f"no field `{name.text}` in `{self.shown(kind)}`",
                name.span,
                help=self.findings.suggest(name.text, known),
            )
        return NEVER if found is None else _item(found)

    def shown(self, kind: Type) -> str:
        return self.workflow.names.shown(kind)

    def wrong(self, span: Span, message: str, help: str | None = None) -> None:
        self.findings.error("fact-type", message, span, help=help)


def _item(kind: Type) -> Type:
    """Return what a fact about a list or an optional value is about: one that is there."""
    while isinstance(kind, ListOf | Option):
        kind = kind.item
    return kind
