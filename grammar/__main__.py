"""Writes the parse tables of the grammars, to be run when a grammar has changed."""

from __future__ import annotations

from . import IR, MKB, tables, tables_of

for grammar in (MKB, IR):
    tables_of(grammar).write_text(tables(grammar), encoding="utf-8")
