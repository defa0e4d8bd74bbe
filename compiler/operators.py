"""Operators, literals and structures: their types, and the operations they become."""

from __future__ import annotations

from bisect import bisect_left

from ..ir.diagnostics import Label, Span
from ..ir.semantics import COMPUTES
from ..ir.types import (
    BOOL,
    FLOAT,
    INT,
    NEVER,
    TEXT,
    Enum,
    ListOf,
    Option,
    Record,
    Type,
    assignable,
    join_all,
)
from . import ast
from .context import ERROR, Context, Typed
from .traverse import unwrapped, walk

_KINDS = {
    "+": "add",
    "-": "sub",
    "*": "mul",
    "/": "div",
    "==": "eq",
    "!=": "ne",
    "<": "lt",
    "<=": "le",
    ">": "gt",
    ">=": "ge",
    "and": "and",
    "or": "or",
    "??": "coalesce",
}
_INT_LIMIT = 2**63


def literal(cx: Context, node: ast.Literal, hint: str | None) -> Typed:
    """Emit a literal."""
    value = node.value
    match value:
        case None:
            return cx.constant(None, Option(NEVER), node.span, hint)
        case bool():
            return cx.constant(value, BOOL, node.span, hint)
        case str():
            return cx.constant(value, Enum((value,)), node.span, hint)
    return cx.constant(value, INT if isinstance(value, int) else FLOAT, node.span, hint)


def list_of(cx: Context, node: ast.ListExpr, hint: str | None) -> Typed:
    """Emit a list; its items need a common type."""
    items = [cx.expression(item) for item in node.items]
    kinds = [item.type for item in items]
    if cx.findings.failed and NEVER in kinds:
        del kinds[kinds.index(NEVER) :]  # nothing is known beside an error
        kind: Type | None = NEVER if join_all(kinds) is not None else None
    else:
        kind = join_all(kinds)
    if kind is not None:
        return cx.emit("list", tuple(items), ListOf(kind), node.span, hint=hint)
    lengths = range(1, len(kinds) + 1)
    index = bisect_left(lengths, True, key=lambda length: join_all(kinds[:length]) is None)
    so_far = join_all(kinds[:index]) or NEVER
    cx.findings.error(
        "mixed-types",
        f"the items of a list have one type: this is `{cx.shown(kinds[index])}`",
        node.items[index].span,
        Label(node.items[0].span, f"the items so far are `{cx.shown(so_far)}`"),
    )
    return ERROR


def record(cx: Context, node: ast.RecordExpr, hint: str | None) -> Typed:
    """Emit a record; a field without an expression is the binding of its name."""
    seen: dict[str, tuple[Typed, Span]] = {}
    for name, value in node.fields:
        typed = cx.expression(ast.Ref(name.text, name.span) if value is None else value)
        if name.text in seen:
            cx.findings.error(
                "duplicate-field",
                f"there are two fields `{name.text}`",
                name.span,
                Label(seen[name.text][1], "the first one"),
            )
            continue
        seen[name.text] = (typed, name.span)
    kind = Record(tuple((name, typed.type) for name, (typed, _) in seen.items()))
    values = tuple(typed for typed, _ in seen.values())
    return cx.emit("record", values, kind, node.span, hint=hint, attrs={"fields": tuple(seen)})


def field(cx: Context, node: ast.Field, hint: str | None) -> Typed:
    """Emit the access to a field, and to fields of fields."""
    chain: list[ast.Field] = []
    base: ast.Expr = node
    while isinstance(base, ast.Field):
        chain.append(base)
        base = unwrapped(base.base)
    typed = cx.expression(base)
    for access in reversed(chain):
        kind = _field_type(cx, access, typed.type)
        typed = cx.emit(
            "field",
            (typed,),
            kind,
            access.span,
            hint=hint if access is node else None,
            base=access.name.text,
            attrs={"name": access.name.text},
        )
    return typed


def _field_type(cx: Context, node: ast.Field, kind: Type) -> Type:
    if kind == NEVER:
        return NEVER
    name = node.name
    if isinstance(kind, Option) and isinstance(kind.item, Record):
        cx.absent(kind, node.base.span, f"`.{name.text}`")
        return NEVER
    if not isinstance(kind, Record):
        opaque = "`Json` is opaque: give the task a record as its result"
        listed = "take the items with `for`"
        help = opaque if str(kind) == "Json" else listed if isinstance(kind, ListOf) else None
        cx.findings.error(
            "unknown-field", f"`{cx.shown(kind)}` has no fields", name.span, help=help
        )
        return NEVER
    found = kind.field(name.text)
    if found is not None:
        return found
    known = dict(kind.fields)
    help = cx.findings.suggest(name.text, known) or "it has " + ", ".join(f"`{k}`" for k in known)
    cx.findings.error(
        "unknown-field",
        f"no field `{name.text}` in `{cx.shown(kind)}`",
        name.span,
        help=help if known else None,
    )
    return NEVER


def unary(cx: Context, node: ast.Unary, hint: str | None) -> Typed:
    """Emit `-x` or `not x`."""
    typed = cx.expression(node.operand)
    if node.op == "not":
        cx.fits(typed, BOOL, node.operand.span, "`not`")
        result = cx.emit("not", (typed,), BOOL, node.span, hint=hint)
        known = cx.known(typed)
        if isinstance(known, bool):
            cx.emission.constants[result.value.name] = not known
        return result
    if cx.fits(typed, FLOAT, node.operand.span, "`-`"):
        result = cx.emit("neg", (typed,), typed.type, node.span, hint=hint)
        known = cx.known(typed)
        if isinstance(known, int | float):
            cx.emission.constants[result.value.name] = -known
        return result
    return ERROR


def binary(cx: Context, node: ast.Binary, hint: str | None) -> Typed:
    """Emit an operator; a chain of them, which leans to the left, costs no call stack."""
    chain: list[ast.Binary] = []
    left: ast.Expr = node
    while isinstance(left, ast.Binary):
        chain.append(left)
        left = unwrapped(left.left)
    typed = cx.expression(left)
    for each in reversed(chain):
        name = hint if each is node else None
        if each.op in ("and", "or", "??") and _lazy(each.right):
            typed = _branch(cx, each, typed, name)
            continue
        right = cx.expression(each.right)
        typed = _strict(cx, each, typed, right, name)
    return typed


def _lazy(node: ast.Expr) -> bool:
    """Tell whether a right side may only run when it is needed: it does work, or may fail."""
    return any(
        isinstance(part, ast.Call)
        or (isinstance(part, ast.Binary) and part.op == "/" and not _nonzero(part.right))
        for part in walk(node)
    )


def _nonzero(node: ast.Expr) -> bool:
    node = unwrapped(node)
    return isinstance(node, ast.Literal) and bool(node.value)


def _strict(cx: Context, node: ast.Binary, left: Typed, right: Typed, hint: str | None) -> Typed:
    if node.op == "??" and not isinstance(left.value.type, Option):
        # always there: the static type alone is optional, or the left side is wrong
        return Typed(left.value, _coalesced(cx, node, left, right))
    kind = result_type(cx, node, left, right)
    result = cx.emit(_KINDS[node.op], (left, right), kind, node.span, hint=hint)
    _fold(cx, node, left, right, result)
    return result


def _fold(cx: Context, node: ast.Binary, left: Typed, right: Typed, result: Typed) -> None:
    """Note the result of an operator where it is known before anything has run."""
    name, kind = result.value.name, _KINDS[node.op]
    if kind in ("eq", "ne") and _disjoint(left.type, right.type):
        cx.emission.constants[name] = kind == "ne"
        return
    a, b = cx.known(left), cx.known(right)
    if kind in ("and", "or"):
        decided = kind == "or"
        if a is decided or b is decided:
            cx.emission.constants[name] = decided
            return
    if a is None or b is None or result.type == NEVER or kind not in COMPUTES:
        return
    if kind == "div" and b == 0:
        return
    try:
        value = COMPUTES[kind](a, b)
    except (OverflowError, TypeError):
        return
    # numbers beyond Int and joined texts are left alone: repeated doubling would fill the memory
    if isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < _INT_LIMIT):
        cx.emission.constants[name] = value


def _disjoint(a: Type, b: Type) -> bool:
    return isinstance(a, Enum) and isinstance(b, Enum) and not set(a.values) & set(b.values)


def _branch(cx: Context, node: ast.Binary, left: Typed, hint: str | None) -> Typed:
    """Emit `and`, `or` or `??` as an `if`, so that the right side runs only when it is needed."""
    if node.op == "??":
        return _coalesce_branch(cx, node, left, hint)
    cx.fits(left, BOOL, node.left.span, f"`{node.op}`")
    with cx.block() as ops:
        right = cx.expression(node.right)
    cx.fits(right, BOOL, node.right.span, f"`{node.op}`")
    evaluated = cx.region((), ops, right, span=node.right.span)
    with cx.block() as ops:
        decided = cx.constant(node.op == "or", BOOL, node.span)
    skipped = cx.region((), ops, decided, span=node.span)
    regions = (evaluated, skipped) if node.op == "and" else (skipped, evaluated)
    result = cx.emit("if", (left,), BOOL, node.span, hint=hint, base=node.op, regions=regions)
    if cx.known(left) is (node.op == "or"):
        cx.emission.constants[result.value.name] = node.op == "or"
    return result


def _coalesce_branch(cx: Context, node: ast.Binary, left: Typed, hint: str | None) -> Typed:
    if not isinstance(left.value.type, Option):
        # the right side never runs; it is checked, and what it emits is dropped with its region
        with cx.block():
            right = cx.expression(node.right)
        return Typed(left.value, _coalesced(cx, node, left, right))
    absent = cx.emit("is_none", (left,), BOOL, node.left.span)
    with cx.block() as ops:
        right = cx.expression(node.right)
    fallback = cx.region((), ops, right, span=node.right.span)
    kind = _coalesced(cx, node, left, right)
    with cx.block() as ops:
        present = left
        if not isinstance(kind, Option):
            # known to be there: `??` with a right side of type Never takes `T?` to `T`
            never = cx.constant(None, NEVER, node.span)
            present = cx.emit("coalesce", (left, never), left.value.type.item, node.left.span)
    regions = (fallback, cx.region((), ops, present, span=node.left.span))
    return cx.emit("if", (absent,), kind, node.span, hint=hint, base="coalesce", regions=regions)


def _coalesced(cx: Context, node: ast.Binary, left: Typed, right: Typed) -> Type:
    if left.type == NEVER:
        return cx.common(NEVER, right.type) or NEVER
    if not isinstance(left.type, Option):
        cx.findings.error(
            "not-optional",
            f"`??` follows a value that may be absent, this is `{cx.shown(left.type)}`",
            node.left.span,
            help="drop the `??` and what follows it",
        )
        return left.type
    kind = cx.common(left.type.item, right.type)
    if kind is not None:
        return kind
    cx.findings.error(
        "mixed-types",
        f"`{cx.shown(left.type)}` and `{cx.shown(right.type)}` on the sides of `??` have no common "
        "type",
        node.right.span,
        Label(node.left.span, f"this is `{cx.shown(left.type)}`"),
    )
    return NEVER


def result_type(cx: Context, node: ast.Binary, left: Typed, right: Typed) -> Type:
    """Return the type of a strict operator, after reporting operands it cannot have."""
    if node.op == "??":
        return _coalesced(cx, node, left, right)
    if node.op in ("and", "or"):
        cx.fits(left, BOOL, node.left.span, f"`{node.op}`")
        cx.fits(right, BOOL, node.right.span, f"`{node.op}`")
        return BOOL
    both = cx.common(left.type, right.type)
    if node.op in ("==", "!="):
        if both is None:
            _bad(cx, node, left, right, "never compare equal: they have no common type")
        return BOOL
    for typed, side in ((left, node.left), (right, node.right)):
        if isinstance(typed.type, Option):
            cx.absent(typed.type, side.span, f"`{node.op}`")
            return BOOL if node.op in ("<", "<=", ">", ">=") else NEVER
    if node.op in ("<", "<=", ">", ">="):
        if both is None or not (assignable(both, FLOAT) or assignable(both, TEXT)):
            _bad(cx, node, left, right, "have no order: numbers have one, and texts")
        return BOOL
    return _arithmetic(cx, node, left, right, both)


def _arithmetic(
    cx: Context, node: ast.Binary, left: Typed, right: Typed, both: Type | None
) -> Type:
    if both == NEVER:
        return NEVER
    if both in (INT, FLOAT):
        return FLOAT if node.op == "/" else both
    if node.op == "+" and both is not None:
        if assignable(both, TEXT):
            return TEXT
        if isinstance(both, ListOf):
            return both
    takes = "two numbers, two texts or two lists" if node.op == "+" else "two numbers"
    _bad(cx, node, left, right, f"are no operands of `{node.op}`, which takes {takes}")
    return NEVER


def _bad(cx: Context, node: ast.Binary, left: Typed, right: Typed, why: str) -> None:
    cx.findings.error(
        "bad-operands",
        f"`{cx.shown(left.type)}` and `{cx.shown(right.type)}` {why}",
        node.span,
        Label(node.left.span, f"this is `{cx.shown(left.type)}`"),
        Label(node.right.span, f"this is `{cx.shown(right.type)}`"),
    )
