"""The levels mean the same: what `-O2` makes of a workflow does what `-O0` does, with fewer calls.

Steps fail where a digest of their arguments says so. Effects of a run that fails are the first of
those of one that does not.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from murakkab.ir.printer import print_module
from murakkab.ir.workflow import Module
from murakkab.passes.pipeline import LEVELS

from .compiling import UNORDERED, compiled, inputs, runs_ahead, workflows
from .interpreter import attempt
from .properties import failing, same


@settings(
    deadline=None, max_examples=90, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(workflows(), inputs, st.none() | st.integers(0, 2**16))
def test_rewriting_keeps_results_effects_and_calls(
    module: Module, given: dict[str, object], seed: int | None
) -> None:
    plain, optimised = compiled(module, LEVELS[0]), compiled(module, UNORDERED)
    note(print_module(plain, brief=True))
    note(print_module(optimised, brief=True))
    fails = failing(seed)
    expected = attempt(plain, given, fails)
    assert attempt(module, given, fails) == expected
    found = attempt(optimised, given, fails)
    same(expected, found)
    if expected.failure is None and not runs_ahead(optimised):
        assert found.made <= expected.made


@settings(
    deadline=None, max_examples=30, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(workflows(), inputs)
def test_the_order_of_conditions_keeps_results_and_effects(
    module: Module, given: dict[str, object]
) -> None:
    """Where no step fails: a condition asked first may fail on items that the other drops."""
    fails = failing(None)
    expected = attempt(module, given, fails)
    same(expected, attempt(compiled(module, LEVELS[2]), given, fails))
