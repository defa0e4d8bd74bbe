"""The type an operation's result must have, from its operands and regions."""

from __future__ import annotations

from .ops import Op
from .types import (
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
    join,
    join_all,
    option,
)
from .voting import incomparable

_ORDERED = ("lt", "le", "gt", "ge")


def result_type(op: Op) -> Type | str:
    """Return the result type of an operation without a symbol, or what is wrong in words.

    `const` carries its own type, so its declared one is returned; calls are typed by their task.
    """
    kinds = tuple(value.type for value in op.operands)
    match op.kind:
        case "const":
            return _const(op)
        case "record":
            return _record(op, kinds)
        case "list":
            return _list(kinds)
        case "field":
            return _field(op, kinds[0])
        case "add" | "sub" | "mul" | "div":
            return _arithmetic(op.kind, *kinds)
        case "eq" | "ne":
            return BOOL if join(*kinds) is not None else f"{kinds[0]} and {kinds[1]} never compare"
        case kind if kind in _ORDERED:
            return BOOL if _ordered(*kinds) else f"{kinds[0]} and {kinds[1]} have no order"
        case "and" | "or" | "not":
            return BOOL if all(k in (BOOL, NEVER) for k in kinds) else "wants Bool operands"
        case "neg":
            return kinds[0] if kinds[0] in (INT, FLOAT, NEVER) else f"cannot negate {kinds[0]}"
        case "is_none":
            return BOOL if isinstance(kinds[0], Option) else f"{kinds[0]} is never none"
        case "coalesce":
            return _coalesce(*kinds)
        case "len":
            fits = isinstance(kinds[0], (ListOf, Enum)) or kinds[0] in (TEXT, NEVER)
            return INT if fits else f"{kinds[0]} has no length"
        case "flatten":
            return _flatten(kinds[0])
        case "join":
            fits = assignable(kinds[0], ListOf(TEXT)) and assignable(kinds[1], TEXT)
            return TEXT if fits else "wants ([Text], Text)"
        case "majority" | "agreement":
            return _vote(op.kind, kinds[0])
    return _control(op, kinds)


def _control(op: Op, kinds: tuple[Type, ...]) -> Type | str:
    match op.kind:
        case "map" | "filter":
            if not isinstance(kinds[0], ListOf):
                return f"{kinds[0]} is not a list"
            body = op.regions[0]
            if tuple(a.type for a in body.args) != (kinds[0].item,):
                return f"its region wants one argument of type {kinds[0].item}"
            (out,) = body.terminator.operands or (None,)
            if out is None:
                return "its region yields nothing"
            if op.kind == "filter":
                return kinds[0] if out.type in (BOOL, NEVER) else "its region must yield Bool"
            return ListOf(out.type)
        case "if":
            yields = [region.terminator.operands for region in op.regions]
            if kinds[0] not in (BOOL, NEVER):
                return "its condition must be Bool"
            if any(len(y) != 1 for y in yields):
                return "each branch yields one value"
            both = join(yields[0][0].type, yields[1][0].type)
            return both if both is not None else "its branches yield types that do not join"
        case "loop":
            return _loop(op, kinds)
    return f"`{op.kind}` has no result"


def _loop(op: Op, kinds: tuple[Type, ...]) -> Type | str:
    body = op.regions[0]
    out = body.terminator.operands
    if len(body.args) != len(kinds) or len(out) != len(kinds) + 2:
        return "it carries as many values as it has operands, and yields two more"
    for argument, first, following in zip(body.args, op.operands, out[2:], strict=True):
        if not (
            assignable(first.type, argument.type) and assignable(following.type, argument.type)
        ):
            return f"the values carried in {argument} are not of its type {argument.type}"
    limit = op.attr("limit")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        return "its `limit` must be a whole number of at least 1"
    return out[0].type if out[1].type in (BOOL, NEVER) else "its stop condition must be Bool"


def _const(op: Op) -> Type | str:
    if op.result is None:
        return "`const` needs a result"
    value, declared = op.attr("value"), op.result.type
    fits = (
        # `none` of type Never is a value nobody looks at: the right side of a `coalesce` that is
        # known to have a left one
        (value is None and (isinstance(declared, Option) or declared == NEVER))
        or (isinstance(value, bool) and declared == BOOL)
        or (isinstance(value, int) and not isinstance(value, bool) and declared in (INT, FLOAT))
        or (isinstance(value, float) and declared == FLOAT)
        or (isinstance(value, str) and declared == TEXT)
        or (isinstance(declared, Enum) and value in declared.values)
    )
    return declared if fits else f"its value is not of type {declared}"


def _record(op: Op, kinds: tuple[Type, ...]) -> Type | str:
    names = op.attr("fields", ())
    if not isinstance(names, tuple) or len(names) != len(kinds):
        return "it needs one name in `fields` for each operand"
    if len(set(names)) != len(names):
        return "its field names repeat"
    return Record(tuple((str(n), k) for n, k in zip(names, kinds, strict=True)))


def _list(kinds: tuple[Type, ...]) -> Type | str:
    item = join_all(kinds)
    return "its items have no common type" if item is None else ListOf(item)


def _field(op: Op, kind: Type) -> Type | str:
    if kind == NEVER:
        return NEVER
    if not isinstance(kind, Record):
        return f"{kind} has no fields"
    name = op.attr("name")
    found = kind.field(name) if isinstance(name, str) else None
    return found if found is not None else f"{kind} has no field `{name}`"


def _arithmetic(op: str, a: Type, b: Type) -> Type | str:
    both = join(a, b)
    if both in (INT, FLOAT):
        return FLOAT if op == "div" else both
    if op == "add" and both is not None:
        if assignable(both, TEXT):
            return TEXT if both != NEVER else NEVER
        if isinstance(both, ListOf):
            return both
    return NEVER if both == NEVER else f"no `{op}` of {a} and {b}"


def _ordered(a: Type, b: Type) -> bool:
    both = join(a, b)
    return both is not None and (assignable(both, FLOAT) or assignable(both, TEXT))


def _coalesce(a: Type, b: Type) -> Type | str:
    if not isinstance(a, Option):
        return f"{a} is never none"
    both = join(a.item, b)
    return both if both is not None else f"{a.item} and {b} do not join"


def _flatten(kind: Type) -> Type | str:
    if isinstance(kind, ListOf) and isinstance(kind.item, ListOf):
        return kind.item
    if kind in (NEVER, ListOf(NEVER)):
        return ListOf(NEVER)
    return f"{kind} is not a list of lists"


def _vote(op: str, kind: Type) -> Type | str:
    if not isinstance(kind, ListOf):
        return f"{kind} is not a list"
    reason = incomparable(kind.item)
    if reason is not None:
        return reason
    return kind.item if op == "majority" else FLOAT


def call_type(result: Type, *, optional: bool) -> Type:
    """Return the type of a call of a task with this result."""
    return option(result) if optional else result
