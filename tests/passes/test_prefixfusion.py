"""Prefix fusion: the same sections in an order that costs no more, results untouched."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from murakkab.ir.reader import read_module
from murakkab.ir.remarks import Reporter
from murakkab.ir.workflow import Module
from murakkab.passes.fuse import Fuse
from murakkab.passes.prefixfusion import fuse_prefixes
from murakkab.passes.prompts.sections import sections_of
from murakkab.passes.prompts.sharing import computed_tokens, sites_of

from ..ir.modules import modules
from .properties import LIBRARY, arguments, holds, same_meaning

TWO_TASKS = (
    "module logical "
    'task @first(%a: Text, %b: Text) -> Text {binding = ["a", "b"], interface = "generate", '
    'prompt = "x"} '
    'task @second(%a: Text, %b: Text) -> Text {binding = ["a", "b"], interface = "generate", '
    'prompt = "x"} '
    "workflow @w(%q: Text, %xs: [Text], %flag: Bool) -> [Text] { "
    "%r = map(%xs) { ^(%x: Text) "
    "%f = call @first(%x, %q) {candidates = [@model]} : Text "
    "%s = call @second(%q, %x) {candidates = [@model]} : Text "
    "%t = add(%f, %s) : Text yield(%t) } : [Text] return(%r) }"
)
lines = st.sampled_from(
    (
        *("{a}", "A: {a}", "{b}", "B: {b}", "<b>", "{b}", "</b>"),
        *("Do what you are told to do.", "Say {a} to {b}.", "Be brief, and say nothing else.", ""),
        *("See above.", "- one", "of course", "Examples:"),
    )
)
prompts = st.lists(lines, min_size=1, max_size=7).map("\n".join).filter(str.strip)


def order(module: Module) -> dict[str, list[str]]:
    return {t.name: [s.text for s in sections_of(t.prompt or "").sections] for t in module.tasks}


def cost(module: Module) -> float:
    split = {t.name: sections_of(t.prompt).sections for t in module.tasks if t.prompt is not None}
    return computed_tokens(sites_of(module), split)


@settings(deadline=None)
@given(modules(), arguments)
def test_keeps_rules_results_effects_and_calls(module: Module, given: dict[str, object]) -> None:
    holds(Fuse(maps=False, prefix=True), module, given)


@settings(deadline=None)
@given(prompts, prompts, arguments)
def test_sections_stay_whole_and_cost_no_more(
    first: str, second: str, given: dict[str, object]
) -> None:
    module = read_module(TWO_TASKS)
    own = zip(module.tasks, (first, second), strict=True)
    module = replace(module, tasks=tuple(replace(task, prompt=text) for task, text in own))
    after = fuse_prefixes(module, LIBRARY, 0.9, Reporter("fuse"))
    before, found = order(module), order(after)
    assert cost(after) <= cost(module)
    for name, sections in found.items():
        assert Counter(sections) == Counter(before[name])
    same_meaning(module, after, given)
    for op in after.sole().calls():
        changed = found[str(op.symbol)] != before[str(op.symbol)]
        assert op.number("factor", 1.0) == (0.9 if changed else 1.0)
