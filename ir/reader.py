"""Read the IR's text back into a module; the text is untrusted, every fault is a diagnostic."""

from __future__ import annotations

import json
import math
import threading
from functools import cache
from typing import Any, cast

from lark import Token, Transformer, UnexpectedInput, v_args

from .. import grammar
from . import types as t
from .diagnostics import CompileError, Diagnostic, Span
from .ops import LEVELS, Attr, Attrs, Op, Region, Symbol, Value, attributes
from .workflow import (
    METRICS,
    PERCENTILES,
    Engine,
    Expectation,
    Module,
    Requirement,
    Task,
    Workflow,
)

_MAX_DEPTH = 300  # of brackets; whatever walks regions stays within the interpreter's stack
_WORDS: dict[str, Attr] = {"true": True, "false": False, "none": None}


def read_module(text: str, path: str = "<ir>") -> Module:
    """Return the module a text stands for; raises CompileError with the place of a fault.

    Names are resolved (a use before its definition is an error); the other rules of a valid module
    are the verifier's.
    """
    if _depth(text) > _MAX_DEPTH:
        raise _error(path, 1, 1, 2, f"nested deeper than {_MAX_DEPTH} levels")
    try:
        module = _parser().parse(text)
    except UnexpectedInput as error:
        token = getattr(error, "token", None)
        found = str(token if token is not None else getattr(error, "char", "")).strip()
        line, column = max(error.line, 1), max(error.column, 1)
        message = f"`{found[:40]}` cannot stand here" if found else "the text ends too early"
        raise _error(path, line, column, column + max(len(found), 1), message) from None
    except _Fault as fault:
        at = fault.token
        line, column = at.line or 1, at.column or 1
        raise _error(path, line, column, at.end_column or column + 1, fault.message) from None
    return module


class _Fault(Exception):
    """A fault found while building, at a token; lark passes it through unchanged."""

    def __init__(self, token: Token, message: str) -> None:
        super().__init__(message)
        self.token = token
        self.message = message


def _error(path: str, line: int, column: int, end: int, message: str) -> CompileError:
    return CompileError([Diagnostic("invalid-ir", message, Span(path, line, column, line, end))])


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
    return deepest


class _Parser(threading.local):
    """The parser and the builder it calls, one of each per thread: making them is what takes time.

    A builder's state lasts for one text only.
    """

    def __init__(self) -> None:
        self.builder = _Builder()
        self.lark = grammar.parser(grammar.IR, self.builder)

    def parse(self, text: str) -> Module:
        self.builder.restart()
        # with an inline transformer lark returns what `module` returned, whatever it declares
        return cast(Module, self.lark.parse(text))


@cache
def _parser() -> _Parser:
    return _Parser()


@v_args(inline=True)
class _Builder(Transformer[Token, Any]):
    """Builds the module while the parser runs: definitions are met before their uses."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, Value] = {}

    def restart(self) -> None:
        """Forget what a text that was wrong has left behind."""
        self._values.clear()

    # ---- types

    def base(self, token: Token) -> t.Type:
        if token != "Never" and token not in t.BASE_TYPES:
            raise _Fault(token, f"unknown type `{token}`")
        return t.Base(str(token))

    def literal(self, token: Token) -> t.Type:
        return t.enum((_text(token),))

    def union(self, *tokens: Token) -> t.Type:
        return t.enum(tuple(map(_text, tokens)))

    def optional(self, item: t.Type) -> t.Type:
        return t.option(item)

    def list(self, item: t.Type) -> t.Type:
        return t.ListOf(item)

    def field(self, name: Token, kind: t.Type) -> tuple[str, t.Type]:
        return str(name), kind

    def record(self, *fields: tuple[str, t.Type]) -> t.Type:
        return t.Record(fields)

    # ---- attributes

    def string(self, token: Token) -> Attr:
        return _text(token)

    def number(self, token: Token) -> Attr:
        return _number(token)

    def symbol(self, token: Token) -> Attr:
        return Symbol(token[1:])

    def word(self, token: Token) -> Attr:
        if token not in _WORDS:
            raise _Fault(token, f"`{token}` is not a value; quote text")
        return _WORDS[token]

    def items(self, *values: Attr) -> Attr:
        return values

    def attr(self, name: Token, value: Attr) -> tuple[Token, Attr]:
        return name, value

    def attrs(self, *pairs: tuple[Token, Attr]) -> Attrs:
        out: dict[str, Attr] = {}
        for name, value in pairs:
            if name in out:
                raise _Fault(name, f"attribute `{name}` is set twice")
            # a bare name is a flag; lark passes None for the missing value
            out[str(name)] = True if value is None else value
        return attributes(out)

    # ---- places

    def span(self, file: Token, *numbers: Token) -> Span:
        line, column, end_line, end_column = (int(_number(n)) for n in numbers)
        return Span(_text(file), line, column, end_line, end_column)

    def locs(self, *spans: Span) -> tuple[Span, ...]:
        return spans

    # ---- operations

    def binder(self, name: Token, kind: t.Type) -> Value:
        return self._define(name, kind)

    def binders(self, *values: Value) -> tuple[Value, ...]:
        return values

    def operands(self, *names: Token) -> tuple[Value, ...]:
        return tuple(self._use(name) for name in names)

    def region(self, *parts: Any) -> Region:
        args, *ops = parts
        return Region(args or (), tuple(ops))

    def op(
        self,
        result: Token | None,
        kind: Token,
        symbol: Token | None,
        operands: tuple[Value, ...],
        *rest: Any,
    ) -> Op:
        regions = rest[:-3]
        attrs: Attrs | None = rest[-3]
        type: t.Type | None = rest[-2]
        locs: tuple[Span, ...] | None = rest[-1]
        if (result is None) != (type is None):
            raise _Fault(kind, f"`{kind}` needs both a result and its type, or neither")
        value = None if result is None or type is None else self._define(result, type)
        callee = None if symbol is None else Symbol(symbol[1:])
        return Op(str(kind), operands, value, callee, attrs or (), regions, locs or ())

    def _define(self, name: Token, kind: t.Type) -> Value:
        if name in self._values:
            raise _Fault(name, f"`{name}` is defined twice")
        value = Value(str(name[1:]), kind)
        self._values[str(name)] = value
        return value

    def _use(self, name: Token) -> Value:
        if name not in self._values:
            raise _Fault(name, f"`{name}` is used before it is defined")
        return self._values[name]

    # ---- module items

    def describe(self, text: Token) -> dict[str, Any]:
        return {"description": _text(text)}

    def goals(self, *names: Token) -> dict[str, Any]:
        return {"goals": tuple(_one_of(name, METRICS, "metric") for name in names)}

    def require(
        self, name: Token, op: Token, value: Token, text: Token, locs: tuple[Span, ...] | None
    ) -> dict[str, Any]:
        metric, _, percentile = name.partition(".")
        _one_of(Token.new_borrow_pos("NAME", metric, name), METRICS, "metric")
        if percentile:
            _one_of(Token.new_borrow_pos("NAME", percentile, name), PERCENTILES, "percentile")
        limit = float(_number(value)) if value.type == "NUMBER" else str(value)
        place = locs[0] if locs else None
        need = Requirement(metric, str(op), limit, percentile or None, _text(text), place)  # type: ignore[arg-type]
        return {"requirements": (need,)}

    def expect(self, fact: Token, value: Token, locs: tuple[Span, ...] | None) -> dict[str, Any]:
        found = Expectation(_text(fact), float(_number(value)), locs[0] if locs else None)
        return {"expectations": (found,)}

    def workflow_attrs(self, attrs: Attrs) -> dict[str, Any]:
        return {"attrs": attrs}

    def task(
        self,
        name: Token,
        params: tuple[Value, ...],
        result: t.Type,
        attrs: Attrs | None,
        locs: tuple[Span, ...] | None,
    ) -> Task:
        self._values.clear()
        values: dict[str, Any] = dict(attrs or ())
        for key, value in values.items():
            wanted = _TASK_TYPES.get(key, str)
            if key not in _TASK_ATTRS or not isinstance(value, wanted):
                raise _Fault(name, f"`{key}` cannot be an attribute of a task with this value")
        return Task(name[1:], params, result, loc=locs[0] if locs else None, **values)

    def engine(self, name: Token, attrs: Attrs | None) -> Engine:
        return Engine(name[1:], attrs or ())

    def workflow(
        self, name: Token, params: tuple[Value, ...], result: t.Type, *rest: Any
    ) -> Workflow:
        *clauses, locs, body = rest
        self._values.clear()
        parts: dict[str, Any] = {}
        for clause in clauses:
            for key, value in clause.items():
                parts[key] = parts[key] + value if key in parts and key != "attrs" else value
        return Workflow(name[1:], params, result, body, loc=locs[0] if locs else None, **parts)

    def module(self, level: Token, attrs: Attrs | None, *items: Any) -> Module:
        _one_of(level, LEVELS, "level")
        return Module(
            str(level),  # type: ignore[arg-type]
            tuple(i for i in items if isinstance(i, Workflow)),
            tuple(i for i in items if isinstance(i, Task)),
            tuple(i for i in items if isinstance(i, Engine)),
            attrs or (),
        )


_TASK_TYPES: dict[str, type] = {
    "answers": tuple,
    "binding": tuple,
    "effect": bool,
    "scored": bool,
}
_TASK_ATTRS = (
    "answers",
    "binding",
    "description",
    "effect",
    "interface",
    "prompt",
    "scored",
    "system",
    "using",
)


def _text(token: Token) -> str:
    try:
        return str(json.loads(token))
    except ValueError:
        raise _Fault(token, "unknown escape in a string") from None


def _number(token: Token) -> int | float:
    text = str(token)
    value = float(text)
    if not math.isfinite(value):
        raise _Fault(token, "the number is too large")
    return value if any(c in text for c in ".e") else int(text)


def _one_of(token: Token, known: tuple[str, ...], what: str) -> str:
    if token not in known:
        raise _Fault(token, f"unknown {what} `{token}`; known: {', '.join(known)}")
    return str(token)
