"""Pushdown: results and effects stay, and no call is made for an item that does not go on."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from murakkab.compiler.frontend import check_text, select
from murakkab.ir.workflow import Module
from murakkab.passes.canonicalize import Canonicalize
from murakkab.passes.fuse import Fuse
from murakkab.passes.pushdown import Pushdown

from ..ir.modules import modules
from .interpreter import interpret
from .properties import arguments, context, holds

PROGRAM = """
task ask(text: Text) -> Text "Ask." prompt "{{text}}"
task kind(text: Text) -> "a" | "b" "Say which kind it is." prompt "{{text}}"
task grade(text: Text) -> Int "Grade it." prompt "{{text}}"

workflow w(xs: [Text], q: Text) -> [Text] {{
    notes = for x in xs {{
        s = ask(x)
        k = kind({of})
        g = grade(x)
        yield {{ s, k, g, x }}
    }}
    good = for n in notes where {where} {{ yield {result} }}
    return good{more}
}}
"""
CONDITIONS = (
    'n.k == "a"',
    "n.g > 1",
    "len(n.x) > 1",
    'kind(n.x) == "b"',
    "grade(n.s) < 2",
    "len(q) > 2",
    "10 / n.g > 3",
)


def program(where: str, of: str = "x", result: str = "n.s", more: str = "") -> Module:
    """Return the flow module of a workflow that works on items and then filters them."""
    text = PROGRAM.format(where=where, of=of, result=result, more=more)
    return select(check_text(text, "w.mkb"))


def pushed(module: Module) -> Module:
    """Return the module pushed down as the usual pipeline does it."""
    for step in (Canonicalize(), Pushdown(), Fuse(), Canonicalize()):
        module = step.run(module, context())
    return module


def same_results(before: Module, after: Module, given: dict[str, object]) -> None:
    """Check results and effects: of two conditions with calls, the cheaper is asked more often."""
    try:
        expected = interpret(before, given)
    except ArithmeticError:
        assume(False)
    found = interpret(after, given)
    assert repr(found.result) == repr(expected.result)
    assert found.effects == expected.effects


@settings(deadline=None)
@given(modules(), arguments)
def test_keeps_rules_results_effects_and_calls(module: Module, given: dict[str, object]) -> None:
    holds(Pushdown(order=False), module, given)
    after = Pushdown().run(module, context())
    assert Pushdown().run(after, context()) == after
    same_results(module, after, given)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=4).map(" and ".join),
    st.sampled_from(("x", "s")),
    st.sampled_from(("n.s", "n.x", "n.s + n.k")),
    st.sampled_from(("", " + (for n in notes { yield n.s })")),
    arguments,
)
def test_whatever_is_asked_of_the_items(
    where: str, of: str, result: str, more: str, given: dict[str, object]
) -> None:
    module = program(where, of, result, more)
    holds(Pushdown(order=False), module, given)
    same_results(module, pushed(module), given)


@pytest.mark.parametrize(
    ("where", "asked", "kinds"),
    [
        ("len(n.x) > 1", 2, 2),  # asked of the list itself
        ('n.k == "a"', 2, 4),  # asked when `kind` has answered
        ('n.k == "a" and len(n.x) > 1', 1, 2),  # one, then the other
        ("len(n.s) > 2", 4, 2),  # `ask` comes first here
    ],
)
def test_calls_are_made_for_what_goes_on(where: str, asked: int, kinds: int) -> None:
    module = program(where, result='join([n.s, n.k, n.x], "")')
    given = {"q": "", "xs": ["", "x", "yy", "zz"]}
    trace = interpret(pushed(module), given)
    assert trace.result == interpret(module, given).result
    assert (trace.calls["ask"], trace.calls["kind"]) == (asked, kinds)
    assert trace.calls["grade"] == 0  # nobody reads it
