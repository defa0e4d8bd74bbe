"""Fuse: results, effects, calls stay."""

from hypothesis import given, settings

from murakkab.ir.reader import read_module
from murakkab.ir.workflow import Module
from murakkab.passes.canonicalize import Canonicalize
from murakkab.passes.fuse import Fuse

from ..ir.modules import modules
from .interpreter import interpret
from .properties import arguments, context, holds


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
