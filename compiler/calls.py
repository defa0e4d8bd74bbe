"""Calls: of tasks, of workflows (which are inlined) and of the built-in functions."""

from __future__ import annotations

from ..ir.diagnostics import Label
from ..ir.types import INT, NEVER, TEXT, ListOf, Option, Type, assignable, option
from . import ast
from .context import ERROR, Context, Typed
from .imports import import_hint
from .names import BUILTINS, Callee, TaskInfo, WorkflowInfo
from .pins import pin_attrs

# Of all workflows of a program. Inlining copies a workflow at every call; workflows that call each
# other twice over double in size at each step, and any number may call one that is large.
MAX_OPERATIONS = 20_000
MAX_DEPTH = 40  # nested expressions around a call, from the outermost caller on


def call(cx: Context, node: ast.Call, hint: str | None) -> Typed:
    """Emit a call; whatever is wrong with the callee, its arguments are checked."""
    name = node.callee
    args = tuple(cx.expression(arg) for arg in node.args)
    found = cx.file_names.callees(name.text)
    if len(found) == 1:
        callee = found[0]
        fits = _arguments(cx, node, args, callee)
        if isinstance(callee, WorkflowInfo):
            return _workflow(cx, node, args if fits else None, callee, hint)
        return _task(cx, node, args, callee, hint)
    pin_attrs(node.pins, cx.findings)
    if found:
        cx.findings.error(
            "ambiguous-name",
            f"two imported files declare `{name.text}`",
            name.span,
            *(Label(c.name.span, "one of them") for c in found),
            help="declare the task in this file: a file's own names come first",
        )
    elif name.text in BUILTINS:
        return _builtin(cx, node, args, hint)
    else:
        _unknown(cx, name)
    return ERROR


def _unknown(cx: Context, name: ast.Name) -> None:
    bound = cx.frame.find(name.text)
    if bound is not None:
        bound.used = True
        message = f"`{name.text}` is a value, and only tasks and workflows are called"
    elif cx.file_names.complete:
        message = f"no task or workflow named `{name.text}`"
    else:
        return  # it may stand in the file that could not be imported
    known = cx.file_names.known_callees()
    help = import_hint(name.text) or cx.findings.suggest(name.text, known)
    cx.findings.error("unknown-task", message, name.span, help=help)


def _arguments(cx: Context, node: ast.Call, args: tuple[Typed, ...], callee: Callee) -> bool:
    """Check the number and the types of arguments."""
    declared = Label(callee.name.span, f"`{callee.name.text}` is declared here")
    if len(callee.params) != len(node.args):
        _arity(cx, node, [p.name for p in callee.params], declared)
        return False
    fits = True
    for arg, typed, param in zip(node.args, args, callee.params, strict=True):
        label = Label(param.span, f"parameter `{param.name}` is declared here")
        fits &= cx.fits(typed, param.type, arg.span, f"parameter `{param.name}`", label)
    return fits


def _arity(cx: Context, node: ast.Call, params: list[str], *labels: Label) -> None:
    extra = node.args[len(params) :]
    span = extra[0].span.to(extra[-1].span) if extra else node.callee.span
    takes = f"{len(params)} argument" + ("" if len(params) == 1 else "s")
    missing = ", ".join(f"`{p}`" for p in params[len(node.args) :])
    cx.findings.error(
        "wrong-arity",
        f"`{node.callee.text}` takes {takes}, this call gives {len(node.args)}",
        span,
        *labels,
        help=f"missing: {missing}" if missing else None,
    )


def _task(
    cx: Context, node: ast.Call, args: tuple[Typed, ...], task: TaskInfo, hint: str | None
) -> Typed:
    if node.optional and task.decl.effect:
        cx.findings.error(
            "optional-effect",
            f"`{task.name.text}` changes the world: whether it runs is not the compiler's choice",
            node.span,
            Label(task.name.span, "declared `effect` here"),
            help="drop the `optional`",
        )
    symbol = cx.emission.symbols.symbol(task)
    cx.emission.called.add(symbol)
    attrs = pin_attrs(node.pins, cx.findings)
    span = node.callee.span.to(node.span)
    if node.optional:
        attrs["optional"] = True
    if node.pins:
        cx.emission.pin_spans[span] = {pin.name.text: pin.span for pin in reversed(node.pins)}
    kind = option(task.result) if node.optional else task.result
    return cx.emit(
        "call", args, kind, span, hint=hint, base=task.name.text, symbol=symbol, attrs=attrs
    )


def _workflow(
    cx: Context,
    node: ast.Call,
    args: tuple[Typed, ...] | None,
    workflow: WorkflowInfo,
    hint: str | None,
) -> Typed:
    _only_tasks(cx, node, "a workflow")
    if args is None:
        return Typed(ERROR.value, workflow.result)
    if workflow.name.span in cx.closed:
        cx.emission.blocked = True
        return Typed(ERROR.value, workflow.result)
    if cx.emission.count > MAX_OPERATIONS or cx.depth > MAX_DEPTH:
        cx.emission.overflow = True
        return ERROR
    return cx.inline(workflow, args, hint)


def _only_tasks(cx: Context, node: ast.Call, what: str) -> None:
    """Report `optional` and pins where there is no task for them to apply to."""
    if node.optional:
        cx.findings.error(
            "not-a-task",
            f"`optional` marks the call of a task, `{node.callee.text}` is {what}",
            node.span,
            help="mark the calls inside it" if what == "a workflow" else "drop the `optional`",
        )
    if node.pins:
        cx.findings.error(
            "not-a-task",
            f"pins apply to the call of a task, `{node.callee.text}` is {what}",
            node.pins[0].span.to(node.pins[-1].span),
            help="pin the calls inside it" if what == "a workflow" else "drop the pins",
        )


_BUILTIN_PARAMS = {"len": ["list"], "flatten": ["lists"], "join": ["texts", "separator"]}


def _builtin(cx: Context, node: ast.Call, args: tuple[Typed, ...], hint: str | None) -> Typed:
    name = node.callee.text
    _only_tasks(cx, node, "built in")
    if len(args) != len(_BUILTIN_PARAMS[name]):
        _arity(cx, node, _BUILTIN_PARAMS[name])
        return ERROR
    result = _builtin_type(cx, node, args)
    if result is None:
        return ERROR
    return cx.emit(name, args, result, node.callee.span.to(node.span), hint=hint)


def _builtin_type(cx: Context, node: ast.Call, args: tuple[Typed, ...]) -> Type | None:
    name, kind, span = node.callee.text, args[0].type, node.args[0].span
    if name == "join":
        fits = cx.fits(args[0], ListOf(TEXT), span, "`join`")
        return TEXT if cx.fits(args[1], TEXT, node.args[1].span, "`join`") and fits else None
    if kind == NEVER:
        return INT if name == "len" else ListOf(NEVER)
    if name == "len" and (isinstance(kind, ListOf) or assignable(kind, TEXT)):
        return INT
    if name == "flatten" and isinstance(kind, ListOf):
        if isinstance(kind.item, ListOf):
            return kind.item
        if kind.item == NEVER:
            return kind
    wanted = "a list or a text" if name == "len" else "a list of lists"
    if isinstance(kind, Option):
        cx.absent(kind, span, f"`{name}`")
    else:
        cx.findings.error(
            "type-mismatch", f"`{name}` wants {wanted}, this is `{cx.shown(kind)}`", span
        )
    return None
