"""Fuse: results, effects, calls stay."""

from hypothesis import given, settings

from murakkab.ir.workflow import Module
from murakkab.passes.fuse import Fuse

from ..ir.modules import modules
from .properties import arguments, holds


@settings(deadline=None)
@given(modules(), arguments)
def test_keeps_rules_results_effects_and_calls(module: Module, given: dict[str, object]) -> None:
    holds(Fuse(), module, given)
