"""Text to tokens: comments apart, and every complaint about single tokens as a finding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lark import Lark, Token

from ..ir.diagnostics import Diagnostic, Span
from . import ast

MAX_NESTING = 128
"""Levels of brackets, and of nodes in the syntax tree, that a program may nest."""

CLOSING = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}

_DOCUMENTED = {"TYPEDECL", "TASK", "EFFECT", "WORKFLOW"}
_STRAY_HELP = {
    ";": "statements need no `;`: start the next one on a new line",
    "'": 'strings are written in double quotes: `"…"`',
    "#": "comments begin with `//`",
    "&": "write `and`",
    "!": "write `not`",
    "“": 'strings are written in straight double quotes: `"…"`',
    "”": 'strings are written in straight double quotes: `"…"`',
    "\u2013": "write the plain minus sign `-`",
    "\u2212": "write the plain minus sign `-`",
    "$": "an amount of money is `$` and a number: `$0.01`",
    "\u00a0": "this is a no-break space: write a plain one",
}


@dataclass(frozen=True, slots=True)
class Lexed:
    """The tokens of a file, ending in `$END`, with what stands beside them.

    `docs` maps the position (line, column) of a declaration to its `///` text. `fatal` says that
    the tokens are not worth parsing; `reliable_until` is the position of the first unterminated
    string, after which complaints of the parser would be noise.
    """

    tokens: tuple[Token, ...]
    comments: tuple[ast.Comment, ...]
    docs: dict[tuple[int, int], str]
    findings: tuple[Diagnostic, ...]
    fatal: bool
    reliable_until: tuple[int, int] | None


def token_span(token: Token, path: str) -> Span:
    """Return where a token stands."""
    line, column = token.line or 1, token.column or 1
    return Span(path, line, column, token.end_line or line, token.end_column or column + 1)


def lex(lark: Lark, text: str, path: str) -> Lexed:
    """Split a text into tokens; never raises for any text."""
    session = lark.parse_interactive(text)  # has the lexer that `Lark.lex` would build each time
    tokens = session.lexer_thread.lex(session.parser_state)  # type: ignore[no-untyped-call]
    return _Lexing(path).run(tokens)


class _Lexing:
    def __init__(self, path: str) -> None:
        self.path = path
        self.tokens: list[Token] = []
        self.comments: list[ast.Comment] = []
        self.pending_docs: list[str] = []
        self.docs: dict[tuple[int, int], str] = {}
        self.findings: list[Diagnostic] = []
        self.open: list[Token] = []
        self.strays: set[tuple[int, str]] = set()
        self.fatal = False
        self.reliable_until: tuple[int, int] | None = None
        self.end = (1, 1)

    def run(self, stream: Iterator[Token]) -> Lexed:
        for token in stream:
            self.take(token)
            if self.fatal:
                break
        end = Token("$END", "", 0, self.end[0], self.end[1], self.end[0], self.end[1] + 1)
        return Lexed(
            (*self.tokens, end),
            tuple(self.comments),
            self.docs,
            tuple(self.findings),
            self.fatal,
            self.reliable_until,
        )

    def take(self, token: Token) -> None:
        kind = token.type
        if kind == "COMMENT":
            self.comment(token)
            return
        if kind == "STRAY":
            self.stray(token)
            return
        if kind in CLOSING:
            self.enter(token)
        elif kind in CLOSING.values() and self.open:
            self.open.pop()
        elif kind.startswith("UNTERMINATED"):
            token = self.unterminated(token)
        elif kind in _DOCUMENTED and self.pending_docs:
            self.docs[token.line or 1, token.column or 1] = "\n".join(self.pending_docs)
        self.pending_docs.clear()
        self.end = (token.end_line or 1, token.end_column or 1)
        self.tokens.append(token)

    def comment(self, token: Token) -> None:
        span = token_span(token, self.path)
        last = max(
            self.end[0] if self.tokens else 0,
            self.comments[-1].span.end_line if self.comments else 0,
        )
        own_line = span.line > last
        self.comments.append(ast.Comment(str(token).rstrip(), own_line, span))
        if own_line and token.startswith("///"):
            self.pending_docs.append(token[3:].removeprefix(" ").rstrip())

    def enter(self, token: Token) -> None:
        self.open.append(token)
        if len(self.open) > MAX_NESTING:
            self.findings.append(too_deep(token_span(token, self.path)))
            self.fatal = True

    def stray(self, token: Token) -> None:
        if self.is_known_stray(token):
            return
        shown = token if token.isprintable() else f"U+{ord(token):04X}"
        self.findings.append(
            Diagnostic(
                "stray-character",
                f"the character `{shown}` means nothing here",
                token_span(token, self.path),
                help=_STRAY_HELP.get(str(token)),
            )
        )

    def is_known_stray(self, token: Token) -> bool:
        """Tell whether the same character was reported on the same line."""
        key = (token.line or 1, str(token))
        known = key in self.strays
        self.strays.add(key)
        return known

    def unterminated(self, token: Token) -> Token:
        is_long = token.type == "UNTERMINATED_LONGSTRING"
        span = token_span(token, self.path)
        if self.reliable_until is None:
            self.reliable_until = (span.line, span.column)
        quote = '"""' if is_long else '"'
        self.findings.append(
            Diagnostic(
                "unterminated-string",
                f"this string has no closing `{quote}`",
                Span(self.path, span.line, span.column, span.line, span.column + len(quote)),
                help=f"close it with `{quote}`"
                if is_long
                else 'close it with `"`; a text of several lines stands between `"""` and `"""`',
            )
        )
        return Token.new_borrow_pos("LONGSTRING" if is_long else "STRING", f"{quote}{quote}", token)


def too_deep(span: Span) -> Diagnostic:
    """Return the complaint about nesting beyond MAX_NESTING, at the first character of `span`."""
    return Diagnostic(
        "nesting-too-deep",
        f"this nests deeper than {MAX_NESTING} levels",
        replace(span, end_line=span.line, end_column=span.column + 1),
        help="bind the inner part to a name of its own",
    )
