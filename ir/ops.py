"""Operations, regions and the table of what each operation kind allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .diagnostics import Span
from .types import Type

Level = Literal["flow", "logical", "placed"]
LEVELS: tuple[Level, ...] = ("flow", "logical", "placed")


class Symbol(str):
    """A reference to a module-level name, printed as `@name`."""

    __slots__ = ()


Attr = None | bool | int | float | str | tuple["Attr", ...]
Attrs = tuple[tuple[str, Attr], ...]


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value: a name unique within its workflow, and its type."""

    name: str
    type: Type

    def __str__(self) -> str:
        """Return the reference form, `%name`."""
        return f"%{self.name}"


@dataclass(frozen=True, slots=True)
class Region:
    """A block of operations with arguments; its last operation is its terminator."""

    args: tuple[Value, ...]
    ops: tuple[Op, ...]

    @property
    def terminator(self) -> Op:
        """The `yield` or `return` that ends the region."""
        return self.ops[-1]

    @property
    def body(self) -> tuple[Op, ...]:
        """The operations before the terminator."""
        return self.ops[:-1]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation; it has at most one result, its attributes are sorted by name."""

    kind: str
    operands: tuple[Value, ...] = ()
    result: Value | None = None
    symbol: Symbol | None = None
    attrs: Attrs = ()
    regions: tuple[Region, ...] = ()
    locs: tuple[Span, ...] = ()

    def attr(self, name: str, default: Attr = None) -> Attr:
        """Return an attribute's value, or the default where it is not set."""
        for key, value in self.attrs:
            if key == name:
                return value
        return default

    def flag(self, name: str) -> bool:
        """Tell whether a boolean attribute is set."""
        return self.attr(name) is True

    def number(self, name: str, default: float) -> float:
        """Return a number that is an attribute, or the default where it is not set."""
        value = self.attr(name)
        return float(value) if isinstance(value, int | float) else default

    def with_attrs(self, changes: Mapping[str, Attr]) -> Op:
        """Return the operation with these attributes set; a value of None removes one."""
        merged = {**dict(self.attrs), **changes}
        return replace(self, attrs=attributes(merged))

    def out(self) -> Value:
        """Return the result of an operation that has one; terminators have none."""
        if self.result is None:
            raise ValueError(f"`{self.kind}` has no result")
        return self.result

    def walk(self) -> Iterator[Op]:
        """Yield this operation and all nested ones, in program order."""
        yield self
        for region in self.regions:
            for op in region.ops:
                yield from op.walk()


def attributes(values: Mapping[str, Attr]) -> Attrs:
    """Return attributes in their canonical order, without those that are None."""
    return tuple(sorted((k, v) for k, v in values.items() if v is not None))


@dataclass(frozen=True, slots=True)
class OpSpec:
    """What an operation kind allows; the verifier, printer and reader are driven by this table.

    `operands` and `regions` are exact counts, or None for any number. `attrs` are the names allowed
    (one ending in `*` allows a prefix). `terminator` is what ends its regions.
    """

    operands: int | None
    attrs: tuple[str, ...] = ()
    regions: int = 0
    result: bool = True
    symbol: bool = False
    levels: tuple[Level, ...] = LEVELS
    pure: bool = True


# `weight` is how much of a call's relative quality counts in the plan's accuracy, `factor` what a
# rewrite that is not exact multiplies that by; one each where there is none
_CALL_ATTRS = (
    *("optional", "pin.*", "at.*", "candidates", "chain", "sampled"),
    *("weight", "factor"),
)
_ARITHMETIC = ("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "and", "or")

OPS: Mapping[str, OpSpec] = {
    # constants and structure
    "const": OpSpec(0, ("value",)),
    "record": OpSpec(None, ("fields",)),
    "field": OpSpec(1, ("name",)),
    "list": OpSpec(None),
    # arithmetic, comparison and logic; `and`, `or` and `coalesce` are strict, their right side is
    # free of calls (one that is not becomes an `if`)
    **dict.fromkeys(_ARITHMETIC, OpSpec(2)),
    "not": OpSpec(1),
    "neg": OpSpec(1),
    "is_none": OpSpec(1),
    "coalesce": OpSpec(2),
    # built-in functions
    "len": OpSpec(1),
    "flatten": OpSpec(1),
    "join": OpSpec(2),
    # votes: the most frequent of answers, and the share of them that are that one
    "majority": OpSpec(1),
    "agreement": OpSpec(1),
    # work: a call of a task; once placed, an invocation of an engine
    "call": OpSpec(None, _CALL_ATTRS, symbol=True, levels=("flow", "logical"), pure=False),
    "invoke": OpSpec(
        None,
        (*_CALL_ATTRS, "engine", "executor", "knob.*", "predicted.*", "skip", "substitute.*"),
        symbol=True,
        levels=("placed",),
        pure=False,
    ),
    # control
    "map": OpSpec(1, ("concurrency",), regions=1),
    "filter": OpSpec(1, ("concurrency",), regions=1),
    "if": OpSpec(1, ("likely", "speculative"), regions=2),
    "loop": OpSpec(None, ("limit", "rounds"), regions=1),
    # terminators; a `loop` yields its result, its stop condition, then the carried values
    "yield": OpSpec(None, result=False),
    "return": OpSpec(1, result=False),
}
