"""Every rule of the verifier refuses what breaks it."""

import pytest

from murakkab.ir.diagnostics import CompileError
from murakkab.ir.reader import read_module
from murakkab.ir.verifier import RULES, verify


def flow(body: str, result: str = "Text") -> str:
    tasks = "task @e(%a: Text) -> Bool {effect} task @f(%a: Text) -> Text"
    return f"module flow {tasks} workflow @w(%q: Text, %b: Bool) -> {result} {{ {body} }}"


BROKEN = {
    "no terminator": ("shape", flow("%x = add(%q, %q) : Text")),
    "wrong terminator": ("shape", flow("yield(%q)")),
    "terminator not last": ("shape", flow("return(%q) return(%q)")),
    "unknown operation": ("shape", flow("%x = frobnicate(%q) : Text return(%x)")),
    "wrong level": ("shape", flow("%x = invoke @f(%q) : Text return(%x)")),
    "too many operands": ("shape", flow("%x = not(%b, %b) : Bool return(%q)")),
    "no region": ("shape", flow("%x = if(%b) : Text return(%x)")),
    "no symbol": ("shape", flow("%x = call(%q) : Text return(%x)")),
    "unknown attribute": ("shape", flow("%x = call @f(%q) {fast} : Text return(%x)")),
    "inner value outside": (
        "scopes",
        flow("%x = if(%b) { %y = add(%q, %q) : Text yield(%y) } { yield(%q) } : Text return(%y)"),
    ),
    "returned type": ("types", flow("return(%b)")),
    "operand types": ("types", flow("%x = add(%q, %b) : Text return(%x)")),
    "declared type": ("types", flow("%x = add(%q, %q) : Bool return(%q)")),
    "constant": ("types", flow("%x = const() {value = 1} : Text return(%x)")),
    "loop limit": (
        "types",
        flow("%x = loop(%q) { ^(%l: Text) yield(%l, %b, %l) } {limit = 0} : Text return(%x)"),
    ),
    "share of a branch": (
        "chances",
        flow("%x = if(%b) { yield(%q) } { yield(%q) } {likely = 1.5} : Text return(%x)"),
    ),
    "mean rounds": (
        "chances",
        flow(
            "%x = loop(%q) { ^(%l: Text) yield(%l, %b, %l) } {limit = 2, rounds = 2.5} : Text "
            "return(%x)"
        ),
    ),
    "answers without a field each": (
        "calls",
        flow("return(%q)")
        .replace("workflow", 'task @g(%a: Text) -> {b: Text} {answers = ["b", "c"]} workflow')
        .replace("{ return", "{ %x = call @g(%q) : {b: Text} return"),
    ),
    "placeholder of no parameter": (
        "prompts",
        flow("%x = call @g(%q) : Text return(%x)").replace(
            "workflow", 'task @g(%a: Text) -> Text {prompt = "{b}"} workflow'
        ),
    ),
    "placeholder of no field": (
        "prompts",
        flow("%x = call @g(%q) : Text return(%x)").replace(
            "workflow", 'task @g(%a: Text) -> Text {system = "{a.b}"} workflow'
        ),
    ),
    "prompt with a stray brace": (
        "prompts",
        flow("%x = call @g(%q) : Text return(%x)").replace(
            "workflow", 'task @g(%a: Text) -> Text {prompt = "{"} workflow'
        ),
    ),
    "factor of quality": (
        "chances",
        flow("%x = call @f(%q) {factor = 0.0} : Text return(%x)"),
    ),
    "weight of quality": (
        "chances",
        flow("%x = call @f(%q) {weight = true} : Text return(%x)"),
    ),
    "item type": (
        "types",
        flow(
            "%l = list(%q) : [Text] %x = map(%l) { ^(%i: Int) yield(%i) } : [Int] return(%x)",
            "[Int]",
        ),
    ),
    "branches": (
        "types",
        flow("%x = if(%b) { yield(%q) } { yield(%b) } : Text return(%x)"),
    ),
    "no such task": ("calls", flow("%x = call @g(%q) : Text return(%x)")),
    "argument type": ("calls", flow("%x = call @f(%b) : Text return(%x)")),
    "argument count": ("calls", flow("%x = call @f() : Text return(%x)")),
    "optional result": ("calls", flow("%x = call @f(%q) {optional} : Text return(%x)")),
    "optional effect": ("calls", flow("%x = call @e(%q) {optional} : Bool? return(%q)")),
    "effect ahead of its condition": (
        "speculation",
        flow(
            "%x = if(%b) { %y = call @e(%q) : Bool yield(%y) } { yield(%b) } {speculative} : Bool "
            "return(%q)"
        ),
    ),
    "speculative by half": (
        "speculation",
        flow("%x = if(%b) { yield(%q) } { yield(%q) } {speculative = 0.5} : Text return(%x)"),
    ),
    "no interface": (
        "binding",
        "module logical task @f(%a: Text) -> Text workflow @w(%q: Text) -> Text "
        "{ %x = call @f(%q) {candidates = [@m]} : Text return(%x) }",
    ),
    "no candidates": (
        "binding",
        'module logical task @f(%a: Text) -> Text {interface = "f"} '
        "workflow @w(%q: Text) -> Text { %x = call @f(%q) : Text return(%x) }",
    ),
    "no engine": (
        "placement",
        'module placed task @f(%a: Text) -> Text {interface = "f"} '
        "workflow @w(%q: Text) -> Text "
        '{ %x = invoke @f(%q) {engine = "e", executor = @m} : Text return(%x) }',
    ),
    "left out, not optional": (
        "placement",
        'module placed task @f(%a: Text) -> Text {interface = "f"} '
        "workflow @w(%q: Text) -> Text { %x = invoke @f(%q) {skip} : Text return(%x) }",
    ),
    "tasks not sorted": ("symbols", "module flow task @b() -> Text task @a() -> Text"),
    "engines of a flow": ("symbols", "module flow engine @e"),
    "equal engines": ("symbols", "module placed engine @e engine @e"),
    "equal workflows": (
        "symbols",
        "module flow workflow @w(%q: Text) -> Text { return(%q) } "
        "workflow @w(%q: Text) -> Text { return(%q) }",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_rule_is_named(case: str) -> None:
    rule, text = BROKEN[case]
    with pytest.raises(CompileError) as caught:
        verify(read_module(text))
    assert {d.id for d in caught.value.diagnostics} == {f"ir-{rule}"}


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in RULES} | {"symbols"} == {rule for rule, _ in BROKEN.values()}
