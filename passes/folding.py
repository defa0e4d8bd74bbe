"""Canonicalisation's rules as data: what an operation becomes, and what must be known of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from ..ir.inference import result_type
from ..ir.ops import Attr, Op, Region, Value, attributes
from ..ir.semantics import COMPUTES
from ..ir.types import NEVER, ListOf, Option
from .rewrite import Traits, region_signature, unite_regions

MAX_TEXT = 1 << 16  # characters of a folded text: `t + t`, repeated, doubles every time
MAX_INT = 1 << 63


class Facts(Protocol):
    """What a rule may ask about the values an operation reads."""

    def define(self, value: Value) -> Op | None:
        """Return the operation that defines a value; None for parameters and arguments."""

    def traits(self, region: Region) -> Traits:
        """Return what a region holds."""


@dataclass(frozen=True, slots=True)
class Inline:
    """The operation becomes these operations; its result becomes `value`.

    In the operations and in `value`, the arguments in `bound` stand for the values beside them.
    """

    value: Value
    ops: tuple[Op, ...] = ()
    bound: tuple[tuple[Value, Value], ...] = ()


Rewrite = Op | Inline | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rewrite: the kinds of operation it looks at, and what it makes of one (None: nothing).

    An `Op` it returns keeps the result's name and type. Regions are canonical by the time a rule
    sees them.
    """

    name: str
    kinds: tuple[str, ...]
    apply: Callable[[Op, Facts], Rewrite]


def constant(op: Op, value: Attr) -> Op | None:
    """Return the constant that takes an operation's place, or None where its type has none."""
    made = replace(
        op, kind="const", operands=(), attrs=attributes({"value": value}), regions=(), symbol=None
    )
    return None if isinstance(result_type(made), str) or not _printable(value) else made


def _printable(value: Attr) -> bool:
    match value:
        case bool() | None:
            return True
        case int():
            return abs(value) < MAX_INT
        case float():
            return math.isfinite(value)
        case str():
            return len(value) <= MAX_TEXT
    return False


def _constants(op: Op, facts: Facts) -> tuple[Attr, ...] | None:
    """Return the operands' values where all are constants that have one."""
    found = [facts.define(value) for value in op.operands]
    if any(o is None or o.kind != "const" or o.out().type == NEVER for o in found):
        return None
    return tuple(o.attr("value") for o in found if o is not None)


def _fold(op: Op, facts: Facts) -> Rewrite:
    values = _constants(op, facts)
    if values is None:
        return None
    try:
        return constant(op, COMPUTES[op.kind](*values))
    except ArithmeticError:
        return None  # a division by zero stays where it is, and fails when it runs


def _join(op: Op, facts: Facts) -> Rewrite:
    texts, separator = (facts.define(value) for value in op.operands)
    if texts is None or texts.kind != "list" or separator is None:
        return None
    known = _constants(replace(texts, operands=(*texts.operands, separator.out())), facts)
    if known is None or not all(isinstance(text, str) for text in known):
        return None
    *parts, between = map(str, known)
    return constant(op, between.join(parts))


def _boolean(op: Op, facts: Facts) -> Rewrite:
    """`true and x` is `x`, `false and x` is `false`; `or` the other way round."""
    for known, other in (op.operands, op.operands[::-1]):
        value = _value(known, facts)
        if isinstance(value, bool):
            return Inline(other) if value is (op.kind == "and") else constant(op, value)
    return None


def _not_not(op: Op, facts: Facts) -> Rewrite:
    inner = facts.define(op.operands[0])
    return Inline(inner.operands[0]) if inner is not None and inner.kind == "not" else None


def _field(op: Op, facts: Facts) -> Rewrite:
    value = _part(op, facts)
    return None if value is None else Inline(value)


def _part(op: Op, facts: Facts) -> Value | None:
    record = facts.define(op.operands[0])
    if record is None or record.kind != "record":
        return None
    names = record.attr("fields", ())
    assert isinstance(names, tuple)  # the verifier's rule `types`
    return record.operands[names.index(op.attr("name"))]


def _source(value: Value, facts: Facts) -> Value:
    """Return the value before a record gave it a wider type."""
    while (op := facts.define(value)) is not None and op.kind == "field":
        part = _part(op, facts)
        if part is None:
            return value
        value = part
    return value


def _coalesce(op: Op, facts: Facts) -> Rewrite:
    source = _source(op.operands[0], facts)
    if not isinstance(source.type, Option) and source.type != NEVER:
        return Inline(source)
    found = facts.define(source)
    return Inline(op.operands[1]) if found is not None and found.kind == "const" else None


def _is_none(op: Op, facts: Facts) -> Rewrite:
    source = _source(op.operands[0], facts)
    return None if isinstance(source.type, Option) or source.type == NEVER else constant(op, False)


def _length(op: Op, facts: Facts) -> Rewrite:
    """A list display has a known length; a `map` has as many items as its list."""
    found = facts.define(op.operands[0])
    if found is not None and found.kind == "list":
        return constant(op, len(found.operands))
    if found is not None and found.kind == "map":
        return replace(op, operands=found.operands)
    return None


def _flatten(op: Op, facts: Facts) -> Rewrite:
    found = facts.define(op.operands[0])
    if found is None or found.kind != "list":
        return None
    if len(found.operands) == 1 and isinstance(found.operands[0].type, ListOf):
        return Inline(found.operands[0])
    lists = [facts.define(value) for value in found.operands]
    if not all(inner is not None and inner.kind == "list" for inner in lists):
        return None
    items = tuple(v for inner in lists if inner is not None for v in inner.operands)
    return replace(op, kind="list", operands=items)


def _concatenation(op: Op, facts: Facts) -> Rewrite:
    """Adding nothing to a list or text changes nothing; two list displays are one."""
    left, right = (facts.define(value) for value in op.operands)
    for found, other in ((left, op.operands[1]), (right, op.operands[0])):
        if found is not None and _empty(found):
            return Inline(other)
    if left is None or right is None or not left.kind == right.kind == "list":
        return None
    return replace(op, kind="list", operands=left.operands + right.operands)


def _empty(op: Op) -> bool:
    return _no_items(op) or (op.kind == "const" and op.attr("value") == "")


def _no_items(op: Op) -> bool:
    return op.kind == "list" and not op.operands


def _value(value: Value, facts: Facts) -> Attr:
    found = facts.define(value)
    return found.attr("value") if found is not None and found.kind == "const" else None


def _known_branch(op: Op, facts: Facts) -> Rewrite:
    condition = _value(op.operands[0], facts)
    if not isinstance(condition, bool):
        return None
    return _inlined(op.regions[0 if condition else 1])


def _inlined(region: Region) -> Inline:
    return Inline(region.terminator.operands[0], region.body)


def _equal_branches(op: Op, facts: Facts) -> Rewrite:
    """Whichever branch runs, it does the same; also with effects: one of them would run."""
    first, second = op.regions
    same = region_signature(first, {}) == region_signature(second, {})
    return _inlined(unite_regions(first, second)) if same else None


def _truth(op: Op, facts: Facts) -> Rewrite:
    """`if c { yield true } else { yield false }` is `c`."""
    then, orelse = (_value(region.terminator.operands[0], facts) for region in op.regions)
    if any(facts.traits(region).effects for region in op.regions):
        return None
    if then is True and orelse is False:
        return Inline(op.operands[0])
    return replace(op, kind="not", regions=()) if then is False and orelse is True else None


def _nothing_to_iterate(op: Op, facts: Facts) -> Rewrite:
    found = facts.define(op.operands[0])
    if found is None or not _no_items(found):
        return None
    return replace(op, kind="list", operands=(), attrs=(), regions=())


def _one_item(op: Op, facts: Facts) -> Rewrite:
    """A `map` over one item is its body."""
    found = facts.define(op.operands[0])
    region = op.regions[0]
    (item,) = region.args
    if found is None or found.kind != "list" or len(found.operands) != 1:
        return None
    *body, end = region.ops
    result = Op("list", end.operands, op.out(), locs=op.locs)
    return Inline(op.out(), (*body, result), ((item, found.operands[0]),))


def _identity(op: Op, facts: Facts) -> Rewrite:
    region = op.regions[0]
    if facts.traits(region).effects or region.terminator.operands != region.args:
        return None
    return Inline(op.operands[0])


def _filter(op: Op, facts: Facts) -> Rewrite:
    """A condition that always holds keeps the list, one that never does leaves nothing."""
    region = op.regions[0]
    keep = _value(region.terminator.operands[0], facts)
    if facts.traits(region).effects or not isinstance(keep, bool):
        return None
    if keep:
        return Inline(op.operands[0])
    return replace(op, kind="list", operands=(), attrs=(), regions=())


def _one_round(op: Op, facts: Facts) -> Rewrite:
    """A loop that runs once is its body."""
    region = op.regions[0]
    stops = _value(region.terminator.operands[1], facts) is True
    if op.attr("limit") != 1 and not stops:
        return None
    bound = tuple(zip(region.args, op.operands, strict=True))
    return Inline(region.terminator.operands[0], region.body, bound)


RULES: tuple[Rule, ...] = (
    Rule("constant operands", tuple(COMPUTES), _fold),
    Rule("join of constants", ("join",), _join),
    Rule("and, or with a constant", ("and", "or"), _boolean),
    Rule("not not", ("not",), _not_not),
    Rule("field of a record", ("field",), _field),
    Rule("coalesce of what is known", ("coalesce",), _coalesce),
    Rule("never none", ("is_none",), _is_none),
    Rule("known length", ("len",), _length),
    Rule("flatten of displays", ("flatten",), _flatten),
    Rule("concatenation", ("add",), _concatenation),
    Rule("known condition", ("if",), _known_branch),
    Rule("equal branches", ("if",), _equal_branches),
    Rule("truth of a condition", ("if",), _truth),
    Rule("nothing to iterate", ("map", "filter"), _nothing_to_iterate),
    Rule("one item", ("map",), _one_item),
    Rule("identity", ("map",), _identity),
    Rule("constant filter", ("filter",), _filter),
    Rule("one round", ("loop",), _one_round),
)
