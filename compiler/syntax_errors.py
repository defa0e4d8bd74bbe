"""Words for syntax errors: from a parser state and a token to a diagnostic."""

from __future__ import annotations

from dataclasses import dataclass

from lark import Token

from ..ir.diagnostics import Diagnostic
from .lexer import token_span


@dataclass(frozen=True, slots=True)
class Mistake:
    """Where a parse got stuck.

    `before` holds up to three tokens that went well, `after` the one that follows; `expected` the
    terminals that would have been right, `open` the innermost open bracket, and `spelling` how the
    fixed terminals are written.
    """

    found: Token
    before: tuple[Token, ...]
    after: tuple[Token, ...]
    expected: frozenset[str]
    open: Token | None
    spelling: dict[str, str]


def explain(mistake: Mistake, path: str) -> Diagnostic:
    """Return the most specific diagnostic for a mistake."""
    return Diagnostic(
        "syntax-error", f"unexpected `{mistake.found}`", token_span(mistake.found, path)
    )
