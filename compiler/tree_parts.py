"""What the rules of the syntax tree's builder share: places, names, numbers, strings, findings."""

from __future__ import annotations

from math import isfinite
from typing import Any

from lark import Token, Transformer

from ..ir.diagnostics import Diagnostic, Span, did_you_mean
from . import ast
from .lexer import token_span
from .strings import dedent, unescape

MAX_INT = 2**63 - 1


class TreeParts(Transformer[Token, ast.File]):
    """Makes parts of the tree and collects what is wrong; `begin` starts another file."""

    def __init__(self) -> None:
        """Make a builder; it serves one parse at a time."""
        super().__init__(visit_tokens=False)
        self.path = ""
        self.findings: list[Diagnostic] = []

    def begin(self, path: str) -> None:
        """Forget the file before and build the next, whose spans name `path`."""
        self.path = path
        self.findings = []

    def _span(self, first: Any, last: Any) -> Span:
        start = token_span(first, self.path) if isinstance(first, Token) else first.span
        end = token_span(last, self.path) if isinstance(last, Token) else last.span
        return Span(self.path, start.line, start.column, end.end_line, end.end_column)

    def _at(self, token: Token) -> Span:
        return token_span(token, self.path)

    def _name(self, token: Token) -> ast.Name:
        return ast.Name(str(token), self._at(token))

    def _report(self, id: str, message: str, span: Span, help: str | None = None) -> None:
        self.findings.append(Diagnostic(id, message, span, help=help))

    def _one_of(self, known: tuple[str, ...], token: Token, kind: str) -> ast.Name:
        if token not in known:
            words = ", ".join(f"`{word}`" for word in known)
            help = did_you_mean(token, known) or f"one of {words}"
            self._report(f"unknown-{kind}", f"`{token}` is no {kind}", self._at(token), help)
        return self._name(token)

    def _number(self, token: Token) -> int | float:
        text = token.lstrip("$ \t")
        value = float(text)
        if "." in text and isfinite(value):
            return value
        if value <= float(MAX_INT) and int(text) <= MAX_INT:
            return int(text)
        self._report(
            "number-too-large", "this number is too large", self._at(token), f"at most {MAX_INT}"
        )
        return 1

    def _string(self, token: Token) -> ast.Literal:
        span = self._at(token)
        if token.type == "LONGSTRING":
            return ast.Literal(dedent(token), span, long=True)
        value, unknown = unescape(token)
        for offset in unknown:
            at = Span(
                self.path, span.line, span.column + offset, span.line, span.column + offset + 2
            )
            self._report(
                "unknown-escape",
                f"`\\{token[offset + 1]}` is no escape",
                at,
                'the escapes are `\\\\`, `\\"`, `\\n` and `\\t`',
            )
        return ast.Literal(value, span)
