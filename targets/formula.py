"""Arithmetic of library files: numbers, `+ - * /`, sizes of parameters, knobs. Never `eval`.

    sum     = product { ("+" | "-") product } .
    product = unary { ("*" | "/") unary } .
    unary   = "-" unary | atom .
    atom    = NUMBER | "(" sum ")" | NAME { "." NAME } | FUNCTION "(" sum { "," sum } ")" .

`tokens(x) duration(x) len(x) pixels(x) bytes(x) images(x)` measure a parameter or a field of one;
`min max ceil` are arithmetic. A bare name is a knob; `video.fps` is a fact of a parameter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ..ir.diagnostics import nearest
from ..ir.ops import Attr
from .sizes import FACTS, Size

MEASURES = ("tokens", "duration", "len", "pixels", "bytes", "images")
ARITHMETIC = ("min", "max", "ceil")
# More than any formula a person writes, far from the interpreter's recursion limit.
_MAX_DEPTH = 50
_MAX_LENGTH = 500
_BLANK = re.compile(r"\s*")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<name>[a-z_][a-z0-9_]*)|(?P<sign>[-+*/().,]))"
)


class FormulaError(ValueError):
    """The text is not a formula; `offset` counts characters from its start."""

    def __init__(self, message: str, offset: int) -> None:
        """Keep what is wrong and where."""
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class Name:
    """A knob, or a parameter with the fields that follow it."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A measure of one name, or arithmetic over formulas."""

    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """Two formulas and one of `+ - * /`."""

    op: str
    left: Node
    right: Node


Node = Number | Name | Call | Binary


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula; equal when the text is."""

    text: str
    root: Node = field(compare=False, repr=False)

    def evaluate(self, params: Mapping[str, Size], knobs: Mapping[str, Attr]) -> float:
        """Return the value over the sizes of parameters and the settings of knobs.

        Raises ValueError where a name is unknown, a knob is not a number, or a divisor is zero.
        """
        return _evaluate(self.root, params, knobs)

    def names(self) -> frozenset[str]:
        """Return the knobs and parameters the formula mentions."""
        return frozenset(_names(self.root))


def constant(value: float) -> Formula:
    """Return the formula that is one number."""
    return Formula(f"{value:g}", Number(value))


def parse_formula(text: str) -> Formula:
    """Read a formula; FormulaError (a ValueError) has the offset of what is wrong."""
    if len(text) > _MAX_LENGTH:
        raise FormulaError(f"the formula is longer than {_MAX_LENGTH} characters", _MAX_LENGTH)
    parser = _Parser(text)
    root = parser.sum(0)
    parser.expect_end()
    return Formula(text, root)


class _Parser:
    """Recursive descent over a token at a time; lives for one call of `parse_formula`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0
        self.kind = ""
        self.value = ""
        self.end = 0
        self.advance()

    def advance(self) -> None:
        blank = _BLANK.match(self.text, self.end)
        self.offset = self.end if blank is None else blank.end()
        match = _TOKEN.match(self.text, self.end)
        if match is None or match.lastgroup is None:
            if self.offset < len(self.text):
                found = self.text[self.offset]
                raise FormulaError(f"`{found}` has no meaning in a formula", self.offset)
            self.kind, self.value = "end", ""
            return
        self.kind, self.value, self.end = match.lastgroup, match[match.lastgroup], match.end()

    def take(self, sign: str) -> bool:
        if self.kind != "sign" or self.value != sign:
            return False
        self.advance()
        return True

    def expect(self, sign: str) -> None:
        if not self.take(sign):
            raise FormulaError(f"expected `{sign}`, found {self.found()}", self.offset)

    def found(self) -> str:
        return "the end" if self.kind == "end" else f"`{self.value}`"

    def expect_end(self) -> None:
        if self.kind != "end":
            raise FormulaError(f"expected an operator, found {self.found()}", self.offset)

    def sum(self, depth: int) -> Node:
        left = self.product(depth)
        while self.kind == "sign" and self.value in "+-":
            op = self.value
            self.advance()
            left = Binary(op, left, self.product(depth))
        return left

    def product(self, depth: int) -> Node:
        left = self.unary(depth)
        while self.kind == "sign" and self.value in "*/":
            op = self.value
            self.advance()
            left = Binary(op, left, self.unary(depth))
        return left

    def unary(self, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise FormulaError("the formula is nested too deeply", self.offset)
        if self.take("-"):
            return Binary("-", Number(0.0), self.unary(depth + 1))
        return self.atom(depth)

    def atom(self, depth: int) -> Node:
        if self.kind == "number":
            number = Number(float(self.value))
            self.advance()
            return number
        if self.take("("):
            inner = self.sum(depth + 1)
            self.expect(")")
            return inner
        if self.kind != "name":
            message = f"expected a number, a name or `(`, found {self.found()}"
            raise FormulaError(message, self.offset)
        name, start = self.value, self.offset
        self.advance()
        if self.take("("):
            return self.call(name, start, depth)
        return self.path(name)

    def path(self, head: str) -> Name:
        parts = [head]
        while self.take("."):
            if self.kind != "name":
                raise FormulaError(f"expected a field, found {self.found()}", self.offset)
            parts.append(self.value)
            self.advance()
        return Name(tuple(parts))

    def call(self, name: str, start: int, depth: int) -> Call:
        if name not in (*MEASURES, *ARITHMETIC):
            close = nearest(name, (*MEASURES, *ARITHMETIC))
            hint = f"; did you mean `{close}`?" if close else ""
            raise FormulaError(f"no function `{name}`{hint}", start)
        args: list[Node] = [self.sum(depth + 1)]
        while self.take(","):
            args.append(self.sum(depth + 1))
        self.expect(")")
        if name in MEASURES and not (len(args) == 1 and isinstance(args[0], Name)):
            raise FormulaError(f"`{name}` measures one parameter or field", start)
        if name == "ceil" and len(args) != 1:
            raise FormulaError("`ceil` takes one number", start)
        return Call(name, tuple(args))


def _evaluate(node: Node, params: Mapping[str, Size], knobs: Mapping[str, Attr]) -> float:
    match node:
        case Number(value):
            return value
        case Name(path):
            return _number(path, params, knobs)
        case Call(function, (Name(path),)) if function in MEASURES:
            return _size(path, params).total(function)
        case Call(function, args):
            values = [_evaluate(arg, params, knobs) for arg in args]
            if function == "ceil":
                return float(math.ceil(values[0]))
            return min(values) if function == "min" else max(values)
        case Binary(op, left, right):
            return _apply(op, _evaluate(left, params, knobs), _evaluate(right, params, knobs))


def _apply(op: str, a: float, b: float) -> float:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
    if b == 0:
        raise ValueError("division by zero")
    return a / b


def _number(path: tuple[str, ...], params: Mapping[str, Size], knobs: Mapping[str, Attr]) -> float:
    if len(path) == 1:
        setting = knobs.get(path[0])
        if isinstance(setting, (int, float)):
            return float(setting)
        if path[0] in knobs:
            raise ValueError(f"knob `{path[0]}` is not a number")
        raise ValueError(f"no knob `{path[0]}`")
    if path[-1] in FACTS:
        return _size(path[:-1], params).total(path[-1])
    raise ValueError(f"`{'.'.join(path)}` is not a number: measure it, as in `tokens({path[0]})`")


def _size(path: tuple[str, ...], params: Mapping[str, Size]) -> Size:
    size = params.get(path[0])
    if size is None:
        raise ValueError(f"no parameter `{path[0]}`")
    for name in path[1:]:
        size = size.field(name)
        if size is None:
            raise ValueError(f"no field `{name}` in `{'.'.join(path)}`")
    return size


def _names(node: Node) -> Iterator[str]:
    match node:
        case Name(path):
            yield path[0]
        case Call(_, args):
            for arg in args:
                yield from _names(arg)
        case Binary(_, left, right):
            yield from _names(left)
            yield from _names(right)
