"""The grammars of the `.mkb` language and of the textual IR; nothing but grammars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

MKB = Path(__file__).with_name("mkb.lark")
IR = Path(__file__).with_name("ir.lark")


def parser(grammar: Path, start: str, **options: Any) -> Lark:
    """Return an LALR parser of a grammar; `options` are lark's."""
    import lark.lexer

    # Where the package interegular happens to be installed (vLLM brings it), lark compares every
    # two terminals for overlaps: half a second at each start, for grammars that do not change.
    lark.lexer.has_interegular = False
    return lark.Lark(grammar.read_text("utf-8"), start=start, parser="lalr", **options)
