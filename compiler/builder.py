"""Builds the syntax tree while the parser reduces; one method a rule of `grammar/mkb.lark`.

Nothing is raised here (lark would wrap it): what is wrong is collected in `findings`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from lark import Token

from ..ir.diagnostics import Span, did_you_mean
from ..ir.quantities import UNITS
from . import ast
from .tree_parts import TreeParts

METRICS = ("energy", "cost", "latency", "gpus", "accuracy")
TIERS = ("best", "good", "fair", "basic")
PERCENTILES = ("p50", "p90", "p95", "p99")
FACT_FUNCTIONS = ("len", "tokens")

_Node = TypeVar("_Node")
_Parts = list[Any]


def _only(kind: type[_Node], parts: Iterable[Any]) -> tuple[_Node, ...]:
    return tuple(part for part in parts if isinstance(part, kind))


def _names(parts: Iterable[Any]) -> list[Token]:
    return [part for part in parts if isinstance(part, Token) and part.type == "NAME"]


class Builder(TreeParts):
    """The callbacks of the grammar."""

    # ---- declarations

    def file(self, parts: _Parts) -> tuple[ast.Declaration, ...]:
        """Return the declarations; the parser makes the file of them."""
        return tuple(parts)

    def import_(self, parts: _Parts) -> ast.Import:
        """`import "std/media"`."""
        return ast.Import(self._string(parts[1]), self._span(parts[0], parts[1]))

    def type_decl(self, parts: _Parts) -> ast.TypeDecl:
        """`type Name = T`."""
        keyword, name, _, kind = parts
        return ast.TypeDecl(self._name(name), kind, None, self._span(keyword, kind))

    def effect(self, parts: _Parts) -> Token | None:
        """Return the word `effect` where it is written."""
        return parts[0] if parts else None

    def task(self, parts: _Parts) -> ast.TaskDecl:
        """`effect task f(…) -> T …`."""
        effect, keyword, name, _, params, _, _, result, *items = parts

        def of(kind: str) -> tuple[Any, ...]:
            return tuple(value for item, value in items if item == kind)

        last = items[-1][1] if items else result
        return ast.TaskDecl(
            self._name(name),
            params,
            result,
            effect is not None,
            of("description"),
            of("system"),
            of("prompt"),
            of("using"),
            None,
            self._span(effect or keyword, last),
        )

    def description(self, parts: _Parts) -> tuple[str, ast.Literal]:
        """`"…"` of a task."""
        return "description", self._string(parts[0])

    def system(self, parts: _Parts) -> tuple[str, ast.Literal]:
        """`system "…"`."""
        return "system", self._string(parts[1])

    def prompt(self, parts: _Parts) -> tuple[str, ast.Literal]:
        """`prompt "…"`."""
        return "prompt", self._string(parts[1])

    def using(self, parts: _Parts) -> tuple[str, ast.Name]:
        """`using NAME`."""
        return "using", self._name(parts[1])

    def params(self, parts: _Parts) -> tuple[ast.Param, ...]:
        """Return the parameters of a task or workflow."""
        return _only(ast.Param, parts)

    def param(self, parts: _Parts) -> ast.Param:
        """`name: T`."""
        name, _, kind = parts
        return ast.Param(self._name(name), kind, self._span(name, kind))

    def workflow(self, parts: _Parts) -> ast.WorkflowDecl:
        """`workflow f(…) -> T "…" clauses { … }`."""
        keyword, name, _, params, _, _, result, description, clauses, body = parts
        return ast.WorkflowDecl(
            self._name(name),
            params,
            result,
            None if description is None else self._string(description),
            clauses,
            body,
            None,
            self._span(keyword, body),
        )

    # ---- clauses

    def clauses(self, parts: _Parts) -> tuple[ast.Clause, ...]:
        """Return the clauses of a workflow."""
        return tuple(parts)

    def minimize(self, parts: _Parts) -> ast.Minimize:
        """`minimize a then b`."""
        metrics = tuple(self._one_of(METRICS, token, "metric") for token in _names(parts))
        return ast.Minimize(metrics, False, self._span(parts[0], parts[-1]))

    def maximize(self, parts: _Parts) -> ast.Minimize:
        """`maximize accuracy`."""
        metric = self._name(parts[1])
        if metric.text != "accuracy":
            message = f"`{metric.text}` cannot be maximized, only `accuracy` can"
            known = metric.text in METRICS
            help = f"write `minimize {metric.text}`" if known else "write `maximize accuracy`"
            self._report("unknown-metric", message, metric.span, help)
        return ast.Minimize((metric,), True, self._span(*parts))

    def require(self, parts: _Parts) -> ast.Require:
        """`require p95 latency <= 30 s`."""
        keyword, percentile, metric, op, bound = parts
        value = bound
        if isinstance(bound, Token):
            value = self._one_of(TIERS, bound, "tier")
        named = None
        if percentile is not None:
            named = self._one_of(PERCENTILES, percentile, "percentile")
        elif metric in PERCENTILES:
            self._report(
                "unknown-metric",
                f"`{metric}` is a percentile, and the metric is missing",
                self._at(metric),
                f"write `{metric} latency`",
            )
            return ast.Require(None, self._name(metric), str(op), value, self._span(keyword, value))
        checked = self._one_of(METRICS, metric, "metric")
        return ast.Require(named, checked, str(op), value, self._span(keyword, value))

    def expect(self, parts: _Parts) -> ast.Expect:
        """`expect len(scenes) = 8`."""
        keyword, (function, path), _, value = parts
        return ast.Expect(function, path, value, self._span(keyword, value))

    def fact_path(self, parts: _Parts) -> tuple[None, tuple[ast.Name, ...]]:
        """`rate` or `video.duration`."""
        return None, tuple(self._name(token) for token in _names(parts))

    def fact_function(self, parts: _Parts) -> tuple[str, tuple[ast.Name, ...]]:
        """`len(scenes)` or `tokens(answer)`."""
        function, _, name, _ = parts
        if function not in FACT_FUNCTIONS:
            help = did_you_mean(function, FACT_FUNCTIONS)
            self._report(
                "unknown-fact",
                f"`{function}(…)` is nothing that can be expected",
                self._at(function),
                help or "write `len(BINDING)`, `tokens(TASK)`, `rate`, `accuracy` or `PARAM.FIELD`",
            )
        return str(function), (self._name(name),)

    def number_quantity(self, parts: _Parts) -> ast.Quantity:
        """`30 s`."""
        number, unit = parts
        value = float(self._number(number))
        if unit is None:
            return ast.Quantity(value, "", self._at(number))
        text, span = unit
        return ast.Quantity(value, text, self._at(number).to(span))

    def money_quantity(self, parts: _Parts) -> ast.Quantity:
        """`$0.01`."""
        return ast.Quantity(float(self._number(parts[0])), "$", self._at(parts[0]))

    def unit(self, parts: _Parts) -> tuple[str, Span]:
        """Return a unit as canonical text (`"tokens / s"`) and its place."""
        written = [part for part in parts if part is not None]
        for token in written:
            if token not in UNITS and token not in "/%":
                help = did_you_mean(token, UNITS) or "the units are " + ", ".join(UNITS)
                self._report("unknown-unit", f"`{token}` is no unit", self._at(token), help)
        return " ".join(written), self._span(written[0], written[-1])

    # ---- types

    def type_enum(self, parts: _Parts) -> ast.TypeEnum:
        """`"a" | "b"`."""
        values = tuple(self._string(part) for part in parts if part.type == "STRING")
        return ast.TypeEnum(values, self._span(parts[0], parts[-1]))

    def type_option(self, parts: _Parts) -> ast.TypeOption:
        """`T?`; `T??` is accepted and kept as written."""
        item, sign = parts
        span = self._span(item, sign)
        if sign.type == "QMARK":
            return ast.TypeOption(item, span)
        inner = Span(span.file, span.line, span.column, span.end_line, span.end_column - 1)
        return ast.TypeOption(ast.TypeOption(item, inner), span)

    def type_name(self, parts: _Parts) -> ast.TypeName:
        """`Text`."""
        return ast.TypeName(str(parts[0]), self._at(parts[0]))

    def type_list(self, parts: _Parts) -> ast.TypeList:
        """`[T]`."""
        return ast.TypeList(parts[1], self._span(parts[0], parts[2]))

    def type_record(self, parts: _Parts) -> ast.TypeRecord:
        """`{ name: T }`."""
        return ast.TypeRecord(_only(tuple, parts), self._span(parts[0], parts[-1]))

    def typefield(self, parts: _Parts) -> tuple[ast.Name, ast.TypeExpr]:
        """`name: T` of a record type."""
        return self._name(parts[0]), parts[2]

    # ---- statements

    def block(self, parts: _Parts) -> ast.Block:
        """`{ … }`."""
        return ast.Block(tuple(parts[1:-1]), self._span(parts[0], parts[-1]))

    def bind(self, parts: _Parts) -> ast.Bind:
        """`name = e`."""
        name, _, value = parts
        return ast.Bind(self._name(name), value, self._span(name, value))

    def yield_(self, parts: _Parts) -> ast.Yield:
        """`yield e until c`."""
        keyword, value, _, until = parts
        last = value if until is None else until
        return ast.Yield(value, until, self._span(keyword, last))

    def return_(self, parts: _Parts) -> ast.Return:
        """`return e`."""
        return ast.Return(parts[1], self._span(*parts))

    def call_statement(self, parts: _Parts) -> ast.CallStatement:
        """A call for its effect."""
        return ast.CallStatement(parts[0], parts[0].span)

    # ---- expressions

    def for_(self, parts: _Parts) -> ast.For:
        """`for x in list where c { … }`."""
        keyword, item, _, source, _, where, body = parts
        return ast.For(self._name(item), source, where, body, self._span(keyword, body))

    def repeat(self, parts: _Parts) -> ast.Repeat:
        """`repeat up to N with a = x { … }`."""
        keyword, _, _, limit, _, carried, body = parts
        literal = self.number([limit])
        return ast.Repeat(literal, carried or (), body, self._span(keyword, body))

    def carried(self, parts: _Parts) -> tuple[tuple[ast.Name, ast.Expr], ...]:
        """Return the loop-carried names with their first values."""
        return _only(tuple, parts)

    def carry(self, parts: _Parts) -> tuple[ast.Name, ast.Expr]:
        """`a = x`."""
        return self._name(parts[0]), parts[2]

    def if_(self, parts: _Parts) -> ast.If:
        """`if c { … } else { … }`."""
        keyword, condition, then, _, orelse = parts
        return ast.If(condition, then, orelse, self._span(keyword, orelse))

    def binary(self, parts: _Parts) -> ast.Binary:
        """`a op b`."""
        left, op, right = parts
        return ast.Binary(str(op), left, right, self._span(left, right))

    def unary(self, parts: _Parts) -> ast.Unary:
        """`-x` or `not x`."""
        op, operand = parts
        return ast.Unary(str(op), operand, self._span(op, operand))

    def optional(self, parts: _Parts) -> ast.Call:
        """`optional f(x)`."""
        keyword, call = parts
        span = self._span(keyword, call)
        return ast.Call(call.callee, call.args, call.pins, span, optional=True)

    def field(self, parts: _Parts) -> ast.Field:
        """`x.name`."""
        base, _, name = parts
        return ast.Field(base, self._name(name), self._span(base, name))

    def ref(self, parts: _Parts) -> ast.Ref:
        """A use of a name."""
        return ast.Ref(str(parts[0]), self._at(parts[0]))

    def paren(self, parts: _Parts) -> ast.Paren:
        """`(e)`."""
        return ast.Paren(parts[1], self._span(parts[0], parts[2]))

    def list(self, parts: _Parts) -> ast.ListExpr:
        """`[a, b]`."""
        return ast.ListExpr(_expressions(parts), self._span(parts[0], parts[-1]))

    def record(self, parts: _Parts) -> ast.RecordExpr:
        """`{ a, b: e }`."""
        return ast.RecordExpr(_only(tuple, parts), self._span(parts[0], parts[-1]))

    def recordfield(self, parts: _Parts) -> tuple[ast.Name, ast.Expr | None]:
        """`a` or `b: e`."""
        return self._name(parts[0]), parts[2]

    def args(self, parts: _Parts) -> tuple[ast.Expr, ...]:
        """Return the arguments of a call."""
        return _expressions(parts)

    def call(self, parts: _Parts) -> ast.Call:
        """`f(x) with { … }`."""
        callee, _, args, close, *rest = parts
        last = rest[-1] if rest and rest[-1] is not None else close
        pins = _only(ast.Pin, rest)
        return ast.Call(self._name(callee), args, pins, self._span(callee, last))

    def pin(self, parts: _Parts) -> ast.Pin:
        """`frames <= 10` or `device: cpu`."""
        name, op, value = parts
        if isinstance(value, Token):
            value = self._name(value)
        return ast.Pin(self._name(name), str(op), value, self._span(name, value))

    def negative(self, parts: _Parts) -> ast.Quantity:
        """`-5 s` of a pin."""
        sign, quantity = parts
        return ast.Quantity(-quantity.value, quantity.unit, self._span(sign, quantity))

    def string(self, parts: _Parts) -> ast.Literal:
        """A string of either kind."""
        return self._string(parts[0])

    def number(self, parts: _Parts) -> ast.Literal:
        """A number without a unit."""
        return ast.Literal(self._number(parts[0]), self._at(parts[0]))

    def true(self, parts: _Parts) -> ast.Literal:
        """`true`."""
        return ast.Literal(True, self._at(parts[0]))

    def false(self, parts: _Parts) -> ast.Literal:
        """`false`."""
        return ast.Literal(False, self._at(parts[0]))

    def none(self, parts: _Parts) -> ast.Literal:
        """`none`."""
        return ast.Literal(None, self._at(parts[0]))


def _expressions(parts: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(part for part in parts if part is not None and not isinstance(part, Token))
