"""Canonicalisation: the folding table agrees with the runtime; results, effects, calls stay."""

from collections.abc import Callable
from itertools import product
from typing import Any

from hypothesis import given, settings

from murakkab.ir.ops import OPS, Op
from murakkab.ir.printer import print_module
from murakkab.ir.reader import read_module
from murakkab.ir.semantics import COMPUTES
from murakkab.ir.workflow import Module
from murakkab.passes.canonicalize import Canonicalize
from murakkab.passes.folding import MAX_TEXT
from murakkab.passes.fuse import Fuse
from murakkab.passes.hoist import Hoist
from murakkab.runtime.evaluate import evaluator

from ..ir.modules import modules
from .properties import arguments, context, holds


@settings(deadline=None)
@given(modules(), arguments)
def test_keeps_rules_results_effects_and_calls(module: Module, given: dict[str, object]) -> None:
    holds(Canonicalize(), module, given)


def test_folding_computes_what_the_runtime_computes() -> None:
    values = (True, False, 0, 3, -2, 0.5, -0.0, "", "a", "é")
    for kind, compute in COMPUTES.items():
        op = Op(kind)
        for operands in product(values, repeat=OPS[kind].operands or 0):
            assert outcome(compute, operands) == outcome(evaluator(op), operands)


def outcome(function: Callable[..., Any], operands: tuple[Any, ...]) -> str:
    try:
        return repr(function(*operands))
    except (ArithmeticError, TypeError) as error:
        return type(error).__name__


def test_deep_nesting_costs_no_stack() -> None:
    depth = 290
    opening = "".join(f"%x{i} = if(%b) {{ " for i in range(depth))
    closing = "".join(f"}} {{ yield(%q) }} : Text yield(%x{i}) " for i in reversed(range(1, depth)))
    text = (
        "module flow task @f(%q: Text) -> Text workflow @w(%q: Text, %b: Bool) -> Text { "
        f"{opening} %y = call @f(%q) : Text %z = call @f(%q) : Text yield(%y) {closing} "
        "} { yield(%q) } : Text return(%x0) }"
    )
    module = read_module(text)
    for step in (Canonicalize(), Hoist(), Fuse()):
        module = step.run(module, context())
    assert print_module(module).count("call @f") == 1


def test_folded_text_and_numbers_stay_small() -> None:
    doubled = "".join(f"%t{i + 1} = add(%t{i}, %t{i}) : Text " for i in range(64))
    squared = "".join(f"%n{i + 1} = mul(%n{i}, %n{i}) : Int " for i in range(64))
    text = (
        'module flow workflow @w() -> Text { %t0 = const() {value = "ab"} : Text '
        f"%n0 = const() {{value = 7}} : Int {doubled} {squared} "
        "%l = list(%n64) : [Int] %r = record(%t64, %l) {fields = "
        '["t", "n"]} : {t: Text, n: [Int]} %f = field(%r) {name = "t"} : Text return(%f) }'
    )
    after = Canonicalize().run(read_module(text), context())
    assert len(print_module(after)) < 4 * MAX_TEXT
