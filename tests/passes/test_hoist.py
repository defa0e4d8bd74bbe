"""Hoist: results, effects, calls stay."""

from hypothesis import given, settings

from murakkab.ir.workflow import Module
from murakkab.passes.hoist import Hoist

from ..ir.modules import modules
from .properties import arguments, holds


@settings(deadline=None)
@given(modules(), arguments)
def test_keeps_rules_results_effects_and_calls(module: Module, given: dict[str, object]) -> None:
    holds(Hoist(), module, given)
