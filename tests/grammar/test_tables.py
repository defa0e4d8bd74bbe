"""The parse tables that are shipped are those of the grammars, and parse the same."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given

from murakkab.grammar import IR, MKB, made, parser, tables, tables_of
from murakkab.ir.printer import print_module
from murakkab.ir.workflow import Module
from tests.compiler.samples import EVERYTHING
from tests.ir.modules import modules

GRAMMARS = {"mkb": MKB, "ir": IR}


def plain(tree: str) -> str:
    """Take out that a grammar just read names its rules by tokens, and tables by text."""
    return re.sub(r"Token\('RULE', ('\w+')\)", r"\1", tree)


@pytest.mark.parametrize("name", sorted(GRAMMARS))
def test_tables_are_made_of_the_grammar(name: str) -> None:
    kept = json.loads(tables_of(GRAMMARS[name]).read_text("utf-8"))
    fresh = json.loads(tables(GRAMMARS[name]))
    assert kept["made_of"] == fresh["made_of"], "run `python -m murakkab.grammar`"


def test_workflows_parse_the_same_with_tables_as_with_the_grammar() -> None:
    text = re.sub(r"//.*", "", EVERYTHING)  # the compiler takes comments out before it parses
    assert str(parser(MKB).parse(text)) == plain(str(made(MKB).parse(text)))


_READ, _MADE = parser(IR), made(IR)


@given(modules())
def test_modules_parse_the_same_with_tables_as_with_the_grammar(module: Module) -> None:
    text = print_module(module)
    assert str(_READ.parse(text)) == plain(str(_MADE.parse(text)))
