"""Text to syntax tree: an LALR(1) parser that reports several syntax errors at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Any

from lark import Lark, Token, UnexpectedToken
from lark.parsers.lalr_analysis import Shift

from ..grammar import MKB, parser
from ..ir.diagnostics import CompileError, Diagnostic, Span
from . import ast
from .builder import Builder
from .lexer import CLOSING, MAX_NESTING, Lexed, lex, token_span, too_deep
from .syntax_errors import AFTER_NAME, DECLARATIONS, Mistake, explain

MAX_FINDINGS = 20

_CLAUSES = {"MINIMIZE", "MAXIMIZE", "REQUIRE", "EXPECT"}
_ONE_AT_A_TIME = Lock()  # lark binds the builder to the parser, so parses take turns


def parse(text: str, path: str) -> ast.File:
    """Return the syntax tree of a file's text; `path` is the name its spans carry.

    Raises CompileError with all syntax errors found. The tree is at most MAX_NESTING levels deep,
    so that what visits it may recurse.
    """
    with _ONE_AT_A_TIME:
        lark, builder = _tables()
        lexed = lex(lark, text, path)
        builder.begin(path)
        run = _Run(lark, path, lexed)
        declarations = [] if lexed.fatal else run.declarations()
        findings = [*lexed.findings, *_believable(lexed, [*run.findings, *builder.findings])]
    if findings:
        raise CompileError(findings)
    _check_depth(declarations)
    documented = tuple(_with_doc(declaration, lexed.docs) for declaration in declarations)
    end = token_span(lexed.tokens[-1], path)
    whole = Span(path, 1, 1, end.line, end.column)
    return ast.File(path, documented, lexed.comments, whole)


@cache
def _tables() -> tuple[Lark, Builder]:
    builder = Builder()
    lark = parser(MKB, builder)
    return lark, builder


class _Run:
    """One parse: feeds tokens, and after a mistake goes on at the next statement or declaration."""

    def __init__(self, lark: Lark, path: str, lexed: Lexed) -> None:
        self.lark = lark
        self.path = path
        self.tokens = lexed.tokens
        self.findings: list[Diagnostic] = []
        self.parser = lark.parse_interactive("")
        self.table: dict[int, dict[str, Any]] = self.parser.parser_state.parse_conf.states

    def declarations(self) -> list[ast.Declaration]:
        """Return the declarations of the file; incomplete when there are findings."""
        at = 0
        result: Any = ()
        while at < len(self.tokens) and len(self.findings) < MAX_FINDINGS:
            try:
                result = self.parser.feed_token(self.tokens[at])
                at += 1
            except UnexpectedToken:
                self.findings.append(self._explain(at))
                at = self._recover(at)
        return list(result or ())

    def _explain(self, at: int) -> Diagnostic:
        opened = _unclosed(self.parser.parser_state.value_stack)
        mistake = Mistake(
            self.tokens[at],
            self.tokens[max(0, at - 3) : at],
            self.tokens[at + 1 : at + 2],
            frozenset(self.parser.accepts()),  # type: ignore[no-untyped-call]
            opened[-1] if opened else None,
            {t.name: t.pattern.value for t in self.lark.terminals if t.pattern.type == "str"},
        )
        return explain(mistake, self.path)

    def _recover(self, at: int) -> int:
        """Return where to go on, with the parser in a state to do so."""
        state = self.parser.parser_state
        opened: list[Token] = []  # brackets that the stack leaves open from `depth` on, reversed
        closed = 0  # brackets before those that were opened before `depth`
        for depth in range(len(state.state_stack) - 1, -1, -1):
            value = state.value_stack[depth] if depth < len(state.value_stack) else None
            if isinstance(value, Token) and value.type in CLOSING.values():
                closed += 1
            elif isinstance(value, Token) and value.type in CLOSING and closed:
                closed -= 1
            elif isinstance(value, Token) and value.type in CLOSING:
                opened.append(value)
            row = self.table[state.state_stack[depth]]
            kind = next((k for k in ("YIELD", "REQUIRE") if row.get(k, (None,))[0] is Shift), None)
            if kind is None or closed:  # no boundary, or one of a block that is over
                continue
            goes_on = self._next_part(at, kind, opened[::-1])
            if goes_on is None:
                break
            del state.state_stack[depth + 1 :]
            del state.value_stack[depth:]
            return goes_on
        self.parser = self.lark.parse_interactive("")
        return self._next_declaration(at)

    def _next_declaration(self, at: int) -> int:
        for index in range(at, len(self.tokens)):
            if self._declares(index):
                return index
        return len(self.tokens)

    def _declares(self, index: int) -> bool:
        if self.tokens[index].type not in DECLARATIONS:
            return False
        if index > 0 and self.tokens[index - 1].type == "EFFECT":
            return False
        return self.tokens[index + 1].type not in AFTER_NAME

    def _next_part(self, at: int, kind: str, unclosed: list[Token]) -> int | None:
        """Return the next statement (or clause) or the end of the block, before a declaration.

        `unclosed` are the brackets open where the parse got stuck, since the block began.
        """
        entered = 0
        for index in range(at, len(self.tokens)):
            token = self.tokens[index]
            if self._declares(index) or token.type == "$END":
                return None
            if entered == 0 and self._begins(index, kind, at, bool(unclosed)):
                return index
            if token.type in CLOSING:
                entered += 1
            elif token.type in CLOSING.values() and entered:
                entered -= 1
            elif token.type == "RBRACE":
                if all(bracket.type != "LBRACE" for bracket in unclosed):
                    return index if kind == "YIELD" else None
                while unclosed.pop().type != "LBRACE":
                    continue
        return None

    def _begins(self, index: int, kind: str, after: int, in_brackets: bool) -> bool:
        token = self.tokens[index]
        if kind == "REQUIRE":
            return token.type in _CLAUSES or (token.type == "LBRACE" and self._on_new_line(index))
        if index == after and index > 0 and not self._on_new_line(index):
            return False
        if token.type in ("YIELD", "RETURN"):
            return True
        if token.type != "NAME" or not self._on_new_line(index):
            return False
        begun = ("EQUAL", "LPAR") if in_brackets else ("EQUAL", "LPAR", "EQ", "COLON")
        return self.tokens[index + 1].type in begun

    def _on_new_line(self, index: int) -> bool:
        return index == 0 or (self.tokens[index].line or 0) > (self.tokens[index - 1].end_line or 0)


def _unclosed(values: list[Any]) -> list[Token] | None:
    """Return the brackets that the end of a parser's stack leaves open, the innermost last.

    None when it closes a bracket that was opened before.
    """
    opened: list[Token] = []
    for value in values:
        if isinstance(value, Token) and value.type in CLOSING:
            opened.append(value)
        elif isinstance(value, Token) and value.type in CLOSING.values():
            if not opened:
                return None
            opened.pop()
    return opened


def _believable(lexed: Lexed, findings: list[Diagnostic]) -> Iterator[Diagnostic]:
    """Leave out what a broken token, already reported, has most likely caused."""
    broken = {found.span.line for found in lexed.findings if found.span is not None}
    for found in findings:
        span = found.span
        if span is None or span.line in broken:
            continue
        if lexed.reliable_until is None or (span.line, span.column) < lexed.reliable_until:
            yield found


def _with_doc(declaration: ast.Declaration, docs: dict[tuple[int, int], str]) -> ast.Declaration:
    if isinstance(declaration, ast.Import):
        return declaration
    doc = docs.get((declaration.span.line, declaration.span.column))
    return declaration if doc is None else replace(declaration, doc=doc)


def _check_depth(declarations: list[ast.Declaration]) -> None:
    pending: list[tuple[Any, int]] = [(declaration, 0) for declaration in declarations]
    while pending:
        node, depth = pending.pop()
        if isinstance(node, tuple):
            pending.extend((part, depth) for part in node)
            continue
        span = getattr(node, "span", None)
        if span is None or isinstance(node, ast.Name | ast.Literal):
            continue
        if depth > MAX_NESTING:
            raise CompileError([too_deep(span)])
        pending.extend((getattr(node, slot), depth + 1) for slot in node.__slots__)
