"""Fuse: results, effects, calls stay."""

from hypothesis import given, settings

from murakkab.ir.reader import read_module
from murakkab.ir.workflow import Module
from murakkab.passes.canonicalize import Canonicalize
from murakkab.passes.fuse import Fuse

from ..ir.modules import modules
from .interpreter import interpret
from .properties import arguments, context, holds, same_meaning


@settings(deadline=None)
@given(modules(), arguments)
def test_keeps_rules_results_effects_and_calls(module: Module, given: dict[str, object]) -> None:
    holds(Fuse(), module, given)


def test_a_call_that_two_loops_share_is_made_once_an_item() -> None:
    module = read_module(
        "module flow task @ask(%q: Text) -> Text task @split(%q: Text) -> [Text] "
        "workflow @w(%q: Text, %xs: [Text]) -> [Text] { "
        "%a = map(%xs) { ^(%x: Text) %s = call @ask(%x) : Text yield(%s) } : [Text] "
        "%all = join(%a, %q) : Text "
        "%b = map(%xs) { ^(%y: Text) %t = call @ask(%y) : Text %u = call @split(%t) : [Text] "
        "yield(%u) } : [[Text]] %c = flatten(%b) : [Text] %d = list(%all) : [Text] "
        "%r = add(%c, %d) : [Text] return(%r) }"
    )
    given = {"q": ", ", "xs": ["x", "y", "z"]}
    after = Canonicalize().run(Fuse().run(module, context()), context())
    assert interpret(module, given).calls == {"ask": 6, "split": 3}
    assert interpret(after, given).calls == {"ask": 3, "split": 3}
    assert interpret(after, given).result == interpret(module, given).result


def test_a_list_that_is_left_with_one_reader_is_fused_with_it() -> None:
    module = read_module(
        "module flow task @ask(%q: Text) -> Text "
        "workflow @w(%q: Text, %xs: [Text]) -> Text { "
        "%a = map(%xs) { ^(%i: Text) yield(%q) } : [Text] "
        "%b = map(%a) { ^(%x: Text) %c = call @ask(%q) : Text yield(%c) } : [Text] "
        "%d = map(%a) { ^(%y: Text) %e = call @ask(%q) : Text yield(%e) } : [Text] "
        "%r = join(%b, %q) : Text %s = join(%d, %q) : Text %t = add(%r, %s) : Text return(%t) }"
    )
    after = Fuse().run(module, context())
    same_meaning(module, after, {"q": ", ", "xs": ["x", "y"]})
    assert sum(op.operands[0].name == "xs" for op in after.sole().walk() if op.kind == "map") == 1
    assert sum(op.kind == "map" for op in after.sole().walk()) == 3  # one, and two that project
