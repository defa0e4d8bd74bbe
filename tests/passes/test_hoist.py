"""Hoist: results, effects, calls stay."""

import pytest
from hypothesis import given, settings

from murakkab.ir.reader import read_module
from murakkab.ir.workflow import Module
from murakkab.passes.hoist import Hoist

from ..ir.modules import modules
from .interpreter import interpret
from .properties import arguments, context, holds


@settings(deadline=None)
@given(modules(), arguments)
def test_keeps_rules_results_effects_and_calls(module: Module, given: dict[str, object]) -> None:
    holds(Hoist(), module, given)


@pytest.mark.parametrize("items", [0, 1, 5])
def test_n_calls_become_one_and_none_stays_none(items: int) -> None:
    module = read_module(
        "module flow task @ask(%q: Text) -> Text "
        "workflow @w(%q: Text, %xs: [Text]) -> [Text] { "
        "%m = map(%xs) { ^(%x: Text) %t = call @ask(%q) : Text %y = add(%x, %t) : Text yield(%y) } "
        ": [Text] return(%m) }"
    )
    given = {"q": "why?", "xs": ["x"] * items}
    after = interpret(Hoist().run(module, context()), given)
    assert after.calls["ask"] == min(items, 1)
    assert after.result == interpret(module, given).result
