"""Elaboration: one visit of a workflow that checks its types and emits its flow IR."""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.diagnostics import Label, Span
from ..ir.ops import Op, Region, Value
from ..ir.workflow import Workflow
from . import ast, calls, control, operators
from .clauses import goals, requirements
from .context import ERROR, Binding, Context, Emission, Symbols, Typed, ValueNames
from .expectations import expectations
from .findings import Findings
from .names import FileNames, WorkflowInfo
from .traverse import bound_names
from .traverse import calls as calls_below


class Elaborator(Context):
    """Elaborates one body: what each form of expression becomes stands in the modules by topic."""

    def expression(self, node: ast.Expr, hint: str | None = None) -> Typed:
        """Check an expression and emit its operations; its value is called `hint` if possible."""
        while isinstance(node, ast.Paren):
            node = node.inner
        self.depth += 1
        try:
            return self._expression(node, hint)
        finally:
            self.depth -= 1

    def _expression(self, node: ast.Expr, hint: str | None) -> Typed:
        match node:
            case ast.Ref():
                return self._reference(node)
            case ast.Call():
                return calls.call(self, node, hint)
            case ast.Literal():
                return operators.literal(self, node, hint)
            case ast.Field():
                return operators.field(self, node, hint)
            case ast.Binary():
                return operators.binary(self, node, hint)
            case ast.Unary():
                return operators.unary(self, node, hint)
            case ast.RecordExpr():
                return operators.record(self, node, hint)
            case ast.ListExpr():
                return operators.list_of(self, node, hint)
            case ast.For():
                return control.for_(self, node, hint)
            case ast.Repeat():
                return control.repeat(self, node, hint)
            case ast.If():
                return control.if_(self, node, hint)
            case ast.Paren(inner):
                return self._expression(inner, hint)

    def _reference(self, node: ast.Ref) -> Typed:
        binding = self.frame.find(node.name)
        if binding is not None:
            binding.used = True
            return binding.typed
        callees = self.file_names.callees(node.name)
        if callees:
            self.findings.error(
                "unknown-name",
                f"`{node.name}` is not a value",
                node.span,
                Label(callees[0].name.span, "declared here"),
                help=f"call it: `{node.name}(…)`",
            )
        else:
            self.findings.error(
                "unknown-name",
                f"no binding named `{node.name}` is in scope",
                node.span,
                help=self.findings.suggest(node.name, self.frame.visible()),
            )
        return ERROR

    def inline(self, workflow: WorkflowInfo, args: tuple[Typed, ...], hint: str | None) -> Typed:
        """Emit the body of another workflow, without its clauses, in place of a call of it.

        Its parameters have their declared types whatever the arguments are, so that its body means
        the same at every call; what is wrong with it is said where it is declared.
        """
        inner = Elaborator(workflow.names, Findings(), self.emission, self.closed, self.depth)
        for param, arg in zip(workflow.params, args, strict=True):
            typed = Typed(arg.value, param.type)
            inner.frame.names[param.name] = Binding(typed, param.span, "parameter")
        tail = control.statements(inner, workflow.decl.body, "return", hint)
        return Typed(tail.value.value, workflow.result)


def elaborate(
    workflow: WorkflowInfo,
    symbols: Symbols,
    closed: set[Span],
    findings: Findings,
    pin_spans: dict[Span, dict[str, Span]],
    before: int,
) -> Workflow:
    """Check a workflow and return its flow IR, of use only if no error was found.

    `closed` are the workflows, by the spans of their names, that cannot be inlined: those that call
    themselves, those found too large, this one from now on if it is or calls one of them. Where
    pins stand is entered into `pin_spans`, by call and pin. `before` are the operations of the
    workflows that were elaborated so far.
    """
    decl = workflow.decl
    names = ValueNames(frozenset(name.text for name in bound_names(decl.body)))
    emission = Emission(names, symbols, [[]], pin_spans=pin_spans, count=before)
    elaborator = Elaborator(workflow.names, findings, emission, closed)
    params = tuple(Value(names.fresh(p.name), p.type) for p in workflow.params)
    for param, value in zip(workflow.params, params, strict=True):
        name = ast.Name(param.name, param.span)
        elaborator.define(name, Typed(value, value.type), "parameter")
    tail = control.statements(elaborator, decl.body, "return")
    elaborator.unused(elaborator.frame)
    elaborator.fits(
        tail.value,
        workflow.result,
        tail.span,
        "the result",
        Label(decl.name.span, "of this workflow"),
    )
    if emission.overflow or emission.blocked:
        closed.add(decl.name.span)
    if emission.overflow:
        findings.error(
            "workflow-too-large",
            f"with all that `{decl.name.text}` calls, the program has more than "
            f"{calls.MAX_OPERATIONS} operations, or it nests more than {calls.MAX_DEPTH} deep",
            decl.name.span,
            help="a called workflow is copied into its caller at every call",
        )
    end = Op("return", (tail.value.value,), locs=(tail.span,))
    facts = expectations(workflow, elaborator.bound, emission.called, symbols, findings)
    return Workflow(
        name=decl.name.text,
        params=params,
        result=workflow.result,
        body=Region((), (*emission.regions[0], end)),
        description=str(decl.description.value) if decl.description is not None else "",
        goals=goals(decl.clauses, findings),
        requirements=requirements(decl.clauses, workflow.names.lines, findings),
        expectations=facts,
        loc=decl.name.span,
    )


def call_order(
    names: FileNames, findings: Findings
) -> tuple[tuple[WorkflowInfo, ...], frozenset[Span]]:
    """Return a file's workflows, called ones before their callers, and those on cycles of calls.

    Each cycle is reported once. Cycles are within a file: files do not import each other. The
    search is iterative, so that a long chain of workflows costs no call stack.
    """
    order: dict[Span, WorkflowInfo] = {}
    on_cycle: set[Span] = set()
    for start in names.workflows():
        # being visited, in the order of calls, with the calls still to follow
        path = {} if start.name.span in order else {start.name.span: (start, _edges(start))}
        while path:
            caller, calls_left = path[next(reversed(path))]
            call, callee = next(calls_left, (None, caller))
            if call is None:
                order[caller.name.span] = caller
                del path[caller.name.span]
            elif callee.name.span in path:
                active = [w for w, _ in path.values()]
                cycle = active[list(path).index(callee.name.span) :]
                _report_cycle(call, cycle, findings)
                on_cycle.update(w.name.span for w in cycle)
            elif callee.name.span not in order:
                path[callee.name.span] = (callee, _edges(callee))
    return tuple(order.values()), frozenset(on_cycle)


def _edges(workflow: WorkflowInfo) -> Iterator[tuple[ast.Call, WorkflowInfo]]:
    """Yield the calls of workflows of the same file, in source order."""
    for call in calls_below(workflow.decl.body):
        callee = workflow.names.own_callees.get(call.callee.text)
        if isinstance(callee, WorkflowInfo):
            yield call, callee


def _report_cycle(call: ast.Call, cycle: list[WorkflowInfo], findings: Findings) -> None:
    chain = " -> ".join(f"`{w.name.text}`" for w in [*cycle, cycle[0]])
    findings.error(
        "recursive-workflow",
        f"a workflow cannot call itself: {chain}",
        call.callee.span,
        Label(cycle[0].name.span, f"`{cycle[0].name.text}` is declared here"),
        help="use `repeat up to N` for work that is done again",
    )
