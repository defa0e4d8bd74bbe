"""`for`, `repeat` and `if`, and the blocks they hold."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.diagnostics import Label, Span
from ..ir.ops import Region
from ..ir.types import BOOL, NEVER, ListOf, Option, Type, join
from . import ast
from .context import ERROR, Binding, Context, Typed

# How often the types of carried names may widen: deeper joins than this come from a type that
# grows with every iteration.
_MAX_WIDENINGS = 16


@dataclass(frozen=True, slots=True)
class Tail:
    """What a block ends in: its value, perhaps a stop condition, and where the value stands."""

    value: Typed
    span: Span
    until: Typed | None = None


def statements(
    cx: Context, block: ast.Block, ending: str, hint: str | None = None, *, until: bool = False
) -> Tail:
    """Elaborate the statements of a block that ends in `yield` or `return` (the `ending`).

    Its value is called `hint` if possible; `until` allows a stop condition.
    """
    tail: Tail | None = None
    ended: Span | None = None
    for statement in block.statements:
        if ended is not None:
            cx.findings.error(
                "statement-after-end",
                f"a block ends with its `{ending}`",
                statement.span,
                Label(ended, "the block ends here"),
            )
            ended = None  # said once
        match statement:
            case ast.Bind():
                bind(cx, statement)
            case ast.CallStatement(call):
                cx.expression(call)
            case ast.Yield() | ast.Return():
                tail = _tail(cx, statement, ending, hint, until=until)
                ended = statement.span
    if tail is not None:
        return tail
    end = block.span
    brace = Span(end.file, end.end_line, max(end.end_column - 1, 1), end.end_line, end.end_column)
    what = "a workflow body" if ending == "return" else "this block"
    cx.findings.error(
        f"missing-{ending}",
        f"{what} must end in `{ending}`",
        brace,
        help=f"the value after `{ending}` is the result",
    )
    return Tail(ERROR, brace)


def _tail(
    cx: Context, statement: ast.Yield | ast.Return, ending: str, hint: str | None, *, until: bool
) -> Tail:
    value = cx.expression(statement.value, hint)
    condition: Typed | None = None
    written = "return" if isinstance(statement, ast.Return) else "yield"
    if written != ending:
        where = (
            "a workflow body ends in `return`"
            if ending == "return"
            else ("a block inside a workflow ends in `yield`")
        )
        cx.findings.error(
            f"misplaced-{written}",
            f"{where}, not in `{written}`",
            statement.span,
            help=f"write `{ending}`",
        )
    if isinstance(statement, ast.Yield) and statement.until is not None:
        condition = cx.expression(statement.until)
        cx.fits(condition, BOOL, statement.until.span, "`until`")
        if not until and written == ending:
            cx.findings.error(
                "misplaced-until",
                "`until` belongs to `repeat`",
                statement.until.span,
                help="use `where` to leave out items of a `for`",
            )
    return Tail(value, statement.value.span, condition)


def bind(cx: Context, statement: ast.Bind) -> None:
    """Elaborate `name = expression`; a carried name is rebound, any other is bound once."""
    name = statement.name
    typed = cx.expression(statement.value, name.text)
    known = cx.frame.names.get(name.text)
    if known is None:
        cx.define(name, typed, "binding")
        return
    if known.kind == "carried" and known.rebound is None:
        known.rebound = name.span
        known.typed = typed
        return
    first = known.rebound or known.span
    kinds = {"parameter": "a parameter", "item": "the item of the `for`"}
    help = (
        "a carried name is rebound at most once an iteration"
        if known.kind == "carried"
        else "choose another name, or carry it through a `repeat up to … with`"
    )
    cx.findings.error(
        "rebound-name",
        f"`{name.text}` is {kinds.get(known.kind, 'bound')} already",
        name.span,
        Label(first, "bound here"),
        help=help,
    )


def for_(cx: Context, node: ast.For, hint: str | None) -> Typed:
    """Emit `map`, after a `filter` where there is a `where`."""
    source = cx.expression(node.source)
    item = _item_type(cx, node, source)
    if source.value.type == NEVER:
        # the item of an empty list, as a list: `flatten` is the operation that says so
        source = Typed(
            cx.emit("flatten", (source,), ListOf(NEVER), node.source.span).value, source.type
        )
    kind = source.value.type
    arg = cx.argument(node.item.text, kind.item if isinstance(kind, ListOf) else NEVER)
    if node.where is not None:
        source = _filter(cx, node, source, item, node.where)
    with cx.block() as ops:
        cx.define(node.item, Typed(arg, item), "item")
        tail = statements(cx, node.body, "yield")
    region = cx.region((arg,), ops, tail.value, span=tail.span)
    return cx.emit(
        "map", (source,), ListOf(tail.value.type), node.span, hint=hint, regions=(region,)
    )


def _item_type(cx: Context, node: ast.For, source: Typed) -> Type:
    kind = source.type
    if isinstance(kind, ListOf):
        return kind.item
    if isinstance(kind, Option) and isinstance(kind.item, ListOf):
        cx.absent(kind, node.source.span, "`for`")
    elif kind != NEVER:
        cx.findings.error(
            "type-mismatch", f"`for` wants a list, this is `{cx.shown(kind)}`", node.source.span
        )
    return NEVER


def _filter(cx: Context, node: ast.For, source: Typed, item: Type, where: ast.Expr) -> Typed:
    kind = source.value.type
    arg = cx.argument(node.item.text, kind.item if isinstance(kind, ListOf) else NEVER)
    with cx.block() as ops:
        cx.frame.names[node.item.text] = Binding(Typed(arg, item), node.item.span, "item")
        keep = cx.expression(where)
    cx.fits(keep, BOOL, where.span, "`where`")
    if cx.known(keep) is False:
        cx.findings.warn(
            "unsatisfiable-where",
            "this condition never holds: the `for` has no items",
            where.span,
        )
    region = cx.region((arg,), ops, keep, span=where.span)
    filtered = cx.emit(
        "filter", (source,), kind, node.source.span.to(where.span), regions=(region,)
    )
    return Typed(filtered.value, source.type)


def if_(cx: Context, node: ast.If, hint: str | None) -> Typed:
    """Emit `if`; an `else if` is an `if` inside the second region."""
    condition = cx.expression(node.condition)
    cx.fits(condition, BOOL, node.condition.span, "the condition")
    known = cx.known(condition)
    if isinstance(known, bool):
        dead = node.orelse if known else node.then
        cx.findings.warn(
            "unreachable-branch",
            f"this branch never runs: the condition is always {str(known).lower()}",
            dead.span,
            Label(node.condition.span, f"always {str(known).lower()}"),
        )
    with cx.block() as ops:
        then = statements(cx, node.then, "yield")
    first = cx.region((), ops, then.value, span=then.span)
    with cx.block() as ops:
        if isinstance(node.orelse, ast.If):
            orelse = Tail(cx.expression(node.orelse), node.orelse.span)
        else:
            orelse = statements(cx, node.orelse, "yield")
    second = cx.region((), ops, orelse.value, span=orelse.span)
    kind = cx.common(then.value.type, orelse.value.type)
    if kind is None:
        cx.findings.error(
            "mixed-types",
            "the branches of an `if` have one type: "
            f"this is `{cx.shown(orelse.value.type)}`, the other `{cx.shown(then.value.type)}`",
            orelse.span,
            Label(then.span, f"this is `{cx.shown(then.value.type)}`"),
        )
        return ERROR
    return cx.emit("if", (condition,), kind, node.span, hint=hint, regions=(first, second))


@dataclass(frozen=True, slots=True)
class _Iteration:
    """One elaboration of the body of a `repeat` with certain types of its carried names."""

    region: Region
    result: Type
    later: list[Binding]


def repeat(cx: Context, node: ast.Repeat, hint: str | None) -> Typed:
    """Emit `loop`; the body is elaborated again while the types of carried names widen."""
    limit = node.limit.value
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit < 2**63:
        cx.findings.error(
            "repeat-limit",
            "`repeat up to` takes a whole number of at least 1",
            node.limit.span,
        )
        limit = 1
    names, initial = _carried(cx, node)
    kinds = _settled(cx, node, [typed.type for typed in initial])
    for _ in range(_MAX_WIDENINGS):
        values, mark = cx.emission.names.mark(), len(cx.findings.diagnostics)
        bound = len(cx.bound)
        iteration = _iterate(cx, node, names, kinds)
        wider = _widened(cx, names, kinds, iteration.later)
        if wider is None:
            return ERROR
        if wider == kinds:
            cx.settled[node.span] = kinds
            break
        kinds = wider
        _forget(cx, values, mark, bound)
    else:
        cx.findings.error(
            "growing-type",
            "the type of what is carried grows with every iteration",
            names[0].span if names else node.span,
            help=f"it is `{str(kinds[0])[:60]}` by now",
        )
        return ERROR
    return cx.emit(
        "loop",
        tuple(initial),
        iteration.result,
        node.span,
        hint=hint,
        attrs={"limit": limit},
        regions=(iteration.region,),
    )


def _carried(cx: Context, node: ast.Repeat) -> tuple[list[ast.Name], list[Typed]]:
    seen: dict[str, Span] = {}
    names: list[ast.Name] = []
    initial: list[Typed] = []
    for name, value in node.carried:
        typed = cx.expression(value)
        if name.text in seen:
            cx.findings.error(
                "rebound-name",
                f"`{name.text}` is carried twice",
                name.span,
                Label(seen[name.text], "the first time"),
            )
            continue
        seen[name.text] = name.span
        names.append(name)
        initial.append(typed)
    return names, initial


def _settled(cx: Context, node: ast.Repeat, kinds: list[Type]) -> list[Type]:
    """Start from the types an earlier elaboration settled at: wider inputs only widen them.

    Without this, `repeat`s in `repeat`s would be elaborated a number of times exponential in depth.
    """
    earlier = cx.settled.get(node.span)
    if earlier is None or len(earlier) != len(kinds):
        return kinds
    joined = [join(kind, known) for kind, known in zip(kinds, earlier, strict=True)]
    return [kind if both is None else both for kind, both in zip(kinds, joined, strict=True)]


def _iterate(cx: Context, node: ast.Repeat, names: list[ast.Name], kinds: list[Type]) -> _Iteration:
    args = tuple(cx.argument(n.text, kind) for n, kind in zip(names, kinds, strict=True))
    with cx.block() as ops:
        carried = [
            cx.define(name, Typed(arg, arg.type), "carried")
            for name, arg in zip(names, args, strict=True)
        ]
        tail = statements(cx, node.body, "yield", until=True)
        until = tail.until or cx.constant(False, BOOL, tail.span)
    later = [binding.typed for binding in carried]
    region = cx.region(args, ops, tail.value, until, *later, span=tail.span)
    return _Iteration(region, tail.value.type, carried)


def _widened(
    cx: Context, names: list[ast.Name], kinds: list[Type], later: list[Binding]
) -> list[Type] | None:
    wider: list[Type] = []
    for name, kind, binding in zip(names, kinds, later, strict=True):
        both = join(kind, binding.typed.type)
        if both is None:
            cx.findings.error(
                "mixed-types",
                f"`{name.text}` is carried as `{cx.shown(kind)}`, "
                f"this is `{cx.shown(binding.typed.type)}`",
                binding.rebound or name.span,
                Label(name.span, f"first `{cx.shown(kind)}`"),
            )
            return None
        wider.append(both)
    return wider


def _forget(cx: Context, values: int, mark: int, bound: int) -> None:
    """Undo an elaboration of a body: its value names, findings and bindings."""
    for name in cx.emission.names.rewind(values):
        cx.emission.constants.pop(name, None)
    del cx.findings.diagnostics[mark:]
    del cx.bound[bound:]
