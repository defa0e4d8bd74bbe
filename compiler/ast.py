"""The syntax tree of a `.mkb` file: dataclasses and nothing else; every node has its span."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.diagnostics import Span


@dataclass(frozen=True, slots=True)
class Name:
    """An identifier where it is written."""

    text: str
    span: Span


# ---- types


@dataclass(frozen=True, slots=True)
class TypeName:
    """`Text` or a declared type."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class TypeList:
    """`[T]`."""

    item: TypeExpr
    span: Span


@dataclass(frozen=True, slots=True)
class TypeRecord:
    """`{ name: T, … }`."""

    fields: tuple[tuple[Name, TypeExpr], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class TypeOption:
    """`T?`."""

    item: TypeExpr
    span: Span


@dataclass(frozen=True, slots=True)
class TypeEnum:
    """`"a" | "b"`."""

    values: tuple[Literal, ...]
    span: Span


TypeExpr = TypeName | TypeList | TypeRecord | TypeOption | TypeEnum

# ---- expressions


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, boolean or `none` (value None); `long` marks a triple-quoted string.

    A number without a point is an int, with one a float.
    """

    value: str | int | float | bool | None
    span: Span
    long: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """A use of a binding or parameter."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit as written: `"min"`, `"/ min"`, `"tokens / s"`, `"%"`, `"$"`, `""`."""

    value: float
    unit: str
    span: Span


@dataclass(frozen=True, slots=True)
class Pin:
    """`frames <= 10`, `device: cpu`; op is `:` or a comparison; a bare word is a Name."""

    name: Name
    op: str
    value: Quantity | Literal | Name
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """`f(x, y) with { … }`, perhaps after `optional`."""

    callee: Name
    args: tuple[Expr, ...]
    pins: tuple[Pin, ...]
    span: Span
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """`x.name`."""

    base: Expr
    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class ListExpr:
    """`[a, b]`."""

    items: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class RecordExpr:
    """`{ a, b: e }`; a field without an expression stands for the binding of its name."""

    fields: tuple[tuple[Name, Expr | None], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x` or `not x`."""

    op: str
    operand: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """`a op b` for `+ - * / == != < <= > >= and or ??`."""

    op: str
    left: Expr
    right: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Paren:
    """`(e)`: kept so that the formatter prints what was written."""

    inner: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class For:
    """`for item in list where cond { … }`."""

    item: Name
    source: Expr
    where: Expr | None
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class Repeat:
    """`repeat up to N with a = x { … }`."""

    limit: Literal
    carried: tuple[tuple[Name, Expr], ...]
    body: Block
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    """`if c { … } else { … }`; an `else if` is an If in `orelse`."""

    condition: Expr
    then: Block
    orelse: Block | If
    span: Span


Expr = (
    Literal
    | Ref
    | Call
    | Field
    | ListExpr
    | RecordExpr
    | Unary
    | Binary
    | Paren
    | For
    | Repeat
    | If
)

# ---- statements


@dataclass(frozen=True, slots=True)
class Bind:
    """`name = e`."""

    name: Name
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class Yield:
    """`yield e until c`."""

    value: Expr
    until: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Return:
    """`return e`."""

    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class CallStatement:
    """A call for its effect."""

    call: Call
    span: Span


Statement = Bind | Yield | Return | CallStatement


@dataclass(frozen=True, slots=True)
class Block:
    """`{ … }`."""

    statements: tuple[Statement, ...]
    span: Span


# ---- declarations


@dataclass(frozen=True, slots=True)
class Param:
    """`name: T`."""

    name: Name
    type: TypeExpr
    span: Span


@dataclass(frozen=True, slots=True)
class Import:
    """`import "std/media"`."""

    path: Literal
    span: Span


@dataclass(frozen=True, slots=True)
class TypeDecl:
    """`type Scene = …`."""

    name: Name
    type: TypeExpr
    doc: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class TaskDecl:
    """`effect task f(…) -> T "…" system … prompt … using …`; items may repeat until checked."""

    name: Name
    params: tuple[Param, ...]
    result: TypeExpr
    effect: bool
    descriptions: tuple[Literal, ...]
    systems: tuple[Literal, ...]
    prompts: tuple[Literal, ...]
    usings: tuple[Name, ...]
    doc: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Minimize:
    """`minimize energy then cost`, or `maximize accuracy` with maximize set."""

    metrics: tuple[Name, ...]
    maximize: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Require:
    """`require p95 latency <= 30 s`; the value is a quantity or the name of a tier."""

    percentile: Name | None
    metric: Name
    op: str
    value: Quantity | Name
    span: Span


@dataclass(frozen=True, slots=True)
class Expect:
    """`expect len(scenes) = 8`: function is `len`, `tokens` or None, path the dotted names."""

    function: str | None
    path: tuple[Name, ...]
    value: Quantity
    span: Span


Clause = Minimize | Require | Expect


@dataclass(frozen=True, slots=True)
class WorkflowDecl:
    """`workflow f(…) -> T "…" clauses { … }`."""

    name: Name
    params: tuple[Param, ...]
    result: TypeExpr
    description: Literal | None
    clauses: tuple[Clause, ...]
    body: Block
    doc: str | None
    span: Span


Declaration = Import | TypeDecl | TaskDecl | WorkflowDecl


@dataclass(frozen=True, slots=True)
class Comment:
    """A `//` or `///` comment with its text as written; `own_line` when nothing precedes it."""

    text: str
    own_line: bool
    span: Span


@dataclass(frozen=True, slots=True)
class File:
    """A whole file: declarations in source order, comments apart."""

    path: str
    declarations: tuple[Declaration, ...]
    comments: tuple[Comment, ...]
    span: Span
