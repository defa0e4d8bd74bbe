"""The grammars of the `.mkb` language and of the textual IR; nothing but grammars.

Beside each stand the parse tables that lark makes of it, as JSON: making them takes a tenth of a
second, reading them a tenth of that. `python -m murakkab.grammar` writes them anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark, Token, Transformer

MKB = Path(__file__).with_name("mkb.lark")
IR = Path(__file__).with_name("ir.lark")
# Terminals of `.mkb` that no rule mentions: comments, and what is wrong wherever it stands.
ALWAYS_LEXED = ("COMMENT", "WORD", "UNTERMINATED_STRING", "UNTERMINATED_LONGSTRING", "STRAY")
_OPTIONS: Mapping[Path, Mapping[str, Any]] = {
    MKB: {"start": "file", "lexer": "basic", "keep_all_tokens": True, "maybe_placeholders": True},
    IR: {"start": "module"},
}


class _KeepAll:
    """Lark's hook between lexer and parser, used to keep terminals that no rule mentions."""

    always_accept = ALWAYS_LEXED

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """Pass the tokens through."""
        return stream


def parser(grammar: Path, transformer: Transformer[Token, Any] | None = None) -> Lark:
    """Return an LALR parser of a grammar, with what is to be done at each of its rules.

    Tables made of another grammar or by another lark are left aside.
    """
    found = _loaded(grammar, transformer)
    return made(grammar, transformer) if found is None else found


def _loaded(grammar: Path, transformer: Transformer[Token, Any] | None) -> Lark | None:
    from lark import Lark

    try:
        tables = json.loads(tables_of(grammar).read_text("utf-8"), object_pairs_hook=_numbered)
    except (OSError, ValueError):
        return None
    if tables["made_of"] != _made_of(grammar):
        return None
    load: Any = Lark._load_from_dict  # which lark's own stand-alone parsers use; it has no types
    found: Lark = load(tables["data"], tables["memo"], **_use(grammar, transformer))
    return found


def made(grammar: Path, transformer: Transformer[Token, Any] | None = None) -> Lark:
    """Return a parser made from the grammar's text."""
    import lark.lexer

    # Where the package interegular happens to be installed (vLLM brings it), lark compares every
    # two terminals for overlaps: half a second at each start, for grammars that do not change.
    lark.lexer.has_interegular = False
    text = grammar.read_text("utf-8")
    return lark.Lark(text, parser="lalr", **_OPTIONS[grammar], **_use(grammar, transformer))


def _use(grammar: Path, transformer: Transformer[Token, Any] | None) -> dict[str, Any]:
    """Return the options that tables do not hold."""
    return {"transformer": transformer, "postlex": _KeepAll() if grammar == MKB else None}


def tables_of(grammar: Path) -> Path:
    """Return where a grammar's parse tables are."""
    return grammar.with_suffix(".json")


def tables(grammar: Path) -> str:
    """Return a grammar's parse tables as the text of their file."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = made(grammar).memo_serialize([TerminalDef, Rule])
    data["options"]["postlex"] = None  # given anew when the tables are used
    document = {"made_of": _made_of(grammar), "data": data, "memo": memo}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False) + "\n"


def _made_of(grammar: Path) -> str:
    """Return a digest of what tables are made of: lark keeps their form within a major version."""
    import lark

    options = repr((sorted(_OPTIONS[grammar].items()), ALWAYS_LEXED))
    of = (grammar.read_text("utf-8"), options, lark.__version__.partition(".")[0])
    return hashlib.sha256("\0".join(of).encode()).hexdigest()


def _numbered(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    """Give numbers back to keys: JSON knows only text there."""
    return {int(key) if key.isdecimal() else key: value for key, value in pairs}
